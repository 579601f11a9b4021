/* SPDX-License-Identifier: MIT */
/*
 * Decimal digits without a loop over each: the length follows from the highest
 * bit, and digits leave in pairs from a table, because divisions are what a
 * number costs.
 */
#include "kamiyo/base/digits.h"

#include <string.h>

#include "kamiyo/base/attributes.h"

static const char pairs[] = "00010203040506070809101112131415161718192021222324"
                            "25262728293031323334353637383940414243444546474849"
                            "50515253545556575859606162636465666768697071727374"
                            "75767778798081828384858687888990919293949596979899";

/* powers[n] is the smallest number of n + 1 digits, but for the first. */
static const uint64_t powers[DIGITS_MAX] = {
    0,
    10,
    100,
    1000,
    10000,
    100000,
    1000000,
    10000000,
    100000000,
    1000000000,
    10000000000,
    100000000000,
    1000000000000,
    10000000000000,
    100000000000000,
    1000000000000000,
    10000000000000000,
    100000000000000000,
    1000000000000000000,
    10000000000000000000u,
};

size_t digits_count(uint64_t value)
{
    /* 1233 / 4096 is the logarithm of 2 to the base of 10, near enough for 64 bits. */
    size_t bits = 64 - (size_t)__builtin_clzll(value | 1);
    size_t count = bits * 1233 >> 12;

    return count + (value >= powers[count]);
}

char *digits_write(char *out, uint64_t value)
{
    if (value < 10) {
        *out = (char)('0' + value);
        return out + 1;
    }
    char *end = out + digits_count(value);
    char *at = end;

    while (value >= 100) {
        uint64_t rest = value / 100;

        at -= 2;
        memcpy(at, pairs + 2 * (value - rest * 100), 2);
        value = rest;
    }
    if (value >= 10)
        memcpy(at - 2, pairs + 2 * value, 2);
    else
        at[-1] = (char)('0' + value);
    return end;
}
