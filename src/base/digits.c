/* SPDX-License-Identifier: MIT */
/*
 * Decimal digits without a loop over each: the length follows from the highest
 * bit, and digits leave in pairs from a table, four at a step, because divisions
 * are what a number costs. Hexadecimal digits are rare, and read as they come.
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

static void put_pair(char *out, uint32_t value)
{
    memcpy(out, pairs + 2 * value, 2);
}

/* Below 10,000: what most numbers are, and what is left of the others. */
static char *write_short(char *out, uint32_t value)
{
    uint32_t high = value / 100;

    if (value < 100) {
        put_pair(out, value);
        return out + 2;
    }
    if (high < 10) {
        *out = (char)('0' + high);
        put_pair(out + 1, value - high * 100);
        return out + 3;
    }
    put_pair(out, high);
    put_pair(out + 2, value - high * 100);
    return out + 4;
}

char *digits_write_many(char *out, uint64_t value)
{
    if (value < 10000)
        return write_short(out, (uint32_t)value);
    char *end = out + digits_count(value);
    char *at = end;

    while (value >= 10000) {
        uint64_t rest = value / 10000;
        uint32_t four = (uint32_t)(value - rest * 10000);
        uint32_t high = four / 100;

        at -= 4;
        put_pair(at, high);
        put_pair(at + 2, four - high * 100);
        value = rest;
    }
    if (value < 10)
        *out = (char)('0' + value);
    else
        (void)write_short(out, (uint32_t)value); /* ends where the last four begin */
    return end;
}

int digits_hex_value(char digit)
{
    if (digit >= '0' && digit <= '9')
        return digit - '0';
    digit |= 0x20; /* A to F become small, and nothing else becomes a to f */
    return digit >= 'a' && digit <= 'f' ? digit - 'a' + 10 : -1;
}

int digits_hex_byte(const char *two)
{
    int high = digits_hex_value(two[0]);
    int low = high >= 0 ? digits_hex_value(two[1]) : -1;

    return low >= 0 ? high << 4 | low : -1;
}
