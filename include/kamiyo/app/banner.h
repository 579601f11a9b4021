/* SPDX-License-Identifier: MIT */
#pragma once

#include <stdbool.h>
#include <stddef.h>

#include "kamiyo/config/config.h"
#include "kamiyo/net/addr.h"

/*
 * What runs and what to try next, in at most ten lines on stderr, for a person
 * at a terminal; nothing when stderr is none or the log is JSON.
 */
void banner_print(const struct config *config,
                  const struct addr_endpoint *endpoints,
                  size_t endpoint_count,
                  bool has_redis,
                  size_t worker_count);
