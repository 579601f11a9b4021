/* SPDX-License-Identifier: MIT */
/* The pool on real loopback sockets and a clock that the test moves: reuse, age, limits, failures,
 * cancelling. */
#include <fcntl.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include <cmocka.h>

#include "kamiyo/upstream/upstream_pool.h"

#include "loop_fixture.h"
#include "tls_fixture.h"
#include "upstream_support.h"

struct scene {
    struct upstream_support support;
    struct upstream_support_server server;
    struct upstream_support_borrower a;
    struct upstream_support_borrower b;
    struct upstream_support_borrower c;
    struct upstream_support_borrower d;
};

static void scene_init(struct scene *scene, struct loop *loop, int max_connections)
{
    memset(scene, 0, sizeof(*scene));
    upstream_support_server_start(&scene->server, loop);
    upstream_support_init(&scene->support, loop);
    upstream_support_add_url(&scene->support, scene->server.url);
    scene->support.options.max_connections = max_connections;
    upstream_support_open(&scene->support);
}

static void scene_clear(struct scene *scene)
{
    upstream_support_clear(&scene->support);
    upstream_support_server_stop(&scene->server);
}

static void test_reuses_the_last_used_first(void **state)
{
    struct scene scene;
    struct upstream_connection *first;
    struct upstream_connection *second;

    scene_init(&scene, *state, 10);
    upstream_support_borrow(&scene.support, &upstream_support_any, &scene.a, UPSTREAM_CONNECTED);
    assert_int_equal(scene.a.progress, PROGRESS_PENDING);
    upstream_support_borrow(&scene.support, &upstream_support_any, &scene.b, UPSTREAM_CONNECTED);
    first = scene.a.connection;
    second = scene.b.connection;
    assert_int_equal(first->request_count, 0);
    upstream_support_expect_status(&scene.support, 0, 2, 0);
    upstream_pool_release(&scene.a.connection, UPSTREAM_KEEP);
    assert_null(scene.a.connection);
    upstream_pool_release(&scene.a.connection, UPSTREAM_KEEP);
    upstream_pool_release(&scene.b.connection, UPSTREAM_KEEP);
    upstream_support_expect_status(&scene.support, 2, 0, 0);
    upstream_support_borrow(&scene.support, &upstream_support_any, &scene.a, UPSTREAM_CONNECTED);
    assert_int_equal(scene.a.progress, PROGRESS_DONE);
    assert_ptr_equal(scene.a.connection, second);
    assert_int_equal(second->request_count, 1);
    upstream_support_borrow(&scene.support, &upstream_support_any, &scene.b, UPSTREAM_CONNECTED);
    assert_ptr_equal(scene.b.connection, first);
    upstream_pool_release(&scene.a.connection, UPSTREAM_CLOSE);
    upstream_pool_release(&scene.b.connection, UPSTREAM_CLOSE);
    upstream_support_expect_status(&scene.support, 0, 0, 0);
    assert_int_equal(scene.server.count, 2);
    scene_clear(&scene);
}

static void test_carries_bytes_both_ways(void **state)
{
    struct scene scene;
    char request[] = "ping";
    struct iovec part = {request, 4};
    char got[8];
    size_t length = 0;

    scene_init(&scene, *state, 10);
    upstream_support_borrow(&scene.support, &upstream_support_any, &scene.a, UPSTREAM_CONNECTED);
    while (scene.server.count == 0)
        loop_run_for(*state, 1);
    assert_int_equal(stream_write(&scene.a.connection->stream, &part, 1), STREAM_OK);
    assert_int_equal(recv(scene.server.fds[0], got, sizeof(got), 0), 4);
    assert_int_equal(send(scene.server.fds[0], "pong", 4, 0), 4);
    assert_int_equal(stream_read(&scene.a.connection->stream, got, sizeof(got), &length),
                     STREAM_OK);
    assert_int_equal(length, 4);
    upstream_pool_release(&scene.a.connection, UPSTREAM_KEEP);
    scene_clear(&scene);
}

