/* SPDX-License-Identifier: MIT */
/* Policies: the derived units, the bounds with their advice, order and names, shares. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "kamiyo/limit/limit_policy.h"

#define TRILLION 1000000000000
#define MOST     ((int64_t)1 << 50)

static void test_units_are_cancelled(void **state)
{
    static const struct {
        int64_t limit, burst, period_ms;
        const char *name;
        int64_t units_per_token, units_per_ms, capacity_units, refill_ms;
    } rows[] = {
        {10, 0, 60000, "minute", 6000, 1, 60000, 60000},
        {35, 0, 60000, "minute", 12000, 7, 420000, 60000},
        {2083, 0, 3600000, "hour", 3600000, 2083, 7498800000, 3600000},
        {50000, 100, 86400000, "day", 1728, 1, 172800, 172800},
        {1, 0, 1000, "second", 1000, 1, 1000, 1000},
        {7, 20, 10000, "10s", 10000, 7, 200000, 28572},
        {1, 0, 31622400000, "31622400s", 31622400000, 1, 31622400000, 31622400000},
        {TRILLION, 0, 1000, "second", 1, 1000000000, TRILLION, 1000},
        {TRILLION, 1, 86400000, "day", 27, 312500, 27, 1},
    };

    (void)state;
    for (size_t i = 0; i < COUNT_OF(rows); i++) {
        struct limit_window window;

        assert_true(
            limit_window_init(&window, rows[i].limit, rows[i].burst, rows[i].period_ms, NULL));
        assert_string_equal(window.name, rows[i].name);
        assert_int_equal(window.burst, rows[i].burst == 0 ? rows[i].limit : rows[i].burst);
        assert_int_equal(window.units_per_token, rows[i].units_per_token);
        assert_int_equal(window.units_per_ms, rows[i].units_per_ms);
        assert_int_equal(window.capacity_units, rows[i].capacity_units);
        assert_int_equal(window.refill_ms, rows[i].refill_ms);
    }
}

static void test_bounds_name_the_nearest_that_fit(void **state)
{
    static const struct {
        int64_t limit, burst, period_ms;
        const char *says;
    } rows[] = {
        {0, 0, 60000, "limit 0 is out of 1 to 1000000000000"},
        {TRILLION + 1, 0, 60000, "limit 1000000000001 is out of"},
        {1, -1, 60000, "burst -1 is out of"},
        {1, TRILLION + 1, 60000, "burst 1000000000001 is out of"},
        {999999999989, 0, 86400000,
         "the nearest limits that fit are 999999993600 and 1000000000000"},
        {7, TRILLION, 86400000, "nearest limit that fits is"},
    };

    (void)state;
    for (size_t i = 0; i < COUNT_OF(rows); i++) {
        struct limit_window window = {.limit = -5};
        struct error error = {""};

        assert_false(
            limit_window_init(&window, rows[i].limit, rows[i].burst, rows[i].period_ms, &error));
        if (strstr(error.text, rows[i].says) == NULL)
            fail_msg("\"%s\" does not say \"%s\"", error.text, rows[i].says);
        assert_int_equal(window.limit, -5);
    }
}

/* Whatever the advice says, its limits fit, and none between them does. */
static void test_advice_is_right(void **state)
{
    (void)state;
    for (int64_t limit = 13100001; limit < 13100300; limit += 7) {
        struct limit_window window;
        struct error error = {""};
        long long below;
        long long above;
        char *numbers;

        if (limit_window_init(&window, limit, 0, 86400000, &error))
            continue;
        numbers = strstr(error.text, "fit are ");
        assert_non_null(numbers);
        below = strtoll(numbers + strlen("fit are "), &numbers, 10);
        assert_memory_equal(numbers, " and ", 5);
        above = strtoll(numbers + 5, NULL, 10);
        assert_true(below < limit && above > limit);
        for (int64_t other = below; other <= above; other++)
            assert_int_equal(limit_window_init(&window, other, 0, 86400000, NULL),
                             other == below || other == above);
    }
}

static void test_windows_stand_shortest_first(void **state)
{
    static const int64_t periods[] = {86400000, 1000, 3600000, 60000};
    struct limit_policy policy = {0};
    struct limit_window window;
    struct error error = {""};

    (void)state;
    for (size_t i = 0; i < COUNT_OF(periods); i++) {
        assert_true(limit_window_init(&window, 100 - (int64_t)i, 0, periods[i], NULL));
        assert_true(limit_policy_add(&policy, &window, NULL));
    }
    assert_string_equal(policy.windows[0].name, "second");
    assert_string_equal(policy.windows[1].name, "minute");
    assert_string_equal(policy.windows[2].name, "hour");
    assert_string_equal(policy.windows[3].name, "day");
    assert_int_equal(limit_policy_max_cost(&policy), 97);
    assert_false(limit_policy_add(&policy, &window, &error));
    assert_string_equal(error.text, "two windows of 60 s (\"minute\")");
    for (int64_t i = 0; i < 4; i++) {
        assert_true(limit_window_init(&window, 100, 0, 2000 + i * 1000, NULL));
        assert_true(limit_policy_add(&policy, &window, NULL));
    }
    assert_true(limit_window_init(&window, 100, 0, 9000, NULL));
    assert_false(limit_policy_add(&policy, &window, &error));
    assert_string_equal(error.text, "more than 8 windows");
    assert_int_equal(policy.window_count, 8);
}

static void test_a_share_divides_rate_and_capacity(void **state)
{
    struct limit_policy policy = {0};
    struct limit_policy share;
    struct limit_window window;

    (void)state;
    assert_true(limit_window_init(&window, 10, 0, 60000, NULL));
    assert_true(limit_policy_add(&policy, &window, NULL));
    limit_policy_share(&policy, 4, 1, &share);
    assert_int_equal(share.windows[0].burst, 3);
    assert_string_equal(share.windows[0].name, "minute");
    /* 10 tokens in four minutes */
    assert_int_equal(share.windows[0].units_per_token, 24000 * share.windows[0].units_per_ms);
    limit_policy_share(&policy, 4, 7, &share);
    assert_int_equal(share.windows[0].burst, 7);
    limit_policy_share(&policy, 1000, 1, &share);
    assert_int_equal(share.windows[0].burst, 1);
    assert_int_equal(share.windows[0].refill_ms, 6000000);
    limit_policy_share(&policy, 1, 1, &share);
    assert_memory_equal(&share, &policy, sizeof(share));
}

static void test_the_largest_share_does_not_overflow(void **state)
{
    struct limit_policy policy = {0};
    struct limit_policy share;
    struct limit_window window;

    (void)state;
    assert_true(limit_window_init(&window, 1, 35000, 31622400000, NULL));
    assert_true(limit_policy_add(&policy, &window, NULL));
    limit_policy_share(&policy, 1000, 35000, &share);
    assert_true(share.windows[0].capacity_units > MOST);
    assert_int_equal(share.windows[0].capacity_units / share.windows[0].burst,
                     share.windows[0].units_per_token);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_units_are_cancelled),
        cmocka_unit_test(test_bounds_name_the_nearest_that_fit),
        cmocka_unit_test(test_advice_is_right),
        cmocka_unit_test(test_windows_stand_shortest_first),
        cmocka_unit_test(test_a_share_divides_rate_and_capacity),
        cmocka_unit_test(test_the_largest_share_does_not_overflow),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
