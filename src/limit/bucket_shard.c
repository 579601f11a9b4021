/* SPDX-License-Identifier: MIT */
/*
 * Keeping records within a bound. A bucket that is full again says nothing: each insert looks at
 * the next few slots and drops such, so the table follows the traffic without a timer. At the bound
 * a new record displaces the one of a sample that is nearest to full, measured by the largest part
 * spent of any of its windows; a flood of new keys, each hardly touched, then displaces itself
 * and not those who have spent their limits.
 */
#include "bucket_shard.h"

#include <assert.h>
#include <stddef.h>
#include <string.h>

#include "kamiyo/base/attributes.h"
#include "kamiyo/base/mem.h"

#include "bucket_eviction.h"

/* Slots that an insert looks at for full buckets, and that it moves a growth on. */
#define HAND_SLOTS 3
#define MOVE_SLOTS 8
/* Evictions before an insert gives up. */
#define EVICT_TRIES 8
/* Places for more shapes, when one comes. */
#define SHAPES_AT_ONCE 8

_Static_assert(offsetof(struct bucket_record, key_length) == BUCKET_SLAB_MARK, "the slab's mark");
_Static_assert(sizeof(struct bucket_record) + LIMIT_MAX_WINDOWS * sizeof(int64_t) +
                       BUCKET_TABLE_KEY_BYTES <=
                   (BUCKET_SLAB_CLASSES - 1) * BUCKET_SLAB_UNIT,
               "the largest record has a class");

static size_t record_size(size_t window_count, size_t key_length)
{
    return sizeof(struct bucket_record) + window_count * sizeof(int64_t) + key_length;
}

size_t bucket_record_units(const struct bucket_record *record)
{
    return (record_size(record->window_count, record->key_length) + BUCKET_SLAB_UNIT - 1) /
           BUCKET_SLAB_UNIT;
}

const char *bucket_record_key(const struct bucket_record *record)
{
    return (const char *)&record->levels[record->window_count];
}

struct bucket_record *bucket_shard_at(const struct bucket_shard *shard, struct bucket_place place)
{
    return bucket_slab_at(&shard->slab, bucket_index_reference(place));
}

/* One writer at a time, under the lock: no read-modify-write is needed. */
static void add_to(atomic_size_t *figure, size_t amount)
{
    atomic_store_explicit(figure, atomic_load_explicit(figure, memory_order_relaxed) + amount,
                          memory_order_relaxed);
}

static void note_bytes(struct bucket_shard *shard)
{
    atomic_store_explicit(&shard->bytes,
                          sizeof(*shard) + shard->index.bytes + shard->slab.bytes +
                              shard->shape_capacity * sizeof(*shard->shape_records),
                          memory_order_relaxed);
}

bool bucket_shard_init(struct bucket_shard *shard,
                       struct bucket_shapes *shapes,
                       const struct hash_key *hash_key,
                       size_t memory_bytes,
                       uint64_t seed)
{
    *shard = (struct bucket_shard){.shapes = shapes, .hash_key = hash_key, .random = seed | 1};
    atomic_init(&shard->memory_bytes, memory_bytes);
    bucket_slab_init(&shard->slab);
    if (!bucket_index_init(&shard->index))
        return false;
    pthread_mutex_init(&shard->lock, NULL);
    note_bytes(shard);
    return true;
}

void bucket_shard_clear(struct bucket_shard *shard)
{
    if (shard->index.main.slots == NULL)
        return; /* never initialised */
    bucket_index_clear(&shard->index);
    bucket_slab_clear(&shard->slab);
    mem_free(shard->shape_records);
    pthread_mutex_destroy(&shard->lock);
}

struct bucket_place bucket_shard_place(struct bucket_shard *shard, const struct bucket_key *key)
{
    struct bucket_place place = bucket_index_first(&shard->index, (uint32_t)key->hash);

    while (place.array != NULL) {
        const struct bucket_record *record = bucket_shard_at(shard, place);

        if (record->key_length == key->length &&
            memcmp(bucket_record_key(record), key->data, key->length) == 0)
            break;
        place = bucket_index_next(&shard->index, place);
    }
    return place;
}

struct bucket_record *bucket_shard_find(struct bucket_shard *shard, const struct bucket_key *key)
{
    struct bucket_place place = bucket_shard_place(shard, key);

    return place.array != NULL ? bucket_shard_at(shard, place) : NULL;
}

/*
 * The shape sees one reference for all records of a shard: a count of its own would be written by
 * all workers, for each record that comes or goes.
 */
