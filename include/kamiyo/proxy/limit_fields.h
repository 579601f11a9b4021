/* SPDX-License-Identifier: MIT */
#pragma once

#include <stdint.h>

#include "kamiyo/base/slice.h"
#include "kamiyo/base/text.h"
#include "kamiyo/limit/limiter.h"
#include "kamiyo/proxy/proxy_options.h"

/*
 * A decision as header fields (contract section 5): X-RateLimit-* of the
 * binding window, RateLimit-Policy and RateLimit (IETF httpapi draft 10) of
 * all. Pure.
 */

/* Room for every field of a policy with LIMIT_MAX_WINDOWS windows. */
#define LIMIT_FIELDS_SIZE 1536

/*
 * Append the fields that `options` switches on, each line with its CRLF. `wall_ms` is Unix time.
 * Nothing is written for a decision that is neither ALLOWED nor DENIED.
 */
void limit_fields_write(struct text *out,
                        const struct limit_policy *policy,
                        const struct limit_decision *decision,
                        struct slice tier,
                        const struct reply_options *options,
                        int64_t wall_ms);
/* Seconds for Retry-After: wait_ms rounded up, at least 1. */
int64_t limit_fields_retry_after(const struct limit_decision *decision);
