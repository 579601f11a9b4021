/* SPDX-License-Identifier: MIT */
/*
 * What Redis says on a connection, and to whom: the socket is read beside
 * hiredis, and each reply goes to the oldest command.
 *
 * - What is read waits in `input` until take_replies has seen whose it is.
 *   hiredis gets its own replies line by line.
 * - A reply that nobody asked for would end the process in an assertion of
 *   hiredis's. All are looked for first: with nothing in flight, behind the last
 *   that is awaited, and in its line (two bytes behind a string may be anything).
 */
#include <errno.h>
#include <string.h>

#include <hiredis/async.h>
#include <openssl/err.h>

#include "kamiyo/redis/redis_client.h"

#include "redis_connection_internal.h"

static void end_badly(struct redis_connection *connection, const char *why)
{
    struct redis_failure failure;

    redis_failure_set(&failure, REDIS_REASON_BAD_REPLY, "%s", why);
    redis_connection_close(connection, &failure);
}

static void deliver(struct redis_connection *connection,
                    struct redis_command *command,
                    const struct redis_reply *reply)
{
    const redisReader *reader = connection->context->c.reader;
    bool is_excess;

    TAILQ_REMOVE(&connection->commands, command, entry);
    connection->in_flight--;
    connection->delivered_count++;
    connection->unended_bytes = 0;
    /* Looked at before the callback: what it sends must not be answered by bytes that were there
     * already. */
    is_excess = reader->pos < reader->len ||
                (connection->in_flight == 0 && connection->input.start < connection->input.end);
    connection->handler->on_reply(connection->arg, command, reply);
    if (is_excess)
        end_badly(connection, "more replies than commands");
}

void redis_connection_input_on_reply(redisAsyncContext *context, void *reply, void *command)
{
    struct redis_connection *connection = context->data;

    /* Without a reply the context is ending: on_disconnect sees to the command. */
    if (reply != NULL && !connection->is_destroying)
        deliver(connection, command, reply);
}

ssize_t redis_connection_input_read(redisContext *context, char *buffer, size_t capacity)
{
    struct redis_connection *connection = context->privdata;
    struct redis_input *input = &connection->input;
    size_t handed = input->handed < capacity ? input->handed : capacity;
    ssize_t length;

    if (handed > 0) {
        memcpy(buffer, input->data + input->start, handed);
        input->start += handed;
        input->handed = 0;
        return (ssize_t)handed;
    }
    length =
        connection->transport->read(context, input->data + input->end, REDIS_CONNECTION_READ_BYTES);
    if (length < 0)
        return length;
    connection->unended_bytes += (size_t)length;
    input->end += (size_t)length;
    input->data[input->end] = '\0'; /* redis_integers wants one */
    return 0;
}

/* The bytes at hand up to the end of a line, where alone a reply can end. */
static size_t line_length(const struct redis_input *input)
{
    const char *line = input->data + input->start;
    const char *newline = memchr(line, '\n', input->end - input->start);

    return newline != NULL ? (size_t)(newline + 1 - line) : input->end - input->start;
}

/* An error, or whatever else comes where a script's integers are awaited. */
static void take_other_reply(struct redis_connection *connection, struct redis_command *command)
{
    struct redis_input *input = &connection->input;
    redisContext *context = &connection->context->c;
    size_t length = line_length(input);
    void *reply = NULL;

    /* When it fails the reader says so next. */
    (void)redisReaderFeed(context->reader, input->data + input->start, length);
    input->start += length;
    if (redisGetReplyFromReader(context, &reply) != REDIS_OK) {
        redis_connection_end_by_error(connection);
        return;
    }
    connection->is_reader_busy = reply == NULL;
    if (reply != NULL)
        deliver(connection, command, reply);
    freeReplyObject(reply);
}

/* False: the rest is still to come. */
static bool take_script_reply(struct redis_connection *connection, struct redis_command *command)
{
    struct redis_input *input = &connection->input;
    size_t used;

    if (!connection->is_reader_busy) {
        switch (redis_integers_parse(&connection->integers, input->data + input->start,
                                     input->end - input->start, &used)) {
        case REDIS_INTEGERS_WHOLE:
            input->start += used;
            deliver(connection, command, redis_integers_reply(&connection->integers));
            return true;
        case REDIS_INTEGERS_CUT:
            return false;
        case REDIS_INTEGERS_OTHER:
            break;
        }
    }
    take_other_reply(connection, command);
    return true;
}

static void take_replies(struct redis_connection *connection)
{
    struct redis_input *input = &connection->input;

    while (connection->context != NULL && input->start < input->end) {
        struct redis_command *command = TAILQ_FIRST(&connection->commands);

        if (command->is_script) {
            if (!take_script_reply(connection, command))
                break;
        } else {
            input->handed = line_length(input);
            redisAsyncHandleRead(connection->context);
        }
    }
    /* Nothing is left, or the beginning of a script's reply. */
    if (input->start > 0 && input->start < input->end)
        memmove(input->data, input->data + input->start, input->end - input->start + 1);
    input->end -= input->start;
    input->start = 0;
}

/* Something to read while nothing is awaited: an end, TLS's own affairs, or words before an end
 * ("-ERR max number of clients"). */
static void read_unasked(struct redis_connection *connection)
{
    redisContext *context = &connection->context->c;
    struct redis_input *input = &connection->input;
    struct redis_failure failure = {.reason = REDIS_REASON_NONE};
    struct slice text;
    void *reply = NULL;

    if (redisBufferRead(context) != REDIS_OK)
        redis_connection_end_by_error(connection);
    if (connection->context == NULL || input->end == 0)
        return;
    /* When it fails the reader says so next. */
    (void)redisReaderFeed(context->reader, input->data, input->end);
    if (redisGetReplyFromReader(context, &reply) != REDIS_OK) {
        redis_connection_end_by_error(connection);
        return;
    }
    redis_failure_set(&failure, REDIS_REASON_BAD_REPLY, "a reply without a command");
    if (redis_reply_is_error(reply, &text))
        (void)redis_failure_from_reply(text, &failure); /* whatever it says, the connection ends */
    freeReplyObject(reply);
    redis_connection_close(connection, &failure);
}

void redis_connection_input_on_readable(evutil_socket_t fd, short what, void *arg)
{
    struct redis_connection *connection = arg;

    (void)fd;
    (void)what;
    if (connection->tls != NULL)
        ERR_clear_error();
    errno = 0;
    if (connection->in_flight == 0) {
        read_unasked(connection);
        return;
    }
    /* TLS may have something to write first, and hiredis knows; else there is only our input. */
    if (connection->tls != NULL)
        redisAsyncHandleRead(connection->context);
    else if (redis_connection_input_read(&connection->context->c, NULL, 0) < 0)
        redis_connection_end_by_error(connection);
    take_replies(connection);
    /* Not what hiredis still holds as bytes: arrays in arrays it has made objects of, a hundred
     * bytes each, and waits for the end. */
    if (connection->context != NULL && connection->unended_bytes > REDIS_CLIENT_MAX_REPLY_BYTES)
        end_badly(connection, "a reply without end");
}

void redis_connection_receive(struct redis_connection *connection)
{
    size_t before;

    /* One read takes what one buffer holds; the last finds nothing. */
    do {
        before = connection->delivered_count;
        if (connection->context == NULL || connection->in_flight == 0)
            return;
        redis_connection_input_on_readable(-1, EV_READ, connection);
    } while (connection->delivered_count > before);
}
