/* SPDX-License-Identifier: MIT */
/*
 * /api/events: an event a second while somebody watches and nothing otherwise,
 * bounds on streams and on readers that do not read, ends.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include <cmocka.h>
#include <jansson.h>

#include "kamiyo/base/clock.h"
#include "kamiyo/observe/denials.h"

#include "admin_support.h"
#include "loop_fixture.h"

static const char watch[] = "GET /api/events HTTP/1.1\r\nHost: localhost\r\n\r\n";
static struct clock_time now;

/* The loop's clock stands until it is moved on. */
static void hold_clock(struct loop *loop)
{
    now = *loop_now(loop);
    now.monotonic_us -= now.monotonic_us % 1000;
    loop_fake_time(loop, &now);
}

static void advance(int64_t ms)
{
    now.monotonic_us += ms * 1000;
    now.wall_us += ms * 1000;
    loop_fake_time(fixture.loop, &now);
    admin_support_listen_for(10);
}

static void begin_watch(void)
{
    admin_support_dial();
    admin_support_say(watch, sizeof(watch) - 1);
    admin_support_listen_for(20);
}

static size_t count_events(void)
{
    size_t count = 0;

    for (const char *at = fixture.response; (at = strstr(at, "\ndata: {\"time_ms\"")) != NULL; at++)
        count++;
    return count;
}

/* The last event that has come, whole. */
static json_t *load_event(void)
{
    const char *last = NULL;
    json_t *event;

    for (const char *at = fixture.response; (at = strstr(at, "\ndata: {")) != NULL; at++)
        last = at + 7;
    assert_non_null(last);
    assert_non_null(strstr(last, "}\n\n"));
    event = json_loads(last, JSON_DISABLE_EOF_CHECK, NULL);
    assert_non_null(event);
    return event;
}

static double number(const json_t *object, const char *group, const char *name)
{
    const json_t *value =
        json_object_get(group != NULL ? json_object_get(object, group) : object, name);

    assert_non_null(value);
    return json_number_value(value);
}

static void count_denied(int times)
{
    struct metrics_shard *shard = metrics_shard(fixture.metrics, 0);

    for (int i = 0; i < times; i++) {
        metrics_count_decision(shard, SLICE("denied"), SLICE("memory"), SLICE("free"),
                               SLICE("minute"));
        metrics_count_request(shard, 429, SLICE("default"), SLICE("free"));
        metrics_observe_us(shard, METRICS_REQUEST_SECONDS, 300);
    }
}

static void test_rates(void **state)
{
    static const struct denials_client client = {
        .denied = 4, .denied_at_most = 4, .key_length = 6, .key = "user:a"};
    static const struct admin_endpoint endpoint = {.name = "127.0.0.1:8000", .requests = 5};
    json_t *event;

    admin_support_start(*state, "");
    hold_clock(*state);
    count_denied(100); /* before anybody watches */
    fixture.survey = (struct admin_survey){&client, 1, &endpoint, 1};
    begin_watch();
    admin_support_assert_field("Content-Type: text/event-stream\r\n");
    admin_support_assert_field("Connection: close\r\n");
    assert_null(strstr(fixture.response, "Content-Length"));
    assert_int_equal(count_events(), 1);
    event = load_event();
    assert_true(number(event, NULL, "interval_ms") == 0);
    assert_true(number(event, NULL, "requests_per_second") == 0);
    assert_true(number(event, NULL, "denied_total") == 100);
    json_decref(event);

    count_denied(30);
    advance(2000); /* late: rates are of the time that passed */
    assert_int_equal(count_events(), 2);
    event = load_event();
    assert_true(number(event, NULL, "interval_ms") == 2000);
    assert_true(number(event, NULL, "requests_per_second") == 15);
    assert_true(number(event, "status_per_second", "4xx") == 15);
    assert_true(number(event, "status_per_second", "2xx") == 0);
    assert_true(number(event, "denied_per_second", "free") == 15);
    assert_true(number(event, "decisions_per_second", "denied") == 15);
    assert_true(number(event, "modes_per_second", "memory") == 15);
    assert_true(number(event, "duration_ms", "p50") == 0.25);
    assert_true(json_is_null(json_object_get(json_object_get(event, "limit_ms"), "p50")));
    assert_string_equal(json_string_value(json_object_get(
                            json_array_get(json_object_get(event, "clients"), 0), "key")),
                        "user:a");
    assert_string_equal(json_string_value(json_object_get(
                            json_array_get(json_object_get(event, "endpoints"), 0), "address")),
                        "127.0.0.1:8000");
    assert_non_null(json_object_get(event, "store"));
    json_decref(event);

    /* Times are of the last ten seconds, rates of the last one. */
    for (int i = 0; i < 9; i++)
        advance(1000);
    event = load_event();
    assert_true(number(event, NULL, "requests_per_second") == 0);
    assert_true(number(event, NULL, "times_of_ms") == 10000 ||
                number(event, NULL, "times_of_ms") == 11000);
    json_decref(event);
    advance(1000);
    advance(1000);
    event = load_event();
    assert_true(json_is_null(json_object_get(json_object_get(event, "duration_ms"), "p50")));
    json_decref(event);
    admin_support_stop();
}

