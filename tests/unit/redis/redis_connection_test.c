/* SPDX-License-Identifier: MIT */
/*
 * redis_connection on a pair of sockets: commands of both ways in one order,
 * replies cut at every byte, and whatever else may come in their place.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include <cmocka.h>

#include "kamiyo/base/attributes.h"
#include "kamiyo/base/text.h"
#include "kamiyo/net/loop.h"
#include "kamiyo/redis/redis_client.h"
#include "kamiyo/redis/redis_reply.h"

#include "loop_fixture.h"
#include "redis/redis_connection.h"

#define COMMANDS 8

struct fixture {
    struct loop *loop;
    int peer;
    struct redis_connection *connection;
    struct redis_command commands[COMMANDS];
    size_t sent;
    char said[512]; /* what was told, in order: "0:1,2 1:-ERR 2:lost closed" */
    struct text text;
    bool is_closed;
    bool sends_again; /* a script's command from on_reply */
    bool closes;      /* from on_reply */
    struct redis_failure failure;
};

static void send_script(struct fixture *f)
{
    static const char bytes[] = "*1\r\n$6\r\nSCRIPT\r\n";
    char *place = redis_connection_reserve(f->connection, 100);

    assert_non_null(place);
    memcpy(place, bytes, sizeof(bytes) - 1);
    redis_connection_commit(f->connection, sizeof(bytes) - 1, &f->commands[f->sent++]);
}

static void send_plain(struct fixture *f)
{
    static const char bytes[] = "*1\r\n$4\r\nPING\r\n";

    assert_true(
        redis_connection_send(f->connection, bytes, sizeof(bytes) - 1, &f->commands[f->sent++]));
}

static void tell(struct fixture *f, const struct redis_command *command)
{
    text_append_i64(&f->text, command - f->commands);
    text_append_char(&f->text, ':');
}

static void on_reply(void *arg, struct redis_command *command, const struct redis_reply *reply)
{
    struct fixture *f = arg;
    struct redis_failure failure = {.reason = REDIS_REASON_READ_ONLY};
    struct slice text;
    int64_t values[32];
    size_t count;

    tell(f, command);
    if (redis_reply_is_error(reply, &text) || redis_reply_is_string(reply, &text))
        text_append(&f->text, text);
    else if (redis_reply_is_integers(reply, values, COUNT_OF(values), &count))
        for (size_t i = 0; i < count; i++)
            text_append_format(&f->text, i > 0 ? ",%lld" : "%lld", (long long)values[i]);
    else
        text_append_char(&f->text, '?');
    text_append_char(&f->text, ' ');
    if (f->sends_again)
        send_script(f);
    if (f->closes)
        redis_connection_close(f->connection, &failure);
    f->sends_again = false;
}

static void on_lost(void *arg, struct redis_command *command)
{
    struct fixture *f = arg;

    tell(f, command);
    text_append(&f->text, SLICE("lost "));
}

static void on_closed(void *arg, const struct redis_failure *failure)
{
    struct fixture *f = arg;

    f->failure = *failure;
    f->is_closed = true;
    redis_connection_destroy(&f->connection);
}

static const struct redis_connection_handler handler = {
    .on_reply = on_reply,
    .on_lost = on_lost,
    .on_closed = on_closed,
};

static void setup(struct fixture *f, void **state)
{
    struct redis_failure failure;
    int fds[2];

    memset(f, 0, sizeof(*f));
    f->loop = *state;
    text_init(&f->text, f->said, sizeof(f->said));
    assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK, 0, fds), 0);
    f->peer = fds[1];
    f->connection = redis_connection_create(f->loop, fds[0], NULL, &handler, f, &failure);
    assert_non_null(f->connection);
}

static void teardown(struct fixture *f)
{
    redis_connection_destroy(&f->connection);
    (void)close(f->peer);
}

static void push(const struct fixture *f, const char *bytes, size_t length)
{
    if (length > 0)
        assert_int_equal(write(f->peer, bytes, length), length);
    for (int i = 0; i < 2; i++) /* what was read, and what that deferred */
        loop_run_for(f->loop, 0);
}

static void expect_said(struct fixture *f, const char *said)
{
    assert_string_equal(text_terminate(&f->text), said);
}

/* Both ways in turn, as one write, and answered in every possible pair of pieces. */
static void test_order(void **state)
{
    static const char replies[] =
        "+a\r\n*2\r\n:1\r\n:-22\r\n$2\r\nc\n\r\n-ERR d\r\n*1\r\n$1\r\nx\r\n"
        "*0\r\n*-1\r\n:7\r\n";
    static const char commands[] = "*1\r\n$4\r\nPING\r\n*1\r\n$6\r\nSCRIPT\r\n";

    for (size_t cut = 0; cut <= sizeof(replies) - 1; cut++) {
        struct fixture f;
        char written[512];

        setup(&f, state);
        for (int i = 0; i < COMMANDS / 2; i++) {
            send_plain(&f);
            send_script(&f);
        }
        assert_int_equal(redis_connection_in_flight(f.connection), COMMANDS);
        assert_true(read(f.peer, written, sizeof(written)) < 0);
        loop_run_for(f.loop, 0);
        loop_run_for(f.loop, 0);
        assert_int_equal(read(f.peer, written, sizeof(written)),
                         COMMANDS / 2 * (sizeof(commands) - 1));
        for (int i = 0; i < COMMANDS / 2; i++)
            assert_memory_equal(written + (size_t)i * (sizeof(commands) - 1), commands,
                                sizeof(commands) - 1);
        push(&f, replies, cut);
        push(&f, replies + cut, sizeof(replies) - 1 - cut);
        expect_said(&f, "0:a 1:1,-22 2:c\n 3:ERR d 4:? 5: 6:? 7:? ");
        assert_int_equal(redis_connection_in_flight(f.connection), 0);
        assert_false(f.is_closed);
        teardown(&f);
    }
}

