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
 * - A reply that nobody asked for would end the process in an assertion of
 *   hiredis's. It can only come when nothing is in flight, or behind the last
 *   reply that was awaited: both are looked for before hiredis goes on.
 */
#include "redis_connection.h"

#include <assert.h>
#include <errno.h>
#include <unistd.h>

#include <event2/event.h>
#include <event2/event_struct.h>
#include <hiredis/async.h>
#include <hiredis/hiredis_ssl.h>
#include <openssl/err.h>
#include <openssl/ssl.h>

#include "kamiyo/base/mem.h"
#include "kamiyo/net/loop.h"
#include "kamiyo/redis/redis_client.h"

/* Elements of one array in a reply; hiredis allocates for what the header promises. */
#define MAX_ARRAY_ELEMENTS 4096

struct redis_connection {
    struct loop *loop;
    redisAsyncContext *context; /* NULL once hiredis has let go of it */
    struct ssl_st *tls;         /* owned by the context; NULL = plain */
    const struct redis_connection_handler *handler;
    void *arg;
    struct event read_event;
    struct event write_event;
    struct loop_task flush_task;
    struct loop_task closed_task;
    size_t in_flight;
    bool is_reading;    /* read_event is added */
    bool is_blocked;    /* write_event is added: the socket takes no more */
    bool is_flushing;   /* hiredis is writing: what it asks for now is EV_WRITE */
    bool is_destroying; /* no callbacks */
    struct redis_failure failure;
};

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
    int error = errno;

    (void)status; /* the context says more */
    connection->context = NULL;
    if (connection->is_destroying)
        return;
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

static void end_badly(struct redis_connection *connection, const char *why)
{
    struct redis_failure failure;

    redis_failure_set(&failure, REDIS_REASON_BAD_REPLY, "%s", why);
    redis_connection_close(connection, &failure);
}

static void on_hiredis_reply(redisAsyncContext *context, void *reply, void *command)
{
    struct redis_connection *connection = context->data;
    const redisReader *reader = context->c.reader;
    bool is_excess;

    connection->in_flight--;
    if (connection->is_destroying)
        return;
    if (reply == NULL) {
        connection->handler->on_lost(connection->arg, command);
        return;
    }
    /* Looked at before the callback: what it sends must not be answered by bytes that were there
     * already. */
    is_excess = connection->in_flight == 0 && reader->pos < reader->len;
    connection->handler->on_reply(connection->arg, command, reply);
    if (is_excess)
        end_badly(connection, "more replies than commands");
}

/* Something to read while nothing is awaited: an end, TLS's own affairs, or words before an end
 * ("-ERR max number of clients"). */
static void read_unasked(struct redis_connection *connection)
{
    redisContext *context = &connection->context->c;
    struct redis_failure failure = {.reason = REDIS_REASON_NONE};
    struct slice text;
    void *reply = NULL;

    if (redisBufferRead(context) != REDIS_OK ||
        redisGetReplyFromReader(context, &reply) != REDIS_OK) {
        int error = errno;

        connection->context->err = context->err;
        connection->context->errstr = context->errstr;
        describe_end(connection, connection->context, error);
        redis_connection_close(connection, &connection->failure);
        return;
    }
    if (reply == NULL && context->reader->pos == context->reader->len)
        return;
    redis_failure_set(&failure, REDIS_REASON_BAD_REPLY, "a reply without a command");
    if (redis_reply_is_error(reply, &text))
        (void)redis_failure_from_reply(text, &failure); /* whatever it says, the connection ends */
    if (reply != NULL)
        freeReplyObject(reply);
    redis_connection_close(connection, &failure);
}

static void on_readable(evutil_socket_t fd, short what, void *arg)
{
    struct redis_connection *connection = arg;
    const redisReader *reader;

    (void)fd;
    (void)what;
    if (connection->tls != NULL)
        ERR_clear_error();
    errno = 0;
    if (connection->in_flight == 0) {
        read_unasked(connection);
        return;
    }
    redisAsyncHandleRead(connection->context);
    if (connection->context == NULL)
        return;
    reader = connection->context->c.reader;
    if (reader->len - reader->pos > REDIS_CLIENT_MAX_REPLY_BYTES)
        end_badly(connection, "a reply without end");
}

static void flush(void *arg)
{
    struct redis_connection *connection = arg;

    if (connection->context == NULL)
        return;
    if (connection->tls != NULL)
        ERR_clear_error();
    errno = 0;
    connection->is_flushing = true;
    redisAsyncHandleWrite(connection->context);
    connection->is_flushing = false;
}

static void on_writable(evutil_socket_t fd, short what, void *arg)
{
    (void)fd;
    (void)what;
    flush(arg);
}

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
    context->ev.data = connection;
    context->ev.addRead = hook_add_read;
    context->ev.addWrite = hook_add_write;
    context->ev.delWrite = hook_del_write;
    context->ev.cleanup = hook_cleanup;
    (void)redisAsyncSetDisconnectCallback(context,
                                          on_disconnect); /* fails only when there is one */
    return context;
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
    loop_task_init(&connection->flush_task, flush, connection);
    loop_task_init(&connection->closed_task, run_closed, connection);
    (void)event_assign(&connection->read_event, base, fd, EV_READ | EV_PERSIST, on_readable,
                       connection); /* fd is sound */
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

bool redis_connection_send(struct redis_connection *connection,
                           const char *bytes,
                           size_t length,
                           void *command)
{
    if (connection->context == NULL ||
        redisAsyncFormattedCommand(connection->context, on_hiredis_reply, command, bytes, length) !=
            REDIS_OK)
        return false;
    connection->in_flight++;
    return true;
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
