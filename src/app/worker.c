/* SPDX-License-Identifier: MIT */
/*
 * A worker wires the rooms together for one thread. It is built on the control
 * thread before its own thread runs; from then on everything in it is touched
 * on its own loop only, and commands reach it as posted records that carry
 * references of their own.
 */
#include "kamiyo/app/worker.h"

#include <errno.h>
#include <pthread.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "kamiyo/app/explain.h"
#include "kamiyo/base/log.h"
#include "kamiyo/base/mem.h"
#include "kamiyo/base/text.h"
#include "kamiyo/limit/limiter.h"
#include "kamiyo/limit/limiter_shared.h"
#include "kamiyo/observe/access_log.h"
#include "kamiyo/observe/denials.h"
#include "kamiyo/observe/metrics.h"
#include "kamiyo/proxy/proxy.h"
#include "kamiyo/redis/redis_client.h"
#include "kamiyo/redis/redis_key_source.h"
#include "kamiyo/upstream/upstream_pool.h"

enum {
    MAX_LISTENERS = 16,
    DRAIN_POLL_MS = 5
};

struct worker_door {
    struct listener *listener;
    struct worker *worker;
    bool speaks_proxy_protocol;
};

struct worker {
    size_t index;
    struct worker_shared *shared;
    struct snapshot *snapshot;
    struct loop *loop;
    struct redis_client *redis;    /* NULL = none configured */
    struct redis_key_source *keys; /* over it; NULL as it */
    struct limiter *limiter;
    struct identity_chain *identity;
    struct doctor *doctor;
    struct denials *denials;
    struct upstream_pool *upstreams;
    struct proxy *proxy;
    struct worker_door doors[MAX_LISTENERS];
    size_t door_count;
    struct loop_timer drain_timer;
    struct loop *drain_to;
    loop_task_fn *drain_done;
    void *drain_arg;
    pthread_t thread;
    bool has_thread;
};

/* ---- the budget of keys and tokens that do not verify, over the local table */

enum {
    FAILURE_KEY_SIZE = LIMIT_MAX_KEY_BYTES + 16
};

static struct limit_query
failure_query(struct worker *worker, struct slice key, char memory[FAILURE_KEY_SIZE])
{
    struct text text;
    text_init(&text, memory, FAILURE_KEY_SIZE);
    text_append(&text, SLICE("failures:"));
    text_append(&text, key);
    return (struct limit_query){
        .key = text_slice(&text),
        .policy = &worker->snapshot->config->identity.failures,
        .cost = 1,
    };
}

static bool failures_spent(void *arg, struct slice key, int64_t *wait_ms, int64_t *limit)
{
    struct worker *worker = arg;
    struct limit_decision decision;
    char memory[FAILURE_KEY_SIZE];
    struct limit_query query = failure_query(worker, key, memory);
    if (query.policy->window_count == 0)
        return false;
    limiter_peek_local(worker->limiter, &query, &decision);
    if (decision.outcome != LIMIT_DENIED)
        return false;
    *wait_ms = decision.wait_ms;
    *limit = decision.levels[decision.binding].capacity;
    return true;
}

static void failures_charge(void *arg, struct slice key)
{
    struct worker *worker = arg;
    struct limit_decision decision;
    char memory[FAILURE_KEY_SIZE];
    struct limit_query query = failure_query(worker, key, memory);
    metrics_add(metrics_shard(worker->shared->metrics, worker->index), METRICS_IDENTITY_FAILURES,
                1);
    if (query.policy->window_count > 0)
        limiter_check_local(worker->limiter, &query, &decision);
}

/* ---- making */

static struct proxy_settings settings_of(const struct config *config)
{
    return (struct proxy_settings){
        .client = &config->client,
        .reply = &config->responses,
        .client_ip = &config->client_ip,
        .identity = &config->identity,
        .upstream = &config->upstream,
    };
}

static void make_proxy(struct worker *worker)
{
    struct worker_shared *shared = worker->shared;
    const struct proxy_parts parts = {
        .loop = worker->loop,
        .routes = worker->snapshot->routes,
        .identity = worker->identity,
        .limiter = worker->limiter,
        .concurrency = shared->concurrency,
        .upstreams = worker->upstreams,
        .metrics = metrics_shard(shared->metrics, worker->index),
        .access_log =
            shared->access_log != NULL ? access_log_shard(shared->access_log, worker->index) : NULL,
        .denials = worker->denials,
        .doctor = worker->doctor,
        .connection_limit = &shared->connections,
    };
    const struct proxy_settings settings = settings_of(worker->snapshot->config);
    worker->proxy = proxy_create(&parts, &settings);
}

