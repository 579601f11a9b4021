/* SPDX-License-Identifier: MIT */
/* The TLS client and encrypted streams against a blocking OpenSSL server with certificates good and
 * bad. */
#include <errno.h>
#include <fcntl.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include <cmocka.h>

#include "kamiyo/net/stream.h"
#include "kamiyo/net/tls.h"

#include "loop_fixture.h"
#include "tls_fixture.h"

#define BIG ((size_t)3 * 1024 * 1024)

struct client {
    struct stream stream;
    char buffer[4096]; /* smaller than a record, so that decrypted bytes remain */
    size_t received;
    enum stream_result last;
    bool is_ready;
    bool is_failed;
    bool is_settled; /* one of the two */
    bool is_ended;
};

static char pattern(size_t index)
{
    return (char)(index * 31 + index / 251);
}

static void on_readable(struct stream *stream, void *arg)
{
    struct client *client = arg;
    size_t length = 0;

    client->last = stream_read(stream, client->buffer, sizeof(client->buffer), &length);
    for (size_t i = 0; i < length; i++)
        assert_int_equal(client->buffer[i], pattern(client->received + i));
    client->received += length;
    if (client->last == STREAM_END || client->last == STREAM_FAILED) {
        client->is_ended = true;
        stream_pause(stream);
    }
}

static void on_drained(struct stream *stream, void *arg)
{
    struct client *client = arg;

    (void)stream;
    client->is_ready = true;
    client->is_settled = true;
}

static void on_failed(struct stream *stream, void *arg)
{
    struct client *client = arg;

    (void)stream;
    client->is_failed = true;
    client->is_settled = true;
}

static const struct stream_handler handler = {on_readable, on_drained, on_failed};

/* Shake hands over a socketpair and wait for what comes of it. */
static void shake_hands(struct client *client,
                        struct tls_fixture_connection *server,
                        struct loop *loop,
                        struct tls_client *tls,
                        const char *host)
{
    struct ssl_st *ssl;
    struct error error;
    int fds[2];

    memset(client, 0, sizeof(*client));
    assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, fds), 0);
    assert_int_equal(fcntl(fds[0], F_SETFL, O_NONBLOCK), 0);
    server->fd = fds[1];
    tls_fixture_serve(server);
    stream_init(&client->stream, loop, fds[0], &handler, client);
    ssl = tls_client_new(tls, host, &error);
    assert_non_null(ssl);
    stream_start_tls(&client->stream, ssl);
    loop_fixture_run_until(loop, &client->is_settled);
}

struct verify_row {
    const char *host;
    const char *server_name;
    struct tls_fixture_certificate certificate;
    bool foreign_authority;
    bool no_verification;
    const char *failure; /* NULL = works */
};

static const struct verify_row verify_rows[] = {
    {.host = "api.test"},
    {.host = "other.test", .failure = "hostname mismatch"},
    {.host = "other.test", .server_name = "api.test"},
    {.host = "api.test", .server_name = "other.test", .failure = "hostname mismatch"},
    {.host = "a.wild.test", .certificate = {.alt_name = "DNS:*.wild.test"}},
    {.host = "ab.wild.test",
     .certificate = {.alt_name = "DNS:a*.wild.test"},
     .failure = "hostname mismatch"},
    {.host = "127.0.0.1", .certificate = {.alt_name = "IP:127.0.0.1"}},
    {.host = "::1", .certificate = {.alt_name = "IP:::1"}},
    {.host = "127.0.0.1", .failure = "IP address mismatch"},
    {.host = "127.0.0.1",
     .certificate = {.alt_name = "DNS:127.0.0.1"},
     .failure = "IP address mismatch"},
    {.host = "api.test", .certificate = {.is_expired = true}, .failure = "certificate has expired"},
    {.host = "api.test",
     .certificate = {.is_self_signed = true},
     .failure = "self-signed certificate"},
    {.host = "api.test", .foreign_authority = true, .failure = "certificate signature failure"},
    {.host = "other.test",
     .certificate = {.is_self_signed = true, .is_expired = true},
     .no_verification = true},
};

