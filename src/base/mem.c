/* SPDX-License-Identifier: MIT */
/*
 * Allocation that does not fail, for control objects: when there is no memory
 * for a few hundred bytes, nothing sensible can be done but to say so and end.
 * Pools hand out blocks of one size without asking the allocator once warm.
 */
#include "kamiyo/base/mem.h"

#include <stdbool.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

NO_RETURN static void out_of_memory(void)
{
    static const char message[] = "kamiyo-gateway: out of memory\n";
    ssize_t written = write(STDERR_FILENO, message, sizeof(message) - 1);
    (void)written; /* nobody is left to tell */
    abort();
}

/* A size beyond what any object may have is a product that wrapped around: the allocator is not
 * asked for it. */
static bool is_absurd(size_t size)
{
    return size > PTRDIFF_MAX;
}

void *mem_alloc(size_t size)
{
    void *memory = is_absurd(size) ? NULL : malloc(size > 0 ? size : 1);
    if (memory == NULL)
        out_of_memory();
    return memory;
}

void *mem_alloc_zero(size_t size)
{
    void *memory = is_absurd(size) ? NULL : calloc(1, size > 0 ? size : 1);
    if (memory == NULL)
        out_of_memory();
    return memory;
}

void *mem_alloc_zero_lines(size_t size)
{
    size_t whole = (size + MEM_LINE_BYTES - 1) / MEM_LINE_BYTES * MEM_LINE_BYTES;
    void *memory =
        is_absurd(size) ? NULL : aligned_alloc(MEM_LINE_BYTES, whole > 0 ? whole : MEM_LINE_BYTES);
    if (memory == NULL)
        out_of_memory();
    memset(memory, 0, whole);
    return memory;
}

void *mem_resize(void *memory, size_t size)
{
    void *resized = is_absurd(size) ? NULL : realloc(memory, size > 0 ? size : 1);
    if (resized == NULL)
        out_of_memory();
    return resized;
}

char *mem_copy_string(const char *text)
{
    return text != NULL ? mem_copy_bytes(text, strlen(text)) : NULL;
}

char *mem_copy_bytes(const void *data, size_t length)
{
    char *copy = mem_alloc(length + 1);
    if (length > 0)
        memcpy(copy, data, length);
    copy[length] = '\0';
    return copy;
}

void *mem_try_alloc_zero(size_t size)
{
    return is_absurd(size) ? NULL : calloc(1, size > 0 ? size : 1);
}

void mem_free(void *memory)
{
    free(memory);
}

void mem_wipe(void *memory, size_t length)
{
    if (length > 0)
        explicit_bzero(memory, length);
}

void mem_pool_init(struct mem_pool *pool, size_t block_size, size_t keep)
{
    size_t least = sizeof(void *);
    *pool = (struct mem_pool){.block_size = block_size > least ? block_size : least, .keep = keep};
}

void mem_pool_clear(struct mem_pool *pool)
{
    while (pool->spare != NULL) {
        void *block = pool->spare;
        memcpy(&pool->spare, block, sizeof(pool->spare));
        free(block);
    }
    pool->spare_count = 0;
}

void *mem_pool_take(struct mem_pool *pool)
{
    pool->used_count++;
    void *block = pool->spare;
    if (block == NULL)
        return mem_alloc(pool->block_size);
    memcpy(&pool->spare, block, sizeof(pool->spare));
    pool->spare_count--;
    return block;
}

void mem_pool_give(struct mem_pool *pool, void *block)
{
    if (block == NULL)
        return;
    pool->used_count--;
    if (pool->spare_count == pool->keep) {
        free(block);
        return;
    }
    memcpy(block, &pool->spare, sizeof(pool->spare));
    pool->spare = block;
    pool->spare_count++;
}
