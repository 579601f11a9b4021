/* SPDX-License-Identifier: MIT */
/*
 * Connections of one worker to its upstream.
 *
 *   (nothing) -> CONNECTING -> SECURING (https) -> LENT <-> IDLE -> CLOSED
 *
 * pool->open_count counts all that are not CLOSED and never exceeds
 * max_connections. A call is either queued, or owns a connection on its way
 * (pooled->call); cancelled, it leaves that connection to whoever is next.
 * Waiting calls are served by a task at the end of the turn, so that nobody is
 * called back inside somebody else's release.
 */
#include "kamiyo/upstream/upstream_pool.h"

#include <assert.h>
#include <string.h>

#include "kamiyo/base/mem.h"
#include "kamiyo/net/loop.h"
#include "kamiyo/observe/metrics.h"
#include "kamiyo/upstream/upstream.h"
#include "kamiyo/upstream/upstream_health.h"

#include "upstream_internal.h"

/* A request that may not be sent twice trusts a connection this long: no server closes so soon
 * (contract section 6). */
#define FRESH_MS 1000

const char *const upstream_outcome_names[UPSTREAM_OUTCOME_COUNT] = {
    [UPSTREAM_CONNECTED] = "connected",           [UPSTREAM_NOT_RESOLVED] = "not_resolved",
    [UPSTREAM_CONNECT_FAILED] = "connect_failed", [UPSTREAM_CONNECT_TIMEOUT] = "connect_timeout",
    [UPSTREAM_QUEUE_TIMEOUT] = "queue_timeout",
};

static struct pooled *pooled_of(struct upstream_connection *connection)
{
    return CONTAINER_OF(connection, struct pooled, connection);
}

/* --- connections --- */

void upstream_pool_count(struct upstream_pool *pool, int change)
{
    pool->open_count = change > 0 ? pool->open_count + 1 : pool->open_count - 1;
    if (pool->metrics != NULL)
        metrics_add(pool->metrics, METRICS_UPSTREAM_CONNECTIONS, change);
}

/* The one exit of a connection, from any state. Its place may be what a waiting call needs. */
void upstream_pool_close_connection(struct pooled *pooled)
{
    struct upstream_connection *connection = &pooled->connection;
    struct upstream_pool *pool = connection->pool;
    struct upstream_endpoint *endpoint = connection->endpoint;

    assert(pooled->call == NULL);
    switch (pooled->state) {
    case POOLED_CONNECTING:
    case POOLED_SECURING:
        TAILQ_REMOVE(&pool->connecting, connection, entry);
        loop_timer_stop(&pooled->deadline);
        endpoint->active_count--;
        break;
    case POOLED_LENT:
        endpoint->active_count--;
        break;
    case POOLED_IDLE:
        TAILQ_REMOVE(&endpoint->idle, connection, entry);
        endpoint->idle_count--;
        pool->idle_count--;
        break;
    case POOLED_CLOSED:
        return;
    }
    pooled->state = POOLED_CLOSED;
    stream_close(&connection->stream);
    upstream_endpoint_unref(&connection->endpoint);
    upstream_pool_count(pool, -1);
    loop_defer(pool->loop, &pooled->free_task);
    if (!TAILQ_EMPTY(&pool->queue))
        loop_defer(pool->loop, &pool->serve_task);
}

/*
 * Bytes that nobody asked for, an end or an error: none of them may meet the next request. Only
 * TLS has words of its own to read (session tickets), behind which no byte stands.
 */
static void on_idle_readable(struct stream *stream, void *arg)
{
    char byte;
    size_t length;

    if (stream->tls == NULL || stream_read(stream, &byte, 1, &length) != STREAM_AGAIN)
        upstream_pool_close_connection(arg);
}

static void on_idle_failed(struct stream *stream, void *arg)
{
    (void)stream;
    upstream_pool_close_connection(arg);
}

/* Nothing is pending while it idles, so nothing drains. */
static const struct stream_handler idle_handler = {on_idle_readable, on_idle_failed,
                                                   on_idle_failed};

void upstream_pool_shelve(struct pooled *pooled)
{
    struct upstream_connection *connection = &pooled->connection;
    struct upstream_endpoint *endpoint = connection->endpoint;
    struct upstream_pool *pool = connection->pool;

    pooled->state = POOLED_IDLE;
    stream_set_handler(&connection->stream, &idle_handler, pooled);
    stream_resume(&connection->stream);
    connection->idle_since_ms = loop_now_ms(pool->loop);
    connection->request_count++; /* also for one that nobody took: it is no longer fresh */
    TAILQ_INSERT_HEAD(&endpoint->idle, connection, entry);
    endpoint->idle_count++;
    pool->idle_count++;
    if (!loop_timer_is_running(&pool->sweep_timer))
        loop_timer_start(pool->loop, &pool->sweep_timer, pool->idle_timeout_ms);
    if (!TAILQ_EMPTY(&pool->queue))
        loop_defer(pool->loop, &pool->serve_task);
}

