/* SPDX-License-Identifier: MIT */
/*
 * One client connection: its bytes become request heads, one exchange at a
 * time; pipelined requests wait in `input` until their turn. Promises: an idle
 * connection owns no buffer; the header deadline is absolute; what cannot be
 * consumed is never more than one read; the struct lives until the turn ends.
 *
 *   WAITING ──first bytes──> READING_HEAD ──whole──> EXCHANGING ──kept──> WAITING
 *      │ idle, end, drain        │ deadline: 408         │ closing
 *      └────────> CLOSED <───────┴──────────── LINGERING <┘
 */
#include <string.h>
#include <unistd.h>

#include "kamiyo/net/proxy_protocol.h"
#include "kamiyo/observe/metrics.h"

#include "proxy/proxy_internal.h"

enum {
    REQUESTS_A_TURN = 32 /* that are answered at once, of one client; a read may hold thousands */
};

static void client_process(struct client *client, char *bytes, size_t length);

static void run_later(void *arg)
{
    struct client *client = arg;
    if (client->phase == CLIENT_CLOSED)
        mem_pool_give(&client->proxy->clients, client);
    else
        client_feed(client);
}

void client_close(struct client *client)
{
    struct proxy *proxy = client->proxy;
    if (client->phase == CLIENT_CLOSED)
        return;
    client->phase = CLIENT_CLOSED;
    if (client->exchange != NULL)
        exchange_on_client_lost(client->exchange, "client_closed");
    loop_timer_stop(&client->timer);
    stream_close(&client->stream);
    input_clear(&client->input);
    LIST_REMOVE(client, entry);
    proxy->client_count--;
    if (proxy->parts.connection_limit != NULL)
        listener_limit_release(proxy->parts.connection_limit);
    metrics_add(proxy->parts.metrics, METRICS_CLIENT_CONNECTIONS, -1);
    loop_defer(proxy->loop, &client->later_task);
}

static void start_timer(struct client *client, int64_t ms)
{
    loop_timer_start(client->proxy->loop, &client->timer, ms);
}

/* Between two requests. */
static void wait_for_request(struct client *client)
{
    client->phase = CLIENT_WAITING;
    if (client->proxy->is_draining && client->input.length == 0) {
        client_close(client);
        return;
    }
    start_timer(client, client->proxy->settings.client->idle_timeout_ms);
}

void client_drain(struct client *client)
{
    if (client->phase == CLIENT_WAITING)
        start_timer(client, PROXY_DRAIN_IDLE_MS);
}

/* Answered, but the client may still be sending: read and drop, so that it sees the answer (RFC
 * 9112 9.6). */
static void linger(struct client *client)
{
    client->phase = CLIENT_LINGERING;
    client->linger_bytes = 0;
    input_clear(&client->input);
    if (client->has_ended) {
        client_close(client);
        return;
    }
    stream_shutdown_write(&client->stream);
    stream_resume(&client->stream);
    start_timer(client, PROXY_LINGER_MS);
}

static void read_and_drop(struct client *client)
{
    size_t length = 0;
    enum stream_result result =
        stream_read(&client->stream, client->proxy->read_buffer, PROXY_READ_BYTES, &length);
    if (result == STREAM_AGAIN)
        return;
    client->linger_bytes += (uint32_t)length;
    if (result != STREAM_OK || client->linger_bytes > PROXY_LINGER_BYTES)
        client_close(client);
}

void client_watch_half_close(struct client *client)
{
    client->written_at_check = client->stream.bytes_written;
    start_timer(client, PROXY_HALF_CLOSE_MS);
}

