/* SPDX-License-Identifier: MIT */
/* The table: the same decisions as plain buckets, its bound, what it drops, and its memory for
 * other rooms. */
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

#include "kamiyo/limit/bucket_table.h"
#include "kamiyo/limit/limit_policy.h"

#include "random_support.h"
#include "table_support.h"

static bool is_full(const struct bucket *buckets, const struct bucket_shape *shape, int64_t now_ms)
{
    for (size_t i = 0; i < shape->policy.window_count; i++) {
        struct bucket bucket = buckets[i];

        bucket_refill(&bucket, &shape->policy.windows[i], now_ms);
        if (bucket.level < shape->policy.windows[i].capacity_units)
            return false;
    }
    return true;
}

/* Keys of all lengths with and without routes, and policies that change, against arrays of buckets.
 */
static void test_decides_as_plain_buckets_do(void **state)
{
    enum {
        KEYS = 300
    };
    static struct bucket model[KEYS][2];
    static const struct bucket_shape *last[KEYS];
    struct table_fixture f;
    struct limit_policy other;
    struct bucket_shape *shapes[2];
    struct random_source random = {1};
    int64_t now_ms = TABLE_START;

    (void)state;
    table_setup(&f, TABLE_MEMORY);
    table_policy(&other, 20, 300);
    shapes[0] = f.shape;
    shapes[1] = bucket_shapes_ref(bucket_table_shapes(f.table), &other, 1, 0);
    for (size_t i = 0; i < KEYS; i++)
        last[i] = NULL;
    for (int step = 0; step < 60000; step++) {
        size_t n = random_below(&random, KEYS);
        struct bucket_shape *shape = shapes[random_below(&random, 16) == 0];
        int64_t cost = 1 + random_amount(&random, 4);
        struct bucket before[2];
        bool is_changed;
        struct limit_decision expected = {0};
        struct limit_decision decision = {0};
        char text[160];
        struct bucket_key key;

        now_ms += random_amount(&random, 40);
        snprintf(text, sizeof(text), "user:%0*zu", (int)(1 + n % 138), n);
        bucket_table_key(
            f.table, slice_of(text),
            n % 3 == 0 ? SLICE("a-route-of-the-longest-name-0123") : (struct slice){NULL, 0}, &key);
        /* Full under the old limits: it may have been dropped, or not yet. Either is right, so do
         * not change there. */
        if (last[n] != NULL && last[n] != shape && is_full(model[n], last[n], now_ms))
            shape = shapes[last[n] == shapes[1]];
        for (size_t i = 0; i < 2; i++) {
            if (last[n] == NULL)
                bucket_init(&model[n][i], &shape->policy.windows[i], now_ms);
            else if (last[n] != shape)
                bucket_change(&model[n][i], &last[n]->policy.windows[i], &shape->policy.windows[i]);
        }
        is_changed = last[n] != shape;
        last[n] = shape;
        if (random_below(&random, 8) == 0) {
            int64_t tokens = random_amount(&random, 20) - 8;

            bucket_table_adjust(f.table, &key, shape, tokens, now_ms, BUCKET_LEDGER_NONE);
            for (size_t i = 0; i < 2; i++) {
                bucket_refill(&model[n][i], &shape->policy.windows[i], now_ms);
                bucket_add(&model[n][i], &shape->policy.windows[i], tokens);
            }
            continue;
        }
        memcpy(before, model[n], sizeof(before));
        if (!bucket_decide(model[n], &shape->policy, cost, now_ms, &expected) && !is_changed)
            memcpy(model[n], before, sizeof(before)); /* a denial is not written down */
        (void)bucket_table_take(f.table, &key, shape, cost, now_ms, BUCKET_LEDGER_NONE, &decision);
        assert_memory_equal(&decision, &expected, sizeof(decision));
    }
    bucket_shape_unref(shapes[1]);
    table_teardown(&f);
}

