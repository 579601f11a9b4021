/* SPDX-License-Identifier: MIT */
#pragma once

#include "kamiyo/config/config_value.h"

/* Readers of the keys that are almost a plain type. `target` is a struct config. */

void config_read_workers(const struct config_value *value, void *target); /* auto or a number */
void config_read_fallback_share(const struct config_value *value,
                                void *target);                               /* 1, 1/n or auto */
void config_read_algorithms(const struct config_value *value, void *target); /* of JWTs */
void config_read_log_level(const struct config_value *value, void *target);
void config_read_denied(const struct config_value *value, void *target); /* of the access log */
