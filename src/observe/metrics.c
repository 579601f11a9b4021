/* SPDX-License-Identifier: MIT */
/*
 * Counting. A worker adds to its own shard: no lock, no shared cache line, no
 * system call. A counter with labels is found in the shard's own hash table by
 * the labels' bytes; labels come from the configuration and from fixed names,
 * so a cheap hash will do, but statuses come from the upstream and make a bound
 * necessary.
 */
#include "kamiyo/observe/metrics.h"

#include <assert.h>
#include <stdatomic.h>
#include <string.h>

#include "kamiyo/base/mem.h"

#include "observe/metrics_internal.h"

#define FIRST_SLOT_COUNT 128

const struct metrics_histogram_shape metrics_histogram_shapes[METRICS_HISTOGRAM_COUNT] = {
    [METRICS_REQUEST_SECONDS] = {15,
                                 {500, 1000, 2500, 5000, 10000, 25000, 50000, 100000, 250000,
                                  500000, 1000000, 2500000, 5000000, 10000000, 60000000}},
    [METRICS_LIMIT_SECONDS] = {13,
                               {1, 5, 25, 100, 250, 500, 1000, 2500, 5000, 10000, 25000, 50000,
                                100000}},
    [METRICS_UPSTREAM_SECONDS] = {15,
                                  {500, 1000, 2500, 5000, 10000, 25000, 50000, 100000, 250000,
                                   500000, 1000000, 2500000, 5000000, 10000000, 60000000}},
    [METRICS_REDIS_ROUND_TRIP_SECONDS] = {11,
                                          {100, 250, 500, 1000, 2500, 5000, 10000, 25000, 50000,
                                           100000, 1000000}},
};

const size_t metrics_label_counts[METRICS_FAMILY_COUNT] = {
    [METRICS_REQUESTS] = 2,     [METRICS_DECISIONS] = 4, [METRICS_UPSTREAM_ERRORS] = 1,
    [METRICS_REDIS_ERRORS] = 1, [METRICS_RELOADS] = 1,
};

struct metrics *metrics_create(size_t shard_count)
{
    struct metrics *metrics = mem_alloc_zero(sizeof(*metrics));

    assert(shard_count > 0);
    metrics->shards = mem_alloc_zero_lines(shard_count * sizeof(struct metrics_shard));
    metrics->shard_count = shard_count;
    for (size_t i = 0; i < shard_count; i++) {
        metrics->shards[i].slot_count = FIRST_SLOT_COUNT;
        metrics->shards[i].slots =
            mem_alloc_zero(FIRST_SLOT_COUNT * sizeof(struct metrics_counter *));
    }
    return metrics;
}

void metrics_destroy(struct metrics **metrics)
{
    if (*metrics == NULL)
        return;
    for (size_t i = 0; i < (*metrics)->shard_count; i++) {
        struct metrics_shard *shard = &(*metrics)->shards[i];
        struct metrics_counter *counter =
            atomic_load_explicit(&shard->counters, memory_order_relaxed);

        while (counter != NULL) {
            struct metrics_counter *next = counter->next;

            mem_free(counter);
            counter = next;
        }
        mem_free(shard->slots);
    }
    mem_free((*metrics)->shards);
    mem_free(*metrics);
    *metrics = NULL;
}

struct metrics_shard *metrics_shard(struct metrics *metrics, size_t index)
{
    assert(index < metrics->shard_count);
    return &metrics->shards[index];
}

/* Single writer: nobody else stores between the load and the store. */
void metrics_add(struct metrics_shard *shard, enum metrics_value value, int64_t amount)
{
    int64_t old = atomic_load_explicit(&shard->values[value], memory_order_relaxed);

    atomic_store_explicit(&shard->values[value], old + amount, memory_order_relaxed);
}

static void increment(_Atomic uint64_t *count)
{
    atomic_store_explicit(count, atomic_load_explicit(count, memory_order_relaxed) + 1,
                          memory_order_relaxed);
}

void metrics_observe_us(struct metrics_shard *shard, enum metrics_histogram histogram, int64_t us)
{
    struct metrics_histogram_data *data = &shard->histograms[histogram];
    const struct metrics_histogram_shape *shape = &metrics_histogram_shapes[histogram];
    size_t bucket = 0;

    if (us < 0)
        us = 0;
    while (bucket < shape->count && us > shape->bounds_us[bucket])
        bucket++;
    increment(&data->buckets[bucket]);
    atomic_store_explicit(&data->sum_us,
                          atomic_load_explicit(&data->sum_us, memory_order_relaxed) + us,
                          memory_order_relaxed);
}

/* A combination of labels as it is asked for. */
struct query {
    enum metrics_family family;
    int status;
    const struct slice *labels;
};

/*
 * The ends of a label, eight or four bytes each, tell configured names apart well enough; equal
 * ones are compared in full anyway.
 */
static uint64_t word_of(struct slice label)
{
    if (label.length >= sizeof(uint64_t)) {
        uint64_t first;
        uint64_t last;

        memcpy(&first, label.data, sizeof(first));
        memcpy(&last, label.data + label.length - sizeof(last), sizeof(last));
        return first ^ (last << 7 | last >> 57);
    }
    if (label.length >= sizeof(uint32_t)) {
        uint32_t first;
        uint32_t last;

        memcpy(&first, label.data, sizeof(first));
        memcpy(&last, label.data + label.length - sizeof(last), sizeof(last));
        return (uint64_t)first << 32 | last;
    }
    if (label.length == 0)
        return 0;
    return (uint64_t)(unsigned char)label.data[0] << 16 |
           (uint64_t)(unsigned char)label.data[label.length / 2] << 8 |
           (unsigned char)label.data[label.length - 1];
}

