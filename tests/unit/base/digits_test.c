/* SPDX-License-Identifier: MIT */
/*
 * Decimal digits against the C library's, at each power of ten and of two and
 * their neighbours, and nothing written beyond the last digit.
 */
#include <inttypes.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "kamiyo/base/digits.h"

static void check(uint64_t value)
{
    char expected[32], written[32];
    size_t length = (size_t)snprintf(expected, sizeof(expected), "%" PRIu64, value);

    memset(written, '#', sizeof(written));
    assert_int_equal(digits_count(value), length);
    assert_ptr_equal(digits_write(written, value), written + length);
    assert_memory_equal(written, expected, length);
    assert_int_equal(written[length], '#');
}

static void test_small_numbers(void **state)
{
    (void)state;
    for (uint64_t value = 0; value <= 20000; value++)
        check(value);
}

static void test_powers_and_their_neighbours(void **state)
{
    (void)state;
    uint64_t ten = 1;
    for (int digits = 1; digits <= DIGITS_MAX; digits++, ten *= 10)
        for (uint64_t step = 0; step <= 2; step++)
            check(ten - 1 + step);
    for (unsigned bit = 0; bit < 64; bit++)
        for (uint64_t step = 0; step <= 2; step++)
            check((UINT64_C(1) << bit) - 1 + step);
    check(UINT64_MAX);
    check(UINT64_MAX - 1);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_small_numbers),
        cmocka_unit_test(test_powers_and_their_neighbours),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