static void test_verification(void **state)
{
    struct tls_fixture ours;
    struct tls_fixture foreign;

    tls_fixture_init(&ours);
    tls_fixture_init(&foreign);
    for (size_t i = 0; i < COUNT_OF(verify_rows); i++) {
        const struct verify_row *row = &verify_rows[i];
        struct tls_fixture *signer = row->foreign_authority ? &foreign : &ours;
        struct tls_options options = {.ca_file = ours.ca_file, .verify = !row->no_verification};
        struct tls_fixture_connection server = {.context =
                                                    tls_fixture_server(signer, &row->certificate)};
        char name[32] = "";
        struct tls_client *tls;
        struct client client;
        struct error error;

        if (row->server_name != NULL)
            strncpy(name, row->server_name, sizeof(name) - 1);
        options.server_name = name;
        tls = tls_client_create(&options, &error);
        assert_non_null(tls);
        shake_hands(&client, &server, *state, tls, row->host);
        if (client.is_ready != (row->failure == NULL))
            fail_msg("row %zu: %s", i,
                     client.is_ready ? "accepted" : stream_error_text(&client.stream));
        if (row->failure != NULL) {
            assert_int_equal(client.stream.error, EPROTO);
            if (strcasecmp(stream_error_text(&client.stream), row->failure) != 0)
                fail_msg("row %zu: %s", i, stream_error_text(&client.stream));
        }
        stream_close(&client.stream);
        tls_fixture_join(&server);
        SSL_CTX_free(server.context);
        tls_client_destroy(&tls);
        tls_client_destroy(&tls);
    }
    tls_fixture_clear(&ours);
    tls_fixture_clear(&foreign);
}

/* What the rest needs: an authority, a good server and a client that trusts it. */
struct scene {
    struct tls_fixture fixture;
    struct tls_fixture_connection server;
    struct tls_client *tls;
    struct client client;
};

static void scene_init(struct scene *scene)
{
    const struct tls_fixture_certificate good = {.alt_name = NULL};
    struct tls_options options = {.verify = true};
    struct error error;

    memset(scene, 0, sizeof(*scene));
    tls_fixture_init(&scene->fixture);
    scene->server.context = tls_fixture_server(&scene->fixture, &good);
    options.ca_file = scene->fixture.ca_file;
    scene->tls = tls_client_create(&options, &error);
    assert_non_null(scene->tls);
}

static void scene_clear(struct scene *scene)
{
    stream_close(&scene->client.stream);
    tls_client_destroy(&scene->tls);
    SSL_CTX_free(scene->server.context);
    tls_fixture_clear(&scene->fixture);
}

static void send_pattern(SSL *ssl, void *arg)
{
    char block[20000];

    for (size_t sent = 0; sent < BIG; sent += sizeof(block)) {
        size_t length = BIG - sent < sizeof(block) ? BIG - sent : sizeof(block);

        for (size_t i = 0; i < length; i++)
            block[i] = pattern(sent + i);
        if (SSL_write(ssl, block, (int)length) != (int)length)
            return;
    }
    if (*(const bool *)arg)
        (void)SSL_shutdown(ssl);
}

static void test_reads_all_and_sees_the_end(void **state)
{
    struct scene scene;
    bool ends_in_order = true;

    scene_init(&scene);
    scene.server.serve = send_pattern;
    scene.server.arg = &ends_in_order;
    shake_hands(&scene.client, &scene.server, *state, scene.tls, "api.test");
    loop_fixture_run_until(*state, &scene.client.is_ended);
    assert_int_equal(scene.client.last, STREAM_END);
    assert_int_equal(scene.client.received, BIG);
    assert_int_equal(scene.client.stream.bytes_read, BIG);
    tls_fixture_join(&scene.server);
    scene_clear(&scene);
}