static uint64_t mix(uint64_t hash, struct slice label)
{
    hash = (hash ^ word_of(label) ^ label.length) * 0x9e3779b97f4a7c15U;
    return hash ^ hash >> 32;
}

static uint64_t hash_of(const struct query *query)
{
    uint64_t hash = (uint64_t)query->family << 32 ^ (uint64_t)query->status;

    for (size_t i = 0; i < metrics_label_counts[query->family]; i++)
        hash = mix(hash, query->labels[i]);
    return hash;
}

static bool matches(const struct metrics_counter *counter, const struct query *query)
{
    if (counter->family != query->family || counter->status != query->status)
        return false;
    for (size_t i = 0; i < metrics_label_counts[query->family]; i++) {
        if (!slice_equal(counter->labels[i], query->labels[i]))
            return false;
    }
    return true;
}

/* The counter's slot, or the empty one where it belongs. */
static struct metrics_counter **find_slot(const struct metrics_shard *shard,
                                          const struct query *query)
{
    size_t mask = shard->slot_count - 1;
    size_t at = (size_t)hash_of(query) & mask;

    while (shard->slots[at] != NULL && !matches(shard->slots[at], query))
        at = (at + 1) & mask;
    return &shard->slots[at];
}

/* At most half of the slots are taken, so that a search ends soon. */
static void grow(struct metrics_shard *shard)
{
    mem_free(shard->slots);
    shard->slot_count *= 2;
    shard->slots = mem_alloc_zero(shard->slot_count * sizeof(struct metrics_counter *));
    for (struct metrics_counter *counter =
             atomic_load_explicit(&shard->counters, memory_order_relaxed);
         counter != NULL; counter = counter->next) {
        struct query query = {counter->family, counter->status, counter->labels};

        *find_slot(shard, &query) = counter;
    }
}

static struct metrics_counter *add_counter(struct metrics_shard *shard, const struct query *query)
{
    size_t count = metrics_label_counts[query->family];
    size_t size = sizeof(struct metrics_counter);
    struct metrics_counter *counter;
    char *bytes;

    for (size_t i = 0; i < count; i++)
        size += query->labels[i].length;
    counter = mem_alloc_zero(size);
    counter->family = query->family;
    counter->status = query->status;
    bytes = counter->bytes;
    for (size_t i = 0; i < count; i++) {
        if (query->labels[i].length > 0)
            memcpy(bytes, query->labels[i].data, query->labels[i].length);
        counter->labels[i] = (struct slice){bytes, query->labels[i].length};
        bytes += query->labels[i].length;
    }
    if (++shard->counter_count > shard->slot_count / 2)
        grow(shard);
    *find_slot(shard, query) = counter;
    counter->next = atomic_load_explicit(&shard->counters, memory_order_relaxed);
    atomic_store_explicit(&shard->counters, counter, memory_order_release);
    return counter;
}

/* The counter of these labels, or where there are too many already, the one of all others. */
static struct metrics_counter *find_or_add(struct metrics_shard *shard, const struct query *query)
{
    static const struct slice other_label = {"other", 5};
    const struct slice labels[METRICS_MAX_LABELS] = {other_label, other_label, other_label,
                                                     other_label};
    const struct query other = {query->family, query->family == METRICS_REQUESTS ? -1 : 0, labels};
    struct metrics_counter *counter = *find_slot(shard, query);

    if (counter != NULL)
        return counter;
    if (shard->counter_count < METRICS_MAX_COUNTERS)
        return add_counter(shard, query);
    counter = *find_slot(shard, &other);
    return counter != NULL ? counter : add_counter(shard, &other);
}

static void count(struct metrics_shard *shard, const struct query *query)
{
    metrics_increment(find_or_add(shard, query));
}

void metrics_increment(struct metrics_counter *counter)
{
    increment(&counter->count);
}

struct metrics_counter *metrics_request_counter(struct metrics_shard *shard,
                                                int status,
                                                struct slice route,
                                                struct slice tier)
{
    const struct slice labels[] = {route, tier};

    return find_or_add(shard, &(struct query){METRICS_REQUESTS, status, labels});
}

struct metrics_counter *metrics_decision_counter(struct metrics_shard *shard,
                                                 struct slice decision,
                                                 struct slice mode,
                                                 struct slice tier,
                                                 struct slice window)
{
    const struct slice labels[] = {decision, mode, tier, window};

    return find_or_add(shard, &(struct query){METRICS_DECISIONS, 0, labels});
}

void metrics_count_request(struct metrics_shard *shard,
                           int status,
                           struct slice route,
                           struct slice tier)
{
    metrics_increment(metrics_request_counter(shard, status, route, tier));
}

void metrics_count_decision(struct metrics_shard *shard,
                            struct slice decision,
                            struct slice mode,
                            struct slice tier,
                            struct slice window)
{
    metrics_increment(metrics_decision_counter(shard, decision, mode, tier, window));
}

void metrics_count_upstream_error(struct metrics_shard *shard, const char *reason)
{
    const struct slice label = slice_of(reason);

    count(shard, &(struct query){METRICS_UPSTREAM_ERRORS, 0, &label});
}

void metrics_count_redis_error(struct metrics_shard *shard, const char *reason)
{
    const struct slice label = slice_of(reason);

    count(shard, &(struct query){METRICS_REDIS_ERRORS, 0, &label});
}

void metrics_count_reload(struct metrics_shard *shard, const char *result)
{
    const struct slice label = slice_of(result);

    count(shard, &(struct query){METRICS_RELOADS, 0, &label});
}
