/* SPDX-License-Identifier: MIT */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "kamiyo/base/attributes.h"
#include "kamiyo/base/error.h"
#include "kamiyo/limit/limit_options.h"

/* Making a policy from limits: derivation of the units, bounds, order and names. Pure. */

/*
 * Fill *window from limit, burst (0 = limit) and period. False and *error when limit or burst is
 * out of 1..10^12, or burst * P or L over 2^50 (the error names the nearest limits that fit).
 */
bool limit_window_init(struct limit_window *window,
                       int64_t limit,
                       int64_t burst,
                       int64_t period_ms,
                       struct error *error) MUST_CHECK;
/* Insert in order of the period. False and *error: two of one period, or more than
 * LIMIT_MAX_WINDOWS. */
bool limit_policy_add(struct limit_policy *policy,
                      const struct limit_window *window,
                      struct error *error) MUST_CHECK;
/* The tokens that fit in the smallest bucket: the largest cost that can ever be admitted. */
int64_t limit_policy_max_cost(const struct limit_policy *policy);
/*
 * The n-th part of a policy, for one of n instances that decide without the store (contract section
 * 4): capacity max(ceil(burst / n), largest_cost), rate limit / (n * period). Names and order stay.
 * n is 1 to 1000, largest_cost at most the smallest burst. The result may exceed the bounds of
 * limit_window_init a little and is for this process only.
 */
void limit_policy_share(const struct limit_policy *policy,
                        int64_t n,
                        int64_t largest_cost,
                        struct limit_policy *share);
