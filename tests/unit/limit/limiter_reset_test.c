/* SPDX-License-Identifier: MIT */
/* Looking at an identity's buckets, rehearsing a decision and emptying them, with Redis and
 * without. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "kamiyo/limit/bucket_table.h"

#include "store_support.h"

static void on_reset(void *arg, int64_t deleted)
{
    *(int64_t *)arg = deleted;
}

static void test_reset(void **state)
{
    static const struct slice windows[] = {{"minute", 6}, {"hour", 4}};
    static const struct slice routes[] = {{"upload", 6}};
    const struct limit_buckets buckets = {.key = SLICE("user:1"),
                                          .routes = routes,
                                          .route_count = 1,
                                          .window_names = windows,
                                          .window_name_count = 2};
    struct store_fixture f;
    int64_t deleted = -2;

    store_start_up(&f, state);
    limiter_reset(f.limiter, &buckets, on_reset, &deleted);
    assert_int_equal(deleted, -2);
    STORE_UNTIL(&f, deleted != -2);
    assert_int_equal(deleted, 2); /* the fake says 1 to each DEL */
    fake_redis_destroy(&f.fake);
    STORE_UNTIL(&f, !store_has_redis(&f));
    deleted = -2;
    limiter_reset(f.limiter, &buckets, on_reset, &deleted);
    assert_int_equal(deleted, -2);
    STORE_UNTIL(&f, deleted != -2);
    assert_int_equal(deleted, 0); /* in the table, and kept for when Redis is back */
    for (int i = 1; i < 256; i++) {
        deleted = -2;
        limiter_reset(f.limiter, &buckets, on_reset, &deleted);
        STORE_UNTIL(&f, deleted != -2);
        assert_int_equal(deleted, 0);
    }
    deleted = -2;
    limiter_reset(f.limiter, &buckets, on_reset, &deleted);
    STORE_UNTIL(&f, deleted != -2);
    assert_int_equal(deleted, -1); /* no more are kept */
    store_teardown(&f);
}

/* What another worker hears of Redis between the reset and its arrival there is forgotten too. */
static void test_reset_forgets_what_was_heard_meanwhile(void **state)
{
    static const struct slice windows[] = {{"31622400s", 9}};
    const struct limit_buckets buckets = {
        .key = SLICE("user:1"), .window_names = windows, .window_name_count = 1};
    struct store_fixture f;
    struct bucket_table *table;
    struct bucket_shape *shape;
    struct bucket_mirror mirror = {.denied_cost = 1};
    struct bucket_key key;
    struct limit_decision decision;
    int64_t deleted = -2;

    store_start_up(&f, state);
    table = f.shared->table;
    shape = bucket_shapes_ref(bucket_table_shapes(table), &f.policy, 1, 0);
    bucket_table_key(table, f.query.key, f.query.route, &key);
    limiter_reset(f.limiter, &buckets, on_reset, &deleted);
    mirror.generation = bucket_table_generation(table, &key);
    mirror.denied_until_ms = clock_monotonic_ms() + 1000;
    (void)bucket_table_mirror(table, &key, shape, &mirror, clock_monotonic_ms(), NULL);
    assert_true(bucket_table_is_denied(table, &key, shape, 1, clock_monotonic_ms(), &decision));
    STORE_UNTIL(&f, deleted != -2);
    (void)store_expect(&f, LIMIT_ALLOWED, LIMIT_MODE_REDIS);
    bucket_shape_unref(shape);
    store_teardown(&f);
}

static void test_peek(void **state)
{
    struct store_fixture f;
    struct store_answer answer = {.is_done = false};

    store_start_up(&f, state);
    (void)store_expect(&f, LIMIT_ALLOWED, LIMIT_MODE_REDIS);
    assert_int_equal(
        limiter_peek(f.limiter, &f.query, &answer.decision, store_on_done, &answer, &answer.call),
        PROGRESS_PENDING);
    STORE_UNTIL(&f, answer.is_done);
    assert_int_equal(answer.decision.levels[0].remaining, STORE_BURST - 1);
    assert_int_equal((int)f.spent, 1);
    store_lose_redis(&f);
    assert_int_equal(
        limiter_peek(f.limiter, &f.query, &answer.decision, store_on_done, &answer, &answer.call),
        PROGRESS_DONE);
    assert_int_equal(answer.decision.levels[0].remaining, STORE_BURST - 4);
    store_teardown(&f);
}

