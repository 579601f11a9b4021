/* SPDX-License-Identifier: MIT */
/*
 * Connecting for a call of the pool: TCP or unix, then TLS where the URL says
 * so, under one deadline. Where an endpoint refuses, the next is tried; one
 * that stays silent takes the call's time with it. A connection whose call was
 * cancelled goes on, for whoever comes next.
 */
#include "kamiyo/base/mem.h"

#include "upstream_internal.h"

static void free_pooled(void *arg)
{
    mem_free(arg);
}

static void on_connected(struct stream *stream, void *arg);
static void on_connect_failed(struct stream *stream, void *arg);
static void on_connect_deadline(void *arg);

/* Nothing is expected of it yet: what a server says unasked is taken for a fault when it idles. */
static void on_early_bytes(struct stream *stream, void *arg)
{
    (void)arg;
    stream_pause(stream);
}

static const struct stream_handler connect_handler = {on_early_bytes, on_connected,
                                                      on_connect_failed};

static bool open_connection(struct upstream_pool_call *call, struct upstream_endpoint *endpoint)
{
    struct upstream_pool *pool = call->pool;
    struct pooled *pooled = mem_alloc_zero(sizeof(*pooled));
    struct upstream_connection *connection = &pooled->connection;
    struct error error;

    if (!stream_connect(&connection->stream, pool->loop, &endpoint->at, &connect_handler, pooled,
                        &error)) {
        mem_free(pooled);
        upstream_endpoint_report(endpoint, false);
        return false;
    }
    connection->pool = pool;
    connection->endpoint = upstream_endpoint_ref(endpoint);
    pooled->state = POOLED_CONNECTING;
    pooled->call = call;
    call->pooled = pooled;
    loop_timer_init(&pooled->deadline, on_connect_deadline, pooled);
    loop_task_init(&pooled->free_task, free_pooled, pooled);
    loop_timer_start(pool->loop, &pooled->deadline, pool->connect_timeout_ms);
    TAILQ_INSERT_TAIL(&pool->connecting, connection, entry);
    endpoint->active_count++;
    upstream_pool_count(pool, 1);
    return true;
}

bool upstream_dial_start(struct upstream_pool_call *call, struct upstream_endpoint *endpoint)
{
    while (endpoint != NULL) {
        call->tried[call->tried_count++] = endpoint;
        if (open_connection(call, endpoint))
            return true;
        if (call->tried_count == UPSTREAM_MOST_TRIES)
            return false;
        endpoint = upstream_choose(call->pool->upstream, call->tried, call->tried_count);
    }
    return false;
}

static struct upstream_pool_call *detach_call(struct pooled *pooled)
{
    struct upstream_pool_call *call = pooled->call;

    pooled->call = NULL;
    if (call != NULL)
        call->pooled = NULL;
    return call;
}

static void fail_connection(struct pooled *pooled, enum upstream_outcome outcome)
{
    struct upstream_pool_call *call = detach_call(pooled);
    struct upstream_pool *pool = pooled->connection.pool;
    struct upstream_endpoint *next = NULL;

    upstream_endpoint_report(pooled->connection.endpoint, false);
    upstream_pool_close_connection(pooled);
    if (call == NULL)
        return;
    if (outcome == UPSTREAM_CONNECT_FAILED && call->tried_count < UPSTREAM_MOST_TRIES)
        next = upstream_choose(pool->upstream, call->tried, call->tried_count);
    if (!upstream_dial_start(call, next))
        upstream_pool_finish(call, outcome, NULL);
}

static void on_connect_failed(struct stream *stream, void *arg)
{
    (void)stream;
    fail_connection(arg, UPSTREAM_CONNECT_FAILED);
}

static void on_connect_deadline(void *arg)
{
    fail_connection(arg, UPSTREAM_CONNECT_TIMEOUT);
}

/* Connected, or encrypted. */
static void on_connected(struct stream *stream, void *arg)
{
    struct pooled *pooled = arg;
    struct upstream_connection *connection = &pooled->connection;
    struct upstream_endpoint *endpoint = connection->endpoint;
    struct upstream_pool *pool = connection->pool;
    struct upstream_pool_call *call;
    struct error error;

    if (endpoint->source == NULL) { /* gone while we connected */
        fail_connection(pooled, UPSTREAM_CONNECT_FAILED);
        return;
    }
    if (pooled->state == POOLED_CONNECTING && upstream_endpoint_is_tls(endpoint)) {
        struct ssl_st *tls = upstream_endpoint_new_tls(endpoint, &error);

        pooled->state = POOLED_SECURING;
        if (tls == NULL)
            fail_connection(pooled, UPSTREAM_CONNECT_FAILED);
        else
            stream_start_tls(stream, tls);
        return;
    }
    loop_timer_stop(&pooled->deadline);
    TAILQ_REMOVE(&pool->connecting, connection, entry);
    call = detach_call(pooled);
    if (call == NULL) { /* cancelled: for the next in the queue, or for later */
        endpoint->active_count--;
        upstream_pool_shelve(pooled);
        return;
    }
    pooled->state = POOLED_LENT;
    endpoint->request_count++;
    stream_resume(stream);
    upstream_pool_finish(call, UPSTREAM_CONNECTED, connection);
}
