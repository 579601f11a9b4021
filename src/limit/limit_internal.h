/* SPDX-License-Identifier: MIT */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "kamiyo/base/progress.h"
#include "kamiyo/limit/bucket_table.h"
#include "kamiyo/limit/limiter.h"
#include "kamiyo/limit/limiter_shared.h"

/*
 * Between the front (limiter.c) and what stands behind it when a Redis is
 * configured (limiter_failover.c). The front prepares key and shape, answers
 * from the memory of denials and decides alone when there is no failover;
 * everything else it hands on. All on the worker's own thread.
 *
 * limiter_failover decides between Redis and the table, keeps the table's
 * mirror and denials up to date, and writes back what the ledger holds.
 */
struct limiter_failover;
struct limiter_options;
struct loop;
struct metrics_shard;
struct redis_client;

/* One question on its way inwards; borrowed during the call, but for the shape: take a reference to
 * keep it. */
struct limit_ask {
    const struct limit_query *query;
    const struct bucket_key *key; /* of query->key and query->route */
    struct bucket_shape *shape;   /* of query->policy, share 1 */
    int64_t now_ms;               /* loop_now_ms */
    bool is_rehearsal;            /* of a peek: what a check would say, levels after its charge */
};

/* Takes the client's handler and starts it. Never NULL. */
struct limiter_failover *limiter_failover_create(struct loop *loop,
                                                 const struct limiter_options *options,
                                                 struct redis_client *redis,
                                                 struct limit_shared *shared,
                                                 struct metrics_shard *metrics,
                                                 size_t worker_index);
void limiter_failover_destroy(struct limiter_failover **failover);
/* New options after a reload (timeout, breaker, prefix, share); the connection stays. */
void limiter_failover_configure(struct limiter_failover *failover,
                                const struct limiter_options *options);

/* As limiter_leave. */
void limiter_failover_leave(struct limiter_failover *failover);

/* As limiter_check; the memory of denials was asked before and did not know. struct limiter_call is
 * failover's. */
enum progress limiter_failover_check(struct limiter_failover *failover,
                                     const struct limit_ask *ask,
                                     struct limit_decision *decision,
                                     limiter_done_fn *done,
                                     void *arg,
                                     struct limiter_call **call);
enum progress limiter_failover_peek(struct limiter_failover *failover,
                                    const struct limit_ask *ask,
                                    struct limit_decision *decision,
                                    limiter_done_fn *done,
                                    void *arg,
                                    struct limiter_call **call);
void limiter_failover_cancel(struct limiter_call **call);
/* Take `tokens` from every window (negative: give back) in Redis and in the table; owed when Redis
 * is away. */
void limiter_failover_adjust(struct limiter_failover *failover,
                             const struct limit_ask *ask,
                             int64_t tokens);
/* Delete in Redis; the front has reset the table already. `done` as limiter_reset's. */
void limiter_failover_reset(struct limiter_failover *failover,
                            const struct limit_buckets *buckets,
                            limiter_reset_fn *done,
                            void *arg);
/* True if Redis is away: it is deleted there when Redis is back, and the caller answers for the
 * table alone. What other workers have charged by then of what was spent meanwhile goes with it. */
bool limiter_failover_keep_reset(struct limiter_failover *failover,
                                 const struct limit_buckets *buckets) MUST_CHECK;