/* A share of a bucket must hold what the dearest route takes at once; the routes know. */
static struct limiter_options limiter_options_of(const struct config *config)
{
    struct limiter_options options = config->limiter;
    options.largest_cost = 1;
    for (size_t i = 0; i < config->routes.route_count; i++) {
        const struct route_options *route = &config->routes.routes[i];
        if (!route->is_exempt && route->cost > options.largest_cost)
            options.largest_cost = route->cost;
    }
    return options;
}

static void on_drain_poll(void *arg);

struct worker *worker_create(size_t index,
                             struct worker_shared *shared,
                             struct snapshot *snapshot,
                             struct error *error)
{
    const struct config *config = snapshot->config;
    struct worker *worker = mem_alloc_zero(sizeof(*worker));
    worker->index = index;
    worker->shared = shared;
    worker->snapshot = snapshot_ref(snapshot);
    worker->loop = loop_create();
    if (worker->loop == NULL) {
        error_set(error, "cannot make an event loop: %s", strerror(errno));
        goto fail;
    }
    struct metrics_shard *metrics = metrics_shard(shared->metrics, index);
    if (shared->redis != NULL) {
        char name[32];
        (void)snprintf(name, sizeof(name), "kamiyo-gateway-%zu", index); /* fits */
        worker->redis = redis_client_create(worker->loop, shared->redis, name);
        worker->keys = redis_key_source_create(worker->redis, config->identity.api_key.redis_prefix,
                                               config->limiter.timeout_ms);
    }
    const struct limiter_options limiter_options = limiter_options_of(config);
    worker->limiter = limiter_create(worker->loop, &limiter_options, worker->redis, shared->limits,
                                     metrics, index);
    const struct identity_budget budget = {failures_spent, failures_charge, worker};
    worker->identity = identity_chain_create(snapshot->identity,
                                             redis_key_source_as_source(worker->keys), &budget);
    worker->doctor = doctor_create(&shared->doctor);
    worker->denials = denials_create();
    worker->upstreams =
        upstream_pool_create(worker->loop, shared->resolver, &config->upstream, metrics, error);
    if (worker->upstreams == NULL)
        goto fail;
    make_proxy(worker);
    loop_timer_init(&worker->drain_timer, on_drain_poll, worker);
    return worker;
fail:
    worker_destroy(&worker);
    return NULL;
}

/* ---- running */

static void *run(void *arg)
{
    struct worker *worker = arg;
    char name[16];
    snprintf(name, sizeof(name), "worker-%zu", worker->index % 1000);
    pthread_setname_np(pthread_self(), name);
    loop_run(worker->loop);
    return NULL;
}

bool worker_start(struct worker *worker, struct error *error)
{
    int code = pthread_create(&worker->thread, NULL, run, worker);
    if (code != 0) {
        error_set(error, "cannot start a thread: %s", strerror(code));
        return false;
    }
    worker->has_thread = true;
    return true;
}

void worker_post(struct worker *worker, loop_task_fn *run_fn, void *arg)
{
    loop_post(worker->loop, run_fn, arg);
}

struct limiter *worker_limiter(struct worker *worker)
{
    return worker->limiter;
}

size_t worker_list_denied(struct worker *worker, struct denials_client *clients, size_t max)
{
    return denials_top(worker->denials, loop_now(worker->loop)->monotonic_us, clients, max);
}

size_t
worker_list_endpoints(struct worker *worker, struct upstream_endpoint_status *endpoints, size_t max)
{
    size_t count = upstream_pool_endpoints(worker->upstreams, endpoints, max);
    return count < max ? count : max;
}

void worker_bring_parts(struct worker *worker, struct explain_parts *parts)
{
    *parts = (struct explain_parts){
        .snapshot = worker->snapshot,
        .identity = worker->identity,
        .limiter = worker->limiter,
        .concurrency = worker->shared->concurrency,
        .now = *loop_now(worker->loop),
    };
}

/* ---- commands, as records that travel to the worker's loop */

struct listen_order {
    struct worker *worker;
    size_t count;
    struct worker_listen listens[MAX_LISTENERS];
};

static void on_accept(void *arg, int fd, const struct addr *peer)
{
    struct worker_door *door = arg;
    proxy_accept(door->worker->proxy, fd, peer, door->speaks_proxy_protocol);
}

static void run_listen(void *arg)
{
    struct listen_order *order = arg;
    struct worker *worker = order->worker;
    for (size_t i = 0; i < order->count; i++) {
        struct worker_door *door = &worker->doors[worker->door_count++];
        door->worker = worker;
        door->speaks_proxy_protocol = order->listens[i].speaks_proxy_protocol;
        door->listener = listener_create(worker->loop, order->listens[i].fd,
                                         &worker->shared->connections, on_accept, door);
    }
    mem_free(order);
}

