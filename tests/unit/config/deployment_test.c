/* SPDX-License-Identifier: MIT */
/*
 * What the files that deploy the gateway say of it (render.yaml,
 * docker/compose.yaml): variables that it reads, files that are there, a
 * shutdown that is given time.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

#include "kamiyo/base/text.h"
#include "kamiyo/config/config_schema.h"
#include "kamiyo/config/yaml_tree.h"

static void path_of(char path[512], const char *name)
{
    (void)snprintf(path, 512, "%s/%s", getenv("KAMIYO_SOURCE_DIR"), name);
}

static struct yaml_tree *read_tree(const char *name)
{
    struct error_list errors;
    struct yaml_tree *tree;
    char path[512];

    path_of(path, name);
    error_list_init(&errors);
    tree = yaml_tree_read(path, &yaml_tree_bounds, &errors);
    if (tree == NULL || errors.total_errors > 0)
        fail_msg("%s: %s", name, errors.count > 0 ? errors.items[0].message : "no YAML");
    error_list_clear(&errors);
    return tree;
}

/* A scalar's text; "" where there is none. */
static const char *text_at(const struct yaml_node *node, const char *path)
{
    const struct yaml_node *found = yaml_tree_find(node, path);

    return found != NULL && found->kind == YAML_SCALAR ? found->text : "";
}

static void expect_file(const char *name)
{
    char path[512];

    path_of(path, name);
    if (access(path, R_OK) != 0)
        fail_msg("%s is not there", name);
}

static void expect_variable(const char *name)
{
    for (size_t i = 0; i < config_schema.count; i++)
        if (config_schema.keys[i].variable != NULL &&
            strcmp(config_schema.keys[i].variable, name) == 0)
            return;
    if (strcmp(name, "KAMIYO_GATEWAY_CONFIG") != 0)
        fail_msg("the gateway reads no variable %s", name);
}

static const struct yaml_node *
find_service(const struct yaml_node *services, const char *type, const char *name)
{
    for (size_t i = 0; i < services->count; i++)
        if (strcmp(text_at(services->items[i], "type"), type) == 0 &&
            (name == NULL || strcmp(text_at(services->items[i], "name"), name) == 0))
            return services->items[i];
    fail_msg("there is no service %s of type %s", name != NULL ? name : "", type);
    return NULL;
}

/* A variable is given as a value, made, or taken from a service that stands in the file. */
static void check_variable(const struct yaml_node *services, const struct yaml_node *variable)
{
    const struct yaml_node *from = yaml_tree_find(variable, "fromService");
    bool is_given = yaml_tree_find(variable, "value") != NULL ||
                    strcmp(text_at(variable, "generateValue"), "true") == 0;

    expect_variable(text_at(variable, "key"));
    if (from != NULL) {
        const char *property = text_at(from, "property");

        (void)find_service(services, text_at(from, "type"), text_at(from, "name"));
        assert_true(strcmp(property, "hostport") == 0 || strcmp(property, "connectionString") == 0);
    }
    assert_int_equal(is_given, from == NULL);
}

static void test_render(void **state)
{
    struct yaml_tree *tree = read_tree("render.yaml");
    const struct yaml_node *services = yaml_tree_find(tree->root, "services");
    const struct yaml_node *gateway = find_service(services, "web", "kamiyo-gateway");
    const struct yaml_node *variables = yaml_tree_find(gateway, "envVars");
    const struct yaml_node *store = find_service(services, "keyvalue", NULL);
    int64_t drain_ms = 0;

    (void)state;
    assert_string_equal(text_at(gateway, "runtime"), "docker");
    expect_file(text_at(gateway, "dockerfilePath"));
    assert_string_equal(text_at(gateway, "dockerContext"), ".");
    assert_string_equal(text_at(gateway, "healthCheckPath"), "/_gateway/health");
    for (size_t i = 0; i < variables->count; i++)
        check_variable(services, variables->items[i]);
    for (size_t i = 0; i < config_schema.count; i++)
        if (strcmp(config_schema.keys[i].path, "drain_timeout") == 0)
            assert_true(text_parse_duration(slice_of(config_schema.keys[i].fallback), &drain_ms));
    assert_true(drain_ms > 0);
    assert_true(strtol(text_at(gateway, "maxShutdownDelaySeconds"), NULL, 10) * 1000 > drain_ms);
    /* One region, or the private network does not connect them. */
    for (size_t i = 0; i < services->count; i++)
        assert_string_equal(text_at(services->items[i], "region"), text_at(gateway, "region"));
    assert_string_equal(text_at(store, "maxmemoryPolicy"), "noeviction");
    assert_int_equal(yaml_tree_find(store, "ipAllowList")->kind, YAML_LIST);
    yaml_tree_destroy(&tree);
}

static void test_compose(void **state)
{
    struct yaml_tree *tree = read_tree("docker/compose.yaml");
    const struct yaml_node *gateway = yaml_tree_find(tree->root, "services.gateway");
    const struct yaml_node *variables = yaml_tree_find(gateway, "environment");

    (void)state;
    expect_file(text_at(gateway, "build.dockerfile")); /* below its context, the root */
    assert_string_equal(text_at(gateway, "build.context"), "..");
    assert_true(variables->count > 0);
    for (size_t i = 0; i < variables->count; i++)
        expect_variable(variables->keys[i].text);
    yaml_tree_destroy(&tree);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_render),
        cmocka_unit_test(test_compose),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