/* RFC 8446 6.1: without close_notify the answer may have been cut by anyone. */
static void test_truncation_is_no_end(void **state)
{
    struct scene scene;
    bool ends_in_order = false;

    scene_init(&scene);
    scene.server.serve = send_pattern;
    scene.server.arg = &ends_in_order;
    shake_hands(&scene.client, &scene.server, *state, scene.tls, "api.test");
    loop_fixture_run_until(*state, &scene.client.is_ended);
    assert_int_equal(scene.client.last, STREAM_FAILED);
    assert_int_equal(scene.client.stream.error, EPROTO);
    assert_string_equal(stream_error_text(&scene.client.stream), "unexpected eof while reading");
    assert_int_equal(scene.client.received, BIG);
    tls_fixture_join(&scene.server);
    scene_clear(&scene);
}

/* Decrypted bytes wait during a pause and are announced after it, though the socket is empty. */
static void test_pause_with_decrypted_bytes(void **state)
{
    struct scene scene;
    bool ends_in_order = true;
    size_t before;

    scene_init(&scene);
    scene.server.serve = send_pattern;
    scene.server.arg = &ends_in_order;
    shake_hands(&scene.client, &scene.server, *state, scene.tls, "api.test");
    while (scene.client.received == 0)
        loop_run_for(*state, 0);
    while (!scene.client.is_ended) {
        stream_pause(&scene.client.stream);
        before = scene.client.received;
        loop_run_for(*state, 0);
        assert_int_equal(scene.client.received, before);
        stream_resume(&scene.client.stream);
        while (scene.client.received < before + 100000 && !scene.client.is_ended)
            loop_run_for(*state, 1);
    }
    assert_int_equal(scene.client.received, BIG);
    tls_fixture_join(&scene.server);
    scene_clear(&scene);
}

static void read_slowly(SSL *ssl, void *arg)
{
    char block[7000];
    size_t *received = arg;
    int count;

    while ((count = SSL_read(ssl, block, sizeof(block))) > 0) {
        for (int i = 0; i < count; i++) {
            if (block[i] != pattern(*received + (size_t)i))
                return;
        }
        *received += (size_t)count;
        if (*received % 16 == 0)
            usleep(100);
    }
    (void)SSL_shutdown(ssl);
}

static void test_writes_to_a_slow_reader(void **state)
{
    struct scene scene;
    size_t received = 0;
    char *bytes = malloc(BIG);
    struct iovec parts[3];

    assert_non_null(bytes);
    for (size_t i = 0; i < BIG; i++)
        bytes[i] = pattern(i);
    scene_init(&scene);
    scene.server.serve = read_slowly;
    scene.server.arg = &received;
    shake_hands(&scene.client, &scene.server, *state, scene.tls, "api.test");
    parts[0] = (struct iovec){bytes, 100};
    parts[1] = (struct iovec){bytes + 100, 200};
    assert_int_equal(stream_write(&scene.client.stream, parts, 2), STREAM_OK);
    scene.client.is_ready = false;
    parts[0] = (struct iovec){bytes + 300, 50000};
    parts[1] = (struct iovec){bytes + 50300, BIG / 2};
    assert_int_equal(stream_write(&scene.client.stream, parts, 2), STREAM_AGAIN);
    parts[0] = (struct iovec){bytes + 50300 + BIG / 2, BIG - 50300 - BIG / 2};
    assert_int_equal(stream_write(&scene.client.stream, parts, 1), STREAM_AGAIN);
    loop_fixture_run_until(*state, &scene.client.is_ready);
    assert_int_equal(scene.client.stream.bytes_written, BIG);
    assert_null(scene.client.stream.output);
    stream_shutdown_write(&scene.client.stream);
    loop_fixture_run_until(*state, &scene.client.is_ended);
    tls_fixture_join(&scene.server);
    assert_int_equal(received, BIG);
    if (scene.client.last != STREAM_END)
        fail_msg("%s", stream_error_text(&scene.client.stream));
    free(bytes);
    scene_clear(&scene);
}