/* Bytes, an end or a reset: whatever comes while it idles, it is not used again. */
static void test_drops_idle_connections_that_say_something(void **state)
{
    for (int kind = 0; kind < 3; kind++) {
        const struct linger at_once = {.l_onoff = 1};
        struct scene scene;
        int fd;

        scene_init(&scene, *state, 10);
        upstream_support_borrow(&scene.support, &upstream_support_any, &scene.a,
                                UPSTREAM_CONNECTED);
        upstream_pool_release(&scene.a.connection, UPSTREAM_KEEP);
        while (scene.server.count == 0)
            loop_run_for(*state, 1);
        fd = scene.server.fds[0];
        scene.server.fds[0] = -1;
        if (kind == 0)
            assert_int_equal(send(fd, "HTTP/1.1 408", 12, 0), 12);
        if (kind == 1)
            assert_int_equal(setsockopt(fd, SOL_SOCKET, SO_LINGER, &at_once, sizeof(at_once)), 0);
        close(fd);
        do {
            loop_run_for(*state, 1);
        } while (upstream_support_idle_count(&scene.support) > 0);
        upstream_support_borrow(&scene.support, &upstream_support_any, &scene.a,
                                UPSTREAM_CONNECTED);
        assert_int_equal(scene.a.progress, PROGRESS_PENDING);
        upstream_pool_release(&scene.a.connection, UPSTREAM_CLOSE);
        scene_clear(&scene);
    }
}

static void test_age_decides(void **state)
{
    static const struct {
        int64_t idle_ms;
        const struct upstream_pool_query *query;
        bool is_reused;
    } rows[] = {
        {0, &upstream_support_any, true},     {3999, &upstream_support_any, true},
        {4000, &upstream_support_any, false}, {0, &upstream_support_once, true},
        {999, &upstream_support_once, true},  {1000, &upstream_support_once, false},
        {0, &upstream_support_new, false},
    };

    for (size_t i = 0; i < COUNT_OF(rows); i++) {
        struct scene scene;

        scene_init(&scene, *state, 10);
        upstream_support_borrow(&scene.support, &upstream_support_any, &scene.a,
                                UPSTREAM_CONNECTED);
        upstream_pool_release(&scene.a.connection, UPSTREAM_KEEP);
        scene.support.now.monotonic_us += rows[i].idle_ms * 1000;
        loop_fake_time(*state, &scene.support.now); /* before any timer could close it */
        upstream_support_borrow(&scene.support, rows[i].query, &scene.b, UPSTREAM_CONNECTED);
        if ((scene.b.progress == PROGRESS_DONE) != rows[i].is_reused)
            fail_msg("row %zu", i);
        assert_int_equal(scene.b.connection->request_count, rows[i].is_reused ? 1 : 0);
        upstream_pool_release(&scene.b.connection, UPSTREAM_CLOSE);
        scene_clear(&scene);
    }
}

static void test_expired_ones_are_closed(void **state)
{
    struct scene scene;

    scene_init(&scene, *state, 10);
    upstream_support_borrow(&scene.support, &upstream_support_any, &scene.a, UPSTREAM_CONNECTED);
    upstream_support_borrow(&scene.support, &upstream_support_any, &scene.b, UPSTREAM_CONNECTED);
    upstream_pool_release(&scene.a.connection, UPSTREAM_KEEP);
    upstream_support_pass_ms(&scene.support, 2000);
    upstream_pool_release(&scene.b.connection, UPSTREAM_KEEP);
    upstream_support_pass_ms(&scene.support, 2000);
    upstream_support_expect_status(&scene.support, 1, 0, 0);
    upstream_support_pass_ms(&scene.support, 1001);
    upstream_support_pass_ms(&scene.support, 1001);
    upstream_support_expect_status(&scene.support, 0, 0, 0);
    scene_clear(&scene);
}

static void test_queue_is_first_come_first_served(void **state)
{
    struct scene scene;
    struct upstream_connection *only;

    scene_init(&scene, *state, 1);
    upstream_support_borrow(&scene.support, &upstream_support_any, &scene.a, UPSTREAM_CONNECTED);
    only = scene.a.connection;
    upstream_support_acquire(&scene.support, &upstream_support_any, &scene.b);
    upstream_support_acquire(&scene.support, &upstream_support_once, &scene.c);
    upstream_support_acquire(&scene.support, &upstream_support_new, &scene.d);
    upstream_support_expect_status(&scene.support, 0, 1, 3);
    upstream_pool_release(&scene.a.connection, UPSTREAM_KEEP);
    assert_int_equal(scene.b.done_count, 0); /* not inside the release */
    upstream_support_acquire(&scene.support, &upstream_support_any,
                             &scene.a); /* nor does it jump the queue */
    assert_int_equal(scene.a.progress, PROGRESS_PENDING);
    upstream_support_wait(&scene.support, &scene.b, UPSTREAM_CONNECTED);
    assert_ptr_equal(scene.b.connection, only);
    upstream_pool_release(&scene.b.connection, UPSTREAM_KEEP);
    upstream_support_wait(&scene.support, &scene.c, UPSTREAM_CONNECTED);
    upstream_pool_release(&scene.c.connection, UPSTREAM_KEEP);
    upstream_support_wait(&scene.support, &scene.d, UPSTREAM_CONNECTED); /* the old one made room */
    assert_int_equal(scene.d.connection->request_count, 0);
    upstream_pool_release(&scene.d.connection, UPSTREAM_CLOSE);
    upstream_support_wait(&scene.support, &scene.a, UPSTREAM_CONNECTED);
    upstream_pool_release(&scene.a.connection, UPSTREAM_CLOSE);
    assert_true(scene.b.order < scene.c.order && scene.c.order < scene.d.order &&
                scene.d.order < scene.a.order);
    upstream_support_expect_status(&scene.support, 0, 0, 0);
    scene_clear(&scene);
}

