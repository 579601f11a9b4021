/* SPDX-License-Identifier: MIT */
/* What is spent while Redis is away is charged to it afterwards, at most once each. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>

#include <cmocka.h>

#include "kamiyo/limit/bucket_table.h"

#include "store_support.h"

static void test_outage_is_no_gift(void **state)
{
    struct store_fixture f;

    store_start_up(&f, state);
    for (int i = 0; i < 4; i++)
        (void)store_expect(&f, LIMIT_ALLOWED, LIMIT_MODE_REDIS);
    store_lose_redis(&f); /* three more */
    for (int i = 0; i < 3; i++)
        (void)store_expect(&f, LIMIT_ALLOWED, LIMIT_MODE_FALLBACK);
    (void)store_expect(&f, LIMIT_DENIED, LIMIT_MODE_FALLBACK);
    assert_int_equal((int)f.spent, 4);
    store_find_redis(&f);
    STORE_UNTIL(&f, f.spent == STORE_BURST);
    loop_run_for(f.loop, 300);
    assert_int_equal((int)f.spent, STORE_BURST);
    (void)store_expect(&f, LIMIT_DENIED, LIMIT_MODE_REDIS);
    store_teardown(&f);
}

/* A charge whose reply is lost is not repeated. */
static void test_write_back_at_most_once(void **state)
{
    struct store_fixture f;

    store_start_up(&f, state);
    store_lose_redis(&f);
    f.fails_probes = false;
    STORE_ACTS(&f, STORE_CHARGE_SILENTLY, STORE_DECIDE);
    STORE_UNTIL(&f, f.spent == 3);
    fake_redis_cut_all(f.fake);
    loop_run_for(f.loop, 500);
    assert_int_equal((int)f.spent, 3);
    store_teardown(&f);
}

/* A charge that was certainly refused is repeated. */
static void test_write_back_until_it_is_done(void **state)
{
    struct store_fixture f;

    store_start_up(&f, state);
    store_lose_redis(&f);
    f.fails_probes = false;
    STORE_ACTS(&f, STORE_LATE, STORE_NO_SCRIPT, STORE_OOM, STORE_DECIDE);
    STORE_UNTIL(&f, f.spent == 3);
    loop_run_for(f.loop, 300);
    assert_int_equal((int)f.spent, 3);
    store_teardown(&f);
}

/* What other workers wrote into the ledger while this one's connection, unused, seemed well: it
 * does not leave on a connection that says nothing any more. */
static void test_an_unused_connection_is_asked_first(void **state)
{
    struct store_fixture f;
    struct bucket_key key;
    struct bucket_shape *shape;
    struct limit_decision decision;

    store_start_up(&f, state);
    shape = bucket_shapes_ref(bucket_table_shapes(f.shared->table), &f.policy, 1, 0);
    bucket_table_key(f.shared->table, f.query.key, f.query.route, &key);
    loop_run_for(f.loop, 100);
    f.is_stopped = true;
    assert_true(bucket_table_take(f.shared->table, &key, shape, 3, clock_monotonic_ms(),
                                  BUCKET_LEDGER_ADD, &decision));
    loop_run_for(f.loop, 300);
    f.is_stopped = false;
    STORE_UNTIL(&f, f.spent == 3); /* on the next connection */
    loop_run_for(f.loop, 300);
    assert_int_equal((int)f.spent, 3);
    bucket_shape_unref(shape);
    store_teardown(&f);
}

/* What is under way when a connection ends is lost to the books: it is to be little. */
static void test_a_connection_that_ends_takes_little_along(void **state)
{
    struct store_fixture f;
    struct bucket_shape *shape;
    struct limit_decision decision;

    store_start_up(&f, state);
    shape = bucket_shapes_ref(bucket_table_shapes(f.shared->table), &f.policy, 1, 0);
    store_lose_redis(&f); /* three are owed */
    for (int i = 0; i < 40; i++) {
        char name[32];
        struct bucket_key key;

        (void)snprintf(name, sizeof(name), "user:x%d", i);
        bucket_table_key(f.shared->table, slice_of(name), f.query.route, &key);
        assert_true(bucket_table_take(f.shared->table, &key, shape, 1, clock_monotonic_ms(),
                                      BUCKET_LEDGER_ADD, &decision));
    }
    f.fails_probes = false;
    STORE_ACTS(&f, STORE_CUT, STORE_CUT, STORE_CUT, STORE_DECIDE);
    STORE_UNTIL(&f, f.spent >= 43 - 3 - 3);
    loop_run_for(f.loop, 300);
    assert_true(f.spent < 43);
    bucket_shape_unref(shape);
    store_teardown(&f);
}

