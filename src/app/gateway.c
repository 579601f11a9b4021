/* SPDX-License-Identifier: MIT */
/*
 * Start, reload, drain, end. The control thread owns everything that workers
 * share and outlives them; workers never call back into it but by posting to
 * its loop. Order of the start: bind, so that a port in use is found before
 * anything runs; make the workers; wait for Redis's first word; then listen.
 */
#include "kamiyo/app/gateway.h"

#include <errno.h>
#include <limits.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/resource.h>
#include <unistd.h>

#include <event2/event.h>

#include "kamiyo/admin/admin.h"
#include "kamiyo/app/banner.h"
#include "kamiyo/app/cpu_count.h"
#include "kamiyo/base/log.h"
#include "kamiyo/base/mem.h"
#include "kamiyo/limit/concurrency.h"
#include "kamiyo/limit/limiter_shared.h"
#include "kamiyo/net/resolver.h"
#include "kamiyo/observe/access_log.h"
#include "kamiyo/observe/metrics.h"
#include "kamiyo/redis/redis_client.h"
#include "kamiyo/redis/redis_url.h"

#include "app/app_internal.h"

static void begin_drain(struct gateway *gateway);

/* ---- sockets */

static void raise_descriptor_limit(struct gateway *gateway)
{
    const struct config *config = gateway->snapshot->config;
    struct rlimit limit;
    if (getrlimit(RLIMIT_NOFILE, &limit) != 0)
        return;
    limit.rlim_cur = limit.rlim_max;
    (void)setrlimit(RLIMIT_NOFILE, &limit); /* what there is afterwards counts */
    (void)getrlimit(RLIMIT_NOFILE, &limit);
    gateway->descriptor_limit = limit.rlim_cur < LONG_MAX ? (long)limit.rlim_cur : LONG_MAX;
    long room = gateway_client_room(gateway, config);
    if (room < config->client.max_connections)
        log_warning(
            "Open files are limited to %ld: at most %ld client connections at a time, not %d",
            gateway->descriptor_limit, room, config->client.max_connections);
}

/*
 * Open each address once for each worker. The first descriptor tells the port
 * when the address leaves it open; a unix path is one socket, shared.
 */
static bool open_address(struct gateway *gateway, size_t index, struct error *error)
{
    const struct config_listen *listen = &gateway->snapshot->config->listen[index];
    struct addr_endpoint endpoint = listen->endpoint;
    if (!listener_probe(&endpoint, error))
        return false;
    for (size_t w = 0; w < gateway->worker_count; w++) {
        bool is_shared = endpoint.addr.family == ADDR_UNIX && w > 0;
        int first = gateway->fds[index * gateway->worker_count];
        int fd = is_shared ? dup(first) : listener_open(&endpoint, error);
        if (fd < 0) {
            if (is_shared)
                error_set(error, "cannot share %s: %s", listen->text, strerror(errno));
            return false;
        }
        gateway->fds[index * gateway->worker_count + w] = fd;
        if (w == 0 && endpoint.addr.family != ADDR_UNIX)
            listener_local_endpoint(fd, &endpoint);
    }
    gateway->endpoints[index] = endpoint;
    return true;
}

static bool open_addresses(struct gateway *gateway)
{
    struct error error = {{0}};
    const struct config *config = gateway->snapshot->config;
    size_t count = config->listen_count * gateway->worker_count;
    gateway->fds = mem_alloc(count * sizeof(gateway->fds[0]));
    gateway->endpoints = mem_alloc_zero(config->listen_count * sizeof(gateway->endpoints[0]));
    for (size_t i = 0; i < count; i++)
        gateway->fds[i] = -1;
    gateway->listen_count = config->listen_count;
    for (size_t i = 0; i < config->listen_count; i++) {
        if (!open_address(gateway, i, &error)) {
            log_error("Cannot listen on %s: %s", config->listen[i].text, error.text);
            return false;
        }
    }
    return true;
}

/* ---- making and starting */

