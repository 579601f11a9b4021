/* SPDX-License-Identifier: MIT */
/*
 * The limiter over a scripted store: each way in which a decision can go, and
 * what the store's books say in the end.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <time.h>

#include <cmocka.h>

#include "kamiyo/base/attributes.h"
#include "kamiyo/redis/redis_client.h"

#include "store_support.h"
#include "support/stopwatch.h"

static void test_decisions(void **state)
{
    struct store_fixture f;
    struct store_answer answer;

    store_start_up(&f, state);
    for (int i = 1; i <= STORE_BURST; i++) {
        store_ask(&f, &answer);
        assert_false(answer.is_done);
        STORE_UNTIL(&f, answer.is_done);
        assert_int_equal(answer.decision.outcome, LIMIT_ALLOWED);
        assert_int_equal(answer.decision.mode, LIMIT_MODE_REDIS);
        assert_int_equal(answer.decision.levels[0].remaining, STORE_BURST - i);
    }
    (void)store_expect(&f, LIMIT_DENIED, LIMIT_MODE_REDIS);
    for (int i = 0; i < 100; i++)
        (void)store_expect(&f, LIMIT_DENIED, LIMIT_MODE_CACHED);
    assert_int_equal(f.evalshas, STORE_BURST + 1);
    assert_true(f.last_deadline >= (double)clock_wall_ms() - STORE_PATIENCE_MS &&
                f.last_deadline <= (double)(clock_wall_ms() + STORE_TIMEOUT_MS + 1));
    /* After a second it is asked again. */
    loop_run_for(f.loop, 1010);
    (void)store_expect(&f, LIMIT_DENIED, LIMIT_MODE_REDIS);
    store_teardown(&f);
}

static void test_script_is_sent_whole_when_unknown(void **state)
{
    struct store_fixture f;

    store_start_up(&f, state);
    STORE_ACTS(&f, STORE_NO_SCRIPT, STORE_DECIDE);
    (void)store_expect(&f, LIMIT_ALLOWED, LIMIT_MODE_REDIS);
    assert_int_equal(f.evals, 1);
    /* A store that never knows it is no store. */
    STORE_ACTS(&f, STORE_NO_SCRIPT);
    (void)store_expect(&f, LIMIT_ALLOWED, LIMIT_MODE_FALLBACK);
    assert_int_equal(f.evals, 2);
    store_teardown(&f);
}

static void test_lost_connection_is_tried_once_more(void **state)
{
    struct store_fixture f;

    store_start_up(&f, state);
    (void)store_expect(&f, LIMIT_ALLOWED, LIMIT_MODE_REDIS);
    STORE_ACTS(&f, STORE_CUT, STORE_DECIDE);
    (void)store_expect(&f, LIMIT_ALLOWED, LIMIT_MODE_REDIS);
    assert_true(store_has_redis(&f));
    assert_int_equal(fake_redis_accepted(f.fake), 2);
    /* Twice is enough. */
    STORE_ACTS(&f, STORE_CUT, STORE_CUT, STORE_DECIDE);
    (void)store_expect(&f, LIMIT_ALLOWED, LIMIT_MODE_FALLBACK);
    /* What may have been charged is charged once more, and never not at all: 2 and the one. */
    store_find_redis(&f);
    STORE_UNTIL(&f, f.spent == 3);
    store_teardown(&f);
}

/* A worker that nobody asks loses its connection again and again, and it comes back each time. */
static void test_unused_connection_comes_back_each_time(void **state)
{
    struct store_fixture f;
    struct limit_status before;
    struct limit_status after;

    store_start_up(&f, state);
    limit_shared_status(f.shared, &before);
    for (unsigned i = 2; i <= 4; i++) {
        fake_redis_cut_all(f.fake);
        STORE_UNTIL(&f, fake_redis_accepted(f.fake) == i && redis_client_is_ready(f.client));
        loop_run_for(f.loop, 100);
        limit_shared_status(f.shared, &after);
        assert_true(after.is_up && after.since_ms == before.since_ms);
    }
    store_teardown(&f);
}

