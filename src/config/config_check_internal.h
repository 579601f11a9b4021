/* SPDX-License-Identifier: MIT */
#pragma once

#include "kamiyo/config/config.h"
#include "kamiyo/config/config_value.h"

/* What config_check and config_check_route share. */
struct check {
    const struct config *config;
    const struct config_value *values; /* of the schema's rows */
    struct error_list *errors;
};

/* The value in effect for a key; node NULL = nobody set it. */
struct config_value config_check_value(const struct check *check, const char *path);
/* Whether `tiers` names it, be its limits right or wrong. */
bool config_check_has_tier(const struct check *check, const char *name);
void config_check_tiers(const struct check *check);
void config_check_routes(const struct check *check);
