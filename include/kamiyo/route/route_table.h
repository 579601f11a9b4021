/* SPDX-License-Identifier: MIT */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "kamiyo/base/attributes.h"
#include "kamiyo/base/slice.h"
#include "kamiyo/http/message.h"
#include "kamiyo/net/addr.h"
#include "kamiyo/route/route_options.h"

/*
 * Method, host, path and fields -> the route with its policies. Immutable once
 * made and counted by references from any thread: a reload makes a new one,
 * and each exchange keeps the one it began with. Matching does not grow with
 * the number of routes in a way that shows.
 */
struct route_table;

struct route_tier {
    struct slice name;                 /* of the table's memory */
    const struct limit_policy *policy; /* NULL = unlimited */
    size_t index;                      /* in the table's tiers */
};

struct route {
    struct slice name; /* empty = none; metrics call it "default" */
    size_t index;      /* dense, 0 = the default route that matches everything */
    bool is_exempt;
    bool has_own_tiers; /* its buckets carry its name */
    bool is_shadow;
    int64_t cost;
    struct slice cost_from; /* response field, empty = none */
    int64_t max_cost;
    int concurrency;
    struct slice place; /* its requests in flight are counted under it: its name, or one made up */
    enum limit_on_failure on_failure;
};

/* Copies what it needs of `options`. The reference is the caller's. */
struct route_table *route_table_create(const struct route_table_options *options) MUST_CHECK;
struct route_table *route_table_ref(struct route_table *table);
void route_table_unref(struct route_table **table);

/* The first route that matches; never NULL. */
const struct route *route_table_find(const struct route_table *table,
                                     const struct http_request_head *request);
size_t route_table_count(const struct route_table *table); /* routes, the default one included */

/*
 * The identity's tier: `name` as the identity gave it, else (empty or unknown) `free` for a user
 * where that exists, `anonymous` for all others. Never NULL.
 */
const struct route_tier *
route_table_tier(const struct route_table *table, struct slice name, bool is_user);
size_t route_table_tier_count(const struct route_table *table);
const struct route_tier *route_table_tier_at(const struct route_table *table, size_t index);
/* What limits this tier on this route: NULL = nothing does. */
const struct limit_policy *route_policy(const struct route_table *table,
                                        const struct route *route,
                                        const struct route_tier *tier);
const struct route *route_table_at(const struct route_table *table, size_t index);
/* Whether the charge is given back for an upstream's (or the gateway's own 502 to 504) status. */
bool route_refunds(const struct route_table *table, const struct route *route, int status);

enum route_verdict {
    ROUTE_NEITHER,
    ROUTE_ALLOWED,
    ROUTE_DENIED
};
/* The lists of addresses (deny before allow). */
enum route_verdict route_table_judge_addr(const struct route_table *table, const struct addr *addr);
/* The lists of users; `id` as it stands in the bucket key, without "user:". */
enum route_verdict route_table_judge_user(const struct route_table *table, struct slice id);
/* Every window name that any policy of the table has, for resets. Owned by the table. */
const struct slice *route_table_window_names(const struct route_table *table, size_t *count);
