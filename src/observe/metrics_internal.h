/* SPDX-License-Identifier: MIT */
#pragma once

#include <stddef.h>
#include <stdint.h>

#include "kamiyo/observe/metrics.h"

/*
 * The shards as counting (metrics.c) and reading (metrics_text.c) share them.
 *
 * Each number has one writer, the shard's worker, which adds with a relaxed
 * load and store; readers load. Counters with labels hang in a list that only
 * grows at its head: a reader who has loaded the head sees whole records.
 */
enum metrics_family {
    METRICS_REQUESTS,
    METRICS_DECISIONS,
    METRICS_UPSTREAM_ERRORS,
    METRICS_REDIS_ERRORS,
    METRICS_RELOADS,
    METRICS_FAMILY_COUNT,
};

#define METRICS_MAX_LABELS  4
#define METRICS_MAX_BUCKETS 18

/* One combination of labels. The labels' bytes stand behind the struct. */
struct metrics_counter {
    struct metrics_counter *next;
    _Atomic uint64_t count;
    enum metrics_family family;
    int status; /* requests only: its first label, 0 as "none", -1 as "other" */
    struct slice labels[METRICS_MAX_LABELS];
    char bytes[];
};

struct metrics_histogram_data {
    _Atomic uint64_t buckets[METRICS_MAX_BUCKETS + 1]; /* the last one has no bound */
    _Atomic int64_t sum_us;
};

struct metrics_shard {
    _Alignas(64) _Atomic int64_t values[METRICS_VALUE_COUNT];
    struct metrics_histogram_data histograms[METRICS_HISTOGRAM_COUNT];
    struct metrics_counter *_Atomic counters;
    size_t counter_count;           /* the rest is the owner's alone */
    struct metrics_counter **slots; /* open addressing, a power of two */
    size_t slot_count;
};

struct metrics {
    struct metrics_shard *shards;
    size_t shard_count;
};

struct metrics_histogram_shape {
    size_t count;
    int64_t bounds_us[METRICS_MAX_BUCKETS];
};
extern const struct metrics_histogram_shape metrics_histogram_shapes[METRICS_HISTOGRAM_COUNT];
/* How many of a family's labels are slices (without the status of requests). */
extern const size_t metrics_label_counts[METRICS_FAMILY_COUNT];