/* The table decides at the deadline; what Redis says later settles the account. */
static void test_late_reply(void **state)
{
    struct store_fixture f;
    int64_t took_ms;

    store_start_up(&f, state);
    (void)store_expect(&f, LIMIT_ALLOWED, LIMIT_MODE_REDIS);
    STORE_ACTS(&f, STORE_HOLD, STORE_DECIDE);
    took_ms = store_expect(&f, LIMIT_ALLOWED, LIMIT_MODE_FALLBACK);
    assert_in_range(took_ms, STORE_TIMEOUT_MS, STORE_TARDY_MS);
    assert_int_equal((int)f.spent, 1);
    store_release(&f); /* it is charged after all */
    loop_run_for(f.loop, 300);
    assert_int_equal((int)f.spent, 2);
    assert_int_equal(f.evalshas, 2);
    store_teardown(&f);
}

static void test_late_reply_that_charged_nothing(void **state)
{
    struct store_fixture f;
    char late[64];

    store_start_up(&f, state);
    STORE_ACTS(&f, STORE_HOLD, STORE_DECIDE);
    (void)store_expect(&f, LIMIT_ALLOWED, LIMIT_MODE_FALLBACK);
    (void)snprintf(late, sizeof(late), "*1\r\n:%lld\r\n", (long long)clock_wall_ms() * 4 + 2);
    fake_redis_reply(f.held, late);
    STORE_UNTIL(&f, f.spent == 1); /* from the ledger, once */
    loop_run_for(f.loop, 300);
    assert_int_equal((int)f.spent, 1);
    store_teardown(&f);
}

/* The thread did not run; when it does, the time is over and the reply is there. */
static void test_reply_that_is_there_wins(void **state)
{
    struct store_fixture f;
    struct store_answer answer;
    struct clock_time now;

    store_start_up(&f, state);
    STORE_ACTS(&f, STORE_HOLD, STORE_DECIDE);
    store_ask(&f, &answer);
    STORE_UNTIL(&f, f.held != NULL);
    store_release(&f);
    clock_read(&now);
    now.monotonic_us += 1000 * (STORE_TIMEOUT_MS + 1);
    loop_fake_time(f.loop, &now);
    loop_run_for(f.loop, 0);
    loop_fake_time(f.loop, NULL);
    assert_true(answer.is_done);
    assert_int_equal(answer.decision.mode, LIMIT_MODE_REDIS);
    store_teardown(&f);
}

/* The thread did not run between the request and the end of its turn: the time begins when the
 * command leaves, here and on the store's clock. */
static void test_command_that_leaves_late(void **state)
{
    const struct timespec pause = {.tv_nsec = (STORE_TIMEOUT_MS + 100) * 1000000L};
    struct store_fixture f;
    struct store_answer answers[5];
    int64_t left_ms;

    store_start_up(&f, state);
    for (size_t i = 0; i < COUNT_OF(answers); i++)
        store_ask(&f, &answers[i]);
    (void)nanosleep(&pause, NULL);
    left_ms = clock_wall_ms();
    for (size_t i = 0; i < COUNT_OF(answers); i++) {
        STORE_UNTIL(&f, answers[i].is_done);
        assert_int_equal(answers[i].decision.mode, LIMIT_MODE_REDIS);
    }
    assert_true(f.last_deadline >= (double)(left_ms + STORE_TIMEOUT_MS / 2));
    /* and it does end */
    STORE_ACTS(&f, STORE_SILENT);
    store_ask(&f, &answers[0]);
    (void)nanosleep(&pause, NULL);
    left_ms = clock_monotonic_ms();
    STORE_UNTIL(&f, answers[0].is_done);
    assert_int_equal(answers[0].decision.mode, LIMIT_MODE_FALLBACK);
    assert_in_range(clock_monotonic_ms() - left_ms, STORE_TIMEOUT_MS - 1, STORE_TARDY_MS);
    store_teardown(&f);
}

