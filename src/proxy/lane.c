/* SPDX-License-Identifier: MIT */
/*
 * Lanes: an array over routes and tiers whose places fill with the traffic. A
 * counter is looked for in the metrics once and then kept with the few others
 * that its lane has met; where there are more than fit, they take turns at the
 * price of a search.
 */
#include "proxy/lane.h"

#include <assert.h>

#include "kamiyo/base/mem.h"
#include "kamiyo/observe/metrics.h"
#include "kamiyo/proxy/reply.h"

#define COUNTER_PLACES 8

const struct slice lane_verdict_names[LANE_VERDICT_COUNT] = {
    [LANE_UNDECIDED] = {"", 0},    [LANE_ALLOWED] = {"allowed", 7}, [LANE_DENIED] = {"denied", 6},
    [LANE_EXEMPT] = {"exempt", 6}, [LANE_SHADOW] = {"shadow", 6},
};

struct request_place {
    int status;
    struct metrics_counter *counter; /* NULL = not in use, nor is any behind it */
};

/* Modes and windows are known by where their names stand: they are the program's and the route
 * table's own, which outlive the lane. */
struct decision_place {
    enum lane_verdict verdict;
    const char *mode;
    const char *window;
    struct metrics_counter *counter; /* NULL = not in use, nor is any behind it */
};

struct ready_text {
    int64_t limit; /* for which it was made */
    char *bytes;   /* NULL = not made yet */
    size_t length;
};

struct lane {
    struct metrics_shard *metrics;
    const struct reply_options *options;
    struct slice route; /* as metrics call it */
    struct slice tier;
    struct request_place requests[COUNTER_PLACES];
    struct decision_place decisions[COUNTER_PLACES];
    size_t request_turn; /* places that are given up next */
    size_t decision_turn;
    struct ready_text quota_starts[LIMIT_MAX_WINDOWS];
    struct ready_text quota_end;
    struct limit_fields fields;
};

void lane_table_init(struct lane_table *lanes,
                     struct metrics_shard *metrics,
                     const struct route_table *routes,
                     const struct reply_options *options)
{
    size_t tier_count = route_table_tier_count(routes);
    size_t count = route_table_count(routes) * tier_count;
    *lanes = (struct lane_table){
        .metrics = metrics,
        .options = options,
        .lanes = mem_alloc_zero(count * sizeof(struct lane *)),
        .tier_count = tier_count,
        .count = count,
    };
}

void lane_table_clear(struct lane_table *lanes)
{
    for (size_t i = 0; i < lanes->count; i++) {
        struct lane *lane = lanes->lanes[i];
        if (lane == NULL)
            continue;
        for (size_t j = 0; j < COUNT_OF(lane->quota_starts); j++)
            mem_free(lane->quota_starts[j].bytes);
        mem_free(lane->quota_end.bytes);
        mem_free(lane);
    }
    mem_free(lanes->lanes);
    *lanes = (struct lane_table){.count = 0};
}

static struct lane *
open_lane(const struct lane_table *lanes, const struct route *route, const struct route_tier *tier)
{
    struct lane *lane = mem_alloc_zero(sizeof(*lane));
    lane->metrics = lanes->metrics;
    lane->options = lanes->options;
    lane->route = lane_route_name(route);
    lane->tier = tier->name;
    return lane;
}

struct slice lane_route_name(const struct route *route)
{
    return route->name.length > 0 ? route->name : SLICE("default");
}

struct lane *
lane_find(struct lane_table *lanes, const struct route *route, const struct route_tier *tier)
{
    size_t index = route->index * lanes->tier_count + tier->index;
    assert(index < lanes->count);
    struct lane **place = &lanes->lanes[index];
    if (UNLIKELY(*place == NULL))
        *place = open_lane(lanes, route, tier);
    return *place;
}

void lane_count_request(struct lane *lane, int status)
{
    struct request_place *places = lane->requests;
    size_t at = 0;
    while (at < COUNTER_PLACES && places[at].counter != NULL && places[at].status != status)
        at++;
    if (UNLIKELY(at == COUNTER_PLACES))
        at = lane->request_turn++ % COUNTER_PLACES;
    if (UNLIKELY(places[at].counter == NULL || places[at].status != status))
        places[at] = (struct request_place){
            .status = status,
            .counter = metrics_request_counter(lane->metrics, status, lane->route, lane->tier),
        };
    metrics_increment(places[at].counter);
}

static bool is_of(const struct decision_place *place,
                  enum lane_verdict verdict,
                  struct slice mode,
                  struct slice window)
{
    return place->verdict == verdict && place->mode == mode.data && place->window == window.data;
}

void lane_count_decision(struct lane *lane,
                         enum lane_verdict verdict,
                         struct slice mode,
                         struct slice window)
{
    struct decision_place *places = lane->decisions;
    size_t at = 0;
    while (at < COUNTER_PLACES && places[at].counter != NULL &&
           !is_of(&places[at], verdict, mode, window))
        at++;
    if (UNLIKELY(at == COUNTER_PLACES))
        at = lane->decision_turn++ % COUNTER_PLACES;
    if (UNLIKELY(places[at].counter == NULL || !is_of(&places[at], verdict, mode, window)))
        places[at] = (struct decision_place){
            .verdict = verdict,
            .mode = mode.data,
            .window = window.data,
            .counter = metrics_decision_counter(lane->metrics, lane_verdict_names[verdict], mode,
                                                lane->tier, window),
        };
    metrics_increment(places[at].counter);
}

const struct limit_fields *lane_limit_fields(struct lane *lane,
                                             const struct limit_policy *policy,
                                             const struct limit_decision *decision)
{
    if (UNLIKELY(!limit_fields_fit(&lane->fields, decision)))
        limit_fields_prepare(&lane->fields, policy, decision, lane->tier, lane->options);
    return &lane->fields;
}

typedef void write_fn(struct text *out, const struct reply *reply);

static void make_text(struct ready_text *ready, write_fn *write, const struct reply *reply)
{
    char memory[2048];
    struct text text;
    text_init(&text, memory, sizeof(memory));
    write(&text, reply);
    mem_free(ready->bytes);
    *ready = (struct ready_text){.limit = reply->limit};
    if (text.overflow) /* of so long an address: reply_write will say so */
        return;
    ready->bytes = mem_copy_bytes(text.data, text.length);
    ready->length = text.length;
}

struct slice
lane_quota_start(struct lane *lane, const struct limit_policy *policy, size_t window, int64_t limit)
{
    struct ready_text *ready = &lane->quota_starts[window];
    if (UNLIKELY(ready->bytes == NULL || ready->limit != limit)) {
        const struct reply reply = {
            .kind = REPLY_RATE_LIMITED,
            .tier = lane->tier,
            .window = slice_of(policy->windows[window].name),
            .limit = limit,
        };
        make_text(ready, reply_write_quota_start, &reply);
    }
    return (struct slice){ready->bytes, ready->length};
}

struct slice lane_quota_end(struct lane *lane)
{
    struct ready_text *ready = &lane->quota_end;
    if (UNLIKELY(ready->bytes == NULL)) {
        const struct reply reply = {
            .kind = REPLY_RATE_LIMITED,
            .upgrade_url = slice_of(lane->options->upgrade_url),
        };
        make_text(ready, reply_write_quota_end, &reply);
    }
    return (struct slice){ready->bytes, ready->length};
}
