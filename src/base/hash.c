/* SPDX-License-Identifier: MIT */
/*
 * SipHash-1-3 as its paper gives it ("SipHash: a fast short-input PRF",
 * Aumasson and Bernstein, 2012), with one compression and three finalisation
 * rounds: enough to keep a table's slots unpredictable, as Rust and Ruby use it.
 */
#include "kamiyo/base/hash.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/random.h>

struct state {
    uint64_t v0, v1, v2, v3;
};

static inline uint64_t rotate(uint64_t value, unsigned bits)
{
    return (value << bits) | (value >> (64 - bits));
}

static inline void sip_round(struct state *s)
{
    s->v0 += s->v1;
    s->v1 = rotate(s->v1, 13) ^ s->v0;
    s->v0 = rotate(s->v0, 32);
    s->v2 += s->v3;
    s->v3 = rotate(s->v3, 16) ^ s->v2;
    s->v0 += s->v3;
    s->v3 = rotate(s->v3, 21) ^ s->v0;
    s->v2 += s->v1;
    s->v1 = rotate(s->v1, 17) ^ s->v2;
    s->v2 = rotate(s->v2, 32);
}

/* What is left, fewer than eight bytes, as the low end of a word. */
static inline uint64_t last_bytes(const unsigned char *bytes, size_t left, size_t length)
{
    uint64_t word = 0;
    if (left > 0 && length >= sizeof(word)) { /* the last eight, without those that were read */
        memcpy(&word, bytes + left - sizeof(word), sizeof(word));
        return word >> (8 * (sizeof(word) - left));
    }
    for (size_t i = 0; i < left; i++)
        word |= (uint64_t)bytes[i] << (8 * i);
    return word;
}

uint64_t hash_bytes(const struct hash_key *key, const void *data, size_t length)
{
    const unsigned char *bytes = data;
    struct state s = {
        key->k0 ^ 0x736f6d6570736575ull,
        key->k1 ^ 0x646f72616e646f6dull,
        key->k0 ^ 0x6c7967656e657261ull,
        key->k1 ^ 0x7465646279746573ull,
    };
    size_t left = length;
    for (; left >= 8; left -= 8, bytes += 8) {
        uint64_t word;
        memcpy(&word, bytes, 8);
        s.v3 ^= word;
        sip_round(&s);
        s.v0 ^= word;
    }
    uint64_t last = (uint64_t)length << 56 | last_bytes(bytes, left, length);
    s.v3 ^= last;
    sip_round(&s);
    s.v0 ^= last;
    s.v2 ^= 0xff;
    sip_round(&s);
    sip_round(&s);
    sip_round(&s);
    return s.v0 ^ s.v1 ^ s.v2 ^ s.v3;
}

void hash_random(void *out, size_t length)
{
    unsigned char *bytes = out;
    while (length > 0) {
        ssize_t got = getrandom(bytes, length, 0);
        if (got < 0 && errno == EINTR)
            continue;
        if (got <= 0)
            abort(); /* a kernel without randomness is no place for a gateway */
        bytes += got;
        length -= (size_t)got;
    }
}

void hash_key_generate(struct hash_key *key)
{
    hash_random(key, sizeof(*key));
}