static void test_byte_by_byte(void **state)
{
    static const char replies[] =
        "*3\r\n:0\r\n:-1\r\n:123456789012345678\r\n-NOSCRIPT x\r\n*1\r\n:5\r\n";
    struct fixture f;

    setup(&f, state);
    for (int i = 0; i < 3; i++)
        send_script(&f);
    for (size_t i = 0; i < sizeof(replies) - 1; i++)
        push(&f, replies + i, 1);
    expect_said(&f, "0:0,-1,123456789012345678 1:NOSCRIPT x 2:5 ");
    teardown(&f);
}

/* More than one read, with replies that lie across its end. */
static void test_many(void **state)
{
    static const char reply[] = "*2\r\n:1234567\r\n:1\r\n";
    struct fixture f;
    struct redis_command commands[4000];
    static char replies[COUNT_OF(commands) * (sizeof(reply) - 1)];
    size_t left;

    setup(&f, state);
    text_init(&f.text, f.said, 0); /* what is said does not matter */
    for (size_t i = 0; i < COUNT_OF(commands); i++)
        redis_connection_commit(f.connection, 0, &commands[i]);
    for (size_t i = 0; i < COUNT_OF(commands); i++)
        memcpy(replies + i * (sizeof(reply) - 1), reply, sizeof(reply) - 1);
    assert_int_equal(write(f.peer, replies, sizeof(replies)), sizeof(replies));
    left = redis_connection_in_flight(f.connection);
    while (left > 0) {
        loop_run_for(f.loop, 0);
        assert_true(redis_connection_in_flight(f.connection) < left);
        left = redis_connection_in_flight(f.connection);
    }
    assert_false(f.is_closed);
    teardown(&f);
}

struct bad_reply {
    const char *bytes;
    const char *said;
    const char *detail;
};

static void test_bad_replies(void **state)
{
    static const struct bad_reply rows[] = {
        {"HTTP/1.1 400\r\n", "0:lost 1:lost ", "Protocol error, got \"H\" as reply type byte"},
        {"*1\r\n:x\r\n", "0:lost 1:lost ", "Bad integer value"},
        {"*9999\r\n", "0:lost 1:lost ", "Multi-bulk length out of range"},
        {"*1\r\n:1\r\n*1\r\n:2\r\n:3\r\n", "0:1 1:2 ", "more replies than commands"},
        {"*1\r\n:1\r\n-a\r\n-b\r\n", "0:1 1:a ", "more replies than commands"},
        {"*1\r\n:1\r\n*1\r\n:\r\n", "0:1 1:lost ", "Bad integer value"},
    };

    for (size_t i = 0; i < COUNT_OF(rows); i++) {
        struct fixture f;

        setup(&f, state);
        send_script(&f);
        send_script(&f);
        push(&f, rows[i].bytes, strlen(rows[i].bytes));
        assert_true(f.is_closed);
        expect_said(&f, rows[i].said);
        assert_int_equal(f.failure.reason, REDIS_REASON_BAD_REPLY);
        assert_string_equal(f.failure.detail, rows[i].detail);
        teardown(&f);
    }
}

/* What was there already is no answer to what a callback sends. */
static void test_excess_and_send(void **state)
{
    struct fixture f;

    setup(&f, state);
    send_script(&f);
    f.sends_again = true;
    push(&f, "*1\r\n:1\r\n*1\r\n:2\r\n", 16);
    assert_true(f.is_closed);
    expect_said(&f, "0:1 1:lost ");
    teardown(&f);

    setup(&f, state);
    send_script(&f);
    f.sends_again = true;
    push(&f, "*1\r\n:1\r\n", 8);
    push(&f, "*1\r\n:2\r\n", 8);
    expect_said(&f, "0:1 1:2 ");
    teardown(&f);
}

/* hiredis does not look at the two bytes behind a string: what follows them in the same line would
 * pass for a reply that nobody asked for, and end the process, or for the next one. */
static void test_reply_inside_line(void **state)
{
    static const char reply[] = "$1\r\nxAB+b\r\n";

    for (int is_plain = 0; is_plain < 2; is_plain++) {
        for (int is_last = 0; is_last < 2; is_last++) {
            struct fixture f;

            setup(&f, state);
            if (is_plain)
                send_plain(&f);
            else
                send_script(&f);
            if (!is_last)
                send_plain(&f);
            push(&f, reply, sizeof(reply) - 1);
            assert_true(f.is_closed);
            expect_said(&f, is_last ? "0:x " : "0:x 1:lost ");
            assert_int_equal(f.failure.reason, REDIS_REASON_BAD_REPLY);
            assert_string_equal(f.failure.detail, "more replies than commands");
            teardown(&f);
        }
    }
}

