/* SPDX-License-Identifier: MIT */
/* YAML as a tree: what is read with which place, and what is refused where. */
#include <setjmp.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "kamiyo/base/attributes.h"
#include "kamiyo/config/yaml_tree.h"

static struct yaml_tree *parse(const char *text, struct error_list *errors)
{
    error_list_init(errors);
    return yaml_tree_parse("test.yaml", text, strlen(text), &yaml_tree_bounds, errors);
}

struct scalar_case {
    const char *text;
    const char *path;
    const char *value;
    int line;
    int column;
    int length;
};

/* Strings stay strings, and each knows where it stands. */
static const struct scalar_case scalar_cases[] = {
    {"a: no", "a", "no", 1, 4, 2},
    {"a: 1e3\nb: yes", "b", "yes", 2, 4, 3},
    {"a: null", "a", "null", 1, 4, 4},
    {"a: ~", "a", "~", 1, 4, 1},
    {"a: 0x10", "a", "0x10", 1, 4, 4},
    {"a: \"q\"", "a", "q", 1, 4, 3},
    {"a: ''", "a", "", 1, 4, 2},
    {"a:\n  b:\n    c: deep # not this", "a.b.c", "deep", 3, 8, 4},
    {"a: {b: 1, c: {d: 2}}", "a.c.d", "2", 1, 18, 1},
    {"\xc3\xa4: {\xc3\xb6: x}", "\xc3\xa4.\xc3\xb6", "x", 1, 8, 1},
    {"a: |\n  block\n  text\n", "a", "block\ntext\n", 1, 4, 1},
    {"a: http://x:1/#y", "a", "http://x:1/#y", 1, 4, 13},
    {"\r\na: 1\r\n", "a", "1", 2, 4, 1},
    {"--- # one document\na: 1\n...\n", "a", "1", 2, 4, 1},
};

static void test_scalars(void **state)
{
    (void)state;
    for (size_t i = 0; i < COUNT_OF(scalar_cases); i++) {
        const struct scalar_case *wanted = &scalar_cases[i];
        struct error_list errors;
        struct yaml_tree *tree = parse(wanted->text, &errors);
        const struct yaml_node *node;

        assert_non_null(tree);
        assert_int_equal(errors.count, 0);
        node = yaml_tree_find(tree->root, wanted->path);
        assert_non_null(node);
        assert_string_equal(node->text, wanted->value);
        assert_int_equal(node->place.line, wanted->line);
        assert_int_equal(node->place.column, wanted->column);
        assert_int_equal(node->place.length, wanted->length);
        yaml_tree_destroy(&tree);
        error_list_clear(&errors);
    }
}

struct refused_case {
    const char *text;
    const char *part; /* of the message */
    int line;
    int column;
    bool is_over; /* nothing could be read on */
};

static const struct refused_case refused_cases[] = {
    {"a: 1\nb: 2\na: 3", "twice, first in line 1", 3, 1, false},
    {"a: {x: 1, y: 2, x: 3}", "twice", 1, 17, false},
    {"a: &anchor 1", "anchors", 1, 4, false},
    {"a: &anchor {b: 1}", "anchors", 1, 4, false},
    {"a: 1\nb: *x", "aliases", 2, 4, false},
    {"a: !!int 1", "tags", 1, 4, false},
    {"a: !mine [1]", "tags", 1, 4, false},
    {"? [a, b]\n: 1\n", "a key must be a text", 1, 3, false},
    {"a: 1\n---\nb: 2", "a second document", 2, 1, true},
    {"a: [1, 2", "broken YAML", 1, 4, true},
    {"a: 'open\nb: 1", "broken YAML", 1, 4, true},
    {"a: 1\n\tb: 2", "never with a tab", 2, 1, true},
    {"a: b: c", "broken YAML", 1, 5, true},
    {"a: [${X}]", "needs quotes", 1, 5, true},
    {"a: {b: ${Y}, c: 1}", "needs quotes", 1, 8, true},
    {"\xc3\xa4\xc3\xa4: {b: ${Y:-1}}", "needs quotes", 1, 9, true},
    {"a: 1\nb: \x01", "not readable as UTF-8", 2, 4, true},
    {"a: \xff\xfe", "not readable as UTF-8", 1, 4, true},
    {"a: [[[[[[[[[[[[[[[[[[1]]]]]]]]]]]]]]]]]]", "nested too deeply", 1, 19, true},
    {"a: \"x\\0y\"", "NUL", 1, 4, false},
};

