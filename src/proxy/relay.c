/* SPDX-License-Identifier: MIT */
/*
 * Bytes in both directions. A body is decoded where it was read and leaves in
 * one write, behind its head if that has not left yet; what a socket does not
 * take stays with its stream, and its source is not read until that has left:
 * so a direction never holds more than one read. Nothing waits for more bytes.
 */
#include "kamiyo/http/writer.h"
#include "kamiyo/observe/metrics.h"

#include "proxy/proxy_internal.h"

enum {
    MAX_PARTS = 8
};

/* The parts of one write. */
struct parts {
    struct iovec items[MAX_PARTS];
    int count;
};

static void add_part(struct parts *parts, struct slice bytes)
{
    if (bytes.length == 0)
        return;
    /* iovec has no const, and sendmsg does not write. */
    parts->items[parts->count++] = (struct iovec){(void *)(uintptr_t)bytes.data, bytes.length};
}

/* One read's payload with its framing; `is_last` = the body ends with it. */
static void add_payload(struct parts *parts,
                        struct slice payload,
                        bool is_chunked,
                        bool is_last,
                        const struct http_body *body,
                        char chunk_head[HTTP_WRITER_CHUNK_SIZE])
{
    if (payload.length > 0 && is_chunked)
        add_part(parts,
                 (struct slice){chunk_head, http_writer_chunk_head(chunk_head, payload.length)});
    add_part(parts, payload);
    if (payload.length > 0 && is_chunked)
        add_part(parts, SLICE("\r\n"));
    if (!is_chunked || !is_last)
        return;
    add_part(parts, SLICE("0\r\n"));
    add_part(parts, (struct slice){body->trailers, body->trailers_length});
    add_part(parts, SLICE("\r\n"));
}

void relay_watch_client(struct exchange *exchange)
{
    const struct proxy *proxy = exchange->proxy;
    if (stream_pending(&exchange->client->stream) == 0 ||
        loop_timer_is_running(&exchange->write_timer))
        return;
    loop_timer_start(proxy->loop, &exchange->write_timer, proxy->settings.client->write_timeout_ms);
}

/* ---- client to upstream */

static void start_upstream_timer(struct exchange *exchange, int64_t ms)
{
    loop_timer_start(exchange->proxy->loop, &exchange->timer, ms);
}

/* After a write: who is waited for now? */
static void watch_upload(struct exchange *exchange)
{
    const struct proxy *proxy = exchange->proxy;
    if (exchange->request_body.is_complete) {
        if (!exchange->client->has_ended) /* else the timer watches whether it is still there */
            loop_timer_stop(&exchange->client->timer);
        if (exchange->state == EXCHANGE_REQUEST)
            start_upstream_timer(exchange, proxy->settings.upstream->response_timeout_ms);
        return;
    }
    if (stream_pending(&exchange->upstream->stream) > 0) {
        loop_timer_stop(&exchange->client->timer);
        if (exchange->state == EXCHANGE_REQUEST)
            start_upstream_timer(exchange, proxy->settings.upstream->read_timeout_ms);
        return;
    }
    if (exchange->state == EXCHANGE_REQUEST)
        loop_timer_stop(&exchange->timer);
    loop_timer_start(proxy->loop, &exchange->client->timer,
                     proxy->settings.client->body_timeout_ms);
}

void relay_stop_upload(struct exchange *exchange)
{
    exchange->is_upload_broken = true;
    exchange->is_head_unsent = false;
    if (exchange->state == EXCHANGE_REQUEST)
        start_upstream_timer(exchange, exchange->proxy->settings.upstream->response_timeout_ms);
}

/* The request's body cannot be read in one way, or is too long: the upstream never sees its end. */
static void refuse_body(struct exchange *exchange, enum reply_kind kind, const char *reason)
{
    exchange_release_upstream(exchange, UPSTREAM_CLOSE);
    if (exchange->has_answer)
        exchange_finish(exchange, CLIENT_CLOSE, reason);
    else
        answer_send(exchange, kind, reason);
}

/* What an untrusted peer may not say in the head, it may not say in the trailers. A reload changes
 * the names. Without a route it was answered before anybody asked who it is, and is not trusted. */
static enum http_body_status decode_upload(
    struct exchange *exchange, char *bytes, size_t length, size_t *payload, size_t *consumed)
{
    struct http_body *body = &exchange->request_body;
    bool is_trusted = exchange->route != NULL && exchange->client_ip.is_peer_trusted;
    body->removed_names = is_trusted ? NULL : exchange->proxy->removed_names;
    body->removed_count = is_trusted ? 0 : exchange->proxy->removed_count;
    return http_body_decode(body, bytes, length, payload, consumed);
}

