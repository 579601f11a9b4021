/* SPDX-License-Identifier: MIT */
/*
 * The configuration's tiers, routes and lists as the data path reads them:
 * route 0 is the default that matches everything, route n+1 is the n-th of the
 * file. All is made at the creation; afterwards nothing but the reference
 * count changes, so that workers share one table without locks.
 *
 * Made by the application at the start and on each reload, read by each
 * exchange, which holds a reference for its whole life.
 */
#include "kamiyo/route/route_table.h"

#include <assert.h>
#include <stdatomic.h>
#include <stdio.h>
#include <string.h>

#include "kamiyo/base/mem.h"
#include "kamiyo/route/addr_set.h"
#include "kamiyo/route/name_map.h"
#include "kamiyo/route/route_matcher.h"

/* Statuses that a refund may name. */
#define FIRST_STATUS 100
#define STATUS_COUNT 500

/* What a route has beyond its public part. */
struct route_extra {
    const struct limit_policy **policies; /* by tier index; NULL array = the tier's own */
    uint8_t *refunds;                     /* bit per status; NULL = none */
};

/* Of `allow` or `deny`. */
struct access_list {
    struct addr_set addrs;
    struct name_map users;
};

struct route_table {
    _Atomic size_t references;
    struct route_tier *tiers;
    size_t tier_count;
    struct name_map tier_names;
    size_t anonymous; /* index of the tier of clients without a user */
    size_t free_tier; /* of users without a known one */
    struct route *routes;
    struct route_extra *extras;
    size_t route_count;
    struct route_matcher *matcher;
    struct access_list allow;
    struct access_list deny;
    bool lists_addrs; /* either has an address */
    struct slice *windows;
    size_t window_count;
    void **kept; /* all copies of texts and policies, freed together */
    size_t kept_count;
};

static void *keep(struct route_table *table, void *memory)
{
    if ((table->kept_count & (table->kept_count - 1)) == 0) /* full at each power of two */
        table->kept = mem_resize(table->kept, (table->kept_count > 0 ? table->kept_count * 2 : 1) *
                                                  sizeof(void *));
    table->kept[table->kept_count++] = memory;
    return memory;
}

static struct slice keep_text(struct route_table *table, const char *text)
{
    return text == NULL || text[0] == '\0' ? (struct slice){NULL, 0}
                                           : slice_of(keep(table, mem_copy_string(text)));
}

static void note_windows(struct route_table *table, const struct limit_policy *policy)
{
    for (size_t i = 0; i < policy->window_count; i++) {
        struct slice name = slice_of(policy->windows[i].name);
        size_t j = 0;

        while (j < table->window_count && !slice_equal(table->windows[j], name))
            j++;
        if (j < table->window_count)
            continue;
        table->windows =
            mem_resize(table->windows, (table->window_count + 1) * sizeof(*table->windows));
        table->windows[table->window_count++] = name;
    }
}

/* The tier's policy in the table's memory, NULL = unlimited. */
static const struct limit_policy *keep_policy(struct route_table *table,
                                              const struct route_tier_options *tier)
{
    struct limit_policy *policy;

    if (tier->is_unlimited)
        return NULL;
    policy = keep(table, mem_copy_bytes(&tier->policy, sizeof(tier->policy)));
    note_windows(table, policy);
    return policy;
}

static size_t find_tier(const struct route_table *table, struct slice name, size_t otherwise)
{
    uint32_t index;

    return name_map_find(&table->tier_names, name, &index) ? index : otherwise;
}

static void add_tiers(struct route_table *table, const struct route_table_options *options)
{
    assert(options->tier_count > 0);
    name_map_init(&table->tier_names);
    table->tiers = mem_alloc_zero(options->tier_count * sizeof(*table->tiers));
    for (size_t i = 0; i < options->tier_count; i++) {
        struct route_tier *tier = &table->tiers[i];

        tier->name = keep_text(table, options->tiers[i].name);
        tier->policy = keep_policy(table, &options->tiers[i]);
        tier->index = i;
        (void)name_map_add(&table->tier_names, tier->name, (uint32_t)i); /* names are unique */
    }
    table->tier_count = options->tier_count;
    table->anonymous = find_tier(table, SLICE("anonymous"), 0);
    table->free_tier = find_tier(table, SLICE("free"), table->anonymous);
}

