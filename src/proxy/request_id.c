/* SPDX-License-Identifier: MIT */
/*
 * Request ids without a system call: xoroshiro128+ (Blackman and Vigna, 2018)
 * seeded once from the kernel, one state a worker.
 */
#include "kamiyo/proxy/request_id.h"

#include <string.h>

#include "kamiyo/base/hash.h"

void request_id_init(struct request_id_source *source)
{
    do
        hash_random(source->state, sizeof(source->state));
    while (source->state[0] == 0 && source->state[1] == 0);
}

static inline uint64_t rotate(uint64_t value, unsigned bits)
{
    return (value << bits) | (value >> (64 - bits));
}

static uint64_t next(struct request_id_source *source)
{
    uint64_t a = source->state[0];
    uint64_t b = source->state[1];
    uint64_t sum = a + b;
    b ^= a;
    source->state[0] = rotate(a, 24) ^ b ^ (b << 16);
    source->state[1] = rotate(b, 37);
    return sum;
}

/* Four bytes as eight hexadecimal digits: spread to nibbles, then all eight at once to ASCII. */
static uint64_t hex_digits(uint32_t value)
{
    const uint64_t ones = 0x0101010101010101u;
    uint64_t spread = value;
    spread = (spread | spread << 16) & 0x0000ffff0000ffffu;
    spread = (spread | spread << 8) & 0x00ff00ff00ff00ffu;
    spread = (spread | spread << 4) & 0x0f0f0f0f0f0f0f0fu;
    uint64_t is_letter = (spread + ones * 6) >> 4 & ones; /* 10 to 15 carry into bit 4 */
    return spread + ones * '0' + is_letter * ('a' - '0' - 10);
}

void request_id_make(struct request_id_source *source, char out[REQUEST_ID_MADE_BYTES])
{
    for (int half = 0; half < 2; half++) {
        uint64_t bits = next(source);
        uint64_t low = hex_digits((uint32_t)bits), high = hex_digits((uint32_t)(bits >> 32));
        memcpy(out + 16 * half, &low, 8);
        memcpy(out + 16 * half + 8, &high, 8);
    }
}

bool request_id_is_valid(struct slice id)
{
    if (id.length == 0 || id.length > REQUEST_ID_MAX_BYTES)
        return false;
    for (size_t i = 0; i < id.length; i++) {
        char byte = id.data[i];
        bool is_letter = (byte >= 'a' && byte <= 'z') || (byte >= 'A' && byte <= 'Z');
        bool is_other = (byte >= '0' && byte <= '9') || byte == '.' || byte == '_' || byte == '-';
        if (!is_letter && !is_other)
            return false;
    }
    return true;
}