static void test_queue_timeout(void **state)
{
    struct scene scene;

    scene_init(&scene, *state, 1);
    upstream_support_borrow(&scene.support, &upstream_support_any, &scene.a, UPSTREAM_CONNECTED);
    upstream_support_acquire(&scene.support, &upstream_support_any, &scene.b);
    upstream_support_pass_ms(&scene.support, 4999);
    assert_false(scene.b.is_done);
    upstream_support_pass_ms(&scene.support, 1);
    upstream_support_wait(&scene.support, &scene.b, UPSTREAM_QUEUE_TIMEOUT);
    upstream_support_expect_status(&scene.support, 0, 1, 0);
    upstream_pool_release(&scene.a.connection, UPSTREAM_KEEP);
    scene_clear(&scene);
}

static void test_cancel_in_the_queue(void **state)
{
    struct scene scene;

    scene_init(&scene, *state, 1);
    upstream_support_borrow(&scene.support, &upstream_support_any, &scene.a, UPSTREAM_CONNECTED);
    upstream_support_acquire(&scene.support, &upstream_support_any, &scene.b);
    upstream_support_acquire(&scene.support, &upstream_support_any, &scene.c);
    upstream_pool_cancel(&scene.b.call);
    assert_null(scene.b.call);
    upstream_pool_cancel(&scene.b.call);
    upstream_pool_release(&scene.a.connection, UPSTREAM_KEEP);
    upstream_support_wait(&scene.support, &scene.c, UPSTREAM_CONNECTED);
    assert_int_equal(scene.b.done_count, 0);
    upstream_pool_release(&scene.c.connection, UPSTREAM_KEEP);
    scene_clear(&scene);
}

/* A connection that was under way for somebody who left is the next one's. */
static void test_cancel_while_connecting(void **state)
{
    struct scene scene;

    scene_init(&scene, *state, 1);
    upstream_support_acquire(&scene.support, &upstream_support_any, &scene.a);
    upstream_support_acquire(&scene.support, &upstream_support_any, &scene.b);
    upstream_support_expect_status(&scene.support, 0, 1, 1);
    upstream_pool_cancel(&scene.a.call);
    upstream_support_wait(&scene.support, &scene.b, UPSTREAM_CONNECTED);
    assert_int_equal(scene.a.done_count, 0);
    assert_int_equal(scene.b.connection->request_count, 1); /* it has idled, so it may be stale */
    assert_int_equal(scene.server.count <= 1, 1);
    upstream_pool_release(&scene.b.connection, UPSTREAM_CLOSE);
    upstream_support_acquire(&scene.support, &upstream_support_any, &scene.a);
    upstream_pool_cancel(&scene.a.call); /* and with nobody next, the pool's */
    loop_run_for(*state, 5);
    upstream_support_expect_status(&scene.support, 1, 0, 0);
    upstream_support_acquire(&scene.support, &upstream_support_new, &scene.a);
    upstream_pool_cancel(&scene.a.call); /* destroyed while it connects */
    scene_clear(&scene);
}

static void test_refused(void **state)
{
    struct scene scene;
    struct upstream_endpoint_status status;

    scene_init(&scene, *state, 10);
    upstream_support_server_refuse(&scene.server);
    for (int i = 0; i < 7; i++) /* the only endpoint is never ejected */
        upstream_support_borrow(&scene.support, &upstream_support_any, &scene.a,
                                UPSTREAM_CONNECT_FAILED);
    assert_int_equal(upstream_pool_endpoints(scene.support.pool, &status, 1), 1);
    assert_int_equal(status.failure_count, 7);
    assert_false(status.is_ejected);
    assert_string_equal(status.name, scene.server.url + strlen("http://"));
    upstream_support_expect_status(&scene.support, 0, 0, 0);
    scene_clear(&scene);
}

