/* SPDX-License-Identifier: MIT */
/* Listening, accepting under a limit and without descriptors, and draining, on real sockets. */
#include <errno.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stddef.h>
#include <stdio.h>
#include <string.h>
#include <sys/resource.h>
#include <unistd.h>

#include <cmocka.h>

#include "kamiyo/net/listener.h"
#include "kamiyo/net/loop.h"

#include "loop_fixture.h"

#define MOST 200

struct server {
    struct loop *loop;
    struct listener *listener;
    struct addr_endpoint at;
    int fds[MOST];
    size_t count;
    size_t expected;
    bool is_done;
    bool closes_itself;
    struct addr last_peer;
};

static void on_accept(void *arg, int fd, const struct addr *peer)
{
    struct server *server = arg;

    assert_true(server->count < MOST);
    server->fds[server->count++] = fd;
    server->last_peer = *peer;
    server->is_done = server->count >= server->expected;
    if (server->closes_itself)
        listener_destroy(&server->listener);
}

static void expect_count(struct server *server, size_t expected)
{
    server->expected = expected;
    server->is_done = server->count >= expected;
    loop_fixture_run_until(server->loop, &server->is_done);
    loop_run_for(server->loop, 5);
    assert_int_equal(server->count, expected);
}

static void
server_start(struct server *server, struct loop *loop, const char *at, struct listener_limit *limit)
{
    struct error error;
    int fd;

    *server = (struct server){.loop = loop};
    assert_true(addr_parse_with_port(slice_of(at), &server->at.addr));
    fd = listener_open(&server->at, &error);
    assert_true(fd >= 0);
    listener_local_endpoint(fd, &server->at);
    assert_int_not_equal(server->at.addr.port, 0);
    server->listener = listener_create(loop, fd, limit, on_accept, server);
}

static void server_stop(struct server *server)
{
    listener_destroy(&server->listener);
    assert_null(server->listener);
    for (size_t i = 0; i < server->count; i++)
        close(server->fds[i]);
}

static int dial(const struct addr_endpoint *to)
{
    struct sockaddr_storage address;
    socklen_t length = addr_endpoint_to_sockaddr(to, &address);
    int fd = socket(address.ss_family, SOCK_STREAM | SOCK_CLOEXEC, 0);

    assert_true(fd >= 0);
    assert_int_equal(connect(fd, (const struct sockaddr *)&address, length), 0);
    return fd;
}

static void test_accepts(void **state)
{
    struct server server;
    int client;
    int on = 0;
    socklen_t length = sizeof(on);

    server_start(&server, *state, "127.0.0.1:0", NULL);
    client = dial(&server.at);
    expect_count(&server, 1);
    assert_true((fcntl(server.fds[0], F_GETFL) & O_NONBLOCK) != 0);
    assert_true((fcntl(server.fds[0], F_GETFD) & FD_CLOEXEC) != 0);
    assert_int_equal(getsockopt(server.fds[0], IPPROTO_TCP, TCP_NODELAY, &on, &length), 0);
    assert_int_not_equal(on, 0);
    assert_true(addr_is_loopback(&server.last_peer));
    assert_int_not_equal(server.last_peer.port, 0);
    close(client);
    server_stop(&server);
}

static bool has_ipv6(void)
{
    struct sockaddr_in6 in6 = {.sin6_family = AF_INET6, .sin6_addr = IN6ADDR_LOOPBACK_INIT};
    int probe = socket(AF_INET6, SOCK_STREAM | SOCK_CLOEXEC, 0);
    bool has = probe >= 0 && bind(probe, (const struct sockaddr *)&in6, sizeof(in6)) == 0;

    if (probe >= 0)
        close(probe);
    return has;
}

/* What there is to see of IPv6 on a machine without it: which address could not be had. */
static void expect_no_ipv6(void)
{
    struct addr_endpoint at = {.unix_path = ""};
    struct error error;

    print_message("no IPv6 here: only that a listener at [::1] says so\n");
    assert_true(addr_parse_with_port(SLICE("[::1]:0"), &at.addr));
    assert_int_equal(listener_open(&at, &error), -1);
    assert_non_null(strstr(error.text, "[::1]:0"));
    assert_false(listener_probe(&at, &error));
    assert_non_null(strstr(error.text, "[::1]:0"));
}

static void test_ipv6(void **state)
{
    struct server server;
    struct addr_endpoint v4;
    int a;
    int b;

    if (!has_ipv6()) {
        expect_no_ipv6();
        return;
    }
    server_start(&server, *state, "[::]:0", NULL);
    v4 = server.at;
    assert_true(addr_parse(SLICE("127.0.0.1"), &v4.addr));
    v4.addr.port = server.at.addr.port;
    assert_true(addr_parse(SLICE("::1"), &server.at.addr));
    server.at.addr.port = v4.addr.port;
    a = dial(&server.at);
    expect_count(&server, 1);
    assert_int_equal(server.last_peer.family, ADDR_IPV6);
    b = dial(&v4); /* the wildcard takes both, and an IPv4 peer is an IPv4 address */
    expect_count(&server, 2);
    assert_int_equal(server.last_peer.family, ADDR_IPV4);
    close(a);
    close(b);
    server_stop(&server);
}

