/* SPDX-License-Identifier: MIT */
/*
 * Routes: each is a table of keys of its own over struct route_options, and a
 * few rules between the keys, which are reported where the route begins or at
 * the key that breaks them. What is merely odd is for config_check.
 */
#include "kamiyo/config/config_route.h"

#include <string.h>

#include "kamiyo/base/mem.h"
#include "kamiyo/base/text.h"
#include "kamiyo/config/config.h"
#include "kamiyo/config/config_accept.h"
#include "kamiyo/config/config_policy.h"

#define MAX_ROUTES 10000
#define MAX_COST   INT64_C(1000000000000)

#define AT(member)       .offset = offsetof(struct route_options, member)
#define COUNT_AT(member) .count_offset = offsetof(struct route_options, member)

static void read_limit(const struct config_value *value, void *target)
{
    struct route_options *route = target;

    route->is_exempt = value->node->kind == YAML_SCALAR && strcmp(value->node->text, "none") == 0;
    if (!route->is_exempt)
        config_value_refuse(value, "must be none; limits of a route's own stand under tiers");
}

static void read_tiers(const struct config_value *value, void *target)
{
    struct route_options *route = target;

    config_policy_read_tier_map(value, &route->tiers, &route->tier_count);
}

static void clear_tiers(void *target)
{
    struct route_options *route = target;

    config_policy_free_tiers(&route->tiers, &route->tier_count);
}

static void read_refund(const struct config_value *value, void *target)
{
    struct route_options *route = target;
    struct config_elements elements;

    config_value_elements(value, &elements);
    for (size_t i = 0; i < elements.count; i++) {
        char key[CONFIG_VALUE_KEY_SIZE];
        struct config_value item = config_value_element(value, &elements, i, key);
        int64_t status;

        if (!config_value_integer(&item, 100, 599, &status))
            continue;
        route->refund_statuses = mem_resize(
            route->refund_statuses, (route->refund_count + 1) * sizeof(*route->refund_statuses));
        route->refund_statuses[route->refund_count++] = (int)status;
    }
    config_value_elements_clear(&elements);
}

static void clear_refund(void *target)
{
    struct route_options *route = target;

    mem_free(route->refund_statuses);
    route->refund_statuses = NULL;
    route->refund_count = 0;
}

static const char *const on_failures[] = {"local", "allow", "deny", NULL};

static const struct config_key keys[] = {
    {.path = "name",
     .type = CONFIG_TEXT,
     AT(name),
     .accept = config_accept_route_name,
     .allowed = "1 to 32 of a-z 0-9 _ -",
     .doc = "In keys, logs and metrics; needed for tiers of its own."},
    {.path = "path",
     .type = CONFIG_TEXTS,
     AT(paths),
     COUNT_AT(path_count),
     .accept = config_accept_path,
     .allowed = "a path that begins with /, exact or with one * at its end, or * alone",
     .doc = "One or several paths; none = every path."},
    {.path = "host",
     .type = CONFIG_TEXTS,
     AT(hosts),
     COUNT_AT(host_count),
     .accept = config_accept_route_host,
     .allowed = "a host name",
     .doc = "What Host must be."},
    {.path = "methods",
     .type = CONFIG_TEXTS,
     AT(methods),
     COUNT_AT(method_count),
     .accept = config_accept_method,
     .allowed = "a method in capitals, as GET",
     .doc = "None = every method."},
    {.path = "headers",
     .type = CONFIG_TEXTS,
     AT(headers),
     COUNT_AT(header_count),
     .accept = config_accept_field,
     .allowed = "a field name",
     .doc = "Fields that must be there."},
    {.path = "limit",
     .type = CONFIG_CUSTOM,
     .read = read_limit,
     .allowed = "none",
     .doc = "none = requests of this route are not limited."},
    {.path = "tiers",
     .type = CONFIG_CUSTOM,
     .read = read_tiers,
     .clear = clear_tiers,
     .allowed = "a map from tier names to windows with limits, or none",
     .doc = "Limits and buckets of its own; a tier that is not listed takes anonymous."},
    {.path = "cost",
     .type = CONFIG_INT64,
     AT(cost),
     .min = 1,
     .max = MAX_COST,
     .fallback = "1",
     .doc = "Tokens a request takes."},
    {.path = "cost_from",
     .type = CONFIG_TEXT,
     AT(cost_from),
     .accept = config_accept_field_or_empty,
     .allowed = "a field name, or \"\" for none",
     .fallback = "\"\"",
     .doc = "Response field with a further cost, charged after the answer."},
    {.path = "max_cost",
     .type = CONFIG_INT64,
     AT(max_cost),
     .min = 1,
     .max = MAX_COST,
     .fallback = "100",
     .doc = "Bound of cost_from."},
    {.path = "refund",
     .type = CONFIG_CUSTOM,
     .read = read_refund,
     .clear = clear_refund,
     .allowed = "a list of statuses from 100 to 599",
     .doc = "Statuses of the upstream for which the charge is given back."},
    {.path = "concurrency",
     .type = CONFIG_INT,
     AT(concurrency),
     .min = 0,
     .max = 1000000,
     .fallback = "0",
     .doc = "Requests of one identity in flight; 0 = no limit."},
    {.path = "shadow",
     .type = CONFIG_BOOL,
     AT(is_shadow),
     .fallback = "false",
     .doc = "true = decide, count and log, never refuse."},
    {.path = "on_failure",
     .type = CONFIG_CHOICE,
     AT(on_failure),
     .choices = on_failures,
     .doc = "What decides while Redis cannot; redis.on_failure if it is not given."},
};