static void drop_listen(void *arg)
{
    struct listen_order *order = arg;
    for (size_t i = 0; i < order->count; i++)
        close(order->listens[i].fd);
    mem_free(order);
}

void worker_listen(struct worker *worker, const struct worker_listen *listens, size_t count)
{
    struct listen_order *order = mem_alloc_zero(sizeof(*order));
    order->worker = worker;
    order->count = count < MAX_LISTENERS ? count : MAX_LISTENERS;
    memcpy(order->listens, listens, order->count * sizeof(listens[0]));
    loop_post_or_drop(worker->loop, run_listen, drop_listen, order);
}

struct configure_order {
    struct worker *worker;
    struct snapshot *snapshot; /* a reference of its own */
};

static void run_configure(void *arg)
{
    struct configure_order *order = arg;
    struct worker *worker = order->worker;
    struct snapshot *former = worker->snapshot;
    const struct config *config = order->snapshot->config;
    const struct proxy_settings settings = settings_of(config);
    struct error error = {{0}};
    worker->snapshot = order->snapshot;
    const struct limiter_options limiter_options = limiter_options_of(config);
    limiter_configure(worker->limiter, &limiter_options);
    if (worker->keys != NULL)
        redis_key_source_configure(worker->keys, config->identity.api_key.redis_prefix,
                                   config->limiter.timeout_ms);
    identity_chain_configure(worker->identity, order->snapshot->identity,
                             redis_key_source_as_source(worker->keys));
    if (!upstream_pool_configure(worker->upstreams, &config->upstream, &error))
        log_warning("Upstream settings kept: %s", error.text);
    proxy_configure(worker->proxy, &settings, order->snapshot->routes);
    snapshot_unref(&former);
    mem_free(order);
}

static void drop_configure(void *arg)
{
    struct configure_order *order = arg;
    snapshot_unref(&order->snapshot);
    mem_free(order);
}

void worker_configure(struct worker *worker, struct snapshot *snapshot)
{
    struct configure_order *order = mem_alloc_zero(sizeof(*order));
    order->worker = worker;
    order->snapshot = snapshot_ref(snapshot);
    loop_post_or_drop(worker->loop, run_configure, drop_configure, order);
}

/* ---- the end */

static void on_drain_poll(void *arg)
{
    struct worker *worker = arg;
    if (proxy_client_count(worker->proxy) > 0)
        loop_timer_start(worker->loop, &worker->drain_timer, DRAIN_POLL_MS);
    else
        loop_post(worker->drain_to, worker->drain_done, worker->drain_arg);
}

static void run_drain(void *arg)
{
    struct worker *worker = arg;
    for (size_t i = 0; i < worker->door_count; i++)
        if (worker->doors[i].listener != NULL)
            listener_drain(&worker->doors[i].listener);
    proxy_drain(worker->proxy);
    on_drain_poll(worker);
}

void worker_drain(struct worker *worker, struct loop *to, loop_task_fn *done, void *arg)
{
    worker->drain_to = to;
    worker->drain_done = done;
    worker->drain_arg = arg;
    loop_post(worker->loop, run_drain, worker);
}

void worker_destroy(struct worker **worker_in)
{
    struct worker *worker = *worker_in;
    if (worker == NULL)
        return;
    *worker_in = NULL;
    if (worker->has_thread) {
        loop_stop(worker->loop);
        pthread_join(worker->thread, NULL);
    }
    for (size_t i = 0; i < worker->door_count; i++)
        listener_destroy(&worker->doors[i].listener);
    if (worker->proxy != NULL) {
        loop_timer_stop(&worker->drain_timer);
        proxy_close_all(worker->proxy);
        limiter_leave(worker->limiter);
        loop_run_for(worker->loop, 1); /* closed clients are freed, last words sent at its end */
    }
    proxy_destroy(&worker->proxy);
    doctor_destroy(&worker->doctor);
    denials_destroy(&worker->denials);
    if (worker->identity != NULL)
        identity_chain_destroy(&worker->identity);
    if (worker->upstreams != NULL)
        upstream_pool_destroy(&worker->upstreams);
    if (worker->limiter != NULL)
        limiter_destroy(&worker->limiter);
    redis_key_source_destroy(&worker->keys);
    redis_client_destroy(&worker->redis);
    snapshot_unref(&worker->snapshot);
    if (worker->loop != NULL)
        loop_destroy(&worker->loop);
    mem_free(worker);
}
