/* SPDX-License-Identifier: MIT */
#pragma once

#include <stddef.h>
#include <stdint.h>

/*
 * Whole numbers in decimal, for lines that are written for each request. The
 * caller has made sure of the room; base/text.h has the forms that look at it.
 */
#define DIGITS_MAX 20 /* of 2^64 - 1 */

/* How many digits digits_write writes: 1 to DIGITS_MAX. */
size_t digits_count(uint64_t value);
/* Numbers of two digits and more. */
char *digits_write_many(char *out, uint64_t value);
/* Write the number at `out`, without a terminator; returns what follows it. */
static inline char *digits_write(char *out, uint64_t value)
{
    *out = (char)('0' + value);
    return value < 10 ? out + 1 : digits_write_many(out, value);
}