static void test_refused(void **state)
{
    (void)state;
    for (size_t i = 0; i < COUNT_OF(refused_cases); i++) {
        const struct refused_case *wanted = &refused_cases[i];
        struct error_list errors;
        struct yaml_tree *tree = parse(wanted->text, &errors);

        if (errors.count != 1 || errors.items[0].place.line != wanted->line ||
            errors.items[0].place.column != wanted->column ||
            strstr(errors.items[0].message, wanted->part) == NULL)
            print_error("case %zu: %zu errors; %d:%d %s\n", i, errors.count,
                        errors.count > 0 ? errors.items[0].place.line : 0,
                        errors.count > 0 ? errors.items[0].place.column : 0,
                        errors.count > 0 ? errors.items[0].message : "");
        assert_int_equal(errors.count, 1);
        assert_int_equal(errors.items[0].place.line, wanted->line);
        assert_int_equal(errors.items[0].place.column, wanted->column);
        assert_non_null(strstr(errors.items[0].message, wanted->part));
        assert_int_equal(tree == NULL, wanted->is_over);
        yaml_tree_destroy(&tree);
        error_list_clear(&errors);
    }
}

static void test_all_in_one_go(void **state)
{
    struct error_list errors;
    struct yaml_tree *tree = parse("a: &x 1\nb: *x\nc: !t 1\nd: 1\nd: 2\n", &errors);

    (void)state;
    assert_non_null(tree);
    assert_int_equal(errors.total_errors, 4);
    assert_int_equal(yaml_tree_find(tree->root, "b")->kind, YAML_BROKEN);
    yaml_tree_destroy(&tree);
    error_list_clear(&errors);
}

static void test_bounds(void **state)
{
    const struct yaml_bounds small = {.max_bytes = 10, .max_nodes = 3, .max_depth = 2};
    struct error_list errors;
    struct yaml_tree *tree;

    (void)state;
    error_list_init(&errors);
    tree = yaml_tree_parse("t", "[1, 2, 3]", 9, &small, &errors);
    assert_null(tree);
    assert_non_null(strstr(errors.items[0].message, "too many values"));
    error_list_clear(&errors);
    tree = yaml_tree_parse("t", "[1, 2, 3, 4]", 12, &small, &errors);
    assert_null(tree);
    assert_non_null(strstr(errors.items[0].message, "too large"));
    error_list_clear(&errors);
}

static void test_nothing(void **state)
{
    static const char *const texts[] = {"", "\n", "# only a comment\n", "---\n"};

    (void)state;
    for (size_t i = 0; i < COUNT_OF(texts); i++) {
        struct error_list errors;
        struct yaml_tree *tree = parse(texts[i], &errors);

        assert_non_null(tree);
        assert_int_equal(errors.count, 0);
        assert_true(tree->root == NULL || yaml_tree_is_empty(tree->root));
        assert_null(yaml_tree_find(tree->root, "a"));
        yaml_tree_destroy(&tree);
    }
}

static void test_read(void **state)
{
    struct error_list errors;

    (void)state;
    error_list_init(&errors);
    assert_null(yaml_tree_read("/nowhere/at/all.yaml", &yaml_tree_bounds, &errors));
    assert_int_equal(errors.items[0].place.line, 0);
    assert_non_null(strstr(errors.items[0].message, "No such file"));
    error_list_clear(&errors);
    assert_null(yaml_tree_read("/", &yaml_tree_bounds, &errors));
    assert_int_equal(errors.total_errors, 1);
    error_list_clear(&errors);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_scalars),       cmocka_unit_test(test_refused),
        cmocka_unit_test(test_all_in_one_go), cmocka_unit_test(test_bounds),
        cmocka_unit_test(test_nothing),       cmocka_unit_test(test_read),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