/* A listener whose queue is full answers no SYN. */
static void test_connect_timeout(void **state)
{
    struct upstream_support support;
    struct upstream_support_borrower borrower;
    struct addr_endpoint at = {.addr = {.family = ADDR_NONE}};
    struct sockaddr_storage address;
    socklen_t length;
    char name[128];
    char url[160];
    int fillers[8];
    int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);

    assert_true(addr_parse_with_port(SLICE("127.0.0.1:0"), &at.addr));
    length = addr_endpoint_to_sockaddr(&at, &address);
    assert_int_equal(bind(fd, (const struct sockaddr *)&address, length), 0);
    assert_int_equal(listen(fd, 0), 0);
    listener_local_endpoint(fd, &at);
    length = addr_endpoint_to_sockaddr(&at, &address);
    for (size_t i = 0; i < COUNT_OF(fillers); i++) {
        fillers[i] = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
        (void)connect(fillers[i], (const struct sockaddr *)&address, length); /* some will hang */
    }
    addr_endpoint_format(&at, name);
    (void)snprintf(url, sizeof(url), "http://%s", name);
    upstream_support_init(&support, *state);
    upstream_support_add_url(&support, url);
    upstream_support_open(&support);
    upstream_support_acquire(&support, &upstream_support_any, &borrower);
    upstream_support_pass_ms(&support, 1999);
    assert_false(borrower.is_done);
    upstream_support_pass_ms(&support, 1);
    upstream_support_wait(&support, &borrower, UPSTREAM_CONNECT_TIMEOUT);
    upstream_support_expect_status(&support, 0, 0, 0);
    upstream_support_clear(&support);
    for (size_t i = 0; i < COUNT_OF(fillers); i++)
        close(fillers[i]);
    close(fd);
}

static void test_name_that_does_not_resolve(void **state)
{
    struct upstream_support support;
    struct upstream_support_borrower borrower;
    char url[] = "http://a..b:80"; /* an empty label: libc asks nobody */

    upstream_support_init(&support, *state);
    upstream_support_add_url(&support, url);
    upstream_support_open(&support);
    upstream_support_borrow(&support, &upstream_support_any, &borrower, UPSTREAM_NOT_RESOLVED);
    upstream_support_borrow(&support, &upstream_support_any, &borrower, UPSTREAM_NOT_RESOLVED);
    upstream_support_pass_ms(&support, 1000); /* asked again after a second */
    upstream_support_acquire(&support, &upstream_support_any, &borrower);
    upstream_pool_cancel(&borrower.call);
    upstream_support_clear(&support);
}

static void test_waits_for_the_name(void **state)
{
    struct scene scene;
    char url[64];

    memset(&scene, 0, sizeof(scene));
    upstream_support_server_start(&scene.server, *state);
    upstream_support_init(&scene.support, *state);
    (void)snprintf(url, sizeof(url), "localhost:%u", scene.server.at.addr.port);
    upstream_support_add_url(&scene.support, url);
    upstream_support_open(&scene.support);
    upstream_support_borrow(&scene.support, &upstream_support_any, &scene.a, UPSTREAM_CONNECTED);
    assert_true(slice_equal(upstream_pool_host(scene.support.pool), slice_of(url)));
    upstream_pool_release(&scene.a.connection, UPSTREAM_KEEP);
    scene_clear(&scene);
}

static void test_unix_path(void **state)
{
    struct upstream_support support;
    struct upstream_support_borrower borrower;
    struct addr_endpoint at = {.addr = {.family = ADDR_UNIX}};
    struct error error;
    char url[160];
    int fd;

    (void)snprintf(at.unix_path, sizeof(at.unix_path), "/tmp/upstream_pool_test.%d", getpid());
    fd = listener_open(&at, &error);
    assert_true(fd >= 0);
    (void)snprintf(url, sizeof(url), "unix:%s", at.unix_path);
    upstream_support_init(&support, *state);
    upstream_support_add_url(&support, url);
    upstream_support_open(&support);
    upstream_support_borrow(&support, &upstream_support_any, &borrower, UPSTREAM_CONNECTED);
    assert_true(slice_equal(upstream_pool_host(support.pool), SLICE("localhost")));
    upstream_pool_release(&borrower.connection, UPSTREAM_KEEP);
    upstream_support_clear(&support);
    close(fd);
    unlink(at.unix_path);
}

