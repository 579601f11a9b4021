/* SPDX-License-Identifier: MIT */
#pragma once

#include <stddef.h>
#include <stdint.h>

#include "kamiyo/base/slice.h"
#include "kamiyo/limit/limit_options.h"

/* What the limiter says about one request, as plain data: whoever decided, it reads the same. */

enum limit_outcome {
    LIMIT_ALLOWED,
    LIMIT_DENIED,
    LIMIT_STORE_FAILED, /* on_failure deny: the store cannot decide and nothing else may */
    LIMIT_UNLIMITED,    /* on_failure allow: passed without a decision */
};

/* Who decided: Redis, the table because there is no Redis, the table because Redis is away, the
 * memory of denials. */
enum limit_mode {
    LIMIT_MODE_REDIS,
    LIMIT_MODE_MEMORY,
    LIMIT_MODE_FALLBACK,
    LIMIT_MODE_CACHED,
    LIMIT_MODE_COUNT
};
extern const struct slice limit_mode_names[LIMIT_MODE_COUNT]; /* "redis", "memory", ... */

/* One window as it stands after the decision. */
struct limit_level {
    int64_t
        capacity; /* whole tokens of the bucket that decided (a fallback share may be smaller) */
    int64_t remaining; /* whole tokens, at least 0 */
    int64_t refill_ms; /* from empty to full: RateLimit-Policy's w */
    int64_t full_ms;   /* until it is full again; 0 = full */
    int64_t wait_ms;   /* denied: until this window alone would admit the request; else 0 */
};

struct limit_decision {
    enum limit_outcome outcome;
    enum limit_mode mode;
    size_t window_count;
    size_t binding;  /* index of the window that the headers name */
    int64_t wait_ms; /* denied: the longest wait_ms, at least 1 */
    struct limit_level levels[LIMIT_MAX_WINDOWS];
};