/*
 * The first write of a request has failed. If a reused connection took no byte of it, it had died
 * before: the request was not sent, so any may be sent on another (contract section 6), and the
 * client's bytes stay the client's. False: that is not so.
 */
static bool send_elsewhere(struct exchange *exchange, uint64_t written_before, size_t consumed)
{
    const struct upstream_connection *upstream = exchange->upstream;
    if (!exchange->is_head_unsent || exchange->retries > 0 || upstream->request_count == 0 ||
        upstream->stream.bytes_written != written_before ||
        !http_body_give_back(&exchange->request_body, consumed))
        return false;
    exchange->bytes_in -= (int64_t)consumed;
    exchange_send_again(exchange);
    return true;
}

size_t relay_upload(struct exchange *exchange, char *bytes, size_t length)
{
    struct http_body *body = &exchange->request_body;
    struct parts parts = {.count = 0};
    char chunk_head[HTTP_WRITER_CHUNK_SIZE];
    size_t payload = 0, consumed = 0;
    if (exchange->is_upload_broken)
        return relay_discard(exchange, bytes, length);
    struct stream *upstream = &exchange->upstream->stream;
    uint64_t written_before = upstream->bytes_written;
    if (stream_pending(upstream) > 0)
        return 0;
    if (exchange->is_head_unsent)
        add_part(&parts, text_slice(&exchange->upstream_head));
    if (!body->is_complete) {
        uint64_t max_body = exchange->proxy->settings.client->max_body;
        enum http_body_status status = decode_upload(exchange, bytes, length, &payload, &consumed);
        exchange->bytes_in += (int64_t)payload;
        if (status == HTTP_BODY_ERROR) {
            refuse_body(exchange, REPLY_BAD_REQUEST, body->error_reason);
            return consumed;
        }
        /* A chunk says how long it will be: no need to wait for it. */
        if (max_body > 0 &&
            (body->payload_bytes > max_body || body->remaining > max_body - body->payload_bytes)) {
            refuse_body(exchange, REPLY_CONTENT_TOO_LARGE, "body_too_large");
            return consumed;
        }
        add_payload(&parts, (struct slice){bytes, payload}, body->framing == HTTP_FRAMING_CHUNKED,
                    body->is_complete, body, chunk_head);
    }
    if (parts.count > 0 && stream_write(upstream, parts.items, parts.count) == STREAM_FAILED) {
        if (send_elsewhere(exchange, written_before, consumed))
            return 0;
        relay_stop_upload(exchange);
        return consumed;
    }
    exchange->is_head_unsent = false;
    watch_upload(exchange);
    return consumed;
}

size_t relay_discard(struct exchange *exchange, char *bytes, size_t length)
{
    struct http_body *body = &exchange->request_body;
    size_t payload = 0, consumed = 0;
    if (body->is_complete)
        return 0;
    enum http_body_status status = decode_upload(exchange, bytes, length, &payload, &consumed);
    exchange->bytes_in += (int64_t)payload;
    if (exchange->state != EXCHANGE_REPLY)
        return consumed;
    if (status == HTTP_BODY_ERROR)
        exchange_finish(exchange, CLIENT_CLOSE, body->error_reason);
    else if (body->is_complete)
        exchange_complete(exchange);
    else
        loop_timer_start(exchange->proxy->loop, &exchange->client->timer,
                         exchange->proxy->settings.client->body_timeout_ms);
    return consumed;
}

/* ---- upstream to client */

/* The last byte of the answer has been handed to the client's stream. */
static void complete_download(struct exchange *exchange, bool has_excess)
{
    bool is_reusable = exchange->keeps_upstream && !has_excess &&
                       exchange->request_body.is_complete && !exchange->is_upload_broken &&
                       stream_pending(&exchange->upstream->stream) == 0;
    exchange_release_upstream(exchange, is_reusable ? UPSTREAM_KEEP : UPSTREAM_CLOSE);
    exchange_complete(exchange);
}

/* The answer stops short: the client must see that it does. */
static void cut_download(struct exchange *exchange, const char *reason)
{
    metrics_count_upstream_error(exchange->proxy->parts.metrics, reason);
    upstream_pool_report(exchange->upstream, false);
    exchange_finish(exchange, exchange->is_close_delimited ? CLIENT_ABORT : CLIENT_CLOSE, reason);
}

