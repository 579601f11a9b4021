/* SPDX-License-Identifier: MIT */
/*
 * Server-sent events (the WHATWG HTML standard, 9.2) as far as the admin
 * listener writes them: "event: x" and "data: x" lines, comments, "retry", and
 * an empty line behind each event.
 */
#include "app/admin_stream.h"

#include <errno.h>
#include <string.h>
#include <unistd.h>

#include "kamiyo/app/dial.h"
#include "kamiyo/base/clock.h"
#include "kamiyo/base/mem.h"
#include "kamiyo/base/text.h"

#define READ_BYTES 16384

void admin_stream_init(struct admin_stream *stream)
{
    *stream = (struct admin_stream){.fd = -1};
}

bool admin_stream_open(struct admin_stream *stream,
                       const struct admin_client *client,
                       int64_t timeout_ms)
{
    int64_t deadline_ms = clock_monotonic_ms() + timeout_ms;
    struct addr_endpoint at = client->at;
    char memory[8192];
    struct text request;
    bool is_sent;

    admin_stream_close(stream);
    text_init(&request, memory, sizeof(memory));
    text_append(&request, SLICE("GET /api/events HTTP/1.1\r\nHost: localhost\r\n"));
    if (client->token[0] != '\0')
        text_append_format(&request, "Authorization: Bearer %s\r\n", client->token);
    text_append(&request, SLICE("\r\n"));
    stream->fd = dial_open(&at, deadline_ms);
    is_sent = stream->fd >= 0 && !request.overflow &&
              dial_send(stream->fd, request.data, request.length, deadline_ms);
    mem_wipe(memory, sizeof(memory));
    if (!is_sent)
        admin_stream_close(stream);
    return is_sent;
}

/* The head is passed over once it is whole; false: it is not that of a stream. */
static bool look_at_head(struct admin_stream *stream)
{
    static const char status[] = "HTTP/1.1 200 ";
    char *end;

    if (stream->length < sizeof(status) - 1)
        return true;
    if (memcmp(stream->bytes, status, sizeof(status) - 1) != 0)
        return false;
    end = memmem(stream->bytes, stream->length, "\r\n\r\n", 4);
    if (end != NULL) {
        stream->has_head = true;
        stream->taken = (size_t)(end - stream->bytes) + 4;
    }
    return true;
}

bool admin_stream_receive(struct admin_stream *stream, int64_t timeout_ms)
{
    ssize_t count;

    if (stream->taken > 0)
        memmove(stream->bytes, stream->bytes + stream->taken, stream->length - stream->taken);
    stream->length -= stream->taken;
    stream->taken = 0;
    if (stream->length > ADMIN_STREAM_MAX_BYTES)
        return false;
    stream->bytes = mem_resize(stream->bytes, stream->length + READ_BYTES);
    count = dial_receive(stream->fd, stream->bytes + stream->length, READ_BYTES,
                         clock_monotonic_ms() + timeout_ms);
    if (count <= 0)
        return false;
    stream->length += (size_t)count;
    return stream->has_head || look_at_head(stream);
}

/* One event's lines: its data, if it is a message of one line. */
static bool find_data(struct slice lines, struct slice *data)
{
    struct slice line;
    bool is_message = true;
    bool has_data = false;

    while (slice_cut(&lines, '\n', &line)) {
        if (slice_starts_with(line, SLICE("data: "))) {
            *data = (struct slice){line.data + 6, line.length - 6};
            has_data = true;
        } else if (slice_starts_with(line, SLICE("event: "))) {
            is_message = false;
        }
    }
    return is_message && has_data;
}

bool admin_stream_next(struct admin_stream *stream, struct slice *data)
{
    while (stream->has_head) {
        const char *at = stream->bytes + stream->taken;
        const char *end = memmem(at, stream->length - stream->taken, "\n\n", 2);

        if (end == NULL)
            return false;
        stream->taken += (size_t)(end - at) + 2;
        if (find_data((struct slice){at, (size_t)(end - at)}, data))
            return true;
    }
    return false;
}

void admin_stream_close(struct admin_stream *stream)
{
    if (stream->fd >= 0)
        (void)close(stream->fd); /* nothing is lost */
    mem_free(stream->bytes);
    admin_stream_init(stream);
}
