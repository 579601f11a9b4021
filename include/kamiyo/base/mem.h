/* SPDX-License-Identifier: MIT */
#pragma once

#include <stddef.h>

#include "kamiyo/base/attributes.h"

/*
 * Allocation for small control objects, whose failure nobody could handle:
 * it ends the process with a message. Sizes that a peer drives are bounded by
 * the caller first, and large tables use mem_try_alloc and handle NULL.
 * What is returned is freed with mem_free.
 */
void *mem_alloc(size_t size) MUST_CHECK;      /* uninitialised */
void *mem_alloc_zero(size_t size) MUST_CHECK; /* zeroed */
/*
 * Zeroed, on cache lines of its own: for what one thread writes often and another
 * thread's data must not stand beside. The size is rounded up to whole lines.
 */
#define MEM_LINE_BYTES 64
void *mem_alloc_zero_lines(size_t size) MUST_CHECK;
void *mem_resize(void *memory, size_t size) MUST_CHECK;
char *mem_copy_string(const char *text) MUST_CHECK;               /* NULL gives NULL */
char *mem_copy_bytes(const void *data, size_t length) MUST_CHECK; /* with a 0 after it */
void *mem_try_alloc_zero(size_t size) MUST_CHECK;                 /* NULL when there is none */
void mem_free(void *memory);                                      /* NULL is fine */
/* Overwrite a secret so that the compiler cannot drop it. */
void mem_wipe(void *memory, size_t length);

/*
 * A pool of blocks of one size for one thread: take and give back without the
 * allocator once warm. Keeps at most `keep` spare blocks.
 */
struct mem_pool {
    void *spare; /* list through the blocks' first word */
    size_t block_size;
    size_t keep;
    size_t spare_count;
    size_t used_count; /* blocks that are out */
};

void mem_pool_init(struct mem_pool *pool, size_t block_size, size_t keep);
void mem_pool_clear(
    struct mem_pool *pool); /* frees the spare blocks; blocks that are out stay valid */
void *mem_pool_take(struct mem_pool *pool) MUST_CHECK; /* uninitialised */
void mem_pool_give(struct mem_pool *pool, void *block);
