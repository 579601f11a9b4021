/* SPDX-License-Identifier: MIT */
/*
 * Slices: comparing, cutting and reading runs of bytes that belong to someone
 * else. Nothing here allocates, knows a locale or needs a terminator.
 */
#include "kamiyo/base/slice.h"

#include <string.h>

static unsigned char lower(unsigned char byte)
{
    return byte >= 'A' && byte <= 'Z' ? (unsigned char)(byte | 0x20) : byte;
}

struct slice slice_of(const char *text)
{
    return (struct slice){text, text != NULL ? strlen(text) : 0};
}

bool slice_equal(struct slice a, struct slice b)
{
    return a.length == b.length && (a.length == 0 || memcmp(a.data, b.data, a.length) == 0);
}

/* Eight bytes, each capital made small: carries into bit 7 tell what lies in A to Z. */
static uint64_t lower_word(uint64_t word)
{
    const uint64_t ones = 0x0101010101010101u;
    uint64_t low_bits = word & (ones * 0x7f);
    uint64_t from_a = low_bits + ones * (0x80 - 'A');
    uint64_t behind_z = low_bits + ones * (0x80 - 'Z' - 1);
    return word | ((from_a & ~behind_z & ~word & (ones * 0x80)) >> 2);
}

static uint64_t load_lower(const char *at)
{
    uint64_t word;
    memcpy(&word, at, sizeof(word));
    return lower_word(word);
}

/* Four to eight bytes: the first four and the last four, some of them twice. */
static uint64_t load_lower_short(const char *at, size_t length)
{
    uint32_t first, last;
    memcpy(&first, at, sizeof(first));
    memcpy(&last, at + length - sizeof(last), sizeof(last));
    return lower_word(first | (uint64_t)last << 32);
}

bool slice_equal_letters(const char *a, const char *b, size_t length)
{
    size_t at = 0;
    if (length > 0 && ((a[0] ^ b[0]) & ~0x20) != 0) /* as a rule the first one tells */
        return false;
    if (length < sizeof(uint32_t)) {
        while (at < length && lower((unsigned char)a[at]) == lower((unsigned char)b[at]))
            at++;
        return at == length;
    }
    if (length <= sizeof(uint64_t))
        return load_lower_short(a, length) == load_lower_short(b, length);
    for (; at + sizeof(uint64_t) < length; at += sizeof(uint64_t))
        if (load_lower(a + at) != load_lower(b + at))
            return false;
    at = length - sizeof(uint64_t); /* the last eight, some of them once more */
    return load_lower(a + at) == load_lower(b + at);
}

bool slice_starts_with(struct slice text, struct slice prefix)
{
    return text.length >= prefix.length &&
           (prefix.length == 0 || memcmp(text.data, prefix.data, prefix.length) == 0);
}

struct slice slice_trim(struct slice text)
{
    while (text.length > 0 && (*text.data == ' ' || *text.data == '\t')) {
        text.data++;
        text.length--;
    }
    while (text.length > 0 &&
           (text.data[text.length - 1] == ' ' || text.data[text.length - 1] == '\t'))
        text.length--;
    return text;
}

size_t slice_find(struct slice text, char byte)
{
    const char *found = text.length > 0 ? memchr(text.data, byte, text.length) : NULL;
    return found != NULL ? (size_t)(found - text.data) : text.length;
}

bool slice_cut(struct slice *rest, char separator, struct slice *part)
{
    if (rest->data == NULL)
        return false;
    size_t length = slice_find(*rest, separator);
    *part = (struct slice){rest->data, length};
    if (length == rest->length)
        *rest = (struct slice){NULL, 0};
    else
        *rest = (struct slice){rest->data + length + 1, rest->length - length - 1};
    return true;
}

bool slice_parse_u64(struct slice text, uint64_t *value)
{
    uint64_t sum = 0;
    if (text.length == 0)
        return false;
    for (size_t i = 0; i < text.length; i++) {
        if (text.data[i] < '0' || text.data[i] > '9')
            return false;
        if (__builtin_mul_overflow(sum, 10u, &sum) ||
            __builtin_add_overflow(sum, (uint64_t)(text.data[i] - '0'), &sum))
            return false;
    }
    *value = sum;
    return true;
}
