/* SPDX-License-Identifier: MIT */
#pragma once

#include <stdbool.h>
#include <stddef.h>

#include "kamiyo/base/attributes.h"
#include "kamiyo/base/slice.h"

/*
 * How many requests of one identity are in flight on one route, over all
 * workers of this process. Only routes with `concurrency` ask. Bounded by the
 * requests that are in flight at all; an entry lives while its count is above 0.
 * Any thread may call.
 */
struct concurrency;

struct concurrency *concurrency_create(void) MUST_CHECK;
void concurrency_destroy(struct concurrency **concurrency);
/* Count one more under (key, route) unless `max` are in flight; false = they are. */
bool concurrency_enter(struct concurrency *concurrency,
                       struct slice key,
                       struct slice route,
                       int max) MUST_CHECK;
/* One that entered has ended. */
void concurrency_leave(struct concurrency *concurrency, struct slice key, struct slice route);
/* How many of (key, route) are in flight. */
size_t concurrency_count(struct concurrency *concurrency, struct slice key, struct slice route);
/* Requests counted now, for tests. */
size_t concurrency_total(struct concurrency *concurrency);
