/* SPDX-License-Identifier: MIT */
#pragma once

#include <stdbool.h>
#include <stddef.h>

#include "kamiyo/base/attributes.h"
#include "kamiyo/base/slice.h"
#include "kamiyo/limit/limiter.h"

/* Deleting all buckets of one identity in Redis (limiter_reset's other half). */
struct limiter_redis;
struct limiter_reset;
struct loop;

struct limiter_reset *limiter_reset_create(struct loop *loop,
                                           struct limiter_redis *redis) MUST_CHECK;
/* Resets that are under way end without their callbacks. */
void limiter_reset_destroy(struct limiter_reset **reset);
/* As limiter_reset; `done` runs later. */
void limiter_reset_start(struct limiter_reset *reset,
                         const struct limit_buckets *buckets,
                         limiter_reset_fn *done,
                         void *arg);
/* Redis is away: keep it for limiter_reset_send_kept(). False if too many are kept. */
bool limiter_reset_keep(struct limiter_reset *reset,
                        const struct limit_buckets *buckets) MUST_CHECK;
/* Redis is back. */
void limiter_reset_send_kept(struct limiter_reset *reset);
