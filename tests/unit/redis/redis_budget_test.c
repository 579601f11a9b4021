/* SPDX-License-Identifier: MIT */
/* Reservations: never more than ten in a second, with room for how late each attempt begins. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "kamiyo/redis/redis_budget.h"

enum {
    COUNT = 200,
    LATENESS_MS = 50 /* of one attempt against another's */
};

static void test_ten_in_any_second(void **state)
{
    struct redis_budget *budget = redis_budget_create();
    int64_t at_ms[COUNT];

    (void)state;
    for (int i = 0; i < COUNT; i++) {
        int64_t wanted_ms = 5000 + i * 7; /* far more often than allowed */

        at_ms[i] = redis_budget_reserve(budget, wanted_ms);
        assert_true(at_ms[i] >= wanted_ms);
        if (i > 0)
            assert_true(at_ms[i] >= at_ms[i - 1]);
        if (i >= REDIS_BUDGET_PER_SECOND)
            assert_true(at_ms[i] - at_ms[i - REDIS_BUDGET_PER_SECOND] >= 1000 + LATENESS_MS);
    }
    /* and not much fewer */
    assert_true(at_ms[COUNT - 1] - at_ms[0] < COUNT / REDIS_BUDGET_PER_SECOND * 1200);
    redis_budget_destroy(&budget);
    assert_null(budget);
}

static void test_ten_at_once_after_a_rest(void **state)
{
    struct redis_budget *budget = redis_budget_create();

    (void)state;
    for (int round = 1; round < 4; round++)
        for (int i = 0; i < REDIS_BUDGET_PER_SECOND; i++)
            assert_int_equal(redis_budget_reserve(budget, round * 60000), round * 60000);
    redis_budget_destroy(&budget);
    redis_budget_destroy(&budget);
}

/* Two workers lose their connections at the same moment, and one's clock is a tick behind: with
 * attempts left neither waits, or a closed connection would be an outage of a tick. */
static void test_an_older_now_does_not_wait(void **state)
{
    struct redis_budget *budget = redis_budget_create();

    (void)state;
    assert_int_equal(redis_budget_reserve(budget, 5004), 5004);
    assert_int_equal(redis_budget_reserve(budget, 5000), 5000);
    for (int i = 2; i < REDIS_BUDGET_PER_SECOND; i++)
        assert_int_equal(redis_budget_reserve(budget, 5002), 5002);
    assert_true(redis_budget_reserve(budget, 5000) >= 6004 + LATENESS_MS);
    assert_true(redis_budget_reserve(budget, 5000) >= 6004 + LATENESS_MS);
    redis_budget_destroy(&budget);
}

/* Those that wait for nothing count as well, as far as there is room, and hold no moment to come.
 */
static void test_what_did_not_wait_counts(void **state)
{
    struct redis_budget *budget = redis_budget_create();

    (void)state;
    for (int i = 0; i < 4; i++)
        redis_budget_count(budget, 5000);
    for (int i = 4; i < REDIS_BUDGET_PER_SECOND; i++)
        assert_int_equal(redis_budget_reserve(budget, 5001), 5001);
    for (int i = 0; i < 3; i++)
        redis_budget_count(budget, 5002);
    assert_in_range(redis_budget_reserve(budget, 5003), 6000 + LATENESS_MS, 6200);
    redis_budget_destroy(&budget);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_ten_in_any_second),
        cmocka_unit_test(test_ten_at_once_after_a_rest),
        cmocka_unit_test(test_an_older_now_does_not_wait),
        cmocka_unit_test(test_what_did_not_wait_counts),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
