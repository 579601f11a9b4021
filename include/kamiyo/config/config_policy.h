/* SPDX-License-Identifier: MIT */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "kamiyo/base/attributes.h"
#include "kamiyo/base/slice.h"
#include "kamiyo/config/config_value.h"
#include "kamiyo/route/route_options.h"

/* Readers of limits: {minute: 10, hour: {limit: 100, burst: 200}} and maps of tiers. */

/* Windows with their limits; false when anything was refused. *is_unlimited: the text `none`. */
bool config_policy_read(const struct config_value *value,
                        struct limit_policy *policy,
                        bool *is_unlimited);
/* A map from names to the above. The array is the caller's, ended by config_policy_free_tiers. */
void config_policy_read_tier_map(const struct config_value *value,
                                 struct route_tier_options **tiers,
                                 size_t *count);
void config_policy_free_tiers(struct route_tier_options **tiers, size_t *count);
/* "minute", "10s", "5m": the period of a window by its name. */
bool config_policy_parse_window(struct slice name, int64_t *period_ms) MUST_CHECK;

/* Of the schema; `target` is a struct config. */
void config_policy_read_tiers(const struct config_value *value, void *target);
void config_policy_clear_tiers(void *target);
void config_policy_read_failures(const struct config_value *value, void *target);
