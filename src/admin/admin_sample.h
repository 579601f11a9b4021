/* SPDX-License-Identifier: MIT */
#pragma once

#include <stddef.h>
#include <stdint.h>

#include "kamiyo/admin/admin.h"
#include "kamiyo/base/text.h"
#include "kamiyo/observe/metrics_reading.h"

/*
 * What the gateway had counted at one moment, and what two of them say about
 * the time between: the numbers of an event of /api/events.
 */
#define ADMIN_SAMPLE_LABELS 24

struct admin_sample {
    int64_t at_ms; /* monotonic */
    uint64_t by_class[6];
    struct metrics_tally decisions[ADMIN_SAMPLE_LABELS];
    struct metrics_tally modes[ADMIN_SAMPLE_LABELS];
    struct metrics_tally denied_tiers[ADMIN_SAMPLE_LABELS];
    size_t decision_count;
    size_t mode_count;
    size_t denied_tier_count;
    struct metrics_reading request;
    struct metrics_reading limit;
};

void admin_sample_take(struct admin_sample *sample, struct metrics *metrics, int64_t now_ms);
/*
 * Members of a JSON object: rates between `last` and `now` (0 where they are one moment), times of
 * requests between `first` and `now`, totals. No comma at either end.
 */
void admin_sample_put(struct text *out,
                      const struct admin_sample *first,
                      const struct admin_sample *last,
                      const struct admin_sample *now);
