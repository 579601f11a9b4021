/* SPDX-License-Identifier: MIT */
/*
 * The gateway's own answers to one exchange: gathers what reply.c writes from,
 * decides whether the connection can stay, and sends head and body in one write.
 */
#include <string.h>

#include "kamiyo/base/text.h"
#include "kamiyo/proxy/limit_fields.h"

#include "proxy/proxy_internal.h"

struct slice answer_date(struct proxy *proxy)
{
    int64_t second = loop_wall_ms(proxy->loop) / 1000;
    if (second != proxy->date_second) {
        proxy->date_second = second;
        text_format_http_date(second, proxy->date);
    }
    return (struct slice){proxy->date, TEXT_HTTP_DATE_SIZE - 1};
}

struct slice answer_limit_fields(struct exchange *exchange, char memory[LIMIT_FIELDS_SIZE])
{
    const struct limit_decision *decision = &exchange->decision;
    struct proxy *proxy = exchange->proxy;
    struct lane *lane = exchange_lane(exchange);
    int64_t wall_ms = loop_wall_ms(proxy->loop);
    struct text text;
    if (!exchange->is_limited || decision->window_count == 0)
        return SLICE("");
    if (LIKELY(lane != NULL)) {
        const struct limit_fields *fields = lane_limit_fields(lane, exchange->policy, decision);
        char *end = limit_fields_put(memory, fields, decision, wall_ms);
        return (struct slice){memory, (size_t)(end - memory)};
    }
    text_init(&text, memory, LIMIT_FIELDS_SIZE);
    limit_fields_write(&text, exchange->policy, decision, exchange->tier->name,
                       proxy->settings.reply, wall_ms);
    return text_slice(&text);
}

/* A chunked body of which nothing was consumed yet: do the bytes at hand hold all of it? Tried on a
 * copy. */
static bool holds_chunked_body(const struct exchange *exchange, struct slice unread)
{
    const struct proxy *proxy = exchange->proxy;
    struct http_body body = exchange->request_body;
    size_t payload, consumed;
    if (exchange->sent_us > 0 || body.trailers != NULL || unread.length == 0 ||
        unread.length > proxy->scratch_size)
        return false;
    memcpy(proxy->scratch, unread.data, unread.length);
    bool is_whole = http_body_decode(&body, proxy->scratch, unread.length, &payload, &consumed) ==
                    HTTP_BODY_DONE;
    http_body_clear(&body);
    return is_whole;
}

/* Whether what is still to come of the request has arrived, or is little enough to be read and
 * dropped. */
static bool can_skip_rest(const struct exchange *exchange)
{
    const struct http_body *body = &exchange->request_body;
    struct slice unread = client_unread(exchange->client);
    if (body->is_complete)
        return true;
    if (body->framing == HTTP_FRAMING_CHUNKED)
        return holds_chunked_body(exchange, unread);
    /* A client that waits for 100 may never send its body, or may: the connection's state is
     * unknown. */
    if (exchange->expects_continue)
        return body->remaining <= unread.length;
    return body->framing == HTTP_FRAMING_LENGTH && body->remaining <= PROXY_SMALL_REST;
}

static struct slice allowed_origin(const struct exchange *exchange)
{
    const struct reply_options *options = exchange->proxy->settings.reply;
    for (size_t i = 0; exchange->origin.length > 0 && i < options->cors_origin_count; i++) {
        struct slice allowed = slice_of(options->cors_origins[i]);
        if (slice_equal(allowed, SLICE("*")) || slice_equal(allowed, exchange->origin))
            return exchange->origin;
    }
    return SLICE("");
}

static bool is_problem(const struct exchange *exchange)
{
    enum reply_problem_json option = exchange->proxy->settings.reply->problem_json;
    return option == REPLY_PROBLEM_ALWAYS ||
           (option == REPLY_PROBLEM_AUTO && exchange->wants_problem_json);
}

