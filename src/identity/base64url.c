/* SPDX-License-Identifier: MIT */
/* Strict base64url for tokens: two spellings of one signature would be two tokens in every cache
 * and log. */
#include "kamiyo/identity/base64url.h"

static int value_of(char byte)
{
    if (byte >= 'A' && byte <= 'Z')
        return byte - 'A';
    if (byte >= 'a' && byte <= 'z')
        return byte - 'a' + 26;
    if (byte >= '0' && byte <= '9')
        return byte - '0' + 52;
    if (byte == '-')
        return 62;
    return byte == '_' ? 63 : -1;
}

bool base64url_is(struct slice text)
{
    for (size_t i = 0; i < text.length; i++)
        if (value_of(text.data[i]) < 0)
            return false;
    return true;
}

bool base64url_decode(struct slice text, uint8_t *out, size_t capacity, size_t *length)
{
    size_t whole = text.length / 4 * 3, tail = text.length % 4;
    size_t total = whole + (tail > 0 ? tail - 1 : 0), written = 0;
    unsigned bits = 0, bit_count = 0;

    if (tail == 1 || total > capacity)
        return false;
    for (size_t i = 0; i < text.length; i++) {
        int value = value_of(text.data[i]);

        if (value < 0)
            return false;
        bits = bits << 6 | (unsigned)value;
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