/* A debt in a shard whose worker does not come by leaves with the next decision about its bucket.
 */
static void test_a_decision_takes_its_debt_along(void **state)
{
    struct store_fixture f;
    struct bucket_key key;
    struct bucket_shape *shape;
    struct limit_decision decision;
    char name[20];

    store_start_up(&f, state);
    f.shared->worker_count = 2; /* odd shards are not ours */
    shape = bucket_shapes_ref(bucket_table_shapes(f.shared->table), &f.policy, 1, 0);
    for (int i = 0; !bucket_table_has_debt(f.shared->table, 1); i++) {
        (void)snprintf(name, sizeof(name), "user:%d", i);
        f.query.key = slice_of(name);
        bucket_table_key(f.shared->table, f.query.key, f.query.route, &key);
        if (key.hash >> 63 != 0)
            assert_true(bucket_table_take(f.shared->table, &key, shape, 3, clock_monotonic_ms(),
                                          BUCKET_LEDGER_ADD, &decision));
    }
    (void)store_expect(&f, LIMIT_ALLOWED, LIMIT_MODE_REDIS);
    STORE_UNTIL(&f, f.spent == 4);
    assert_false(bucket_table_has_debt(f.shared->table, 1));
    limiter_peek_local(f.limiter, &f.query, &decision);
    assert_int_equal(decision.levels[0].remaining, STORE_BURST - 4);
    bucket_shape_unref(shape);
    store_teardown(&f);
}

static void test_charge_and_refund(void **state)
{
    struct store_fixture f;

    store_start_up(&f, state);
    f.query.cost = 12;
    limiter_charge(f.limiter, &f.query); /* below zero */
    STORE_UNTIL(&f, f.spent == 12);
    f.query.cost = 1;
    (void)store_expect(&f, LIMIT_DENIED, LIMIT_MODE_REDIS);
    f.query.cost = 8;
    limiter_refund(f.limiter, &f.query);
    STORE_UNTIL(&f, f.spent == 4);
    f.query.cost = 1;
    (void)store_expect(&f, LIMIT_ALLOWED, LIMIT_MODE_REDIS);
    /* During an outage both are owed. */
    store_lose_redis(&f);
    limiter_refund(f.limiter, &f.query);
    limiter_refund(f.limiter, &f.query);
    store_find_redis(&f);
    STORE_UNTIL(&f, f.spent == 5 + 3 - 2);
    store_teardown(&f);
}

static void test_share(void **state)
{
    struct store_fixture f;

    store_setup(&f, state);
    f.options.fallback_share = 4;
    store_start(&f);
    STORE_UNTIL(&f, store_has_redis(&f));
    store_lose_redis(&f); /* three: of a share of ceil(10 / 4) */
    (void)store_expect(&f, LIMIT_DENIED, LIMIT_MODE_FALLBACK);
    store_find_redis(&f);
    STORE_UNTIL(&f, f.spent == 3);
    (void)store_expect(&f, LIMIT_ALLOWED, LIMIT_MODE_REDIS); /* the whole limit again */
    store_teardown(&f);
}

int main(void)
{
#define LOOP_TEST(f) cmocka_unit_test_setup_teardown(f, loop_fixture_setup, loop_fixture_teardown)
    const struct CMUnitTest tests[] = {
        LOOP_TEST(test_outage_is_no_gift),
        LOOP_TEST(test_write_back_at_most_once),
        LOOP_TEST(test_write_back_until_it_is_done),
        LOOP_TEST(test_an_unused_connection_is_asked_first),
        LOOP_TEST(test_a_connection_that_ends_takes_little_along),
        LOOP_TEST(test_a_decision_takes_its_debt_along),
        LOOP_TEST(test_charge_and_refund),
        LOOP_TEST(test_share),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
