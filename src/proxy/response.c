/* SPDX-License-Identifier: MIT */
/*
 * What comes back from the upstream: heads of interim and final responses, a
 * switch to another protocol, or a failure in place of one. A response that
 * cannot be read in one way only is a 502 and costs its connection; so does any
 * byte after a response's end.
 */
#include "kamiyo/http/writer.h"
#include "kamiyo/observe/metrics.h"
#include "kamiyo/proxy/limit_fields.h"

#include "proxy/proxy_internal.h"

static void take_bytes(struct exchange *exchange, char *bytes, size_t length);

/* How the body goes on to the client, by what came, who asked and how (RFC 9112 6.3, 7.1). */
static void decide_delivery(struct exchange *exchange,
                            const struct http_response_head *response,
                            struct http_delivery *delivery)
{
    const struct http_head *head = &response->head;
    const struct proxy *proxy = exchange->proxy;
    delivery->client_minor_version = exchange->minor_version;
    delivery->framing = head->framing;
    delivery->content_length = head->content_length;
    if (head->framing == HTTP_FRAMING_NONE) {
        /* To HEAD and with 304 the length of what is not sent (RFC 9110 8.6). */
        if (response->status != 204 && head->has_content_length)
            delivery->framing = HTTP_FRAMING_LENGTH;
    } else if (head->framing != HTTP_FRAMING_LENGTH) {
        delivery->framing =
            exchange->minor_version == 0 ? HTTP_FRAMING_UNTIL_CLOSE : HTTP_FRAMING_CHUNKED;
    }
    exchange->is_chunked_answer = delivery->framing == HTTP_FRAMING_CHUNKED;
    exchange->is_close_delimited = delivery->framing == HTTP_FRAMING_UNTIL_CLOSE;

    const struct http_body *rest = &exchange->request_body;
    bool has_little_rest =
        rest->is_complete || (!exchange->expects_continue && rest->framing == HTTP_FRAMING_LENGTH &&
                              rest->remaining <= PROXY_SMALL_REST);
    exchange->keep_alive = exchange->wants_keep_alive && !exchange->is_close_delimited &&
                           has_little_rest && !proxy->is_draining && !exchange->client->has_ended;
    delivery->keep_alive = exchange->keep_alive;
    delivery->request_id = exchange->request_id;
    delivery->date = answer_date(exchange->proxy);
}

static void add_limit_fields(struct exchange *exchange,
                             struct http_delivery *delivery,
                             char memory[LIMIT_FIELDS_SIZE])
{
    const struct reply_options *options = exchange->proxy->settings.reply;
    delivery->extra = answer_limit_fields(exchange, memory);
    delivery->replaces_limit_fields = exchange->is_limited && options->has_x_ratelimit;
    delivery->replaces_ratelimit_fields = exchange->is_limited && options->has_ratelimit;
}

/* A whole number; one of more digits than 64 bits hold is the largest that they do. */
static bool parse_cost(struct slice text, uint64_t *cost)
{
    if (slice_parse_u64(text, cost))
        return true;
    for (size_t i = 0; i < text.length; i++)
        if (text.data[i] < '0' || text.data[i] > '9')
            return false;
    *cost = UINT64_MAX;
    return text.length > 0;
}

/* cost_from: a whole number in a response field, up to max_cost; anything else costs nothing. */
static void note_cost(struct exchange *exchange, const struct http_response_head *response)
{
    uint64_t cost;
    if (exchange->route->cost_from.length == 0)
        return;
    const struct http_field *field =
        http_head_find_name(&response->head, exchange->route->cost_from);
    if (field == NULL || !parse_cost(field->value, &cost))
        return;
    int64_t max = exchange->route->max_cost;
    exchange->cost_after = cost > (uint64_t)max ? max : (int64_t)cost;
}

/*
 * To HEAD, and with 204 and 304, a body is only spoken of. An upstream that sends it all the same,
 * a moment later, would have it read as its answer to the next request: where there might be one,
 * the connection is not used again. A HEAD without a length speaks of a body that ends by a close.
 */
static bool may_send_unasked_body(const struct exchange *exchange, const struct http_head *head)
{
    if (head->framing != HTTP_FRAMING_NONE)
        return false;
    return head->content_length > 0 || head->first[HTTP_FIELD_TRANSFER_ENCODING] >= 0 ||
           (exchange->is_head_method && !head->has_content_length);
}

static void note_final(struct exchange *exchange, const struct http_response_head *response)
{
    exchange->status = response->status;
    exchange->has_answer = true;
    exchange->keeps_upstream = response->head.keep_alive &&
                               response->head.framing != HTTP_FRAMING_UNTIL_CLOSE &&
                               !may_send_unasked_body(exchange, &response->head);
    note_cost(exchange, response);
}