static void on_timeout(void *arg)
{
    struct client *client = arg;
    switch (client->phase) {
    case CLIENT_READING_HEAD:
        exchange_refuse(client, 408, "header_timeout", SLICE(""), SLICE(""));
        break;
    case CLIENT_EXCHANGING:
        if (!client->has_ended) {
            exchange_on_body_timeout(client->exchange);
        } else if (client->stream.bytes_written > client->written_at_check ||
                   stream_pending(&client->stream) > 0) {
            /* It takes what we send, or what is held back for it would have met a reset: only its
             * side is closed. */
            client_watch_half_close(client);
        } else {
            client_close(client);
        }
        break;
    case CLIENT_WAITING:
    case CLIENT_LINGERING:
        client_close(client);
        break;
    case CLIENT_CLOSED:
        break;
    }
}

/* The bytes that nobody consumed become (or stay) the input. */
static void keep_rest(struct client *client, char *bytes, size_t length)
{
    struct input *input = &client->input;
    if (client->phase == CLIENT_CLOSED || client->phase == CLIENT_LINGERING) {
        input_clear(input);
        return;
    }
    if (length == 0) {
        input_clear(input);
        return;
    }
    if (input->length > 0) { /* the bytes are the input's own tail */
        input->start = (size_t)(bytes - input->data);
        input->length = length;
        return;
    }
    input_append(input, bytes, length);
}

/* A parser that lives as long as its head takes to arrive; it begins anew with the first byte. */
static struct http_parser *own_parser(struct client *client)
{
    const struct http_limits *limits = &client->proxy->request_limits;
    if (client->input.parser == NULL) {
        size_t spans = http_parser_fields_size(limits);
        struct http_parser *parser = mem_alloc(sizeof(*parser) + spans);
        http_parser_init_request(parser, limits, (struct http_parser_field *)(void *)(parser + 1));
        client->input.parser = parser;
    }
    return client->input.parser;
}

void client_reread_head(struct client *client)
{
    mem_free(client->input.parser);
    client->input.parser = NULL;
}

static void await_rest_of_head(struct client *client)
{
    if (client->phase != CLIENT_READING_HEAD) {
        client->phase = CLIENT_READING_HEAD;
        start_timer(client, client->proxy->settings.client->header_timeout_ms);
    }
}

/* What the parser has understood of a request line that it refuses, for the log. */
static struct slice span_text(const char *bytes, size_t length, struct http_parser_span span)
{
    if ((size_t)span.offset + span.length > length)
        return SLICE("");
    return (struct slice){bytes + span.offset, span.length};
}

/* Make an exchange of the head at *bytes. False: it is not whole (the caller keeps the bytes), or
 * it was refused. */
static bool begin_request(struct client *client, char **bytes, size_t *length)
{
    struct proxy *proxy = client->proxy;
    struct http_parser *parser = &proxy->parser;
    struct http_request_head head;
    size_t consumed = 0;

    if (client->phase == CLIENT_READING_HEAD && client->input.length > 0)
        parser = own_parser(client);
    else
        http_parser_init_request(parser, &proxy->request_limits, proxy->parser_fields);
    head.head.fields = proxy->head_fields;

    switch (http_parser_request(parser, *bytes, *length, &head, &consumed)) {
    case HTTP_PARSER_MORE:
        await_rest_of_head(client);
        return false;
    case HTTP_PARSER_ERROR:
        exchange_refuse(client, parser->error_status, parser->error_reason,
                        span_text(*bytes, *length, parser->method),
                        span_text(*bytes, *length, parser->target));
        return false;
    case HTTP_PARSER_HEAD:
        break;
    }
    *bytes += consumed;
    *length -= consumed;
    client->phase = CLIENT_EXCHANGING;
    client->ahead = (struct slice){*bytes, *length};
    exchange_begin(client, &head);
    client->ahead = SLICE("");
    if (client->exchange != NULL) /* else the timer has been set anew for what follows */
        loop_timer_stop(&client->timer);
    mem_free(client->input.parser);
    client->input.parser = NULL;
    return true;
}

static void set_peer(struct client *client, const struct addr *peer)
{
    char text[ADDR_TEXT_SIZE];
    client->peer = *peer;
    client->peer_text_length = 0;
    if (peer->family != ADDR_IPV4)
        return;
    client->peer_text_length = (uint8_t)addr_format(peer, text);
    memcpy(client->peer_text, text, client->peer_text_length);
}

