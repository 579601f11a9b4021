/* SPDX-License-Identifier: MIT */
#pragma once

#include "kamiyo/config/config_table.h"

/*
 * Every key of the configuration, one row each, filling struct config (config.h).
 * `routes` stands after all that it depends on.
 */
extern const struct config_table config_schema;
