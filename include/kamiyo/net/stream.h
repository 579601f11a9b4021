/* SPDX-License-Identifier: MIT */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>
#include <sys/uio.h>

#include <event2/event_struct.h>

#include "kamiyo/base/attributes.h"
#include "kamiyo/base/error.h"
#include "kamiyo/net/addr.h"
#include "kamiyo/net/loop.h"

/*
 * A connected socket on a loop, plain or TLS, without any buffer while nothing
 * is held back.
 *
 * Reading: the owner is told that there is something (on_readable) and reads
 * into memory of its own, usually the thread's shared buffer. The read event
 * is added once and stays, also while a connection idles in a pool, so that a
 * close is noticed. Whoever is told reads once, or pauses, or closes: else the
 * next turn tells again, for ever. After STREAM_END it pauses or closes, too.
 *
 * Writing: stream_write tries the socket at once; only what it did not take is
 * copied and kept, EV_WRITE is added, and on_drained tells when all of it has
 * left. Whoever feeds a stream with pending bytes pauses its source
 * (stream_pause), which bounds what is held to one read.
 *
 * A pause is lazy: the kernel is told only when something arrives during it,
 * so one that ends before costs nothing. From then on the descriptor is not
 * watched for reading: an end is noticed after stream_resume, a reset at the
 * next write, or at once while bytes are pending.
 * (EV_CLOSED is no help: with libevent 2.1 it spins on a reset connection.)
 *
 * The handler's functions run from the loop, never inside a call of the
 * owner's. The owner may close the stream inside them; the struct itself must
 * live until the end of the turn (free it in a deferred task).
 *
 * All calls are for the loop's thread. An idle plain stream allocates nothing.
 */
struct ssl_st;
struct stream;
struct stream_output; /* what waits to be written, and the event for it */
struct stream_tls;

struct stream_handler {
    /* There are bytes, an end or an error to be read. */
    void (*on_readable)(struct stream *stream, void *arg);
    /* All that was pending has been written, or a connect or handshake that was asked for has
     * succeeded. */
    void (*on_drained)(struct stream *stream, void *arg);
    /*
     * Writing what was pending, connecting or the handshake failed; errno-like reason in
     * stream->error. Not closed yet: what the peer sent before can still be read.
     */
    void (*on_failed)(struct stream *stream, void *arg);
};

struct stream {
    struct loop *loop;
    const struct stream_handler *handler;
    void *arg;
    struct event read_event;
    struct stream_output *output; /* NULL = nothing pending */
    struct stream_tls *tls;       /* NULL = plain */
    uint64_t bytes_read;
    uint64_t bytes_written; /* taken by the socket */
    int64_t last_write_ms;  /* when output began to wait, or the socket last took some of it; for
                               write timeouts */
    int fd;                 /* -1 = closed */
    int error;              /* the errno of the last failure; EPROTO for TLS */
    bool is_paused;         /* the owner wants no on_readable */
    bool is_watched;        /* the read event is added */
    bool is_connecting;     /* connect or handshake under way */
    bool is_shut;           /* our side ends, or has ended, after what is pending */
};

/* What a read or write came to. */
enum stream_result {
    STREAM_OK,     /* read: bytes at hand; write: all taken by the socket */
    STREAM_AGAIN,  /* read: nothing now; write: the rest is pending */
    STREAM_END,    /* read: the peer has closed its side in order */
    STREAM_FAILED, /* the connection is broken; stream->error says why */
};

/*
 * Take over a connected, non-blocking descriptor and begin to watch it: one system call. An
 * accepted socket has TCP_NODELAY from its listener.
 */
void stream_init(struct stream *stream,
                 struct loop *loop,
                 int fd,
                 const struct stream_handler *handler,
                 void *arg);
/*
 * Begin to connect (TCP_NODELAY is set). True: on_drained or on_failed follows, later, also
 * when the kernel connects at once; what is written before is kept and sent then. No deadline
 * of its own: the owner closes. False: refused at once, *error says why, the stream is closed.
 */
bool stream_connect(struct stream *stream,
                    struct loop *loop,
                    const struct addr_endpoint *to,
                    const struct stream_handler *handler,
                    void *arg,
                    struct error *error) MUST_CHECK;
/*
 * Begin a TLS handshake as client on a connected stream with nothing pending; `tls` (owned
 * from here on) has its context, server name and verification set. on_drained or on_failed
 * follows.
 */
void stream_start_tls(struct stream *stream, struct ssl_st *tls);
/* Hand the stream to another owner. */
void stream_set_handler(struct stream *stream, const struct stream_handler *handler, void *arg);
/*
 * Read once into `buffer`, which has room for at least one byte. On OK *length bytes are
 * there. With TLS, decrypted bytes that no event will announce may remain: on_readable is
 * then called again at the end of the turn. A TLS stream that is cut without a close_notify
 * is STREAM_FAILED, never STREAM_END.
 */
enum stream_result
stream_read(struct stream *stream, char *buffer, size_t capacity, size_t *length) MUST_CHECK;
/*
 * Write the parts in order with one system call. While bytes are pending, all is appended to
 * them (AGAIN). The parts are borrowed during the call only. Nothing bounds what is pending
 * but the caller's pausing of its source.
 */
enum stream_result
stream_write(struct stream *stream, const struct iovec *parts, int count) MUST_CHECK;
/* Bound what the kernel holds of what the peer has not taken, to some `bytes`: so that one who
 * reads nothing shows soon in what is pending. */
void stream_limit_unsent(struct stream *stream, int bytes);
size_t stream_pending(const struct stream *stream);
/* Stop and go on reading. */
void stream_pause(struct stream *stream);
void stream_resume(struct stream *stream);
/* Send what is pending, then the end of our side (FIN, after close_notify with TLS); reading goes
 * on. */
void stream_shutdown_write(struct stream *stream);
/* Close the descriptor at once and forget what is pending. NULL-safe, may be repeated. */
void stream_close(struct stream *stream);
/* As close, with a reset (RST) in place of an end, so that the peer sees a cut and not an end. */
void stream_abort(struct stream *stream);
bool stream_is_open(const struct stream *stream);
/* Why the stream failed, for people: "Connection refused", "certificate verify failed: certificate
 * has expired". Static. */
const char *stream_error_text(const struct stream *stream);