struct slice client_peer_text(const struct client *client, char memory[ADDR_TEXT_SIZE])
{
    if (client->peer_text_length > 0)
        return (struct slice){client->peer_text, client->peer_text_length};
    return (struct slice){memory, addr_format(&client->peer, memory)};
}

/* PROXY protocol: the first bytes of the connection name its true source. False: more is needed, or
 * it is closed. */
static bool take_proxy_header(struct client *client, char **bytes, size_t *length)
{
    struct addr source = client->peer;
    size_t consumed = 0;
    switch (proxy_protocol_parse(*bytes, *length, &source, &consumed)) {
    case PROXY_PROTOCOL_MORE:
        await_rest_of_head(client);
        return false;
    case PROXY_PROTOCOL_ERROR:
        client_close(client); /* no HTTP was spoken: nothing to answer */
        return false;
    case PROXY_PROTOCOL_DONE:
        break;
    }
    *bytes += consumed;
    *length -= consumed;
    client->awaits_proxy_header = false;
    set_peer(client, &source);
    client->phase = CLIENT_WAITING;
    return true;
}

static bool is_between_requests(const struct client *client)
{
    return client->phase == CLIENT_WAITING || client->phase == CLIENT_READING_HEAD;
}

/*
 * Deal with bytes that stand in the read buffer or at the input's start: requests one after the
 * other as long as each is answered at once, else the part that the present one takes.
 */
static void client_process(struct client *client, char *bytes, size_t length)
{
    int begun = 0;

    client->is_processing = true;
    while (client->phase == CLIENT_EXCHANGING || (is_between_requests(client) && length > 0)) {
        if (client->exchange == NULL) {
            if (begun++ == REQUESTS_A_TURN) { /* the others, too, want their turn */
                stream_pause(&client->stream);
                loop_defer(client->proxy->loop, &client->later_task);
                break;
            }
            if (client->awaits_proxy_header && !take_proxy_header(client, &bytes, &length))
                break;
            size_t skip =
                client->phase == CLIENT_WAITING ? http_parser_skip_empty_lines(bytes, length) : 0;
            bytes += skip;
            length -= skip;
            if (length == 0 || (length == 1 && *bytes == '\r')) /* perhaps half an empty line */
                break;
            if (!begin_request(client, &bytes, &length))
                break;
            if (client->exchange == NULL)
                continue; /* answered already */
        }
        size_t taken = exchange_take(client->exchange, bytes, length);
        bytes += taken;
        length -= taken;
        if (client->exchange != NULL)
            break; /* it waits: for more bytes, or to be able to take these */
    }
    client->is_processing = false;
    keep_rest(client, bytes, length);
    if (client->has_ended && is_between_requests(client) && !client->later_task.is_queued)
        client_close(client); /* no more can come, and what came is answered */
}

struct slice client_unread(const struct client *client)
{
    const struct input *input = &client->input;
    if (client->ahead.length > 0 || input->length == 0)
        return client->ahead;
    return (struct slice){input->data + input->start, input->length};
}

void client_feed(struct client *client)
{
    struct input *input = &client->input;
    if (client->is_processing || client->phase == CLIENT_CLOSED)
        return; /* who is further up the stack goes on with what there is */
    if (input->length > 0)
        client_process(client, input->data + input->start, input->length);
    else
        client_process(client, client->proxy->nothing, 0);
    if (client->phase == CLIENT_CLOSED || client->has_ended || client->later_task.is_queued)
        return;
    /* Between requests what is left is part of a head, whose rest must be read. */
    if (client->exchange == NULL || (input->length == 0 && !exchange_is_blocked(client->exchange)))
        stream_resume(&client->stream);
}