/* The route's limits for each tier: its own of that name, else its anonymous ones. */
static const struct limit_policy **own_policies(struct route_table *table,
                                                const struct route_options *route)
{
    const struct limit_policy **policies =
        keep(table, mem_alloc_zero(table->tier_count * sizeof(struct limit_policy *)));

    for (size_t i = 0; i < route->tier_count; i++)
        if (slice_equal(slice_of(route->tiers[i].name), SLICE("anonymous"))) {
            const struct limit_policy *anonymous = keep_policy(table, &route->tiers[i]);

            for (size_t j = 0; j < table->tier_count; j++)
                policies[j] = anonymous;
        }
    for (size_t i = 0; i < route->tier_count; i++) {
        struct slice name = slice_of(route->tiers[i].name);
        size_t index = find_tier(table, name, table->tier_count);

        if (index < table->tier_count && !slice_equal(name, SLICE("anonymous")))
            policies[index] = keep_policy(table, &route->tiers[i]);
    }
    return policies;
}

static uint8_t *refund_bits(struct route_table *table, const struct route_options *route)
{
    uint8_t *bits = keep(table, mem_alloc_zero((STATUS_COUNT + 7) / 8));

    for (size_t i = 0; i < route->refund_count; i++) {
        int bit = route->refund_statuses[i] - FIRST_STATUS;

        if (bit >= 0 && bit < STATUS_COUNT)
            bits[bit / 8] = (uint8_t)(bits[bit / 8] | 1 << bit % 8);
    }
    return bits;
}

/* Routes without a name are not one route; "#" begins no name. */
static struct slice place_of(struct route_table *table, const struct route *route)
{
    char made_up[32];

    if (route->name.length > 0)
        return route->name;
    (void)snprintf(made_up, sizeof(made_up), "#%zu", route->index);
    return keep_text(table, made_up);
}

static void add_route(struct route_table *table, const struct route_options *options, size_t index)
{
    struct route *route = &table->routes[index];

    route->name = keep_text(table, options->name);
    route->index = index;
    route->is_exempt = options->is_exempt;
    route->has_own_tiers = options->tier_count > 0;
    route->is_shadow = options->is_shadow;
    route->cost = options->cost;
    route->cost_from = keep_text(table, options->cost_from);
    route->max_cost = options->max_cost;
    route->concurrency = options->concurrency;
    if (route->concurrency > 0)
        route->place = place_of(table, route);
    route->on_failure = options->on_failure;
    if (route->has_own_tiers)
        table->extras[index].policies = own_policies(table, options);
    if (options->refund_count > 0)
        table->extras[index].refunds = refund_bits(table, options);
}

static void add_routes(struct route_table *table, const struct route_table_options *options)
{
    table->route_count = options->route_count + 1;
    table->routes = mem_alloc_zero(table->route_count * sizeof(*table->routes));
    table->extras = mem_alloc_zero(table->route_count * sizeof(*table->extras));
    table->routes[0] = (struct route){.cost = 1, .on_failure = options->on_failure};
    for (size_t i = 0; i < options->route_count; i++)
        add_route(table, &options->routes[i], i + 1);
    table->matcher = route_matcher_create(options->routes, options->route_count);
}

static void add_list(struct route_table *table,
                     const struct route_list_options *options,
                     struct access_list *list)
{
    addr_set_init(&list->addrs, options->ranges, options->range_count);
    name_map_init(&list->users);
    for (size_t i = 0; i < options->user_count; i++)
        (void)name_map_add(&list->users, keep_text(table, options->users[i]), 0); /* a set */
}

