/* SPDX-License-Identifier: MIT */
#pragma once

#include <stdbool.h>

#include "kamiyo/base/attributes.h"

/*
 * The heartbeat of this instance in Redis, for fallback_share auto: who is
 * alive when an outage begins shares the limits during it.
 */
struct limit_shared;
struct limiter_presence;
struct limiter_redis;
struct loop;

/* Only one worker of a process beats: `is_speaker`. */
struct limiter_presence *limiter_presence_create(struct loop *loop,
                                                 struct limiter_redis *redis,
                                                 struct limit_shared *shared,
                                                 bool is_speaker) MUST_CHECK;
void limiter_presence_destroy(struct limiter_presence **presence);
/* fallback_share is auto (nothing is written otherwise). */
void limiter_presence_enable(struct limiter_presence *presence, bool is_enabled);
/* Redis takes writes from now on; the first beat leaves at once. */
void limiter_presence_start(struct limiter_presence *presence);
void limiter_presence_stop(struct limiter_presence *presence);
/* This instance ends: it stops beating and takes its name out, if it has beaten. The command leaves
 * with this turn of the loop. */
void limiter_presence_leave(struct limiter_presence *presence);
