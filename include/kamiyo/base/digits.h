/* SPDX-License-Identifier: MIT */
#pragma once

#include <stddef.h>
#include <stdint.h>

/*
 * Digits, without a locale. Whole numbers are written in decimal, for lines that
 * are made for each request; the caller has made sure of the room, and base/text.h
 * has the forms that look at it. Hexadecimal ones are read.
 */
#define DIGITS_MAX 20 /* of 2^64 - 1 */

/* How many digits digits_write writes: 1 to DIGITS_MAX. */
size_t digits_count(uint64_t value);
/* The part of digits_write that is not inline: numbers of two digits and more. */
char *digits_write_many(char *out, uint64_t value);
/* Write the number at `out`, without a terminator; returns what follows it. */
static inline char *digits_write(char *out, uint64_t value)
{
    *out = (char)('0' + value);
    return value < 10 ? out + 1 : digits_write_many(out, value);
}

/* 0 to 15 for a hexadecimal digit of either case, else -1. */
int digits_hex_value(char digit);
/* 0 to 255 for the two hexadecimal digits at `two`, as in "%2F", else -1. Reads the second only
 * behind a digit. */
int digits_hex_byte(const char *two);
