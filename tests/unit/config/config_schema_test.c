/* SPDX-License-Identifier: MIT */
/*
 * The rows, one by one: each has its words, takes its bounds and nothing
 * beyond, and stands in config/gateway.yaml with the default it has here.
 */
#include <inttypes.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "kamiyo/base/mem.h"
#include "kamiyo/base/text.h"
#include "kamiyo/config/config_schema.h"

#include "config/config_support.h"

/* The number of errors that storing `text` in the row gives. */
static size_t store(const struct config_key *key, const char *text)
{
    struct config *config = mem_alloc_zero(sizeof(*config));
    struct error_list errors;
    struct config_value value = {
        .file = "test", .directory = "", .key = key->path, .errors = &errors};
    struct yaml_node *node = yaml_tree_make_scalar(text);
    size_t count;

    node->is_quoted = true;
    value.node = node;
    error_list_init(&errors);
    if (!config_table_store(key, &value, config))
        assert_true(errors.total_errors > 0);
    count = errors.total_errors;
    for (size_t i = 0; i < errors.count; i++)
        assert_string_equal(errors.items[i].key, key->path);
    error_list_clear(&errors);
    yaml_tree_destroy_node(&node);
    config_destroy(&config);
    return count;
}

static void
check_number(const struct config_key *key, int64_t number, const char *unit, bool is_fine)
{
    char text[40];

    (void)snprintf(text, sizeof(text), "%" PRId64 "%s", number, unit);
    if ((store(key, text) == 0) != is_fine)
        fail_msg("%s: %s", key->path, text);
}

static void test_bounds(void **state)
{
    (void)state;
    for (size_t i = 0; i < config_schema.count; i++) {
        const struct config_key *key = &config_schema.keys[i];
        const char *unit = key->type == CONFIG_DURATION ? "ms"
                           : key->type == CONFIG_SIZE   ? "B"
                                                        : "";

        if (key->type != CONFIG_DURATION && key->type != CONFIG_SIZE && key->type != CONFIG_INT &&
            key->type != CONFIG_INT64)
            continue;
        assert_true(key->min < key->max);
        check_number(key, key->min, unit, true);
        check_number(key, key->max, unit, true);
        check_number(key, key->min - 1, unit, false);
        check_number(key, key->max + 1, unit, false);
        check_number(key, INT64_MAX, unit, false);
        assert_int_equal(store(key, ""), 1);
        assert_int_equal(store(key, "1e3"), 1);
        assert_int_equal(store(key, "0x10"), 1);
        assert_int_equal(store(key, " 5"), 1);
        if (key->type == CONFIG_DURATION || key->type == CONFIG_SIZE)
            assert_int_equal(store(key, "5000"), 1); /* a unit is needed */
        assert_int_equal(store(key, "0"),
                         key->is_zero_none || (unit[0] == '\0' && key->min == 0) ? 0 : 1);
    }
}

static void test_words(void **state)
{
    (void)state;
    for (size_t i = 0; i < config_schema.count; i++) {
        const struct config_key *key = &config_schema.keys[i];

        for (size_t j = 0; key->choices != NULL && key->choices[j] != NULL; j++)
            assert_int_equal(store(key, key->choices[j]), 0);
        if (key->type == CONFIG_CHOICE || key->type == CONFIG_BOOL)
            assert_int_equal(store(key, "surely-not"), 1);
        if (key->type == CONFIG_BOOL)
            assert_int_equal(store(key, "true"), 0);
    }
}

/* Every row says what it is, and no two are called alike. */
static void test_rows(void **state)
{
    (void)state;
    for (size_t i = 0; i < config_schema.count; i++) {
        const struct config_key *key = &config_schema.keys[i];
        char allowed[300];

        assert_non_null(key->doc);
        assert_true(key->doc[strlen(key->doc) - 1] == '.');
        assert_non_null(key->fallback);
        assert_true(strlen(config_table_describe(key, allowed, sizeof(allowed))) > 3);
        assert_ptr_equal(config_table_find(&config_schema, key->path), key);
        assert_true(key->type != CONFIG_CUSTOM || key->allowed != NULL);
    }
}

static bool is_same_policy(const struct limit_policy *a, const struct limit_policy *b)
{
    if (a->window_count != b->window_count)
        return false;
    for (size_t i = 0; i < a->window_count; i++) {
        if (a->windows[i].period_ms != b->windows[i].period_ms ||
            a->windows[i].limit != b->windows[i].limit ||
            a->windows[i].burst != b->windows[i].burst)
            return false;
    }
    return true;
}

static void compare_tiers(const struct route_tier_options *a,
                          size_t a_count,
                          const struct route_tier_options *b,
                          size_t b_count)
{
    assert_int_equal(a_count, b_count);
    for (size_t i = 0; i < a_count; i++) {
        assert_string_equal(a[i].name, b[i].name);
        assert_true(is_same_policy(&a[i].policy, &b[i].policy));
    }
}

