/* SPDX-License-Identifier: MIT */
/*
 * Probes: one record an endpoint and round, with a connection, a deadline and
 * room for the start of a status line. A probe ends in probe_end only, and is
 * freed at the end of that turn. A round leaves endpoints alone whose last
 * probe is still under way.
 */
#include "kamiyo/upstream/upstream_health.h"

#include <stdio.h>
#include <string.h>
#include <sys/queue.h>

#include "kamiyo/base/mem.h"
#include "kamiyo/net/loop.h"
#include "kamiyo/net/stream.h"
#include "kamiyo/upstream/upstream.h"

#define LONGEST_PROBE_MS 5000

/* "HTTP/1.1 200": all that is looked at. */
#define STATUS_END 12

struct probe {
    TAILQ_ENTRY(probe) entry;
    struct upstream_health *health;
    struct upstream_endpoint *endpoint;
    struct stream stream;
    struct loop_timer deadline;
    struct loop_task free_task;
    char answer[512];
    size_t length;
};

TAILQ_HEAD(probe_list, probe);

struct upstream_health {
    struct loop *loop;
    struct upstream *upstream;
    char *path;
    int64_t interval_ms;
    struct loop_timer round;
    struct probe_list probes;
};

static void free_probe(void *arg)
{
    mem_free(arg);
}

/* Without a verdict: the probes themselves end. */
static void probe_drop(struct probe *probe)
{
    TAILQ_REMOVE(&probe->health->probes, probe, entry);
    loop_timer_stop(&probe->deadline);
    stream_close(&probe->stream);
    upstream_endpoint_unref(&probe->endpoint);
    loop_defer(probe->health->loop, &probe->free_task);
}

static void probe_end(struct probe *probe, bool is_ok)
{
    upstream_endpoint_report(probe->endpoint, is_ok);
    probe_drop(probe);
}

static void on_deadline(void *arg)
{
    probe_end(arg, false);
}

static void on_failed(struct stream *stream, void *arg)
{
    (void)stream;
    probe_end(arg, false);
}

static void on_readable(struct stream *stream, void *arg)
{
    struct probe *probe = arg;
    size_t length;

    switch (stream_read(stream, probe->answer + probe->length,
                        sizeof(probe->answer) - probe->length, &length)) {
    case STREAM_OK:
        break;
    case STREAM_AGAIN:
        return;
    case STREAM_END:
    case STREAM_FAILED:
        probe_end(probe, false);
        return;
    }
    probe->length += length;
    if (probe->length < STATUS_END)
        return;
    /* RFC 9112 4: "HTTP/1.1 200 ..." */
    probe_end(probe, memcmp(probe->answer, "HTTP/1.", 7) == 0 && probe->answer[8] == ' ' &&
                         (probe->answer[9] == '2' || probe->answer[9] == '3'));
}

static void on_drained(struct stream *stream, void *arg)
{
    struct probe *probe = arg;
    struct slice host;
    char request[4096];
    struct iovec part = {.iov_base = request};
    struct error error;
    int length;

    if (probe->endpoint->source == NULL) { /* gone meanwhile */
        probe_drop(probe);
        return;
    }
    if (upstream_endpoint_is_tls(probe->endpoint) && stream->tls == NULL) {
        struct ssl_st *tls = upstream_endpoint_new_tls(probe->endpoint, &error);

        if (tls == NULL)
            probe_end(probe, false);
        else
            stream_start_tls(stream, tls);
        return;
    }
    if (stream->bytes_written > 0)
        return; /* the request itself has left */
    host = upstream_endpoint_authority(probe->endpoint);
    length = snprintf(request, sizeof(request),
                      "GET %s HTTP/1.1\r\nHost: %.*s\r\nUser-Agent: kamiyo-gateway\r\n"
                      "Connection: close\r\n\r\n",
                      probe->health->path, SLICE_PRINT(host));
    if (length < 0 || (size_t)length >= sizeof(request)) {
        probe_drop(probe); /* a path of kilobytes: says nothing about the endpoint */
        return;
    }
    part.iov_len = (size_t)length;
    if (stream_write(stream, &part, 1) == STREAM_FAILED)
        probe_end(probe, false);
}

static const struct stream_handler probe_handler = {on_readable, on_drained, on_failed};

static bool is_probed(const struct upstream_health *health,
                      const struct upstream_endpoint *endpoint)
{
    const struct probe *probe;

    TAILQ_FOREACH (probe, &health->probes, entry) {
        if (probe->endpoint == endpoint)
            return true;
    }
    return false;
}

static void probe_start(struct upstream_health *health, struct upstream_endpoint *endpoint)
{
    int64_t deadline_ms =
        health->interval_ms < LONGEST_PROBE_MS ? health->interval_ms : LONGEST_PROBE_MS;
    struct probe *probe = mem_alloc_zero(sizeof(*probe));
    struct error error;

    probe->health = health;
    probe->endpoint = upstream_endpoint_ref(endpoint);
    loop_timer_init(&probe->deadline, on_deadline, probe);
    loop_task_init(&probe->free_task, free_probe, probe);
    TAILQ_INSERT_TAIL(&health->probes, probe, entry);
    if (stream_connect(&probe->stream, health->loop, &endpoint->at, &probe_handler, probe, &error))
        loop_timer_start(health->loop, &probe->deadline, deadline_ms);
    else
        probe_end(probe, false);
}

static void on_round(void *arg)
{
    struct upstream_health *health = arg;
    struct upstream_endpoint *endpoint;

    loop_timer_start(health->loop, &health->round, health->interval_ms);
    TAILQ_FOREACH (endpoint, upstream_endpoints(health->upstream), entry) {
        if (!is_probed(health, endpoint))
            probe_start(health, endpoint);
    }
}

struct upstream_health *upstream_health_create(struct loop *loop,
                                               struct upstream *upstream,
                                               const char *path,
                                               int64_t interval_ms)
{
    struct upstream_health *health = mem_alloc_zero(sizeof(*health));

    health->loop = loop;
    health->upstream = upstream;
    health->path = mem_copy_string(path);
    health->interval_ms = interval_ms > 0 ? interval_ms : 1;
    TAILQ_INIT(&health->probes);
    loop_timer_init(&health->round, on_round, health);
    loop_timer_start(loop, &health->round, health->interval_ms);
    return health;
}

void upstream_health_destroy(struct upstream_health **health_pointer)
{
    struct upstream_health *health = *health_pointer;
    struct probe *probe;

    if (health == NULL)
        return;
    *health_pointer = NULL;
    loop_timer_stop(&health->round);
    while ((probe = TAILQ_FIRST(&health->probes)) != NULL)
        probe_drop(probe);
    mem_free(health->path);
    mem_free(health);
}
