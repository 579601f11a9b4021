/* SPDX-License-Identifier: MIT */
/*
 * What an exchange leaves behind: one log line, its counts and its times. Makes
 * no system call and takes no lock; the worker's shards gather.
 */
#include "kamiyo/observe/access_log.h"
#include "kamiyo/observe/metrics.h"

#include "proxy/proxy_internal.h"

static struct slice user_id(const struct exchange *exchange)
{
    enum {
        PREFIX = sizeof("user:") - 1
    };
    if (exchange->tier == NULL || exchange->identity.kind != IDENTITY_USER)
        return SLICE("");
    return (struct slice){exchange->identity.key + PREFIX,
                          exchange->identity.key_length - (size_t)PREFIX};
}

/* From the request's leaving to the answer's head, or to the end where none came; -1 = nothing
 * left. */
static int64_t upstream_us(const struct exchange *exchange)
{
    if (exchange->upstream_us >= 0 || exchange->sent_us == 0)
        return exchange->upstream_us;
    return loop_now(exchange->proxy->loop)->monotonic_us - exchange->sent_us;
}

static void count(struct exchange *exchange, int64_t duration_us)
{
    struct metrics_shard *metrics = exchange->proxy->parts.metrics;
    struct lane *lane = exchange_lane(exchange);
    if (LIKELY(lane != NULL))
        lane_count_request(lane, exchange->status);
    else
        metrics_count_request(metrics, exchange->status,
                              exchange->route != NULL ? lane_route_name(exchange->route)
                                                      : SLICE("none"),
                              exchange->tier != NULL ? exchange->tier->name : SLICE("none"));
    metrics_observe_us(metrics, METRICS_REQUEST_SECONDS, duration_us);
    if (upstream_us(exchange) >= 0)
        metrics_observe_us(metrics, METRICS_UPSTREAM_SECONDS, upstream_us(exchange));
}

/* Who is meant to be the client: as a rule the peer, whose text is there. */
static struct slice client_text(const struct exchange *exchange, char memory[ADDR_TEXT_SIZE])
{
    const struct client *client = exchange->client;
    if (exchange->route == NULL || addr_equal(&exchange->client_ip.addr, &client->peer))
        return client_peer_text(client, memory);
    return (struct slice){memory, addr_format(&exchange->client_ip.addr, memory)};
}

void record_write(struct exchange *exchange)
{
    char address[ADDR_TEXT_SIZE];
    const struct proxy *proxy = exchange->proxy;
    int64_t now_us = loop_now(proxy->loop)->monotonic_us;
    int64_t duration_us = now_us - exchange->began_us;
    if (exchange->upstream_us < 0 && exchange->sent_us > 0) /* it was asked, and gave no answer */
        exchange->upstream_us = now_us - exchange->sent_us;
    count(exchange, duration_us);
    if (proxy->parts.access_log == NULL || !access_log_is_enabled(proxy->parts.access_log))
        return;

    bool has_window = exchange->is_limited && exchange->decision.window_count > 0;
    const struct access_record record = {
        .wall_us = exchange->began_wall_us,
        .request_id = exchange->request_id,
        .client_ip = client_text(exchange, address),
        .method = exchange->method,
        .target = exchange->target,
        .minor_version = exchange->minor_version,
        .status = exchange->status,
        .bytes_in = (uint64_t)exchange->bytes_in,
        .bytes_out = (uint64_t)exchange->bytes_out,
        .duration_us = duration_us,
        .upstream_us = upstream_us(exchange),
        .retries = exchange->retries,
        .limit_us = exchange->limit_us,
        .tier = exchange->tier != NULL ? exchange->tier->name : SLICE(""),
        .user = user_id(exchange),
        .route = exchange->route != NULL ? exchange->route->name : SLICE(""),
        .decision = lane_verdict_names[exchange->verdict],
        .mode = exchange->was_decided ? limit_mode_names[exchange->decision.mode] : SLICE(""),
        .remaining =
            has_window ? exchange->decision.levels[exchange->decision.binding].remaining : -1,
        .user_agent = exchange->user_agent,
        .referer = exchange->referer,
        .reason = slice_of(exchange->reason),
        .is_denied = exchange->verdict == LANE_DENIED,
    };
    access_log_write(proxy->parts.access_log, &record, proxy->parts.metrics);
    proxy_flush_log_soon(exchange->proxy);
}
