/* SPDX-License-Identifier: MIT */
/*
 * What the admin listener asks of the running gateway: readiness, gauges and
 * the status page's members, gathered on the control loop from what the workers
 * share or keep in atomics.
 */
#include <string.h>
#include <unistd.h>

#include "kamiyo/admin/admin.h"
#include "kamiyo/base/log.h"
#include "kamiyo/limit/bucket_table.h"
#include "kamiyo/limit/limiter_shared.h"
#include "kamiyo/net/listener.h"
#include "kamiyo/observe/metrics.h"
#include "kamiyo/redis/redis_url.h"
#include "kamiyo/version.h"

#include "app/admin_lookup.h"
#include "app/admin_survey.h"
#include "app/app_internal.h"
#include "app/explain_call.h"

static bool is_ready(void *arg)
{
    const struct gateway *gateway = arg;
    return gateway->state == GATEWAY_SERVING;
}

static void read_gauges(void *arg, struct metrics_gauges *gauges)
{
    const struct gateway *gateway = arg;
    struct bucket_table_stats status;
    bucket_table_stats(gateway->shared.limits->table, &status);
    gauges->is_redis_up = gateway_has_redis(gateway);
    gauges->store_keys = status.buckets;
    gauges->store_bytes = status.bytes;
    gauges->version = KAMIYO_VERSION;
    gauges->commit = KAMIYO_COMMIT;
}

static void write_store(const struct gateway *gateway, struct text *out)
{
    struct limit_status status;
    char url[256];
    limit_shared_status(gateway->shared.limits, &status);
    redis_url_mask(slice_of(gateway->snapshot->config->redis.url), url, sizeof(url));
    text_append(out, SLICE("\"store\": {\"mode\": \""));
    text_append(out, !status.is_configured ? SLICE("memory")
                     : status.is_up        ? SLICE("redis")
                                           : SLICE("fallback"));
    text_append(out, SLICE("\", \"redis\": "));
    if (!status.is_configured) {
        text_append(out, SLICE("null}"));
        return;
    }
    text_append(out, SLICE("{\"url\": \""));
    text_append_json(out, slice_of(url));
    text_append_format(out,
                       "\", \"up\": %s, \"workers_up\": %zu, \"instances\": %lld, \"since_ms\": "
                       "%lld, \"reason\": ",
                       status.is_up ? "true" : "false", status.workers_up,
                       (long long)status.instances, (long long)status.since_ms);
    if (status.reason[0] == '\0') {
        text_append(out, SLICE("null}}"));
        return;
    }
    text_append_char(out, '"');
    text_append_json(out, slice_of(status.reason));
    text_append(out, SLICE("\"}}"));
}

static void write_table(const struct gateway *gateway, struct text *out)
{
    struct bucket_table_stats status;
    bucket_table_stats(gateway->shared.limits->table, &status);
    text_append_format(out,
                       ", \"table\": {\"buckets\": %llu, \"bytes\": %llu, \"bytes_max\": %llu}",
                       (unsigned long long)status.buckets, (unsigned long long)status.bytes,
                       (unsigned long long)gateway->snapshot->config->limiter.memory_bytes);
}

static void write_upstream(const struct gateway *gateway, struct text *out)
{
    const struct upstream_options *upstream = &gateway->snapshot->config->upstream;
    text_append(out, SLICE(", \"upstream\": {\"urls\": ["));
    for (size_t i = 0; i < upstream->url_count; i++) {
        text_append(out, i > 0 ? SLICE(", \"") : SLICE("\""));
        text_append_json(out, slice_of(upstream->urls[i]));
        text_append_char(out, '"');
    }
    text_append_format(
        out, "], \"connections\": %lld}",
        (long long)metrics_sum(gateway->shared.metrics, METRICS_UPSTREAM_CONNECTIONS));
}

static void write_listeners(const struct gateway *gateway, struct text *out)
{
    text_append(out, SLICE(", \"listen\": ["));
    for (size_t i = 0; i < gateway->listen_count; i++) {
        char address[128];
        addr_endpoint_format(&gateway->endpoints[i], address);
        text_append(out, i > 0 ? SLICE(", \"") : SLICE("\""));
        text_append_json(out, slice_of(address));
        text_append_char(out, '"');
    }
    text_append_char(out, ']');
}

static void write_status(void *arg, struct text *out)
{
    static const char *const states[] = {[GATEWAY_STARTING] = "starting",
                                         [GATEWAY_SERVING] = "serving",
                                         [GATEWAY_DRAINING] = "draining"};
    const struct gateway *gateway = arg;
    write_store(gateway, out);
    write_table(gateway, out);
    write_upstream(gateway, out);
    write_listeners(gateway, out);
    text_append_format(
        out, ", \"state\": \"%s\", \"workers\": %zu, \"connections\": %lld, \"config\": \"",
        states[gateway->state], gateway->worker_count,
        (long long)metrics_sum(gateway->shared.metrics, METRICS_CLIENT_CONNECTIONS));
    text_append_json(out, slice_of(gateway->snapshot->config->path));
    text_append_char(out, '"');
}

/* The address that nobody chose may be taken: the gateway serves without it. */
static int open_listener(const struct admin_options *options, bool *is_fatal)
{
    struct error error = {{0}};
    int fd = -1;
    char address[128];
    addr_endpoint_format(&options->listen, address);
    *is_fatal = false;
    if (listener_probe(&options->listen, &error))
        fd = listener_open(&options->listen, &error);
    if (fd >= 0)
        return fd;
    if (options->is_default_address) {
        log_warning("Admin listener off: %s", error.text);
    } else {
        log_error("Cannot listen on %s (admin.listen): %s", address, error.text);
        *is_fatal = true;
    }
    return -1;
}

bool gateway_open_admin(struct gateway *gateway)
{
    const struct admin_options *options = &gateway->snapshot->config->admin;
    const struct admin_source source = {
        .arg = gateway,
        .metrics = gateway->shared.metrics,
        .started_ms = gateway->started_ms,
        .is_ready = is_ready,
        .read_gauges = read_gauges,
        .write_status = write_status,
        .look = admin_lookup_look,
        .reset = admin_lookup_reset,
        .cancel = admin_lookup_cancel,
        .survey = admin_survey_start,
        .survey_cancel = admin_survey_cancel,
        .explain = explain_call_start,
        .explain_cancel = explain_call_cancel,
    };
    bool is_fatal = false;
    if (!options->is_enabled)
        return true;
    int fd = open_listener(options, &is_fatal);
    if (fd >= 0) {
        gateway->admin = admin_create(gateway->loop, fd, options, &source);
        addr_endpoint_format(&options->listen, gateway->admin_address);
    }
    return !is_fatal;
}

/* Another address waits for a restart, and its token with it: a loopback address needs none. */
void gateway_configure_admin(struct gateway *gateway, const struct admin_options *options)
{
    char address[128];
    addr_endpoint_format(&options->listen, address);
    if (gateway->admin != NULL && options->is_enabled &&
        strcmp(address, gateway->admin_address) == 0)
        admin_set_token(gateway->admin, options->token);
}

void gateway_close_admin(struct gateway *gateway)
{
    enum {
        PATIENCE_MS = 2000,
        STEP_MS = 5
    };
    if (gateway->admin == NULL)
        return;
    admin_destroy(&gateway->admin);
    /* Look-ups under way end by themselves, by the store's deadline; the workers must outlive them.
     */
    for (int waited = 0; gateway->lookup_count > 0 && waited < PATIENCE_MS; waited += STEP_MS)
        loop_run_for(gateway->loop, STEP_MS);
}
