/* SPDX-License-Identifier: MIT */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "kamiyo/base/attributes.h"
#include "kamiyo/limit/limiter_shared.h"
#include "kamiyo/redis/redis_failure.h"

/*
 * The store's state as the process sees it: how many workers have Redis, the
 * two lines that are logged once an outage and once a recovery, and the
 * instances that share the limits. Any thread.
 *
 *   UNKNOWN --first worker up--> UP --first worker lost--> DOWN --all workers up--> UP
 *      '--------- first failure, or nobody waits any longer ------^
 */
struct limit_store;

/* Longest name of an instance, with its terminator. */
#define LIMIT_STORE_INSTANCE_SIZE 96

struct limit_store *limit_store_create(size_t worker_count) MUST_CHECK;
void limit_store_destroy(struct limit_store **store);

/* A worker will report: from now on the store counts as configured. */
void limit_store_expect(struct limit_store *store);
/* A worker is connected; whether Redis takes writes is still to be seen. Once for each, at first.
 */
void limit_store_report_connected(struct limit_store *store);
/* A worker has Redis: connected, and a write succeeded. Only after down, or first. */
void limit_store_report_up(struct limit_store *store);
/* A worker has it no more (`was_up`), or could not get it. May repeat. */
void limit_store_report_down(struct limit_store *store,
                             const struct redis_failure *failure,
                             bool was_up);
/* A worker that was up ends. */
void limit_store_leave(struct limit_store *store);

/* This process among those that share a Redis: letters, digits, '.', '_' and '-'. */
const char *limit_store_instance(const struct limit_store *store);
/* Instances alive, this one included, as last counted; at least 1, at most 1000. */
void limit_store_set_instances(struct limit_store *store, int64_t count);
/* As it was when the present outage began; now, if there is none. */
int64_t limit_store_instances(struct limit_store *store);

/* Nobody waits for what is not known by now: it is down, since not all could connect, or since what
 * they asked then was not answered. */
void limit_store_end_wait(struct limit_store *store);
/* For limiter_shared.h's functions of the same meaning. */
bool limit_store_is_up(struct limit_store *store);
bool limit_store_is_known(struct limit_store *store);
void limit_store_status(struct limit_store *store, struct limit_status *status);
