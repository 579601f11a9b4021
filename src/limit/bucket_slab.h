/* SPDX-License-Identifier: MIT */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/*
 * Memory for one shard's records: blocks of 16 bytes' multiples out of chunks
 * of 4 KiB, one size a chunk, named by 32-bit references. A chunk without
 * blocks in use is given back to the allocator. Not thread-safe: the shard's
 * lock guards it.
 *
 * The owner of a block says by its byte at BUCKET_SLAB_MARK whether it is in
 * use (not 0), so that a chunk can be walked; the slab keeps it 0 otherwise.
 */
#define BUCKET_SLAB_UNIT        16
#define BUCKET_SLAB_CHUNK_BYTES 4096
#define BUCKET_SLAB_CLASSES     20 /* blocks of up to 19 * 16 bytes */
#define BUCKET_SLAB_MARK        30
/* What an allocator adds to a chunk on a cache line, as a rule. */
#define BUCKET_SLAB_OVERHEAD 64
#define BUCKET_SLAB_NONE     UINT32_MAX

struct bucket_slab_chunk {
    char *memory;  /* NULL = the place is free, `next` leads to the next free one */
    uint32_t next; /* chunks of this class with free blocks */
    uint32_t previous;
    uint16_t free_head; /* unit of the first freed block, 0xffff = none */
    uint16_t fresh;     /* unit from which blocks were never used */
    uint8_t live;
    uint8_t class; /* units in a block */
};

struct bucket_slab {
    struct bucket_slab_chunk *chunks;
    uint32_t chunk_count; /* places used */
    uint32_t chunk_capacity;
    uint32_t spare;                        /* first free place */
    uint32_t partial[BUCKET_SLAB_CLASSES]; /* first chunk with free blocks */
    size_t bytes;                          /* all of it */
};

void bucket_slab_init(struct bucket_slab *slab);
void bucket_slab_clear(struct bucket_slab *slab);
/* What the next block of this size would add to slab->bytes: 0 when a chunk has room. */
size_t bucket_slab_growth(const struct bucket_slab *slab, size_t size);
/* Uninitialised but for the mark (0). BUCKET_SLAB_NONE when there is no memory. */
uint32_t bucket_slab_take(struct bucket_slab *slab, size_t size);
void bucket_slab_give(struct bucket_slab *slab, uint32_t reference);
/* The block of the chunk of `reference` that follows *unit (start with 0) and is in use, or NONE.
 */
uint32_t
bucket_slab_next_in_chunk(const struct bucket_slab *slab, uint32_t reference, unsigned *unit);

static inline void *bucket_slab_at(const struct bucket_slab *slab, uint32_t reference)
{
    return slab->chunks[reference >> 8].memory + (size_t)(reference & 255) * BUCKET_SLAB_UNIT;
}

/* A number that all references into one chunk share; no chunk has BUCKET_SLAB_NONE. */
static inline uint32_t bucket_slab_chunk_of(uint32_t reference)
{
    return reference >> 8;
}
