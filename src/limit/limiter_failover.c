/* SPDX-License-Identifier: MIT */
/*
 * Between Redis and the table, for one worker. Redis decides while it can; the
 * moment it cannot, the table does, which has been kept at the levels that
 * Redis last told.
 *
 *          connected            the probe succeeded
 *   AWAY ---------------> PROBING -------------------> UP
 *    ^                     ^ |                          |
 *    |     connection lost | | connection lost          |
 *    |<--------------------|-'                          |
 *    |                     '--- failures in a row ------|
 *    '--- connection lost, not made again at once ------'
 *
 * A connection that is lost while UP is made again at once; until that attempt
 * has ended, decisions are held, each to its own deadline, and sent again once.
 * What happens to each decision is limiter_failover_call.c's.
 *
 * Each decision that fails counts, also when one stall made many of them fail:
 * each was a client that waited, and of as many that follow none is to wait
 * again. What a short stall costs is kept small at the other end, by a probe
 * right after the breaker has opened.
 */
#include "limiter_failover.h"

#include "kamiyo/base/attributes.h"
#include "kamiyo/observe/metrics.h"

#include "limit_store.h"
#include "limiter_ledger.h"
#include "limiter_presence.h"
#include "limiter_probe.h"
#include "limiter_reset.h"

/* Between two probes; with the connection's back-off (1 s) well under the 2 s of recovery. */
#define PROBE_INTERVAL_MS 200
/* After the breaker has opened: a stall that is over by then costs no more than this. */
#define FIRST_PROBE_MS 10
#define CALLS_KEPT     256

/* --- breaker and state --- */

static void probe_after(struct limiter_failover *failover, int64_t delay_ms);

static void stop_services(struct limiter_failover *failover)
{
    limiter_ledger_stop(failover->ledger);
    limiter_presence_stop(failover->presence);
}

/* Redis is of no use from now on; `state` says whether there is a connection to probe. */
static void go_down(struct limiter_failover *failover,
                    enum failover_state state,
                    const struct redis_failure *failure)
{
    bool was_up = failover->state == FAILOVER_UP;

    failover->state = state;
    if (was_up)
        stop_services(failover);
    limit_store_report_down(failover->shared->store, failure, was_up);
    limiter_probe_stop(failover->probe);
    if (state == FAILOVER_PROBING)
        probe_after(failover, FIRST_PROBE_MS);
    limiter_failover_flush_held(failover);
}

/* A decision for so many windows failed. */
static void note_script(struct limiter_failover *failover, size_t window_count)
{
    if (failover->script_windows < window_count)
        failover->script_windows = window_count;
}

static void open_if_enough(struct limiter_failover *failover, const struct redis_failure *failure)
{
    if (failover->state != FAILOVER_UP ||
        failover->timeouts_in_row + failover->write_failures_in_row < failover->breaker_failures)
        return;
    note_script(failover, 1); /* or was too slow: a SET alone proves nothing */
    go_down(failover, redis_client_is_ready(failover->client) ? FAILOVER_PROBING : FAILOVER_AWAY,
            failure);
}

void limiter_failover_count_timeout(struct limiter_failover *failover)
{
    struct redis_failure failure;

    redis_failure_set(&failure, REDIS_REASON_TIMEOUT, "%s", "");
    limiter_redis_count_error(failover->redis, failure.reason);
    failover->timeouts_in_row++;
    open_if_enough(failover, &failure);
}

void limiter_failover_count_failure(struct limiter_failover *failover,
                                    size_t window_count,
                                    const struct redis_failure *failure)
{
    limiter_redis_count_error(failover->redis, failure->reason);
    note_script(failover, window_count);
    failover->write_failures_in_row++;
    open_if_enough(failover, failure);
}

/* The connection is worth as much as the one before it. */
static void confirm(struct limiter_failover *failover)
{
    failover->is_unconfirmed = false;
    redis_client_confirm(failover->client);
}

void limiter_failover_count_success(struct limiter_failover *failover,
                                    int64_t took_ms,
                                    bool has_written)
{
    if (took_ms <= failover->timeout_ms)
        failover->timeouts_in_row = 0;
    if (has_written)
        failover->write_failures_in_row = 0;
    if (failover->is_unconfirmed && has_written)
        confirm(failover);
}

static void go_up(struct limiter_failover *failover)
{
    failover->state = FAILOVER_UP;
    failover->timeouts_in_row = 0;
    failover->write_failures_in_row = 0;
    failover->script_windows = 0;
    confirm(failover);
    limiter_reset_send_kept(failover->reset); /* before the debts, which were spent after it */
    /* Debts begin to leave before the decisions that follow; the ledger has its own pace. */
    limiter_ledger_start(failover->ledger);
    limiter_presence_start(failover->presence);
    limit_store_report_up(failover->shared->store);
}

/* --- the probe --- */

static void probe_after(struct limiter_failover *failover, int64_t delay_ms)
{
    limiter_probe_start(failover->probe, delay_ms, failover->timeout_ms, failover->script_windows);
}

static void on_probed(void *arg, const struct redis_failure *failure, bool is_wrong_place)
{
    struct limiter_failover *failover = arg;

    if (failover->state == FAILOVER_UP) {
        if (failure->reason == REDIS_REASON_NONE)
            confirm(failover); /* what was held was answered before this */
        return;                /* else decisions will tell */
    }
    if (failure->reason == REDIS_REASON_NONE) {
        go_up(failover);
        return;
    }
    limiter_redis_count_error(failover->redis, failure->reason);
    limit_store_report_down(failover->shared->store, failure, false);
    if (is_wrong_place)
        redis_client_drop(failover->client, failure);
    else
        probe_after(failover, PROBE_INTERVAL_MS);
}

