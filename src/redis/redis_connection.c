/* SPDX-License-Identifier: MIT */
/*
 * hiredis's asynchronous context on our loop.
 *
 * - Its adapter: a command only asks for a flush, which runs deferred at the
 *   end of the turn, so a turn's commands leave in one write. EV_READ is added
 *   once; EV_WRITE only while the socket takes no more.
 * - The descriptor is connected before hiredis sees it, so none of its
 *   connecting (blocking getaddrinfo, a second connect()) is used.
 * - A context frees itself after errors, calling what is pending with NULL and
 *   then on_disconnect: that is where `context` becomes NULL, and the owner
 *   hears of it from a deferred task, when nothing of hiredis is on the stack.
 * - hiredis reads and writes the socket through two functions of ours: reading
 *   is redis_connection_input.c's, and a buffer that was sent whole is kept.
 */
#include "redis_connection.h"

#include <assert.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <event2/event.h>
#include <event2/event_struct.h>
#include <hiredis/async.h>
#include <hiredis/hiredis_ssl.h>
#include <hiredis/sds.h>
#include <openssl/err.h>
#include <openssl/ssl.h>

#include "kamiyo/base/mem.h"
#include "kamiyo/net/loop.h"

#include "redis_connection_internal.h"

/* Elements of one array in a reply; hiredis allocates for what the header promises. */
#define MAX_ARRAY_ELEMENTS 4096
/* An output buffer larger than this is not kept for the next turn. */
#define KEPT_OUTPUT_BYTES (256 * 1024)
/* From a command's being given to its leaving, at the end of the same turn as a rule. */
#define DELAYED_MS 5

/* hiredis's hooks. They are idempotent, as it expects. */

static void hook_add_read(void *arg)
{
    struct redis_connection *connection = arg;

    if (!connection->is_reading)
        (void)event_add(&connection->read_event, NULL); /* fails only without memory or epoll */
    connection->is_reading = true;
}

static void hook_add_write(void *arg)
{
    struct redis_connection *connection = arg;

    if (connection->is_blocked)
        return;
    if (!connection->is_flushing) {
        loop_defer(connection->loop, &connection->flush_task);
        return;
    }
    (void)event_add(&connection->write_event, NULL); /* likewise */
    connection->is_blocked = true;
}

static void hook_del_write(void *arg)
{
    struct redis_connection *connection = arg;

    if (connection->is_blocked)
        (void)event_del(&connection->write_event); /* cannot fail for an event that is assigned */
    connection->is_blocked = false;
}

static void hook_cleanup(void *arg)
{
    struct redis_connection *connection = arg;

    hook_del_write(connection);
    if (connection->is_reading)
        (void)event_del(&connection->read_event); /* likewise */
    connection->is_reading = false;
    loop_task_cancel(connection->loop, &connection->flush_task);
}

static void describe_tls(const struct redis_connection *connection, struct redis_failure *failure)
{
    long verdict = SSL_get_verify_result(connection->tls);
    const char *words = verdict != X509_V_OK ? X509_verify_cert_error_string(verdict)
                                             : ERR_reason_error_string(ERR_peek_last_error());

    if (words != NULL)
        redis_failure_set(failure, REDIS_REASON_CLOSED, "TLS: %s", words);
}

static void
describe_end(struct redis_connection *connection, const redisAsyncContext *context, int error)
{
    struct redis_failure *failure = &connection->failure;

    switch (context->err) {
    case REDIS_ERR_EOF:
        redis_failure_set(failure, REDIS_REASON_CLOSED, "%s", "");
        break;
    case REDIS_ERR_PROTOCOL:
        redis_failure_set(failure, REDIS_REASON_BAD_REPLY, "%s", context->errstr);
        break;
    case REDIS_ERR_IO:
        redis_failure_from_errno(failure, error, REDIS_REASON_CLOSED);
        break;
    default:
        redis_failure_set(failure, REDIS_REASON_CLOSED, "%s",
                          context->errstr != NULL ? context->errstr : "");
        break;
    }
    if (connection->tls != NULL && context->err != REDIS_ERR_PROTOCOL)
        describe_tls(connection, failure);
}

