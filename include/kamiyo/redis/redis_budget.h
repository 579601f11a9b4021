/* SPDX-License-Identifier: MIT */
#pragma once

#include <stdint.h>

#include "kamiyo/base/attributes.h"

/*
 * How often the whole process may connect again: at most
 * REDIS_BUDGET_PER_SECOND times in any second, over all workers. Any thread.
 */
#define REDIS_BUDGET_PER_SECOND 10

struct redis_budget;

struct redis_budget *redis_budget_create(void) MUST_CHECK;
void redis_budget_destroy(struct redis_budget **budget);
/*
 * Reserve the first free moment from `now_ms` (monotonic) on: connect then. Moments are given away
 * in the order in which they are asked for, so whoever backs off asks when that is over. A
 * reservation cannot be given back.
 */
int64_t redis_budget_reserve(struct redis_budget *budget, int64_t now_ms) MUST_CHECK;
/* An attempt that waits for nothing, a worker's first, is made now: it counts while there is room.
 */
void redis_budget_count(struct redis_budget *budget, int64_t now_ms);
