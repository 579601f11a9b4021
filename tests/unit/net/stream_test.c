/* SPDX-License-Identifier: MIT */
/* Streams over socketpairs and loopback: order of bytes, what is pending, pauses, ends and
 * failures. */
#include <errno.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include <cmocka.h>

#include "kamiyo/net/listener.h"
#include "kamiyo/net/stream.h"

#include "loop_fixture.h"

#define BIG ((size_t)8 * 1024 * 1024)

/* The owner of a stream under test: counts what it is told and can act inside. */
struct owner {
    struct stream stream;
    struct loop *loop;
    char buffer[65536];
    size_t length;
    size_t received;
    int readable_count;
    int drained_count;
    int failed_count;
    enum stream_result last;
    bool is_ended; /* END or FAILED was read */
    bool is_drained;
    bool is_failed;
    bool closes_when_told;
    bool checks_pattern;
};

static char pattern(size_t index)
{
    return (char)(index * 31 + index / 251);
}

static void on_readable(struct stream *stream, void *arg)
{
    struct owner *owner = arg;

    owner->readable_count++;
    if (owner->closes_when_told) {
        stream_close(stream);
        owner->is_ended = true;
        return;
    }
    owner->last = stream_read(stream, owner->buffer, sizeof(owner->buffer), &owner->length);
    if (owner->last == STREAM_OK) {
        for (size_t i = 0; owner->checks_pattern && i < owner->length; i++)
            assert_int_equal(owner->buffer[i], pattern(owner->received + i));
        owner->received += owner->length;
    } else if (owner->last == STREAM_END || owner->last == STREAM_FAILED) {
        owner->is_ended = true;
        stream_pause(stream);
    }
}

static void on_drained(struct stream *stream, void *arg)
{
    struct owner *owner = arg;

    owner->drained_count++;
    owner->is_drained = true;
    if (owner->closes_when_told)
        stream_close(stream);
}

static void on_failed(struct stream *stream, void *arg)
{
    struct owner *owner = arg;

    owner->failed_count++;
    owner->is_failed = true;
    if (owner->closes_when_told)
        stream_close(stream);
}

static const struct stream_handler handler = {on_readable, on_drained, on_failed};

/* A stream at one end of a pair; the other end is a bare, non-blocking descriptor. */
static struct owner *owner_create(struct loop *loop, int *peer)
{
    struct owner *owner = calloc(1, sizeof(*owner));
    int fds[2];

    assert_non_null(owner);
    assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0, fds), 0);
    owner->loop = loop;
    stream_init(&owner->stream, loop, fds[0], &handler, owner);
    *peer = fds[1];
    return owner;
}

static void owner_free(struct owner *owner, int peer)
{
    stream_close(&owner->stream);
    stream_close(&owner->stream);
    assert_false(stream_is_open(&owner->stream));
    if (peer >= 0)
        close(peer);
    free(owner);
}

static enum stream_result write_text(struct stream *stream, const char *a, const char *b)
{
    char first[64];
    char second[64];
    struct iovec parts[2] = {{first, strlen(a)}, {second, strlen(b)}};

    memcpy(first, a, strlen(a) + 1);
    memcpy(second, b, strlen(b) + 1);
    return stream_write(stream, parts, 2);
}

/* Read the peer's end dry; returns the bytes that came in pattern order behind `seen`. */
static size_t drain_peer(int peer, size_t seen, size_t most)
{
    char buffer[65536];
    size_t total = 0;

    while (total < most) {
        ssize_t count = recv(peer, buffer, sizeof(buffer), 0);

        if (count <= 0)
            break;
        for (size_t i = 0; i < (size_t)count; i++)
            assert_int_equal(buffer[i], pattern(seen + total + i));
        total += (size_t)count;
    }
    return total;
}

static char *make_pattern(size_t length)
{
    char *bytes = malloc(length);

    assert_non_null(bytes);
    for (size_t i = 0; i < length; i++)
        bytes[i] = pattern(i);
    return bytes;
}

