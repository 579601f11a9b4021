/* SPDX-License-Identifier: MIT */
#pragma once

#include <stdbool.h>
#include <stddef.h>

#include "kamiyo/net/stream.h"

/*
 * Between stream.c, stream_send.c and stream_tls.c only. stream.c owns events,
 * what is pending and the handler; stream_tls.c owns the SSL and knows neither.
 */

/*
 * As send(), errno included, but no SIGPIPE: `count` parts, `total` bytes together, with one system
 * call. At least one part; the kernel refuses more than IOV_MAX of them (EMSGSIZE).
 */
ssize_t stream_send(int fd, const struct iovec *parts, int count, size_t total);
/* Copy the parts one behind the other. */
void stream_gather(char *to, const struct iovec *parts, int count);

/* What a call into the SSL asks for next. */
enum stream_tls_status {
    STREAM_TLS_DONE,
    STREAM_TLS_WANTS_READ,
    STREAM_TLS_WANTS_WRITE,
    STREAM_TLS_END,    /* close_notify */
    STREAM_TLS_FAILED, /* stream->error is set */
};

struct stream_tls {
    struct ssl_st *ssl;
    struct stream *stream;
    struct loop_task more; /* calls on_readable again at the end of the turn */
    const char *failure;   /* static; NULL = none, or stream->error says it */
    bool is_established;   /* the handshake has succeeded and nothing has failed since */
    bool read_wants_write; /* a read goes on when the socket can be written */
    bool write_wants_read; /* and the reverse */
    bool end_wants_write;  /* close_notify waits for a full socket */
};

struct stream_tls *
stream_tls_create(struct stream *stream, struct ssl_st *ssl, loop_task_fn *on_more);
/* With `is_polite` a close_notify is tried, and the session stays good for another connection. */
void stream_tls_destroy(struct stream_tls **tls, bool is_polite);
enum stream_tls_status stream_tls_handshake(struct stream_tls *tls) MUST_CHECK;
enum stream_tls_status
stream_tls_read(struct stream_tls *tls, char *buffer, size_t capacity, size_t *length) MUST_CHECK;
/* As much as the socket takes; *taken counts also when it then wants or fails. */
enum stream_tls_status
stream_tls_write(struct stream_tls *tls, const char *data, size_t length, size_t *taken) MUST_CHECK;
bool stream_tls_has_more(const struct stream_tls *tls);
/* Send close_notify. DONE or WANTS_WRITE; DONE also when the connection is broken. */
enum stream_tls_status stream_tls_shutdown(struct stream_tls *tls);