/* Before a denial is forgotten that would go on, one asks the store, and the others need not. */
static void test_one_renews_a_denial(void **state)
{
    struct table_fixture f;
    struct bucket_mirror mirror;
    struct limit_decision decision;
    struct bucket_key key;

    (void)state;
    table_setup(&f, TABLE_MEMORY);
    key = table_key(&f, "user:123");
    mirror = table_mirror(&f, &key, 3, 50);
    mirror.denied_cost = 4; /* for 6 s */
    for (int64_t at_ms = TABLE_START; at_ms < TABLE_START + 3000; at_ms += 1000) {
        mirror.denied_until_ms = at_ms + 1000;
        assert_false(bucket_table_mirror(f.table, &key, f.shape, &mirror, at_ms, NULL));
        assert_true(bucket_table_is_denied(f.table, &key, f.shape, 4, at_ms + 979, &decision));
        assert_true(bucket_table_is_denied(f.table, &key, f.shape, 5, at_ms + 985, &decision));
        assert_false(bucket_table_is_denied(f.table, &key, f.shape, 4, at_ms + 985, &decision));
        assert_true(bucket_table_is_denied(f.table, &key, f.shape, 4, at_ms + 985, &decision));
        assert_true(bucket_table_is_denied(f.table, &key, f.shape, 4, at_ms + 999, &decision));
        assert_false(bucket_table_is_denied(f.table, &key, f.shape, 4, at_ms + 1000, &decision));
        assert_false(bucket_table_is_denied(f.table, &key, f.shape, 4, at_ms + 1000, &decision));
    }
    /* one that ends with its wait is left alone: who comes then may pass */
    mirror.denied_until_ms = TABLE_START + 9000;
    assert_false(bucket_table_mirror(f.table, &key, f.shape, &mirror, TABLE_START + 3000, NULL));
    for (int i = 0; i < 3; i++)
        assert_true(
            bucket_table_is_denied(f.table, &key, f.shape, 4, TABLE_START + 8990, &decision));
    table_teardown(&f);
}

