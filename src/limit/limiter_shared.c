/* SPDX-License-Identifier: MIT */
/*
 * The process's half of the limiter: one table, one store state, made before the first worker and
 * gone after the last. Nothing here runs per request.
 */
#include "kamiyo/limit/limiter_shared.h"

#include "kamiyo/base/mem.h"
#include "kamiyo/limit/bucket_table.h"

#include "limit_store.h"

struct limit_shared *limit_shared_create(uint64_t memory_bytes, size_t worker_count)
{
    struct bucket_table *table = bucket_table_create(memory_bytes);
    struct limit_shared *shared;

    if (table == NULL)
        return NULL;
    shared = mem_alloc_zero(sizeof(*shared));
    shared->table = table;
    shared->store = limit_store_create(worker_count);
    shared->worker_count = worker_count;
    return shared;
}

void limit_shared_destroy(struct limit_shared **shared)
{
    if (*shared == NULL)
        return;
    limit_store_destroy(&(*shared)->store);
    bucket_table_destroy(&(*shared)->table);
    mem_free(*shared);
    *shared = NULL;
}

bool limit_shared_has_redis(const struct limit_shared *shared)
{
    return limit_store_is_up(shared->store);
}

bool limit_shared_is_known(const struct limit_shared *shared)
{
    return limit_store_is_known(shared->store);
}

void limit_shared_end_wait(struct limit_shared *shared)
{
    limit_store_end_wait(shared->store);
}

void limit_shared_refuse(struct limit_shared *shared, const char *why)
{
    struct redis_failure failure;

    redis_failure_set(&failure, REDIS_REASON_INVALID_URL, "%s", why);
    limit_store_expect(shared->store);
    limit_store_report_down(shared->store, &failure, false);
}

void limit_shared_status(const struct limit_shared *shared, struct limit_status *status)
{
    limit_store_status(shared->store, status);
}