void relay_download(struct exchange *exchange, struct slice head, char *bytes, size_t length)
{
    struct http_body *body = &exchange->response_body;
    struct parts parts = {.count = 0};
    char chunk_head[HTTP_WRITER_CHUNK_SIZE];
    size_t payload = 0, consumed = 0;
    enum http_body_status status = http_body_decode(body, bytes, length, &payload, &consumed);
    add_part(&parts, head);
    add_payload(&parts, (struct slice){bytes, payload}, exchange->is_chunked_answer,
                status == HTTP_BODY_DONE, body, chunk_head);
    exchange->bytes_out += (int64_t)payload;
    if (parts.count > 0 &&
        stream_write(&exchange->client->stream, parts.items, parts.count) == STREAM_FAILED) {
        exchange_finish(exchange, CLIENT_CLOSE, "client_closed");
        return;
    }
    relay_watch_client(exchange);
    if (status == HTTP_BODY_DONE)
        complete_download(exchange, consumed < length);
    else if (status == HTTP_BODY_ERROR)
        cut_download(exchange, body->error_reason);
    else if (stream_pending(&exchange->client->stream) > 0)
        loop_timer_stop(&exchange->timer); /* the client is waited for, not the upstream */
    else
        start_upstream_timer(exchange, exchange->proxy->settings.upstream->read_timeout_ms);
}

void relay_download_end(struct exchange *exchange)
{
    struct parts parts = {.count = 0};
    char chunk_head[HTTP_WRITER_CHUNK_SIZE];
    if (!http_body_end(&exchange->response_body)) {
        cut_download(exchange, "upstream_cut");
        return;
    }
    exchange->keeps_upstream = false;
    add_payload(&parts, SLICE(""), exchange->is_chunked_answer, true, &exchange->response_body,
                chunk_head);
    if (parts.count > 0 &&
        stream_write(&exchange->client->stream, parts.items, parts.count) == STREAM_FAILED) {
        exchange_finish(exchange, CLIENT_CLOSE, "client_closed");
        return;
    }
    relay_watch_client(exchange);
    complete_download(exchange, false);
}

/* ---- tunnels */

static void touch_tunnel(struct exchange *exchange)
{
    start_upstream_timer(exchange, exchange->proxy->settings.client->tunnel_idle_timeout_ms);
}

void relay_tunnel_begin(struct exchange *exchange, struct slice head, char *bytes, size_t length)
{
    struct parts parts = {.count = 0};
    add_part(&parts, head);
    add_part(&parts, (struct slice){bytes, length});
    exchange->keep_alive = false;
    exchange->bytes_out += (int64_t)length;
    exchange->upstream_us = loop_now(exchange->proxy->loop)->monotonic_us - exchange->sent_us;
    upstream_pool_report(exchange->upstream, true);
    exchange_enter(exchange, EXCHANGE_TUNNEL);
    touch_tunnel(exchange);
    if (stream_write(&exchange->client->stream, parts.items, parts.count) == STREAM_FAILED) {
        exchange_finish(exchange, CLIENT_CLOSE, "client_closed");
        return;
    }
    relay_watch_client(exchange);
    client_feed(exchange->client); /* what the client sent ahead of the 101 */
    if (exchange->state == EXCHANGE_TUNNEL && exchange->client->has_ended)
        relay_tunnel_end(exchange, true);
}

size_t relay_tunnel_up(struct exchange *exchange, char *bytes, size_t length)
{
    const struct iovec part = {bytes, length};
    if (length == 0 || stream_pending(&exchange->upstream->stream) > 0)
        return 0;
    exchange->bytes_in += (int64_t)length;
    touch_tunnel(exchange);
    if (stream_write(&exchange->upstream->stream, &part, 1) == STREAM_FAILED)
        exchange_finish(exchange, CLIENT_ABORT, NULL);
    else if (exchange->client->has_ended)
        relay_tunnel_end(exchange, true);
    return length;
}

void relay_tunnel_down(struct exchange *exchange, char *bytes, size_t length)
{
    const struct iovec part = {bytes, length};
    exchange->bytes_out += (int64_t)length;
    touch_tunnel(exchange);
    if (stream_write(&exchange->client->stream, &part, 1) == STREAM_FAILED)
        exchange_finish(exchange, CLIENT_CLOSE, NULL);
    else
        relay_watch_client(exchange);
}

/* One side has ended: the other is told, and goes on until it has ended too. */
void relay_tunnel_end(struct exchange *exchange, bool is_client)
{
    if (is_client) {
        if (exchange->client_has_ended)
            return;
        exchange->client_has_ended = true;
        stream_shutdown_write(&exchange->upstream->stream);
    } else {
        exchange->upstream_has_ended = true;
        stream_pause(&exchange->upstream->stream);
        stream_shutdown_write(&exchange->client->stream);
    }
    if (!exchange->client_has_ended || !exchange->upstream_has_ended)
        return;
    if (stream_pending(&exchange->client->stream) == 0)
        exchange_finish(exchange, CLIENT_CLOSE, NULL);
    else
        exchange->keep_alive =
            false; /* the last bytes are leaving; the write deadline watches them */
}