static void test_release_looks_at_the_stream(void **state)
{
    struct scene scene;

    scene_init(&scene, *state, 10);
    upstream_support_borrow(&scene.support, &upstream_support_any, &scene.a, UPSTREAM_CONNECTED);
    stream_shutdown_write(&scene.a.connection->stream);
    upstream_pool_release(&scene.a.connection, UPSTREAM_KEEP);
    upstream_support_borrow(&scene.support, &upstream_support_any, &scene.a, UPSTREAM_CONNECTED);
    stream_close(&scene.a.connection->stream);
    upstream_pool_release(&scene.a.connection, UPSTREAM_KEEP);
    upstream_support_expect_status(&scene.support, 0, 0, 0);
    upstream_support_borrow(&scene.support, &upstream_support_any, &scene.a, UPSTREAM_CONNECTED);
    stream_pause(&scene.a.connection->stream); /* what the borrower forgot does no harm */
    upstream_pool_release(&scene.a.connection, UPSTREAM_KEEP);
    while (scene.server.count < 3)
        loop_run_for(*state, 1);
    close(scene.server.fds[2]);
    scene.server.fds[2] = -1;
    loop_run_for(*state, 5);
    upstream_support_expect_status(&scene.support, 0, 0, 0);
    scene_clear(&scene);
}

static void test_https(void **state)
{
    const struct tls_fixture_certificate certificate = {.alt_name = "IP:127.0.0.1"};
    struct tls_fixture_connection connections[2] = {{.fd = -1}, {.fd = -1}};
    struct tls_fixture fixture;
    struct scene scene;
    char url[80];

    memset(&scene, 0, sizeof(scene));
    tls_fixture_init(&fixture);
    upstream_support_server_start(&scene.server, *state);
    upstream_support_init(&scene.support, *state);
    (void)snprintf(url, sizeof(url), "https://127.0.0.1:%u", scene.server.at.addr.port);
    upstream_support_add_url(&scene.support, url);
    scene.support.options.tls.ca_file = fixture.ca_file;
    upstream_support_open(&scene.support);
    for (size_t i = 0; i < 2; i++) { /* the second server is not who it should be */
        const struct tls_fixture_certificate wrong = {.alt_name = "DNS:other.test"};

        connections[i].context = tls_fixture_server(&fixture, i == 0 ? &certificate : &wrong);
        upstream_support_acquire(&scene.support, &upstream_support_new, &scene.a);
        while (scene.server.count <= i)
            loop_run_for(*state, 1);
        assert_int_equal(fcntl(scene.server.fds[i], F_SETFL, 0), 0);
        connections[i].fd = scene.server.fds[i];
        scene.server.fds[i] = -1;
        tls_fixture_serve(&connections[i]);
        upstream_support_wait(&scene.support, &scene.a,
                              i == 0 ? UPSTREAM_CONNECTED : UPSTREAM_CONNECT_FAILED);
        if (i == 0) {
            upstream_pool_release(&scene.a.connection, UPSTREAM_KEEP);
            loop_run_for(*state, 30); /* session tickets are no reason to drop it */
            upstream_support_expect_status(&scene.support, 1, 0, 0);
        }
    }
    upstream_support_clear(&scene.support);
    for (size_t i = 0; i < 2; i++) {
        tls_fixture_join(&connections[i]);
        SSL_CTX_free(connections[i].context);
    }
    upstream_support_server_stop(&scene.server);
    tls_fixture_clear(&fixture);
}

#define TEST(function) \
    cmocka_unit_test_setup_teardown(function, loop_fixture_setup, loop_fixture_teardown)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(test_reuses_the_last_used_first),
        TEST(test_carries_bytes_both_ways),
        TEST(test_drops_idle_connections_that_say_something),
        TEST(test_age_decides),
        TEST(test_expired_ones_are_closed),
        TEST(test_queue_is_first_come_first_served),
        TEST(test_queue_timeout),
        TEST(test_cancel_in_the_queue),
        TEST(test_cancel_while_connecting),
        TEST(test_refused),
        TEST(test_connect_timeout),
        TEST(test_name_that_does_not_resolve),
        TEST(test_waits_for_the_name),
        TEST(test_unix_path),
        TEST(test_release_looks_at_the_stream),
        TEST(test_https),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
