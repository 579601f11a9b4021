/* SPDX-License-Identifier: MIT */
/*
 * A socket on a loop. The invariant that the rest leans on: the read event is
 * the only thing an idle stream has; `output` exists only while bytes, a
 * connect or a handshake wait for the socket, and EV_WRITE is added only then.
 *
 * The owner may close or reuse the stream in any of its functions, so each
 * call of the handler here is the last thing that happens to the stream.
 */
#include "kamiyo/net/stream.h"

#include <assert.h>
#include <errno.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include <event2/event.h>

#include "kamiyo/base/mem.h"

#include "stream_internal.h"

#define SMALLEST_BUFFER 4096
#define TLS_RECORD_SIZE 16384

struct stream_output {
    struct event event;
    bool is_added;
    char *data; /* NULL = none yet */
    size_t start;
    size_t length;
    size_t capacity; /* a power of two */
};

static void on_write_event(int fd, short what, void *arg);

/* --- the write event and what is pending --- */

static struct stream_output *need_output(struct stream *stream)
{
    struct stream_output *output = stream->output;

    if (output == NULL) {
        output = mem_alloc_zero(sizeof(*output));
        /* Fails for contradictory arguments only. */
        (void)event_assign(&output->event, loop_event_base(stream->loop), stream->fd,
                           EV_WRITE | EV_PERSIST, on_write_event, stream);
        stream->output = output;
    }
    return output;
}

static void watch_writing(struct stream *stream)
{
    struct stream_output *output = need_output(stream);

    if (!output->is_added && event_add(&output->event, NULL) == 0)
        output->is_added = true;
    /* When the kernel has no memory for the event, the owner's write timeout ends the stream. */
}

static void unwatch_writing(struct stream *stream)
{
    struct stream_output *output = stream->output;

    if (output != NULL && output->is_added) {
        (void)event_del(&output->event); /* it was added */
        output->is_added = false;
    }
}

static void drop_output(struct stream *stream)
{
    struct stream_output *output = stream->output;

    if (output == NULL)
        return;
    unwatch_writing(stream);
    mem_free(output->data);
    mem_free(output);
    stream->output = NULL;
}

/* Room for `more` bytes behind what is there: move down, or grow in powers of two. */
static void reserve(struct stream_output *output, size_t more)
{
    size_t needed = output->length + more;
    size_t capacity = output->capacity > 0 ? output->capacity : SMALLEST_BUFFER;

    if (output->start + needed <= output->capacity)
        return;
    if (output->start > 0)
        memmove(output->data, output->data + output->start, output->length);
    output->start = 0;
    while (capacity < needed)
        capacity *= 2;
    if (capacity != output->capacity) {
        output->data = mem_resize(output->data, capacity);
        output->capacity = capacity;
    }
}

/* Keep the parts, without their first `skip` bytes. */
static void append(struct stream *stream, const struct iovec *parts, int count, size_t skip)
{
    struct stream_output *output = need_output(stream);
    size_t total = 0;

    for (int i = 0; i < count; i++)
        total += parts[i].iov_len;
    reserve(output, total - skip);
    for (int i = 0; i < count; i++) {
        size_t passed = skip < parts[i].iov_len ? skip : parts[i].iov_len;
        size_t length = parts[i].iov_len - passed;

        skip -= passed;
        if (length == 0)
            continue;
        memcpy(output->data + output->start + output->length,
               (const char *)parts[i].iov_base + passed, length);
        output->length += length;
    }
}

static bool has_pending(const struct stream *stream)
{
    return stream->output != NULL && stream->output->length > 0;
}

/* --- the socket --- */

static enum stream_result
send_parts(struct stream *stream, const struct iovec *parts, int count, size_t total, size_t *taken)
{
    ssize_t sent;

    *taken = 0;
    do
        sent = stream_send(stream->fd, parts, count, total);
    while (sent < 0 && errno == EINTR);
    if (sent >= 0) {
        *taken = (size_t)sent;
        return STREAM_OK;
    }
    if (errno == EAGAIN)
        return STREAM_AGAIN;
    stream->error = errno;
    return STREAM_FAILED;
}