static void test_small_write_leaves_at_once(void **state)
{
    int peer;
    struct owner *owner = owner_create(*state, &peer);
    char got[32];

    assert_int_equal(write_text(&owner->stream, "head ", "body"), STREAM_OK);
    assert_int_equal(recv(peer, got, sizeof(got), 0), 9);
    assert_memory_equal(got, "head body", 9);
    assert_int_equal(stream_pending(&owner->stream), 0);
    assert_null(owner->stream.output); /* nothing is held for it */
    assert_int_equal(owner->stream.bytes_written, 9);
    loop_run_for(*state, 2);
    assert_int_equal(owner->drained_count, 0);
    assert_int_equal(stream_write(&owner->stream, NULL, 0), STREAM_OK);
    owner_free(owner, peer);
}

static void test_slow_reader_gets_all_in_order(void **state)
{
    int peer;
    struct owner *owner = owner_create(*state, &peer);
    char *bytes = make_pattern(BIG);
    struct iovec parts[3] = {{bytes, 1000}, {bytes + 1000, 0}, {bytes + 1000, BIG / 2 - 1000}};
    struct iovec more = {bytes + BIG / 2, BIG - BIG / 2};
    size_t seen = 0;

    assert_int_equal(stream_write(&owner->stream, parts, 3), STREAM_AGAIN);
    assert_true(stream_pending(&owner->stream) > 0);
    assert_int_equal(stream_write(&owner->stream, &more, 1), STREAM_AGAIN);
    assert_int_equal(stream_pending(&owner->stream) + owner->stream.bytes_written, BIG);
    assert_true(owner->stream.last_write_ms > 0);
    while (seen < BIG) {
        seen += drain_peer(peer, seen, 100000);
        loop_run_for(*state, 0);
    }
    loop_fixture_run_until(*state, &owner->is_drained);
    assert_int_equal(owner->drained_count, 1);
    assert_int_equal(owner->stream.bytes_written, BIG);
    assert_null(owner->stream.output);
    free(bytes);
    owner_free(owner, peer);
}

static void test_bytes_arrive(void **state)
{
    int peer;
    struct owner *owner = owner_create(*state, &peer);

    assert_int_equal(send(peer, "hello", 5, 0), 5);
    while (owner->received < 5)
        loop_run_for(*state, 1);
    assert_int_equal(owner->readable_count, 1);
    assert_memory_equal(owner->buffer, "hello", 5);
    assert_int_equal(owner->stream.bytes_read, 5);
    owner_free(owner, peer);
}

static void test_pause_holds_back(void **state)
{
    int peer;
    struct owner *owner = owner_create(*state, &peer);

    stream_pause(&owner->stream);
    stream_resume(&owner->stream);
    assert_true(owner->stream.is_watched); /* nothing came: the kernel was not asked */
    stream_pause(&owner->stream);
    assert_int_equal(send(peer, "x", 1, 0), 1);
    loop_run_for(*state, 10);
    assert_int_equal(owner->readable_count, 0);
    assert_false(owner->stream.is_watched);
    stream_resume(&owner->stream);
    while (owner->received < 1)
        loop_run_for(*state, 1);
    owner_free(owner, peer);
}

static void test_end_and_half_close(void **state)
{
    int peer;
    struct owner *owner = owner_create(*state, &peer);
    char got[8];

    assert_int_equal(shutdown(peer, SHUT_WR), 0);
    loop_fixture_run_until(*state, &owner->is_ended);
    assert_int_equal(owner->last, STREAM_END);
    assert_int_equal(write_text(&owner->stream, "late", ""),
                     STREAM_OK); /* our side is open still */
    stream_shutdown_write(&owner->stream);
    stream_shutdown_write(&owner->stream);
    assert_int_equal(recv(peer, got, sizeof(got), 0), 4);
    assert_int_equal(recv(peer, got, sizeof(got), 0), 0);
    owner_free(owner, peer);
}