static bool make_shared(struct gateway *gateway)
{
    const struct config *config = gateway->snapshot->config;
    struct worker_shared *shared = &gateway->shared;
    struct error error = {{0}};
    shared->connections.max = gateway_client_room(gateway, config);
    shared->metrics = metrics_create(gateway->worker_count + 1);
    shared->concurrency = concurrency_create();
    shared->resolver = resolver_create();
    shared->limits = limit_shared_create(config->limiter.memory_bytes, gateway->worker_count);
    if (shared->limits == NULL || shared->resolver == NULL) {
        log_error("Cannot start: not enough memory for limiter.memory");
        return false;
    }
    shared->access_log = access_log_create(&config->access_log, gateway->worker_count, &error);
    if (shared->access_log == NULL) {
        log_error("Cannot start: %s", error.text);
        return false;
    }
    return true;
}

/* A URL that cannot be used leaves the gateway in-process; TLS files that cannot be read stop it.
 */
static bool make_redis(struct gateway *gateway)
{
    const struct config *config = gateway->snapshot->config;
    struct worker_shared *shared = &gateway->shared;
    struct slice text = slice_of(config->redis.url);
    struct error error = {{0}};
    struct redis_url url;
    if (text.length == 0)
        return true;
    if (!redis_url_parse(text, &url, &error)) {
        limit_shared_refuse(shared->limits, error.text);
        return true;
    }
    redis_url_clear(&url);
    shared->redis = redis_shared_create(&config->redis, shared->resolver, &error);
    if (shared->redis == NULL)
        log_error("Cannot start: redis.tls: %s", error.text);
    return shared->redis != NULL;
}

static bool make_workers(struct gateway *gateway)
{
    struct error error = {{0}};
    gateway->workers = mem_alloc_zero(gateway->worker_count * sizeof(struct worker *));
    for (size_t i = 0; i < gateway->worker_count; i++) {
        gateway->workers[i] = worker_create(i, &gateway->shared, gateway->snapshot, &error);
        if (gateway->workers[i] == NULL || !worker_start(gateway->workers[i], &error)) {
            log_error("Cannot start worker %zu: %s", i, error.text);
            return false;
        }
    }
    return true;
}

static void open_doors(struct gateway *gateway)
{
    const struct config *config = gateway->snapshot->config;
    struct worker_listen listens[GATEWAY_MAX_LISTEN];
    char address[128];
    for (size_t w = 0; w < gateway->worker_count; w++) {
        for (size_t i = 0; i < gateway->listen_count; i++) {
            int *fd = &gateway->fds[i * gateway->worker_count + w];
            listens[i] = (struct worker_listen){*fd, config->listen[i].proxy_protocol};
            *fd = -1;
        }
        worker_listen(gateway->workers[w], listens, gateway->listen_count);
    }
    for (size_t i = 0; i < gateway->listen_count; i++) {
        addr_endpoint_format(&gateway->endpoints[i], address);
        log_info("Listening on %s", address);
    }
    gateway->state = GATEWAY_SERVING;
}

static void on_store_known(void *arg)
{
    struct gateway *gateway = arg;
    if (gateway->state != GATEWAY_STARTING)
        return;
    loop_timer_stop(&gateway->timer);
    limit_shared_end_wait(gateway->shared.limits);
    log_info("Rate limiting middleware enabled (Redis: %s)",
             gateway_has_redis(gateway) ? "True" : "False");
    open_doors(gateway);
    banner_print(gateway->snapshot->config, gateway->endpoints, gateway->listen_count,
                 gateway_has_redis(gateway), gateway->worker_count);
}

/* Redis's first answer is awaited for at most connect_timeout; an outage is the same case later. */
static void await_store(void *arg)
{
    struct gateway *gateway = arg;
    enum {
        POLL_MS = 2
    };
    bool is_late = loop_now_ms(gateway->loop) >= gateway->store_deadline_ms;
    if (is_late || gateway_store_is_known(gateway))
        on_store_known(gateway);
    else
        loop_timer_start(gateway->loop, &gateway->timer, POLL_MS);
}

/* ---- reload */

