/* SPDX-License-Identifier: MIT */
/* How redis_client connects, loses what it had and comes back, over a scripted store. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

#include "kamiyo/base/attributes.h"
#include "kamiyo/base/clock.h"
#include "kamiyo/redis/redis_budget.h"

#include "client_support.h"
#include "loop_fixture.h"
#include "redis/redis_shared.h"
#include "support/stopwatch.h"

struct greeting_case {
    const char *reply; /* to every command */
    enum redis_reason reason;
};

static void test_greeting_fails(void **state)
{
    static const struct greeting_case cases[] = {
        {"-NOAUTH Authentication required.\r\n", REDIS_REASON_AUTHENTICATION},
        {"-WRONGPASS invalid username-password pair or user is disabled.\r\n",
         REDIS_REASON_AUTHENTICATION},
        {"-LOADING Redis is loading the dataset in memory\r\n", REDIS_REASON_LOADING},
        {"-BUSY Redis is busy running a script.\r\n", REDIS_REASON_BUSY},
        {"-ERR max number of clients reached\r\n", REDIS_REASON_REFUSED},
        {"+OK\r\n", REDIS_REASON_BAD_REPLY},
        {":1\r\n", REDIS_REASON_BAD_REPLY},
        {"*2\r\n$1\r\nx\r\n$1\r\ny\r\n", REDIS_REASON_BAD_REPLY},
        {"?\r\n", REDIS_REASON_BAD_REPLY},
        {"", REDIS_REASON_CONNECT_TIMEOUT},
    };

    for (size_t i = 0; i < COUNT_OF(cases); i++) {
        struct client_fixture f;

        client_start_with_fake(&f, state);
        f.greeting = cases[i].reply;
        client_expect_down(&f, cases[i].reason);
        assert_int_equal(f.ups, 0);
        client_teardown(&f);
    }
}

/* What the time was stands while a later connection's word on it, read late, can agree. */
static void test_time_of_a_new_connection_that_is_read_late(void **state)
{
    struct client_fixture f;

    client_start_with_fake(&f, state);
    loop_fixture_run_until(f.loop, &f.is_up);
    f.time_delay.tv_nsec = 200 * 1000000;
    f.is_up = false;
    fake_redis_cut_all(f.fake);
    loop_fixture_run_until(f.loop, &f.is_up);
    assert_in_range(redis_client_server_ms(f.client, loop_now_ms(f.loop)) - clock_wall_ms() + 100,
                    0, 200);
    client_teardown(&f);
}

/* A loss in use is mended at once, a failure after it is backed off, and never more than ten a
 * second. */
static void test_returning(void **state)
{
    struct client_fixture f;
    struct client_outcome outcome;
    struct stopwatch lost;

    client_setup(&f, state);
    f.options.backoff_min_ms = f.options.backoff_max_ms = 2000;
    client_use_fake(&f);
    client_start(&f);
    loop_fixture_run_until(f.loop, &f.is_up);
    redis_client_confirm(f.client);
    f.cuts = true;
    (void)client_ask(&f, &outcome, 1000, "A");
    loop_fixture_run_until(f.loop, &outcome.is_done);
    stopwatch_start(&lost);
    assert_int_equal(outcome.outcome, REDIS_LOST);
    assert_int_equal(f.failure.reason, REDIS_REASON_CLOSED);
    assert_true(f.was_returning);
    loop_fixture_run_until(f.loop, &f.is_up);
    assert_false(redis_client_is_returning(f.client));
    assert_in_range(stopwatch_own_ms(&lost), 0, 900);
    /* Not confirmed: each further one waits. */
    f.is_up = false;
    (void)client_ask(&f, &outcome, 1000, "A");
    loop_fixture_run_until(f.loop, &outcome.is_done);
    assert_false(f.was_returning);
    client_teardown(&f);
}

static void test_budget(void **state)
{
    struct client_fixture f;
    struct redis_client *others[4];

    client_setup(&f, state);
    client_use_fake(&f);
    f.greeting = "-LOADING x\r\n";
    client_start(&f);
    for (size_t i = 0; i < COUNT_OF(others); i++) {
        others[i] = redis_client_create(f.loop, f.shared, "other");
        redis_client_start(others[i], NULL, NULL, NULL);
    }
    loop_run_for(f.loop, 1900);
    /* Five first attempts, then ten a second. */
    assert_in_range(fake_redis_accepted(f.fake), 5 + 10, 5 + 20);
    f.greeting = NULL;
    loop_fixture_run_until(f.loop, &f.is_up);
    for (size_t i = 0; i < COUNT_OF(others); i++)
        redis_client_destroy(&others[i]);
    client_teardown(&f);
}

/* A worker that has to back off for long takes nothing of the budget until then, and nobody's turn.
 */
