/* SPDX-License-Identifier: MIT */
#pragma once

#include <stdint.h>

#include "kamiyo/base/attributes.h"

/*
 * Active probes: each interval a `GET path` to each endpoint on a connection
 * of its own. An answer of 2xx or 3xx within the interval (at most 5 s) is
 * reported as a success, which also ends an ejection; anything else as a
 * failure, which counts like a request's. Each worker probes for itself.
 */
struct loop;
struct upstream;
struct upstream_health;

/* `path` is copied; it begins with "/". */
struct upstream_health *upstream_health_create(struct loop *loop,
                                               struct upstream *upstream,
                                               const char *path,
                                               int64_t interval_ms) MUST_CHECK;
/* Before the upstream goes: probes hold references to its endpoints. */
void upstream_health_destroy(struct upstream_health **health);
