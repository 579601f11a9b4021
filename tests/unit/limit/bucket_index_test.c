/* SPDX-License-Identifier: MIT */
/* Growth and shrinking without a pause, counted in slots: no clock is asked, which a busy machine
 * could make tell of itself. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "limit/bucket_index.h"

#define ENTRIES    200000u
#define MOVE_SLOTS 8u

static uint32_t hash_of(uint32_t number)
{
    return number * 2654435769u; /* Knuth's multiplicative hash: no two alike */
}

/* Moves on as an insert does; the slots that are done of a move that goes on grow by no more. */
static void step(struct bucket_index *index)
{
    uint32_t before = index->moved;
    bool was_moving = index->old.slots != NULL;

    bucket_index_step(index, MOVE_SLOTS);
    if (was_moving && index->old.slots != NULL)
        assert_in_range(index->moved, before, before + MOVE_SLOTS);
}

static void expect_all(struct bucket_index *index, uint32_t first)
{
    assert_int_equal(bucket_index_count(index), ENTRIES - first);
    for (uint32_t number = first; number < ENTRIES; number += 97) {
        struct bucket_place place = bucket_index_first(index, hash_of(number));

        assert_non_null(place.array);
        assert_int_equal(bucket_index_reference(place), number);
    }
}

static void test_no_step_moves_more_than_it_may(void **state)
{
    struct bucket_index index;
    unsigned growths = 0;

    (void)state;
    assert_true(bucket_index_init(&index));
    for (uint32_t number = 0; number < ENTRIES; number++) {
        if (bucket_index_growth(&index) > 0) {
            assert_null(index.old.slots); /* the last one has ended in good time */
            assert_true(bucket_index_grow(&index));
            /* Nothing has been moved by that alone. */
            assert_int_equal(index.moved, 0);
            assert_int_equal(index.main.count, 0);
            growths++;
        }
        bucket_index_insert(&index, hash_of(number), number);
        step(&index);
    }
    assert_true(growths > 10);
    expect_all(&index, 0);
    for (uint32_t number = 0; number < ENTRIES - 100; number++) {
        bucket_index_remove(&index, bucket_index_first(&index, hash_of(number)));
        step(&index);
    }
    expect_all(&index, ENTRIES - 100);
    for (uint32_t i = 0; i < ENTRIES; i++)
        step(&index);
    assert_true(bucket_index_slots(&index) < 1024);
    expect_all(&index, ENTRIES - 100);
    bucket_index_clear(&index);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_no_step_moves_more_than_it_may),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
