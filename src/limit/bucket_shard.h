/* SPDX-License-Identifier: MIT */
#pragma once

#include <pthread.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "kamiyo/limit/bucket.h"
#include "kamiyo/limit/bucket_shape.h"
#include "kamiyo/limit/bucket_table.h"

#include "bucket_index.h"
#include "bucket_slab.h"

/*
 * One shard of the bucket table: its records, their index, and what is done to
 * stay within the bound. Every function is for the holder of the lock, but for
 * the atomic figures. bucket_table.c decides; this keeps.
 */
struct bucket_record {
    int64_t time_ms;         /* when the levels were right */
    int64_t denied_until_ms; /* a remembered denial; 0 = none */
    int64_t debt_tokens;     /* the ledger */
    uint32_t denied_cost : 31;
    uint32_t is_renewing : 1; /* the denial: somebody asks again, shortly before it ends */
    uint16_t shape;           /* the shard holds a reference */
    uint8_t key_length;       /* never 0: the slab's mark */
    uint8_t window_count;
    int64_t levels[]; /* window_count of them, then the key's bytes */
};

struct bucket_shard {
    _Alignas(64) pthread_mutex_t lock;
    struct bucket_index index;
    struct bucket_slab slab;
    struct bucket_shapes *shapes;
    const struct hash_key *hash_key;
    uint32_t *shape_records; /* by a shape's index: this shard's records of it */
    size_t shape_capacity;
    uint64_t random; /* of eviction's samples */
    size_t hand;     /* slot that the next insert looks at, to drop what is full */
    /* Written under the lock, read by anyone. */
    _Alignas(64) atomic_uint generation;
    atomic_size_t memory_bytes; /* the bound */
    atomic_size_t bytes;
    atomic_size_t entries;
    atomic_size_t buckets;
    atomic_size_t debts; /* records with something in the ledger */
    atomic_size_t evicted;
};

struct hash_key;

bool bucket_shard_init(struct bucket_shard *shard,
                       struct bucket_shapes *shapes,
                       const struct hash_key *hash_key,
                       size_t memory_bytes,
                       uint64_t seed);
void bucket_shard_clear(struct bucket_shard *shard);

/* NULL = absent. Valid until the next add or drop. */
struct bucket_record *bucket_shard_find(struct bucket_shard *shard, const struct bucket_key *key);
/*
 * The record of this key for this shape: the one that is there if it has as many windows (what it
 * remembers stays), else a new one that takes its ledger over. The caller sets levels and time.
 * NULL when there is no memory: then the request was decided, and is forgotten.
 */
struct bucket_record *bucket_shard_put(struct bucket_shard *shard,
                                       const struct bucket_key *key,
                                       struct bucket_record *present,
                                       struct bucket_shape *shape,
                                       int64_t now_ms);
/* Where the index has this key; array NULL = absent. */
struct bucket_place bucket_shard_place(struct bucket_shard *shard, const struct bucket_key *key);
/* Take the record at this place out, for another's sake. */
void bucket_shard_evict(struct bucket_shard *shard, struct bucket_place place);
/* The largest part spent of any window, 0 = full. In floating point: it only ranks. */
float bucket_shard_spent(const struct bucket_shard *shard,
                         const struct bucket_record *record,
                         int64_t now_ms);
/* Take the record of this key out. It must be there. */
void bucket_shard_drop(struct bucket_shard *shard, const struct bucket_key *key);
/* Change what stands in the ledger. */
void bucket_shard_owe(struct bucket_shard *shard, struct bucket_record *record, int64_t tokens);

/*
 * The buckets of a record (NULL = full ones) as `shape` counts them, at `now_ms` or as they were
 * stored. What the limits were when it was stored is translated.
 */
void bucket_shard_load(const struct bucket_shard *shard,
                       const struct bucket_record *record,
                       const struct bucket_shape *shape,
                       int64_t now_ms,
                       struct bucket *buckets);
/* Write the levels of all windows, of the record's own shape. */
void bucket_record_store(struct bucket_record *record, const struct bucket *buckets);
/* Drop what is full in up to `slots` slots from *cursor, move the index on, and evict what is over
 * the bound. */
size_t bucket_shard_sweep(struct bucket_shard *shard, size_t *cursor, size_t slots, int64_t now_ms);
/* The record at a place of the index that is used. */
struct bucket_record *bucket_shard_at(const struct bucket_shard *shard, struct bucket_place place);
const char *bucket_record_key(const struct bucket_record *record);
/* Its size in the slab. */
size_t bucket_record_units(const struct bucket_record *record);
