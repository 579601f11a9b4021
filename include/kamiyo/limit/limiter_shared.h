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
    struct limit_store *store; /* never NULL; fields in src/limit/limit_store.c */
    size_t worker_count;       /* shard s of the table is swept and written back by worker s mod
                                  worker_count; but what a bucket owes leaves with the first
                                  decision about it, wherever that is */
};

/* NULL when the table cannot be allocated. */
struct limit_shared *limit_shared_create(uint64_t memory_bytes, size_t worker_count) MUST_CHECK;
void limit_shared_destroy(struct limit_shared **shared);

/* Whether Redis decides at present: some worker has it, and none has lost it. Any thread. */
bool limit_shared_has_redis(const struct limit_shared *shared);
/*
 * At the start: Redis has answered to every worker, or failed for one, or none is configured. Ask
 * again until then, at most redis.connect_timeout, and call limit_shared_end_wait. Any thread.
 */
bool limit_shared_is_known(const struct limit_shared *shared);
/* Nobody waits for Redis any longer: if nothing is known yet, it is down from now on, and the log
 * says so. */
void limit_shared_end_wait(struct limit_shared *shared);
/*
 * A Redis is configured and cannot even be tried (redis_shared_create failed): one warning,
 * "Redis unavailable, falling back to in-memory: invalid REDIS_URL: <why>".
 */
void limit_shared_refuse(struct limit_shared *shared, const char *why);

/* For status pages. */
struct limit_status {
    bool is_configured;
    bool is_up;
    size_t workers_up;
    int64_t instances; /* that share the limits, when fallback_share is auto; else 1 */
    int64_t since_ms;  /* Unix: up or down since */
    char reason[256];  /* down: why; else "" */
};
void limit_shared_status(const struct limit_shared *shared, struct limit_status *status);
