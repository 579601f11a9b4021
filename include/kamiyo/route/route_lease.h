/* SPDX-License-Identifier: MIT */
#pragma once

#include <stddef.h>

#include "kamiyo/base/attributes.h"

struct route_table;

/*
 * One thread's hold of a route table that threads share: a single reference of
 * the table, held for all who hold the lease. Taking the lease is an addition in
 * the thread's own memory; taking the table would write, twice a request, to
 * a cache line that every worker writes to. Not to be passed to another thread.
 */
struct route_lease {
    struct route_table *table;
    size_t holders; /* the lease's own */
};

/* Takes a reference of the table; the caller is the first holder. */
struct route_lease *route_lease_create(struct route_table *table) MUST_CHECK;
struct route_lease *route_lease_ref(struct route_lease *lease);
/* The last holder gives the table back. Takes a pointer to NULL, and nulls the pointer. */
void route_lease_unref(struct route_lease **lease);
