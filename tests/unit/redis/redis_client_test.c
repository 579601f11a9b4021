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

#include "fake_redis.h"
#include "loop_fixture.h"

/* A client, what it says, and a fake to talk to. */
struct fixture {
    struct loop *loop;
    struct resolver *resolver;
    struct redis_options options;
    char url[128];
    struct redis_shared *shared;
    struct redis_client *client;
    struct fake_redis *fake;
    const char *answer;   /* the script's reply to anything but a greeting; NULL = none */
    const char *greeting; /* the script's reply to any command of a greeting; NULL = as Redis */
    bool cuts;            /* after the answer */
    bool is_up;
    bool is_down;
    bool was_returning; /* when it went down */
    unsigned ups;
    unsigned downs;
    unsigned losses;
    unsigned round_trips;
    unsigned reasons; /* a bit for each that was told */
    struct redis_failure failure;
    struct timespec time_delay; /* before the answer to TIME can be read */
};

/* What became of one command. */
struct outcome {
    bool is_done;
    enum redis_outcome outcome;
    char text[128];
    int64_t integer;
    struct redis_client *next; /* send another from the callback */
};

static void on_ready(void *arg)
{
    struct fixture *f = arg;

    f->is_up = true;
    f->is_down = false;
    f->ups++;
}

static void on_down(void *arg, const struct redis_failure *failure, bool was_ready)
{
    struct fixture *f = arg;

    f->is_up = false;
    f->is_down = true;
    f->was_returning = redis_client_is_returning(f->client);
    f->downs++;
    f->losses += was_ready;
    f->failure = *failure;
    f->reasons |= 1U << failure->reason;
}

static void on_round_trip(void *arg, int64_t us)
{
    struct fixture *f = arg;

    assert_true(us >= 0);
    f->round_trips++;
}

static const struct redis_client_handler handler = {
    .on_ready = on_ready,
    .on_down = on_down,
    .on_round_trip = on_round_trip,
};

static void script(void *arg,
                   struct fake_redis_connection *connection,
                   const struct fake_redis_command *command)
{
    struct fixture *f = arg;

    if (f->greeting != NULL) {
        fake_redis_reply(connection, f->greeting);
        return;
    }
    if (fake_redis_greet(connection, command)) {
        if (strcmp(command->arguments[0], "TIME") == 0 && f->time_delay.tv_nsec > 0)
            (void)nanosleep(&f->time_delay, NULL); /* nobody reads the answer meanwhile */
        return;
    }
    if (f->answer != NULL)
        fake_redis_reply(connection, f->answer);
    if (f->cuts)
        fake_redis_cut(connection);
}

static void setup(struct fixture *f, void **state)
{
    memset(f, 0, sizeof(*f));
    f->loop = *state;
    f->resolver = resolver_create();
    f->options.connect_timeout_ms = 300;
    f->options.backoff_min_ms = 10;
    f->options.backoff_max_ms = 40;
    f->options.url = f->url;
}

static void start(struct fixture *f)
{
    struct error error = {""};

    f->shared = redis_shared_create(&f->options, f->resolver, &error);
    assert_string_equal(error.text, "");
    assert_non_null(f->shared);
    f->client = redis_client_create(f->loop, f->shared, "test");
    redis_client_start(f->client, &handler, f, "return 1");
}

static void start_with_fake(struct fixture *f, void **state)
{
    setup(f, state);
    f->fake = fake_redis_create(f->loop, script, f);
    (void)snprintf(f->url, sizeof(f->url), "redis://127.0.0.1:%u", fake_redis_port(f->fake));
    start(f);
}

static void teardown(struct fixture *f)
{
    redis_client_destroy(&f->client);
    redis_shared_destroy(&f->shared);
    fake_redis_destroy(&f->fake);
    resolver_destroy(&f->resolver);
}

static void on_done(void *arg, const struct redis_result *result)
{
    struct outcome *outcome = arg;
    struct slice text = {"", 0};

    assert_false(outcome->is_done);
    outcome->is_done = true;
    outcome->outcome = result->outcome;
    if (redis_reply_is_error(result->reply, &text) || redis_reply_is_string(result->reply, &text))
        (void)snprintf(outcome->text, sizeof(outcome->text), "%.*s", SLICE_PRINT(text));
    (void)redis_reply_is_integer(result->reply, &outcome->integer);
}