static void send_one_byte(SSL *ssl, void *arg)
{
    char byte = pattern(0);

    (void)arg;
    (void)SSL_write(ssl, &byte, 1); /* behind the session tickets of TLS 1.3 */
    (void)SSL_read(ssl, &byte, 1);
    (void)SSL_shutdown(ssl);
}

static void test_session_is_used_again(void **state)
{
    struct scene scene;

    scene_init(&scene);
    scene.server.serve = send_one_byte;
    for (int i = 0; i < 3; i++) {
        shake_hands(&scene.client, &scene.server, *state, scene.tls, "api.test");
        while (scene.client.received == 0)
            loop_run_for(*state, 1);
        stream_close(&scene.client.stream);
        tls_fixture_join(&scene.server);
        assert_true(scene.server.was_accepted);
        assert_int_equal(scene.server.was_resumed, i > 0);
    }
    scene_clear(&scene);
}

static void test_old_versions_are_refused(void **state)
{
    struct scene scene;

    scene_init(&scene);
    SSL_CTX_set_security_level(scene.server.context, 0);
    assert_int_equal(SSL_CTX_set_min_proto_version(scene.server.context, TLS1_VERSION), 1);
    assert_int_equal(SSL_CTX_set_max_proto_version(scene.server.context, TLS1_1_VERSION), 1);
    shake_hands(&scene.client, &scene.server, *state, scene.tls, "api.test");
    assert_true(scene.client.is_failed);
    stream_close(&scene.client.stream);
    tls_fixture_join(&scene.server);
    scene_clear(&scene);
}

static void test_close_during_the_handshake(void **state)
{
    struct scene scene;
    struct error error;
    struct ssl_st *ssl;
    int fds[2];

    scene_init(&scene);
    assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0, fds), 0);
    stream_init(&scene.client.stream, *state, fds[0], &handler, &scene.client);
    ssl = tls_client_new(scene.tls, "api.test", &error);
    assert_non_null(ssl);
    stream_start_tls(&scene.client.stream, ssl);
    loop_run_for(*state, 5); /* nobody answers */
    assert_false(scene.client.is_settled);
    stream_close(&scene.client.stream);
    close(fds[1]);

    memset(&scene.client, 0, sizeof(scene.client)); /* and a peer that goes during it */
    assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0, fds), 0);
    stream_init(&scene.client.stream, *state, fds[0], &handler, &scene.client);
    ssl = tls_client_new(scene.tls, "api.test", &error);
    assert_non_null(ssl);
    stream_start_tls(&scene.client.stream, ssl);
    loop_run_for(*state, 5);
    close(fds[1]);
    loop_fixture_run_until(*state, &scene.client.is_failed);
    scene_clear(&scene);
}

static void test_options_that_cannot_be(void **state)
{
    char missing[] = "/nonexistent.pem";
    const struct {
        struct tls_options options;
        const char *expected;
    } rows[] = {
        {{.ca_file = missing, .verify = true}, "cannot read ca_file \"/nonexistent.pem\""},
        {{.cert_file = missing}, "cannot read cert_file \"/nonexistent.pem\""},
        {{.key_file = missing}, "key_file without cert_file"},
    };

    (void)state;
    for (size_t i = 0; i < COUNT_OF(rows); i++) {
        struct error error;

        assert_null(tls_client_create(&rows[i].options, &error));
        assert_non_null(strstr(error.text, rows[i].expected));
    }
}

#define TEST(function) \
    cmocka_unit_test_setup_teardown(function, loop_fixture_setup, loop_fixture_teardown)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(test_verification),
        TEST(test_reads_all_and_sees_the_end),
        TEST(test_truncation_is_no_end),
        TEST(test_pause_with_decrypted_bytes),
        TEST(test_writes_to_a_slow_reader),
        TEST(test_session_is_used_again),
        TEST(test_old_versions_are_refused),
        TEST(test_close_during_the_handshake),
        cmocka_unit_test(test_options_that_cannot_be),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