static bool is_expired(const struct upstream_pool *pool,
                       const struct upstream_connection *connection)
{
    return loop_now_ms(pool->loop) - connection->idle_since_ms >= pool->idle_timeout_ms;
}

/* Expired ones go, at the latest a quarter late; taking one looks at its age itself. */
static void sweep(void *arg)
{
    struct upstream_pool *pool = arg;
    struct upstream_endpoint *endpoint;
    struct upstream_connection *oldest;

    TAILQ_FOREACH (endpoint, upstream_endpoints(pool->upstream), entry) {
        while ((oldest = TAILQ_LAST(&endpoint->idle, upstream_connection_list)) != NULL &&
               is_expired(pool, oldest))
            upstream_pool_close_connection(pooled_of(oldest));
    }
    if (pool->idle_count > 0)
        loop_timer_start(pool->loop, &pool->sweep_timer, pool->idle_timeout_ms / 4 + 1);
}

/* The endpoint's idle connection that was used last and that this query may have, now lent; or
 * NULL. */
static struct upstream_connection *take_idle(struct upstream_pool *pool,
                                             struct upstream_endpoint *endpoint,
                                             const struct upstream_pool_query *query)
{
    struct upstream_connection *connection = TAILQ_FIRST(&endpoint->idle);

    if (connection == NULL || query->needs_new || is_expired(pool, connection))
        return NULL;
    if (!query->may_be_sent_twice &&
        loop_now_ms(pool->loop) - connection->idle_since_ms >= FRESH_MS)
        return NULL;
    TAILQ_REMOVE(&endpoint->idle, connection, entry);
    endpoint->idle_count--;
    pool->idle_count--;
    endpoint->active_count++;
    endpoint->request_count++;
    pooled_of(connection)->state = POOLED_LENT;
    return connection;
}

/* At the limit a connection that is there beats the balance, which would close it for another. */
static struct upstream_connection *take_any_idle(struct upstream_pool *pool,
                                                 const struct upstream_pool_query *query)
{
    struct upstream_endpoint *endpoint;
    struct upstream_connection *connection;

    TAILQ_FOREACH (endpoint, upstream_endpoints(pool->upstream), entry) {
        if (upstream_endpoint_is_ejected(endpoint))
            continue;
        connection = take_idle(pool, endpoint, query);
        if (connection != NULL)
            return connection;
    }
    return NULL;
}

/* Whether one more may be opened; closes the oldest idle one for it if need be. */
static bool make_room(struct upstream_pool *pool)
{
    struct upstream_connection *oldest = NULL;
    struct upstream_endpoint *endpoint;

    if (pool->open_count < pool->max_connections)
        return true;
    TAILQ_FOREACH (endpoint, upstream_endpoints(pool->upstream), entry) {
        struct upstream_connection *last = TAILQ_LAST(&endpoint->idle, upstream_connection_list);

        if (last != NULL && (oldest == NULL || last->idle_since_ms < oldest->idle_since_ms))
            oldest = last;
    }
    if (oldest != NULL)
        upstream_pool_close_connection(pooled_of(oldest));
    return pool->open_count < pool->max_connections;
}

/* --- calls --- */

/* The last thing that happens to a call. */
void upstream_pool_finish(struct upstream_pool_call *call,
                          enum upstream_outcome outcome,
                          struct upstream_connection *connection)
{
    upstream_pool_done_fn *done = call->done;
    void *arg = call->arg;

    assert(call->pooled == NULL && !loop_timer_is_running(&call->deadline));
    mem_free(call);
    done(arg, outcome, connection);
}

static void unqueue(struct upstream_pool_call *call)
{
    TAILQ_REMOVE(&call->pool->queue, call, entry);
    call->pool->queued_count--;
    loop_timer_stop(&call->deadline);
}

static bool has_endpoints(const struct upstream_pool *pool)
{
    return !TAILQ_EMPTY(upstream_endpoints(pool->upstream));
}

static void on_queue_deadline(void *arg)
{
    struct upstream_pool_call *call = arg;
    enum upstream_outcome outcome =
        has_endpoints(call->pool) ? UPSTREAM_QUEUE_TIMEOUT : UPSTREAM_NOT_RESOLVED;

    unqueue(call);
    upstream_pool_finish(call, outcome, NULL);
}

