/* SPDX-License-Identifier: MIT */
/*
 * The front of the limiter, one a worker. It makes key and shape ready, answers from the memory of
 * denials, and decides from the table when no Redis is configured; with one, limiter_failover.c
 * decides between the two. A decision made here takes no allocation and no system call.
 *
 *   limiter_check ─► denied a moment ago? ─► failover (Redis, or the table) ─► decision
 *                 └► no Redis: the table ─► decision
 */
#include "kamiyo/limit/limiter.h"

#include <string.h>
#include <sys/queue.h>

#include "kamiyo/base/attributes.h"
#include "kamiyo/base/mem.h"
#include "kamiyo/limit/bucket_table.h"
#include "kamiyo/limit/limiter_shared.h"
#include "kamiyo/net/loop.h"

#include "limit_internal.h"

/* Shapes that a worker keeps at hand: more policies than this take turns, at the price of a lock.
 */
#define SHAPE_PLACES 64
/* A shard's turn at the sweep, and the slots looked at in it: the whole table in a minute or so, 20
 * us at a time. */
#define SWEEP_INTERVAL_MS 1000
#define SWEEP_SLOTS       512
#define SWEEP_TURNS       64

struct limiter {
    struct loop *loop;
    struct limit_shared *shared;
    struct limiter_failover *failover; /* NULL = in-process */
    struct loop_timer sweep_timer;
    size_t worker_index;
    size_t sweep_shard; /* counts this worker's shards */
    size_t sweep_cursor;
    struct bucket_shape *shapes[SHAPE_PLACES]; /* by the policy's address; each with a reference */
    LIST_HEAD(, reset) resets;
};

/* A reset on its way: the answer comes later, as the header says, also when there is nothing to
 * ask. */
struct reset {
    LIST_ENTRY(reset) entry;
    struct limiter *limiter;
    struct loop_task task;
    limiter_reset_fn *done;
    void *arg;
    int64_t deleted;
    size_t count;
    struct bucket_key keys[]; /* with their bytes in `joined` */
};

/* This worker's shards, one after another; what is left of the time goes to the next second. */
static void sweep(void *arg)
{
    struct limiter *limiter = arg;
    size_t shard_count = bucket_table_shard_count(limiter->shared->table);

    for (int turn = 0; turn < SWEEP_TURNS; turn++) {
        size_t shard = limiter->worker_index + limiter->sweep_shard * limiter->shared->worker_count;

        if (shard >= shard_count) {
            limiter->sweep_shard = 0;
            break;
        }
        (void)bucket_table_sweep(limiter->shared->table, shard, &limiter->sweep_cursor, SWEEP_SLOTS,
                                 loop_now_ms(limiter->loop));
        if (limiter->sweep_cursor == 0)
            limiter->sweep_shard++;
    }
    loop_timer_start(limiter->loop, &limiter->sweep_timer, SWEEP_INTERVAL_MS);
}

struct limiter *limiter_create(struct loop *loop,
                               const struct limiter_options *options,
                               struct redis_client *redis,
                               struct limit_shared *shared,
                               struct metrics_shard *metrics,
                               size_t worker_index)
{
    struct limiter *limiter = mem_alloc_zero(sizeof(*limiter));

    limiter->loop = loop;
    limiter->shared = shared;
    limiter->worker_index = worker_index;
    if (redis != NULL)
        limiter->failover =
            limiter_failover_create(loop, options, redis, shared, metrics, worker_index);
    loop_timer_init(&limiter->sweep_timer, sweep, limiter);
    loop_timer_start(loop, &limiter->sweep_timer, SWEEP_INTERVAL_MS);
    return limiter;
}

void limiter_destroy(struct limiter **limiter)
{
    struct reset *reset;

    if (*limiter == NULL)
        return;
    limiter_failover_destroy(&(*limiter)->failover);
    loop_timer_stop(&(*limiter)->sweep_timer);
    while ((reset = LIST_FIRST(&(*limiter)->resets)) != NULL) {
        LIST_REMOVE(reset, entry);
        loop_task_cancel((*limiter)->loop, &reset->task);
        mem_free(reset);
    }
    for (size_t i = 0; i < SHAPE_PLACES; i++)
        if ((*limiter)->shapes[i] != NULL)
            bucket_shape_unref((*limiter)->shapes[i]);
    mem_free(*limiter);
    *limiter = NULL;
}

