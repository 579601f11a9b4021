/* SPDX-License-Identifier: MIT */
#pragma once

#include "kamiyo/config/config_table.h"

/* The list of routes. */

/* The keys of one route, filling struct route_options. */
extern const struct config_table config_route_table;

/* Of the schema; `target` is a struct config whose redis.on_failure has been read, as routes
 * inherit it. */
void config_route_read(const struct config_value *value, void *target);
void config_route_clear(void *target);
