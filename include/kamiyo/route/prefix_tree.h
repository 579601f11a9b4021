/* SPDX-License-Identifier: MIT */
#pragma once

#include <stddef.h>
#include <stdint.h>

#include "kamiyo/base/slice.h"

/*
 * Prefixes to lists of route numbers: a radix tree, filled once and then only
 * read, from any thread. One walk along a path meets every prefix of it, at a
 * cost that grows with the path and not with the number of prefixes.
 *
 *   "/api/" [3] ── "v1/" [1,7]
 *               └─ "v2/" ── "a" [4]
 *                        └─ "b" [5]
 */

/* Route numbers in ascending order; owned by whoever embeds it. */
struct route_numbers {
    uint32_t *items;
    size_t count;
};

/* Numbers must come in ascending order; a repeated one is dropped. */
void route_numbers_add(struct route_numbers *list, uint32_t number);
void route_numbers_clear(struct route_numbers *list);

struct prefix_node {
    struct slice label;           /* what this node adds to its parent's prefix; borrowed */
    struct route_numbers rules;   /* of exactly this prefix */
    uint32_t least;               /* the smallest number here or below */
    struct prefix_node *children; /* sorted by their labels' first bytes, which differ */
    size_t child_count;
};

void prefix_tree_init(struct prefix_node *root);
void prefix_tree_clear(struct prefix_node *root);
/* `prefix` must live as long as the tree. Numbers must come in ascending order. */
void prefix_tree_add(struct prefix_node *root, struct slice prefix, uint32_t number);
/* The child whose label `rest` begins with, the label cut off *rest; NULL = none. */
const struct prefix_node *prefix_tree_step(const struct prefix_node *node, struct slice *rest);
