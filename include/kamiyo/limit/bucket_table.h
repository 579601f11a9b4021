/* SPDX-License-Identifier: MIT */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "kamiyo/base/attributes.h"
#include "kamiyo/base/slice.h"
#include "kamiyo/limit/bucket.h"
#include "kamiyo/limit/bucket_shape.h"

/*
 * The one table of all workers. It is the store when there is no Redis, the
 * warm mirror of what Redis last said, the memory of denials, and the ledger
 * of what was spent while Redis was away and is still to be charged to it.
 *
 * An entry is one identity (and route) with all windows of its policy. Buckets
 * that are full again say nothing and are dropped. The table is bounded in
 * bytes; at the bound a new entry displaces, of a sample, what is nearest to
 * full. Sharded with a lock a shard, held for well under a microsecond as a
 * rule; keyed hash; grows a few slots at a time.
 *
 * Any thread may call everything here. Time is the monotonic clock in ms.
 */
struct bucket_table;

/* Longest route name, and an entry's key: bucket key, 0, route. */
#define BUCKET_TABLE_ROUTE_BYTES 32
#define BUCKET_TABLE_KEY_BYTES   (144 + 1 + BUCKET_TABLE_ROUTE_BYTES)

/* A key made ready for any number of calls: its hash and, with a route, the joined bytes. */
struct bucket_key {
    uint64_t hash;
    const char *data; /* into the query's key, or `joined` */
    size_t length;
    char joined[BUCKET_TABLE_KEY_BYTES];
};

/* Whether a spending is also written in the ledger, to be charged to Redis later. */
enum bucket_ledger {
    BUCKET_LEDGER_NONE,
    BUCKET_LEDGER_ADD
};

/* `memory_bytes` bounds everything the table allocates (at least 64 KiB is taken). NULL when there
 * is no memory. */
struct bucket_table *bucket_table_create(uint64_t memory_bytes) MUST_CHECK;
void bucket_table_destroy(struct bucket_table **table);
/* A new bound, at once: entries go if it is smaller. */
void bucket_table_set_memory(struct bucket_table *table, uint64_t memory_bytes);
struct bucket_shapes *bucket_table_shapes(struct bucket_table *table);

/* Prepare a key. Borrows key.data until the last use of *out. key at most 144 bytes, route at
 * most 32. */
void bucket_table_key(const struct bucket_table *table,
                      struct slice key,
                      struct slice route,
                      struct bucket_key *out);

/*
 * Decide from the table: take `cost` from all windows or from none. *decision is filled but for its
 * mode; true = allowed. An entry of another shape is changed first: limits that changed keep what
 * was spent, a change of share keeps what is left up to the capacity.
 */
bool bucket_table_take(struct bucket_table *table,
                       const struct bucket_key *key,
                       struct bucket_shape *shape,
                       int64_t cost,
                       int64_t now_ms,
                       enum bucket_ledger ledger,
                       struct limit_decision *decision);
/* Which levels a decision that charges nothing shows. */
enum bucket_view {
    BUCKET_VIEW_PRESENT, /* as they are */
    BUCKET_VIEW_CHARGED, /* as the charge would leave them */
};
/* Whether bucket_table_take would allow, changing nothing. */
bool bucket_table_peek(struct bucket_table *table,
                       const struct bucket_key *key,
                       const struct bucket_shape *shape,
                       int64_t cost,
                       int64_t now_ms,
                       enum bucket_view view,
                       struct limit_decision *decision);
/* The whole policy that the entry was last decided by; false when there is none. */
bool bucket_table_policy(struct bucket_table *table,
                         const struct bucket_key *key,
                         struct limit_policy *policy);
/* Take `tokens` from every window even below zero; negative gives back, up to the capacity. */
void bucket_table_adjust(struct bucket_table *table,
                         const struct bucket_key *key,
                         struct bucket_shape *shape,
                         int64_t tokens,
                         int64_t now_ms,
                         enum bucket_ledger ledger);

/*
 * Resets are counted for each shard, so that a reply that was under way when one happened does not
 * bring back what was forgotten: ask before sending, hand it to bucket_table_mirror.
 */
uint32_t bucket_table_generation(const struct bucket_table *table, const struct bucket_key *key);

struct bucket_debt;