/* A reply for which its request did not wait ends no row of timeouts. */
static void test_late_replies_open_the_breaker(void **state)
{
    struct store_fixture f;

    store_start_up(&f, state);
    f.fails_probes = true; /* what is slow with decisions is slow with a probe's */
    for (int i = 0; i < 3; i++) {
        assert_true(store_has_redis(&f));
        STORE_ACTS(&f, STORE_HOLD, STORE_DECIDE);
        (void)store_expect(&f, LIMIT_ALLOWED, LIMIT_MODE_FALLBACK);
        store_release(&f);
        loop_run_for(f.loop, 10);
    }
    store_expect_at_once(&f, LIMIT_ALLOWED, LIMIT_MODE_FALLBACK);
    store_teardown(&f);
}

static void test_late_without_a_timeout_is_no_failure(void **state)
{
    struct store_fixture f;

    store_start_up(&f, state);
    STORE_ACTS(&f, STORE_LATE, STORE_LATE, STORE_LATE, STORE_LATE, STORE_LATE, STORE_LATE,
               STORE_DECIDE);
    for (int i = 0; i < 5; i++)
        store_expect_at_once(&f, LIMIT_ALLOWED, LIMIT_MODE_FALLBACK);
    assert_true(store_has_redis(&f));
    STORE_UNTIL(&f, f.spent == 5);
    store_teardown(&f);
}

/* The table had refused, Redis charged: the tokens come back. */
static void test_charge_of_a_refused_request_is_given_back(void **state)
{
    struct store_fixture f;

    store_start_up(&f, state);
    for (int i = 0; i < STORE_BURST; i++)
        (void)store_expect(&f, LIMIT_ALLOWED, LIMIT_MODE_REDIS);
    f.spent = 5; /* somebody gave tokens back; the table does not know */
    STORE_ACTS(&f, STORE_HOLD, STORE_DECIDE);
    (void)store_expect(&f, LIMIT_DENIED, LIMIT_MODE_FALLBACK);
    store_release(&f);
    assert_int_equal((int)f.spent, 6);
    STORE_UNTIL(&f, f.spent == 5);
    store_teardown(&f);
}

/* A store that takes no script at all: each decision is the table's, and after some nobody asks. */
static void test_no_script_for_ever_is_a_failure(void **state)
{
    struct store_fixture f;

    store_start_up(&f, state);
    STORE_ACTS(&f, STORE_NO_SCRIPT);
    f.fails_script_probes = true;
    for (int i = 0; i < 3; i++)
        (void)store_expect(&f, LIMIT_ALLOWED, LIMIT_MODE_FALLBACK);
    assert_false(store_has_redis(&f));
    loop_run_for(f.loop, 500);
    assert_false(store_has_redis(&f));
    store_teardown(&f);
}

/* It is the script that ends the connection: a SET that works is no recovery. */
static void test_script_that_ends_connections(void **state)
{
    struct store_fixture f;

    store_start_up(&f, state);
    STORE_ACTS(&f, STORE_CUT);
    f.fails_script_probes = true;
    (void)store_expect(&f, LIMIT_ALLOWED, LIMIT_MODE_FALLBACK);
    STORE_UNTIL(&f, f.script_probes > 0);
    loop_run_for(f.loop, 500);
    assert_false(store_has_redis(&f));
    f.fails_script_probes = false;
    store_find_redis(&f);
    store_teardown(&f);
}

static void test_breaker(void **state)
{
    struct store_fixture f;
    struct limit_status status;
    unsigned evalshas;

    store_start_up(&f, state);
    (void)store_expect(&f, LIMIT_ALLOWED, LIMIT_MODE_REDIS);
    STORE_ACTS(&f, STORE_SILENT);
    f.fails_probes = true;
    for (int i = 0; i < 3; i++)
        assert_in_range(store_expect(&f, LIMIT_ALLOWED, LIMIT_MODE_FALLBACK), STORE_TIMEOUT_MS,
                        STORE_TARDY_MS);
    assert_false(store_has_redis(&f));
    limit_shared_status(f.shared, &status);
    assert_string_equal(status.reason, "socket_timeout");
    evalshas = f.evalshas;
    for (int i = 0; i < 3; i++)
        store_expect_at_once(&f, LIMIT_ALLOWED, LIMIT_MODE_FALLBACK);
    assert_int_equal(f.evalshas, evalshas); /* decided without Redis */
    store_find_redis(&f);
    /* Three came after the breaker opened, three timed out unheard and end with their connection.
     */
    STORE_UNTIL(&f, f.spent >= 4);
    (void)store_expect(&f, LIMIT_ALLOWED, LIMIT_MODE_REDIS);
    store_teardown(&f);
}