static struct limit_decision rehearse(struct store_fixture *f, enum progress progress)
{
    struct store_answer answer = {.is_done = false};

    assert_int_equal(limiter_rehearse(f->limiter, &f->query, &answer.decision, store_on_done,
                                      &answer, &answer.call),
                     progress);
    if (progress == PROGRESS_PENDING)
        STORE_UNTIL(f, answer.is_done);
    return answer.decision;
}

static void test_rehearsal(void **state)
{
    struct store_fixture f;
    struct limit_decision decision;

    store_start_up(&f, state);
    for (int i = 0; i < 3; i++) {
        decision = rehearse(&f, PROGRESS_PENDING);
        assert_int_equal(decision.outcome, LIMIT_ALLOWED);
        assert_int_equal(decision.mode, LIMIT_MODE_REDIS);
        assert_int_equal(decision.levels[0].remaining, STORE_BURST - 1);
        assert_true(decision.levels[0].full_ms > 0);
    }
    assert_int_equal((int)f.spent, 0);
    f.query.cost = STORE_BURST;
    (void)store_expect(&f, LIMIT_ALLOWED, LIMIT_MODE_REDIS);
    f.query.cost = 1;
    decision = rehearse(&f, PROGRESS_PENDING);
    assert_int_equal(decision.outcome, LIMIT_DENIED);
    assert_true(decision.wait_ms > 0);
    (void)store_expect(&f, LIMIT_DENIED, LIMIT_MODE_REDIS);
    decision = rehearse(&f, PROGRESS_DONE); /* as the next check would be */
    assert_int_equal(decision.outcome, LIMIT_DENIED);
    assert_int_equal(decision.mode, LIMIT_MODE_CACHED);
    store_teardown(&f);
}

/* While Redis is away the table says, or what the route says in its place; at a silence likewise.
 */
static void test_rehearsal_without_redis(void **state)
{
    struct store_fixture f;
    struct limit_decision decision;
    int64_t left;

    store_start_up(&f, state);
    STORE_ACTS(&f, STORE_SILENT);
    decision = rehearse(&f, PROGRESS_PENDING);
    assert_int_equal(decision.outcome, LIMIT_ALLOWED);
    assert_int_equal(decision.mode, LIMIT_MODE_FALLBACK);
    assert_int_equal(decision.levels[0].remaining, STORE_BURST - 1);
    f.query.on_failure = LIMIT_ON_FAILURE_DENY;
    assert_int_equal(rehearse(&f, PROGRESS_PENDING).outcome, LIMIT_STORE_FAILED);
    f.query.on_failure = LIMIT_ON_FAILURE_LOCAL;
    store_lose_redis(&f);
    decision = rehearse(&f, PROGRESS_DONE);
    assert_int_equal(decision.mode, LIMIT_MODE_FALLBACK);
    left = decision.levels[0].remaining;
    assert_int_equal(rehearse(&f, PROGRESS_DONE).levels[0].remaining, left);
    store_expect_at_once(&f, LIMIT_ALLOWED, LIMIT_MODE_FALLBACK);
    assert_int_equal(rehearse(&f, PROGRESS_DONE).levels[0].remaining, left - 1);
    f.query.on_failure = LIMIT_ON_FAILURE_ALLOW;
    assert_int_equal(rehearse(&f, PROGRESS_DONE).outcome, LIMIT_UNLIMITED);
    store_teardown(&f);
}

int main(void)
{
#define LOOP_TEST(f) cmocka_unit_test_setup_teardown(f, loop_fixture_setup, loop_fixture_teardown)
    const struct CMUnitTest tests[] = {
        LOOP_TEST(test_reset),
        LOOP_TEST(test_reset_forgets_what_was_heard_meanwhile),
        LOOP_TEST(test_peek),
        LOOP_TEST(test_rehearsal),
        LOOP_TEST(test_rehearsal_without_redis),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
