/* SPDX-License-Identifier: MIT */
#pragma once

#include <stddef.h>
#include <stdint.h>

#include "kamiyo/base/slice.h"
#include "kamiyo/observe/metrics.h"

/*
 * Readings of the metrics that are held against later ones: who keeps one knows
 * what was counted since. For status pages; all sums are over the shards, and
 * any thread may ask.
 */

/* A histogram as it stands: observations in each of its buckets. */
#define METRICS_READING_BUCKETS 19
struct metrics_reading {
    uint64_t buckets[METRICS_READING_BUCKETS];
};
void metrics_reading_take(struct metrics *metrics,
                          enum metrics_histogram histogram,
                          struct metrics_reading *reading);
/*
 * The microseconds that the share `quantile` (0 to 1) of what was observed between two readings
 * took at most, evenly spread within its bucket, as Prometheus reads histograms; beyond the last
 * bound that bound, and -1 when nothing was observed.
 */
double metrics_reading_quantile_us(enum metrics_histogram histogram,
                                   const struct metrics_reading *from,
                                   const struct metrics_reading *to,
                                   double quantile);

/* Decisions by one of their labels. The labels' bytes live as long as the metrics. */
enum metrics_decision_label {
    METRICS_BY_DECISION,
    METRICS_BY_MODE,
    METRICS_BY_TIER,
    METRICS_BY_WINDOW,
};
struct metrics_tally {
    struct slice label;
    uint64_t count;
};
/* Those with this `decision` (empty = all), at most `max` labels in the order in which they are
 * met; the others are left out. The number written. */
size_t metrics_tally_decisions(struct metrics *metrics,
                               enum metrics_decision_label by,
                               struct slice decision,
                               struct metrics_tally *tallies,
                               size_t max);
/* Of one label; 0 when it is not among them. */
uint64_t metrics_tally_of(const struct metrics_tally *tallies, size_t count, struct slice label);
