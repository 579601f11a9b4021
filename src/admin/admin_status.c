/* SPDX-License-Identifier: MIT */
/*
 * What can be said of the gateway at once: alive, ready, its metrics, its status.
 */
#include "kamiyo/base/mem.h"
#include "kamiyo/observe/metrics.h"
#include "kamiyo/version.h"

#include "admin/admin_internal.h"

void admin_status_serve_health(struct admin_connection *connection)
{
    admin_connection_answer_text(connection, 200, SLICE("ok\n"));
}

void admin_status_serve_ready(struct admin_connection *connection)
{
    const struct admin_source *source = &connection->admin->source;

    if (source->is_ready(source->arg))
        admin_connection_answer_text(connection, 200, SLICE("ready\n"));
    else
        admin_connection_answer_text(connection, 503, SLICE("draining\n"));
}

void admin_status_serve_metrics(struct admin_connection *connection)
{
    const struct admin_source *source = &connection->admin->source;
    struct admin_answer answer = {
        .status = 200, .content_type = SLICE("text/plain; version=0.0.4; charset=utf-8")};
    struct metrics_gauges gauges = {.version = KAMIYO_VERSION, .commit = KAMIYO_COMMIT};
    size_t length;
    char *text;

    source->read_gauges(source->arg, &gauges);
    text = metrics_render(source->metrics, &gauges, &length);
    answer.body = (struct slice){text, length};
    admin_connection_answer(connection, &answer);
    mem_free(text);
}

static void put_quantile(struct text *out, struct metrics *metrics, double quantile)
{
    int64_t us = metrics_histogram_quantile_us(metrics, METRICS_REQUEST_SECONDS, quantile);

    if (us < 0)
        text_append(out, SLICE("null"));
    else
        text_append_format(out, "%g", (double)us / 1000);
}

static void write_status(struct text *out, const void *arg)
{
    static const char *const decisions[] = {"allowed", "denied", "exempt", "shadow"};
    const struct admin_connection *connection = arg;
    const struct admin_source *source = &connection->admin->source;
    int64_t uptime_ms = loop_wall_ms(connection->admin->loop) - source->started_ms;
    uint64_t by_class[6];

    metrics_sum_requests(source->metrics, by_class);
    text_append_format(out, "{\"version\": \"%s\", \"commit\": \"%s\", \"uptime_seconds\": %lld, ",
                       KAMIYO_VERSION, KAMIYO_COMMIT,
                       (long long)(uptime_ms > 0 ? uptime_ms / 1000 : 0));
    text_append_format(out, "\"is_ready\": %s, ", source->is_ready(source->arg) ? "true" : "false");
    text_append(out, SLICE("\"requests\": {"));
    for (int class = 1; class <= 5; class ++)
        text_append_format(out, "\"%dxx\": %llu, ", class, (unsigned long long)by_class[class]);
    text_append_format(out, "\"none\": %llu}, \"decisions\": {", (unsigned long long)by_class[0]);
    for (size_t i = 0; i < COUNT_OF(decisions); i++)
        text_append_format(
            out, "%s\"%s\": %llu", i > 0 ? ", " : "", decisions[i],
            (unsigned long long)metrics_sum_decisions(source->metrics, slice_of(decisions[i])));
    text_append(out, SLICE("}, \"duration_ms\": {\"p50_at_most\": "));
    put_quantile(out, source->metrics, 0.5);
    text_append(out, SLICE(", \"p99_at_most\": "));
    put_quantile(out, source->metrics, 0.99);
    text_append(out, SLICE("}, "));
    source->write_status(source->arg, out);
    text_append(out, SLICE("}\n"));
}

void admin_status_serve(struct admin_connection *connection)
{
    admin_connection_answer_json(connection, write_status, connection);
}
