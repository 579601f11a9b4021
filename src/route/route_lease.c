/* SPDX-License-Identifier: MIT */
/*
 * Counts a thread's holders of a route table without atomics: each worker's proxy
 * makes a lease of the table that is in force, each exchange holds the lease that
 * it began with, and the table sees one reference for all of them.
 */
#include "kamiyo/route/route_lease.h"

#include "kamiyo/base/mem.h"
#include "kamiyo/route/route_table.h"

struct route_lease *route_lease_create(struct route_table *table)
{
    struct route_lease *lease = mem_alloc(sizeof(*lease));

    *lease = (struct route_lease){.table = route_table_ref(table), .holders = 1};
    return lease;
}

struct route_lease *route_lease_ref(struct route_lease *lease)
{
    lease->holders++;
    return lease;
}

void route_lease_unref(struct route_lease **handle)
{
    struct route_lease *lease = *handle;

    *handle = NULL;
    if (lease == NULL || --lease->holders > 0)
        return;
    route_table_unref(&lease->table);
    mem_free(lease);
}