static bool send_head(struct exchange *exchange,
                      const struct http_response_head *response,
                      struct http_delivery *delivery,
                      struct text *out)
{
    char fields[LIMIT_FIELDS_SIZE];
    text_init(out, exchange->proxy->scratch, exchange->proxy->scratch_size);
    add_limit_fields(exchange, delivery, fields);
    http_writer_response(out, response, delivery);
    return !out->overflow;
}

static void fail(struct exchange *exchange, const char *reason)
{
    upstream_pool_report(exchange->upstream, false);
    exchange_release_upstream(exchange, UPSTREAM_CLOSE);
    metrics_count_upstream_error(exchange->proxy->parts.metrics, reason);
    answer_send(exchange, REPLY_BAD_GATEWAY, reason);
}

/* Whether the protocol that the upstream switches to is one that the client asked for (RFC 9110
 * 7.8). */
static bool is_asked_for(const struct exchange *exchange, struct slice protocol)
{
    struct slice rest = exchange->upgrade, part;
    while (slice_cut(&rest, ',', &part))
        if (slice_equal_ignore_case(slice_trim(part), slice_trim(protocol)))
            return true;
    return false;
}

static void on_switch(struct exchange *exchange,
                      const struct http_response_head *response,
                      char *rest,
                      size_t rest_length)
{
    struct http_delivery delivery = {
        .client_minor_version = exchange->minor_version,
        .framing = HTTP_FRAMING_NONE,
        .request_id = exchange->request_id,
        .tunnel = http_head_find(&response->head, HTTP_FIELD_UPGRADE),
        .date = answer_date(exchange->proxy),
    };
    struct text out;
    if (exchange->upgrade.length == 0 || !exchange->request_body.is_complete ||
        !response->head.has_upgrade || !is_asked_for(exchange, delivery.tunnel)) {
        fail(exchange, "unasked_upgrade");
        return;
    }
    if (!send_head(exchange, response, &delivery, &out)) {
        fail(exchange, "response_head_too_large");
        return;
    }
    note_final(exchange, response);
    relay_tunnel_begin(exchange, text_slice(&out), rest, rest_length);
}

static void on_final(struct exchange *exchange,
                     const struct http_response_head *response,
                     char *rest,
                     size_t rest_length)
{
    struct http_delivery delivery = {0};
    struct text out;
    decide_delivery(exchange, response, &delivery);
    if (!send_head(exchange, response, &delivery, &out)) {
        fail(exchange, "response_head_too_large");
        return;
    }
    exchange->upstream_us = loop_now(exchange->proxy->loop)->monotonic_us - exchange->sent_us;
    upstream_pool_report(exchange->upstream, true);
    note_final(exchange, response);
    http_body_init(&exchange->response_body, &response->head);
    exchange_enter(exchange, EXCHANGE_RESPONSE);
    relay_download(exchange, text_slice(&out), rest, rest_length);
}

static void on_interim(struct exchange *exchange,
                       const struct http_response_head *response,
                       char *rest,
                       size_t rest_length)
{
    if (++exchange->interim_count > PROXY_MAX_INTERIM) {
        fail(exchange, "too_many_interim_responses");
        return;
    }
    if (exchange->minor_version > 0) { /* HTTP/1.0 has none (RFC 9110 15.2) */
        struct text out;
        text_init(&out, exchange->proxy->scratch, exchange->proxy->scratch_size);
        http_writer_interim(&out, response);
        const struct iovec part = {out.data, out.length};
        if (!out.overflow && stream_write(&exchange->client->stream, &part, 1) == STREAM_FAILED) {
            exchange_finish(exchange, CLIENT_CLOSE, "client_closed");
            return;
        }
        relay_watch_client(exchange);
    }
    if (response->status == 100)
        exchange->expects_continue = false; /* now the body comes */
    if (rest_length > 0)
        take_bytes(exchange, rest, rest_length);
}

/* Bytes before the final head, from its first byte on. They are in the read buffer or in
 * response_input. */
static void take_bytes(struct exchange *exchange, char *bytes, size_t length)
{
    struct proxy *proxy = exchange->proxy;
    struct input *input = &exchange->response_input;
    struct http_response_head response;
    size_t consumed = 0;
    response.head.fields = proxy->head_fields;
    http_parser_init_response(&proxy->parser, &proxy->response_limits, proxy->parser_fields);
    switch (http_parser_response(&proxy->parser, bytes, length, exchange->is_head_method, &response,
                                 &consumed)) {
    case HTTP_PARSER_MORE:
        if (input->length == 0) {
            input_append(input, bytes, length);
        } else {
            input->start = (size_t)(bytes - input->data);
            input->length = length;
        }
        return;
    case HTTP_PARSER_ERROR:
        fail(exchange, proxy->parser.error_reason);
        return;
    case HTTP_PARSER_HEAD:
        break;
    }
    bytes += consumed;
    length -= consumed;
    if (input->length > 0) {
        input->start += consumed;
        input->length = length;
    }
    if (response.status == 101)
        on_switch(exchange, &response, bytes, length);
    else if (response.status < 200)
        on_interim(exchange, &response, bytes, length);
    else
        on_final(exchange, &response, bytes, length);
}

