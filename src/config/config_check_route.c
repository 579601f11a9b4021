/* SPDX-License-Identifier: MIT */
/*
 * Lints of tiers and routes: limits that another limit hides, costs that no
 * bucket can pay, routes that an earlier one takes everything from. Each
 * complains at the key concerned, found again in the tree; what is only the
 * built-in default is not complained about.
 */
#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "kamiyo/base/mem.h"
#include "kamiyo/base/text.h"
#include "kamiyo/config/config_check.h"
#include "kamiyo/config/config_policy.h"
#include "kamiyo/limit/limit_policy.h"

#include "config_check_internal.h"

#define MAX_COMPARED 1000 /* routes; each is compared with all before it */

bool config_check_has_tier(const struct check *check, const char *name)
{
    const struct route_table_options *routes = &check->config->routes;
    struct config_value value = config_check_value(check, "tiers");

    if (value.node != NULL && yaml_tree_find(value.node, name) != NULL)
        return true;
    for (size_t i = 0; i < routes->tier_count; i++) {
        if (strcmp(routes->tiers[i].name, name) == 0)
            return true;
    }
    return false;
}

/* The node of a window, under whichever name it was given (minute, 60s). */
static const struct yaml_node *find_window(const struct yaml_node *tier, int64_t period_ms)
{
    for (size_t i = 0; tier->kind == YAML_MAP && i < tier->count; i++) {
        int64_t given_ms;

        if (config_policy_parse_window(slice_of(tier->keys[i].text), &given_ms) &&
            given_ms == period_ms)
            return tier->items[i];
    }
    return NULL;
}

/* An hour that admits less than its minute: the minute's limit can never matter, which is rarely
 * what was meant. */
static void check_windows(const struct config_value *tier, const struct limit_policy *policy)
{
    for (size_t i = 1; i < policy->window_count; i++) {
        const struct limit_window *longer = &policy->windows[i];
        const struct limit_window *shorter = &policy->windows[i - 1];
        const struct yaml_node *node = find_window(tier->node, longer->period_ms);
        char key[CONFIG_VALUE_KEY_SIZE];
        struct config_value value = config_value_below(tier, node, longer->name, 0, key);

        if (node != NULL && longer->limit < shorter->limit)
            config_value_warn(&value,
                              "%" PRId64 " is below the %" PRId64
                              " of %s, which can then never be reached",
                              longer->limit, shorter->limit, shorter->name);
    }
}

static void
check_tier_map(const struct config_value *map, const struct route_tier_options *tiers, size_t count)
{
    for (size_t i = 0; i < count; i++) {
        const struct yaml_node *node = yaml_tree_find(map->node, tiers[i].name);
        char key[CONFIG_VALUE_KEY_SIZE];
        struct config_value tier = config_value_below(map, node, tiers[i].name, 0, key);

        if (node == NULL)
            continue;
        check_windows(&tier, &tiers[i].policy);
        if (tiers[i].is_unlimited && strcmp(tiers[i].name, "anonymous") == 0)
            config_value_warn(&tier, "none: whoever has no identity is not limited");
    }
}

void config_check_tiers(const struct check *check)
{
    const struct route_table_options *routes = &check->config->routes;
    struct config_value failures = config_check_value(check, "identity.failures");
    struct config_value tiers = config_check_value(check, "tiers");

    if (tiers.node != NULL)
        check_tier_map(&tiers, routes->tiers, routes->tier_count);
    if (failures.node != NULL)
        check_windows(&failures, &check->config->identity.failures);
}

/* One route beside the value that it was read from. */
struct checked_route {
    const struct route_options *options;
    struct config_value value;
};

static void warn_at(const struct checked_route *route, const char *name, const char *message)
{
    const struct yaml_node *node = yaml_tree_find(route->value.node, name);
    char key[CONFIG_VALUE_KEY_SIZE];
    struct config_value value = config_value_below(&route->value, node, name, 0, key);

    if (node != NULL)
        config_value_warn(&value, "%s", message);
}

/* A cost that some bucket can never hold (contract section 3: an error). */
static void check_cost(const struct check *check, const struct checked_route *route)
{
    const struct route_options *options = route->options;
    bool has_own = options->tier_count > 0;
    const struct route_tier_options *tiers = has_own ? options->tiers : check->config->routes.tiers;
    size_t count = has_own ? options->tier_count : check->config->routes.tier_count;
    const struct yaml_node *node = yaml_tree_find(route->value.node, "cost");
    char key[CONFIG_VALUE_KEY_SIZE];
    struct config_value value = config_value_below(&route->value, node, "cost", 0, key);

    if (node == NULL || options->is_exempt)
        return;
    for (size_t i = 0; i < count; i++) {
        if (tiers[i].is_unlimited || options->cost <= limit_policy_max_cost(&tiers[i].policy))
            continue;
        config_value_refuse(&value,
                            "is above what a bucket of the tier %s holds, so no request could ever "
                            "pass; allowed is at most %" PRId64,
                            tiers[i].name, limit_policy_max_cost(&tiers[i].policy));
        return;
    }
}

