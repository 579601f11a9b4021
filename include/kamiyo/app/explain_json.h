/* SPDX-License-Identifier: MIT */
#pragma once

#include <stdbool.h>
#include <stddef.h>

#include "kamiyo/app/explain.h"
#include "kamiyo/base/attributes.h"

/*
 * An explanation as JSON, the form in which it travels: the running gateway
 * answers /api/explain with it, and explain_text reads it. What the walk did not
 * reach is null; credentials are never in it.
 *
 *   version, is_live   of whom explains; is_live = a running gateway
 *   method, path, ip   what was asked
 *   allowed            true = the request would go to the upstream
 *   decision           "allowed" "denied" "exempt" "shadow" as in the access log;
 *                      null = it ended before any
 *   status, reason     of the gateway's own answer (429, 403, 400...), else null;
 *                      and why
 *   window             that refuses: "minute"..., "concurrency", "failures"
 *   retry_after_ms     until it would not refuse
 *   route              index (0 = none matches), name, limits ("tier" "own" "none"),
 *                      cost, cost_from, max_cost, concurrency, shadow
 *   client             address, source ("peer" "field"), peer_trusted,
 *                      fields_ignored, chain_short
 *   identity           key, found_by ("address" "header" "api_key" "jwt"),
 *                      named_tier, keys and tokens (how many the request shows),
 *                      unasked (keys in Redis were not looked up)
 *   tier               its name
 *   mode               "redis" "memory" "fallback" "cached"; null = nobody was
 *                      asked, the buckets are taken for full
 *   windows            {"minute": {...}}: key (its name in the store), limit,
 *                      period_ms, burst, capacity (of the bucket that decides: a
 *                      share, while Redis is away), remaining, remaining_after,
 *                      reset_seconds, wait_ms
 *   headers            {"X-RateLimit-Limit": "10", ...} that the answer carries
 */

/* Terminated, for mem_free; *length without the terminator. */
char *explain_json_format(const struct explain *explain, size_t *length) MUST_CHECK;
