/* SPDX-License-Identifier: MIT */
#pragma once

#include "kamiyo/config/config_value.h"

/*
 * identity.api_key.keys_file: the path, and what stands in the file, a YAML list of
 * {sha256, user, tier}. Errors in it come with its own name, line and column. `target` is a struct
 * config.
 */
void config_key_file_read(const struct config_value *value, void *target);
void config_key_file_clear(void *target);
