/* SPDX-License-Identifier: MIT */
/* The table of the keys file, and records as sources make them. */
#include <setjmp.h>
#include <stdarg.h>
#include <string.h>

#include <cmocka.h>

#include "kamiyo/base/mem.h"
#include "kamiyo/identity/api_key.h"

static char alice[] = "al ice", pro[] = "pro", none[] = "", bob[] = "bob", bad_tier[] = "no tier!";

static void test_find(void **state)
{
    struct api_key_entry entries[] = {
        {{1}, alice, pro}, {{2}, bob, none}, {{3}, none, pro}, {{2}, alice, pro}};
    struct api_key_table *table = api_key_table_create(entries, COUNT_OF(entries));
    const uint8_t absent[32] = {9}, nearly[32] = {1, [31] = 1};
    size_t index = api_key_table_find(table, entries[0].sha256);
    const struct key_record *record = api_key_table_record(table, index);

    (void)state;
    assert_int_equal(api_key_table_count(table), 2);
    assert_int_equal(record->outcome, KEY_SOURCE_FOUND);
    assert_int_equal(record->user_length, 8);
    assert_memory_equal(record->user, "al%20ice", 8);
    assert_int_equal(record->tier_length, 3);
    assert_memory_equal(api_key_table_digest(table, index), entries[0].sha256, 32);
    record = api_key_table_record(table, api_key_table_find(table, entries[1].sha256));
    assert_memory_equal(record->user, "bob", 3); /* the first of two */
    assert_int_equal(record->tier_length, 0);
    assert_int_equal(api_key_table_find(table, absent), API_KEY_ABSENT);
    assert_int_equal(api_key_table_find(table, nearly), API_KEY_ABSENT);
    assert_int_equal(api_key_table_find(table, entries[2].sha256), API_KEY_ABSENT);
    api_key_table_destroy(&table);
    api_key_table_destroy(&table);
}

static void test_many(void **state)
{
    enum {
        KEYS = 5000
    };
    struct api_key_entry *entries = mem_alloc_zero(KEYS * sizeof(*entries));
    struct api_key_table *table;

    (void)state;
    for (size_t i = 0; i < KEYS; i++) {
        memcpy(entries[i].sha256, &i, sizeof(i));
        entries[i].user = bob;
        entries[i].tier = none;
    }
    table = api_key_table_create(entries, KEYS);
    for (size_t i = 0; i < KEYS; i++)
        assert_int_equal(api_key_table_find(table, entries[i].sha256), i);
    api_key_table_destroy(&table);
    table = api_key_table_create(NULL, 0);
    assert_int_equal(api_key_table_find(table, entries[7].sha256), API_KEY_ABSENT);
    api_key_table_destroy(&table);
    mem_free(entries);
}

static void test_record(void **state)
{
    struct key_record record;

    (void)state;
    key_source_fill_record(&record, slice_of(none), slice_of(pro));
    assert_int_equal(record.outcome, KEY_SOURCE_ABSENT);
    key_source_fill_record(&record, slice_of(bob), slice_of(bad_tier));
    assert_int_equal(record.outcome, KEY_SOURCE_FOUND);
    assert_int_equal(record.tier_length, 0);
    key_source_fill_record(&record, slice_of(bob), SLICE("abcdefghijklmnopqrstuvwxyz_-9876"));
    assert_int_equal(record.tier_length, 32);
    key_source_fill_record(&record, slice_of(bob), SLICE("abcdefghijklmnopqrstuvwxyz_-98765"));
    assert_int_equal(record.tier_length, 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(test_find), cmocka_unit_test(test_many),
                                       cmocka_unit_test(test_record)};

    return cmocka_run_group_tests(tests, NULL, NULL);
}
