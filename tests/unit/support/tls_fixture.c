/* SPDX-License-Identifier: MIT */
/* Certificates by OpenSSL's API and a blocking server; see tls_fixture.h. */
#include "tls_fixture.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>
#include <openssl/evp.h>
#include <openssl/pem.h>
#include <openssl/x509v3.h>

static void add_extension(X509 *certificate, X509 *issuer, int nid, const char *value)
{
    X509V3_CTX context;
    X509_EXTENSION *extension;

    X509V3_set_ctx(&context, issuer, certificate, NULL, NULL, 0);
    extension = X509V3_EXT_conf_nid(NULL, &context, nid, value);
    assert_non_null(extension);
    assert_int_equal(X509_add_ext(certificate, extension, -1), 1);
    X509_EXTENSION_free(extension);
}

/* Unsigned yet; `issuer` NULL = its own. */
static X509 *make_certificate(EVP_PKEY *key, const char *name, X509 *issuer, long valid_until)
{
    X509 *certificate = X509_new();
    X509_NAME *subject;

    assert_non_null(certificate);
    assert_int_equal(X509_set_version(certificate, 2), 1);
    assert_int_equal(ASN1_INTEGER_set(X509_get_serialNumber(certificate), random() + 1), 1);
    assert_non_null(X509_gmtime_adj(X509_getm_notBefore(certificate), -7200));
    assert_non_null(X509_gmtime_adj(X509_getm_notAfter(certificate), valid_until));
    assert_int_equal(X509_set_pubkey(certificate, key), 1);
    subject = X509_get_subject_name(certificate);
    assert_int_equal(X509_NAME_add_entry_by_txt(subject, "CN", MBSTRING_ASC,
                                                (const unsigned char *)name, -1, -1, 0),
                     1);
    assert_int_equal(
        X509_set_issuer_name(certificate, issuer != NULL ? X509_get_subject_name(issuer) : subject),
        1);
    return certificate;
}

void tls_fixture_init(struct tls_fixture *fixture)
{
    FILE *file;
    int fd;

    fixture->authority_key = EVP_EC_gen("P-256");
    assert_non_null(fixture->authority_key);
    fixture->authority = make_certificate(fixture->authority_key, "test authority", NULL, 7200);
    add_extension(fixture->authority, fixture->authority, NID_basic_constraints,
                  "critical,CA:TRUE");
    assert_true(X509_sign(fixture->authority, fixture->authority_key, EVP_sha256()) > 0);
    (void)snprintf(fixture->ca_file, sizeof(fixture->ca_file), "/tmp/kamiyo_ca.XXXXXX");
    fd = mkstemp(fixture->ca_file);
    assert_true(fd >= 0);
    file = fdopen(fd, "w");
    assert_non_null(file);
    assert_int_equal(PEM_write_X509(file, fixture->authority), 1);
    assert_int_equal(fclose(file), 0);
}

void tls_fixture_clear(struct tls_fixture *fixture)
{
    X509_free(fixture->authority);
    EVP_PKEY_free(fixture->authority_key);
    assert_int_equal(unlink(fixture->ca_file), 0);
}

SSL_CTX *tls_fixture_server(struct tls_fixture *fixture,
                            const struct tls_fixture_certificate *wanted)
{
    EVP_PKEY *key = EVP_EC_gen("P-256");
    X509 *issuer = wanted->is_self_signed ? NULL : fixture->authority;
    SSL_CTX *context = SSL_CTX_new(TLS_server_method());
    X509 *certificate;

    assert_non_null(key);
    assert_non_null(context);
    certificate = make_certificate(key, "server", issuer, wanted->is_expired ? -3600 : 3600);
    add_extension(certificate, issuer != NULL ? issuer : certificate, NID_subject_alt_name,
                  wanted->alt_name != NULL ? wanted->alt_name : "DNS:api.test");
    assert_true(
        X509_sign(certificate, issuer != NULL ? fixture->authority_key : key, EVP_sha256()) > 0);
    assert_int_equal(SSL_CTX_use_certificate(context, certificate), 1);
    assert_int_equal(SSL_CTX_use_PrivateKey(context, key), 1);
    X509_free(certificate);
    EVP_PKEY_free(key);
    return context;
}

static void *serve_connection(void *arg)
{
    struct tls_fixture_connection *connection = arg;
    SSL *ssl = SSL_new(connection->context);
    char byte;

    if (ssl != NULL && SSL_set_fd(ssl, connection->fd) == 1 && SSL_accept(ssl) == 1) {
        connection->was_accepted = true;
        connection->was_resumed = SSL_session_reused(ssl) == 1;
        if (connection->serve != NULL) {
            connection->serve(ssl, connection->arg);
        } else {
            while (SSL_read(ssl, &byte, 1) > 0)
                ;
            (void)SSL_shutdown(ssl);
        }
    }
    SSL_free(ssl);
    close(connection->fd);
    return NULL;
}

void tls_fixture_serve(struct tls_fixture_connection *connection)
{
    connection->was_accepted = false;
    connection->was_resumed = false;
    assert_int_equal(pthread_create(&connection->thread, NULL, serve_connection, connection), 0);
}

void tls_fixture_join(struct tls_fixture_connection *connection)
{
    assert_int_equal(pthread_join(connection->thread, NULL), 0);
}
