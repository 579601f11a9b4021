/* SPDX-License-Identifier: MIT */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "kamiyo/base/attributes.h"
#include "kamiyo/base/progress.h"
#include "kamiyo/base/slice.h"
#include "kamiyo/limit/limit_decision.h"
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
struct limit_shared;
struct limiter;
struct limiter_call;
struct loop;
struct metrics_shard;
struct redis_client;

/* Longest bucket key: "user:" and an id, or "ip:" and an address with prefix. */
#define LIMIT_MAX_KEY_BYTES 144

/* Borrowed during limiter_check only, but for the policy, which must outlive the call (the route
 * table's reference holds it). */
struct limit_query {
    struct slice key;   /* "user:123", "ip:192.0.2.1"; at most LIMIT_MAX_KEY_BYTES */
    struct slice route; /* name of a route with buckets of its own, else empty */
    const struct limit_policy *policy;
    int64_t cost; /* tokens; at least 1 */
    enum limit_on_failure on_failure;
    int64_t waited_ms; /* for the store already, on behalf of the same request (a key's look-up):
                          taken off the decision's deadline */
};

/*
 * The limiter of one worker. `redis` is this worker's client, not yet started: the limiter takes
 * its events and starts it, and goes before it. NULL = in-process. `worker_index` < the
 * worker_count of limit_shared_create. Options are copied. Never NULL.
 */
struct limiter *limiter_create(struct loop *loop,
                               const struct limiter_options *options,
                               struct redis_client *redis,
                               struct limit_shared *shared,
                               struct metrics_shard *metrics,
                               size_t worker_index) MUST_CHECK;
/* Cancels nothing by itself: no call may be pending. */
void limiter_destroy(struct limiter **limiter);
/* Before the end: this instance no longer counts among those that share the limits (fallback_share
 * auto). Best effort, and without waiting: what is to be said leaves with the loop's present turn.
 */
void limiter_leave(struct limiter *limiter);
/* New options after a reload; every bucket is kept. The connection and the layout stay as they are.
 * On the loop's thread. */
void limiter_configure(struct limiter *limiter, const struct limiter_options *options);

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

/* After the answer: take `query->cost` more tokens from every window, below zero if need be. Never
 * waits, never fails. */
void limiter_charge(struct limiter *limiter, const struct limit_query *query);
/* After the answer: give `query->cost` tokens back to every window, up to its capacity. Likewise.
 */
void limiter_refund(struct limiter *limiter, const struct limit_query *query);

/* What a bucket holds now, charging nothing: decision with outcome ALLOWED, or DENIED if
 * query->cost would be denied. Shape and times as limiter_check. */
enum progress limiter_peek(struct limiter *limiter,
                           const struct limit_query *query,
                           struct limit_decision *decision,
                           limiter_done_fn *done,
                           void *arg,
                           struct limiter_call **call) MUST_CHECK;

/* What limiter_check would decide now, with its fields and levels after the charge, charging
 * nothing. Shape and times as limiter_check. */
enum progress limiter_rehearse(struct limiter *limiter,
                               const struct limit_query *query,
                               struct limit_decision *decision,
                               limiter_done_fn *done,
                               void *arg,
                               struct limiter_call **call) MUST_CHECK;

/*
 * Check and peek from the in-process table alone, Redis or not: budgets that each instance keeps
 * for itself (identity failures). Their keys must not be bucket keys: put a word and ':' of their
 * own before ("failures:ip:192.0.2.1"). Mode memory.
 */
void limiter_check_local(struct limiter *limiter,
                         const struct limit_query *query,
                         struct limit_decision *decision);
void limiter_peek_local(struct limiter *limiter,
                        const struct limit_query *query,
                        struct limit_decision *decision);

/* For limiter_reset: how many buckets (windows) were deleted in the store, or in the table when
 * there is none or it is away; -1 = the store did not answer. */
typedef void limiter_reset_fn(void *arg, int64_t deleted);
/* All buckets of one identity: those of these routes, and the default ones (route ""). */
struct limit_buckets {
    struct slice key;
    const struct slice *routes;
    size_t route_count;
    const struct slice *window_names; /* every one that any policy knows */
    size_t window_name_count;
};
/*
 * Delete them in the store and in the table, and the memory of denials. While the store is away it
 * is done there when it is back. Borrowed during the call; `done` runs later, once, on the loop's
 * thread.
 */
void limiter_reset(struct limiter *limiter,
                   const struct limit_buckets *buckets,
                   limiter_reset_fn *done,
                   void *arg);