/* Each decision that a stall fails counts; once the stall is over the probe finds that out at once,
 * and proves that the script is answered. */
static void test_stall_opens_the_breaker_for_a_moment(void **state)
{
    struct store_fixture f;
    struct store_answer answers[3];
    struct stopwatch opened;

    store_start_up(&f, state);
    STORE_ACTS(&f, STORE_HOLD, STORE_HOLD, STORE_HOLD, STORE_DECIDE);
    for (size_t i = 0; i < COUNT_OF(answers); i++)
        store_ask(&f, &answers[i]);
    STORE_UNTIL(&f, !store_has_redis(&f));
    stopwatch_start(&opened);
    for (size_t i = 0; i < COUNT_OF(answers); i++)
        assert_true(answers[i].is_done && answers[i].decision.mode == LIMIT_MODE_FALLBACK);
    STORE_UNTIL(&f, store_has_redis(&f));
    assert_in_range(stopwatch_own_ms(&opened), 0, STORE_QUICK_MS);
    assert_int_equal(f.script_probes, 1);
    assert_int_equal((int)f.spent, 3); /* charged once each, late as they were */
    (void)store_expect(&f, LIMIT_ALLOWED, LIMIT_MODE_REDIS);
    store_teardown(&f);
}

/* On a full store a denial succeeds: it neither keeps the breaker closed nor closes it. */
static void test_denials_prove_nothing(void **state)
{
    struct store_fixture f;

    store_start_up(&f, state);
    f.fails_probes = true;
    f.query.key = SLICE("user:2");
    STORE_ACTS(&f, STORE_OOM, STORE_ODD, STORE_OOM, STORE_ODD, STORE_OOM);
    for (int i = 0; i < 5; i++)
        (void)store_expect(&f, LIMIT_ALLOWED, LIMIT_MODE_FALLBACK);
    assert_false(store_has_redis(&f));
    loop_run_for(f.loop, 500);
    assert_false(store_has_redis(&f));
    store_teardown(&f);
}

static void test_read_only_drops_the_connection(void **state)
{
    struct store_fixture f;

    store_start_up(&f, state);
    STORE_ACTS(&f, STORE_READ_ONLY, STORE_DECIDE);
    store_expect_at_once(&f, LIMIT_ALLOWED, LIMIT_MODE_FALLBACK);
    STORE_UNTIL(&f, fake_redis_accepted(f.fake) == 2);
    STORE_UNTIL(&f, store_has_redis(&f));
    STORE_UNTIL(&f, f.spent == 1);
    store_teardown(&f);
}

static void test_wrong_shape_drops_the_connection(void **state)
{
    struct store_fixture f;

    store_start_up(&f, state);
    STORE_ACTS(&f, STORE_SHAPE, STORE_DECIDE);
    store_expect_at_once(&f, LIMIT_ALLOWED, LIMIT_MODE_FALLBACK);
    STORE_UNTIL(&f, fake_redis_accepted(f.fake) == 2 && store_has_redis(&f));
    store_teardown(&f);
}

/* A store that takes writes but not the script stays down, with one line in the log. */
static void test_probe_runs_the_script_after_its_errors(void **state)
{
    struct store_fixture f;

    store_start_up(&f, state);
    assert_int_equal(f.script_probes, 0);
    f.fails_script_probes = true;
    STORE_ACTS(&f, STORE_OOM);
    while (store_has_redis(&f))
        (void)store_expect(&f, LIMIT_ALLOWED, LIMIT_MODE_FALLBACK);
    loop_run_for(f.loop, 700);
    assert_false(store_has_redis(&f));
    assert_in_range(f.script_probes, 2, 4);
    f.fails_script_probes = false;
    store_find_redis(&f);
    STORE_UNTIL(&f, f.spent == 3);
    store_teardown(&f);
}

