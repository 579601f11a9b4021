/* SPDX-License-Identifier: MIT */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/*
 * Settings of the limiter as plain data: what a policy is, and how the store
 * is used. Configuration fills them, routes carry policies, the limiter reads.
 */

/* Windows in one policy, and the longest name ("31622400s") with its terminator. */
#define LIMIT_MAX_WINDOWS      8
#define LIMIT_WINDOW_NAME_SIZE 16

/*
 * One window. The last four are derived (contract section 3): with g = gcd(limit, period_ms),
 * a level counts units of 1/units_per_token of a token, and a millisecond adds units_per_ms.
 */
struct limit_window {
    char name[LIMIT_WINDOW_NAME_SIZE]; /* "minute", "10s" */
    int64_t period_ms;
    int64_t limit;           /* tokens a period */
    int64_t burst;           /* tokens the bucket holds */
    int64_t units_per_token; /* P = period_ms / g */
    int64_t units_per_ms;    /* L = limit / g */
    int64_t capacity_units;  /* burst * P, at most 2^50 */
    int64_t refill_ms;       /* from empty to full, rounded up */
};

/* The windows that are charged together, shortest first. Immutable once built. */
struct limit_policy {
    size_t window_count;
    struct limit_window windows[LIMIT_MAX_WINDOWS];
};

/* What decides when the store cannot. */
enum limit_on_failure {
    LIMIT_ON_FAILURE_LOCAL,
    LIMIT_ON_FAILURE_ALLOW,
    LIMIT_ON_FAILURE_DENY
};

enum limit_layout {
    LIMIT_LAYOUT_WINDOW,
    LIMIT_LAYOUT_IDENTITY
};

/* The limiter's and the store's settings but for the connection (redis_options.h). */
struct limiter_options {
    uint64_t memory_bytes; /* bound of the in-process table */
    char *key_prefix;      /* owned by the holder */
    enum limit_layout layout;
    int64_t timeout_ms; /* one decision's deadline */
    int breaker_failures;
    int fallback_share;   /* 1 = whole, n = 1/n, 0 = auto */
    int64_t largest_cost; /* of any route: no share of a bucket is smaller; 0 counts as 1 */
};
