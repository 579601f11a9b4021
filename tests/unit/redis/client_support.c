/* SPDX-License-Identifier: MIT */
/* A redis_client over a scripted store, and short ways to ask it. */
#include "client_support.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

#include "kamiyo/base/clock.h"
#include "kamiyo/net/resolver.h"

#include "support/loop_fixture.h"

static void on_ready(void *arg)
{
    struct client_fixture *f = arg;

    f->is_up = true;
    f->is_down = false;
    f->ups++;
}

static void on_down(void *arg, const struct redis_failure *failure, bool was_ready)
{
    struct client_fixture *f = arg;

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
    struct client_fixture *f = arg;

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
    struct client_fixture *f = arg;

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

void client_setup(struct client_fixture *f, void **state)
{
    memset(f, 0, sizeof(*f));
    f->loop = *state;
    f->resolver = resolver_create();
    f->options.connect_timeout_ms = 300;
    f->options.backoff_min_ms = 10;
    f->options.backoff_max_ms = 40;
    f->options.url = f->url;
}

void client_use_fake(struct client_fixture *f)
{
    f->fake = fake_redis_create(f->loop, script, f);
    (void)snprintf(f->url, sizeof(f->url), "redis://127.0.0.1:%u", fake_redis_port(f->fake));
}

void client_start(struct client_fixture *f)
{
    struct error error = {""};

    f->shared = redis_shared_create(&f->options, f->resolver, &error);
    assert_string_equal(error.text, "");
    assert_non_null(f->shared);
    f->client = redis_client_create(f->loop, f->shared, "test");
    redis_client_start(f->client, &handler, f, "return 1");
}

void client_start_with_fake(struct client_fixture *f, void **state)
{
    client_setup(f, state);
    client_use_fake(f);
    client_start(f);
}

void client_teardown(struct client_fixture *f)
{
    redis_client_destroy(&f->client);
    redis_shared_destroy(&f->shared);
    fake_redis_destroy(&f->fake);
    resolver_destroy(&f->resolver);
}

static void on_done(void *arg, const struct redis_result *result)
{
    struct client_outcome *outcome = arg;
    struct slice text = {"", 0};

    assert_false(outcome->is_done);
    outcome->is_done = true;
    outcome->outcome = result->outcome;
    if (redis_reply_is_error(result->reply, &text) || redis_reply_is_string(result->reply, &text))
        (void)snprintf(outcome->text, sizeof(outcome->text), "%.*s", SLICE_PRINT(text));
    (void)redis_reply_is_integer(result->reply, &outcome->integer);
}

struct redis_call *client_ask(struct client_fixture *f,
                              struct client_outcome *outcome,
                              int64_t timeout_ms,
                              const char *word)
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

void client_expect_reply(struct client_fixture *f, const char *command, const char *text)
{
    struct client_outcome outcome;

    (void)client_ask(f, &outcome, 1000, command);
    loop_fixture_run_until(f->loop, &outcome.is_done);
    assert_int_equal(outcome.outcome, REDIS_REPLIED);
    assert_string_equal(outcome.text, text);
}

void client_expect_down(struct client_fixture *f, enum redis_reason reason)
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
