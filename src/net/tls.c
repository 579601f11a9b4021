/* SPDX-License-Identifier: MIT */
/*
 * TLS clients through OpenSSL: a context that verifies, and for each host the
 * session that was seen last, offered again on the next connection. Contexts
 * may be shared by threads, so the sessions are behind a lock.
 */
#include "kamiyo/net/tls.h"

#include <pthread.h>
#include <stdint.h>
#include <string.h>

#include <openssl/err.h>
#include <openssl/ssl.h>
#include <openssl/x509v3.h>

#include "kamiyo/base/mem.h"
#include "kamiyo/base/slice.h"
#include "kamiyo/net/addr.h"

/* A configuration names a handful of hosts; beyond these each handshake is a full one. */
#define SESSIONS 16

struct tls_session {
    char *host;
    SSL_SESSION *session; /* NULL = none seen yet */
};

struct tls_client {
    SSL_CTX *context;
    char *server_name; /* NULL = the host's */
    bool verify;
    pthread_mutex_t lock;
    struct tls_session sessions[SESSIONS]; /* under lock; a host keeps its place */
};

static bool is_set(const char *text)
{
    return text != NULL && text[0] != '\0';
}

/* OpenSSL's reason for the last failure, behind what we were about. */
static void set_error(struct error *error, const char *what, const char *name)
{
    const char *reason = ERR_reason_error_string(ERR_peek_last_error());

    error_set(error, "%s \"%s\": %s", what, name, reason != NULL ? reason : "unknown reason");
    ERR_clear_error();
}

/* --- sessions --- */

/* The place of `host`, made if need be; NULL when all are taken. Under the lock. */
static struct tls_session *find_place(struct tls_client *client, const char *host)
{
    for (size_t i = 0; i < SESSIONS; i++) {
        struct tls_session *place = &client->sessions[i];

        if (place->host == NULL)
            place->host = mem_copy_string(host);
        if (strcmp(place->host, host) == 0)
            return place;
    }
    return NULL;
}

static int on_new_session(SSL *ssl, SSL_SESSION *session)
{
    struct tls_client *client = SSL_CTX_get_app_data(SSL_get_SSL_CTX(ssl));
    struct tls_session *place = SSL_get_app_data(ssl);

    if (client == NULL || place == NULL)
        return 0;
    (void)pthread_mutex_lock(&client->lock); /* cannot fail for a plain mutex */
    SSL_SESSION_free(place->session);
    place->session = session;
    (void)pthread_mutex_unlock(&client->lock);
    return 1; /* the reference is ours */
}

/* A session stands under the name that its connection has verified. */
static void offer_session(struct tls_client *client, SSL *ssl, const char *name)
{
    struct tls_session *place;

    (void)pthread_mutex_lock(&client->lock); /* cannot fail for a plain mutex */
    place = find_place(client, name);
    (void)SSL_set_app_data(ssl, place); /* short of memory, its session is not kept */
    if (place != NULL && place->session != NULL && SSL_SESSION_is_resumable(place->session))
        (void)SSL_set_session(ssl, place->session); /* without it the handshake is a full one */
    (void)pthread_mutex_unlock(&client->lock);
}

/* --- the context --- */

static bool
load_authorities(SSL_CTX *context, const struct tls_options *options, struct error *error)
{
    if (!is_set(options->ca_file)) {
        if (SSL_CTX_set_default_verify_paths(context) == 1)
            return true;
        set_error(error, "cannot read the system's certificates", "");
        return false;
    }
    if (SSL_CTX_load_verify_file(context, options->ca_file) == 1)
        return true;
    set_error(error, "cannot read ca_file", options->ca_file);
    return false;
}

static bool
load_own_certificate(SSL_CTX *context, const struct tls_options *options, struct error *error)
{
    const char *key_file = is_set(options->key_file) ? options->key_file : options->cert_file;

    if (!is_set(options->cert_file)) {
        if (!is_set(options->key_file))
            return true;
        error_set(error, "key_file without cert_file");
        return false;
    }
    if (SSL_CTX_use_certificate_chain_file(context, options->cert_file) != 1) {
        set_error(error, "cannot read cert_file", options->cert_file);
        return false;
    }
    if (SSL_CTX_use_PrivateKey_file(context, key_file, SSL_FILETYPE_PEM) != 1) {
        set_error(error, "cannot read key_file", key_file);
        return false;
    }
    return true;
}