static void compare_texts(const void *a, const void *b, size_t count_a, size_t count_b)
{
    char *const *left = *(char *const *const *)a;
    char *const *right = *(char *const *const *)b;

    assert_int_equal(count_a, count_b);
    for (size_t i = 0; i < count_a; i++)
        assert_string_equal(left[i], right[i]);
}

static size_t size_of(enum config_type type)
{
    switch (type) {
    case CONFIG_BOOL:
        return sizeof(bool);
    case CONFIG_INT:
    case CONFIG_CHOICE:
        return sizeof(int);
    case CONFIG_NUMBER:
        return sizeof(double);
    case CONFIG_INT64:
    case CONFIG_DURATION:
    case CONFIG_SIZE:
        return sizeof(int64_t);
    case CONFIG_TEXT:
    case CONFIG_PATH:
    case CONFIG_TEXTS:
    case CONFIG_PATHS:
    case CONFIG_CUSTOM:
        break;
    }
    return 0;
}

static void compare_rows(const struct config_table *table, const void *a, const void *b)
{
    for (size_t i = 0; i < table->count; i++) {
        const struct config_key *key = &table->keys[i];
        const char *left = (const char *)a + key->offset;
        const char *right = (const char *)b + key->offset;

        if (key->type == CONFIG_TEXT || key->type == CONFIG_PATH)
            assert_string_equal(*(char *const *)(const void *)left,
                                *(char *const *)(const void *)right);
        else if (key->type == CONFIG_TEXTS || key->type == CONFIG_PATHS)
            compare_texts(left, right,
                          *(const size_t *)(const void *)((const char *)a + key->count_offset),
                          *(const size_t *)(const void *)((const char *)b + key->count_offset));
        else if (memcmp(left, right, size_of(key->type)) != 0)
            fail_msg("%s differs", key->path);
    }
}

/* config/gateway.yaml says of every key what its default is. */
static void test_sample(void **state)
{
    struct config_support sample;
    struct config_support defaults;
    struct error_list errors;
    struct yaml_tree *tree;
    char path[512];

    (void)state;
    (void)snprintf(path, sizeof(path), "%s/config/gateway.yaml", getenv("KAMIYO_SOURCE_DIR"));
    config_support_init(&sample, NULL);
    config_support_init(&defaults, "");
    sample.overrides.path = path;
    config_support_load(&sample);
    config_support_load(&defaults);
    assert_non_null(sample.config);
    assert_non_null(defaults.config);
    compare_rows(&config_schema, sample.config, defaults.config);
    compare_tiers(sample.config->routes.tiers, sample.config->routes.tier_count,
                  defaults.config->routes.tiers, defaults.config->routes.tier_count);
    assert_true(
        is_same_policy(&sample.config->identity.failures, &defaults.config->identity.failures));
    assert_int_equal(sample.config->routes.route_count, defaults.config->routes.route_count);
    for (size_t i = 0; i < sample.config->routes.route_count; i++) {
        const struct route_options *a = &sample.config->routes.routes[i];
        const struct route_options *b = &defaults.config->routes.routes[i];

        assert_string_equal(a->name, b->name);
        compare_texts(&a->paths, &b->paths, a->path_count, b->path_count);
        compare_texts(&a->methods, &b->methods, a->method_count, b->method_count);
        compare_texts(&a->headers, &b->headers, a->header_count, b->header_count);
        assert_int_equal(a->is_exempt, b->is_exempt);
        assert_int_equal(a->on_failure, b->on_failure);
        compare_tiers(a->tiers, a->tier_count, b->tiers, b->tier_count);
    }
    assert_string_equal(sample.config->upstream.urls[0], defaults.config->upstream.urls[0]);
    assert_int_equal(sample.config->listen[0].endpoint.addr.port,
                     defaults.config->listen[0].endpoint.addr.port);
    assert_int_equal(sample.config->admin.listen.addr.port,
                     defaults.config->admin.listen.addr.port);

    error_list_init(&errors);
    tree = yaml_tree_read(path, &yaml_tree_bounds, &errors);
    assert_non_null(tree);
    for (size_t i = 0; i < config_schema.count; i++) {
        if (yaml_tree_find(tree->root, config_schema.keys[i].path) == NULL)
            fail_msg("config/gateway.yaml does not have %s", config_schema.keys[i].path);
    }
    yaml_tree_destroy(&tree);
    config_support_clear(&sample);
    config_support_clear(&defaults);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_bounds),
        cmocka_unit_test(test_words),
        cmocka_unit_test(test_rows),
        cmocka_unit_test(test_sample),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
