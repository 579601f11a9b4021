/* SPDX-License-Identifier: MIT */
/* Errors as values: cut where they are too long, and a list that a hostile file cannot grow. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

#include "kamiyo/base/error.h"

#define KEPT 200 /* what error.h promises */

static void test_set_and_clear(void **state)
{
    (void)state;
    struct error error;
    error_set(&error, "port %d of \"%s\"", 80, "a");
    assert_string_equal(error.text, "port 80 of \"a\"");
    error_set(&error, "other");
    assert_string_equal(error.text, "other");
    error_clear(&error);
    assert_string_equal(error.text, "");
    error_set(NULL, "nobody wants it");
    error_prefix(NULL, "nobody wants it");
}

static void test_set_cuts(void **state)
{
    (void)state;
    struct error error;
    error_set(&error, "%01000d", 0);
    assert_int_equal(strlen(error.text), sizeof(error.text) - 1);
}

static void test_prefix(void **state)
{
    (void)state;
    struct error error;
    error_set(&error, "no such file");
    error_prefix(&error, "line %d", 3);
    assert_string_equal(error.text, "line 3: no such file");
    error_prefix(&error, "%s", "a.yaml");
    assert_string_equal(error.text, "a.yaml: line 3: no such file");
    error_clear(&error);
    error_prefix(&error, "p");
    assert_string_equal(error.text, "p: ");
}

/* Every length of prefix and text around the bound: terminated, and the prefix comes before the
 * rest. */
static void test_prefix_cuts(void **state)
{
    (void)state;
    const int size = (int)sizeof(((struct error *)NULL)->text);
    for (int prefix = size - 8; prefix < size + 8; prefix++) {
        for (int text = 0; text < 12; text++) {
            struct error error;
            error_set(&error, "%.*s", text, "tttttttttttt");
            error_prefix(&error, "%0*d", prefix, 0);
            size_t length = strlen(error.text);
            assert_true(length < sizeof(error.text));
            assert_int_equal(strspn(error.text, "0"), prefix < size - 3 ? prefix : size - 3);
            assert_memory_equal(error.text + strspn(error.text, "0"), ": ", 2);
        }
    }
    struct error error;
    error_set(&error, "%0600d", 0);
    error_prefix(&error, "p");
    assert_int_equal(strlen(error.text), sizeof(error.text) - 1);
    assert_memory_equal(error.text, "p: 000", 6);
}

static void test_list(void **state)
{
    (void)state;
    struct error_list list;
    const struct error_place place = {.line = 3, .column = 5, .length = 2};
    char file[] = "a.yaml", key[] = "redis.url";
    error_list_init(&list);
    error_list_add(&list, ERROR_FATAL, file, place, key, "is %d, allowed is %d", 0, 1);
    error_list_add(&list, ERROR_WARNING, NULL, (struct error_place){0}, NULL, "odd");
    file[0] = key[0] = 'x'; /* the list has copies */
    assert_int_equal(list.count, 2);
    assert_int_equal(list.total_errors, 1);
    assert_int_equal(list.total_warnings, 1);
    assert_int_equal(list.items[0].severity, ERROR_FATAL);
    assert_string_equal(list.items[0].file, "a.yaml");
    assert_string_equal(list.items[0].key, "redis.url");
    assert_string_equal(list.items[0].message, "is 0, allowed is 1");
    assert_int_equal(list.items[0].place.line, 3);
    assert_int_equal(list.items[0].place.column, 5);
    assert_int_equal(list.items[0].place.length, 2);
    assert_int_equal(list.items[1].severity, ERROR_WARNING);
    assert_string_equal(list.items[1].file, "");
    assert_string_equal(list.items[1].key, "");
    error_list_clear(&list);
    assert_int_equal(list.count, 0);
    assert_null(list.items);
    error_list_clear(&list); /* once more is fine */
}

static void test_list_is_bounded(void **state)
{
    (void)state;
    struct error_list list;
    error_list_init(&list);
    for (int i = 0; i < 3 * KEPT; i++)
        error_list_add(&list, i % 3 == 0 ? ERROR_WARNING : ERROR_FATAL, "f",
                       (struct error_place){.line = i + 1}, "k", "%d", i);
    assert_int_equal(list.count, KEPT);
    assert_int_equal(list.total_errors, 2 * KEPT);
    assert_int_equal(list.total_warnings, KEPT);
    for (int i = 0; i < KEPT; i++)
        assert_int_equal(list.items[i].place.line, i + 1);
    error_list_clear(&list);
    assert_int_equal(list.total_errors, 0);
}

static void test_list_cuts_messages(void **state)
{
    (void)state;
    struct error_list list;
    error_list_init(&list);
    error_list_add(&list, ERROR_FATAL, "f", (struct error_place){0}, "k", "%09999d", 0);
    assert_in_range(strlen(list.items[0].message), 100, 1023);
    error_list_clear(&list);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_set_and_clear),
        cmocka_unit_test(test_set_cuts),
        cmocka_unit_test(test_prefix),
        cmocka_unit_test(test_prefix_cuts),
        cmocka_unit_test(test_list),
        cmocka_unit_test(test_list_is_bounded),
        cmocka_unit_test(test_list_cuts_messages),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