static void test_mirrors_and_remembers_denials(void **state)
{
    struct table_fixture f;
    struct limit_policy larger;
    struct bucket_shape *other;
    struct bucket_mirror mirror;
    struct limit_decision decision;
    struct bucket_key key;

    (void)state;
    table_setup(&f, TABLE_MEMORY);
    key = table_key(&f, "user:123");
    mirror = table_mirror(&f, &key, 3, 50);
    assert_false(bucket_table_mirror(f.table, &key, f.shape, &mirror, TABLE_START, NULL));
    assert_int_equal(table_remaining(&f, "user:123", TABLE_START), 3);
    assert_false(bucket_table_is_denied(f.table, &key, f.shape, 4, TABLE_START, &decision));

    mirror.denied_cost = 4;
    mirror.denied_until_ms = TABLE_START + 990;
    assert_false(bucket_table_mirror(f.table, &key, f.shape, &mirror, TABLE_START + 10, NULL));
    assert_false(bucket_table_is_denied(f.table, &key, f.shape, 3, TABLE_START + 20, &decision));
    assert_true(bucket_table_is_denied(f.table, &key, f.shape, 4, TABLE_START + 10, &decision));
    assert_int_equal(decision.wait_ms, 6000);
    assert_true(bucket_table_is_denied(f.table, &key, f.shape, 4, TABLE_START + 11, &decision));
    assert_int_equal(decision.wait_ms, 6000);
    assert_true(bucket_table_is_denied(f.table, &key, f.shape, 4, TABLE_START + 20, &decision));
    assert_int_equal(decision.outcome, LIMIT_DENIED);
    assert_int_equal(decision.wait_ms,
                     5991); /* of these 10 ms, 9 have passed in Redis for certain */
    assert_int_equal(decision.levels[0].remaining, 3);
    assert_true(bucket_table_is_denied(f.table, &key, f.shape, 5, TABLE_START + 989, &decision));
    assert_false(bucket_table_is_denied(f.table, &key, f.shape, 5, TABLE_START + 990, &decision));

    /* one that refuses less for less long does not replace it */
    mirror.denied_until_ms = TABLE_START + 2000;
    assert_false(bucket_table_mirror(f.table, &key, f.shape, &mirror, TABLE_START + 1000, NULL));
    mirror.denied_cost = 5;
    mirror.denied_until_ms = TABLE_START + 1900;
    assert_false(bucket_table_mirror(f.table, &key, f.shape, &mirror, TABLE_START + 1000, NULL));
    assert_true(bucket_table_is_denied(f.table, &key, f.shape, 4, TABLE_START + 1950, &decision));

    /* another tier, a refund, a reset */
    table_policy(&larger, 20, 200);
    other = bucket_shapes_ref(bucket_table_shapes(f.table), &larger, 1, 0);
    assert_false(bucket_table_is_denied(f.table, &key, other, 4, TABLE_START + 1100, &decision));
    assert_false(bucket_table_is_denied(f.table, &key, f.shape, 4, TABLE_START + 1100, &decision));
    bucket_shape_unref(other);
    assert_false(bucket_table_mirror(f.table, &key, f.shape, &mirror, TABLE_START + 1100, NULL));
    assert_true(bucket_table_is_denied(f.table, &key, f.shape, 5, TABLE_START + 1110, &decision));
    bucket_table_forget_denial(f.table, &key);
    assert_false(bucket_table_is_denied(f.table, &key, f.shape, 5, TABLE_START + 1110, &decision));
    assert_false(bucket_table_mirror(f.table, &key, f.shape, &mirror, TABLE_START + 1100, NULL));
    assert_int_equal(bucket_table_reset(f.table, &key), 2);
    assert_int_equal(bucket_table_reset(f.table, &key), 0);
    assert_false(bucket_table_is_denied(f.table, &key, f.shape, 5, TABLE_START + 1110, &decision));
    assert_int_equal(table_remaining(&f, "user:123", TABLE_START + 1110), 10);

    /* a reply from before the reset is too late */
    assert_false(bucket_table_mirror(f.table, &key, f.shape, &mirror, TABLE_START + 1120, NULL));
    assert_int_equal(table_remaining(&f, "user:123", TABLE_START + 1120), 10);

    /* full again: nothing to remember */
    mirror = table_mirror(&f, &key, 3, 50);
    assert_false(bucket_table_mirror(f.table, &key, f.shape, &mirror, TABLE_START + 1130, NULL));
    assert_int_equal(table_stats(&f).entries, 1);
    mirror = table_mirror(&f, &key, 10, 100);
    assert_false(bucket_table_mirror(f.table, &key, f.shape, &mirror, TABLE_START + 1140, NULL));
    assert_int_equal(table_stats(&f).entries, 0);
    table_teardown(&f);
}

static size_t
collect_all(struct table_fixture *f, int64_t now_ms, struct bucket_debt *debts, size_t most)
{
    size_t count = 0;

    for (size_t shard = 0; shard < bucket_table_shard_count(f->table); shard++) {
        size_t cursor = 0;

        do
            count += bucket_table_collect(f->table, shard, &cursor, 100, now_ms, debts + count,
                                          most - count);
        while (cursor != 0);
        assert_false(bucket_table_has_debt(f->table, shard));
    }
    return count;
}

