/* SPDX-License-Identifier: MIT */
/* Memory: copies, zeroes, an absurd size that ends the process with a word, and the pool. */
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cmocka.h>

#include "kamiyo/base/mem.h"

static void test_alloc(void **state)
{
    (void)state;
    unsigned char *bytes = mem_alloc_zero(100);
    for (int i = 0; i < 100; i++)
        assert_int_equal(bytes[i], 0);
    memset(bytes, 7, 100);
    bytes = mem_resize(bytes, 200);
    for (int i = 0; i < 100; i++)
        assert_int_equal(bytes[i], 7);
    mem_free(bytes);
    void *nothing = mem_alloc(0);
    assert_non_null(nothing);
    mem_free(nothing);
    nothing = mem_alloc_zero(0);
    assert_non_null(nothing);
    mem_free(nothing);
    mem_free(NULL);
    nothing = mem_resize(NULL, 10);
    assert_non_null(nothing);
    mem_free(nothing);
}

/* Whole lines of 64 bytes, zeroed: also where the size is no multiple, or nothing. */
static void test_lines(void **state)
{
    (void)state;
    for (size_t size = 0; size <= 129; size++) {
        unsigned char *bytes = mem_alloc_zero_lines(size);
        assert_int_equal((uintptr_t)bytes % MEM_LINE_BYTES, 0);
        for (size_t i = 0; i < size; i++)
            assert_int_equal(bytes[i], 0);
        memset(bytes, 7, size);
        mem_free(bytes);
    }
}

static void test_copies(void **state)
{
    (void)state;
    char *copy = mem_copy_string("abc");
    assert_string_equal(copy, "abc");
    mem_free(copy);
    assert_null(mem_copy_string(NULL));
    copy = mem_copy_bytes("a\0b", 3);
    assert_memory_equal(copy, "a\0b", 4);
    mem_free(copy);
    copy = mem_copy_bytes(NULL, 0);
    assert_string_equal(copy, "");
    mem_free(copy);
}

static void test_wipe(void **state)
{
    (void)state;
    char secret[] = "secret, but not this";
    mem_wipe(secret, 6);
    assert_memory_equal(secret, "\0\0\0\0\0\0, but not this", sizeof(secret));
    mem_wipe(secret, 0);
}

static void test_try_alloc(void **state)
{
    (void)state;
    /* Read through a volatile, so that the compiler does not know the size and warn. */
    volatile size_t absurd = SIZE_MAX;
    unsigned char *bytes = mem_try_alloc_zero(1000);
    assert_non_null(bytes);
    for (int i = 0; i < 1000; i++)
        assert_int_equal(bytes[i], 0);
    mem_free(bytes);
    assert_null(mem_try_alloc_zero(absurd));
    absurd = (size_t)PTRDIFF_MAX + 1;
    assert_null(mem_try_alloc_zero(absurd));
}

/* Runs it in a child: whether that ended by SIGABRT, having said that memory is out. */
static bool ends_the_process(void *(*allocate)(size_t size))
{
    volatile size_t absurd = SIZE_MAX - 7;
    char said[256] = {0};
    int ends[2], status;
    assert_int_equal(pipe(ends), 0);
    pid_t child = fork();
    assert_true(child >= 0);
    if (child == 0) {
        (void)setrlimit(RLIMIT_CORE, &(struct rlimit){0, 0}); /* a core of it is of no use */
        (void)signal(SIGABRT, SIG_DFL);                       /* cmocka's handler would say more */
        (void)dup2(ends[1], STDERR_FILENO);
        mem_free(allocate(absurd));
        _exit(0);
    }
    close(ends[1]);
    for (size_t length = 0; length < sizeof(said) - 1;) {
        ssize_t got = read(ends[0], said + length, sizeof(said) - 1 - length);
        if (got <= 0)
            break;
        length += (size_t)got;
    }
    close(ends[0]);
    assert_int_equal(waitpid(child, &status, 0), child);
    return WIFSIGNALED(status) && WTERMSIG(status) == SIGABRT &&
           strstr(said, "kamiyo-gateway: out of memory\n") != NULL;
}

static void *resize_nothing(size_t size)
{
    return mem_resize(NULL, size);
}

static void test_out_of_memory(void **state)
{
    (void)state;
    assert_true(ends_the_process(mem_alloc));
    assert_true(ends_the_process(mem_alloc_zero));
    assert_true(ends_the_process(resize_nothing));
}

static void test_pool(void **state)
{
    (void)state;
    struct mem_pool pool;
    void *blocks[5];
    mem_pool_init(&pool, 64, 3);
    for (int i = 0; i < 5; i++) {
        blocks[i] = mem_pool_take(&pool);
        memset(blocks[i], i, 64);
    }
    assert_int_equal(pool.used_count, 5);
    for (int i = 0; i < 5; i++)
        for (int j = 0; j < 64; j++)
            assert_int_equal(((unsigned char *)blocks[i])[j], i);
    for (int i = 0; i < 5; i++)
        mem_pool_give(&pool, blocks[i]);
    assert_int_equal(pool.used_count, 0);
    assert_int_equal(pool.spare_count, 3); /* the bound: two went back to the allocator */
    /* The last one given is the first one taken: it is still in the cache. */
    assert_ptr_equal(mem_pool_take(&pool), blocks[2]);
    assert_int_equal(pool.spare_count, 2);
    mem_pool_clear(&pool);
    assert_int_equal(pool.spare_count, 0);
    memset(blocks[2], 1, 64); /* what is out stays valid */
    mem_pool_give(&pool, blocks[2]);
    assert_int_equal(pool.spare_count, 1);
    mem_pool_clear(&pool);
}

/* The list goes through the blocks' first word, so a block is never smaller than that. */
static void test_pool_of_small_blocks(void **state)
{
    (void)state;
    struct mem_pool pool;
    mem_pool_init(&pool, 1, 2);
    void *a = mem_pool_take(&pool), *b = mem_pool_take(&pool);
    mem_pool_give(&pool, a);
    mem_pool_give(&pool, b);
    assert_ptr_equal(mem_pool_take(&pool), b);
    assert_ptr_equal(mem_pool_take(&pool), a);
    mem_pool_give(&pool, a);
    mem_pool_give(&pool, b);
    mem_pool_clear(&pool);
}

static void test_pool_without_spares(void **state)
{
    (void)state;
    struct mem_pool pool;
    mem_pool_init(&pool, 32, 0);
    mem_pool_give(&pool, mem_pool_take(&pool));
    assert_int_equal(pool.spare_count, 0);
    assert_null(pool.spare);
    mem_pool_clear(&pool);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_alloc),
        cmocka_unit_test(test_lines),
        cmocka_unit_test(test_copies),
        cmocka_unit_test(test_wipe),
        cmocka_unit_test(test_try_alloc),
        cmocka_unit_test(test_out_of_memory),
        cmocka_unit_test(test_pool),
        cmocka_unit_test(test_pool_of_small_blocks),
        cmocka_unit_test(test_pool_without_spares),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