void client_exchange_done(struct client *client, enum client_fate fate, bool has_unread)
{
    client->exchange = NULL;
    if (client->phase == CLIENT_CLOSED)
        return;
    /* Each of these sets the timer anew, which costs less when it is running. */
    if (fate == CLIENT_ABORT) {
        stream_abort(&client->stream);
        client_close(client);
    } else if (fate == CLIENT_CLOSE) {
        if (has_unread || client->input.length > 0 || client->stream.is_paused)
            linger(client);
        else
            client_close(client);
    } else {
        wait_for_request(client);
        if (!client->is_processing)
            client_feed(client);
    }
}

static void on_end(struct client *client)
{
    client->has_ended = true;
    if (client->exchange == NULL) {
        client_close(client);
        return;
    }
    stream_pause(&client->stream); /* the end would be announced for ever */
    exchange_on_client_end(client->exchange);
}

static void read_request(struct client *client)
{
    char *buffer = client->proxy->read_buffer;
    size_t capacity = PROXY_READ_BYTES;
    size_t length = 0;
    bool is_appending = client->input.length > 0;
    if (is_appending) {
        buffer = input_reserve(&client->input, 4096); /* the parser bounds how often */
        capacity = client->input.capacity - client->input.length;
    }
    switch (stream_read(&client->stream, buffer, capacity, &length)) {
    case STREAM_AGAIN:
        return;
    case STREAM_FAILED:
        client_close(client);
        return;
    case STREAM_END:
        on_end(client);
        return;
    case STREAM_OK:
        break;
    }
    if (is_appending) {
        client->input.length += length;
        client_process(client, client->input.data + client->input.start, client->input.length);
    } else {
        client_process(client, buffer, length);
    }
}

/* While an exchange runs: its body, or what the client sends ahead of time. */
static void read_for_exchange(struct client *client)
{
    size_t length = 0;
    if (client->input.length > 0 || exchange_is_blocked(client->exchange)) {
        stream_pause(&client->stream);
        return;
    }
    switch (stream_read(&client->stream, client->proxy->read_buffer, PROXY_READ_BYTES, &length)) {
    case STREAM_AGAIN:
        break;
    case STREAM_FAILED:
        client_close(client);
        break;
    case STREAM_END:
        on_end(client);
        break;
    case STREAM_OK:
        client_process(client, client->proxy->read_buffer, length);
        break;
    }
}

static void on_readable(struct stream *stream, void *arg)
{
    struct client *client = arg;
    (void)stream;
    switch (client->phase) {
    case CLIENT_WAITING:
    case CLIENT_READING_HEAD:
        read_request(client);
        break;
    case CLIENT_EXCHANGING:
        read_for_exchange(client);
        break;
    case CLIENT_LINGERING:
        read_and_drop(client);
        break;
    case CLIENT_CLOSED:
        break;
    }
}

static void on_drained(struct stream *stream, void *arg)
{
    struct client *client = arg;
    (void)stream;
    if (client->exchange != NULL)
        exchange_on_client_drained(client->exchange);
}

static void on_failed(struct stream *stream, void *arg)
{
    (void)stream;
    client_close(arg);
}

static const struct stream_handler client_handler = {
    .on_readable = on_readable,
    .on_drained = on_drained,
    .on_failed = on_failed,
};

struct client *
client_create(struct proxy *proxy, int fd, const struct addr *peer, bool awaits_proxy_header)
{
    struct client *client = mem_pool_take(&proxy->clients);
    memset(client, 0, sizeof(*client));
    client->proxy = proxy;
    set_peer(client, peer);
    client->awaits_proxy_header = awaits_proxy_header;
    loop_timer_init(&client->timer, on_timeout, client);
    loop_task_init(&client->later_task, run_later, client);
    stream_init(&client->stream, proxy->loop, fd, &client_handler, client);
    LIST_INSERT_HEAD(&proxy->open_clients, client, entry);
    proxy->client_count++;
    metrics_add(proxy->parts.metrics, METRICS_CLIENT_CONNECTIONS, 1);
    client->phase = CLIENT_WAITING;
    start_timer(client, proxy->settings.client->idle_timeout_ms);
    return client;
}