static void log_errors(const struct error_list *errors)
{
    const char *word;
    for (size_t i = 0; i < errors->count; i++) {
        const struct error_item *item = &errors->items[i];
        word = item->severity == ERROR_FATAL ? "error" : "warning";
        if (item->place.line > 0)
            log_warning("Configuration %s: %s:%d:%d: %s: %s", word, item->file, item->place.line,
                        item->place.column, item->key, item->message);
        else
            log_warning("Configuration %s: %s: %s: %s", word, item->file, item->key, item->message);
    }
}

static void apply_snapshot(struct gateway *gateway, struct snapshot *snapshot)
{
    const struct config *config = snapshot->config;
    struct error error = {{0}};
    gateway_warn_of_restart(gateway->snapshot->config, config);
    if (!log_open(config->log_file, config->log_level, config->log_format, &error) ||
        !access_log_configure(gateway->shared.access_log, &config->access_log, &error))
        log_warning("Log kept as it was: %s", error.text);
    gateway_configure_admin(gateway, &config->admin);
    gateway->shared.connections.max = gateway_client_room(gateway, config);
    for (size_t i = 0; i < gateway->worker_count; i++)
        worker_configure(gateway->workers[i], snapshot);
    snapshot_unref(&gateway->snapshot);
    gateway->snapshot = snapshot;
}

static void reload(struct gateway *gateway)
{
    struct error_list errors;
    struct metrics_shard *metrics = metrics_shard(gateway->shared.metrics, gateway->worker_count);
    error_list_init(&errors);
    struct snapshot *snapshot = snapshot_load(gateway->overrides, &errors);
    log_errors(&errors);
    metrics_count_reload(metrics, snapshot != NULL ? "success" : "failure");
    if (snapshot == NULL) {
        log_error("Configuration not reloaded: %zu error%s, the old one stays in force",
                  errors.total_errors, errors.total_errors == 1 ? "" : "s");
    } else {
        apply_snapshot(gateway, snapshot);
        log_info("Configuration reloaded");
    }
    error_list_clear(&errors);
}

/* ---- drain */

static void on_worker_drained(void *arg)
{
    struct gateway *gateway = arg;
    if (--gateway->draining_workers == 0)
        loop_stop(gateway->loop);
}

static void on_drain_deadline(void *arg)
{
    struct gateway *gateway = arg;
    log_warning("Drain timeout: closing what is left");
    loop_stop(gateway->loop);
}

static void begin_drain(struct gateway *gateway)
{
    if (gateway->state != GATEWAY_SERVING) {
        loop_stop(gateway->loop); /* not serving yet, or asked a second time: end at once */
        return;
    }
    gateway->state = GATEWAY_DRAINING;
    log_info("Draining: finishing requests in flight");
    if (gateway->admin != NULL)
        admin_end_events(gateway->admin);
    gateway->draining_workers = gateway->worker_count;
    for (size_t i = 0; i < gateway->worker_count; i++)
        worker_drain(gateway->workers[i], gateway->loop, on_worker_drained, gateway);
    loop_timer_init(&gateway->timer, on_drain_deadline, gateway);
    loop_timer_start(gateway->loop, &gateway->timer, gateway->snapshot->config->drain_timeout_ms);
}

/* ---- signals */

/* After a rotation. A file that cannot be had again is told in the old one, which is kept. */
static void reopen_logs(struct gateway *gateway)
{
    struct error error;
    bool is_done = true;

    if (!log_reopen(&error)) {
        log_error("Not reopened: %s", error.text);
        is_done = false;
    }
    if (!access_log_reopen(gateway->shared.access_log, &error)) {
        log_error("Not reopened: %s", error.text);
        is_done = false;
    }
    if (is_done)
        log_info("Log files reopened");
}

static void on_signal(evutil_socket_t number, short events, void *arg)
{
    struct gateway *gateway = arg;
    (void)events;
    switch (number) {
    case SIGTERM:
    case SIGINT:
        begin_drain(gateway);
        break;
    case SIGHUP:
        reload(gateway);
        break;
    case SIGUSR1:
        reopen_logs(gateway);
        break;
    default:
        break;
    }
}