static struct redis_call *
ask(struct fixture *f, struct outcome *outcome, int64_t timeout_ms, const char *word)
{
    struct redis_call *call = NULL;
    struct slice arguments[8];
    struct slice rest = slice_of(word);
    size_t count = 0;

    memset(outcome, 0, sizeof(*outcome));
    while (slice_cut(&rest, ' ', &arguments[count]))
        count++;
    if (redis_client_command(f->client, arguments, count, timeout_ms, on_done, outcome, &call) ==
        PROGRESS_DONE) {
        outcome->is_done = true;
        outcome->outcome = REDIS_NOT_SENT;
        return NULL;
    }
    assert_false(outcome->is_done);
    return call;
}

static void expect_reply(struct fixture *f, const char *command, const char *text)
{
    struct outcome outcome;

    (void)ask(f, &outcome, 1000, command);
    loop_fixture_run_until(f->loop, &outcome.is_done);
    assert_int_equal(outcome.outcome, REDIS_REPLIED);
    assert_string_equal(outcome.text, text);
}

/* Each failure counts, also one that another followed within a turn. */
static void expect_down(struct fixture *f, enum redis_reason reason)
{
    int64_t end_ms = clock_monotonic_ms() + LOOP_FIXTURE_CAP_MS;

    while ((f->reasons & 1U << reason) == 0) {
        if (clock_monotonic_ms() > end_ms)
            fail_msg("no \"%s\" but \"%s: %s\"", redis_reason_names[reason],
                     redis_reason_names[f->failure.reason], f->failure.detail);
        loop_run_for(f->loop, 1);
    }
    f->reasons = 0;
}

/* What the time was stands while a later connection's word on it, read late, can agree. */
static void test_time_of_a_new_connection_that_is_read_late(void **state)
{
    struct fixture f;

    start_with_fake(&f, state);
    loop_fixture_run_until(f.loop, &f.is_up);
    f.time_delay.tv_nsec = 200 * 1000000;
    f.is_up = false;
    fake_redis_cut_all(f.fake);
    loop_fixture_run_until(f.loop, &f.is_up);
    assert_in_range(redis_client_server_ms(f.client, loop_now_ms(f.loop)) - clock_wall_ms() + 100,
                    0, 200);
    teardown(&f);
}

static void test_commands(void **state)
{
    struct fixture f;
    struct outcome outcomes[100];
    int64_t before_ms;

    start_with_fake(&f, state);
    f.answer = "+fine\r\n";
    (void)ask(&f, &outcomes[0], 0, "PING");
    assert_int_equal(outcomes[0].outcome, REDIS_NOT_SENT);
    loop_fixture_run_until(f.loop, &f.is_up);
    assert_string_equal(redis_client_script_sha(f.client),
                        "0123456789012345678901234567890123456789");
    before_ms = clock_wall_ms();
    assert_in_range(redis_client_server_ms(f.client, loop_now_ms(f.loop)) - before_ms + 100, 0,
                    200);
    for (size_t i = 0; i < COUNT_OF(outcomes); i++)
        (void)ask(&f, &outcomes[i], 1000, "A bc");
    assert_int_equal(redis_client_in_flight(f.client), COUNT_OF(outcomes));
    loop_fixture_run_until(f.loop, &outcomes[COUNT_OF(outcomes) - 1].is_done);
    for (size_t i = 0; i < COUNT_OF(outcomes); i++)
        assert_string_equal(outcomes[i].text, "fine");
    assert_int_equal(f.round_trips, 3 + COUNT_OF(outcomes));
    assert_int_equal(redis_client_in_flight(f.client), 0);
    teardown(&f);
}

static void test_bound(void **state)
{
    struct fixture f;
    static struct outcome outcomes[REDIS_CLIENT_MAX_IN_FLIGHT + 1];

    setup(&f, state);
    f.options.connect_timeout_ms = 60000; /* nothing is answered, and nothing stalls */
    f.fake = fake_redis_create(f.loop, script, &f);
    (void)snprintf(f.url, sizeof(f.url), "redis://127.0.0.1:%u", fake_redis_port(f.fake));
    start(&f);
    loop_fixture_run_until(f.loop, &f.is_up);
    for (size_t i = 0; i < REDIS_CLIENT_MAX_IN_FLIGHT; i++)
        assert_non_null(ask(&f, &outcomes[i], 0, "A"));
    assert_null(ask(&f, &outcomes[REDIS_CLIENT_MAX_IN_FLIGHT], 0, "A"));
    loop_run_for(f.loop, 50);
    teardown(&f); /* with all of them pending: no callback */
    assert_false(outcomes[0].is_done);
}