static enum stream_result
encrypt_part(struct stream *stream, const char *data, size_t length, size_t *taken)
{
    switch (stream_tls_write(stream->tls, data, length, taken)) {
    case STREAM_TLS_DONE:
        return STREAM_OK;
    case STREAM_TLS_WANTS_READ:
        stream->tls->write_wants_read = true;
        return STREAM_AGAIN;
    case STREAM_TLS_WANTS_WRITE:
        return STREAM_AGAIN;
    case STREAM_TLS_END:
        stream->error = EPIPE;
        break;
    case STREAM_TLS_FAILED:
        break;
    }
    return STREAM_FAILED;
}

/* Parts that fit into one record leave as one. */
static enum stream_result encrypt_parts(
    struct stream *stream, const struct iovec *parts, int count, size_t total, size_t *taken)
{
    enum stream_result result = STREAM_OK;

    *taken = 0;
    if (count > 1 && total <= TLS_RECORD_SIZE) {
        char record[TLS_RECORD_SIZE];

        stream_gather(record, parts, count);
        return encrypt_part(stream, record, total, taken);
    }
    for (int i = 0; i < count && result == STREAM_OK; i++) {
        size_t part_taken;

        result = encrypt_part(stream, parts[i].iov_base, parts[i].iov_len, &part_taken);
        *taken += part_taken;
    }
    return result;
}

/* FIN only after close_notify has left, or the peer would take the end for a cut. */
static void send_end(struct stream *stream)
{
    if (stream->tls != NULL && stream_tls_shutdown(stream->tls) == STREAM_TLS_WANTS_WRITE) {
        watch_writing(stream);
        return;
    }
    (void)shutdown(stream->fd, SHUT_WR); /* a connection that is gone needs no end */
}

/* Send from what is pending; tells the owner when nothing is left or the connection is broken. */
static void flush(struct stream *stream)
{
    struct stream_output *output = stream->output;
    struct iovec part = {.iov_base = output->data + output->start, .iov_len = output->length};
    size_t taken;
    enum stream_result result = stream->tls != NULL
                                    ? encrypt_part(stream, part.iov_base, part.iov_len, &taken)
                                    : send_parts(stream, &part, 1, part.iov_len, &taken);

    if (taken > 0) {
        stream->bytes_written += taken;
        stream->last_write_ms = loop_now_ms(stream->loop);
        output->start += taken;
        output->length -= taken;
    }
    if (result == STREAM_FAILED) {
        drop_output(stream);
        stream->handler->on_failed(stream, stream->arg);
    } else if (output->length == 0) {
        drop_output(stream);
        if (stream->is_shut)
            send_end(stream);
        stream->handler->on_drained(stream, stream->arg);
    } else if (stream->tls != NULL && stream->tls->write_wants_read) {
        unwatch_writing(stream);
    } else {
        watch_writing(stream);
    }
}

/* --- events --- */

static void watch_reading(struct stream *stream)
{
    if (!stream->is_watched && event_add(&stream->read_event, NULL) == 0)
        stream->is_watched = true;
    /* When the kernel has no memory for the event, the owner's read timeout ends the stream. */
}

static void unwatch_reading(struct stream *stream)
{
    if (!stream->is_watched)
        return;
    (void)event_del(&stream->read_event); /* it was added */
    stream->is_watched = false;
}

/* Connected, or encrypted: send what was written meanwhile, or say that it may begin. */
static void become_ready(struct stream *stream)
{
    stream->is_connecting = false;
    if (has_pending(stream)) {
        flush(stream);
        return;
    }
    drop_output(stream);
    if (stream->is_shut)
        send_end(stream);
    stream->handler->on_drained(stream, stream->arg);
}

static void continue_handshake(struct stream *stream)
{
    switch (stream_tls_handshake(stream->tls)) {
    case STREAM_TLS_DONE:
        become_ready(stream);
        return;
    case STREAM_TLS_WANTS_READ:
        unwatch_writing(stream);
        return;
    case STREAM_TLS_WANTS_WRITE:
        watch_writing(stream);
        return;
    case STREAM_TLS_END:
        stream->error = EPROTO;
        break;
    case STREAM_TLS_FAILED:
        break;
    }
    stream->is_connecting = false;
    unwatch_reading(stream); /* nothing more will be read from it */
    drop_output(stream);
    stream->handler->on_failed(stream, stream->arg);
}

static void finish_connect(struct stream *stream)
{
    int error = 0;
    socklen_t length = sizeof(error);

    if (getsockopt(stream->fd, SOL_SOCKET, SO_ERROR, &error, &length) != 0)
        error = errno;
    if (error != 0) {
        stream->error = error;
        stream->is_connecting = false;
        drop_output(stream);
        stream->handler->on_failed(stream, stream->arg);
        return;
    }
    watch_reading(stream);
    become_ready(stream);
}

