/* SPDX-License-Identifier: MIT */
/* The clocks: units, agreement with the kernel's, and one that never goes back. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <time.h>

#include <cmocka.h>

#include "kamiyo/base/clock.h"

static int64_t kernel_us(clockid_t clock)
{
    struct timespec now;
    assert_int_equal(clock_gettime(clock, &now), 0);
    return (int64_t)now.tv_sec * 1000000 + now.tv_nsec / 1000;
}

static void test_units(void **state)
{
    (void)state;
    struct clock_time now;
    int64_t before = kernel_us(CLOCK_MONOTONIC);
    clock_read(&now);
    int64_t ms = clock_monotonic_ms();
    int64_t after = kernel_us(CLOCK_MONOTONIC);
    assert_true(before <= now.monotonic_us && now.monotonic_us <= after);
    assert_true(before / 1000 <= ms && ms <= after / 1000);
}

/* The wall clock may be set while the test runs, so it is only compared within an hour. */
static void test_wall(void **state)
{
    (void)state;
    struct clock_time now;
    clock_read(&now);
    int64_t kernel = kernel_us(CLOCK_REALTIME);
    int64_t hour_us = (int64_t)3600 * 1000000;
    assert_true(now.wall_us > kernel - hour_us && now.wall_us < kernel + hour_us);
    int64_t ms = clock_wall_ms();
    assert_true(ms > (kernel - hour_us) / 1000 && ms < (kernel + hour_us) / 1000);
}

static void test_never_goes_back(void **state)
{
    (void)state;
    struct clock_time last, now;
    clock_read(&last);
    for (int i = 0; i < 10000; i++) {
        clock_read(&now);
        assert_true(now.monotonic_us >= last.monotonic_us);
        last = now;
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_units),
        cmocka_unit_test(test_wall),
        cmocka_unit_test(test_never_goes_back),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
