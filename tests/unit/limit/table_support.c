/* SPDX-License-Identifier: MIT */
/* What the tests of the bucket table share. */
#include "table_support.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>

#include "kamiyo/limit/limit_policy.h"

void table_policy(struct limit_policy *policy, int64_t minute, int64_t hour)
{
    struct limit_window window;

    *policy = (struct limit_policy){0};
    assert_true(limit_window_init(&window, minute, 0, 60000, NULL));
    assert_true(limit_policy_add(policy, &window, NULL));
    if (hour == 0)
        return;
    assert_true(limit_window_init(&window, hour, 0, 3600000, NULL));
    assert_true(limit_policy_add(policy, &window, NULL));
}

void table_setup(struct table_fixture *f, uint64_t memory_bytes)
{
    f->table = bucket_table_create(memory_bytes);
    assert_non_null(f->table);
    table_policy(&f->policy, 10, 100);
    f->shape = bucket_shapes_ref(bucket_table_shapes(f->table), &f->policy, 1, 0);
}

void table_teardown(struct table_fixture *f)
{
    bucket_shape_unref(f->shape);
    bucket_table_destroy(&f->table);
}

struct bucket_key table_key(struct table_fixture *f, const char *text)
{
    struct bucket_key key;

    bucket_table_key(f->table, slice_of(text), (struct slice){NULL, 0}, &key);
    return key;
}

bool table_take(struct table_fixture *f, const char *text, int64_t cost, int64_t now_ms)
{
    struct limit_decision decision;
    struct bucket_key key = table_key(f, text);

    return bucket_table_take(f->table, &key, f->shape, cost, now_ms, BUCKET_LEDGER_NONE, &decision);
}

int64_t table_remaining(struct table_fixture *f, const char *text, int64_t now_ms)
{
    struct limit_decision decision;
    struct bucket_key key = table_key(f, text);

    (void)bucket_table_peek(f->table, &key, f->shape, 1, now_ms, BUCKET_VIEW_PRESENT, &decision);
    return decision.levels[0].remaining;
}

struct bucket_table_stats table_stats(struct table_fixture *f)
{
    struct bucket_table_stats stats;

    bucket_table_stats(f->table, &stats);
    return stats;
}

struct bucket_mirror
table_mirror(struct table_fixture *f, const struct bucket_key *key, int64_t minute, int64_t hour)
{
    return (struct bucket_mirror){.generation = bucket_table_generation(f->table, key),
                                  .levels = {minute * f->policy.windows[0].units_per_token,
                                             hour * f->policy.windows[1].units_per_token}};
}