struct route_table *route_table_create(const struct route_table_options *options)
{
    struct route_table *table = mem_alloc_zero(sizeof(*table));

    atomic_init(&table->references, 1);
    add_tiers(table, options);
    add_routes(table, options);
    add_list(table, &options->allow, &table->allow);
    add_list(table, &options->deny, &table->deny);
    table->lists_addrs = options->allow.range_count > 0 || options->deny.range_count > 0;
    return table;
}

struct route_table *route_table_ref(struct route_table *table)
{
    (void)atomic_fetch_add_explicit(&table->references, 1, memory_order_relaxed);
    return table;
}

static void clear_list(struct access_list *list)
{
    addr_set_clear(&list->addrs);
    name_map_clear(&list->users);
}

void route_table_unref(struct route_table **handle)
{
    struct route_table *table = *handle;

    *handle = NULL;
    if (table == NULL || atomic_fetch_sub_explicit(&table->references, 1, memory_order_acq_rel) > 1)
        return;
    route_matcher_destroy(&table->matcher);
    clear_list(&table->allow);
    clear_list(&table->deny);
    name_map_clear(&table->tier_names);
    for (size_t i = 0; i < table->kept_count; i++)
        mem_free(table->kept[i]);
    mem_free(table->kept);
    mem_free(table->windows);
    mem_free(table->extras);
    mem_free(table->routes);
    mem_free(table->tiers);
    mem_free(table);
}

const struct route *route_table_find(const struct route_table *table,
                                     const struct http_request_head *request)
{
    size_t index = route_matcher_find(table->matcher, request);

    return &table->routes[index + 1 < table->route_count ? index + 1 : 0];
}

size_t route_table_count(const struct route_table *table)
{
    return table->route_count;
}

const struct route *route_table_at(const struct route_table *table, size_t index)
{
    assert(index < table->route_count);
    return &table->routes[index];
}

const struct route_tier *
route_table_tier(const struct route_table *table, struct slice name, bool is_user)
{
    size_t otherwise = is_user ? table->free_tier : table->anonymous;

    return &table->tiers[name.length > 0 ? find_tier(table, name, otherwise) : otherwise];
}

size_t route_table_tier_count(const struct route_table *table)
{
    return table->tier_count;
}

const struct route_tier *route_table_tier_at(const struct route_table *table, size_t index)
{
    assert(index < table->tier_count);
    return &table->tiers[index];
}

const struct limit_policy *route_policy(const struct route_table *table,
                                        const struct route *route,
                                        const struct route_tier *tier)
{
    const struct limit_policy **policies = table->extras[route->index].policies;

    if (route->is_exempt)
        return NULL;
    return policies != NULL ? policies[tier->index] : tier->policy;
}

bool route_refunds(const struct route_table *table, const struct route *route, int status)
{
    const uint8_t *bits = table->extras[route->index].refunds;
    int bit = status - FIRST_STATUS;

    return bits != NULL && bit >= 0 && bit < STATUS_COUNT && (bits[bit / 8] >> bit % 8 & 1) != 0;
}

enum route_verdict route_table_judge_addr(const struct route_table *table, const struct addr *addr)
{
    if (!table->lists_addrs)
        return ROUTE_NEITHER;
    if (addr_set_has(&table->deny.addrs, addr))
        return ROUTE_DENIED;
    return addr_set_has(&table->allow.addrs, addr) ? ROUTE_ALLOWED : ROUTE_NEITHER;
}

enum route_verdict route_table_judge_user(const struct route_table *table, struct slice id)
{
    uint32_t entry;

    if (name_map_find(&table->deny.users, id, &entry))
        return ROUTE_DENIED;
    return name_map_find(&table->allow.users, id, &entry) ? ROUTE_ALLOWED : ROUTE_NEITHER;
}

const struct slice *route_table_window_names(const struct route_table *table, size_t *count)
{
    *count = table->window_count;
    return table->windows;
}