/* One command without a reply fails alone, and its late reply meets nobody. */
static void test_deadline(void **state)
{
    struct fixture f;
    struct outcome slow;
    struct outcome cancelled;
    struct redis_call *call;

    start_with_fake(&f, state);
    loop_fixture_run_until(f.loop, &f.is_up);
    (void)ask(&f, &slow, 20, "A");
    call = ask(&f, &cancelled, 20, "B");
    redis_client_cancel(&call);
    assert_null(call);
    redis_client_cancel(&call);
    loop_fixture_run_until(f.loop, &slow.is_done);
    assert_int_equal(slow.outcome, REDIS_TIMED_OUT);
    assert_false(cancelled.is_done);
    f.answer = "+late\r\n+late\r\n+mine\r\n"; /* to the third command, for all three */
    expect_reply(&f, "C", "mine");
    assert_false(cancelled.is_done);
    assert_true(f.is_up);
    teardown(&f);
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
        struct fixture f;
        struct outcome outcome;

        start_with_fake(&f, state);
        loop_fixture_run_until(f.loop, &f.is_up);
        f.answer = garbage[i];
        (void)ask(&f, &outcome, 0, "A");
        expect_down(&f, REDIS_REASON_BAD_REPLY);
        assert_true(outcome.is_done);
        f.answer = "+fine\r\n";
        loop_fixture_run_until(f.loop, &f.is_up);
        expect_reply(&f, "B", "fine");
        teardown(&f);
    }
}

/* Words that no command asked for would be an assertion in hiredis. */
static void test_unasked(void **state)
{
    static const char *const unasked[] = {"+OK\r\n", ":1\r\n", "*0\r\n", "+par",
                                          "-ERR max number of clients reached\r\n"};

    for (size_t i = 0; i < COUNT_OF(unasked); i++) {
        struct fixture f;

        start_with_fake(&f, state);
        loop_fixture_run_until(f.loop, &f.is_up);
        fake_redis_push(f.fake, unasked[i]);
        expect_down(&f, unasked[i][0] == '-' ? REDIS_REASON_REFUSED : REDIS_REASON_BAD_REPLY);
        teardown(&f);
    }
}

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
        struct fixture f;

        start_with_fake(&f, state);
        f.greeting = cases[i].reply;
        expect_down(&f, cases[i].reason);
        assert_int_equal(f.ups, 0);
        teardown(&f);
    }
}

/* A loss in use is mended at once, a failure after it is backed off, and never more than ten a
 * second. */
static void test_returning(void **state)
{
    struct fixture f;
    struct outcome outcome;
    int64_t lost_ms;

    start_with_fake(&f, state);
    loop_fixture_run_until(f.loop, &f.is_up);
    redis_client_confirm(f.client);
    f.cuts = true;
    (void)ask(&f, &outcome, 1000, "A");
    loop_fixture_run_until(f.loop, &outcome.is_done);
    lost_ms = clock_monotonic_ms();
    assert_int_equal(outcome.outcome, REDIS_LOST);
    assert_int_equal(f.failure.reason, REDIS_REASON_CLOSED);
    assert_true(f.was_returning);
    loop_fixture_run_until(f.loop, &f.is_up);
    assert_false(redis_client_is_returning(f.client));
    assert_in_range(clock_monotonic_ms() - lost_ms, 0, 30);
    /* Not confirmed: each further one waits. */
    f.is_up = false;
    (void)ask(&f, &outcome, 1000, "A");
    loop_fixture_run_until(f.loop, &outcome.is_done);
    assert_false(f.was_returning);
    teardown(&f);
}

static void test_budget(void **state)
{
    struct fixture f;
    struct redis_client *others[4];

    setup(&f, state);
    f.fake = fake_redis_create(f.loop, script, &f);
    f.greeting = "-LOADING x\r\n";
    (void)snprintf(f.url, sizeof(f.url), "redis://127.0.0.1:%u", fake_redis_port(f.fake));
    start(&f);
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
    teardown(&f);
}

/* A store that accepts and says nothing is dropped after connect_timeout. */
static void test_stall(void **state)
{
    struct fixture f;
    struct outcome outcome;

    start_with_fake(&f, state);
    loop_fixture_run_until(f.loop, &f.is_up);
    (void)ask(&f, &outcome, 10, "A");
    expect_down(&f, REDIS_REASON_TIMEOUT);
    assert_int_equal(outcome.outcome, REDIS_TIMED_OUT);
    assert_int_equal(f.losses, 1);
    teardown(&f);
}