static void enqueue(struct upstream_pool_call *call)
{
    struct upstream_pool *pool = call->pool;

    TAILQ_INSERT_TAIL(&pool->queue, call, entry);
    pool->queued_count++;
    loop_timer_start(pool->loop, &call->deadline,
                     has_endpoints(pool) ? pool->queue_timeout_ms : pool->connect_timeout_ms);
}

static struct upstream_pool_call *create_call(struct upstream_pool *pool,
                                              const struct upstream_pool_query *query,
                                              upstream_pool_done_fn *done,
                                              void *arg)
{
    struct upstream_pool_call *call = mem_alloc_zero(sizeof(*call));

    call->pool = pool;
    call->query = *query;
    call->done = done;
    call->arg = arg;
    loop_timer_init(&call->deadline, on_queue_deadline, call);
    return call;
}

/* --- the queue --- */

/* True: the first waiting call has been dealt with. */
static bool serve_first(struct upstream_pool *pool)
{
    struct upstream_pool_call *call = TAILQ_FIRST(&pool->queue);
    struct upstream_connection *connection = take_any_idle(pool, &call->query);
    struct upstream_endpoint *endpoint;

    if (connection != NULL) {
        unqueue(call);
        upstream_pool_finish(call, UPSTREAM_CONNECTED, connection);
        return true;
    }
    if (!has_endpoints(pool)) {
        if (upstream_is_resolving(pool->upstream))
            return false;
        unqueue(call);
        upstream_pool_finish(call, UPSTREAM_NOT_RESOLVED, NULL);
        return true;
    }
    if (!make_room(pool))
        return false;
    endpoint = upstream_choose(pool->upstream, NULL, 0);
    unqueue(call);
    if (!upstream_dial_start(call, endpoint))
        upstream_pool_finish(call, UPSTREAM_CONNECT_FAILED, NULL);
    return true;
}

static void serve_queue(void *arg)
{
    struct upstream_pool *pool = arg;

    while (!TAILQ_EMPTY(&pool->queue) && serve_first(pool))
        ;
}

static void on_endpoints_change(void *arg)
{
    struct upstream_pool *pool = arg;

    if (!TAILQ_EMPTY(&pool->queue))
        loop_defer(pool->loop, &pool->serve_task);
}

static void on_endpoint_gone(struct upstream_endpoint *endpoint, void *arg)
{
    struct upstream_connection *connection;

    (void)arg;
    while ((connection = TAILQ_FIRST(&endpoint->idle)) != NULL)
        upstream_pool_close_connection(pooled_of(connection));
}

static const struct upstream_handler endpoint_handler = {on_endpoints_change, on_endpoint_gone};

/* --- the borrower's side --- */

enum progress upstream_pool_acquire(struct upstream_pool *pool,
                                    const struct upstream_pool_query *query,
                                    enum upstream_outcome *outcome,
                                    struct upstream_connection **connection,
                                    upstream_pool_done_fn *done,
                                    void *arg,
                                    struct upstream_pool_call **call_pointer)
{
    struct upstream_endpoint *endpoint = NULL;
    struct upstream_connection *taken = NULL;
    struct upstream_pool_call *call;
    bool must_wait = !TAILQ_EMPTY(&pool->queue); /* who came first goes first */

    if (!must_wait) {
        endpoint = upstream_choose(pool->upstream, NULL, 0);
        if (endpoint == NULL && !upstream_is_resolving(pool->upstream)) {
            *outcome = UPSTREAM_NOT_RESOLVED;
            return PROGRESS_DONE;
        }
        if (endpoint != NULL)
            taken = take_idle(pool, endpoint, query);
        if (taken == NULL && pool->open_count >= pool->max_connections)
            taken = take_any_idle(pool, query);
        if (taken != NULL) {
            *outcome = UPSTREAM_CONNECTED;
            *connection = taken;
            return PROGRESS_DONE;
        }
        must_wait = endpoint == NULL || !make_room(pool);
    }
    call = create_call(pool, query, done, arg);
    if (must_wait) {
        enqueue(call);
    } else if (!upstream_dial_start(call, endpoint)) {
        mem_free(call);
        *outcome = UPSTREAM_CONNECT_FAILED;
        return PROGRESS_DONE;
    }
    *call_pointer = call;
    return PROGRESS_PENDING;
}

void upstream_pool_cancel(struct upstream_pool_call **call_pointer)
{
    struct upstream_pool_call *call = *call_pointer;

    if (call == NULL)
        return;
    *call_pointer = NULL;
    if (call->pooled != NULL)
        call->pooled->call = NULL;
    else
        unqueue(call);
    mem_free(call);
}