const struct config_table config_route_table = {.keys = keys, .count = COUNT_OF(keys)};

/* Report at `name` if the route has that key, else where the route begins. */
static void refuse_at(const struct config_value *value, const char *name, const char *message)
{
    const struct yaml_node *node = yaml_tree_find(value->node, name);
    char key[CONFIG_VALUE_KEY_SIZE];
    struct config_value item = config_value_below(value, node, name, 0, key);

    if (node != NULL)
        config_value_refuse(&item, "%s", message);
    else
        error_list_add(value->errors, ERROR_FATAL, value->file, value->node->place, value->key,
                       "%s", message);
}

/* Rules between the keys of one route, and between its name and the others'. */
static void check_route(const struct config_value *value,
                        const struct route_table_options *routes,
                        const struct route_options *route)
{
    int64_t period_ms;

    if (route->tier_count > 0 && yaml_tree_find(value->node, "name") == NULL)
        refuse_at(value, "name",
                  "a route with tiers of its own needs a name, which its buckets carry");
    if (route->is_exempt && route->tier_count > 0)
        refuse_at(value, "limit", "a route has either limit: none or tiers of its own, not both");
    if (config_policy_parse_window(slice_of(route->name), &period_ms))
        refuse_at(value, "name", "a route cannot be called as a window is");
    for (size_t i = 0; i < routes->route_count; i++) {
        if (route->name[0] != '\0' && strcmp(routes->routes[i].name, route->name) == 0)
            refuse_at(value, "name", "an earlier route has this name");
    }
}

static void read_route(const struct config_value *value, struct config *config)
{
    struct route_table_options *routes = &config->routes;
    struct route_options route = {.on_failure = routes->on_failure};

    if (value->node->kind != YAML_MAP) {
        config_value_refuse(value, "must be a map, as {path: /health, limit: none}");
        return;
    }
    config_table_store_defaults(&config_route_table, &route, value->errors);
    config_table_store_map(&config_route_table, value, &route);
    if (route.name == NULL)
        route.name = mem_copy_string("");
    check_route(value, routes, &route);
    routes->routes =
        mem_resize(routes->routes, (routes->route_count + 1) * sizeof(*routes->routes));
    routes->routes[routes->route_count++] = route;
}

void config_route_read(const struct config_value *value, void *target)
{
    const struct yaml_node *node = value->node;

    config_route_clear(target);
    if (node->kind != YAML_LIST && !yaml_tree_is_empty(node)) {
        config_value_refuse(value,
                            "must be a list of routes, each as {path: /health, limit: none}");
        return;
    }
    for (size_t i = 0; i < node->count; i++) {
        char key[CONFIG_VALUE_KEY_SIZE];
        struct config_value item = config_value_below(value, node->items[i], NULL, i, key);

        if (i == MAX_ROUTES) {
            config_value_refuse(&item, "more than %d routes", MAX_ROUTES);
            break;
        }
        read_route(&item, target);
    }
}

void config_route_clear(void *target)
{
    struct route_table_options *routes = &((struct config *)target)->routes;

    for (size_t i = 0; i < routes->route_count; i++)
        config_table_clear(&config_route_table, &routes->routes[i]);
    mem_free(routes->routes);
    routes->routes = NULL;
    routes->route_count = 0;
}