static void test_end_follows_what_is_pending(void **state)
{
    int peer;
    struct owner *owner = owner_create(*state, &peer);
    char *bytes = make_pattern(BIG);
    struct iovec part = {bytes, BIG};
    size_t seen = 0;
    char byte;

    assert_int_equal(stream_write(&owner->stream, &part, 1), STREAM_AGAIN);
    stream_shutdown_write(&owner->stream);
    while (seen < BIG) {
        seen += drain_peer(peer, seen, BIG);
        loop_run_for(*state, 0);
    }
    loop_fixture_run_until(*state, &owner->is_drained);
    assert_int_equal(recv(peer, &byte, 1, 0), 0);
    free(bytes);
    owner_free(owner, peer);
}

static void test_peer_goes_while_bytes_are_pending(void **state)
{
    int peer;
    struct owner *owner = owner_create(*state, &peer);
    char *bytes = make_pattern(BIG);
    struct iovec part = {bytes, BIG};

    stream_pause(&owner->stream); /* noticed all the same */
    assert_int_equal(stream_write(&owner->stream, &part, 1), STREAM_AGAIN);
    close(peer);
    loop_fixture_run_until(*state, &owner->is_failed);
    assert_int_equal(owner->stream.error, EPIPE);
    assert_int_equal(stream_pending(&owner->stream), 0);
    assert_int_equal(stream_write(&owner->stream, &part, 1), STREAM_FAILED);
    assert_string_equal(stream_error_text(&owner->stream), "Broken pipe");
    loop_run_for(*state, 5);
    assert_int_equal(owner->failed_count, 1);
    free(bytes);
    owner_free(owner, -1);
}

static void test_closed_inside_each_callback(void **state)
{
    char *bytes = make_pattern(BIG);
    struct iovec part = {bytes, BIG};
    struct owner *owner;
    size_t seen = 0;
    int peer;

    owner =
        owner_create(*state, &peer); /* on_readable, with the write event ready in the same turn */
    owner->closes_when_told = true;
    assert_int_equal(stream_write(&owner->stream, &part, 1), STREAM_AGAIN);
    assert_int_equal(send(peer, "x", 1, 0), 1);
    assert_true(drain_peer(peer, 0, BIG) > 0);
    loop_fixture_run_until(*state, &owner->is_ended);
    owner_free(owner, peer);

    owner = owner_create(*state, &peer); /* on_drained */
    assert_int_equal(stream_write(&owner->stream, &part, 1), STREAM_AGAIN);
    owner->closes_when_told = true;
    while (seen < BIG) {
        seen += drain_peer(peer, seen, BIG);
        loop_run_for(*state, 0);
    }
    loop_fixture_run_until(*state, &owner->is_drained);
    owner_free(owner, peer);

    owner = owner_create(*state, &peer); /* on_failed */
    owner->closes_when_told = true;
    stream_pause(&owner->stream);
    assert_int_equal(stream_write(&owner->stream, &part, 1), STREAM_AGAIN);
    close(peer);
    loop_fixture_run_until(*state, &owner->is_failed);
    owner_free(owner, -1);
    free(bytes);
}

/* --- connecting --- */

struct acceptor {
    struct listener *listener;
    struct addr_endpoint at;
    int fd;
    bool is_done;
};

static void on_accept(void *arg, int fd, const struct addr *peer)
{
    struct acceptor *acceptor = arg;

    (void)peer;
    acceptor->fd = fd;
    acceptor->is_done = true;
}

static void acceptor_start(struct acceptor *acceptor, struct loop *loop)
{
    struct error error;
    int fd;

    *acceptor = (struct acceptor){.fd = -1};
    assert_true(addr_parse_with_port(SLICE("127.0.0.1:0"), &acceptor->at.addr));
    fd = listener_open(&acceptor->at, &error);
    assert_true(fd >= 0);
    listener_local_endpoint(fd, &acceptor->at);
    acceptor->listener = listener_create(loop, fd, NULL, on_accept, acceptor);
}

