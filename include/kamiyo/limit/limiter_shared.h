/* SPDX-License-Identifier: MIT */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "kamiyo/base/attributes.h"

/*
 * What the limiters of all workers share: the bucket table, and the store's
 * state (limiter_failover's: how many workers have Redis, instances alive,
 * tokens for reconnecting, lines that are logged once). Made before the
 * workers, destroyed after them.
 */
struct bucket_table;
struct limit_store;

struct limit_shared {
    struct bucket_table *table;
    struct limit_store *store; /* never NULL; fields in src/limit/limit_internal.h */
    size_t worker_count;       /* shard s of the table is swept and written back by worker s mod
                                  worker_count */
};

/* NULL when the table cannot be allocated. */
struct limit_shared *limit_shared_create(uint64_t memory_bytes, size_t worker_count) MUST_CHECK;
void limit_shared_destroy(struct limit_shared **shared);
/* Every worker has a Redis that decides. Any thread. */
bool limit_shared_has_redis(const struct limit_shared *shared);
/* Redis has answered, or failed for the first time, or none is configured. Any thread. */
bool limit_shared_is_known(const struct limit_shared *shared);