static void test_long_backoff_is_nobody_elses(void **state)
{
    struct client_fixture f;
    struct redis_failure failure;
    struct redis_client *other;
    struct stopwatch lost;

    client_setup(&f, state);
    f.options.backoff_min_ms = f.options.backoff_max_ms = 4000;
    client_use_fake(&f);
    client_start(&f);
    other = redis_client_create(f.loop, f.shared, "other");
    redis_client_start(other, NULL, NULL, NULL);
    loop_fixture_run_until(f.loop, &f.is_up);
    redis_client_confirm(f.client);
    while (!redis_client_is_ready(other))
        loop_run_for(f.loop, 1);
    redis_failure_set(&failure, REDIS_REASON_READ_ONLY, "x");
    redis_client_drop(other, &failure);
    while (redis_client_is_ready(other))
        loop_run_for(f.loop, 1);
    f.is_up = false;
    stopwatch_start(&lost);
    fake_redis_cut_all(f.fake);
    loop_fixture_run_until(f.loop, &f.is_up);
    assert_in_range(stopwatch_own_ms(&lost), 0, 1500);
    assert_false(redis_client_is_ready(other));
    redis_client_destroy(&other);
    client_teardown(&f);
}

/* A connection that cannot come back at once is not waited for. */
static void test_no_return_without_budget(void **state)
{
    struct client_fixture f;

    client_start_with_fake(&f, state);
    loop_fixture_run_until(f.loop, &f.is_up);
    redis_client_confirm(f.client);
    for (int i = 0; i < REDIS_BUDGET_PER_SECOND; i++)
        assert_true(redis_budget_reserve(f.shared->budget, clock_monotonic_ms() + 5000) > 0);
    fake_redis_cut_all(f.fake);
    loop_fixture_run_until(f.loop, &f.is_down);
    assert_int_equal(f.losses, 1);
    assert_false(f.was_returning || redis_client_is_returning(f.client));
    client_teardown(&f);
}

/* A store that accepts and says nothing is dropped after connect_timeout. */
static void test_stall(void **state)
{
    struct client_fixture f;
    struct client_outcome outcome;

    client_start_with_fake(&f, state);
    loop_fixture_run_until(f.loop, &f.is_up);
    (void)client_ask(&f, &outcome, 10, "A");
    client_expect_down(&f, REDIS_REASON_TIMEOUT);
    assert_int_equal(outcome.outcome, REDIS_TIMED_OUT);
    assert_int_equal(f.losses, 1);
    client_teardown(&f);
}

static void test_unreachable(void **state)
{
    struct client_fixture f;

    client_setup(&f, state);
    client_use_fake(&f);
    fake_redis_destroy(&f.fake);
    client_start(&f);
    client_expect_down(&f, REDIS_REASON_REFUSED);
    client_teardown(&f);

    client_setup(&f, state);
    (void)snprintf(f.url, sizeof(f.url), "unix:///nonexistent/redis.sock");
    client_start(&f);
    client_expect_down(&f, REDIS_REASON_REFUSED);
    assert_non_null(strstr(f.failure.detail, "No such file"));
    client_teardown(&f);

    client_setup(&f, state);
    (void)snprintf(f.url, sizeof(f.url), "redis://name.invalid");
    client_start(&f);
    client_expect_down(&f, REDIS_REASON_NAME);
    client_teardown(&f);
}

/* Every stage may be cut off by the end of the client. */
static void test_destroy_early(void **state)
{
    for (int turns = 0; turns < 8; turns++) {
        struct client_fixture f;

        client_start_with_fake(&f, state);
        for (int i = 0; i < turns; i++)
            loop_run_for(f.loop, 0);
        client_teardown(&f);
    }
}

static void test_drop(void **state)
{
    struct client_fixture f;
    struct redis_failure failure;
    struct client_outcome outcome;

    client_start_with_fake(&f, state);
    loop_fixture_run_until(f.loop, &f.is_up);
    redis_client_confirm(f.client);
    (void)client_ask(&f, &outcome, 0, "A");
    redis_failure_set(&failure, REDIS_REASON_READ_ONLY, "x");
    redis_client_drop(f.client, &failure);
    redis_client_drop(f.client, &failure);
    assert_false(outcome.is_done);
    client_expect_down(&f, REDIS_REASON_READ_ONLY);
    assert_int_equal(outcome.outcome, REDIS_LOST);
    assert_false(redis_client_is_returning(f.client));
    loop_fixture_run_until(f.loop, &f.is_up);
    client_teardown(&f);
}

int main(void)
{
#define LOOP_TEST(f) cmocka_unit_test_setup_teardown(f, loop_fixture_setup, loop_fixture_teardown)
    const struct CMUnitTest tests[] = {
        LOOP_TEST(test_greeting_fails),
        LOOP_TEST(test_time_of_a_new_connection_that_is_read_late),
        LOOP_TEST(test_returning),
        LOOP_TEST(test_budget),
        LOOP_TEST(test_long_backoff_is_nobody_elses),
        LOOP_TEST(test_no_return_without_budget),
        LOOP_TEST(test_stall),
        LOOP_TEST(test_unreachable),
        LOOP_TEST(test_destroy_early),
        LOOP_TEST(test_drop),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