void limiter_leave(struct limiter *limiter)
{
    if (limiter->failover != NULL)
        limiter_failover_leave(limiter->failover);
}

void limiter_configure(struct limiter *limiter, const struct limiter_options *options)
{
    bucket_table_set_memory(limiter->shared->table, options->memory_bytes);
    if (limiter->failover != NULL)
        limiter_failover_configure(limiter->failover, options);
}

/* The policy's address finds the place, its contents confirm: after a reload another may live
 * there. */
static struct bucket_shape *shape_of(struct limiter *limiter, const struct limit_policy *policy)
{
    struct bucket_shape **place = &limiter->shapes[((uintptr_t)policy >> 4) % SHAPE_PLACES];

    if (LIKELY(*place != NULL && bucket_shape_is(*place, policy, 1, 0)))
        return *place;
    if (*place != NULL)
        bucket_shape_unref(*place);
    *place = bucket_shapes_ref(bucket_table_shapes(limiter->shared->table), policy, 1, 0);
    return *place;
}

static struct limit_ask
ask_of(struct limiter *limiter, const struct limit_query *query, struct bucket_key *key)
{
    bucket_table_key(limiter->shared->table, query->key, query->route, key);
    return (struct limit_ask){.query = query,
                              .key = key,
                              .shape = shape_of(limiter, query->policy),
                              .now_ms = loop_now_ms(limiter->loop)};
}

enum progress limiter_check(struct limiter *limiter,
                            const struct limit_query *query,
                            struct limit_decision *decision,
                            limiter_done_fn *done,
                            void *arg,
                            struct limiter_call **call)
{
    struct bucket_table *table = limiter->shared->table;
    struct bucket_key key;
    struct limit_ask ask = ask_of(limiter, query, &key);

    if (limiter->failover == NULL) {
        (void)bucket_table_take(table, &key, ask.shape, query->cost, ask.now_ms, BUCKET_LEDGER_NONE,
                                decision);
        decision->mode = LIMIT_MODE_MEMORY;
        return PROGRESS_DONE;
    }
    if (bucket_table_is_denied(table, &key, ask.shape, query->cost, ask.now_ms, decision)) {
        decision->mode = LIMIT_MODE_CACHED;
        return PROGRESS_DONE;
    }
    return limiter_failover_check(limiter->failover, &ask, decision, done, arg, call);
}

void limiter_cancel(struct limiter_call **call)
{
    if (call != NULL && *call != NULL)
        limiter_failover_cancel(call);
}

/* Charges and refunds: `tokens` to be taken. */
static void adjust(struct limiter *limiter, const struct limit_query *query, int64_t tokens)
{
    struct bucket_key key;
    struct limit_ask ask = ask_of(limiter, query, &key);

    if (limiter->failover != NULL)
        limiter_failover_adjust(limiter->failover, &ask, tokens);
    else
        bucket_table_adjust(limiter->shared->table, &key, ask.shape, tokens, ask.now_ms,
                            BUCKET_LEDGER_NONE);
    if (tokens < 0)
        bucket_table_forget_denial(limiter->shared->table, &key);
}

void limiter_charge(struct limiter *limiter, const struct limit_query *query)
{
    adjust(limiter, query, query->cost);
}

void limiter_refund(struct limiter *limiter, const struct limit_query *query)
{
    adjust(limiter, query, -query->cost);
}

void limiter_check_local(struct limiter *limiter,
                         const struct limit_query *query,
                         struct limit_decision *decision)
{
    struct bucket_key key;
    struct limit_ask ask = ask_of(limiter, query, &key);

    (void)bucket_table_take(limiter->shared->table, &key, ask.shape, query->cost, ask.now_ms,
                            BUCKET_LEDGER_NONE, decision);
    decision->mode = LIMIT_MODE_MEMORY;
}

void limiter_peek_local(struct limiter *limiter,
                        const struct limit_query *query,
                        struct limit_decision *decision)
{
    struct bucket_key key;
    struct limit_ask ask = ask_of(limiter, query, &key);

