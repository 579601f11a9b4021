/* SPDX-License-Identifier: MIT */
/*
 * Room for a new record when the shard may not grow. Of a sample, the record goes that is nearest
 * to full. Blocks of one size share chunks, so a record of a size that is rare, or whose records
 * all matter more than most, costs others a whole chunk; what matters in that chunk changes places
 * with what does not elsewhere. So however a flood of strangers mixes the lengths of its keys, it
 * displaces itself, and whoever has spent the limits stays. bucket_shard.c is the caller.
 */
#include "bucket_eviction.h"

#include <string.h>

#include "kamiyo/base/hash.h"

/* Records of the wanted size that are compared, samples taken to meet them, and slots looked at for
 * one sample. */
#define CANDIDATES    8
#define SAMPLES       64
#define SAMPLE_PROBES 64
/* Spent so many times as much as is typical, a record is kept. */
#define KEPT 2

/* The least spent of those that were compared; place.array NULL = none. */
struct sample {
    struct bucket_place place;
    float spent;
    float sum;
    unsigned count;
};

static uint64_t next_random(struct bucket_shard *shard)
{
    shard->random ^= shard->random << 13;
    shard->random ^= shard->random >> 7;
    shard->random ^= shard->random << 17;
    return shard->random;
}

/* A used place somewhere; array NULL if none was met soon enough. */
static struct bucket_place sample_place(struct bucket_shard *shard)
{
    size_t slots = bucket_index_slots(&shard->index);
    size_t number = (size_t)(next_random(shard) >> 11) % slots;

    for (int i = 0; i < SAMPLE_PROBES; i++) {
        struct bucket_place place = bucket_index_at(&shard->index, number);

        if (bucket_place_is_used(place))
            return place;
        number = number + 1 < slots ? number + 1 : 0;
    }
    return (struct bucket_place){NULL, 0};
}

static void compare(struct sample *sample, struct bucket_place place, float spent)
{
    if (sample->count == 0 || spent < sample->spent) {
        sample->place = place;
        sample->spent = spent;
    }
    sample->sum += spent;
    sample->count++;
}

/* Records of `units` that are not in chunk `beside`, and others, until enough were met. */
static void take_sample(struct bucket_shard *shard,
                        size_t units,
                        uint32_t beside,
                        int64_t now_ms,
                        struct sample *fitting,
                        struct sample *others)
{
    unsigned enough = units == BUCKET_EVICTION_CHUNK ? CANDIDATES : SAMPLES;

    *fitting = *others = (struct sample){0};
    for (unsigned i = 0; i < enough && fitting->count < CANDIDATES; i++) {
        struct bucket_place place = sample_place(shard);
        const struct bucket_record *record;
        bool fits;

        if (place.array == NULL)
            continue;
        record = bucket_shard_at(shard, place);
        fits = units == BUCKET_EVICTION_ANY || bucket_record_units(record) == units;
        if (fits && bucket_slab_chunk_of(bucket_index_reference(place)) == beside)
            continue;
        compare(fits ? fitting : others, place, bucket_shard_spent(shard, record, now_ms));
    }
}

static struct bucket_key key_of(const struct bucket_shard *shard,
                                const struct bucket_record *record)
{
    struct bucket_key key = {.data = bucket_record_key(record), .length = record->key_length};

    key.hash = hash_bytes(shard->hash_key, key.data, key.length);
    return key;
}

/* Let the record that matters and the least of a sample outside its chunk change places. */
static void rescue(struct bucket_shard *shard, uint32_t reference, float spent, int64_t now_ms)
{
    struct bucket_record *record = bucket_slab_at(&shard->slab, reference);
    size_t units = bucket_record_units(record);
    struct bucket_key key = key_of(shard, record);
    struct sample fitting;
    struct sample others;
    char held[BUCKET_SLAB_CLASSES * BUCKET_SLAB_UNIT];
    struct bucket_record *lesser;

    take_sample(shard, units, bucket_slab_chunk_of(reference), now_ms, &fitting, &others);
    if (fitting.count == 0 || fitting.spent >= spent)
        return;
    lesser = bucket_shard_at(shard, fitting.place);
    bucket_index_swap(bucket_shard_place(shard, &key), fitting.place);
    memcpy(held, record, units * BUCKET_SLAB_UNIT);
    memcpy(record, lesser, units * BUCKET_SLAB_UNIT);
    memcpy(lesser, held, units * BUCKET_SLAB_UNIT);
}

/* All records of the chunk of this place go; those spent beyond `typical` find another. */
static void
drop_chunk(struct bucket_shard *shard, struct bucket_place place, float typical, int64_t now_ms)
{
    uint32_t first = bucket_index_reference(place);
    unsigned unit = 0;

    for (;;) {
        uint32_t reference = bucket_slab_next_in_chunk(&shard->slab, first, &unit);
        const struct bucket_record *record;
        struct bucket_key key;
        float spent;

        if (reference == BUCKET_SLAB_NONE)
            return;
        record = bucket_slab_at(&shard->slab, reference);
        spent = bucket_shard_spent(shard, record, now_ms);
        if (spent > KEPT * typical)
            rescue(shard, reference, spent, now_ms);
        key = key_of(shard, record); /* perhaps another's now */
        bucket_shard_evict(shard, bucket_shard_place(shard, &key));
    }
}

bool bucket_eviction_run(struct bucket_shard *shard, size_t units, int64_t now_ms)
{
    struct sample fitting;
    struct sample others;
    float typical;

    take_sample(shard, units, BUCKET_SLAB_NONE, now_ms, &fitting, &others);
    typical = others.count > 0 ? others.sum / (float)others.count : 0;
    if (fitting.count > 0 && (others.count < CANDIDATES || fitting.spent <= KEPT * typical)) {
        bucket_shard_evict(shard, fitting.place);
        return true;
    }
    if (others.count > 0)
        drop_chunk(shard, others.place, typical, now_ms);
    return others.count > 0;
}