/* The last thing that a context does; it is freed when this returns. */
static void on_disconnect(const redisAsyncContext *context, int status)
{
    struct redis_connection *connection = context->data;
    struct redis_command *command;
    int error = errno;

    (void)status; /* the context says more */
    connection->context = NULL;
    if (connection->is_destroying)
        return;
    while ((command = TAILQ_FIRST(&connection->commands)) != NULL) {
        TAILQ_REMOVE(&connection->commands, command, entry);
        connection->in_flight--;
        connection->handler->on_lost(connection->arg, command);
    }
    if (connection->failure.reason == REDIS_REASON_NONE)
        describe_end(connection, context, error);
    connection->tls = NULL;
    loop_defer(connection->loop, &connection->closed_task);
}

static void run_closed(void *arg)
{
    struct redis_connection *connection = arg;

    connection->handler->on_closed(connection->arg, &connection->failure);
}

void redis_connection_end_by_error(struct redis_connection *connection)
{
    redisAsyncContext *context = connection->context;
    int error = errno;

    context->err = context->c.err;
    context->errstr = context->c.errstr;
    describe_end(connection, context, error);
    redis_connection_close(connection, &connection->failure);
}

/* --- writing --- */

/* hiredis writes. It would free a buffer that was sent whole; emptied here it is kept. */
static ssize_t write_output(redisContext *context)
{
    const struct redis_connection *connection = context->privdata;
    size_t length = sdslen(context->obuf);
    ssize_t sent = connection->transport->write(context);

    if (sent != (ssize_t)length || sdsalloc(context->obuf) > KEPT_OUTPUT_BYTES)
        return sent;
    sdsclear(context->obuf);
    return 0;
}

/* As redisAsyncHandleWrite; TLS, which may have to read first, needs that one. */
static void write_plain(struct redis_connection *connection)
{
    int is_done = 0;

    if (redisBufferWrite(&connection->context->c, &is_done) != REDIS_OK)
        redis_connection_end_by_error(connection);
    else if (is_done)
        hook_del_write(connection);
    else
        hook_add_write(connection);
}

/* Before commands leave. Those that wait behind others for the socket go by their own time. */
static void look_at_delay(struct redis_connection *connection)
{
    if (connection->handler->on_delayed != NULL && !connection->is_blocked &&
        loop_clock_ms(connection->loop) - connection->unsent_ms >= DELAYED_MS)
        connection->handler->on_delayed(connection->arg);
    connection->sent_count = connection->given_count;
}

static void flush(void *arg)
{
    struct redis_connection *connection = arg;

    if (connection->context == NULL)
        return;
    if (connection->sent_count < connection->given_count)
        look_at_delay(connection);
    if (connection->tls != NULL)
        ERR_clear_error();
    errno = 0;
    connection->is_flushing = true;
    if (connection->tls != NULL)
        redisAsyncHandleWrite(connection->context);
    else
        write_plain(connection);
    connection->is_flushing = false;
}

static void on_writable(evutil_socket_t fd, short what, void *arg)
{
    (void)fd;
    (void)what;
    flush(arg);
}

/* --- life --- */

static redisAsyncContext *open_context(struct redis_connection *connection, int fd)
{
    redisOptions options = {.type = REDIS_CONN_USERFD, .endpoint.fd = fd};
    redisAsyncContext *context = redisAsyncConnectWithOptions(&options);

    if (context == NULL)
        abort(); /* out of memory, as in mem_alloc */
    /* hiredis would wait for a connect() of its own. */
    context->c.flags |= REDIS_CONNECTED;
    context->c.reader->maxelements = MAX_ARRAY_ELEMENTS;
    context->data = connection;
    context->c.privdata = connection;
    context->ev.data = connection;
    context->ev.addRead = hook_add_read;
    context->ev.addWrite = hook_add_write;
    context->ev.delWrite = hook_del_write;
    context->ev.cleanup = hook_cleanup;
    (void)redisAsyncSetDisconnectCallback(context,
                                          on_disconnect); /* fails only when there is one */
    return context;
}

/* Put our reading and writing before hiredis's. */
static void wrap_transport(struct redis_connection *connection)
{
    redisContext *context = &connection->context->c;

    connection->transport = context->funcs;
    connection->functions = *context->funcs;
    connection->functions.read = redis_connection_input_read;
    connection->functions.write = write_output;
    context->funcs = &connection->functions;
}

struct redis_connection *redis_connection_create(struct loop *loop,
                                                 int fd,
                                                 struct ssl_st *tls,
                                                 const struct redis_connection_handler *handler,
                                                 void *arg,
                                                 struct redis_failure *failure)
{
    struct redis_connection *connection = mem_alloc_zero(sizeof(*connection));
    struct event_base *base = loop_event_base(loop);