static void test_connect(void **state)
{
    struct acceptor acceptor;
    struct owner *owner = calloc(1, sizeof(*owner));
    struct error error;
    char got[16];
    int on = 0;
    socklen_t length = sizeof(on);

    assert_non_null(owner);
    acceptor_start(&acceptor, *state);
    assert_true(stream_connect(&owner->stream, *state, &acceptor.at, &handler, owner, &error));
    assert_int_equal(write_text(&owner->stream, "too ", "early"),
                     STREAM_AGAIN); /* kept till then */
    assert_int_equal(owner->drained_count, 0);
    loop_fixture_run_until(*state, &owner->is_drained);
    loop_fixture_run_until(*state, &acceptor.is_done);
    assert_int_equal(owner->drained_count, 1);
    assert_int_equal(recv(acceptor.fd, got, sizeof(got), 0), 9);
    assert_memory_equal(got, "too early", 9);
    assert_int_equal(getsockopt(owner->stream.fd, IPPROTO_TCP, TCP_NODELAY, &on, &length), 0);
    assert_int_not_equal(on, 0);
    assert_int_equal(send(acceptor.fd, "x", 1, 0), 1);
    while (owner->received < 1)
        loop_run_for(*state, 1);
    listener_destroy(&acceptor.listener);
    owner_free(owner, acceptor.fd);
}

static void test_connect_refused(void **state)
{
    struct acceptor acceptor;
    struct owner *owner = calloc(1, sizeof(*owner));
    struct error error;

    assert_non_null(owner);
    acceptor_start(&acceptor, *state);
    listener_destroy(&acceptor.listener); /* nobody listens there now */
    if (stream_connect(&owner->stream, *state, &acceptor.at, &handler, owner, &error)) {
        loop_fixture_run_until(*state, &owner->is_failed);
        assert_int_equal(owner->stream.error, ECONNREFUSED);
        assert_string_equal(stream_error_text(&owner->stream), "Connection refused");
    }
    loop_run_for(*state, 2);
    assert_int_equal(owner->failed_count, 1);
    owner_free(owner, -1);
}

static void test_connect_refused_at_once(void **state)
{
    struct owner *owner = calloc(1, sizeof(*owner));
    struct addr_endpoint nowhere = {.addr = {.family = ADDR_UNIX},
                                    .unix_path = "/nonexistent/socket"};
    struct error error;

    assert_non_null(owner);
    assert_false(stream_connect(&owner->stream, *state, &nowhere, &handler, owner, &error));
    assert_string_equal(error.text, "No such file or directory");
    assert_false(stream_is_open(&owner->stream));
    loop_run_for(*state, 2);
    assert_int_equal(owner->failed_count, 0);
    owner_free(owner, -1);
}

static void test_close_while_connecting(void **state)
{
    struct acceptor acceptor;
    struct owner *owner = calloc(1, sizeof(*owner));
    struct error error;

    assert_non_null(owner);
    acceptor_start(&acceptor, *state);
    assert_true(stream_connect(&owner->stream, *state, &acceptor.at, &handler, owner, &error));
    assert_int_equal(write_text(&owner->stream, "never", ""), STREAM_AGAIN);
    stream_close(&owner->stream);
    loop_run_for(*state, 5);
    assert_int_equal(owner->drained_count + owner->failed_count, 0);
    listener_destroy(&acceptor.listener);
    owner_free(owner, acceptor.fd);
}

static void test_abort_resets(void **state)
{
    struct acceptor acceptor;
    struct owner *owner = calloc(1, sizeof(*owner));
    struct error error;
    char byte;

    assert_non_null(owner);
    acceptor_start(&acceptor, *state);
    assert_true(stream_connect(&owner->stream, *state, &acceptor.at, &handler, owner, &error));
    loop_fixture_run_until(*state, &owner->is_drained);
    loop_fixture_run_until(*state, &acceptor.is_done);
    stream_abort(&owner->stream);
    assert_int_equal(recv(acceptor.fd, &byte, 1, 0), -1);
    assert_int_equal(errno, ECONNRESET);
    listener_destroy(&acceptor.listener);
    owner_free(owner, acceptor.fd);
}