static void on_write_event(int fd, short what, void *arg)
{
    struct stream *stream = arg;

    (void)fd;
    (void)what;
    if (stream->is_connecting) {
        if (stream->tls != NULL)
            continue_handshake(stream);
        else
            finish_connect(stream);
        return;
    }
    if (stream->tls != NULL && stream->tls->read_wants_write) {
        stream->tls->read_wants_write = false;
        loop_defer(stream->loop, &stream->tls->more);
    }
    if (has_pending(stream)) {
        flush(stream);
        return;
    }
    drop_output(stream);
    if (stream->tls != NULL && stream->tls->end_wants_write)
        send_end(stream);
}

static void on_read_event(int fd, short what, void *arg)
{
    struct stream *stream = arg;

    (void)fd;
    (void)what;
    if (stream->is_connecting) {
        continue_handshake(stream);
        return;
    }
    if (stream->tls != NULL && stream->tls->write_wants_read) {
        stream->tls->write_wants_read = false;
        if (has_pending(stream)) {
            flush(stream); /* the event comes again for the owner's share */
            return;
        }
    }
    if (stream->is_paused)
        unwatch_reading(stream);
    else
        stream->handler->on_readable(stream, stream->arg);
}

static void on_more(void *arg)
{
    struct stream *stream = arg;

    if (!stream->is_paused)
        stream->handler->on_readable(stream, stream->arg);
}

/* --- the owner's side --- */

static void prepare(struct stream *stream,
                    struct loop *loop,
                    int fd,
                    const struct stream_handler *handler,
                    void *arg)
{
    *stream = (struct stream){.loop = loop, .fd = fd, .handler = handler, .arg = arg};
    /* Fails for contradictory arguments only. */
    (void)event_assign(&stream->read_event, loop_event_base(loop), fd, EV_READ | EV_PERSIST,
                       on_read_event, stream);
}

void stream_init(struct stream *stream,
                 struct loop *loop,
                 int fd,
                 const struct stream_handler *handler,
                 void *arg)
{
    prepare(stream, loop, fd, handler, arg);
    watch_reading(stream);
}

bool stream_connect(struct stream *stream,
                    struct loop *loop,
                    const struct addr_endpoint *to,
                    const struct stream_handler *handler,
                    void *arg,
                    struct error *error)
{
    struct sockaddr_storage address;
    socklen_t length = addr_endpoint_to_sockaddr(to, &address);
    const int on = 1;
    int fd;

    *stream = (struct stream){.loop = loop, .fd = -1, .handler = handler, .arg = arg};
    fd = socket(address.ss_family, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
    if (fd < 0)
        goto fail;
    if (address.ss_family != AF_UNIX)
        (void)setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &on,
                         sizeof(on)); /* slower without, no worse */
    if (connect(fd, (const struct sockaddr *)&address, length) != 0 && errno != EINPROGRESS)
        goto fail;
    prepare(stream, loop, fd, handler, arg);
    stream->is_connecting = true;
    watch_writing(stream);
    return true;

fail:
    stream->error = errno;
    error_set(error, "%s", strerrordesc_np(stream->error));
    if (fd >= 0)
        (void)close(fd); /* never connected */
    return false;
}

void stream_start_tls(struct stream *stream, struct ssl_st *ssl)
{
    assert(stream->tls == NULL && !has_pending(stream));
    stream->tls = stream_tls_create(stream, ssl, on_more);
    stream->is_connecting = true;
    watch_writing(stream); /* the first flight leaves from the loop, so its failure does, too */
}

void stream_set_handler(struct stream *stream, const struct stream_handler *handler, void *arg)
{
    stream->handler = handler;
    stream->arg = arg;
}

static enum stream_result
read_decrypted(struct stream *stream, char *buffer, size_t capacity, size_t *length)
{
    switch (stream_tls_read(stream->tls, buffer, capacity, length)) {
    case STREAM_TLS_DONE:
        stream->bytes_read += *length;
        if (stream_tls_has_more(stream->tls))
            loop_defer(stream->loop, &stream->tls->more);
        return STREAM_OK;
    case STREAM_TLS_WANTS_WRITE:
        stream->tls->read_wants_write = true;
        watch_writing(stream);
        return STREAM_AGAIN;
    case STREAM_TLS_WANTS_READ:
        return STREAM_AGAIN;
    case STREAM_TLS_END:
        return STREAM_END;
    case STREAM_TLS_FAILED:
        break;
    }
    return STREAM_FAILED;
}

