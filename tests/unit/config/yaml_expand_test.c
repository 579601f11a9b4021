/* SPDX-License-Identifier: MIT */
/* Variables in scalars and lists, as a table of texts before and after. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "kamiyo/base/attributes.h"
#include "kamiyo/config/yaml_expand.h"

#include "config/config_support.h"

static const struct config_support_variable variables[] = {
    {"ONE", "1"}, {"EMPTY", ""}, {"LIST", "a, b,,c "}, {"DOLLAR", "${ONE}"}, {NULL, NULL}};

static struct yaml_tree *expand(const char *text, struct error_list *errors)
{
    struct yaml_tree *tree;

    config_support_set_environment(variables);
    error_list_init(errors);
    tree = yaml_tree_parse("test.yaml", text, strlen(text), &yaml_tree_bounds, errors);
    assert_non_null(tree);
    yaml_expand(tree, config_support_getenv, errors);
    return tree;
}

struct scalar_case {
    const char *text;
    const char *value; /* NULL = an error with `part` */
    const char *part;
};

static const struct scalar_case scalar_cases[] = {
    {"a: ${ONE}", "1", NULL},
    {"a: x${ONE}y${ONE}", "x1y1", NULL},
    {"a: ${NONE:-d}", "d", NULL},
    {"a: ${NONE:-}", "", NULL},
    {"a: ${EMPTY:-d}", "d", NULL},
    {"a: ${ONE:-d}", "1", NULL},
    {"a: ${NONE:-http://x:1/}", "http://x:1/", NULL},
    {"a: ${NONE:-${ONE}}", "1", NULL},
    {"a: ${NONE:-${ALSO:-x}y}", "xy", NULL},
    {"a: \"${ONE}\"", "1", NULL},
    {"a: '${ONE}'", "1", NULL},
    {"a: $$", "$", NULL},
    {"a: $${ONE}", "${ONE}", NULL},
    {"a: 5$", "5$", NULL},
    {"a: $ONE", "$ONE", NULL},
    {"a: ${DOLLAR}", "${ONE}", NULL}, /* what a variable holds is not expanded again */
    {"a: ${NONE:-$$5}", "$5", NULL},
    {"a: ${NONE}", NULL, "NONE is not set"},
    {"a: ${EMPTY}", NULL, "EMPTY is not set"},
    {"a: ${ONE", NULL, "without its }"},
    {"a: ${}", NULL, "is no variable"},
    {"a: ${1X}", NULL, "is no variable"},
    {"a: ${ONE-x}", NULL, "is no variable"},
    {"a: ${ONE:+x}", NULL, "is no variable"},
    {"a: ${A:-${B:-${C:-${D:-${E:-${F:-x}}}}}}", NULL, "deep"},
};

static void test_scalars(void **state)
{
    (void)state;
    for (size_t i = 0; i < COUNT_OF(scalar_cases); i++) {
        const struct scalar_case *wanted = &scalar_cases[i];
        struct error_list errors;
        struct yaml_tree *tree = expand(wanted->text, &errors);
        const struct yaml_node *node = yaml_tree_find(tree->root, "a");

        if (wanted->value != NULL) {
            assert_int_equal(errors.count, 0);
            assert_string_equal(node->text, wanted->value);
        } else {
            assert_int_equal(errors.count, 1);
            assert_int_equal(errors.items[0].place.line, 1);
            assert_int_equal(errors.items[0].place.column, 4);
            assert_string_equal(errors.items[0].key, "a");
            assert_non_null(strstr(errors.items[0].message, wanted->part));
            assert_int_equal(node->kind, YAML_BROKEN);
        }
        yaml_tree_destroy(&tree);
        error_list_clear(&errors);
    }
}

struct list_case {
    const char *text;
    const char *items; /* joined with | */
};

static const struct list_case list_cases[] = {
    {"a: [\"${ONE}\", x]", "1|x"},
    {"a: [\"${NONE:-}\", x]", "x"},
    {"a: [\"${NONE:-}\"]", ""},
    {"a: [\"${LIST}\", x]", "a|b|c|x"},
    {"a:\n  - ${LIST}\n  - y\n", "a|b|c|y"},
    {"a: [\"${NONE:-p,q}\"]", "p|q"},
    {"a: ['x,y', \"\"]", "x,y|"}, /* what was not expanded stays as it is */
    {"a: [\"pre-${ONE},z\"]", "pre-1|z"},
};

static void test_lists(void **state)
{
    (void)state;
    for (size_t i = 0; i < COUNT_OF(list_cases); i++) {
        struct error_list errors;
        struct yaml_tree *tree = expand(list_cases[i].text, &errors);
        const struct yaml_node *node = yaml_tree_find(tree->root, "a");
        char joined[64] = "";

        assert_int_equal(errors.count, 0);
        for (size_t j = 0; j < node->count; j++) {
            size_t length = strlen(joined);

            (void)snprintf(joined + length, sizeof(joined) - length, "%s%s", j > 0 ? "|" : "",
                           node->items[j]->text);
        }
        assert_string_equal(joined, list_cases[i].items);
        yaml_tree_destroy(&tree);
    }
}

static void test_paths(void **state)
{
    struct error_list errors;
    struct yaml_tree *tree = expand("a:\n  - {b: 1}\n  - {c: [\"${NONE}\"]}\n", &errors);

    (void)state;
    assert_int_equal(errors.count, 1);
    assert_string_equal(errors.items[0].key, "a[1].c[0]");
    yaml_tree_destroy(&tree);
    error_list_clear(&errors);
}

/* A default inside a default must not grow without a bound. */
static void test_size(void **state)
{
    size_t length = 80000;
    char *text = malloc(length + 20);
    struct error_list errors;
    struct yaml_tree *tree;

    (void)state;
    assert_non_null(text);
    memcpy(text, "a: \"${NONE:-", 12);
    memset(text + 12, 'x', length);
    memcpy(text + 12 + length, "}\"", 3);
    tree = expand(text, &errors);
    assert_int_equal(errors.count, 1);
    assert_non_null(strstr(errors.items[0].message, "longer than"));
    yaml_tree_destroy(&tree);
    error_list_clear(&errors);
    free(text);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_scalars),
        cmocka_unit_test(test_lists),
        cmocka_unit_test(test_paths),
        cmocka_unit_test(test_size),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
