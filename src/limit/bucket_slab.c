/* SPDX-License-Identifier: MIT */
/*
 * Records of a shard without an allocator's header for each. A reference is the chunk's number and
 * the block's offset in it, so an index slot needs 4 bytes for it. Chunks of one size with room are
 * a list; freed blocks hang together inside their chunk, so that an empty chunk can go as a whole.
 */
#include "bucket_slab.h"

#include <assert.h>
#include <stdlib.h>
#include <string.h>

#include "kamiyo/base/mem.h"

#define NO_UNIT      UINT16_MAX
#define CHUNK_UNITS  (BUCKET_SLAB_CHUNK_BYTES / BUCKET_SLAB_UNIT)
#define FIRST_CHUNKS 4

void bucket_slab_init(struct bucket_slab *slab)
{
    *slab = (struct bucket_slab){.spare = BUCKET_SLAB_NONE};
    for (size_t i = 0; i < BUCKET_SLAB_CLASSES; i++)
        slab->partial[i] = BUCKET_SLAB_NONE;
}

void bucket_slab_clear(struct bucket_slab *slab)
{
    for (uint32_t i = 0; i < slab->chunk_count; i++)
        free(slab->chunks[i].memory);
    mem_free(slab->chunks);
    bucket_slab_init(slab);
}

static uint8_t class_of(size_t size)
{
    size_t units = (size + BUCKET_SLAB_UNIT - 1) / BUCKET_SLAB_UNIT;

    assert(units < BUCKET_SLAB_CLASSES);
    return (uint8_t)units;
}

size_t bucket_slab_growth(const struct bucket_slab *slab, size_t size)
{
    size_t growth = BUCKET_SLAB_CHUNK_BYTES + BUCKET_SLAB_OVERHEAD;

    if (slab->partial[class_of(size)] != BUCKET_SLAB_NONE)
        return 0;
    if (slab->spare == BUCKET_SLAB_NONE && slab->chunk_count == slab->chunk_capacity)
        growth += (slab->chunk_capacity / 4 + FIRST_CHUNKS) * sizeof(slab->chunks[0]);
    return growth;
}

static void link_partial(struct bucket_slab *slab, uint32_t number)
{
    struct bucket_slab_chunk *chunk = &slab->chunks[number];
    uint32_t *head = &slab->partial[chunk->class];

    chunk->next = *head;
    chunk->previous = BUCKET_SLAB_NONE;
    if (*head != BUCKET_SLAB_NONE)
        slab->chunks[*head].previous = number;
    *head = number;
}

static void unlink_partial(struct bucket_slab *slab, uint32_t number)
{
    struct bucket_slab_chunk *chunk = &slab->chunks[number];

    if (chunk->previous != BUCKET_SLAB_NONE)
        slab->chunks[chunk->previous].next = chunk->next;
    else
        slab->partial[chunk->class] = chunk->next;
    if (chunk->next != BUCKET_SLAB_NONE)
        slab->chunks[chunk->next].previous = chunk->previous;
}

static uint32_t take_place(struct bucket_slab *slab)
{
    uint32_t number = slab->spare;

    if (number != BUCKET_SLAB_NONE) {
        slab->spare = slab->chunks[number].next;
        return number;
    }
    if (slab->chunk_count == slab->chunk_capacity) {
        uint32_t added = slab->chunk_capacity / 4 + FIRST_CHUNKS;

        slab->chunks =
            mem_resize(slab->chunks, (slab->chunk_capacity + added) * sizeof(slab->chunks[0]));
        slab->chunk_capacity += added;
        slab->bytes += added * sizeof(slab->chunks[0]);
    }
    return slab->chunk_count++;
}

static bool add_chunk(struct bucket_slab *slab, uint8_t class)
{
    /* On cache lines: a record of two windows and a short key is one of 64 bytes. */
    char *memory = aligned_alloc(64, BUCKET_SLAB_CHUNK_BYTES);
    uint32_t number;

    if (memory == NULL)
        return false;
    memset(memory, 0, BUCKET_SLAB_CHUNK_BYTES);
    number = take_place(slab);
    slab->chunks[number] =
        (struct bucket_slab_chunk){.memory = memory, .free_head = NO_UNIT, .class = class};
    slab->bytes += BUCKET_SLAB_CHUNK_BYTES + BUCKET_SLAB_OVERHEAD;
    link_partial(slab, number);
    return true;
}

static bool has_room(const struct bucket_slab_chunk *chunk)
{
    return chunk->free_head != NO_UNIT || chunk->fresh + chunk->class <= CHUNK_UNITS;
}

uint32_t bucket_slab_take(struct bucket_slab *slab, size_t size)
{
    uint8_t class = class_of(size);
    struct bucket_slab_chunk *chunk;
    uint32_t number;
    uint32_t unit;

    if (slab->partial[class] == BUCKET_SLAB_NONE && !add_chunk(slab, class))
        return BUCKET_SLAB_NONE;
    number = slab->partial[class];
    chunk = &slab->chunks[number];
    if (chunk->free_head != NO_UNIT) {
        unit = chunk->free_head;
        memcpy(&chunk->free_head, chunk->memory + unit * BUCKET_SLAB_UNIT,
               sizeof(chunk->free_head));
    } else {
        unit = chunk->fresh;
        chunk->fresh = (uint16_t)(chunk->fresh + class);
    }
    chunk->live++;
    if (!has_room(chunk))
        unlink_partial(slab, number);
    return number << 8 | unit;
}

void bucket_slab_give(struct bucket_slab *slab, uint32_t reference)
{
    uint32_t number = reference >> 8;
    struct bucket_slab_chunk *chunk = &slab->chunks[number];
    char *block = bucket_slab_at(slab, reference);

    assert(chunk->live > 0);
    if (!has_room(chunk))
        link_partial(slab, number);
    memcpy(block, &chunk->free_head, sizeof(chunk->free_head));
    block[BUCKET_SLAB_MARK] = 0;
    chunk->free_head = (uint16_t)(reference & 255);
    if (--chunk->live > 0)
        return;
    unlink_partial(slab, number);
    free(chunk->memory);
    chunk->memory = NULL;
    chunk->next = slab->spare;
    slab->spare = number;
    slab->bytes -= BUCKET_SLAB_CHUNK_BYTES + BUCKET_SLAB_OVERHEAD;
}

uint32_t
bucket_slab_next_in_chunk(const struct bucket_slab *slab, uint32_t reference, unsigned *unit)
{
    const struct bucket_slab_chunk *chunk = &slab->chunks[reference >> 8];

    while (chunk->memory != NULL && *unit < chunk->fresh) {
        unsigned here = *unit;

        *unit += chunk->class;
        if (chunk->memory[here * BUCKET_SLAB_UNIT + BUCKET_SLAB_MARK] != 0)
            return (reference & ~(uint32_t)255) | here;
    }
    return BUCKET_SLAB_NONE;
}