    connection->loop = loop;
    connection->handler = handler;
    connection->arg = arg;
    TAILQ_INIT(&connection->commands);
    redis_integers_init(&connection->integers);
    loop_task_init(&connection->flush_task, flush, connection);
    loop_task_init(&connection->closed_task, run_closed, connection);
    (void)event_assign(&connection->read_event, base, fd, EV_READ | EV_PERSIST,
                       redis_connection_input_on_readable, connection); /* fd is sound */
    (void)event_assign(&connection->write_event, base, fd, EV_WRITE | EV_PERSIST, on_writable,
                       connection); /* likewise */
    connection->context = open_context(connection, fd);
    if (tls != NULL) {
        connection->tls = tls;
        ERR_clear_error();
        if (redisInitiateSSL(&connection->context->c, tls) != REDIS_OK) {
            redis_failure_set(failure, REDIS_REASON_CLOSED, "TLS: %s",
                              connection->context->c.errstr);
            describe_tls(connection, failure);
            SSL_free(tls); /* only success hands it over */
            redis_connection_destroy(&connection);
            return NULL;
        }
    }
    wrap_transport(connection);
    hook_add_read(connection);
    return connection;
}

void redis_connection_destroy(struct redis_connection **connection)
{
    struct redis_connection *self = *connection;

    if (self == NULL)
        return;
    self->is_destroying = true;
    if (self->context != NULL) {
        assert((self->context->c.flags & REDIS_IN_CALLBACK) == 0);
        redisAsyncFree(self->context);
    }
    loop_task_cancel(self->loop, &self->flush_task);
    loop_task_cancel(self->loop, &self->closed_task);
    mem_free(self);
    *connection = NULL;
}

static void note_command(struct redis_connection *connection, struct redis_command *command)
{
    TAILQ_INSERT_TAIL(&connection->commands, command, entry);
    connection->in_flight++;
    if (connection->given_count == connection->sent_count)
        connection->unsent_ms = loop_now_ms(connection->loop);
    command->number = ++connection->given_count;
}

bool redis_connection_send(struct redis_connection *connection,
                           const char *bytes,
                           size_t length,
                           struct redis_command *command)
{
    if (connection->context == NULL ||
        redisAsyncFormattedCommand(connection->context, redis_connection_input_on_reply, command,
                                   bytes, length) != REDIS_OK)
        return false;
    command->is_script = false;
    note_command(connection, command);
    return true;
}

char *redis_connection_reserve(struct redis_connection *connection, size_t length)
{
    redisContext *context = connection->context != NULL ? &connection->context->c : NULL;

    if (context == NULL || (context->flags & (REDIS_DISCONNECTING | REDIS_FREEING)) != 0)
        return NULL;
    if (sdsavail(context->obuf) < length)
        context->obuf = sdsMakeRoomFor(context->obuf, length);
    if (context->obuf == NULL)
        abort(); /* out of memory, as in mem_alloc */
    return context->obuf + sdslen(context->obuf);
}

void redis_connection_commit(struct redis_connection *connection,
                             size_t length,
                             struct redis_command *command)
{
    sdsIncrLen(connection->context->c.obuf, (int)length); /* far below INT_MAX */
    command->is_script = true;
    command->end = sdslen(connection->context->c.obuf);
    note_command(connection, command);
    hook_add_write(connection);
}

bool redis_connection_is_unsent(const struct redis_connection *connection,
                                const struct redis_command *command)
{
    return connection->context != NULL && command->number > connection->sent_count;
}

char *redis_connection_unsent_end(struct redis_connection *connection,
                                  const struct redis_command *command)
{
    if (!redis_connection_is_unsent(connection, command))
        return NULL;
    return connection->context->c.obuf + command->end;
}

void redis_connection_close(struct redis_connection *connection,
                            const struct redis_failure *failure)
{
    if (connection->context == NULL || (connection->context->c.flags & REDIS_FREEING) != 0)
        return;
    connection->failure = *failure;
    redisAsyncFree(connection->context);
}

bool redis_connection_has_ended(const struct redis_connection *connection)
{
    return connection->context == NULL;
}

size_t redis_connection_in_flight(const struct redis_connection *connection)
{
    return connection->in_flight;
}

struct redis_command_list *redis_connection_commands(struct redis_connection *connection)
{
    return &connection->commands;
}