/* Closed from a callback: nothing more is told of but losses, in order, of either way. */
static void test_close_inside(void **state)
{
    static const char *const firsts[] = {"*1\r\n:1\r\n*1\r\n:2\r\n+x\r\n", "-e\r\n-f\r\n+x\r\n"};

    for (int is_plain = 0; is_plain < 2; is_plain++) {
        for (size_t i = 0; i < COUNT_OF(firsts); i++) {
            struct fixture f;

            setup(&f, state);
            if (is_plain)
                send_plain(&f);
            else
                send_script(&f);
            send_script(&f);
            send_plain(&f);
            f.closes = true;
            push(&f, firsts[i], strlen(firsts[i]));
            assert_true(f.is_closed);
            expect_said(&f, i == 0 ? "0:1 1:lost 2:lost " : "0:e 1:lost 2:lost ");
            assert_int_equal(f.failure.reason, REDIS_REASON_READ_ONLY);
            teardown(&f);
        }
    }
}

static void test_end_inside_reply(void **state)
{
    struct fixture f;

    setup(&f, state);
    send_script(&f);
    send_plain(&f);
    push(&f, "*2\r\n:1\r\n:", 9);
    expect_said(&f, "");
    assert_int_equal(shutdown(f.peer, SHUT_WR), 0);
    push(&f, "", 0);
    assert_true(f.is_closed);
    expect_said(&f, "0:lost 1:lost ");
    assert_int_equal(f.failure.reason, REDIS_REASON_CLOSED);
    teardown(&f);
}

/* A reply without end is hiredis's, and bounded. */
static void test_endless(void **state)
{
    static const char head[] = "$99999999\r\n";
    static char filler[8192];
    struct fixture f;
    size_t length = 0;

    setup(&f, state);
    memset(filler, 'x', sizeof(filler));
    send_script(&f);
    push(&f, head, sizeof(head) - 1);
    while (!f.is_closed) {
        assert_true(length <= REDIS_CLIENT_MAX_REPLY_BYTES + sizeof(filler));
        push(&f, filler, sizeof(filler));
        length += sizeof(filler);
    }
    assert_string_equal(f.failure.detail, "a reply without end");
    teardown(&f);
}

/* Arrays in arrays: what hiredis has read of them is no bytes any more, and bounded as well. */
static void test_endless_in_depth(void **state)
{
    static const char level[] = "*1\r\n";
    static char levels[8192];
    struct fixture f;
    size_t length = 0;

    setup(&f, state);
    for (size_t i = 0; i < sizeof(levels); i++)
        levels[i] = level[i % 4];
    send_script(&f);
    while (!f.is_closed) {
        assert_true(length <= REDIS_CLIENT_MAX_REPLY_BYTES + sizeof(levels));
        push(&f, levels, sizeof(levels));
        length += sizeof(levels);
    }
    assert_string_equal(f.failure.detail, "a reply without end");
    teardown(&f);
}

/* What the socket does not take is kept and sent later, and the room is there again. */
static void test_output(void **state)
{
    struct fixture f;
    static char sink[1 << 16];
    size_t sent = 0;
    size_t taken = 0;
    ssize_t length;

    setup(&f, state);
    for (int i = 0; i < 20; i++) {
        char *place = redis_connection_reserve(f.connection, 100000);

        assert_non_null(place);
        memset(place, 'a' + i, 100000);
        redis_connection_commit(f.connection, 100000, &f.commands[0]);
        TAILQ_REMOVE(redis_connection_commands(f.connection), &f.commands[0], entry);
        sent += 100000;
        loop_run_for(f.loop, 0);
        loop_run_for(f.loop, 0);
    }
    while (taken < sent) {
        while ((length = read(f.peer, sink, sizeof(sink))) > 0) {
            for (ssize_t i = 0; i < length; i++)
                assert_int_equal(sink[i], 'a' + (int)((taken + (size_t)i) / 100000));
            taken += (size_t)length;
        }
        loop_run_for(f.loop, 0);
    }
    assert_int_equal(taken, sent);
    teardown(&f);
}

int main(void)
{
#define LOOP_TEST(f) cmocka_unit_test_setup_teardown(f, loop_fixture_setup, loop_fixture_teardown)
    const struct CMUnitTest tests[] = {
        LOOP_TEST(test_order),
        LOOP_TEST(test_byte_by_byte),
        LOOP_TEST(test_many),
        LOOP_TEST(test_bad_replies),
        LOOP_TEST(test_excess_and_send),
        LOOP_TEST(test_reply_inside_line),
        LOOP_TEST(test_close_inside),
        LOOP_TEST(test_end_inside_reply),
        LOOP_TEST(test_endless),
        LOOP_TEST(test_endless_in_depth),
        LOOP_TEST(test_output),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
