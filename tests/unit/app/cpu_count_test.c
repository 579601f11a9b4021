/* SPDX-License-Identifier: MIT */
/* How many workers `auto` means: the quota as a table, and the process's own affinity. */
#include <sched.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "kamiyo/app/cpu_count.h"
#include "kamiyo/base/attributes.h"

static void test_quota(void **state)
{
    (void)state;
    static const struct {
        const char *text;
        size_t count;
    } cases[] = {
        {"max 100000\n", 0},
        {"100000 100000\n", 1},
        {"100001 100000\n", 2},
        {"150000 100000\n", 2},
        {"50000 100000\n", 1}, /* Render's starter: half a CPU */
        {"1 100000\n", 1},
        {"400000 100000\n", 4},
        {"400000 100000", 4}, /* without the line's end */
        {"200000 50000\n", 4},
        {"0 100000\n", 1},
        /* Malformed: no bound rather than a wrong one. */
        {"", 0},
        {"\n", 0},
        {"max\n", 0},
        {"100000\n", 0},
        {"100000 0\n", 0},
        {"-1 100000\n", 0},
        {"100000 x\n", 0},
        {"99999999999999999999999 100000\n", 0},
    };
    for (size_t i = 0; i < COUNT_OF(cases); i++)
        assert_int_equal(cpu_count_of_quota(slice_of(cases[i].text)), cases[i].count);
    assert_int_equal(cpu_count_of_quota((struct slice){NULL, 0}), 0);
}

static void test_affinity_bounds_it(void **state)
{
    (void)state;
    cpu_set_t before, one;
    assert_int_equal(sched_getaffinity(0, sizeof(before), &before), 0);
    assert_in_range(cpu_count_available(), 1, (size_t)CPU_COUNT(&before));
    CPU_ZERO(&one);
    for (size_t cpu = 0; cpu < CPU_SETSIZE && CPU_COUNT(&one) == 0; cpu++)
        if (CPU_ISSET(cpu, &before))
            CPU_SET(cpu, &one);
    assert_int_equal(sched_setaffinity(0, sizeof(one), &one), 0);
    assert_int_equal(cpu_count_available(), 1);
    assert_int_equal(sched_setaffinity(0, sizeof(before), &before), 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_quota),
        cmocka_unit_test(test_affinity_bounds_it),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
