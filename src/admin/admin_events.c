/* SPDX-License-Identifier: MIT */
/*
 * /api/events: one event a second for everyone who watches. Counters are read
 * and the workers asked only while somebody does; one text is made and written
 * to all. A reader that does not take what it is sent is dropped: what waits
 * for it is bounded in bytes and in time.
 *
 *   first stream ──► sample, survey ──answered──► event to all ──1 s──► sample, survey ...
 *   last one gone ──► timer, survey and samples end
 */
#include <stdint.h>
#include <string.h>
#include <sys/uio.h>

#include "kamiyo/base/mem.h"
#include "kamiyo/observe/denials.h"
#include "kamiyo/version.h"

#include "admin/admin_internal.h"

#define INTERVAL_MS 1000
/* Clients in an event: what fits a screen. */
#define CLIENTS 12
/* Of one reader: of the kernel's buffer, of what waits behind it, and how long. */
#define KERNEL_BYTES 16384
#define MAX_PENDING  65536
#define MAX_WAIT_MS  10000

static struct admin_sample *sample_at(struct admin_events *events, size_t age)
{
    return &events->samples[(events->sample_count - 1 - age) % ADMIN_EVENTS_SAMPLES];
}

static void send_to(struct admin_connection *connection, struct slice bytes)
{
    struct iovec part = {(void *)(uintptr_t)bytes.data, bytes.length};
    enum stream_result result = stream_write(&connection->stream, &part, 1);
    int64_t waited_ms = loop_now_ms(connection->admin->loop) - connection->stream.last_write_ms;

    if (result == STREAM_FAILED || result == STREAM_END ||
        stream_pending(&connection->stream) > MAX_PENDING ||
        (result == STREAM_AGAIN && waited_ms > MAX_WAIT_MS))
        admin_connection_close(connection);
}

static void send_to_all(struct admin *admin, struct slice bytes)
{
    struct admin_connection *connection = TAILQ_FIRST(&admin->connections);

    while (connection != NULL) {
        struct admin_connection *next = TAILQ_NEXT(connection, entry);

        if (connection->is_streaming)
            send_to(connection, bytes);
        connection = next;
    }
}

struct live_event {
    struct admin *admin;
    const struct admin_survey *survey;
};

static void write_event(struct text *out, const struct live_event *event)
{
    struct admin_events *events = &event->admin->events;
    const struct admin_source *source = &event->admin->source;
    int64_t now_ms = loop_wall_ms(event->admin->loop);
    size_t kept =
        events->sample_count < ADMIN_EVENTS_SAMPLES ? events->sample_count : ADMIN_EVENTS_SAMPLES;

    text_append_format(out, "data: {\"time_ms\": %lld, \"version\": \"%s\", \"started_ms\": %lld, ",
                       (long long)now_ms, KAMIYO_VERSION, (long long)source->started_ms);
    admin_sample_put(out, sample_at(events, kept - 1), sample_at(events, kept > 1 ? 1 : 0),
                     sample_at(events, 0));
    text_append(out, SLICE(", "));
    source->write_status(source->arg, out);
    text_append_format(out, ", \"window_seconds\": %d, ", DENIALS_WINDOW_MS / 1000);
    admin_top_put_clients(out, event->survey, CLIENTS);
    text_append(out, SLICE(", "));
    admin_top_put_endpoints(out, event->survey);
    text_append(out, SLICE("}\n\n"));
}

static void on_survey(void *arg, const struct admin_survey *survey)
{
    struct admin *admin = arg;
    const struct live_event event = {admin, survey};
    size_t capacity = 8192;
    char *memory = mem_alloc(capacity);
    struct text text;

    admin->events.survey_call = NULL;
    for (;;) {
        text_init(&text, memory, capacity);
        write_event(&text, &event);
        if (!text.overflow)
            break;
        capacity *= 2;
        memory = mem_resize(memory, capacity);
    }
    send_to_all(admin, text_slice(&text));
    mem_free(memory);
}

static void begin_event(struct admin *admin)
{
    struct admin_events *events = &admin->events;

    loop_timer_start(admin->loop, &events->timer, INTERVAL_MS);
    if (events->survey_call != NULL) { /* a worker is busy: no event, but a sign of life */
        send_to_all(admin, SLICE(": waiting for the workers\n\n"));
        return;
    }
    admin_sample_take(&events->samples[events->sample_count++ % ADMIN_EVENTS_SAMPLES],
                      admin->source.metrics, loop_now_ms(admin->loop));
    admin->source.survey(admin->source.arg, on_survey, admin, &events->survey_call);
}

static void on_interval(void *arg)
{
    begin_event(arg);
}

void admin_events_init(struct admin_events *events, struct admin *admin)
{
    loop_timer_init(&events->timer, on_interval, admin);
}

void admin_events_leave(struct admin *admin)
{
    struct admin_events *events = &admin->events;

    if (--events->stream_count > 0)
        return;
    loop_timer_stop(&events->timer);
    if (events->survey_call != NULL)
        admin->source.survey_cancel(admin->source.arg, &events->survey_call);
    events->sample_count = 0;
}

void admin_events_end(struct admin *admin, struct slice reason)
{
    char memory[128];
    struct text text;
    struct admin_connection *connection = TAILQ_FIRST(&admin->connections);

    text_init(&text, memory, sizeof(memory));
    text_append(&text, SLICE("event: end\ndata: {\"reason\": \""));
    text_append_json(&text, reason);
    text_append(&text, SLICE("\"}\n\n"));
    while (connection != NULL) {
        struct admin_connection *next = TAILQ_NEXT(connection, entry);

        if (connection->is_streaming) {
            send_to(connection, text_slice(&text));
            admin_connection_end_stream(connection);
        }
        connection = next;
    }
}

void admin_events_serve(struct admin_connection *connection)
{
    struct admin *admin = connection->admin;

    if (!admin->source.is_ready(admin->source.arg)) {
        admin_connection_refuse(connection, 503, "Events begin when the gateway serves.");
        return;
    }
    if (admin->events.stream_count == ADMIN_MAX_STREAMS) {
        admin_connection_refuse(connection, 503, "As many watch already as may.");
        return;
    }
    /* After that long a browser comes back by itself. */
    if (!admin_connection_begin_stream(connection, KERNEL_BYTES, SLICE("retry: 2000\n\n")))
        return;
    if (admin->events.stream_count++ == 0)
        begin_event(admin);
}
