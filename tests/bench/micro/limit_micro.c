/* SPDX-License-Identifier: MIT */
/* A decision over plain buckets and from the table, and what the table keeps for each bucket. */
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>

#include "kamiyo/base/text.h"
#include "kamiyo/limit/bucket_table.h"
#include "kamiyo/limit/limit_policy.h"

#include "micro.h"

#define USERS    100000
#define START_MS 1000000

struct limits {
    struct limit_policy policy;
    struct bucket buckets[LIMIT_MAX_WINDOWS];
    struct bucket_table *table;
    struct bucket_shape *shape;
    char (*keys)[16];
};

static void add_window(struct limit_policy *policy, int64_t limit, int64_t period_ms)
{
    struct limit_window window;

    if (!limit_window_init(&window, limit, 0, period_ms, NULL) ||
        !limit_policy_add(policy, &window, NULL))
        abort();
}

static void decide(void *arg, size_t first, size_t count)
{
    struct limits *limits = arg;
    struct limit_decision decision;

    for (size_t i = first; i < first + count; i++)
        micro_keep(bucket_decide(limits->buckets, &limits->policy, 1, START_MS + (int64_t)(i / 8),
                                 &decision));
}

/* Users in an order that no cache foresees. */
static void take(void *arg, size_t first, size_t count)
{
    struct limits *limits = arg;
    struct limit_decision decision;
    struct bucket_key key;

    for (size_t i = first; i < first + count; i++) {
        const char *user = limits->keys[i * 7919 % USERS];

        bucket_table_key(limits->table, slice_of(user), (struct slice){NULL, 0}, &key);
        micro_keep(bucket_table_take(limits->table, &key, limits->shape, 1,
                                     START_MS + (int64_t)(i / USERS), BUCKET_LEDGER_NONE,
                                     &decision));
    }
}

struct share {
    struct limits *limits;
    size_t first, count;
};

static void *take_share(void *arg)
{
    const struct share *share = arg;

    take(share->limits, share->first, share->count);
    return NULL;
}

/* Two workers at the table, each with as many requests: what is more than for one is the price of
 * sharing. */
static void take_by_two(void *arg, size_t first, size_t count)
{
    struct share own = {arg, first, count}, other = {arg, first + USERS / 2, count};
    pthread_t thread;

    if (pthread_create(&thread, NULL, take_share, &other) != 0)
        abort();
    (void)take_share(&own);
    pthread_join(thread, NULL);
}

void micro_limit(void)
{
    struct limits limits = {0};
    struct bucket_table_stats before, after;

    add_window(&limits.policy, 1000000, 60000);
    add_window(&limits.policy, 60000000, 3600000);
    for (size_t i = 0; i < limits.policy.window_count; i++)
        bucket_init(&limits.buckets[i], &limits.policy.windows[i], START_MS);
    micro_run("decide over two plain buckets", decide, &limits);

    limits.keys = calloc(USERS, sizeof(*limits.keys));
    limits.table = bucket_table_create((uint64_t)64 << 20);
    if (limits.keys == NULL || limits.table == NULL)
        abort();
    limits.shape = bucket_shapes_ref(bucket_table_shapes(limits.table), &limits.policy, 1, 0);
    for (size_t i = 0; i < USERS; i++) {
        struct text key;

        text_init(&key, limits.keys[i], sizeof(limits.keys[i]));
        text_append(&key, SLICE("user:"));
        text_append_u64(&key, i);
        (void)text_terminate(&key);
    }
    bucket_table_stats(limits.table, &before);
    take(&limits, 0, USERS);
    bucket_table_stats(limits.table, &after);
    micro_run("decide from the table, two windows, 100,000 users", take, &limits);
    micro_run("the same, of two threads at once", take_by_two, &limits);
    printf("%-52s %8.1f bytes\n", "the table, for each user with two windows",
           (double)(after.bytes - before.bytes) / (double)(after.entries - before.entries));
    bucket_shape_unref(limits.shape);
    bucket_table_destroy(&limits.table);
    free(limits.keys);
}
