/* SPDX-License-Identifier: MIT */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/*
 * One shard's index: 32 bits of hash to 32 bits of reference, open addressing
 * with linear probing. It grows and shrinks a few slots at a time: while it
 * does, entries are in two arrays, and bucket_index_step moves some on. Not
 * thread-safe: the shard's lock guards it.
 */
struct bucket_slot {
    uint32_t hash;
    uint32_t entry; /* reference + 1; 0 = empty, UINT32_MAX = moved to the new array */
};

struct bucket_array {
    struct bucket_slot *slots;
    uint32_t capacity; /* a power of two, 0 = no array */
    uint32_t count;
};

struct bucket_index {
    struct bucket_array main;
    struct bucket_array old; /* being emptied */
    uint32_t moved;          /* slots of `old` that are done */
    size_t bytes;
};

/* Where an entry is: until the next insert, remove or step. */
struct bucket_place {
    struct bucket_array *array;
    uint32_t slot;
};

/* False when there is no memory. */
bool bucket_index_init(struct bucket_index *index);
void bucket_index_clear(struct bucket_index *index);
uint32_t bucket_index_count(const struct bucket_index *index);
/*
 * The first entry with this hash, and the next after one: the caller compares the keys.
 * bucket_place.array NULL = no more.
 */
struct bucket_place bucket_index_first(struct bucket_index *index, uint32_t hash);
struct bucket_place bucket_index_next(struct bucket_index *index, struct bucket_place place);
uint32_t bucket_index_reference(struct bucket_place place);
/* Bytes that must be allocated before the next insert, 0 = none; and doing so. False: no memory, or
 * still busy with the last growth. */
size_t bucket_index_growth(const struct bucket_index *index);
bool bucket_index_grow(struct bucket_index *index);
void bucket_index_insert(struct bucket_index *index, uint32_t hash, uint32_t reference);
void bucket_index_remove(struct bucket_index *index, struct bucket_place place);
/* Two entries exchange their references: their records have changed places. */
void bucket_index_swap(struct bucket_place one, struct bucket_place other);
/* Move up to `slots` slots of a growth or shrinking on; starts a shrinking when few slots are used.
 */
void bucket_index_step(struct bucket_index *index, uint32_t slots);
/* The place at a slot number of the main array, then of the old one; array NULL beyond both. May be
 * empty: look at is_used. */
struct bucket_place bucket_index_at(struct bucket_index *index, size_t number);
size_t bucket_index_slots(const struct bucket_index *index);
bool bucket_place_is_used(struct bucket_place place);
