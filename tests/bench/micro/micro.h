/* SPDX-License-Identifier: MIT */
#pragma once

#include <stddef.h>
#include <stdint.h>

/*
 * Nanoseconds of single operations, for whoever works on one. They say which of
 * two ways is cheaper on this machine, not what a request costs: that is
 * counted by ./dev cost and measured by ./dev bench.
 */

/* `count` operations in a row, numbered from `first`. */
typedef void micro_fn(void *arg, size_t first, size_t count);

/* Print the nanoseconds of one operation: the least of several runs, as others only ever add. */
void micro_run(const char *name, micro_fn *run, void *arg);
/* Keep a result, so that the compiler cannot leave out what made it. */
void micro_keep(uint64_t value);
void micro_keep_bytes(const void *bytes);

/* Each prints its lines. */
void micro_http(void);
void micro_limit(void);
void micro_route(void);
