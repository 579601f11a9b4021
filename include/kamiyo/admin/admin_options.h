/* SPDX-License-Identifier: MIT */
#pragma once

#include <stdbool.h>

#include "kamiyo/net/addr.h"

/* Contract section 2 `admin`. `token` is owned by the holder; "" = none. */
struct admin_options {
    bool is_enabled;
    bool is_default_address; /* not set by anyone: when taken, a warning and no admin listener */
    struct addr_endpoint listen;
    char *token;
};