    (void)bucket_table_peek(limiter->shared->table, &key, ask.shape, query->cost, ask.now_ms,
                            BUCKET_VIEW_PRESENT, decision);
    decision->mode = LIMIT_MODE_MEMORY;
}

enum progress limiter_peek(struct limiter *limiter,
                           const struct limit_query *query,
                           struct limit_decision *decision,
                           limiter_done_fn *done,
                           void *arg,
                           struct limiter_call **call)
{
    struct bucket_key key;
    struct limit_ask ask;

    if (limiter->failover == NULL) {
        limiter_peek_local(limiter, query, decision);
        return PROGRESS_DONE;
    }
    ask = ask_of(limiter, query, &key);
    return limiter_failover_peek(limiter->failover, &ask, decision, done, arg, call);
}

enum progress limiter_rehearse(struct limiter *limiter,
                               const struct limit_query *query,
                               struct limit_decision *decision,
                               limiter_done_fn *done,
                               void *arg,
                               struct limiter_call **call)
{
    struct bucket_table *table = limiter->shared->table;
    struct bucket_key key;
    struct limit_ask ask = ask_of(limiter, query, &key);

    ask.is_rehearsal = true;
    if (limiter->failover == NULL) {
        (void)bucket_table_peek(table, &key, ask.shape, query->cost, ask.now_ms,
                                BUCKET_VIEW_CHARGED, decision);
        decision->mode = LIMIT_MODE_MEMORY;
        return PROGRESS_DONE;
    }
    if (bucket_table_is_denied(table, &key, ask.shape, query->cost, ask.now_ms, decision)) {
        decision->mode = LIMIT_MODE_CACHED;
        return PROGRESS_DONE;
    }
    return limiter_failover_peek(limiter->failover, &ask, decision, done, arg, call);
}

/* From the table; how many buckets there were. */
static int64_t forget(struct reset *reset)
{
    int64_t deleted = 0;

    for (size_t i = 0; i < reset->count; i++)
        deleted += bucket_table_reset(reset->limiter->shared->table, &reset->keys[i]);
    return deleted;
}

static void answer_reset(void *arg)
{
    struct reset *reset = arg;
    limiter_reset_fn *done = reset->done;
    void *done_arg = reset->arg;
    int64_t deleted = reset->deleted;

    LIST_REMOVE(reset, entry);
    mem_free(reset);
    done(done_arg, deleted);
}

/* Until now another worker may have been told of what is no longer there, and remembers it. */
static void on_store_reset(void *arg, int64_t deleted)
{
    struct reset *reset = arg;

    reset->deleted = deleted;
    if (deleted >= 0)
        (void)forget(reset); /* the store has counted */
    answer_reset(reset);
}

static struct reset *make_reset(struct limiter *limiter, const struct limit_buckets *buckets)
{
    size_t count = buckets->route_count + 1;
    struct reset *reset = mem_alloc_zero(sizeof(*reset) + count * sizeof(reset->keys[0]));

    reset->limiter = limiter;
    reset->count = count;
    for (size_t i = 0; i < count; i++) {
        struct bucket_key *key = &reset->keys[i];
        struct slice none = {NULL, 0};

        bucket_table_key(limiter->shared->table, buckets->key,
                         i < buckets->route_count ? buckets->routes[i] : none, key);
        if (key->data != key->joined)
            memcpy(key->joined, key->data, key->length);
        key->data = key->joined;
    }
    loop_task_init(&reset->task, answer_reset, reset);
    LIST_INSERT_HEAD(&limiter->resets, reset, entry);
    return reset;
}

void limiter_reset(struct limiter *limiter,
                   const struct limit_buckets *buckets,
                   limiter_reset_fn *done,
                   void *arg)
{
    struct reset *reset = make_reset(limiter, buckets);

    reset->done = done;
    reset->arg = arg;
    reset->deleted = forget(reset);
    if (limiter->failover != NULL && !limiter_failover_keep_reset(limiter->failover, buckets))
        limiter_failover_reset(limiter->failover, buckets, on_store_reset, reset);
    else
        loop_defer(limiter->loop, &reset->task);
}
