/* SPDX-License-Identifier: MIT */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "kamiyo/net/addr.h"

/*
 * Many address ranges as one set: made once, then only read, from any thread.
 * A look-up takes a dozen comparisons for 10,000 ranges. Ranges that overlap or
 * touch are merged, since only membership is asked for. Unix peers are in none.
 */
struct addr_span {
    uint64_t first[2]; /* high and low half in host order; IPv4 in the low one */
    uint64_t last[2];
};

struct addr_spans {
    struct addr_span *spans; /* sorted, disjoint */
    size_t count;
};

struct addr_set {
    struct addr_spans ipv4;
    struct addr_spans ipv6;
};

void addr_set_init(struct addr_set *set, const struct addr_range *ranges, size_t count);
void addr_set_clear(struct addr_set *set);
bool addr_set_has(const struct addr_set *set, const struct addr *addr);
