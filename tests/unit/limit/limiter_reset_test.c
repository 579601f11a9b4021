/* SPDX-License-Identifier: MIT */
/* Looking at an identity's buckets and emptying them, with Redis and without. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

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
    assert_int_equal(deleted, -1);
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

int main(void)
{
#define LOOP_TEST(f) cmocka_unit_test_setup_teardown(f, loop_fixture_setup, loop_fixture_teardown)
    const struct CMUnitTest tests[] = {
        LOOP_TEST(test_reset),
        LOOP_TEST(test_peek),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