/* The upstream has closed, or broke, at a point where a head was due. */
static void on_no_answer(struct exchange *exchange, const char *reason)
{
    exchange_upstream_failed(exchange, REPLY_BAD_GATEWAY, reason);
}

static void on_upstream_end(struct exchange *exchange)
{
    switch (exchange->state) {
    case EXCHANGE_REQUEST:
        on_no_answer(exchange,
                     exchange->response_input.length > 0 ? "upstream_cut_head" : "upstream_closed");
        break;
    case EXCHANGE_RESPONSE:
        relay_download_end(exchange);
        break;
    case EXCHANGE_TUNNEL:
        relay_tunnel_end(exchange, false);
        break;
    case EXCHANGE_HEAD:
    case EXCHANGE_IDENTITY:
    case EXCHANGE_LIMIT:
    case EXCHANGE_UPSTREAM:
    case EXCHANGE_REPLY:
    case EXCHANGE_DONE:
    case EXCHANGE_STATE_COUNT:
        break;
    }
}

static void on_upstream_broken(struct exchange *exchange)
{
    if (exchange->state == EXCHANGE_REQUEST) {
        on_no_answer(exchange, "upstream_reset");
    } else if (exchange->state == EXCHANGE_RESPONSE) {
        metrics_count_upstream_error(exchange->proxy->parts.metrics, "upstream_reset");
        upstream_pool_report(exchange->upstream, false);
        exchange_finish(exchange, exchange->is_close_delimited ? CLIENT_ABORT : CLIENT_CLOSE,
                        "upstream_cut");
    } else if (exchange->state == EXCHANGE_TUNNEL) {
        exchange_finish(exchange, CLIENT_ABORT, NULL);
    }
}

static void on_bytes(struct exchange *exchange, char *bytes, size_t length)
{
    if (exchange->state == EXCHANGE_RESPONSE)
        relay_download(exchange, SLICE(""), bytes, length);
    else if (exchange->state == EXCHANGE_TUNNEL)
        relay_tunnel_down(exchange, bytes, length);
    else
        take_bytes(exchange, bytes, length);
}

static void on_readable(struct stream *stream, void *arg)
{
    struct exchange *exchange = arg;
    struct input *input = &exchange->response_input;
    size_t length = 0, capacity = PROXY_READ_BYTES;
    char *buffer = exchange->proxy->read_buffer;
    if (stream_pending(&exchange->client->stream) > 0) {
        stream_pause(stream); /* until the client has taken what it has */
        return;
    }
    if (input->length > 0) {
        buffer = input_reserve(input, 4096);
        capacity = input->capacity - input->length;
    }
    switch (stream_read(stream, buffer, capacity, &length)) {
    case STREAM_AGAIN:
        break;
    case STREAM_END:
        on_upstream_end(exchange);
        break;
    case STREAM_FAILED:
        on_upstream_broken(exchange);
        break;
    case STREAM_OK:
        if (input->length > 0) {
            input->length += length;
            on_bytes(exchange, input->data + input->start, input->length);
            if (exchange->state != EXCHANGE_REQUEST)
                input_clear(input); /* the head is whole and all behind it has been passed on */
        } else {
            on_bytes(exchange, buffer, length);
        }
        break;
    }
}

/* The upstream has taken what was held back for it: the client may go on. */
static void on_drained(struct stream *stream, void *arg)
{
    struct exchange *exchange = arg;
    (void)stream;
    if (exchange->state == EXCHANGE_REQUEST && exchange->request_body.is_complete)
        loop_timer_start(exchange->proxy->loop, &exchange->timer,
                         exchange->proxy->settings.upstream->response_timeout_ms);
    client_feed(exchange->client);
}

/* What was pending could not be written. An answer may have come all the same: reading will tell.
 */
static void on_failed(struct stream *stream, void *arg)
{
    struct exchange *exchange = arg;
    (void)stream;
    if (exchange->state == EXCHANGE_TUNNEL)
        on_upstream_broken(exchange);
    else
        relay_stop_upload(exchange);
}

const struct stream_handler response_handler = {
    .on_readable = on_readable,
    .on_drained = on_drained,
    .on_failed = on_failed,
};