static void hold_shape(struct bucket_shard *shard, struct bucket_shape *shape)
{
    if (UNLIKELY(shape->index >= shard->shape_capacity)) {
        size_t capacity = (size_t)shape->index + SHAPES_AT_ONCE;

        shard->shape_records =
            mem_resize(shard->shape_records, capacity * sizeof(*shard->shape_records));
        memset(shard->shape_records + shard->shape_capacity, 0,
               (capacity - shard->shape_capacity) * sizeof(*shard->shape_records));
        shard->shape_capacity = capacity;
    }
    if (shard->shape_records[shape->index]++ == 0)
        bucket_shape_ref(shape);
}

static void release_shape(struct bucket_shard *shard, uint16_t index)
{
    if (--shard->shape_records[index] == 0)
        bucket_shape_unref(bucket_shapes_at(shard->shapes, index));
}

/* The record goes; the index has forgotten it already or does so now. */
static void give_record(struct bucket_shard *shard, uint32_t reference)
{
    struct bucket_record *record = bucket_slab_at(&shard->slab, reference);

    release_shape(shard, record->shape);
    add_to(&shard->entries, (size_t)-1);
    add_to(&shard->buckets, (size_t)-record->window_count);
    if (record->debt_tokens != 0)
        add_to(&shard->debts, (size_t)-1);
    bucket_slab_give(&shard->slab, reference);
    note_bytes(shard);
}

static void drop_place(struct bucket_shard *shard, struct bucket_place place)
{
    uint32_t reference = bucket_index_reference(place);

    bucket_index_remove(&shard->index, place);
    give_record(shard, reference);
}

void bucket_shard_evict(struct bucket_shard *shard, struct bucket_place place)
{
    drop_place(shard, place);
    add_to(&shard->evicted, 1);
}

void bucket_shard_drop(struct bucket_shard *shard, const struct bucket_key *key)
{
    struct bucket_place place = bucket_shard_place(shard, key);

    assert(place.array != NULL);
    drop_place(shard, place);
}

void bucket_shard_owe(struct bucket_shard *shard, struct bucket_record *record, int64_t tokens)
{
    bool was_owing = record->debt_tokens != 0;

    /* Saturating: a ledger that full is beyond anything that can be charged. */
    if (__builtin_add_overflow(record->debt_tokens, tokens, &record->debt_tokens))
        record->debt_tokens = tokens > 0 ? INT64_MAX : INT64_MIN + 1;
    if (was_owing != (record->debt_tokens != 0))
        add_to(&shard->debts, was_owing ? (size_t)-1 : 1);
}

float bucket_shard_spent(const struct bucket_shard *shard,
                         const struct bucket_record *record,
                         int64_t now_ms)
{
    const struct limit_policy *policy = &bucket_shapes_at(shard->shapes, record->shape)->policy;
    float largest = 0;

    for (size_t i = 0; i < record->window_count; i++) {
        const struct limit_window *window = &policy->windows[i];
        struct bucket bucket = {record->levels[i], record->time_ms};
        float spent;

        bucket_refill(&bucket, window, now_ms);
        spent = (float)(window->capacity_units - bucket.level) / (float)window->capacity_units;
        if (spent > largest)
            largest = spent;
    }
    return largest;
}

static bool is_over(const struct bucket_shard *shard, size_t growth)
{
    return atomic_load_explicit(&shard->bytes, memory_order_relaxed) + growth >
           atomic_load_explicit(&shard->memory_bytes, memory_order_relaxed);
}

/* A slot and a block for one more record, within the bound. */
static uint32_t make_room(struct bucket_shard *shard, size_t size, int64_t now_ms)
{
    size_t units = (size + BUCKET_SLAB_UNIT - 1) / BUCKET_SLAB_UNIT;
    size_t growth = bucket_index_growth(&shard->index);
    uint32_t reference = BUCKET_SLAB_NONE;

    if (growth > 0 && !is_over(shard, growth) && bucket_index_grow(&shard->index))
        note_bytes(shard);
    for (int i = 0; i < EVICT_TRIES; i++) {
        size_t block = bucket_slab_growth(&shard->slab, size);

        /* Crowded, and it may not grow: a full index probes for ever. */
        bool is_crowded = bucket_index_growth(&shard->index) > 0;

        if (!is_crowded && (block == 0 || !is_over(shard, block))) {
            reference = bucket_slab_take(&shard->slab, size);
            break;
        }
        if (!bucket_eviction_run(shard, is_crowded && block == 0 ? BUCKET_EVICTION_ANY : units,
                                 now_ms))
            break;
    }
    note_bytes(shard);
    return reference;
}

/* Drop what is full in `slots` slots from *cursor on. */
static size_t drop_full(struct bucket_shard *shard, size_t *cursor, size_t slots, int64_t now_ms)
{
    size_t dropped = 0;

    for (; slots > 0; slots--) {
        struct bucket_place place = bucket_index_at(&shard->index, *cursor);
        const struct bucket_record *record;

        if (place.array == NULL) {
            *cursor = 0;
            break;
        }
        if (!bucket_place_is_used(place)) {
            (*cursor)++;
            continue;
        }
        record = bucket_shard_at(shard, place);
        if (record->debt_tokens != 0 || bucket_shard_spent(shard, record, now_ms) > 0) {
            (*cursor)++;
            continue;
        }
        drop_place(shard, place); /* a follower may have moved here: look again */
        dropped++;
    }
    return dropped;
}

