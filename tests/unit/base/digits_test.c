/* SPDX-License-Identifier: MIT */
/*
 * Decimal digits against the C library's, at each power of ten and of two and
 * their neighbours, and nothing written beyond the last digit. Hexadecimal
 * digits: each byte, and each pair of bytes.
 */
#include <ctype.h>
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

static int expected_hex(int byte)
{
    static const char digits[] = "0123456789abcdef";
    const char *at = byte != 0 ? strchr(digits, tolower(byte)) : NULL;

    return at != NULL ? (int)(at - digits) : -1;
}

static void test_hexadecimal_digits(void **state)
{
    (void)state;
    for (int first = 0; first < 256; first++) {
        int high = expected_hex(first);

        assert_int_equal(digits_hex_value((char)first), high);
        for (int second = 0; second < 256; second++) {
            const char two[2] = {(char)first, (char)second};
            int low = expected_hex(second);

            assert_int_equal(digits_hex_byte(two), high < 0 || low < 0 ? -1 : high * 16 + low);
        }
    }
    assert_int_equal(digits_hex_byte("f"), -1);
    assert_int_equal(digits_hex_byte(""), -1);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_small_numbers),
        cmocka_unit_test(test_powers_and_their_neighbours),
        cmocka_unit_test(test_hexadecimal_digits),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