/* --- the client's events --- */

static void on_ready(void *arg)
{
    struct limiter_failover *failover = arg;

    failover->is_unconfirmed = true;
    if (failover->state == FAILOVER_UP) {
        limiter_failover_send_held(failover);
        /* A worker that nobody asks confirms its connection as well, or the next loss of it, may
         * it be hours later, would pass for an attempt that failed. */
        probe_after(failover, 0);
        return;
    }
    if (!failover->was_connected)
        limit_store_report_connected(failover->shared->store);
    failover->was_connected = true;
    failover->state = FAILOVER_PROBING;
    probe_after(failover, 0);
}

static void on_down(void *arg, const struct redis_failure *failure, bool was_ready)
{
    struct limiter_failover *failover = arg;

    limiter_redis_count_error(failover->redis, failure->reason);
    if (failover->state == FAILOVER_UP && was_ready && redis_client_is_returning(failover->client))
        return;
    /* What was asked may be why it ended: then a probe that only writes would say well again. */
    if (failover->state == FAILOVER_UP && was_ready &&
        (failure->reason == REDIS_REASON_BAD_REPLY || !TAILQ_EMPTY(&failover->calls)))
        note_script(failover, 1);
    go_down(failover, FAILOVER_AWAY, failure);
}

static void on_round_trip(void *arg, int64_t us)
{
    struct limiter_failover *failover = arg;

    if (failover->metrics != NULL)
        metrics_observe_us(failover->metrics, METRICS_REDIS_ROUND_TRIP_SECONDS, us);
}

static void on_delayed(void *arg)
{
    limiter_failover_postpone(arg);
}

static const struct redis_client_handler client_handler = {
    .on_ready = on_ready,
    .on_down = on_down,
    .on_round_trip = on_round_trip,
    .on_delayed = on_delayed,
};

void limiter_failover_reset(struct limiter_failover *failover,
                            const struct limit_buckets *buckets,
                            limiter_reset_fn *done,
                            void *arg)
{
    limiter_reset_start(failover->reset, buckets, done, arg);
}

bool limiter_failover_keep_reset(struct limiter_failover *failover,
                                 const struct limit_buckets *buckets)
{
    return failover->state != FAILOVER_UP && limiter_reset_keep(failover->reset, buckets);
}

void limiter_failover_leave(struct limiter_failover *failover)
{
    limiter_presence_leave(failover->presence);
}

/* --- life --- */

static void configure(struct limiter_failover *failover, const struct limiter_options *options)
{
    failover->timeout_ms = options->timeout_ms > 0 ? options->timeout_ms : 50;
    failover->breaker_failures = options->breaker_failures > 0 ? options->breaker_failures : 5;
    failover->share = options->fallback_share;
    failover->largest_cost = options->largest_cost > 0 ? options->largest_cost : 1;
    limiter_presence_enable(failover->presence, options->fallback_share == 0);
}

struct limiter_failover *limiter_failover_create(struct loop *loop,
                                                 const struct limiter_options *options,
                                                 struct redis_client *redis,
                                                 struct limit_shared *shared,
                                                 struct metrics_shard *metrics,
                                                 size_t worker_index)
{
    struct limiter_failover *failover = mem_alloc_zero(sizeof(*failover));

    failover->loop = loop;
    failover->shared = shared;
    failover->client = redis;
    failover->metrics = metrics;
    failover->redis = limiter_redis_create(redis, options, metrics);
    failover->ledger = limiter_ledger_create(loop, failover->redis, shared, worker_index);
    failover->presence = limiter_presence_create(loop, failover->redis, shared, worker_index == 0);
    failover->reset = limiter_reset_create(loop, failover->redis);
    TAILQ_INIT(&failover->calls);
    mem_pool_init(&failover->pool, sizeof(struct limiter_call), CALLS_KEPT);
    failover->probe =
        limiter_probe_create(loop, failover->redis, shared->store, on_probed, failover);
    configure(failover, options);
    limit_store_expect(shared->store);
    redis_client_start(redis, &client_handler, failover, limiter_redis_script());
    return failover;
}

void limiter_failover_configure(struct limiter_failover *failover,
                                const struct limiter_options *options)
{
    limiter_redis_configure(failover->redis, options);
    configure(failover, options);
}

void limiter_failover_destroy(struct limiter_failover **failover)
{
    struct limiter_failover *self = *failover;

    if (self == NULL)
        return;
    if (self->state == FAILOVER_UP)
        limit_store_leave(self->shared->store);
    limiter_failover_free_calls(self);
    limiter_probe_destroy(&self->probe);
    limiter_ledger_destroy(&self->ledger);
    limiter_presence_destroy(&self->presence);
    limiter_reset_destroy(&self->reset);
    limiter_redis_destroy(&self->redis);
    for (size_t i = 0; i < LIMITER_FAILOVER_SHARES; i++) {
        if (self->shares[i] != NULL)
            bucket_shape_unref(self->shares[i]);
    }
    mem_pool_clear(&self->pool);
    mem_free(self);
    *failover = NULL;
}
