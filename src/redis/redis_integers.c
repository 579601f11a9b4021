/* SPDX-License-Identifier: MIT */
/*
 * One pass over the bytes, for redis_connection. An integer is taken
 * when it has one spelling only: no plus, no zeros before it, and at most 18
 * digits, so that it cannot overflow.
 */
#include "redis_integers.h"

#include <stdbool.h>

#define MAX_DIGITS 18

void redis_integers_init(struct redis_integers *integers)
{
    *integers = (struct redis_integers){
        .array = {.type = REDIS_REPLY_ARRAY, .element = integers->elements},
    };
    for (size_t i = 0; i < REDIS_INTEGERS_MAX; i++) {
        integers->integers[i].type = REDIS_REPLY_INTEGER;
        integers->elements[i] = &integers->integers[i];
    }
}

/* `kind`, an integer, CR, LF: *at goes behind them. The 0 at `end` is none of these, so nothing is
 * read beyond it. */
static inline enum redis_integers_result
parse_line(const char **at, const char *end, char kind, long long *value)
{
    const char *byte = *at;
    bool is_negative = byte[0] == kind && byte[1] == '-';
    const char *first = byte + 1 + is_negative;
    unsigned long long number = 0;
    unsigned digit;

    if (byte[0] != kind)
        return byte == end ? REDIS_INTEGERS_CUT : REDIS_INTEGERS_OTHER;
    for (byte = first; (digit = (unsigned)(unsigned char)*byte - '0') <= 9; byte++)
        number = number * 10 + digit;
    if (byte - first > MAX_DIGITS)
        return REDIS_INTEGERS_OTHER; /* number may have wrapped around: nobody looks */
    if (LIKELY(byte[0] == '\r' && byte[1] == '\n' && byte > first &&
               (*first != '0' || (byte - first == 1 && !is_negative)))) {
        *at = byte + 2;
        *value = is_negative ? -(long long)number : (long long)number;
        return REDIS_INTEGERS_WHOLE;
    }
    return byte == end || (byte[0] == '\r' && byte + 1 == end) ? REDIS_INTEGERS_CUT
                                                               : REDIS_INTEGERS_OTHER;
}

enum redis_integers_result redis_integers_parse(struct redis_integers *integers,
                                                const char *bytes,
                                                size_t length,
                                                size_t *used)
{
    const char *at = bytes;
    const char *end = bytes + length;
    long long count;
    enum redis_integers_result result = parse_line(&at, end, '*', &count);

    if (result != REDIS_INTEGERS_WHOLE)
        return result;
    if (count < 0 || count > REDIS_INTEGERS_MAX)
        return REDIS_INTEGERS_OTHER;
    for (long long i = 0; i < count; i++) {
        result = parse_line(&at, end, ':', &integers->integers[i].integer);
        if (result != REDIS_INTEGERS_WHOLE)
            return result;
    }
    integers->array.elements = (size_t)count;
    *used = (size_t)(at - bytes);
    return REDIS_INTEGERS_WHOLE;
}

const struct redis_reply *redis_integers_reply(const struct redis_integers *integers)
{
    return (const struct redis_reply *)(const void *)&integers->array;
}