static void test_the_ledger_is_collected_once(void **state)
{
    struct table_fixture f;
    struct bucket_debt debts[8];
    struct bucket_key key;
    struct bucket_mirror mirror;
    struct bucket_shape *share;
    struct limit_decision decision;

    (void)state;
    table_setup(&f, TABLE_MEMORY);
    bucket_table_key(f.table, SLICE("user:123"), SLICE("webhooks"), &key);
    assert_int_equal(collect_all(&f, TABLE_START + 10, debts, 8), 0);
    share = bucket_shapes_ref(bucket_table_shapes(f.table), &f.policy, 2, 1);
    assert_true(
        bucket_table_take(f.table, &key, share, 3, TABLE_START, BUCKET_LEDGER_ADD, &decision));
    assert_int_equal(decision.levels[0].capacity, 5);
    assert_int_equal(decision.levels[0].remaining, 2);
    assert_false(
        bucket_table_take(f.table, &key, share, 3, TABLE_START, BUCKET_LEDGER_ADD, &decision));
    bucket_table_adjust(f.table, &key, share, 4, TABLE_START, BUCKET_LEDGER_ADD);
    bucket_table_adjust(f.table, &key, share, -1, TABLE_START, BUCKET_LEDGER_ADD);
    bucket_table_add_debt(f.table, &key, f.shape, 2, NULL, TABLE_START, TABLE_START);

    /* full again, but owing: it stays until it was collected */
    for (size_t shard = 0; shard < bucket_table_shard_count(f.table); shard++) {
        size_t cursor = 0;

        assert_int_equal(bucket_table_sweep(f.table, shard, &cursor, 1000, TABLE_START + 10000000),
                         0);
    }

    /* what Redis says lacks the ledger: it leaves now, and is taken off here */
    mirror = table_mirror(&f, &key, 10, 60);
    assert_false(
        bucket_table_mirror(f.table, &key, f.shape, &mirror, TABLE_START + 10, NULL)); /* not yet */
    assert_true(bucket_table_mirror(f.table, &key, f.shape, &mirror, TABLE_START + 10, &debts[0]));
    (void)bucket_table_peek(f.table, &key, f.shape, 1, TABLE_START + 10, BUCKET_VIEW_PRESENT,
                            &decision);
    assert_int_equal(decision.levels[0].remaining, 2);
    assert_int_equal(decision.levels[1].remaining, 52);
    assert_int_equal(debts[0].tokens, 8);
    assert_int_equal(debts[0].owed[0], 8);
    assert_int_equal(debts[0].owed[1], 8);
    assert_ptr_equal(debts[0].shape, f.shape);
    assert_int_equal(debts[0].key_length, 8);
    assert_memory_equal(debts[0].key, "user:123", 8);
    assert_int_equal(debts[0].route_length, 8);
    assert_memory_equal(debts[0].route, "webhooks", 8);
    bucket_shape_unref(debts[0].shape);
    assert_int_equal(collect_all(&f, TABLE_START + 10, debts, 8), 0);

    /* a debt alone makes an entry */
    key = table_key(&f, "ip:192.0.2.1");
    bucket_table_add_debt(f.table, &key, f.shape, 1, NULL, TABLE_START, TABLE_START);
    assert_int_equal(collect_all(&f, TABLE_START + 10, debts, 8), 1);
    assert_int_equal(debts[0].route_length, 0);
    assert_int_equal(debts[0].owed[0], 1);
    assert_int_equal(debts[0].owed[1], 1);
    bucket_shape_unref(debts[0].shape);
    bucket_shape_unref(share);
    table_teardown(&f);
}

