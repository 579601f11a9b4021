/* SPDX-License-Identifier: MIT */
/*
 * Parts of one write, against real sockets: a socket that keeps messages apart shows that they
 * leave as one, one that is small shows what it does not take.
 */
#include <errno.h>
#include <limits.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include <cmocka.h>

#include "net/stream_internal.h"
#include "random_support.h"

#define MOST_BYTES ((size_t)64 * 1024)
#define HUGE_BYTES ((size_t)32 * 1024 * 1024)
#define MOST_PARTS 12

static char pattern(size_t index)
{
    return (char)(index * 31 + index / 251);
}

static char *make_pattern(size_t length)
{
    char *bytes = malloc(length);

    assert_non_null(bytes);
    for (size_t i = 0; i < length; i++)
        bytes[i] = pattern(i);
    return bytes;
}

static void assert_pattern(const char *bytes, size_t length, size_t from)
{
    for (size_t i = 0; i < length; i++)
        assert_int_equal(bytes[i], pattern(from + i));
}

/* Cut `total` bytes into `count` parts, empty ones among them. */
static void
cut(struct random_source *random, char *bytes, size_t total, struct iovec *parts, int count)
{
    size_t at = 0;

    for (int i = 0; i < count; i++) {
        size_t left = total - at;
        size_t length = i == count - 1 ? left : random_below(random, left + 1);

        if (i < count - 1 && random_below(random, 4) == 0)
            length = 0;
        parts[i] = (struct iovec){length > 0 ? bytes + at : NULL, length};
        at += length;
    }
}

static void test_parts_leave_as_one_message(void **state)
{
    static const size_t totals[] = {1, 2, 100, 2047, 2048, 2049, 4096, 20000, MOST_BYTES};
    struct random_source random = {1};
    char *bytes = make_pattern(MOST_BYTES);
    char *got = malloc(MOST_BYTES + 1);
    int pair[2];

    (void)state;
    assert_int_equal(socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_NONBLOCK, 0, pair), 0);
    for (size_t i = 0; i < sizeof(totals) / sizeof(totals[0]); i++) {
        for (int count = 1; count <= MOST_PARTS; count++) {
            struct iovec parts[MOST_PARTS];

            cut(&random, bytes, totals[i], parts, count);
            assert_int_equal(stream_send(pair[0], parts, count, totals[i]), totals[i]);
            assert_int_equal(recv(pair[1], got, MOST_BYTES + 1, 0), totals[i]);
            assert_pattern(got, totals[i], 0);
            assert_int_equal(recv(pair[1], got, 1, 0), -1); /* and nothing behind it */
        }
    }
    close(pair[0]);
    close(pair[1]);
    free(got);
    free(bytes);
}

/* Parts that are left when the first `taken` bytes have gone. */
static int advance(struct iovec *parts, int count, size_t taken)
{
    int first = 0;

    while (first < count && taken >= parts[first].iov_len)
        taken -= parts[first++].iov_len;
    if (taken > 0) {
        parts[first].iov_base = (char *)parts[first].iov_base + taken;
        parts[first].iov_len -= taken;
    }
    memmove(parts, parts + first, (size_t)(count - first) * sizeof(*parts));
    return count - first;
}

/* Whatever the socket takes of a write is its beginning: with what it did not take sent again,
 * everything arrives once and in order. */
static void test_what_is_taken_is_the_beginning(void **state)
{
    struct random_source random = {2};
    char *bytes = make_pattern(MOST_BYTES);
    int partial = 0;
    int full = 0;

    (void)state;
    for (int round = 0; round < 60; round++) {
        const int small = 4096;
        struct iovec parts[MOST_PARTS];
        int count = 1 + (int)random_below(&random, MOST_PARTS);
        size_t total = 1 + random_below(&random, MOST_BYTES);
        size_t sent = 0;
        size_t seen = 0;
        int pair[2];

        assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK, 0, pair), 0);
        assert_int_equal(setsockopt(pair[0], SOL_SOCKET, SO_SNDBUF, &small, sizeof(small)), 0);
        cut(&random, bytes, total, parts, count);
        while (seen < total) {
            char got[3000];
            ssize_t taken = 0;

            if (sent < total) {
                taken = stream_send(pair[0], parts, count, total - sent);
                assert_true(taken > 0 || (taken < 0 && errno == EAGAIN));
                full += taken < 0;
            }
            if (taken > 0) {
                sent += (size_t)taken;
                partial += sent < total;
                count = advance(parts, count, (size_t)taken);
            }
            taken = recv(pair[1], got, 1 + random_below(&random, sizeof(got)), 0);
            assert_true(taken > 0);
            assert_pattern(got, (size_t)taken, seen);
            seen += (size_t)taken;
            assert_true(seen <= sent);
        }
        close(pair[0]);
        close(pair[1]);
    }
    assert_true(partial > 0);
    assert_true(full > 0);
    free(bytes);
}