/* A key that is not ours is decided here, and owes nothing. */
static void test_odd_key(void **state)
{
    struct store_fixture f;

    store_start_up(&f, state);
    STORE_ACTS(&f, STORE_ODD);
    for (int i = 0; i < STORE_BURST; i++)
        (void)store_expect(&f, LIMIT_ALLOWED, LIMIT_MODE_FALLBACK);
    (void)store_expect(&f, LIMIT_DENIED, LIMIT_MODE_FALLBACK);
    assert_true(store_has_redis(&f));
    STORE_ACTS(&f, STORE_DECIDE);
    loop_run_for(f.loop, 300);
    assert_int_equal((int)f.spent, 0);
    store_teardown(&f);
}

/* What comes back in a window as fast and as long as can be is more than an integer holds. */
static void test_ahead_of_the_clock_by_more_than_counts(void **state)
{
    struct store_fixture f;
    struct limit_window window;
    struct limit_decision decision;
    struct error error;

    store_setup(&f, state);
    f.policy = (struct limit_policy){.window_count = 0};
    assert_true(limit_window_init(&window, 300000007, 1, STORE_PERIOD_MS, &error));
    assert_true(limit_policy_add(&f.policy, &window, &error));
    store_start(&f);
    STORE_UNTIL(&f, store_has_redis(&f));
    STORE_ACTS(&f, STORE_AHEAD);
    (void)store_expect(&f, LIMIT_ALLOWED, LIMIT_MODE_REDIS);
    limiter_peek_local(f.limiter, &f.query, &decision);
    assert_int_equal(decision.outcome, LIMIT_DENIED);
    store_teardown(&f);
}

static void test_on_failure(void **state)
{
    struct store_fixture f;

    store_start_up(&f, state);
    store_lose_redis(&f);
    f.query.on_failure = LIMIT_ON_FAILURE_ALLOW;
    (void)store_expect(&f, LIMIT_UNLIMITED, LIMIT_MODE_FALLBACK);
    f.query.on_failure = LIMIT_ON_FAILURE_DENY;
    (void)store_expect(&f, LIMIT_STORE_FAILED, LIMIT_MODE_FALLBACK);
    store_teardown(&f);
}

static void test_cancel(void **state)
{
    struct store_fixture f;
    struct store_answer answer;

    store_start_up(&f, state);
    store_ask(&f, &answer); /* sent */
    limiter_cancel(&answer.call);
    limiter_cancel(&answer.call);
    STORE_UNTIL(&f, f.spent == 1);
    STORE_ACTS(&f, STORE_HOLD, STORE_DECIDE);
    store_ask(&f, &answer); /* sent, and the reply comes after the deadline */
    limiter_cancel(&answer.call);
    loop_run_for(f.loop, STORE_TIMEOUT_MS * 2);
    store_release(&f);
    loop_run_for(f.loop, 10);
    STORE_ACTS(&f, STORE_CUT, STORE_SILENT);
    store_ask(&f, &answer); /* lost */
    loop_run_for(f.loop, 1);
    limiter_cancel(&answer.call);
    loop_run_for(f.loop, STORE_TIMEOUT_MS * 2);
    assert_false(answer.is_done);
    store_ask(&f, &answer);
    store_teardown(&f); /* with one under way */
    assert_false(answer.is_done);
}

static void test_absent_at_the_start(void **state)
{
    struct store_fixture f;
    struct limit_status status;

    store_setup(&f, state);
    fake_redis_destroy(&f.fake);
    store_start(&f);
    (void)store_expect(&f, LIMIT_ALLOWED, LIMIT_MODE_FALLBACK);
    STORE_UNTIL(&f, limit_shared_is_known(f.shared));
    assert_false(store_has_redis(&f));
    limit_shared_status(f.shared, &status);
    assert_true(status.is_configured);
    assert_string_equal(status.reason, "connection refused");
    store_teardown(&f);
}

