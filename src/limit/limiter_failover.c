/* SPDX-License-Identifier: MIT */
/*
 * What stands behind the front when a Redis is configured. Not built yet: without a failover the
 * front decides from the table, as with no Redis at all.
 */
#include "kamiyo/base/mem.h"

#include "limit_internal.h"

struct limit_store {
    size_t worker_count;
};

struct limiter_failover *limiter_failover_create(struct loop *loop,
                                                 const struct limiter_options *options,
                                                 const struct redis_options *redis,
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

struct limit_store *limit_store_create(size_t worker_count)
{
    struct limit_store *store = mem_alloc_zero(sizeof(*store));

    store->worker_count = worker_count;
    return store;
}

void limit_store_destroy(struct limit_store **store)
{
    mem_free(*store);
    *store = NULL;
}

bool limit_shared_has_redis(const struct limit_shared *shared)
{
    (void)shared;
    return false;
}

bool limit_shared_is_known(const struct limit_shared *shared)
{
    (void)shared;
    return true;
}
