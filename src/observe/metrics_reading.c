/* SPDX-License-Identifier: MIT */
/*
 * Sums over the shards, to be held against each other. Workers go on counting
 * meanwhile: numbers of one reading may differ by what came in between, but
 * none ever goes back.
 */
#include "kamiyo/observe/metrics_reading.h"

#include <assert.h>
#include <stdatomic.h>
#include <string.h>

#include "observe/metrics_internal.h"

static_assert(METRICS_READING_BUCKETS == METRICS_MAX_BUCKETS + 1, "a reading has every bucket");

void metrics_reading_take(struct metrics *metrics,
                          enum metrics_histogram histogram,
                          struct metrics_reading *reading)
{
    memset(reading, 0, sizeof(*reading));
    for (size_t i = 0; i < metrics->shard_count; i++) {
        struct metrics_histogram_data *data = &metrics->shards[i].histograms[histogram];

        for (size_t j = 0; j <= metrics_histogram_shapes[histogram].count; j++)
            reading->buckets[j] += atomic_load_explicit(&data->buckets[j], memory_order_relaxed);
    }
}

double metrics_reading_quantile_us(enum metrics_histogram histogram,
                                   const struct metrics_reading *from,
                                   const struct metrics_reading *to,
                                   double quantile)
{
    const struct metrics_histogram_shape *shape = &metrics_histogram_shapes[histogram];
    double total = 0;
    double below = 0;

    for (size_t i = 0; i <= shape->count; i++)
        total += (double)(to->buckets[i] - from->buckets[i]);
    if (total <= 0)
        return -1;
    for (size_t i = 0; i < shape->count; i++) {
        double in_bucket = (double)(to->buckets[i] - from->buckets[i]);

        if (in_bucket > 0 && below + in_bucket >= quantile * total) {
            double low = i > 0 ? (double)shape->bounds_us[i - 1] : 0;
            double high = (double)shape->bounds_us[i];

            return low + (high - low) * (quantile * total - below) / in_bucket;
        }
        below += in_bucket;
    }
    return (double)shape->bounds_us[shape->count - 1];
}

static struct metrics_tally *
find_tally(struct metrics_tally *tallies, size_t *count, size_t max, struct slice label)
{
    for (size_t i = 0; i < *count; i++) {
        if (slice_equal(tallies[i].label, label))
            return &tallies[i];
    }
    if (*count == max)
        return NULL;
    tallies[*count] = (struct metrics_tally){.label = label};
    return &tallies[(*count)++];
}

size_t metrics_tally_decisions(struct metrics *metrics,
                               enum metrics_decision_label by,
                               struct slice decision,
                               struct metrics_tally *tallies,
                               size_t max)
{
    size_t count = 0;

    for (size_t i = 0; i < metrics->shard_count; i++) {
        struct metrics_counter *counter =
            atomic_load_explicit(&metrics->shards[i].counters, memory_order_acquire);

        for (; counter != NULL; counter = counter->next) {
            struct metrics_tally *tally;

            if (counter->family != METRICS_DECISIONS ||
                (decision.length > 0 && !slice_equal(counter->labels[0], decision)))
                continue;
            tally = find_tally(tallies, &count, max, counter->labels[by]);
            if (tally != NULL)
                tally->count += atomic_load_explicit(&counter->count, memory_order_relaxed);
        }
    }
    return count;
}

uint64_t metrics_tally_of(const struct metrics_tally *tallies, size_t count, struct slice label)
{
    for (size_t i = 0; i < count; i++) {
        if (slice_equal(tallies[i].label, label))
            return tallies[i].count;
    }
    return 0;
}
