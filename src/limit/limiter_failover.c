/* SPDX-License-Identifier: MIT */
/*
 * What stands behind the front when a Redis is configured. Not built yet: without a failover the
 * front decides from the table, as with no Redis at all.
 */
#include "limit_internal.h"

struct limiter_failover *limiter_failover_create(struct loop *loop,
                                                 const struct limiter_options *options,
                                                 struct redis_client *redis,
                                                 struct limit_shared *shared,
                                                 struct metrics_shard *metrics,
                                                 size_t worker_index)
{
    (void)loop, (void)options, (void)redis, (void)shared, (void)metrics, (void)worker_index;
    return NULL;
}

void limiter_failover_destroy(struct limiter_failover **failover)
{
    (void)failover;
}

void limiter_failover_configure(struct limiter_failover *failover,
                                const struct limiter_options *options)
{
    (void)failover, (void)options;
}

enum progress limiter_failover_check(struct limiter_failover *failover,
                                     const struct limit_ask *ask,
                                     struct limit_decision *decision,
                                     limiter_done_fn *done,
                                     void *arg,
                                     struct limiter_call **call)
{
    (void)failover, (void)ask, (void)decision, (void)done, (void)arg, (void)call;
    return PROGRESS_DONE;
}

enum progress limiter_failover_peek(struct limiter_failover *failover,
                                    const struct limit_ask *ask,
                                    struct limit_decision *decision,
                                    limiter_done_fn *done,
                                    void *arg,
                                    struct limiter_call **call)
{
    return limiter_failover_check(failover, ask, decision, done, arg, call);
}

void limiter_failover_cancel(struct limiter_call **call)
{
    *call = NULL;
}

void limiter_failover_adjust(struct limiter_failover *failover,
                             const struct limit_ask *ask,
                             int64_t tokens)
{
    (void)failover, (void)ask, (void)tokens;
}

void limiter_failover_reset(struct limiter_failover *failover,
                            struct slice key,
                            const struct slice *routes,
                            size_t route_count,
                            const struct slice *window_names,
                            size_t window_name_count,
                            limiter_reset_fn *done,
                            void *arg)
{
    (void)failover, (void)key, (void)routes, (void)route_count, (void)window_names,
        (void)window_name_count;
    (void)done, (void)arg;
}
