/* SPDX-License-Identifier: MIT */
/*
 * One connection to the admin listener: reads a request's head, has it
 * answered, reads the next. A request has no body; whatever a client sends
 * ahead waits in the input buffer, which bounds it, until the answer is out.
 *
 *   reading head ──whole──► answering (now, or when the source's call is done)
 *        ▲                        │ written        │ /api/events
 *        └──────keep-alive────────┘──────┐         ▼
 *                                        │     streaming, until either side ends it
 *                                        └──────► closed ──end of turn──► freed
 */
#include <stdint.h>
#include <string.h>
#include <sys/uio.h>

#include "kamiyo/base/mem.h"
#include "kamiyo/http/writer.h"

#include "admin/admin_internal.h"

/* First byte to whole head, and between requests; absolute, so that trickling does not help. */
#define HEAD_TIMEOUT_MS 10000
#define IDLE_TIMEOUT_MS 75000
/* An answer (the source's deadline included) that has not left by then never will. */
#define ANSWER_TIMEOUT_MS 15000

static const struct http_limits limits = {
    .max_head_bytes = ADMIN_MAX_HEAD_BYTES,
    .max_target_bytes = ADMIN_MAX_TARGET_BYTES,
    .max_fields = ADMIN_MAX_FIELDS,
};

static void free_connection(void *arg)
{
    mem_free(arg);
}

void admin_connection_close(struct admin_connection *connection)
{
    struct admin *admin = connection->admin;

    if (connection->is_closed)
        return;
    connection->is_closed = true;
    if (connection->call != NULL)
        admin->source.cancel(admin->source.arg, &connection->call);
    if (connection->survey_call != NULL)
        admin->source.survey_cancel(admin->source.arg, &connection->survey_call);
    if (connection->explain_call != NULL)
        admin->source.explain_cancel(admin->source.arg, &connection->explain_call);
    if (connection->is_streaming) {
        connection->is_streaming = false;
        admin_events_leave(admin);
    }
    loop_timer_stop(&connection->timer);
    stream_close(&connection->stream);
    TAILQ_REMOVE(&admin->connections, connection, entry);
    listener_limit_release(&admin->limit);
    loop_defer(admin->loop, &connection->free_task);
}

static void on_timeout(void *arg)
{
    admin_connection_close(arg);
}

/* The answer to what came first in the input is out: on to the next. */
static void expect_request(struct admin_connection *connection)
{
    connection->input_length -= connection->head_length;
    memmove(connection->input, connection->input + connection->head_length,
            connection->input_length);
    connection->head_length = 0;
    connection->is_answering = false;
    connection->has_begun = connection->input_length > 0;
    connection->request.head.fields = connection->fields;
    http_parser_init_request(&connection->parser, &limits, connection->spans);
    loop_timer_start(connection->admin->loop, &connection->timer,
                     connection->has_begun ? HEAD_TIMEOUT_MS : IDLE_TIMEOUT_MS);
}

/* The request is whole: what speaks against answering it as it stands? */
static void serve(struct admin_connection *connection, size_t head_length)
{
    const struct http_head *head = &connection->request.head;
    bool has_body = head->framing == HTTP_FRAMING_CHUNKED ||
                    (head->framing == HTTP_FRAMING_LENGTH && head->content_length > 0);

    connection->is_answering = true;
    connection->head_length = head_length;
    connection->is_head = connection->request.is_head_method;
    connection->keep_alive = head->keep_alive && !has_body;
    loop_timer_start(connection->admin->loop, &connection->timer, ANSWER_TIMEOUT_MS);
    if (has_body)
        admin_connection_refuse(connection, 413, "Requests to the admin listener have no body.");
    else
        admin_routes_serve(connection);
}

/* Requests that are here already, one after another, until one is not whole or waits for its
 * answer. */
