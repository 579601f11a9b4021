/* SPDX-License-Identifier: MIT */
#pragma once

#include <pthread.h>
#include <stdbool.h>

#include <openssl/ssl.h>

/*
 * A certificate authority of the test's own and a TLS server that runs in a
 * thread with plain blocking calls, so that what is tested meets an
 * implementation that shares nothing with it.
 */
struct tls_fixture {
    EVP_PKEY *authority_key;
    X509 *authority;
    char ca_file[64]; /* PEM, removed by tls_fixture_clear */
};

/* What a certificate says; zero = a good one for "api.test". */
struct tls_fixture_certificate {
    const char *alt_name; /* "DNS:api.test", "IP:127.0.0.1" */
    bool is_expired;
    bool is_self_signed; /* by no authority but itself */
};

void tls_fixture_init(struct tls_fixture *fixture);
void tls_fixture_clear(struct tls_fixture *fixture);
/* A server context with a new key and certificate; free with SSL_CTX_free. */
SSL_CTX *tls_fixture_server(struct tls_fixture *fixture,
                            const struct tls_fixture_certificate *certificate);

/* One connection of a server: SSL_accept on `fd` (owned), then `serve`, all in a thread of its own.
 */
struct tls_fixture_connection {
    pthread_t thread;
    SSL_CTX *context;
    int fd;
    void (*serve)(SSL *ssl, void *arg); /* NULL = wait for the end and say close_notify */
    void *arg;
    bool was_accepted; /* after the join */
    bool was_resumed;
};

void tls_fixture_serve(struct tls_fixture_connection *connection);
void tls_fixture_join(struct tls_fixture_connection *connection);