/* The minute has refilled, the hour has not: each owes what it lacks. */
static void test_a_debt_is_what_windows_lack(void **state)
{
    struct table_fixture f;
    struct bucket_debt debts[2];
    struct bucket_mirror mirror;
    struct limit_decision decision;
    struct bucket_key key;

    (void)state;
    table_setup(&f, TABLE_MEMORY);
    key = table_key(&f, "user:123");
    assert_true(
        bucket_table_take(f.table, &key, f.shape, 8, TABLE_START, BUCKET_LEDGER_ADD, &decision));
    assert_int_equal(collect_all(&f, TABLE_START + 31000, debts, 2), 1);
    assert_int_equal(debts[0].tokens, 8);
    assert_int_equal(debts[0].owed[0], 3);
    assert_int_equal(debts[0].owed[1], 8);
    bucket_shape_unref(debts[0].shape);

    /* What the store says before the charge arrives there has no say in a debt that was taken. */
    assert_true(
        bucket_table_take(f.table, &key, f.shape, 2, TABLE_START, BUCKET_LEDGER_ADD, &decision));
    assert_int_equal(collect_all(&f, TABLE_START + 31000, debts, 2), 1);
    mirror = table_mirror(&f, &key, 10, 100);
    assert_false(bucket_table_mirror(f.table, &key, f.shape, &mirror, TABLE_START + 31000, NULL));
    assert_int_equal(debts[0].owed[0], 2);
    assert_int_equal(debts[0].owed[1], 2);
    bucket_shape_unref(debts[0].shape);
    table_teardown(&f);
}

/* What the store says of a window has nothing to do with a debt that this window has refilled. */
static void test_an_old_debt_is_not_the_short_windows(void **state)
{
    struct table_fixture f;
    struct bucket_mirror mirror;
    struct bucket_debt debt;
    struct limit_decision decision;
    struct bucket_key key;

    (void)state;
    table_setup(&f, TABLE_MEMORY);
    key = table_key(&f, "user:123");
    assert_true(
        bucket_table_take(f.table, &key, f.shape, 8, TABLE_START, BUCKET_LEDGER_ADD, &decision));
    mirror = table_mirror(&f, &key, 9, 99);
    assert_true(bucket_table_mirror(f.table, &key, f.shape, &mirror, TABLE_START + 60000, &debt));
    assert_int_equal(debt.owed[0], 0);
    assert_int_equal(debt.owed[1], 7); /* of 8: an hour's 100 bring one in 36 s */
    (void)bucket_table_peek(f.table, &key, f.shape, 1, TABLE_START + 60000, BUCKET_VIEW_PRESENT,
                            &decision);
    assert_int_equal(decision.levels[0].remaining, 9);
    assert_int_equal(decision.levels[1].remaining, 92);
    bucket_shape_unref(debt.shape);
    table_teardown(&f);
}

/* A spending whose fate was unknown is owed in full, though the store has spoken in between. */
static void test_what_the_store_did_not_know_is_owed(void **state)
{
    struct table_fixture f;
    struct bucket_mirror mirror;
    struct bucket_debt debts[2];
    struct limit_decision decision;
    struct bucket_key key;
    const int64_t owed[] = {0, 4};

    (void)state;
    table_setup(&f, TABLE_MEMORY);
    key = table_key(&f, "user:123");
    assert_true(table_take(&f, "user:123", 3, TABLE_START));
    mirror = table_mirror(&f, &key, 9, 99); /* another request's */
    assert_false(bucket_table_mirror(f.table, &key, f.shape, &mirror, TABLE_START + 10, NULL));
    for (int i = 0; i < 3; i++)
        bucket_table_add_debt(f.table, &key, f.shape, 1, NULL, TABLE_START, TABLE_START + 20);
    assert_int_equal(collect_all(&f, TABLE_START + 20, debts, 2), 1);
    assert_int_equal(debts[0].owed[0], 3);
    assert_int_equal(debts[0].owed[1], 3);
    bucket_shape_unref(debts[0].shape);

    /* Nothing is charged twice where the levels have it still. */
    key = table_key(&f, "user:124");
    assert_true(table_take(&f, "user:124", 3, TABLE_START));
    for (int i = 0; i < 3; i++)
        bucket_table_add_debt(f.table, &key, f.shape, 1, NULL, TABLE_START, TABLE_START);
    (void)bucket_table_peek(f.table, &key, f.shape, 1, TABLE_START, BUCKET_VIEW_PRESENT, &decision);
    assert_int_equal(decision.levels[0].remaining, 7);
    assert_int_equal(decision.levels[1].remaining, 97);
    assert_int_equal(collect_all(&f, TABLE_START, debts, 2), 1);
    assert_int_equal(debts[0].owed[0], 3);
    bucket_shape_unref(debts[0].shape);

    /* A write-back that did not happen: each window owes what it did. */
    mirror = table_mirror(&f, &key, 9, 99);
    assert_false(bucket_table_mirror(f.table, &key, f.shape, &mirror, TABLE_START, NULL));
    bucket_table_add_debt(f.table, &key, f.shape, 4, owed, TABLE_START, TABLE_START);
    (void)bucket_table_peek(f.table, &key, f.shape, 1, TABLE_START, BUCKET_VIEW_PRESENT, &decision);
    assert_int_equal(decision.levels[0].remaining, 9);
    assert_int_equal(decision.levels[1].remaining, 96);
    table_teardown(&f);
}

