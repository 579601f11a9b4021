/* SPDX-License-Identifier: MIT */
/*
 * A ring of the last reservations in order of time: the next one is no sooner
 * than PERIOD_MS after the oldest. That is more than a second, for an attempt
 * begins some milliseconds after its moment, each by another number of them:
 * who counts arrivals shall find no second with one more.
 * A lock is fine: a worker comes by ten times a second at the most.
 */
#include "kamiyo/redis/redis_budget.h"

#include <pthread.h>
#include <stddef.h>

#include "kamiyo/base/mem.h"

#define PERIOD_MS 1100

struct redis_budget {
    pthread_mutex_t lock;
    int64_t reserved_ms[REDIS_BUDGET_PER_SECOND]; /* [next] is the oldest; 0 = none */
    size_t next;
};

struct redis_budget *redis_budget_create(void)
{
    struct redis_budget *budget = mem_alloc_zero(sizeof(*budget));

    (void)pthread_mutex_init(&budget->lock, NULL); /* a plain mutex cannot fail */
    return budget;
}

void redis_budget_destroy(struct redis_budget **budget)
{
    if (*budget == NULL)
        return;
    (void)pthread_mutex_destroy(&(*budget)->lock); /* nobody holds it */
    mem_free(*budget);
    *budget = NULL;
}

int64_t redis_budget_reserve(struct redis_budget *budget, int64_t now_ms)
{
    int64_t oldest;
    int64_t newest;
    int64_t at_ms = now_ms;

    (void)pthread_mutex_lock(&budget->lock); /* a plain mutex cannot fail */
    oldest = budget->reserved_ms[budget->next];
    newest =
        budget->reserved_ms[(budget->next + REDIS_BUDGET_PER_SECOND - 1) % REDIS_BUDGET_PER_SECOND];
    /* The entries are in order, so this alone puts it behind whoever waits already. */
    if (oldest != 0 && at_ms < oldest + PERIOD_MS)
        at_ms = oldest + PERIOD_MS;
    /* A worker's "now" may be a tick of the clock older than another's: no reason to wait, only to
     * keep the entries in order. */
    budget->reserved_ms[budget->next] = at_ms < newest ? newest : at_ms;
    budget->next = (budget->next + 1) % REDIS_BUDGET_PER_SECOND;
    (void)pthread_mutex_unlock(&budget->lock); /* likewise */
    return at_ms;
}
