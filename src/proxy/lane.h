/* SPDX-License-Identifier: MIT */
#pragma once

#include <stddef.h>
#include <stdint.h>

#include "kamiyo/base/slice.h"
#include "kamiyo/limit/limit_decision.h"
#include "kamiyo/limit/limit_options.h"
#include "kamiyo/proxy/limit_fields.h"
#include "kamiyo/proxy/proxy_options.h"
#include "kamiyo/route/route_table.h"

/*
 * A lane is one route with one tier, and what all requests on it have in
 * common: the texts of their limit fields and refusals, and the counters that
 * they are counted in. Made when the first request comes along, so that the
 * others find it ready. A worker's own; all of them go when routes or options
 * change, so nobody keeps one beyond a call.
 */
struct metrics_counter;
struct metrics_shard;

/* The words of the log and of metrics for what was decided. */
enum lane_verdict {
    LANE_UNDECIDED, /* refused before */
    LANE_ALLOWED,
    LANE_DENIED,
    LANE_EXEMPT,
    LANE_SHADOW,
    LANE_VERDICT_COUNT
};
extern const struct slice lane_verdict_names[LANE_VERDICT_COUNT]; /* "", "allowed", ... */

struct lane;

struct lane_table {
    struct metrics_shard *metrics;
    const struct reply_options *options;
    struct lane **lanes; /* by route and tier; NULL = nobody came along yet */
    size_t tier_count;
    size_t count;
};

void lane_table_init(struct lane_table *lanes,
                     struct metrics_shard *metrics,
                     const struct route_table *routes,
                     const struct reply_options *options);
void lane_table_clear(struct lane_table *lanes);

/* The route's name as metrics and the contract's example have it: "default" where it has none. */
struct slice lane_route_name(const struct route *route);
/* Never NULL. Route and tier are the table's own. */
struct lane *
lane_find(struct lane_table *lanes, const struct route *route, const struct route_tier *tier);
/* requests_total and decisions_total. The bytes of `mode` and `window` must stay where they are for
 * as long as the lane: names of the program's or of the route table's. */
void lane_count_request(struct lane *lane, int status);
void lane_count_decision(struct lane *lane,
                         enum lane_verdict verdict,
                         struct slice mode,
                         struct slice window);
/* The limit's fields ready for this decision on `policy`; until the next call for this lane. */
const struct limit_fields *lane_limit_fields(struct lane *lane,
                                             const struct limit_policy *policy,
                                             const struct limit_decision *decision);
/* What of a 429's body stays as it is for this window of `policy` and this limit
 * (reply_write_quota_start, -end); until the next call for this lane. */
struct slice lane_quota_start(struct lane *lane,
                              const struct limit_policy *policy,
                              size_t window,
                              int64_t limit);
struct slice lane_quota_end(struct lane *lane);