static void check_tier_names(const struct check *check, const struct checked_route *route)
{
    const struct yaml_node *tiers = yaml_tree_find(route->value.node, "tiers");
    const struct route_table_options *table = &check->config->routes;
    char key[CONFIG_VALUE_KEY_SIZE];
    struct config_value value = config_value_below(&route->value, tiers, "tiers", 0, key);
    const char **names;

    if (tiers == NULL || tiers->kind != YAML_MAP)
        return;
    names = mem_alloc_zero((table->tier_count + 1) * sizeof(*names));
    for (size_t i = 0; i < table->tier_count; i++)
        names[i] = table->tiers[i].name;
    for (size_t i = 0; i < tiers->count; i++) {
        const char *nearest = text_nearest(slice_of(tiers->keys[i].text), names);

        if (!config_check_has_tier(check, tiers->keys[i].text))
            error_list_add(check->errors, ERROR_WARNING, value.file, tiers->keys[i].place, key,
                           "nobody is in the tier \"%.32s\", which tiers does not have%s%s%s",
                           tiers->keys[i].text, nearest != NULL ? "; did you mean `" : "",
                           nearest != NULL ? nearest : "", nearest != NULL ? "`?" : "");
    }
    mem_free(names);
    check_tier_map(&value, route->options->tiers, route->options->tier_count);
}

static void check_effects(const struct check *check, const struct checked_route *route)
{
    static const char *const charging[] = {"cost",   "cost_from", "max_cost",
                                           "refund", "shadow",    "on_failure"};
    const struct route_options *options = route->options;

    for (size_t i = 0; options->is_exempt && i < COUNT_OF(charging); i++)
        warn_at(route, charging[i], "has no effect beside limit: none");
    if (!options->is_exempt && options->cost_from[0] == '\0')
        warn_at(route, "max_cost", "has no effect without cost_from");
    if (options->concurrency > check->config->client.max_connections)
        warn_at(route, "concurrency", "can never matter: client.max_connections is lower");
}

static bool is_pattern(struct slice path)
{
    return path.length > 0 && path.data[path.length - 1] == '*';
}

/* Whether the path or pattern `wide` matches all that `narrow` does. */
static bool covers_path(struct slice wide, struct slice narrow)
{
    if (!is_pattern(wide))
        return slice_equal(wide, narrow);
    wide.length--;
    if (is_pattern(narrow))
        narrow.length--;
    return slice_starts_with(narrow, wide);
}

typedef bool covers_fn(struct slice wide, struct slice narrow);

/* Whether whatever meets one of `narrow` meets one of `wide`; no conditions at all are met by
 * everything. */
static bool covers_any(char *const *wide,
                       size_t wide_count,
                       char *const *narrow,
                       size_t narrow_count,
                       covers_fn *covers)
{
    if (wide_count == 0)
        return true;
    for (size_t i = 0; i < narrow_count; i++) {
        bool is_covered = false;

        for (size_t j = 0; j < wide_count && !is_covered; j++)
            is_covered = covers(slice_of(wide[j]), slice_of(narrow[i]));
        if (!is_covered)
            return false;
    }
    return narrow_count > 0;
}

/* Fields must all be there, so the wider route asks for a part of the narrower one's. */
static bool covers_fields(const struct route_options *wide, const struct route_options *narrow)
{
    for (size_t i = 0; i < wide->header_count; i++) {
        bool is_asked = false;

        for (size_t j = 0; j < narrow->header_count && !is_asked; j++)
            is_asked =
                slice_equal_ignore_case(slice_of(wide->headers[i]), slice_of(narrow->headers[j]));
        if (!is_asked)
            return false;
    }
    return true;
}

static bool covers_route(const struct route_options *wide, const struct route_options *narrow)
{
    return covers_any(wide->paths, wide->path_count, narrow->paths, narrow->path_count,
                      covers_path) &&
           covers_any(wide->methods, wide->method_count, narrow->methods, narrow->method_count,
                      slice_equal) &&
           covers_any(wide->hosts, wide->host_count, narrow->hosts, narrow->host_count,
                      slice_equal_ignore_case) &&
           covers_fields(wide, narrow);
}

/* Whether something in the route was refused: what it matches is then not known. */
static bool has_errors(const struct checked_route *route)
{
    const struct error_list *errors = route->value.errors;
    size_t length = strlen(route->value.key);

    for (size_t i = 0; i < errors->count; i++) {
        if (errors->items[i].severity == ERROR_FATAL &&
            strncmp(errors->items[i].key, route->value.key, length) == 0)
            return true;
    }
    return false;
}

static void check_reach(const struct checked_route *routes, size_t index)
{
    const struct checked_route *route = &routes[index];

    if (has_errors(route))
        return;
    for (size_t i = 0; i < index && i < MAX_COMPARED; i++) {
        if (!covers_route(routes[i].options, route->options) || has_errors(&routes[i]))
            continue;
        config_value_warn(&route->value,
                          "is never reached: the route in line %d takes all of its requests",
                          routes[i].value.node->place.line);
        return;
    }
}

void config_check_routes(const struct check *check)
{
    const struct route_table_options *table = &check->config->routes;
    struct config_value list = config_check_value(check, "routes");
    struct checked_route *routes;
    char(*keys)[CONFIG_VALUE_KEY_SIZE];
    size_t count = 0;

    if (list.node == NULL || list.node->kind != YAML_LIST || table->route_count == 0)
        return;
    routes = mem_alloc_zero(table->route_count * sizeof(*routes));
    keys = mem_alloc_zero(table->route_count * sizeof(*keys));
    for (size_t i = 0; i < list.node->count && count < table->route_count; i++) {
        if (list.node->items[i]->kind != YAML_MAP)
            continue; /* config_route made no route of it either */
        routes[count].options = &table->routes[count];
        routes[count].value = config_value_below(&list, list.node->items[i], NULL, i, keys[count]);
        check_cost(check, &routes[count]);
        check_tier_names(check, &routes[count]);
        check_effects(check, &routes[count]);
        check_reach(routes, count);
        count++;
    }
    mem_free(keys);
    mem_free(routes);
}