static void test_other_windows_carry_over_what_they_share(void **state)
{
    struct table_fixture f;
    struct limit_policy minute_only;
    struct bucket_shape *shape;
    struct limit_decision decision;
    struct bucket_key key;

    (void)state;
    table_setup(&f, TABLE_MEMORY);
    table_policy(&minute_only, 30, 0);
    shape = bucket_shapes_ref(bucket_table_shapes(f.table), &minute_only, 1, 0);
    key = table_key(&f, "user:123");
    assert_true(table_take(&f, "user:123", 4, TABLE_START));
    assert_true(
        bucket_table_take(f.table, &key, shape, 1, TABLE_START, BUCKET_LEDGER_NONE, &decision));
    assert_int_equal(decision.levels[0].remaining, 25);
    assert_int_equal(table_stats(&f).buckets, 1);
    assert_true(table_take(&f, "user:123", 1, TABLE_START));
    assert_int_equal(table_remaining(&f, "user:123", TABLE_START), 4);
    assert_int_equal(table_stats(&f).buckets, 2);
    bucket_shape_unref(shape);
    table_teardown(&f);
}

static void test_shapes_are_used_again(void **state)
{
    struct bucket_shapes *shapes = bucket_shapes_create();
    struct limit_policy policy;
    struct bucket_shape *first;
    struct bucket_shape *share;
    uint16_t index;

    (void)state;
    table_policy(&policy, 10, 100);
    first = bucket_shapes_ref(shapes, &policy, 1, 0);
    assert_ptr_equal(bucket_shapes_ref(shapes, &policy, 1, 0), first);
    bucket_shape_unref(first);
    share = bucket_shapes_ref(shapes, &policy, 3, 1);
    assert_ptr_not_equal(share, first);
    assert_ptr_equal(share->base, first);
    assert_true(bucket_shape_is(share, &policy, 3, 1));
    assert_false(bucket_shape_is(share, &policy, 3, 2));
    assert_false(bucket_shape_is(share, &policy, 1, 0));
    bucket_shape_unref(first);
    index = share->index;
    bucket_shape_unref(share);
    for (int64_t i = 0; i < 100000; i++) { /* many reloads, each with limits of its own */
        table_policy(&policy, 20 + i % 1000, 0);
        share = bucket_shapes_ref(shapes, &policy, 2 + i % 7, 1);
        assert_true(share->index <= index + 3);
        bucket_shape_unref(share);
    }
    bucket_shapes_destroy(&shapes);
    assert_null(shapes);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_decides_as_plain_buckets_do),
        cmocka_unit_test(test_mirrors_and_remembers_denials),
        cmocka_unit_test(test_one_renews_a_denial),
        cmocka_unit_test(test_the_ledger_is_collected_once),
        cmocka_unit_test(test_a_debt_is_what_windows_lack),
        cmocka_unit_test(test_an_old_debt_is_not_the_short_windows),
        cmocka_unit_test(test_what_the_store_did_not_know_is_owed),
        cmocka_unit_test(test_other_windows_carry_over_what_they_share),
        cmocka_unit_test(test_shapes_are_used_again),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
