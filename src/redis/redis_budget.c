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

/* Behind all others. A worker's "now" may be a tick of the clock older than another's: the entries
 * stay in order all the same. */
static void enter(struct redis_budget *budget, int64_t at_ms)
{
    size_t last = (budget->next + REDIS_BUDGET_PER_SECOND - 1) % REDIS_BUDGET_PER_SECOND;
    int64_t newest = budget->reserved_ms[last];

    budget->reserved_ms[budget->next] = at_ms < newest ? newest : at_ms;
    budget->next = (budget->next + 1) % REDIS_BUDGET_PER_SECOND;
}

/* The first moment that is left, from `now_ms` on. */
static int64_t free_from(const struct redis_budget *budget, int64_t now_ms)
{
    int64_t oldest = budget->reserved_ms[budget->next];

    /* The entries are in order, so this alone puts it behind whoever waits already. */
    return oldest != 0 && now_ms < oldest + PERIOD_MS ? oldest + PERIOD_MS : now_ms;
}

int64_t redis_budget_reserve(struct redis_budget *budget, int64_t now_ms)
{
    int64_t at_ms;

    (void)pthread_mutex_lock(&budget->lock); /* a plain mutex cannot fail */
    at_ms = free_from(budget, now_ms);
    enter(budget, at_ms);
    (void)pthread_mutex_unlock(&budget->lock); /* likewise */
    return at_ms;
}

void redis_budget_count(struct redis_budget *budget, int64_t now_ms)
{
    (void)pthread_mutex_lock(&budget->lock); /* a plain mutex cannot fail */
    if (free_from(budget, now_ms) == now_ms)
        enter(budget, now_ms);
    (void)pthread_mutex_unlock(&budget->lock); /* likewise */
}
