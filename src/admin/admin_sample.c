/* SPDX-License-Identifier: MIT */
/*
 * Samples: reading the counters, and writing what has changed between two
 * readings. A label that is new since the last one began at 0.
 */
#include "admin/admin_sample.h"

void admin_sample_take(struct admin_sample *sample, struct metrics *metrics, int64_t now_ms)
{
    sample->at_ms = now_ms;
    metrics_sum_requests(metrics, sample->by_class);
    sample->decision_count = metrics_tally_decisions(metrics, METRICS_BY_DECISION, SLICE(""),
                                                     sample->decisions, ADMIN_SAMPLE_LABELS);
    sample->mode_count = metrics_tally_decisions(metrics, METRICS_BY_MODE, SLICE(""), sample->modes,
                                                 ADMIN_SAMPLE_LABELS);
    sample->denied_tier_count = metrics_tally_decisions(metrics, METRICS_BY_TIER, SLICE("denied"),
                                                        sample->denied_tiers, ADMIN_SAMPLE_LABELS);
    metrics_reading_take(metrics, METRICS_REQUEST_SECONDS, &sample->request);
    metrics_reading_take(metrics, METRICS_LIMIT_SECONDS, &sample->limit);
}

/* A second's worth of what came between two moments. */
static double rate_of(uint64_t from, uint64_t to, int64_t interval_ms)
{
    return interval_ms > 0 && to > from ? (double)(to - from) * 1000 / (double)interval_ms : 0;
}

static void put_rate(struct text *out, bool is_first, struct slice label, double rate)
{
    text_append(out, is_first ? SLICE("\"") : SLICE(", \""));
    text_append_json(out, label);
    text_append_format(out, "\": %.1f", rate);
}

/* Decisions that no bucket made have no mode: they are left out. */
static void put_rates(struct text *out,
                      const struct metrics_tally *from,
                      size_t from_count,
                      const struct metrics_tally *to,
                      size_t to_count,
                      int64_t interval_ms)
{
    bool is_first = true;

    text_append_char(out, '{');
    for (size_t i = 0; i < to_count; i++) {
        if (to[i].label.length == 0)
            continue;
        put_rate(
            out, is_first, to[i].label,
            rate_of(metrics_tally_of(from, from_count, to[i].label), to[i].count, interval_ms));
        is_first = false;
    }
    text_append_char(out, '}');
}

static uint64_t sum_of(const uint64_t by_class[6])
{
    uint64_t sum = 0;

    for (size_t i = 0; i < 6; i++)
        sum += by_class[i];
    return sum;
}

static void put_quantile(struct text *out,
                         enum metrics_histogram histogram,
                         const struct metrics_reading *from,
                         const struct metrics_reading *to,
                         double quantile)
{
    double us = metrics_reading_quantile_us(histogram, from, to, quantile);

    if (us < 0)
        text_append(out, SLICE("null"));
    else
        text_append_format(out, "%.3f", us / 1000);
}

static void put_times(struct text *out,
                      enum metrics_histogram histogram,
                      const struct metrics_reading *from,
                      const struct metrics_reading *to)
{
    text_append(out, SLICE("{\"p50\": "));
    put_quantile(out, histogram, from, to, 0.5);
    text_append(out, SLICE(", \"p99\": "));
    put_quantile(out, histogram, from, to, 0.99);
    text_append_char(out, '}');
}

static void put_requests(struct text *out,
                         const struct admin_sample *last,
                         const struct admin_sample *now,
                         int64_t interval_ms)
{
    static const struct slice classes[] = {{"none", 4}, {"1xx", 3}, {"2xx", 3},
                                           {"3xx", 3},  {"4xx", 3}, {"5xx", 3}};

    text_append_format(out, "\"requests_per_second\": %.1f, \"status_per_second\": {",
                       rate_of(sum_of(last->by_class), sum_of(now->by_class), interval_ms));
    for (size_t i = 0; i < COUNT_OF(classes); i++)
        put_rate(out, i == 0, classes[i],
                 rate_of(last->by_class[i], now->by_class[i], interval_ms));
    text_append(out, SLICE("}, "));
}

void admin_sample_put(struct text *out,
                      const struct admin_sample *first,
                      const struct admin_sample *last,
                      const struct admin_sample *now)
{
    int64_t interval_ms = now->at_ms - last->at_ms;

    text_append_format(out, "\"interval_ms\": %lld, ", (long long)interval_ms);
    put_requests(out, last, now, interval_ms);
    text_append(out, SLICE("\"decisions_per_second\": "));
    put_rates(out, last->decisions, last->decision_count, now->decisions, now->decision_count,
              interval_ms);
    text_append(out, SLICE(", \"modes_per_second\": "));
    put_rates(out, last->modes, last->mode_count, now->modes, now->mode_count, interval_ms);
    text_append(out, SLICE(", \"denied_per_second\": "));
    put_rates(out, last->denied_tiers, last->denied_tier_count, now->denied_tiers,
              now->denied_tier_count, interval_ms);
    text_append_format(
        out, ", \"times_of_ms\": %lld, \"duration_ms\": ", (long long)(now->at_ms - first->at_ms));
    put_times(out, METRICS_REQUEST_SECONDS, &first->request, &now->request);
    text_append(out, SLICE(", \"limit_ms\": "));
    put_times(out, METRICS_LIMIT_SECONDS, &first->limit, &now->limit);
    text_append_format(
        out, ", \"requests_total\": %llu, \"denied_total\": %llu",
        (unsigned long long)sum_of(now->by_class),
        (unsigned long long)metrics_tally_of(now->decisions, now->decision_count, SLICE("denied")));
}