static void process(struct admin_connection *connection)
{
    while (!connection->is_closed && !connection->is_answering) {
        size_t head_length;
        size_t empty = http_parser_skip_empty_lines(connection->input, connection->input_length);

        connection->input_length -= empty;
        memmove(connection->input, connection->input + empty, connection->input_length);
        if (connection->input_length == 1 && connection->input[0] == '\r')
            return; /* perhaps half an empty line */
        switch (http_parser_request(&connection->parser, connection->input,
                                    connection->input_length, &connection->request, &head_length)) {
        case HTTP_PARSER_MORE:
            return;
        case HTTP_PARSER_HEAD:
            serve(connection, head_length);
            break;
        case HTTP_PARSER_ERROR:
            connection->is_answering = true;
            connection->is_head = false;
            connection->keep_alive = false;
            connection->request.head.minor_version = 1;
            loop_timer_start(connection->admin->loop, &connection->timer, ANSWER_TIMEOUT_MS);
            admin_connection_refuse(connection, connection->parser.error_status,
                                    connection->parser.error_reason);
            break;
        }
    }
}

void admin_connection_proceed(struct admin_connection *connection)
{
    process(connection);
}

static void on_readable(struct stream *stream, void *arg)
{
    struct admin_connection *connection = arg;
    size_t room = sizeof(connection->input) - connection->input_length;
    size_t length;

    if (room == 0) { /* pipelined far ahead: it waits in the kernel */
        stream_pause(stream);
        return;
    }
    switch (stream_read(stream, connection->input + connection->input_length, room, &length)) {
    case STREAM_OK:
        if (connection->is_closing || connection->is_streaming)
            break;
        if (!connection->has_begun && !connection->is_answering)
            loop_timer_start(connection->admin->loop, &connection->timer, HEAD_TIMEOUT_MS);
        connection->has_begun = true;
        connection->input_length += length;
        process(connection);
        break;
    case STREAM_AGAIN:
        break;
    case STREAM_END:
    case STREAM_FAILED:
        admin_connection_close(connection);
        break;
    }
}

/* The answer has left. */
static void finish_answer(struct admin_connection *connection)
{
    if (!connection->keep_alive) {
        /* The client closes once it has read the answer; the timer sees to one that does not. */
        connection->is_closing = true;
        connection->input_length = 0;
        stream_shutdown_write(&connection->stream);
        stream_resume(&connection->stream);
        return;
    }
    expect_request(connection);
    stream_resume(&connection->stream);
}

static void on_drained(struct stream *stream, void *arg)
{
    struct admin_connection *connection = arg;

    (void)stream;
    if (!connection->is_answering || connection->is_streaming || connection->call != NULL ||
        connection->survey_call != NULL || connection->explain_call != NULL)
        return;
    finish_answer(connection);
    process(connection);
}

static void on_failed(struct stream *stream, void *arg)
{
    (void)stream;
    admin_connection_close(arg);
}

static const struct stream_handler handler = {
    .on_readable = on_readable,
    .on_drained = on_drained,
    .on_failed = on_failed,
};

void admin_connection_create(struct admin *admin, int fd)
{
    struct admin_connection *connection = mem_alloc_zero(sizeof(*connection));

    connection->admin = admin;
    loop_task_init(&connection->free_task, free_connection, connection);
    loop_timer_init(&connection->timer, on_timeout, connection);
    TAILQ_INSERT_TAIL(&admin->connections, connection, entry);
    stream_init(&connection->stream, admin->loop, fd, &handler, connection);
    expect_request(connection);
}

void admin_connection_answer(struct admin_connection *connection, const struct admin_answer *answer)
{
    char memory[1024];
    char date[TEXT_HTTP_DATE_SIZE];
    struct text head;
    struct iovec parts[2];
    bool has_body = !connection->is_head && answer->body.length > 0;

    text_format_http_date(loop_wall_ms(connection->admin->loop) / 1000, date);
    text_init(&head, memory, sizeof(memory));
    text_append(&head, SLICE("HTTP/1.1 "));
    text_append_i64(&head, answer->status);
    text_append_char(&head, ' ');
    text_append(&head, slice_of(http_status_reason(answer->status)));
    text_append(&head, SLICE("\r\nDate: "));
    text_append(&head, slice_of(date));
    text_append(&head, SLICE("\r\nContent-Type: "));
    text_append(&head, answer->content_type);
    text_append(&head, SLICE("\r\nContent-Length: "));
    text_append_u64(&head, answer->body.length);
    text_append(&head, SLICE("\r\nCache-Control: no-store\r\nX-Content-Type-Options: nosniff\r\n"));
    text_append(&head, answer->fields);
    http_writer_connection(&head, connection->request.head.minor_version, connection->keep_alive);
    text_append(&head, SLICE("\r\n"));
    parts[0] = (struct iovec){memory, head.length};
    parts[1] = (struct iovec){(void *)(uintptr_t)answer->body.data, answer->body.length};
    switch (stream_write(&connection->stream, parts, has_body ? 2 : 1)) {
    case STREAM_OK:
        finish_answer(connection);
        break;
    case STREAM_AGAIN: /* on_drained goes on */
        stream_pause(&connection->stream);
        break;
    case STREAM_END:
    case STREAM_FAILED:
        admin_connection_close(connection);
        break;
    }
}

