/* SPDX-License-Identifier: MIT */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/queue.h>

#include "kamiyo/base/attributes.h"
#include "kamiyo/net/loop.h"
#include "kamiyo/upstream/upstream.h"
#include "kamiyo/upstream/upstream_pool.h"

/*
 * Between upstream_pool.c, which owns connections and calls, and
 * upstream_dial.c, which opens a connection for a call.
 */

/* So many endpoints are tried for one call before it fails. */
#define UPSTREAM_MOST_TRIES 4

enum pooled_state {
    POOLED_CONNECTING,
    POOLED_SECURING,
    POOLED_LENT,
    POOLED_IDLE,
    POOLED_CLOSED
};

/* What stands around each connection that is lent out. */
struct pooled {
    struct upstream_connection connection;
    enum pooled_state state;
    struct upstream_pool_call *call; /* whom it is on its way to; NULL = nobody any more */
    struct loop_timer deadline;      /* of connecting */
    struct loop_task free_task;
};

struct upstream_pool_call {
    TAILQ_ENTRY(upstream_pool_call) entry; /* while queued */
    struct upstream_pool *pool;
    struct upstream_pool_query query;
    upstream_pool_done_fn *done;
    void *arg;
    struct pooled *pooled;                                /* NULL = queued */
    struct loop_timer deadline;                           /* of waiting in the queue */
    struct upstream_endpoint *tried[UPSTREAM_MOST_TRIES]; /* only compared, never followed */
    size_t tried_count;
};

TAILQ_HEAD(upstream_pool_call_list, upstream_pool_call);

struct upstream_pool {
    struct loop *loop;
    struct metrics_shard *metrics; /* may be NULL, in tests */
    struct upstream *upstream;
    struct upstream_health *health; /* NULL = passive only */
    struct upstream_pool_call_list queue;
    struct upstream_connection_list connecting;
    size_t open_count;
    size_t idle_count;
    size_t queued_count;
    struct loop_task serve_task;
    struct loop_timer sweep_timer;
    size_t max_connections;
    int64_t connect_timeout_ms;
    int64_t idle_timeout_ms;
    int64_t queue_timeout_ms;
};

/*
 * Begin to connect to `endpoint`, or to another while one refuses at once. True: the call has a
 * connection on its way and will be finished. False: none is left to try, the call is untouched
 * otherwise. There must be room for one more connection.
 */
bool upstream_dial_start(struct upstream_pool_call *call,
                         struct upstream_endpoint *endpoint) MUST_CHECK;

/* A connection counts from when it begins to connect until upstream_pool_close_connection. */
void upstream_pool_count(struct upstream_pool *pool, int change);
/* The one exit of a connection, from any state; no call waits for it any more. */
void upstream_pool_close_connection(struct pooled *pooled);
/* A connection that nobody has is kept for the next. */
void upstream_pool_shelve(struct pooled *pooled);
/* Call back and free the call: it is not queued and has no connection on its way. */
void upstream_pool_finish(struct upstream_pool_call *call,
                          enum upstream_outcome outcome,
                          struct upstream_connection *connection);
