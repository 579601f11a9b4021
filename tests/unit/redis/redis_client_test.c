/* SPDX-License-Identifier: MIT */
/*
 * redis_client against a scripted store (replies of every wrong shape, cut,
 * late, unasked) and a real redis-server (AUTH, SELECT, kill, stop).
 */
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include <cmocka.h>

#include "kamiyo/base/attributes.h"
#include "kamiyo/base/clock.h"
#include "kamiyo/net/resolver.h"
#include "kamiyo/redis/redis_client.h"
#include "kamiyo/redis/redis_options.h"

#include "client_support.h"
#include "fake_redis.h"
#include "loop_fixture.h"

static void test_commands(void **state)
{
    struct client_fixture f;
    struct client_outcome outcomes[100];
    int64_t before_ms;

    client_start_with_fake(&f, state);
    f.answer = "+fine\r\n";
    (void)client_ask(&f, &outcomes[0], 0, "PING");
    assert_int_equal(outcomes[0].outcome, REDIS_NOT_SENT);
    loop_fixture_run_until(f.loop, &f.is_up);
    assert_string_equal(redis_client_script_sha(f.client),
                        "0123456789012345678901234567890123456789");
    before_ms = clock_wall_ms();
    assert_in_range(redis_client_server_ms(f.client, loop_now_ms(f.loop)) - before_ms + 100, 0,
                    200);
    for (size_t i = 0; i < COUNT_OF(outcomes); i++)
        (void)client_ask(&f, &outcomes[i], 1000, "A bc");
    assert_int_equal(redis_client_in_flight(f.client), COUNT_OF(outcomes));
    loop_fixture_run_until(f.loop, &outcomes[COUNT_OF(outcomes) - 1].is_done);
    for (size_t i = 0; i < COUNT_OF(outcomes); i++)
        assert_string_equal(outcomes[i].text, "fine");
    assert_int_equal(f.round_trips, 3 + COUNT_OF(outcomes));
    assert_int_equal(redis_client_in_flight(f.client), 0);
    client_teardown(&f);
}

static void test_bound(void **state)
{
    struct client_fixture f;
    static struct client_outcome outcomes[REDIS_CLIENT_MAX_IN_FLIGHT + 1];

    client_setup(&f, state);
    f.options.connect_timeout_ms = 60000; /* nothing is answered, and nothing stalls */
    client_use_fake(&f);
    client_start(&f);
    loop_fixture_run_until(f.loop, &f.is_up);
    for (size_t i = 0; i < REDIS_CLIENT_MAX_IN_FLIGHT; i++)
        assert_non_null(client_ask(&f, &outcomes[i], 0, "A"));
    assert_null(client_ask(&f, &outcomes[REDIS_CLIENT_MAX_IN_FLIGHT], 0, "A"));
    loop_run_for(f.loop, 50);
    client_teardown(&f); /* with all of them pending: no callback */
    assert_false(outcomes[0].is_done);
}

/* One command without a reply fails alone, and its late reply meets nobody. */
static void test_deadline(void **state)
{
    struct client_fixture f;
    struct client_outcome slow;
    struct client_outcome cancelled;
    struct redis_call *call;

    client_start_with_fake(&f, state);
    loop_fixture_run_until(f.loop, &f.is_up);
    (void)client_ask(&f, &slow, 20, "A");
    call = client_ask(&f, &cancelled, 20, "B");
    redis_client_cancel(&call);
    assert_null(call);
    redis_client_cancel(&call);
    loop_fixture_run_until(f.loop, &slow.is_done);
    assert_int_equal(slow.outcome, REDIS_TIMED_OUT);
    assert_false(cancelled.is_done);
    f.answer = "+late\r\n+late\r\n+mine\r\n"; /* to the third command, for all three */
    client_expect_reply(&f, "C", "mine");
    assert_false(cancelled.is_done);
    assert_true(f.is_up);
    client_teardown(&f);
}

/* A reply of the wrong shape is the caller's to judge; bytes that are none end the connection. */
static void test_garbage(void **state)
{
    static const char *const garbage[] = {"HTTP/1.1 400 Bad Request\r\n\r\n",
                                          "*99999999\r\n",
                                          "$-2\r\n",
                                          ":abc\r\n",
                                          "+one\r\n+two\r\n",
                                          "+one\r\n$100\r\nhalf",
                                          "+one\r\n>2\r\n$9\r\nsubscribe\r\n$1\r\nx\r\n",
                                          "\r\n"};

    for (size_t i = 0; i < COUNT_OF(garbage); i++) {
        struct client_fixture f;
        struct client_outcome outcome;

        client_start_with_fake(&f, state);
        loop_fixture_run_until(f.loop, &f.is_up);
        f.answer = garbage[i];
        (void)client_ask(&f, &outcome, 0, "A");
        client_expect_down(&f, REDIS_REASON_BAD_REPLY);
        assert_true(outcome.is_done);
        f.answer = "+fine\r\n";
        loop_fixture_run_until(f.loop, &f.is_up);
        client_expect_reply(&f, "B", "fine");
        client_teardown(&f);
    }
}