bool admin_connection_begin_stream(struct admin_connection *connection,
                                   int kernel_bytes,
                                   struct slice first)
{
    char memory[512];
    char date[TEXT_HTTP_DATE_SIZE];
    struct text head;
    struct iovec part;

    /* Without a length or chunks: its end is the connection's. */
    connection->keep_alive = false;
    text_format_http_date(loop_wall_ms(connection->admin->loop) / 1000, date);
    text_init(&head, memory, sizeof(memory));
    text_append(&head, SLICE("HTTP/1.1 200 OK\r\nDate: "));
    text_append(&head, slice_of(date));
    text_append(&head, SLICE("\r\nContent-Type: text/event-stream\r\nCache-Control: no-store\r\n"
                             "X-Content-Type-Options: nosniff\r\nX-Accel-Buffering: no\r\n"));
    http_writer_connection(&head, connection->request.head.minor_version, false);
    text_append(&head, SLICE("\r\n"));
    if (!connection->is_head)
        text_append(&head, first);
    part = (struct iovec){memory, head.length};
    switch (stream_write(&connection->stream, &part, 1)) {
    case STREAM_OK:
    case STREAM_AGAIN:
        break;
    case STREAM_END:
    case STREAM_FAILED:
        admin_connection_close(connection);
        return false;
    }
    if (connection->is_head) {
        finish_answer(connection);
        return false;
    }
    loop_timer_stop(&connection->timer);
    stream_limit_unsent(&connection->stream, kernel_bytes);
    connection->is_streaming = true;
    return true;
}

void admin_connection_end_stream(struct admin_connection *connection)
{
    if (connection->is_closed)
        return;
    connection->is_streaming = false;
    admin_events_leave(connection->admin);
    loop_timer_start(connection->admin->loop, &connection->timer, ANSWER_TIMEOUT_MS);
    finish_answer(connection);
}

/* "not_found" for 404: the reason phrase, as the contract writes errors. */
static void put_error_name(struct text *out, int status)
{
    for (const char *at = http_status_reason(status); *at != '\0'; at++) {
        char byte = *at == ' ' ? '_' : *at;

        text_append_char(out, byte >= 'A' && byte <= 'Z' ? (char)(byte | 0x20) : byte);
    }
}

void admin_connection_refuse(struct admin_connection *connection, int status, const char *message)
{
    char memory[512];
    struct text body;
    struct admin_answer answer = {.status = status, .content_type = SLICE("application/json")};

    text_init(&body, memory, sizeof(memory));
    text_append(&body, SLICE("{\"error\": \""));
    put_error_name(&body, status);
    text_append(&body, SLICE("\", \"message\": \""));
    text_append_json(&body, slice_of(message));
    text_append(&body, SLICE("\"}\n"));
    answer.body = text_slice(&body);
    if (status == 401)
        answer.fields = SLICE("WWW-Authenticate: Bearer realm=\"kamiyo-gateway admin\"\r\n");
    admin_connection_answer(connection, &answer);
}

void admin_connection_answer_text(struct admin_connection *connection,
                                  int status,
                                  struct slice body)
{
    const struct admin_answer answer = {
        .status = status, .content_type = SLICE("text/plain; charset=utf-8"), .body = body};

    admin_connection_answer(connection, &answer);
}

void admin_connection_answer_json(struct admin_connection *connection,
                                  admin_body_fn *write,
                                  const void *arg)
{
    size_t capacity = 4096;
    char *memory = mem_alloc(capacity);
    struct admin_answer answer = {.status = 200, .content_type = SLICE("application/json")};
    struct text body;

    for (;;) {
        text_init(&body, memory, capacity);
        write(&body, arg);
        if (!body.overflow)
            break;
        capacity *= 2;
        memory = mem_resize(memory, capacity);
    }
    answer.body = text_slice(&body);
    admin_connection_answer(connection, &answer);
    mem_free(memory);
}
