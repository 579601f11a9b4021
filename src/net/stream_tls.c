/* SPDX-License-Identifier: MIT */
/*
 * The SSL of a stream: each call into OpenSSL with the error queue cleared
 * before and its outcome turned into one enum after. The queue is a thread's,
 * not a connection's, so a leftover would be taken for this connection's fault.
 */
#include <errno.h>
#include <limits.h>

#include <openssl/err.h>
#include <openssl/ssl.h>
#include <openssl/x509_vfy.h>

#include "kamiyo/base/mem.h"

#include "stream_internal.h"

struct stream_tls *stream_tls_create(struct stream *stream, SSL *ssl, loop_task_fn *on_more)
{
    struct stream_tls *tls = mem_alloc_zero(sizeof(*tls));

    tls->ssl = ssl;
    tls->stream = stream;
    loop_task_init(&tls->more, on_more, stream);
    /* What is pending moves as its buffer grows, and a full socket takes a part of it. */
    (void)SSL_set_mode(ssl, SSL_MODE_ENABLE_PARTIAL_WRITE | SSL_MODE_ACCEPT_MOVING_WRITE_BUFFER |
                                SSL_MODE_RELEASE_BUFFERS); /* returns the mode */
    if (SSL_set_fd(ssl, stream->fd) != 1)
        tls->failure = "no memory for TLS";
    SSL_set_connect_state(ssl);
    return tls;
}

void stream_tls_destroy(struct stream_tls **tls_pointer, bool is_polite)
{
    struct stream_tls *tls = *tls_pointer;

    if (tls == NULL)
        return;
    *tls_pointer = NULL;
    loop_task_cancel(tls->stream->loop, &tls->more);
    if (is_polite)
        (void)stream_tls_shutdown(
            tls); /* one try: a peer that reads nothing gets no close_notify */
    else if (tls->is_established)
        SSL_set_shutdown(tls->ssl, SSL_SENT_SHUTDOWN); /* else OpenSSL forgets the session */
    SSL_free(tls->ssl);
    ERR_clear_error();
    mem_free(tls);
}

/* The most telling static text: why the certificate was refused, else OpenSSL's reason. */
static const char *describe_failure(const struct stream_tls *tls)
{
    long verified = SSL_get_verify_result(tls->ssl);
    const char *reason;

    if (verified != X509_V_OK && (SSL_get_verify_mode(tls->ssl) & SSL_VERIFY_PEER) != 0)
        return X509_verify_cert_error_string(verified);
    reason = ERR_reason_error_string(ERR_peek_error());
    return reason != NULL ? reason : "TLS failed";
}

static enum stream_tls_status judge(struct stream_tls *tls, int result)
{
    int saved_errno = errno;

    switch (SSL_get_error(tls->ssl, result)) {
    case SSL_ERROR_NONE:
        return STREAM_TLS_DONE;
    case SSL_ERROR_WANT_READ:
        return STREAM_TLS_WANTS_READ;
    case SSL_ERROR_WANT_WRITE:
        return STREAM_TLS_WANTS_WRITE;
    case SSL_ERROR_ZERO_RETURN:
        return STREAM_TLS_END;
    case SSL_ERROR_SYSCALL:
        tls->is_established = false;
        tls->stream->error = saved_errno != 0 ? saved_errno : EPROTO;
        return STREAM_TLS_FAILED;
    default: /* SSL_ERROR_SSL: a broken protocol, or an end without close_notify */
        tls->is_established = false;
        tls->failure = describe_failure(tls);
        tls->stream->error = EPROTO;
        return STREAM_TLS_FAILED;
    }
}

static void prepare(void)
{
    ERR_clear_error();
    errno = 0;
}

enum stream_tls_status stream_tls_handshake(struct stream_tls *tls)
{
    enum stream_tls_status status;

    if (tls->failure != NULL) {
        tls->stream->error = EPROTO;
        return STREAM_TLS_FAILED;
    }
    prepare();
    status = judge(tls, SSL_do_handshake(tls->ssl));
    tls->is_established = status == STREAM_TLS_DONE;
    return status;
}

enum stream_tls_status
stream_tls_read(struct stream_tls *tls, char *buffer, size_t capacity, size_t *length)
{
    int count;

    prepare();
    count = SSL_read(tls->ssl, buffer, capacity > INT_MAX ? INT_MAX : (int)capacity);
    if (count <= 0)
        return judge(tls, count);
    *length = (size_t)count;
    return STREAM_TLS_DONE;
}

enum stream_tls_status
stream_tls_write(struct stream_tls *tls, const char *data, size_t length, size_t *taken)
{
    *taken = 0;
    while (*taken < length) {
        size_t rest = length - *taken;
        int count;

        prepare();
        count = SSL_write(tls->ssl, data + *taken, rest > INT_MAX ? INT_MAX : (int)rest);
        if (count <= 0)
            return judge(tls, count);
        *taken += (size_t)count;
    }
    return STREAM_TLS_DONE;
}

bool stream_tls_has_more(const struct stream_tls *tls)
{
    return SSL_pending(tls->ssl) > 0;
}

enum stream_tls_status stream_tls_shutdown(struct stream_tls *tls)
{
    int result;

    if (!tls->is_established)
        return STREAM_TLS_DONE;
    /* The flag is set before the alert is written; asking again after that would read. */
    if ((SSL_get_shutdown(tls->ssl) & SSL_SENT_SHUTDOWN) != 0 && !tls->end_wants_write)
        return STREAM_TLS_DONE;
    prepare();
    result = SSL_shutdown(tls->ssl);
    tls->end_wants_write = result < 0 && SSL_get_error(tls->ssl, result) == SSL_ERROR_WANT_WRITE;
    return tls->end_wants_write ? STREAM_TLS_WANTS_WRITE : STREAM_TLS_DONE;
}