static SSL_CTX *create_context(const struct tls_options *options, struct error *error)
{
    SSL_CTX *context;

    ERR_clear_error();
    context = SSL_CTX_new(TLS_client_method());
    if (context == NULL || SSL_CTX_set_min_proto_version(context, TLS1_2_VERSION) != 1) {
        set_error(error, "cannot set up TLS", "");
        goto fail;
    }
    (void)SSL_CTX_set_options(context, SSL_OP_NO_RENEGOTIATION |
                                           SSL_OP_NO_COMPRESSION); /* returns the set */
    SSL_CTX_set_verify(context, options->verify ? SSL_VERIFY_PEER : SSL_VERIFY_NONE, NULL);
    if (options->verify && !load_authorities(context, options, error))
        goto fail;
    if (!load_own_certificate(context, options, error))
        goto fail;
    (void)SSL_CTX_set_session_cache_mode(context,
                                         SSL_SESS_CACHE_CLIENT | SSL_SESS_CACHE_NO_INTERNAL);
    SSL_CTX_sess_set_new_cb(context, on_new_session);
    return context;

fail:
    SSL_CTX_free(context);
    return NULL;
}

struct tls_client *tls_client_create(const struct tls_options *options, struct error *error)
{
    SSL_CTX *context = create_context(options, error);
    struct tls_client *client;

    if (context == NULL)
        return NULL;
    client = mem_alloc_zero(sizeof(*client));
    client->context = context;
    client->verify = options->verify;
    client->server_name =
        is_set(options->server_name) ? mem_copy_string(options->server_name) : NULL;
    (void)pthread_mutex_init(&client->lock, NULL); /* cannot fail for a plain mutex */
    (void)SSL_CTX_set_app_data(context, client);   /* short of memory, sessions are not kept */
    return client;
}

void tls_client_destroy(struct tls_client **client_pointer)
{
    struct tls_client *client = *client_pointer;

    if (client == NULL)
        return;
    *client_pointer = NULL;
    /* Connections may outlive the client and hold the context: they keep no more sessions. */
    (void)SSL_CTX_set_app_data(client->context, NULL);
    SSL_CTX_free(client->context);
    for (size_t i = 0; i < SESSIONS; i++) {
        mem_free(client->sessions[i].host);
        SSL_SESSION_free(client->sessions[i].session);
    }
    (void)pthread_mutex_destroy(&client->lock);
    mem_free(client->server_name);
    mem_free(client);
}

/* --- a connection --- */

/* RFC 6066 3: no address in the server name; a certificate for one carries it as an IP. */
static bool set_name(SSL *ssl, const char *name, bool verify)
{
    struct addr addr;
    X509_VERIFY_PARAM *verification = SSL_get0_param(ssl);

    if (addr_parse(slice_of(name), &addr))
        return !verify || X509_VERIFY_PARAM_set1_ip_asc(verification, name) == 1;
    X509_VERIFY_PARAM_set_hostflags(verification, X509_CHECK_FLAG_NO_PARTIAL_WILDCARDS);
    /* SSL_set_tlsext_host_name without its cast: the name is copied, its type only lacks the const.
     */
    if (SSL_ctrl(ssl, SSL_CTRL_SET_TLSEXT_HOSTNAME, TLSEXT_NAMETYPE_host_name,
                 (void *)(uintptr_t)name) != 1)
        return false;
    return !verify || SSL_set1_host(ssl, name) == 1;
}

struct ssl_st *tls_client_new(struct tls_client *client, const char *host, struct error *error)
{
    const char *name = client->server_name != NULL ? client->server_name : host;
    SSL *ssl;

    ERR_clear_error();
    ssl = SSL_new(client->context);
    if (ssl == NULL || !set_name(ssl, name, client->verify)) {
        set_error(error, "cannot verify the server name", name);
        SSL_free(ssl);
        return NULL;
    }
    SSL_set_connect_state(ssl);
    offer_session(client, ssl, name);
    return ssl;
}
