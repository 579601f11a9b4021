/* SPDX-License-Identifier: MIT */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "kamiyo/base/attributes.h"
#include "kamiyo/base/slice.h"

/*
 * Counters, gauges and histograms of the process, one shard a worker. A shard
 * is written by its own thread only (relaxed single-writer atomics), and
 * summed when somebody reads. Names are those of contract section 9; no label
 * ever holds a path, a key or an address. Counting allocates only when a
 * combination of labels is seen for the first time.
 */
struct metrics;       /* of the process: the shards and their rendering */
struct metrics_shard; /* of one worker */

/* Plain counters and gauges without labels. Gauges are summed over the shards too. */
enum metrics_value {
    METRICS_CLIENT_CONNECTIONS,   /* gauge connections{side="client"} */
    METRICS_UPSTREAM_CONNECTIONS, /* gauge connections{side="upstream"} */
    METRICS_UPSTREAM_RETRIES,     /* upstream_retries_total */
    METRICS_REDIS_COMMANDS,       /* redis_commands_total */
    METRICS_ACCESS_LOG_DROPPED,   /* access_log_dropped_total */
    METRICS_UNTRUSTED_FORWARDING, /* client_ip_untrusted_forwarding_total */
    METRICS_SHORT_CHAINS,         /* client_ip_short_chains_total */
    METRICS_IDENTITY_FAILURES,    /* identity_failures_total */
    METRICS_VALUE_COUNT,
};

enum metrics_histogram {
    METRICS_REQUEST_SECONDS,
    METRICS_LIMIT_SECONDS,
    METRICS_UPSTREAM_SECONDS,
    METRICS_REDIS_ROUND_TRIP_SECONDS,
    METRICS_HISTOGRAM_COUNT,
};

struct metrics *metrics_create(size_t shard_count) MUST_CHECK;
void metrics_destroy(struct metrics **metrics);
struct metrics_shard *metrics_shard(struct metrics *metrics, size_t index);

void metrics_add(struct metrics_shard *shard, enum metrics_value value, int64_t amount);
void metrics_observe_us(struct metrics_shard *shard, enum metrics_histogram histogram, int64_t us);
/*
 * requests_total{status,route,tier} and decisions_total{decision,mode,tier,window}. The slices'
 * bytes are copied at first sight and only compared afterwards. A shard keeps at most
 * METRICS_MAX_COUNTERS combinations; beyond them all are counted in one of their own, with "other"
 * for each label.
 *
 * A counter lives as long as the metrics: who counts the same combination for each request keeps
 * it, and spares itself the search.
 */
#define METRICS_MAX_COUNTERS 4096
struct metrics_counter;
struct metrics_counter *metrics_request_counter(struct metrics_shard *shard,
                                                int status,
                                                struct slice route,
                                                struct slice tier) MUST_CHECK;
struct metrics_counter *metrics_decision_counter(struct metrics_shard *shard,
                                                 struct slice decision,
                                                 struct slice mode,
                                                 struct slice tier,
                                                 struct slice window) MUST_CHECK;
/* One more. By the shard's owner only. */
void metrics_increment(struct metrics_counter *counter);
/* The search and the count in one. */
void metrics_count_request(struct metrics_shard *shard,
                           int status,
                           struct slice route,
                           struct slice tier);
void metrics_count_decision(struct metrics_shard *shard,
                            struct slice decision,
                            struct slice mode,
                            struct slice tier,
                            struct slice window);
/* upstream_errors_total{reason}, redis_errors_total{reason}, config_reloads_total{result}: off the
 * hot path. `reason` is a static name. */
void metrics_count_upstream_error(struct metrics_shard *shard, const char *reason);
void metrics_count_redis_error(struct metrics_shard *shard, const char *reason);
void metrics_count_reload(struct metrics_shard *shard, const char *result);

/* What is asked for when somebody reads. */
struct metrics_gauges {
    bool is_redis_up; /* false also when none is configured */
    uint64_t store_keys;
    uint64_t store_bytes;
    const char *version; /* labels of build_info; NULL = "" */
    const char *commit;
};
/* The whole exposition (text/plain; version=0.0.4), allocated with mem; *length without the
 * terminator. Any thread. */
char *metrics_render(struct metrics *metrics,
                     const struct metrics_gauges *gauges,
                     size_t *length) MUST_CHECK;
/* Sums over the shards, for status pages and tests. Any thread. */
int64_t metrics_sum(struct metrics *metrics, enum metrics_value value);
/* Requests answered so far, by class of status: [1] = 1xx ... [5] = 5xx, [0] = none was sent. Any
 * thread. */
void metrics_sum_requests(struct metrics *metrics, uint64_t by_class[6]);
/* Decisions so far whose `decision` label is this one ("allowed", "denied"). Any thread. */
uint64_t metrics_sum_decisions(struct metrics *metrics, struct slice decision);
/* How many were observed, and the upper bound in microseconds of the bucket that the share
 * `quantile` (0 to 1) falls into; -1 = beyond the last, or none. Any thread. */
uint64_t metrics_histogram_count(struct metrics *metrics, enum metrics_histogram histogram);
int64_t metrics_histogram_quantile_us(struct metrics *metrics,
                                      enum metrics_histogram histogram,
                                      double quantile);