/* What Redis said about all windows of one entry. */
struct bucket_mirror {
    uint32_t generation;     /* from before the command was sent; another one now = ignored */
    int64_t denied_cost;     /* a denial: the cost that was refused; else 0 */
    int64_t denied_until_ms; /* a denial: refuse from memory until then (monotonic, counted from
                                when the command was sent) */
    int64_t levels[LIMIT_MAX_WINDOWS]; /* units of the shape's policy, right at now_ms (subtract L
                                          for each ms that the store is ahead) */
};
/*
 * Set the entry to what Redis said. If something stands in its ledger, that is taken out: true,
 * *debt is to be charged (struct bucket_debt, below) and is taken off the levels already. With
 * `debt` NULL such an entry stays as it is. A denial is remembered, unless one is that refuses as
 * much for as long; an admission forgets none, for replies may come in another order than their
 * decisions.
 */
bool bucket_table_mirror(struct bucket_table *table,
                         const struct bucket_key *key,
                         struct bucket_shape *shape,
                         const struct bucket_mirror *mirror,
                         int64_t now_ms,
                         struct bucket_debt *debt);
/*
 * Whether a denial of at most this cost is remembered; then *decision says so, but for its mode.
 * Forgets it when the shape differs. In its last 20 ms one who asks is told no, if it would go on:
 * that one's answer from the store is a denial to remember in its place. The wait is never less
 * than Redis would say, and at most 1 ms and its answer's way more.
 */
bool bucket_table_is_denied(struct bucket_table *table,
                            const struct bucket_key *key,
                            const struct bucket_shape *shape,
                            int64_t cost,
                            int64_t now_ms,
                            struct limit_decision *decision);
/* Forget the denial alone (a refund arrived). */
void bucket_table_forget_denial(struct bucket_table *table, const struct bucket_key *key);

/* Delete the entry with all it remembers, the ledger too. The number of windows it had, 0 if
 * absent. */
int64_t bucket_table_reset(struct bucket_table *table, const struct bucket_key *key);

/*
 * Add `tokens` (negative: take off) to the ledger alone: a decision that timed out and was not
 * charged after all, or a write-back that certainly did not happen. The levels were charged when it
 * was decided, at since_ms; what the store has said in between, without these tokens, is set right:
 * windows lack what they owed then (`owed`, by the windows of `shape`; NULL = the tokens) less what
 * has come back. An entry that has gone since comes back with the tokens taken off.
 */
void bucket_table_add_debt(struct bucket_table *table,
                           const struct bucket_key *key,
                           struct bucket_shape *shape,
                           int64_t tokens,
                           const int64_t *owed,
                           int64_t since_ms,
                           int64_t now_ms);

/* One entry's spending, taken out of the ledger: whoever has it charges it at most once. */
struct bucket_debt {
    int64_t tokens;                  /* may be negative: refunds outweighed */
    int64_t owed[LIMIT_MAX_WINDOWS]; /* of these, what a window has not refilled since: at most what
                                        it lacks of full, in whole tokens, rounded up */
    int64_t taken_ms;                /* when that was so */
    struct bucket_shape *shape; /* the whole policy (base); a reference that the taker gives back */
    size_t key_length;
    size_t route_length;
    char key[144];
    char route[BUCKET_TABLE_ROUTE_BYTES];
};
size_t bucket_table_shard_count(const struct bucket_table *table);
/* Whether this shard's ledger holds anything. Costs a load. */
bool bucket_table_has_debt(const struct bucket_table *table, size_t shard);
/*
 * Walk at most `max_slots` slots of a shard from *cursor (start with 0; wraps to 0 at the end) and
 * take up to `max_debts` debts out of the ledger. The number taken. Holds the lock for that long:
 * some 20 ns a slot. What windows owe is read under the same lock: as soon as the ledger is empty,
 * another worker's mirror may lift the levels to what the store knows.
 */
size_t bucket_table_collect(struct bucket_table *table,
                            size_t shard,
                            size_t *cursor,
                            size_t max_slots,
                            int64_t now_ms,
                            struct bucket_debt *debts,
                            size_t max_debts);
/* Drop what is full again in up to `max_slots` slots from *cursor. The number dropped. For a timer
 * of the shard's worker. */
size_t bucket_table_sweep(
    struct bucket_table *table, size_t shard, size_t *cursor, size_t max_slots, int64_t now_ms);

/* For gauges: buckets (windows) held, entries, bytes allocated. O(1). */
struct bucket_table_stats {
    uint64_t entries;
    uint64_t buckets;
    uint64_t bytes;
    uint64_t evicted; /* entries displaced at the bound since the start */
};
void bucket_table_stats(const struct bucket_table *table, struct bucket_table_stats *stats);