struct bucket_record *bucket_shard_put(struct bucket_shard *shard,
                                       const struct bucket_key *key,
                                       struct bucket_record *present,
                                       struct bucket_shape *shape,
                                       int64_t now_ms)
{
    struct bucket_record inherited = {.shape = shape->index,
                                      .key_length = (uint8_t)key->length,
                                      .window_count = (uint8_t)shape->policy.window_count};
    struct bucket_record *record;
    uint32_t reference;

    if (present != NULL && present->window_count == shape->policy.window_count) {
        if (present->shape != shape->index) {
            hold_shape(shard, shape);
            release_shape(shard, present->shape);
            present->shape = shape->index;
            present->denied_until_ms = 0;
        }
        return present;
    }
    if (present != NULL) {
        inherited.debt_tokens = present->debt_tokens;
        bucket_shard_drop(shard, key);
    }
    drop_full(shard, &shard->hand, HAND_SLOTS, now_ms);
    bucket_index_step(&shard->index, MOVE_SLOTS);
    reference = make_room(shard, record_size(inherited.window_count, key->length), now_ms);
    if (reference == BUCKET_SLAB_NONE)
        return NULL;
    record = bucket_slab_at(&shard->slab, reference);
    *record = inherited;
    memcpy((char *)&record->levels[record->window_count], key->data, key->length);
    bucket_index_insert(&shard->index, (uint32_t)key->hash, reference);
    hold_shape(shard, shape);
    add_to(&shard->entries, 1);
    add_to(&shard->buckets, record->window_count);
    if (record->debt_tokens != 0)
        add_to(&shard->debts, 1);
    return record;
}

/* Translate from the windows of another shape: those of the same name carry over, new ones are
 * full. */
static void translate(const struct bucket_record *record,
                      const struct bucket_shape *from,
                      const struct bucket_shape *to,
                      int64_t now_ms,
                      struct bucket *buckets)
{
    bool is_share = from->share != 1 || to->share != 1;

    for (size_t i = 0; i < to->policy.window_count; i++) {
        const struct limit_window *window = &to->policy.windows[i];

        bucket_init(&buckets[i], window, record->time_ms);
        for (size_t j = 0; j < from->policy.window_count; j++) {
            const struct limit_window *old = &from->policy.windows[j];

            if (strcmp(old->name, window->name) != 0)
                continue;
            buckets[i].level = record->levels[j];
            if (!is_share) {
                bucket_change(&buckets[i], old, window);
                continue;
            }
            bucket_refill(&buckets[i], old, now_ms);
            bucket_rescale(&buckets[i], old, window);
        }
        if (is_share && now_ms > record->time_ms)
            buckets[i].time_ms = now_ms;
    }
}

void bucket_shard_load(const struct bucket_shard *shard,
                       const struct bucket_record *record,
                       const struct bucket_shape *shape,
                       int64_t now_ms,
                       struct bucket *buckets)
{
    const struct bucket_shape *from;

    if (record == NULL) {
        for (size_t i = 0; i < shape->policy.window_count; i++)
            bucket_init(&buckets[i], &shape->policy.windows[i], now_ms);
        return;
    }
    from = bucket_shapes_at(shard->shapes, record->shape);
    if (LIKELY(from == shape)) {
        for (size_t i = 0; i < record->window_count; i++)
            buckets[i] = (struct bucket){record->levels[i], record->time_ms};
    } else {
        translate(record, from, shape, now_ms, buckets);
    }
    /* All windows share one time: ahead beyond the shortest, none can keep it. */
    if (UNLIKELY(record->time_ms - now_ms > shape->policy.windows[0].period_ms))
        for (size_t i = 0; i < shape->policy.window_count; i++)
            buckets[i].time_ms = now_ms;
}

void bucket_record_store(struct bucket_record *record, const struct bucket *buckets)
{
    record->time_ms = buckets[0].time_ms;
    for (size_t i = 0; i < record->window_count; i++)
        record->levels[i] = buckets[i].level;
}

size_t bucket_shard_sweep(struct bucket_shard *shard, size_t *cursor, size_t slots, int64_t now_ms)
{
    size_t dropped = drop_full(shard, cursor, slots, now_ms);

    bucket_index_step(&shard->index, (uint32_t)slots);
    for (size_t i = 0; i < slots && is_over(shard, 0); i++) {
        if (!bucket_eviction_run(shard, BUCKET_EVICTION_CHUNK, now_ms))
            break;
        dropped++;
    }
    note_bytes(shard);
    return dropped;
}
