/* SPDX-License-Identifier: MIT */
#pragma once

#include <stdbool.h>
#include <stdint.h>

#include "kamiyo/limit/limit_decision.h"
#include "kamiyo/limit/limit_options.h"

/*
 * The arithmetic of a token bucket, exact and pure (contract section 3). Time
 * is whole milliseconds of any clock, given by the caller. A level counts
 * units of 1/P token, so that a millisecond adds exactly L units:
 *
 *   10 a minute: g = gcd(10, 60000) = 10, P = 6000, L = 1, capacity 60000.
 *   One request takes 6000 units; 6000 ms bring them back, one unit each.
 *
 * The bounds on policies (limit_policy.h) keep every product inside 2^61.
 * bucket.lua does the same on Redis; a test compares them decision by decision.
 */
struct bucket {
    int64_t
        level; /* units; below zero after a charge that was not asked for, at most the capacity */
    int64_t time_ms; /* when the level was right */
};

/* Levels as a store may hold them are kept within this many units either side of zero. */
#define BUCKET_MAX_UNITS ((int64_t)1 << 50)
/* The wait for more tokens than a bucket holds. */
#define BUCKET_NEVER_MS ((int64_t)1 << 60)

/* A new bucket: full. */
void bucket_init(struct bucket *bucket, const struct limit_window *window, int64_t now_ms);
/*
 * Bring the bucket to `now_ms`. If its time lies ahead, nothing is added and it stays ahead; ahead
 * by more than the window, it counts as now. Afterwards level <= capacity.
 */
void bucket_refill(struct bucket *bucket, const struct limit_window *window, int64_t now_ms);
/*
 * Milliseconds from `now_ms` until `tokens` are there, for a bucket that was refilled at `now_ms`:
 * 0 = now; BUCKET_NEVER_MS if they never fit.
 */
int64_t bucket_wait(const struct bucket *bucket,
                    const struct limit_window *window,
                    int64_t tokens,
                    int64_t now_ms);
/* The longest of all windows. */
int64_t bucket_longest_wait(const struct bucket *buckets,
                            const struct limit_policy *policy,
                            int64_t tokens,
                            int64_t now_ms);
/*
 * The level of a bucket whose time may be ahead of `now_ms` (else it stands at it), as one at
 * `now_ms` that has the tokens when this one has; at least -2^50 units.
 */
int64_t
bucket_level(const struct bucket *bucket, const struct limit_window *window, int64_t now_ms);
/* Take `tokens` (negative: give back), below zero if need be, never above the capacity nor below
 * -2^50 units. */
void bucket_add(struct bucket *bucket, const struct limit_window *window, int64_t tokens);
/*
 * See to it that the bucket, refilled at now_ms, lacks `tokens`, less what came back in the
 * elapsed_ms since they were spent, and beside them what it lacks of `others`, spent before.
 */
void bucket_lack(struct bucket *bucket,
                 const struct limit_window *window,
                 int64_t tokens,
                 int64_t elapsed_ms,
                 int64_t others);
/*
 * The limits changed: keep what was spent, so tokens += present - stored capacity (contract section
 * 4). The result may be negative. `from` and `to` are windows of one name.
 */
void bucket_change(struct bucket *bucket,
                   const struct limit_window *from,
                   const struct limit_window *to);
/*
 * The same for a switch to or from a share of the limits: what is left is kept, up to the new
 * capacity. Fractions of a token that `to` cannot express are rounded down.
 */
void bucket_rescale(struct bucket *bucket,
                    const struct limit_window *from,
                    const struct limit_window *to);

/*
 * One decision over all windows of a policy: refill all, then take `cost` tokens from each or from
 * none. buckets[] are the windows' in the policy's order. *decision is filled but for its mode.
 * After a denial the buckets are as bucket_refill leaves them: whoever stores them need not, for
 * the levels at any later time are the same.
 */
bool bucket_decide(struct bucket *buckets,
                   const struct limit_policy *policy,
                   int64_t cost,
                   int64_t now_ms,
                   struct limit_decision *decision);
/*
 * Fill *decision (but for its mode) from buckets as they stand after a decision at `now_ms`, made
 * here or in Redis: binding window, remaining, times (contract section 5). `allowed` says which it
 * was.
 */
void bucket_describe(const struct bucket *buckets,
                     const struct limit_policy *policy,
                     int64_t cost,
                     int64_t now_ms,
                     bool allowed,
                     struct limit_decision *decision);