static bool watch_signals(struct gateway *gateway)
{
    static const int numbers[GATEWAY_SIGNAL_COUNT] = {SIGTERM, SIGINT, SIGHUP, SIGUSR1};
    signal(SIGPIPE, SIG_IGN);
    for (size_t i = 0; i < GATEWAY_SIGNAL_COUNT; i++) {
        gateway->signals[i] =
            evsignal_new(loop_event_base(gateway->loop), numbers[i], on_signal, gateway);
        if (gateway->signals[i] == NULL || event_add(gateway->signals[i], NULL) != 0)
            return false;
    }
    return true;
}

/* Workers inherit a mask that leaves signals to the control thread. */
static void block_signals(bool blocks)
{
    sigset_t set;
    sigemptyset(&set);
    sigaddset(&set, SIGTERM);
    sigaddset(&set, SIGINT);
    sigaddset(&set, SIGHUP);
    sigaddset(&set, SIGUSR1);
    pthread_sigmask(blocks ? SIG_BLOCK : SIG_UNBLOCK, &set, NULL);
}

/* ---- the whole */

static bool start(struct gateway *gateway)
{
    const struct config *config = gateway->snapshot->config;
    gateway->worker_count = config->workers > 0 ? (size_t)config->workers : cpu_count_available();
    raise_descriptor_limit(gateway);
    if (!open_addresses(gateway) || !make_shared(gateway) || !make_redis(gateway) ||
        !gateway_open_admin(gateway))
        return false;
    block_signals(true);
    bool is_made = make_workers(gateway);
    block_signals(false);
    if (!is_made)
        return false;
    loop_timer_init(&gateway->timer, await_store, gateway);
    gateway->store_deadline_ms = loop_now_ms(gateway->loop) + config->redis.connect_timeout_ms;
    await_store(gateway);
    return true;
}

static void destroy(struct gateway *gateway)
{
    gateway_close_admin(gateway);
    for (size_t i = 0; gateway->workers != NULL && i < gateway->worker_count; i++)
        worker_destroy(&gateway->workers[i]);
    mem_free(gateway->workers);
    for (size_t i = 0; gateway->fds != NULL && i < gateway->listen_count * gateway->worker_count;
         i++)
        if (gateway->fds[i] >= 0)
            close(gateway->fds[i]);
    for (size_t i = 0; i < gateway->listen_count; i++)
        if (gateway->endpoints[i].addr.family == ADDR_UNIX)
            (void)unlink(gateway->endpoints[i].unix_path); /* ours; already gone is fine */
    mem_free(gateway->fds);
    mem_free(gateway->endpoints);
    if (gateway->shared.access_log != NULL)
        access_log_destroy(&gateway->shared.access_log);
    if (gateway->shared.limits != NULL)
        limit_shared_destroy(&gateway->shared.limits);
    concurrency_destroy(&gateway->shared.concurrency);
    redis_shared_destroy(&gateway->shared.redis);
    if (gateway->shared.resolver != NULL)
        resolver_destroy(&gateway->shared.resolver);
    if (gateway->shared.metrics != NULL)
        metrics_destroy(&gateway->shared.metrics);
    for (size_t i = 0; i < GATEWAY_SIGNAL_COUNT; i++)
        if (gateway->signals[i] != NULL)
            event_free(gateway->signals[i]);
    loop_timer_stop(&gateway->timer);
    snapshot_unref(&gateway->snapshot);
    loop_destroy(&gateway->loop);
}

int gateway_run(struct snapshot *snapshot, const struct config_overrides *overrides)
{
    struct gateway gateway = {.snapshot = snapshot, .overrides = overrides, .loop = loop_create()};
    if (gateway.loop == NULL) {
        log_error("Cannot make an event loop: %s", strerror(errno));
        snapshot_unref(&gateway.snapshot);
        return 1;
    }
    gateway.started_ms = loop_wall_ms(gateway.loop);
    bool is_started = watch_signals(&gateway) && start(&gateway);
    if (is_started)
        loop_run(gateway.loop);
    bool was_serving = gateway.state != GATEWAY_STARTING;
    destroy(&gateway);
    if (is_started && was_serving)
        log_info("Stopped");
    return is_started ? 0 : 1;
}