/* Connected in time, and then no answer: that is no matter of connecting. */
static void test_silent_at_the_start(void **state)
{
    struct store_fixture f;
    struct limit_status status;

    store_setup(&f, state);
    f.ignores_probes = true;
    store_start(&f);
    STORE_UNTIL(&f, redis_client_is_ready(f.client));
    limit_shared_end_wait(f.shared);
    assert_false(store_has_redis(&f));
    limit_shared_status(f.shared, &status);
    assert_string_equal(status.reason, "socket_timeout");
    store_teardown(&f);
}

static void test_not_connected_at_the_start(void **state)
{
    struct store_fixture f;
    struct limit_status status;

    store_setup(&f, state);
    store_start(&f);
    limit_shared_end_wait(f.shared);
    limit_shared_status(f.shared, &status);
    assert_string_equal(status.reason, "socket_connect_timeout");
    store_teardown(&f);
}

/* An instance that ends is not counted until it would have been found dead. */
static void test_leave(void **state)
{
    struct store_fixture f;

    store_setup(&f, state);
    f.options.fallback_share = 0;
    store_start(&f);
    STORE_UNTIL(&f, f.heartbeats == 1);
    limiter_leave(f.limiter);
    STORE_UNTIL(&f, f.farewells == 1);
    limiter_leave(f.limiter); /* nothing to take back any more */
    loop_run_for(f.loop, 50);
    assert_int_equal(f.farewells, 1);
    store_teardown(&f);
}

static void test_refused(void **state)
{
    struct store_fixture f;
    struct limit_status status;

    store_setup(&f, state);
    limit_shared_refuse(f.shared, "no host is named");
    assert_true(limit_shared_is_known(f.shared));
    assert_false(store_has_redis(&f));
    limit_shared_status(f.shared, &status);
    assert_string_equal(status.reason, "invalid REDIS_URL: no host is named");
    store_teardown(&f);
}

int main(void)
{
#define LOOP_TEST(f) cmocka_unit_test_setup_teardown(f, loop_fixture_setup, loop_fixture_teardown)
    const struct CMUnitTest tests[] = {
        LOOP_TEST(test_decisions),
        LOOP_TEST(test_script_is_sent_whole_when_unknown),
        LOOP_TEST(test_lost_connection_is_tried_once_more),
        LOOP_TEST(test_unused_connection_comes_back_each_time),
        LOOP_TEST(test_late_reply),
        LOOP_TEST(test_late_reply_that_charged_nothing),
        LOOP_TEST(test_reply_that_is_there_wins),
        LOOP_TEST(test_command_that_leaves_late),
        LOOP_TEST(test_late_replies_open_the_breaker),
        LOOP_TEST(test_late_without_a_timeout_is_no_failure),
        LOOP_TEST(test_charge_of_a_refused_request_is_given_back),
        LOOP_TEST(test_no_script_for_ever_is_a_failure),
        LOOP_TEST(test_script_that_ends_connections),
        LOOP_TEST(test_breaker),
        LOOP_TEST(test_stall_opens_the_breaker_for_a_moment),
        LOOP_TEST(test_denials_prove_nothing),
        LOOP_TEST(test_read_only_drops_the_connection),
        LOOP_TEST(test_wrong_shape_drops_the_connection),
        LOOP_TEST(test_probe_runs_the_script_after_its_errors),
        LOOP_TEST(test_odd_key),
        LOOP_TEST(test_ahead_of_the_clock_by_more_than_counts),
        LOOP_TEST(test_on_failure),
        LOOP_TEST(test_cancel),
        LOOP_TEST(test_absent_at_the_start),
        LOOP_TEST(test_silent_at_the_start),
        LOOP_TEST(test_not_connected_at_the_start),
        LOOP_TEST(test_leave),
        LOOP_TEST(test_refused),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