enum stream_result stream_read(struct stream *stream, char *buffer, size_t capacity, size_t *length)
{
    ssize_t received;

    assert(capacity > 0);
    if (stream->tls != NULL)
        return read_decrypted(stream, buffer, capacity, length);
    received = recv(stream->fd, buffer, capacity, 0);
    if (LIKELY(received > 0)) {
        stream->bytes_read += (size_t)received;
        *length = (size_t)received;
        return STREAM_OK;
    }
    if (received == 0)
        return STREAM_END;
    if (errno == EAGAIN || errno == EINTR)
        return STREAM_AGAIN;
    stream->error = errno;
    return STREAM_FAILED;
}

enum stream_result stream_write(struct stream *stream, const struct iovec *parts, int count)
{
    enum stream_result result;
    size_t total = 0;
    size_t taken;

    assert(!stream->is_shut);
    for (int i = 0; i < count; i++)
        total += parts[i].iov_len;
    if (total == 0)
        return has_pending(stream) ? STREAM_AGAIN : STREAM_OK;
    if (stream->is_connecting || has_pending(stream)) {
        append(stream, parts, count, 0);
        return STREAM_AGAIN;
    }
    result = stream->tls != NULL ? encrypt_parts(stream, parts, count, total, &taken)
                                 : send_parts(stream, parts, count, total, &taken);
    stream->bytes_written += taken; /* with TLS some may have left before it failed */
    if (result == STREAM_FAILED)
        return STREAM_FAILED;
    if (LIKELY(taken == total))
        return STREAM_OK;
    append(stream, parts, count, taken);
    stream->last_write_ms = loop_now_ms(stream->loop);
    if (stream->tls == NULL || !stream->tls->write_wants_read)
        watch_writing(stream);
    return STREAM_AGAIN;
}

void stream_limit_unsent(struct stream *stream, int bytes)
{
    /* Where the kernel refuses, it keeps its own bound. */
    (void)setsockopt(stream->fd, SOL_SOCKET, SO_SNDBUF, &bytes, sizeof(bytes));
}

size_t stream_pending(const struct stream *stream)
{
    return stream->output != NULL ? stream->output->length : 0;
}

void stream_pause(struct stream *stream)
{
    stream->is_paused = true;
}

void stream_resume(struct stream *stream)
{
    stream->is_paused = false;
    if (stream->tls != NULL && !stream->is_connecting && stream_tls_has_more(stream->tls))
        loop_defer(stream->loop, &stream->tls->more);
    if (!stream->is_connecting || stream->tls != NULL)
        watch_reading(stream);
}

void stream_shutdown_write(struct stream *stream)
{
    if (stream->is_shut)
        return;
    stream->is_shut = true;
    if (!stream->is_connecting && !has_pending(stream))
        send_end(stream);
}

static void close_descriptor(struct stream *stream, bool is_polite)
{
    unwatch_reading(stream);
    drop_output(stream);
    stream_tls_destroy(&stream->tls, is_polite);
    (void)close(stream->fd); /* nothing that it could report can be helped */
    stream->fd = -1;
    stream->is_connecting = false;
}

void stream_close(struct stream *stream)
{
    if (stream != NULL && stream_is_open(stream))
        close_descriptor(stream, true);
}

void stream_abort(struct stream *stream)
{
    const struct linger at_once = {.l_onoff = 1, .l_linger = 0};

    if (stream == NULL || !stream_is_open(stream))
        return;
    /* Fails on a unix socket, which knows no reset. */
    (void)setsockopt(stream->fd, SOL_SOCKET, SO_LINGER, &at_once, sizeof(at_once));
    close_descriptor(stream, false);
}

/* A stream that is all zeros was never begun; its fd would be standard input. */
bool stream_is_open(const struct stream *stream)
{
    return stream->loop != NULL && stream->fd >= 0;
}

const char *stream_error_text(const struct stream *stream)
{
    const char *text;

    if (stream->tls != NULL && stream->tls->failure != NULL)
        return stream->tls->failure;
    text = strerrordesc_np(stream->error);
    return text != NULL ? text : "unknown error";
}
