/* SPDX-License-Identifier: MIT */
#pragma once

#include "kamiyo/config/config.h"
#include "kamiyo/config/config_value.h"

/*
 * What is wrong or odd between keys that are each fine: errors where nothing
 * sensible could run, warnings elsewhere. `values` are the values in effect, one for
 * each row of config_schema, in its order; node NULL = nobody set it.
 * Reads the file system only to see whether named files can be read.
 */
void config_check(const struct config *config,
                  const struct config_value *values,
                  struct error_list *errors);