/* A reset must not spin a paused stream, and shows when it goes on. */
static void test_reset_during_a_pause(void **state)
{
    struct acceptor acceptor;
    struct owner *owner = calloc(1, sizeof(*owner));
    const struct linger at_once = {.l_onoff = 1};
    struct error error;

    assert_non_null(owner);
    acceptor_start(&acceptor, *state);
    assert_true(stream_connect(&owner->stream, *state, &acceptor.at, &handler, owner, &error));
    loop_fixture_run_until(*state, &owner->is_drained);
    loop_fixture_run_until(*state, &acceptor.is_done);
    stream_pause(&owner->stream);
    assert_int_equal(setsockopt(acceptor.fd, SOL_SOCKET, SO_LINGER, &at_once, sizeof(at_once)), 0);
    close(acceptor.fd);
    loop_run_for(*state, 5);
    assert_int_equal(owner->readable_count, 0);
    assert_false(owner->stream.is_watched);
    stream_resume(&owner->stream);
    loop_fixture_run_until(*state, &owner->is_ended);
    assert_int_equal(owner->last, STREAM_FAILED);
    assert_int_equal(owner->stream.error, ECONNRESET);
    listener_destroy(&acceptor.listener);
    owner_free(owner, -1);
}

/* An answer that came before the peer cut the upload short is not lost with it. */
static void test_answer_before_a_reset_can_be_read(void **state)
{
    struct acceptor acceptor;
    struct owner *owner = calloc(1, sizeof(*owner));
    struct error error;
    size_t length = 0;

    assert_non_null(owner);
    acceptor_start(&acceptor, *state);
    assert_true(stream_connect(&owner->stream, *state, &acceptor.at, &handler, owner, &error));
    loop_fixture_run_until(*state, &owner->is_drained);
    loop_fixture_run_until(*state, &acceptor.is_done);
    assert_int_equal(write_text(&owner->stream, "upload", ""), STREAM_OK);
    assert_int_equal(send(acceptor.fd, "413", 3, 0), 3);
    close(acceptor.fd); /* with unread bytes: a reset */
    assert_int_equal(write_text(&owner->stream, "more", ""), STREAM_FAILED);
    assert_int_equal(stream_read(&owner->stream, owner->buffer, sizeof(owner->buffer), &length),
                     STREAM_OK);
    assert_int_equal(length, 3);
    listener_destroy(&acceptor.listener);
    owner_free(owner, -1);
}

static void test_never_begun(void **state)
{
    struct stream stream = {.loop = NULL};

    (void)state;
    stream_close(NULL);
    stream_close(&stream);
    stream_abort(&stream);
    assert_false(stream_is_open(&stream));
}

/* The promise of an idle connection: 512 bytes with everything; this is the stream's share. */
static void test_size(void **state)
{
    (void)state;
    assert_true(sizeof(struct stream) <= 208);
}

#define TEST(function) \
    cmocka_unit_test_setup_teardown(function, loop_fixture_setup, loop_fixture_teardown)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(test_small_write_leaves_at_once),
        TEST(test_slow_reader_gets_all_in_order),
        TEST(test_bytes_arrive),
        TEST(test_pause_holds_back),
        TEST(test_end_and_half_close),
        TEST(test_end_follows_what_is_pending),
        TEST(test_peer_goes_while_bytes_are_pending),
        TEST(test_closed_inside_each_callback),
        TEST(test_connect),
        TEST(test_connect_refused),
        TEST(test_connect_refused_at_once),
        TEST(test_close_while_connecting),
        TEST(test_abort_resets),
        TEST(test_reset_during_a_pause),
        TEST(test_answer_before_a_reset_can_be_read),
        cmocka_unit_test(test_never_begun),
        cmocka_unit_test(test_size),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
