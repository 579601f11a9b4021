/* SPDX-License-Identifier: MIT */
/* Strict base64url for tokens: two spellings of one signature would be two tokens in every cache
 * and log. */
#include "kamiyo/identity/base64url.h"

#define NOT 64 /* in no place of the alphabet */

static const uint8_t values[256] = {
    NOT, NOT, NOT, NOT, NOT, NOT, NOT, NOT, NOT, NOT, NOT, NOT, NOT, NOT, NOT, NOT, NOT, NOT, NOT,
    NOT, NOT, NOT, NOT, NOT, NOT, NOT, NOT, NOT, NOT, NOT, NOT, NOT, NOT, NOT, NOT, NOT, NOT, NOT,
    NOT, NOT, NOT, NOT, NOT, NOT, NOT, 62,  NOT, NOT, 52,  53,  54,  55,  56,  57,  58,  59,  60,
    61,  NOT, NOT, NOT, NOT, NOT, NOT, NOT, 0,   1,   2,   3,   4,   5,   6,   7,   8,   9,   10,
    11,  12,  13,  14,  15,  16,  17,  18,  19,  20,  21,  22,  23,  24,  25,  NOT, NOT, NOT, NOT,
    63,  NOT, 26,  27,  28,  29,  30,  31,  32,  33,  34,  35,  36,  37,  38,  39,  40,  41,  42,
    43,  44,  45,  46,  47,  48,  49,  50,  51,  NOT, NOT, NOT, NOT, NOT, NOT, NOT, NOT, NOT, NOT,
    NOT, NOT, NOT, NOT, NOT, NOT, NOT, NOT, NOT, NOT, NOT, NOT, NOT, NOT, NOT, NOT, NOT, NOT, NOT,
    NOT, NOT, NOT, NOT, NOT, NOT, NOT, NOT, NOT, NOT, NOT, NOT, NOT, NOT, NOT, NOT, NOT, NOT, NOT,
    NOT, NOT, NOT, NOT, NOT, NOT, NOT, NOT, NOT, NOT, NOT, NOT, NOT, NOT, NOT, NOT, NOT, NOT, NOT,
    NOT, NOT, NOT, NOT, NOT, NOT, NOT, NOT, NOT, NOT, NOT, NOT, NOT, NOT, NOT, NOT, NOT, NOT, NOT,
    NOT, NOT, NOT, NOT, NOT, NOT, NOT, NOT, NOT, NOT, NOT, NOT, NOT, NOT, NOT, NOT, NOT, NOT, NOT,
    NOT, NOT, NOT, NOT, NOT, NOT, NOT, NOT, NOT, NOT, NOT, NOT, NOT, NOT, NOT, NOT, NOT, NOT, NOT,
    NOT, NOT, NOT, NOT, NOT, NOT, NOT, NOT, NOT,
};

bool base64url_is(struct slice text)
{
    unsigned seen = 0;

    for (size_t i = 0; i < text.length; i++)
        seen |= values[(unsigned char)text.data[i]];
    return seen < NOT;
}

bool base64url_decode(struct slice text, uint8_t *out, size_t capacity, size_t *length)
{
    size_t whole = text.length / 4 * 3, tail = text.length % 4;
    size_t total = whole + (tail > 0 ? tail - 1 : 0), written = 0;
    unsigned bits = 0, bit_count = 0;

    if (tail == 1 || total > capacity)
        return false;
    for (size_t i = 0; i < text.length; i++) {
        unsigned value = values[(unsigned char)text.data[i]];

        if (value == NOT)
            return false;
        bits = bits << 6 | value;
        bit_count += 6;
        if (bit_count >= 8) {
            bit_count -= 8;
            out[written++] = (uint8_t)(bits >> bit_count);
            bits &= (1u << bit_count) - 1;
        }
    }
    if (bits != 0)
        return false;
    *length = total;
    return true;
}
