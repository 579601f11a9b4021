/* SPDX-License-Identifier: MIT */
#pragma once

#include <stddef.h>
#include <stdint.h>
#include <string.h>
#ifdef __SSE2__
#include <emmintrin.h>
#endif

/*
 * Sixteen bytes at a step, in the compilers' own vectors: comparing two blocks gives 0xff in each
 * place where it holds. Only the gathering of these into bits has an instruction on x86-64.
 */
#define BLOCK_BYTES 16
typedef uint8_t byte_block __attribute__((vector_size(BLOCK_BYTES)));

_Static_assert(__BYTE_ORDER__ == __ORDER_LITTLE_ENDIAN__, "the first byte is the lowest bit");

static inline byte_block block_of(uint8_t byte)
{
    return (byte_block){0} + byte;
}

static inline byte_block block_load(const char *bytes)
{
    byte_block block;

    memcpy(&block, bytes, sizeof(block));
    return block;
}

/* One bit for each byte of a comparison's result, the first one lowest. */
static inline unsigned block_mask(byte_block truth)
{
#ifdef __SSE2__
    return (unsigned)_mm_movemask_epi8((__m128i)truth);
#else
    uint64_t words[2];

    memcpy(words, &truth, sizeof(words));
    for (int i = 0; i < 2; i++) /* leaves bit n of byte n, and the product adds up the bytes */
        words[i] = ((words[i] & 0x8040201008040201U) * 0x0101010101010101U) >> 56;
    return (unsigned)(words[0] | words[1] << 8);
#endif
}

/*
 * Nothing beyond `end` is read: near it, the block is the last one before `end`, and the bits of
 * its first block_skip() bytes are shifted out of the mask. There are BLOCK_BYTES before `end`.
 */
static inline size_t block_skip(size_t at, size_t end)
{
    return end - at < BLOCK_BYTES ? BLOCK_BYTES - (end - at) : 0;
}

static inline byte_block block_near(const char *bytes, size_t at, size_t end)
{
    return block_load(bytes + at - block_skip(at, end));
}