static void test_address_in_use(void **state)
{
    struct server server;
    struct error error;
    char expected[128];

    server_start(&server, *state, "127.0.0.1:0", NULL);
    assert_false(listener_probe(&server.at, &error));
    (void)snprintf(expected, sizeof(expected), "127.0.0.1:%u is in use", server.at.addr.port);
    assert_string_equal(error.text, expected);
    server_stop(&server);
    loop_run_for(*state, 1);
    assert_true(listener_probe(&server.at, &error));
    assert_true(addr_parse_with_port(SLICE("192.0.2.1:1"), &server.at.addr));
    assert_false(listener_probe(&server.at, &error));
    assert_non_null(strstr(error.text, "192.0.2.1:1"));
}

static void test_workers_share_a_port(void **state)
{
    struct server a;
    struct error error;
    int fd;

    server_start(&a, *state, "127.0.0.1:0", NULL);
    fd = listener_open(&a.at, &error);
    assert_true(fd >= 0);
    close(fd);
    server_stop(&a);
}

static void test_limit_pauses_and_goes_on(void **state)
{
    struct listener_limit limit = {.open = 0, .max = 2};
    struct server server;
    int clients[4];

    server_start(&server, *state, "127.0.0.1:0", &limit);
    for (size_t i = 0; i < 4; i++)
        clients[i] = dial(&server.at);
    expect_count(&server, 2);
    assert_int_equal(atomic_load(&limit.open), 2);
    listener_limit_release(&limit);
    expect_count(&server, 3);
    listener_limit_release(&limit);
    expect_count(&server, 4);
    assert_int_equal(atomic_load(&limit.open), 2);
    for (size_t i = 0; i < 4; i++)
        close(clients[i]);
    server_stop(&server);
}

static void test_out_of_descriptors(void **state)
{
    struct rlimit before;
    struct rlimit low;
    struct server server;
    int spare[64];
    size_t count = 0;
    int client;

    server_start(&server, *state, "127.0.0.1:0", NULL);
    client = dial(&server.at);
    assert_int_equal(getrlimit(RLIMIT_NOFILE, &before), 0);
    low = before;
    low.rlim_cur = (rlim_t)client + 1;
    assert_int_equal(setrlimit(RLIMIT_NOFILE, &low), 0);
    while (count < 64 && (spare[count] = dup(client)) >= 0) /* fills gaps below */
        count++;
    loop_run_for(*state, 50);
    assert_int_equal(server.count, 0);
    assert_int_equal(setrlimit(RLIMIT_NOFILE, &before), 0);
    expect_count(&server, 1);
    while (count > 0)
        close(spare[--count]);
    close(client);
    server_stop(&server);
}

static void test_drain_takes_all_that_wait(void **state)
{
    struct listener_limit limit = {.open = 0, .max = 1};
    struct server server;
    int clients[100];
    int refused;

    server_start(&server, *state, "127.0.0.1:0", &limit);
    for (size_t i = 0; i < 100; i++)
        clients[i] = dial(&server.at);
    listener_drain(&server.listener);
    assert_null(server.listener);
    assert_int_equal(server.count, 100);
    assert_int_equal(atomic_load(&limit.open), 100);
    refused = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    {
        struct sockaddr_storage address;
        socklen_t length = addr_endpoint_to_sockaddr(&server.at, &address);

        assert_int_equal(connect(refused, (const struct sockaddr *)&address, length), -1);
        assert_int_equal(errno, ECONNREFUSED);
    }
    close(refused);
    for (size_t i = 0; i < 100; i++)
        close(clients[i]);
    server_stop(&server);
}

static void test_closed_by_its_own_callback(void **state)
{
    struct server server;
    int clients[3];

    server_start(&server, *state, "127.0.0.1:0", NULL);
    server.closes_itself = true;
    for (size_t i = 0; i < 3; i++)
        clients[i] = dial(&server.at);
    expect_count(&server, 1);
    for (size_t i = 0; i < 3; i++)
        close(clients[i]);
    server_stop(&server);
}

static void test_unix_socket(void **state)
{
    struct server server = {.loop = *state, .at = {.addr = {.family = ADDR_UNIX}}};
    struct addr_endpoint local;
    struct error error;
    int client;
    int fd;

    (void)snprintf(server.at.unix_path, sizeof(server.at.unix_path), "/tmp/listener_test.%d",
                   getpid());
    assert_true(listener_probe(&server.at, &error));
    assert_int_equal(access(server.at.unix_path, F_OK), -1);
    fd = listener_open(&server.at, &error);
    assert_true(fd >= 0);
    listener_local_endpoint(fd, &local);
    assert_string_equal(local.unix_path, server.at.unix_path);
    server.listener = listener_create(*state, fd, NULL, on_accept, &server);
    client = dial(&server.at);
    expect_count(&server, 1);
    assert_int_equal(server.last_peer.family, ADDR_UNIX);
    assert_false(listener_probe(&server.at, &error)); /* somebody answers there */
    close(client);
    server_stop(&server);
    assert_true(listener_probe(&server.at, &error)); /* what was left is removed */
    fd = open(server.at.unix_path, O_CREAT | O_WRONLY | O_CLOEXEC, 0600);
    assert_true(fd >= 0);
    close(fd);
    assert_false(listener_probe(&server.at, &error)); /* a file of somebody's is not */
    assert_int_equal(unlink(server.at.unix_path), 0);
}

#define TEST(function) \
    cmocka_unit_test_setup_teardown(function, loop_fixture_setup, loop_fixture_teardown)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(test_accepts),
        TEST(test_ipv6),
        TEST(test_address_in_use),
        TEST(test_workers_share_a_port),
        TEST(test_limit_pauses_and_goes_on),
        TEST(test_out_of_descriptors),
        TEST(test_drain_takes_all_that_wait),
        TEST(test_closed_by_its_own_callback),
        TEST(test_unix_socket),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
