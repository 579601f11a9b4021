/* SPDX-License-Identifier: MIT */
#pragma once

#include <stdbool.h>
#include <stdint.h>

#include "kamiyo/base/slice.h"
#include "kamiyo/base/text.h"
#include "kamiyo/limit/limiter.h"
#include "kamiyo/proxy/proxy_options.h"

/*
 * A decision as header fields (contract section 5): X-RateLimit-* of the
 * binding window, RateLimit-Policy and RateLimit (IETF httpapi draft 10) of
 * all. Pure.
 *
 * Most of their text changes only with the limits. It is made ready once for
 * the decisions of one policy and tier; writing the fields of one of them is
 * then a copy of a few pieces and their numbers.
 */

/* Room for every field of a policy with LIMIT_MAX_WINDOWS windows. */
#define LIMIT_FIELDS_SIZE 1536

/* What of the fields stays. Slices point into `bytes`, so it is not copied. Zeroed = not ready. */
struct limit_fields {
    size_t window_count;
    bool has_x_ratelimit;
    bool has_ratelimit;
    struct limit_fields_window {
        int64_t capacity; /* for which the texts were made */
        int64_t refill_ms;
        struct slice limit; /* from "X-RateLimit-Limit" to the value of -Remaining */
        struct slice level; /* between the item before and this one's r */
    } windows[LIMIT_MAX_WINDOWS];
    struct slice middle; /* from behind X-RateLimit-Reset to the first window's r */
    char bytes[LIMIT_FIELDS_SIZE];
};

/* For decisions of this policy with the capacities of this one, and the fields that `options`
 * switches on. The decision must be ALLOWED or DENIED. */
void limit_fields_prepare(struct limit_fields *fields,
                          const struct limit_policy *policy,
                          const struct limit_decision *decision,
                          struct slice tier,
                          const struct reply_options *options);
/* Whether they are ready for this decision: of the same policy, another share of it may have
 * decided. */
bool limit_fields_fit(const struct limit_fields *fields, const struct limit_decision *decision);
/* Write the fields, each line with its CRLF; LIMIT_FIELDS_SIZE of room at `out`. `wall_ms` is Unix
 * time. Returns what follows. */
char *limit_fields_put(char *out,
                       const struct limit_fields *fields,
                       const struct limit_decision *decision,
                       int64_t wall_ms);

/*
 * All of it at once, for who has one decision only. Nothing is written for a decision that is
 * neither ALLOWED nor DENIED.
 */
void limit_fields_write(struct text *out,
                        const struct limit_policy *policy,
                        const struct limit_decision *decision,
                        struct slice tier,
                        const struct reply_options *options,
                        int64_t wall_ms);
/* Seconds for Retry-After: wait_ms rounded up, at least 1. */
int64_t limit_fields_retry_after(const struct limit_decision *decision);
