/* SPDX-License-Identifier: MIT */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "kamiyo/limit/limit_options.h"
#include "kamiyo/net/addr.h"

/* Tiers, routes and lists as the configuration read them; the route table is built from this.
 * Strings are owned by the holder. */

/* Longest path or prefix that a route may name; a longer one would never match. */
#define ROUTE_MAX_PATH_BYTES 2048

struct route_tier_options {
    char *name;
    bool is_unlimited; /* none */
    struct limit_policy policy;
};

struct route_options {
    char *name;   /* "" = none */
    char **paths; /* exact, or a prefix ending in "*"; none = every path */
    size_t path_count;
    char **methods;
    size_t method_count;
    char **hosts;
    size_t host_count;
    char **headers; /* names of fields that must be present */
    size_t header_count;
    bool is_exempt;                   /* limit: none */
    struct route_tier_options *tiers; /* own buckets; none = the identity's tier */
    size_t tier_count;
    int64_t cost;
    char *cost_from; /* response field, "" = none */
    int64_t max_cost;
    int *refund_statuses;
    size_t refund_count;
    int concurrency; /* 0 = no limit */
    bool is_shadow;
    enum limit_on_failure on_failure;
};

/* Of `allow` and `deny`: address ranges, and users by id. */
struct route_list_options {
    struct addr_range *ranges;
    size_t range_count;
    char **users; /* without "user:" */
    size_t user_count;
};

struct route_table_options {
    struct route_tier_options *tiers;
    size_t tier_count;
    struct route_options *routes;
    size_t route_count;
    struct route_list_options allow;
    struct route_list_options deny;
    enum limit_on_failure on_failure; /* of everything that no route names */
};
