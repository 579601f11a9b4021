/* SPDX-License-Identifier: MIT */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "kamiyo/base/attributes.h"
#include "kamiyo/base/progress.h"
#include "kamiyo/base/slice.h"
#include "kamiyo/limit/limit_options.h"

/*
 * May this request pass? The one question, asked on a worker's loop, answered
 * by Redis when it answers in time and by the in-process table otherwise
 * (contract sections 3 and 4). The limiter sees key bytes and policies; it
 * knows no HTTP, no users and no routes.
 *
 * A `struct limiter` belongs to one worker and its thread. The local table and
 * the store's state are shared by all (struct limit_shared in limiter_shared.h).
 */
struct loop;
struct limiter;
struct limiter_call;

/* Longest bucket key: "user:" and an id, or "ip:" and an address with prefix. */
#define LIMIT_MAX_KEY_BYTES 144

enum limit_outcome {
    LIMIT_ALLOWED,
    LIMIT_DENIED,
    LIMIT_STORE_FAILED, /* on_failure deny: the store cannot decide and nothing else may */
    LIMIT_UNLIMITED,    /* on_failure allow: passed without a decision */
};

enum limit_mode { LIMIT_MODE_REDIS, LIMIT_MODE_MEMORY, LIMIT_MODE_FALLBACK, LIMIT_MODE_CACHED, LIMIT_MODE_COUNT };
extern const char *const limit_mode_names[LIMIT_MODE_COUNT]; /* "redis", "memory", "fallback", "cached" */

/* Borrowed during limiter_check only, but for the policy, which must outlive the call (the route table's reference holds it). */
struct limit_query {
    struct slice key;   /* "user:123", "ip:192.0.2.1"; at most LIMIT_MAX_KEY_BYTES */
    struct slice route; /* name of a route with buckets of its own, else empty */
    const struct limit_policy *policy;
    int64_t cost;       /* tokens; at least 1 */
    enum limit_on_failure on_failure;
};

/* One window as it stands after the decision. */
struct limit_level {
    int64_t capacity;  /* whole tokens of the bucket that decided (a fallback share may be smaller) */
    int64_t remaining; /* whole tokens, at least 0 */
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

typedef void limiter_done_fn(void *arg, const struct limit_decision *decision);

/*
 * Charge query->cost tokens to every window of the policy, or to none, and say whether the
 * request passes.
 *
 * DONE: *decision is filled and `done` never runs. PENDING: *call is set and `done` runs once,
 * on the loop's thread, within options.timeout_ms (and a tick of the coarse clock).
 */
enum progress limiter_check(struct limiter *limiter,
                            const struct limit_query *query,
                            struct limit_decision *decision,
                            limiter_done_fn *done,
                            void *arg,
                            struct limiter_call **call) MUST_CHECK;
/* Forget the caller; a charge that is under way may still happen. */
void limiter_cancel(struct limiter_call **call);

/* After the answer: take `query->cost` more tokens from every window, below zero if need be. Never waits, never fails. */
void limiter_charge(struct limiter *limiter, const struct limit_query *query);
/* After the answer: give `query->cost` tokens back to every window, up to its capacity. Likewise. */
void limiter_refund(struct limiter *limiter, const struct limit_query *query);

/* What a bucket holds now, charging nothing: decision with outcome ALLOWED, or DENIED if query->cost would be denied. Shape and times as limiter_check. */
enum progress limiter_peek(struct limiter *limiter,
                           const struct limit_query *query,
                           struct limit_decision *decision,
                           limiter_done_fn *done,
                           void *arg,
                           struct limiter_call **call) MUST_CHECK;

/* For limiter_reset: how many buckets (windows) were deleted in the store, or in the table when there is none; -1 = the store did not answer. */
typedef void limiter_reset_fn(void *arg, int64_t deleted);
/*
 * Delete all windows of one identity for these routes (and the default buckets, route ""), in
 * the store and in the table, and the memory of denials. `window_names` = every window name that any policy knows.
 * `done` runs later, once, on the loop's thread.
 */
void limiter_reset(struct limiter *limiter,
                   struct slice key,
                   const struct slice *routes,
                   size_t route_count,
                   const struct slice *window_names,
                   size_t window_name_count,
                   limiter_reset_fn *done,
                   void *arg);