static void test_unreachable(void **state)
{
    struct fixture f;

    setup(&f, state);
    f.fake = fake_redis_create(f.loop, script, &f);
    (void)snprintf(f.url, sizeof(f.url), "redis://127.0.0.1:%u", fake_redis_port(f.fake));
    fake_redis_destroy(&f.fake);
    start(&f);
    expect_down(&f, REDIS_REASON_REFUSED);
    teardown(&f);

    setup(&f, state);
    (void)snprintf(f.url, sizeof(f.url), "unix:///nonexistent/redis.sock");
    start(&f);
    expect_down(&f, REDIS_REASON_REFUSED);
    assert_non_null(strstr(f.failure.detail, "No such file"));
    teardown(&f);

    setup(&f, state);
    (void)snprintf(f.url, sizeof(f.url), "redis://name.invalid");
    start(&f);
    expect_down(&f, REDIS_REASON_NAME);
    teardown(&f);
}

/* Every stage may be cut off by the end of the client. */
static void test_destroy_early(void **state)
{
    for (int turns = 0; turns < 8; turns++) {
        struct fixture f;

        start_with_fake(&f, state);
        for (int i = 0; i < turns; i++)
            loop_run_for(f.loop, 0);
        teardown(&f);
    }
}

static void test_drop(void **state)
{
    struct fixture f;
    struct redis_failure failure;
    struct outcome outcome;

    start_with_fake(&f, state);
    loop_fixture_run_until(f.loop, &f.is_up);
    redis_client_confirm(f.client);
    (void)ask(&f, &outcome, 0, "A");
    redis_failure_set(&failure, REDIS_REASON_READ_ONLY, "x");
    redis_client_drop(f.client, &failure);
    redis_client_drop(f.client, &failure);
    assert_false(outcome.is_done);
    expect_down(&f, REDIS_REASON_READ_ONLY);
    assert_int_equal(outcome.outcome, REDIS_LOST);
    assert_false(redis_client_is_returning(f.client));
    loop_fixture_run_until(f.loop, &f.is_up);
    teardown(&f);
}

static void test_clock(void **state)
{
    struct fixture f;
    struct clock_time now = {.monotonic_us = 5000000, .wall_us = 1700000000000000};

    start_with_fake(&f, state);
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
    /* A jump back is believed at once. */
    redis_client_note_time(f.client, 500, 99);
    assert_int_equal(redis_client_server_ms(f.client, 100), 500);
    loop_fake_time(f.loop, NULL);
    teardown(&f);
}

static void test_real(void **state)
{
    static const char *const arguments[] = {"--requirepass", "se cret", NULL};
    static const char *const changed[] = {"--requirepass", "other", NULL};
    struct real_redis redis;
    struct fixture f;

    assert_true(real_redis_start(&redis, arguments));
    setup(&f, state);
    (void)snprintf(f.url, sizeof(f.url), "redis://default:se%%20cret@127.0.0.1:%u/3", redis.port);
    start(&f);
    loop_fixture_run_until(f.loop, &f.is_up);
    redis_client_confirm(f.client);
    assert_int_equal(strlen(redis_client_script_sha(f.client)), 40);
    expect_reply(&f, "SET key value", "OK");
    expect_reply(&f, "GET key", "value");
    expect_reply(&f, "CLIENT GETNAME", "test");
    expect_reply(&f, "SELECT 0", "OK");
    expect_reply(&f, "GET key", "");
    real_redis_stop(&redis);
    expect_down(&f, REDIS_REASON_CLOSED);
    expect_down(&f, REDIS_REASON_REFUSED);
    assert_true(real_redis_restart(&redis, changed));
    expect_down(&f, REDIS_REASON_AUTHENTICATION);
    teardown(&f);
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
        LOOP_TEST(test_greeting_fails),
        LOOP_TEST(test_time_of_a_new_connection_that_is_read_late),
        LOOP_TEST(test_returning),
        LOOP_TEST(test_budget),
        LOOP_TEST(test_stall),
        LOOP_TEST(test_unreachable),
        LOOP_TEST(test_destroy_early),
        LOOP_TEST(test_drop),
        LOOP_TEST(test_clock),
        LOOP_TEST(test_real),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