void upstream_pool_release(struct upstream_connection **connection_pointer,
                           enum upstream_release release)
{
    struct upstream_connection *connection = *connection_pointer;
    struct upstream_pool *pool;
    const struct stream *stream;

    if (connection == NULL)
        return;
    *connection_pointer = NULL;
    assert(pooled_of(connection)->state == POOLED_LENT);
    pool = connection->pool;
    stream = &connection->stream;
    if (release == UPSTREAM_CLOSE || connection->endpoint->source == NULL ||
        !stream_is_open(stream) || stream->is_shut || stream_pending(stream) > 0 ||
        pool->open_count > pool->max_connections) {
        upstream_pool_close_connection(pooled_of(connection));
        return;
    }
    connection->endpoint->active_count--;
    upstream_pool_shelve(pooled_of(connection));
}

void upstream_pool_report(struct upstream_connection *connection, bool is_ok)
{
    upstream_endpoint_report(connection->endpoint, is_ok);
}

struct slice upstream_pool_host(const struct upstream_pool *pool)
{
    return upstream_authority(pool->upstream);
}

size_t upstream_pool_endpoints(const struct upstream_pool *pool,
                               struct upstream_endpoint_status *endpoints,
                               size_t capacity)
{
    const struct upstream_endpoint *endpoint;
    size_t count = 0;

    TAILQ_FOREACH (endpoint, upstream_endpoints(pool->upstream), entry) {
        if (count < capacity) {
            struct upstream_endpoint_status *status = &endpoints[count];

            (void)addr_endpoint_format(&endpoint->at, status->name); /* it is terminated */
            status->is_ejected = upstream_endpoint_is_ejected(endpoint);
            status->connection_count = endpoint->idle_count + endpoint->active_count;
            status->request_count = endpoint->request_count;
            status->failure_count = endpoint->failure_count;
        }
        count++;
    }
    return count;
}

/* --- making, changing and ending --- */

static void take_options(struct upstream_pool *pool, const struct upstream_options *options)
{
    pool->max_connections = options->max_connections > 0 ? (size_t)options->max_connections : 1;
    pool->connect_timeout_ms = options->connect_timeout_ms;
    pool->idle_timeout_ms = options->idle_timeout_ms;
    pool->queue_timeout_ms = options->queue_timeout_ms;
    upstream_health_destroy(&pool->health);
    if (options->health_path != NULL && options->health_path[0] != '\0')
        pool->health = upstream_health_create(pool->loop, pool->upstream, options->health_path,
                                              options->health_interval_ms);
    if (!TAILQ_EMPTY(&pool->queue))
        loop_defer(pool->loop, &pool->serve_task);
}

struct upstream_pool *upstream_pool_create(struct loop *loop,
                                           struct resolver *resolver,
                                           const struct upstream_options *options,
                                           struct metrics_shard *metrics,
                                           struct error *error)
{
    struct upstream_pool *pool = mem_alloc_zero(sizeof(*pool));

    pool->loop = loop;
    pool->metrics = metrics;
    TAILQ_INIT(&pool->queue);
    TAILQ_INIT(&pool->connecting);
    loop_task_init(&pool->serve_task, serve_queue, pool);
    loop_timer_init(&pool->sweep_timer, sweep, pool);
    pool->upstream = upstream_create(loop, resolver, options, &endpoint_handler, pool, error);
    if (pool->upstream == NULL) {
        mem_free(pool);
        return NULL;
    }
    take_options(pool, options);
    return pool;
}

bool upstream_pool_configure(struct upstream_pool *pool,
                             const struct upstream_options *options,
                             struct error *error)
{
    if (!upstream_configure(pool->upstream, options, error))
        return false;
    take_options(pool, options);
    return true;
}

void upstream_pool_destroy(struct upstream_pool **pool_pointer)
{
    struct upstream_pool *pool = *pool_pointer;
    struct upstream_connection *connection;

    if (pool == NULL)
        return;
    *pool_pointer = NULL;
    assert(TAILQ_EMPTY(&pool->queue));
    while ((connection = TAILQ_FIRST(&pool->connecting)) != NULL)
        upstream_pool_close_connection(
            pooled_of(connection)); /* asserts that no call waits for it */
    upstream_health_destroy(&pool->health);
    upstream_destroy(&pool->upstream); /* on_endpoint_gone closes what idles */
    assert(pool->open_count == 0);
    loop_task_cancel(pool->loop, &pool->serve_task);
    loop_timer_stop(&pool->sweep_timer);
    mem_free(pool);
}