static void test_huge_parts(void **state)
{
    char *bytes = make_pattern(HUGE_BYTES);
    struct iovec parts[2] = {{bytes, 10}, {bytes + 10, HUGE_BYTES - 10}};
    char got[4096];
    ssize_t taken;
    int pair[2];

    (void)state;
    assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK, 0, pair), 0);
    taken = stream_send(pair[0], parts, 2, HUGE_BYTES);
    assert_true(taken > 10);
    assert_true((size_t)taken < HUGE_BYTES);
    assert_int_equal(stream_send(pair[0], parts, 1, 10), -1);
    assert_int_equal(errno, EAGAIN);
    for (ssize_t seen = 0; seen < taken;) {
        ssize_t length = recv(pair[1], got, sizeof(got), 0);

        assert_true(length > 0);
        assert_pattern(got, (size_t)length, (size_t)seen);
        seen += length;
    }
    assert_int_equal(recv(pair[1], got, sizeof(got), 0), -1);
    close(pair[0]);
    close(pair[1]);
    free(bytes);
}

/* The kernel bounds the number of parts; those that are copied together have no such bound. */
static void test_many_parts(void **state)
{
    static struct iovec parts[IOV_MAX + 1];
    char *bytes = make_pattern(4 * (IOV_MAX + 1));
    char got[4 * (IOV_MAX + 1)];
    int pair[2];

    (void)state;
    assert_int_equal(socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_NONBLOCK, 0, pair), 0);
    for (size_t i = 0; i <= IOV_MAX; i++)
        parts[i] = (struct iovec){bytes + 4 * i, 4};
    assert_int_equal(stream_send(pair[0], parts, IOV_MAX, (size_t)IOV_MAX * 4), IOV_MAX * 4);
    assert_int_equal(recv(pair[1], got, sizeof(got), 0), IOV_MAX * 4);
    assert_pattern(got, (size_t)IOV_MAX * 4, 0);
    assert_int_equal(stream_send(pair[0], parts, IOV_MAX + 1, (size_t)(IOV_MAX + 1) * 4), -1);
    assert_int_equal(errno, EMSGSIZE);
    for (size_t i = 0; i <= IOV_MAX; i++)
        parts[i] = (struct iovec){bytes + i, 1};
    assert_int_equal(stream_send(pair[0], parts, IOV_MAX + 1, IOV_MAX + 1), IOV_MAX + 1);
    assert_int_equal(recv(pair[1], got, sizeof(got), 0), IOV_MAX + 1);
    assert_pattern(got, IOV_MAX + 1, 0);
    close(pair[0]);
    close(pair[1]);
    free(bytes);
}

/* A peer that has gone is an error and no signal, whichever way the parts go. */
static void test_a_peer_that_has_gone(void **state)
{
    static const size_t totals[] = {2, 2048, 2049};
    char *bytes = make_pattern(4096);
    void (*before)(int) = signal(SIGPIPE, SIG_DFL);

    (void)state;
    for (size_t i = 0; i < sizeof(totals) / sizeof(totals[0]); i++) {
        for (int count = 1; count <= 2; count++) {
            struct iovec parts[2] = {{bytes, count == 1 ? totals[i] : 1},
                                     {bytes + 1, totals[i] - 1}};
            int pair[2];

            assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK, 0, pair), 0);
            close(pair[1]);
            assert_int_equal(stream_send(pair[0], parts, count, totals[i]), -1);
            assert_int_equal(errno, EPIPE);
            close(pair[0]);
            assert_int_equal(stream_send(pair[0], parts, count, totals[i]), -1);
            assert_int_equal(errno, EBADF);
        }
    }
    (void)signal(SIGPIPE, before);
    free(bytes);
}

static void test_gather_writes_what_is_there(void **state)
{
    char out[8] = "#######";
    const struct iovec parts[] = {
        {NULL, 0}, {(char[]){"ab"}, 2}, {(char[]){"x"}, 0}, {(char[]){"cde"}, 3}, {NULL, 0}};

    (void)state;
    stream_gather(out, parts, 0);
    assert_string_equal(out, "#######");
    stream_gather(out, parts, 5);
    assert_string_equal(out, "abcde##");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_parts_leave_as_one_message),
        cmocka_unit_test(test_what_is_taken_is_the_beginning),
        cmocka_unit_test(test_huge_parts),
        cmocka_unit_test(test_many_parts),
        cmocka_unit_test(test_a_peer_that_has_gone),
        cmocka_unit_test(test_gather_writes_what_is_there),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