/* Words that no command asked for would be an assertion in hiredis. */
static void test_unasked(void **state)
{
    static const char *const unasked[] = {"+OK\r\n", ":1\r\n", "*0\r\n", "+par",
                                          "-ERR max number of clients reached\r\n"};

    for (size_t i = 0; i < COUNT_OF(unasked); i++) {
        struct client_fixture f;

        client_start_with_fake(&f, state);
        loop_fixture_run_until(f.loop, &f.is_up);
        fake_redis_push(f.fake, unasked[i]);
        client_expect_down(&f,
                           unasked[i][0] == '-' ? REDIS_REASON_REFUSED : REDIS_REASON_BAD_REPLY);
        client_teardown(&f);
    }
}

static void test_clock(void **state)
{
    struct client_fixture f;
    struct clock_time now = {.monotonic_us = 5000000, .wall_us = 1700000000000000};

    client_start_with_fake(&f, state);
    loop_fake_time(f.loop, &now);
    /* Between 90 and 100 on our clock it was 1000 there: the offset is 900 to 910. */
    now.monotonic_us = 100000;
    loop_fake_time(f.loop, &now);
    redis_client_note_time(f.client, 1000, 90);
    assert_int_equal(redis_client_server_ms(f.client, 100), 1000);
    /* A quick answer says more than a slow one, in any order. */
    redis_client_note_time(f.client, 1005, 98);
    assert_int_equal(redis_client_server_ms(f.client, 100), 1005);
    redis_client_note_time(f.client, 960, 40);
    assert_int_equal(redis_client_server_ms(f.client, 100), 1005);
    /* A jump back is believed at once, but for the way there. */
    redis_client_note_time(f.client, 500, 99);
    assert_int_equal(redis_client_server_ms(f.client, 100), 501);
    /* Nor does one that was read late take back more than it disproves. */
    now.monotonic_us = 200000;
    loop_fake_time(f.loop, &now);
    redis_client_note_time(f.client, 500, 100);
    assert_int_equal(redis_client_server_ms(f.client, 100), 500);
    loop_fake_time(f.loop, NULL);
    client_teardown(&f);
}

/* The time is over for the command and for the connection, and the answer is there. */
static void test_answer_before_deadline(void **state)
{
    struct client_fixture f;
    struct client_outcome outcome;
    struct clock_time now;
    unsigned seen;

    client_start_with_fake(&f, state);
    loop_fixture_run_until(f.loop, &f.is_up);
    seen = fake_redis_commands(f.fake);
    (void)client_ask(&f, &outcome, 100, "A");
    while (fake_redis_commands(f.fake) == seen)
        loop_run_for(f.loop, 0);
    fake_redis_push(f.fake, "+fine\r\n");
    clock_read(&now);
    now.monotonic_us += 10000000;
    loop_fake_time(f.loop, &now);
    loop_run_for(f.loop, 0);
    loop_fake_time(f.loop, NULL);
    assert_true(outcome.is_done);
    assert_string_equal(outcome.text, "fine");
    assert_true(redis_client_is_ready(f.client));
    client_teardown(&f);
}

static void test_real(void **state)
{
    static const char *const arguments[] = {"--requirepass", "se cret", NULL};
    static const char *const changed[] = {"--requirepass", "other", NULL};
    struct real_redis redis;
    struct client_fixture f;

    assert_true(real_redis_start(&redis, arguments));
    client_setup(&f, state);
    (void)snprintf(f.url, sizeof(f.url), "redis://default:se%%20cret@%s:%d/3", redis.host,
                   REAL_REDIS_PORT);
    client_start(&f);
    loop_fixture_run_until(f.loop, &f.is_up);
    redis_client_confirm(f.client);
    assert_int_equal(strlen(redis_client_script_sha(f.client)), 40);
    client_expect_reply(&f, "SET key value", "OK");
    client_expect_reply(&f, "GET key", "value");
    client_expect_reply(&f, "CLIENT GETNAME", "test");
    client_expect_reply(&f, "SELECT 0", "OK");
    client_expect_reply(&f, "GET key", "");
    real_redis_stop(&redis);
    client_expect_down(&f, REDIS_REASON_CLOSED);
    client_expect_down(&f, REDIS_REASON_REFUSED);
    assert_true(real_redis_restart(&redis, changed));
    client_expect_down(&f, REDIS_REASON_AUTHENTICATION);
    client_teardown(&f);
    real_redis_stop(&redis);
}

int main(void)
{
#define LOOP_TEST(f) cmocka_unit_test_setup_teardown(f, loop_fixture_setup, loop_fixture_teardown)
    const struct CMUnitTest tests[] = {
        LOOP_TEST(test_commands),
        LOOP_TEST(test_bound),
        LOOP_TEST(test_deadline),
        LOOP_TEST(test_garbage),
        LOOP_TEST(test_unasked),
        LOOP_TEST(test_clock),
        LOOP_TEST(test_answer_before_deadline),
        LOOP_TEST(test_real),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