/* "\"minute\", \"hour\"": every window that denies. */
static struct slice violated_windows(const struct exchange *exchange, char *memory, size_t size)
{
    struct text names;
    text_init(&names, memory, size);
    for (size_t i = 0; exchange->is_limited && i < exchange->decision.window_count; i++) {
        if (exchange->decision.levels[i].wait_ms == 0)
            continue;
        text_append_format(&names, "%s\"%s\"", names.length > 0 ? ", " : "",
                           exchange->policy->windows[i].name);
    }
    return text_slice(&names);
}

static void send_reply(struct exchange *exchange, struct reply *reply, const char *reason)
{
    struct proxy *proxy = exchange->proxy;
    struct client *client = exchange->client;
    struct text out;
    size_t body_bytes = 0;
    text_init(&out, proxy->scratch, proxy->scratch_size);
    exchange->keep_alive = exchange->wants_keep_alive && !reply_closes(reply->kind) &&
                           !proxy->is_draining && !client->has_ended && can_skip_rest(exchange);
    reply->keep_alive = exchange->keep_alive;
    reply->minor_version = exchange->minor_version;
    reply->is_head_method = exchange->is_head_method;
    reply->is_problem_json = is_problem(exchange);
    reply->request_id = exchange->request_id;
    reply->date = answer_date(proxy);
    reply->cors_origin = allowed_origin(exchange);
    reply_write(&out, reply, &body_bytes);

    exchange->status = reply_status(reply->kind);
    exchange->reason = reason;
    exchange->has_answer = true;
    exchange->bytes_out = (int64_t)body_bytes;
    exchange_enter(exchange, EXCHANGE_REPLY);
    const struct iovec part = {out.data, out.length};
    if (stream_write(&client->stream, &part, 1) == STREAM_FAILED) {
        exchange_finish(exchange, CLIENT_CLOSE, "client_closed");
        return;
    }
    relay_watch_client(exchange);
    exchange_complete(exchange);
}

/* What a 429's body says of the bucket that refused. */
static void add_quota(const struct exchange *exchange, struct reply *reply)
{
    const struct limit_decision *decision = &exchange->decision;
    const struct limit_level *level = &decision->levels[decision->binding];
    struct lane *lane = exchange_lane(exchange);
    reply->limit = level->capacity;
    reply->remaining = level->remaining;
    reply->wait_ms = decision->wait_ms;
    if (LIKELY(lane != NULL && !is_problem(exchange))) {
        reply->quota_start =
            lane_quota_start(lane, exchange->policy, decision->binding, level->capacity);
        reply->quota_end = lane_quota_end(lane);
        return;
    }
    reply->tier = exchange->tier->name;
    reply->window = slice_of(exchange->policy->windows[decision->binding].name);
    reply->upgrade_url = slice_of(exchange->proxy->settings.reply->upgrade_url);
}

void answer_send(struct exchange *exchange, enum reply_kind kind, const char *reason)
{
    char fields[LIMIT_FIELDS_SIZE], violated[LIMIT_MAX_WINDOWS * (LIMIT_WINDOW_NAME_SIZE + 4)];
    struct reply reply = {.kind = kind};
    reply.limit_fields = answer_limit_fields(exchange, fields);
    if (kind == REPLY_RATE_LIMITED) {
        add_quota(exchange, &reply);
        if (is_problem(exchange))
            reply.violated = violated_windows(exchange, violated, sizeof(violated));
    }
    send_reply(exchange, &reply, reason);
}

void answer_send_limited(struct exchange *exchange,
                         struct slice window,
                         int64_t limit,
                         int64_t wait_ms)
{
    struct reply reply = {
        .kind = REPLY_RATE_LIMITED,
        .tier = exchange->tier->name,
        .window = window,
        .limit = limit,
        .wait_ms = wait_ms,
        .upgrade_url = slice_of(exchange->proxy->settings.reply->upgrade_url),
    };
    send_reply(exchange, &reply, NULL);
}
