/* SPDX-License-Identifier: MIT */
/*
 * Limits as people write them, made into policies by limit_policy, which owns
 * the arithmetic and its bounds: what it refuses is reported here with its place.
 */
#include "kamiyo/config/config_policy.h"

#include <string.h>

#include "kamiyo/base/mem.h"
#include "kamiyo/base/text.h"
#include "kamiyo/config/config.h"
#include "kamiyo/config/config_accept.h"
#include "kamiyo/config/config_table.h"
#include "kamiyo/limit/limit_policy.h"

#define MAX_TIERS  256
#define MAX_LIMIT  INT64_C(1000000000000)
#define MAX_PERIOD (INT64_C(366) * 86400000)

static const char *const window_names[] = {"second", "minute", "hour", "day", NULL};
static const int64_t window_periods[] = {1000, 60000, 3600000, 86400000};

/* A window that is a map. */
struct window_item {
    int64_t limit;
    int64_t burst;
};

static const struct config_key window_keys[] = {
    {.path = "limit",
     .type = CONFIG_INT64,
     .offset = offsetof(struct window_item, limit),
     .min = 1,
     .max = MAX_LIMIT,
     .doc = "Requests a window."},
    {.path = "burst",
     .type = CONFIG_INT64,
     .offset = offsetof(struct window_item, burst),
     .min = 1,
     .max = MAX_LIMIT,
     .doc = "Requests at once; the limit if it is not given."},
};
static const struct config_table window_table = {window_keys, COUNT_OF(window_keys)};

bool config_policy_parse_window(struct slice name, int64_t *period_ms)
{
    for (size_t i = 0; window_names[i] != NULL; i++) {
        if (slice_equal(name, slice_of(window_names[i]))) {
            *period_ms = window_periods[i];
            return true;
        }
    }
    return text_parse_duration(name, period_ms) && *period_ms >= 1000 && *period_ms <= MAX_PERIOD &&
           *period_ms % 1000 == 0;
}

static bool read_limits(const struct config_value *value, struct window_item *item)
{
    size_t errors = value->errors->total_errors;

    *item = (struct window_item){.limit = 0};
    if (value->node->kind != YAML_MAP)
        return config_value_integer(value, 1, MAX_LIMIT, &item->limit);
    config_table_store_map(&window_table, value, item);
    if (item->limit == 0 && yaml_tree_find(value->node, "limit") == NULL)
        config_value_refuse(value, "needs the key limit");
    return value->errors->total_errors == errors && item->limit > 0;
}

static bool read_window(const struct config_value *value,
                        const struct yaml_key *name,
                        struct limit_policy *policy)
{
    struct limit_window window;
    struct window_item item;
    struct error error;
    int64_t period_ms;

    if (!config_policy_parse_window(slice_of(name->text), &period_ms)) {
        const char *nearest = text_nearest(slice_of(name->text), window_names);

        error_list_add(value->errors, ERROR_FATAL, value->file, name->place, value->key,
                       "unknown window; allowed are second, minute, hour, day, or whole seconds as "
                       "10s, 5m, up to 366d%s%s%s",
                       nearest != NULL ? "; did you mean `" : "", nearest != NULL ? nearest : "",
                       nearest != NULL ? "`?" : "");
        return false;
    }
    if (!read_limits(value, &item))
        return false;
    if (!limit_window_init(&window, item.limit, item.burst, period_ms, &error)) {
        config_value_refuse(value, "%s", error.text);
        return false;
    }
    if (!limit_policy_add(policy, &window, &error)) {
        error_list_add(value->errors, ERROR_FATAL, value->file, name->place, value->key, "%s",
                       error.text);
        return false;
    }
    return true;
}

bool config_policy_read(const struct config_value *value,
                        struct limit_policy *policy,
                        bool *is_unlimited)
{
    const struct yaml_node *node = value->node;
    bool is_fine = true;

    *policy = (struct limit_policy){.window_count = 0};
    *is_unlimited = node->kind == YAML_SCALAR && strcmp(node->text, "none") == 0;
    if (*is_unlimited)
        return true;
    if (node->kind != YAML_MAP || node->count == 0) {
        config_value_refuse(value,
                            "must be windows with limits, as {minute: 10, hour: 100}, or none");
        return false;
    }
    for (size_t i = 0; i < node->count; i++) {
        char key[CONFIG_VALUE_KEY_SIZE];
        struct config_value window =
            config_value_below(value, node->items[i], node->keys[i].text, 0, key);

        is_fine = read_window(&window, &node->keys[i], policy) && is_fine;
    }
    return is_fine;
}

void config_policy_read_tier_map(const struct config_value *value,
                                 struct route_tier_options **tiers,
                                 size_t *count)
{
    const struct yaml_node *node = value->node;

    config_policy_free_tiers(tiers, count);
    if (node->kind != YAML_MAP) {
        config_value_refuse(
            value, "must be a map from tier names to limits, as {anonymous: {minute: 10}}");
        return;
    }
    for (size_t i = 0; i < node->count; i++) {
        const struct yaml_key *name = &node->keys[i];
        char key[CONFIG_VALUE_KEY_SIZE];
        struct config_value item = config_value_below(value, node->items[i], name->text, 0, key);
        struct route_tier_options tier = {.name = NULL};

        if (!config_accept_tier_name(slice_of(name->text)))
            error_list_add(value->errors, ERROR_FATAL, value->file, name->place, key,
                           "a tier's name must be 1 to 32 of A-Z a-z 0-9 _ -");
        else if (i == MAX_TIERS)
            error_list_add(value->errors, ERROR_FATAL, value->file, name->place, key,
                           "more than %d tiers", MAX_TIERS);
        if (!config_policy_read(&item, &tier.policy, &tier.is_unlimited) || i >= MAX_TIERS)
            continue;
        tier.name = mem_copy_string(name->text);
        *tiers = mem_resize(*tiers, (*count + 1) * sizeof(**tiers));
        (*tiers)[(*count)++] = tier;
    }
    if (yaml_tree_find(node, "anonymous") == NULL)
        config_value_refuse(
            value,
            "must have the tier anonymous, which limits whoever has no identity or no tier here");
}

void config_policy_free_tiers(struct route_tier_options **tiers, size_t *count)
{
    for (size_t i = 0; i < *count; i++)
        mem_free((*tiers)[i].name);
    mem_free(*tiers);
    *tiers = NULL;
    *count = 0;
}

void config_policy_read_tiers(const struct config_value *value, void *target)
{
    struct route_table_options *routes = &((struct config *)target)->routes;

    config_policy_read_tier_map(value, &routes->tiers, &routes->tier_count);
}

void config_policy_clear_tiers(void *target)
{
    struct route_table_options *routes = &((struct config *)target)->routes;

    config_policy_free_tiers(&routes->tiers, &routes->tier_count);
}

void config_policy_read_failures(const struct config_value *value, void *target)
{
    struct limit_policy policy;
    bool is_unlimited;

    if (config_policy_read(value, &policy, &is_unlimited))
        ((struct config *)target)->identity.failures = policy; /* none = no windows = no budget */
}