static void test_nobody_watches(void **state)
{
    int surveys;

    admin_support_start(*state, "");
    hold_clock(*state);
    advance(5000);
    assert_int_equal(fixture.surveys, 0);
    begin_watch();
    advance(1000);
    assert_int_equal(fixture.surveys, 2);
    admin_support_hang_up();
    loop_run_for(fixture.loop, 20);
    surveys = fixture.surveys;
    for (int i = 0; i < 5; i++) {
        now.monotonic_us += 1000000;
        loop_fake_time(fixture.loop, &now);
        loop_run_for(fixture.loop, 2);
    }
    assert_int_equal(fixture.surveys, surveys);
    /* The next one begins anew. */
    begin_watch();
    assert_int_equal(count_events(), 1);
    assert_int_equal(fixture.surveys, surveys + 1);
    admin_support_stop();
}

static void test_busy_workers(void **state)
{
    admin_support_start(*state, "");
    hold_clock(*state);
    fixture.holds_survey = true;
    begin_watch();
    advance(1000);
    advance(1000);
    assert_int_equal(fixture.surveys, 1);
    assert_int_equal(count_events(), 0);
    assert_non_null(strstr(fixture.response, "\n: waiting for the workers\n\n"));
    admin_support_end_survey();
    admin_support_listen_for(10);
    assert_int_equal(count_events(), 1);
    /* One that leaves, and the end of everything, cancel a survey. */
    advance(1000);
    assert_int_equal(fixture.surveys, 2);
    admin_support_hang_up();
    loop_run_for(fixture.loop, 20);
    assert_int_equal(fixture.cancelled, 1);
    begin_watch();
    admin_support_stop();
    assert_int_equal(fixture.cancelled, 2);
}

static void test_many_streams(void **state)
{
    int clients[ADMIN_MAX_STREAMS];

    admin_support_start(*state, "");
    for (size_t i = 0; i < ADMIN_MAX_STREAMS; i++) {
        begin_watch();
        clients[i] = fixture.client;
        fixture.client = -1;
    }
    assert_int_equal(admin_support_ask("GET /api/events", ""), 503);
    close(clients[0]);
    loop_run_for(fixture.loop, 20);
    begin_watch();
    admin_support_assert_field("HTTP/1.1 200 OK\r\n");
    for (size_t i = 1; i < ADMIN_MAX_STREAMS; i++)
        close(clients[i]);
    admin_support_stop();
}

static void test_deaf_reader(void **state)
{
    int deaf;
    int small = 4096;
    int surveys = -1;
    int turns = 0;

    admin_support_start(*state, "");
    hold_clock(*state);
    fixture.status_bytes = 20000;
    admin_support_dial();
    deaf = fixture.client;
    assert_int_equal(setsockopt(deaf, SOL_SOCKET, SO_RCVBUF, &small, sizeof(small)), 0);
    admin_support_say(watch, sizeof(watch) - 1);
    fixture.client = -1;
    /* It never reads: some seconds of events fill what may wait for it. */
    while (surveys != fixture.surveys && turns++ < 600) {
        surveys = fixture.surveys;
        now.monotonic_us += 1000000;
        loop_fake_time(fixture.loop, &now);
        loop_run_for(fixture.loop, 2);
    }
    assert_true(surveys > 3 && surveys < 600);
    assert_int_equal(surveys, fixture.surveys);
    /* One that reads goes on. */
    begin_watch();
    for (int i = 0; i < 5; i++)
        advance(1000);
    assert_int_equal(count_events(), 6);
    close(deaf);
    admin_support_stop();
}

static void test_ends(void **state)
{
    admin_support_start(*state, "secret");
    assert_int_equal(admin_support_ask("GET /api/events", ""), 401);
    fixture.is_ready = false;
    assert_int_equal(admin_support_ask("GET /api/events", "Authorization: Bearer secret\r\n"), 503);
    fixture.is_ready = true;
    admin_set_token(fixture.admin, "");
    begin_watch();
    admin_end_events(fixture.admin);
    admin_support_listen_for(200);
    assert_true(fixture.is_ended);
    assert_non_null(strstr(fixture.response, "\nevent: end\ndata: {\"reason\": \"draining\"}\n\n"));
    /* So does another token end it. */
    begin_watch();
    admin_set_token(fixture.admin, "");
    admin_support_listen_for(20);
    assert_false(fixture.is_ended);
    admin_set_token(fixture.admin, "other");
    admin_support_listen_for(200);
    assert_true(fixture.is_ended);
    assert_non_null(strstr(fixture.response, "{\"reason\": \"token\"}\n\n"));
    admin_support_stop();
}

static void test_head(void **state)
{
    admin_support_start(*state, "");
    admin_support_dial();
    admin_support_say("HEAD /api/events HTTP/1.1\r\nHost: localhost\r\n\r\n", 46);
    admin_support_listen_for(200);
    assert_true(fixture.is_ended);
    admin_support_assert_field("Content-Type: text/event-stream\r\n");
    assert_string_equal(admin_support_body(), "");
    assert_int_equal(fixture.surveys, 0);
    admin_support_stop();
}

#define EVENTS_TEST(name) \
    cmocka_unit_test_setup_teardown(name, loop_fixture_setup, loop_fixture_teardown)

int main(void)
{
    const struct CMUnitTest tests[] = {
        EVENTS_TEST(test_rates),        EVENTS_TEST(test_nobody_watches),
        EVENTS_TEST(test_busy_workers), EVENTS_TEST(test_many_streams),
        EVENTS_TEST(test_deaf_reader),  EVENTS_TEST(test_ends),
        EVENTS_TEST(test_head),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
