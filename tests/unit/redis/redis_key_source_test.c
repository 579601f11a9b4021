/* SPDX-License-Identifier: MIT */
/* Keys looked up in a scripted Redis: what is asked for, every shape of answer, late, lost and
 * cancelled. */
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

#include "kamiyo/net/resolver.h"
#include "kamiyo/redis/redis_client.h"
#include "kamiyo/redis/redis_key_source.h"
#include "kamiyo/redis/redis_options.h"

#include "fake_redis.h"
#include "loop_fixture.h"

#define DIGEST_HEX "00ff100000000000000000000000000000000000000000000000000000000007"

static const uint8_t digest[KEY_SOURCE_DIGEST_BYTES] = {0x00, 0xff, 0x10, [31] = 0x07};

struct fixture {
    struct loop *loop;
    struct resolver *resolver;
    struct redis_options options;
    char url[64];
    struct redis_shared *shared;
    struct redis_client *client;
    struct fake_redis *fake;
    struct redis_key_source *source;
    const char *answer; /* NULL = none */
    char asked[256];
    bool is_up;
    bool is_asked;
    bool is_done;
    struct key_record record;
};

static void script(void *arg,
                   struct fake_redis_connection *connection,
                   const struct fake_redis_command *command)
{
    struct fixture *f = arg;
    size_t length = 0;

    if (fake_redis_greet(connection, command))
        return;
    f->asked[0] = '\0';
    for (size_t i = 0; i < command->count && length < sizeof(f->asked); i++)
        length += (size_t)snprintf(f->asked + length, sizeof(f->asked) - length, "%s%s",
                                   i > 0 ? " " : "", command->arguments[i]);
    f->is_asked = true;
    if (f->answer != NULL)
        fake_redis_reply(connection, f->answer);
}

static void on_ready(void *arg)
{
    struct fixture *f = arg;

    f->is_up = true;
}

static const struct redis_client_handler handler = {.on_ready = on_ready};

static void set_up(struct fixture *f, void **state)
{
    struct error error;

    memset(f, 0, sizeof(*f));
    f->loop = *state;
    f->resolver = resolver_create();
    f->options.connect_timeout_ms = 500;
    f->options.backoff_min_ms = 10;
    f->options.backoff_max_ms = 40;
    f->options.url = f->url;
    f->fake = fake_redis_create(f->loop, script, f);
    (void)snprintf(f->url, sizeof(f->url), "redis://127.0.0.1:%u", fake_redis_port(f->fake));
    f->shared = redis_shared_create(&f->options, f->resolver, &error);
    assert_non_null(f->shared);
    f->client = redis_client_create(f->loop, f->shared, "test");
    f->source = redis_key_source_create(f->client, "kamiyo-apikey", 60);
}

static void bring_up(struct fixture *f)
{
    redis_client_start(f->client, &handler, f, NULL);
    loop_fixture_run_until(f->loop, &f->is_up);
}

static void tear_down(struct fixture *f)
{
    redis_key_source_destroy(&f->source);
    redis_key_source_destroy(&f->source);
    redis_client_destroy(&f->client);
    redis_shared_destroy(&f->shared);
    fake_redis_destroy(&f->fake);
    resolver_destroy(&f->resolver);
}

static void on_record(void *arg, const struct key_record *record)
{
    struct fixture *f = arg;

    assert_false(f->is_done);
    f->is_done = true;
    f->record = *record;
}

static enum progress find(struct fixture *f, struct key_source_call **call)
{
    struct key_source *source = redis_key_source_as_source(f->source);

    f->is_done = f->is_asked = false;
    memset(&f->record, 0x55, sizeof(f->record));
    return source->find(source, digest, &f->record, on_record, f, call);
}

static void test_answers(void **state)
{
    static const struct {
        const char *answer;
        enum key_source_outcome outcome;
        const char *user, *tier;
    } rows[] = {
        {"*2\r\n$5\r\nalice\r\n$3\r\npro\r\n", KEY_SOURCE_FOUND, "alice", "pro"},
        {"*2\r\n$4\r\nb ob\r\n$-1\r\n", KEY_SOURCE_FOUND, "b%20ob", ""},
        {"*2\r\n$5\r\nalice\r\n$9\r\nnot tier!\r\n", KEY_SOURCE_FOUND, "alice", ""},
        {"*2\r\n$5\r\nalice\r\n:7\r\n", KEY_SOURCE_FOUND, "alice", ""},
        {"*2\r\n$-1\r\n$-1\r\n", KEY_SOURCE_ABSENT, "", ""},
        {"*2\r\n$-1\r\n$3\r\npro\r\n", KEY_SOURCE_ABSENT, "", ""},
        {"*2\r\n$0\r\n\r\n$3\r\npro\r\n", KEY_SOURCE_ABSENT, "", ""},
        {"-WRONGTYPE Operation against a key\r\n", KEY_SOURCE_ABSENT, "", ""},
        {"-LOADING Redis is loading\r\n", KEY_SOURCE_UNAVAILABLE, "", ""},
        {"-NOPERM this user has no permissions\r\n", KEY_SOURCE_UNAVAILABLE, "", ""},
        {"*1\r\n$5\r\nalice\r\n", KEY_SOURCE_UNAVAILABLE, "", ""},
        {"*3\r\n$5\r\nalice\r\n$3\r\npro\r\n$1\r\nx\r\n", KEY_SOURCE_UNAVAILABLE, "", ""},
        {"$5\r\nalice\r\n", KEY_SOURCE_UNAVAILABLE, "", ""},
        {":1\r\n", KEY_SOURCE_UNAVAILABLE, "", ""},
        {"$-1\r\n", KEY_SOURCE_UNAVAILABLE, "", ""},
    };
    struct fixture f;

    set_up(&f, state);
    bring_up(&f);
    for (size_t i = 0; i < COUNT_OF(rows); i++) {
        struct key_source_call *call = NULL;

        f.answer = rows[i].answer;
        assert_int_equal(find(&f, &call), PROGRESS_PENDING);
        loop_fixture_run_until(f.loop, &f.is_done);
        assert_string_equal(f.asked, "HMGET kamiyo-apikey:" DIGEST_HEX " user tier");
        if (f.record.outcome != rows[i].outcome)
            fail_msg("%s", rows[i].answer);
        assert_int_equal(f.record.user_length, strlen(rows[i].user));
        assert_memory_equal(f.record.user, rows[i].user, f.record.user_length);
        assert_int_equal(f.record.tier_length, strlen(rows[i].tier));
        assert_memory_equal(f.record.tier, rows[i].tier, f.record.tier_length);
    }
    tear_down(&f);
}

static void test_away_late_and_lost(void **state)
{
    struct key_source_call *call = NULL;
    struct fixture f;

    set_up(&f, state);
    assert_int_equal(find(&f, &call), PROGRESS_DONE); /* not connected: at once */
    assert_int_equal(f.record.outcome, KEY_SOURCE_UNAVAILABLE);
    assert_false(f.is_done);
    bring_up(&f);
    assert_int_equal(find(&f, &call), PROGRESS_PENDING);
    loop_fixture_run_until(f.loop, &f.is_done); /* no answer within 60 ms */
    assert_int_equal(f.record.outcome, KEY_SOURCE_UNAVAILABLE);
    redis_key_source_configure(f.source, "other", 4000);
    assert_int_equal(find(&f, &call), PROGRESS_PENDING);
    loop_fixture_run_until(f.loop, &f.is_asked);
    assert_string_equal(f.asked, "HMGET other:" DIGEST_HEX " user tier");
    fake_redis_cut_all(f.fake);
    loop_fixture_run_until(f.loop, &f.is_done);
    assert_int_equal(f.record.outcome, KEY_SOURCE_UNAVAILABLE);
    tear_down(&f);
}

static void test_cancel(void **state)
{
    struct key_source_call *call = NULL;
    struct key_source *source;
    struct fixture f;

    set_up(&f, state);
    bring_up(&f);
    source = redis_key_source_as_source(f.source);
    assert_int_equal(find(&f, &call), PROGRESS_PENDING); /* before it is written */
    source->cancel(source, &call);
    assert_null(call);
    source->cancel(source, &call);
    assert_int_equal(find(&f, &call), PROGRESS_PENDING);
    loop_fixture_run_until(f.loop, &f.is_asked); /* and when only the answer is missing */
    source->cancel(source, &call);
    assert_false(f.is_done);
    assert_null(redis_key_source_as_source(NULL));
    tear_down(&f);
}

/* A prefix that no key can hold is refused at once, not cut. */
static void test_long_prefix(void **state)
{
    struct key_source_call *call = NULL;
    struct fixture f;
    char prefix[400];

    memset(prefix, 'p', sizeof(prefix) - 1);
    prefix[sizeof(prefix) - 1] = '\0';
    set_up(&f, state);
    bring_up(&f);
    redis_key_source_configure(f.source, prefix, 60);
    assert_int_equal(find(&f, &call), PROGRESS_DONE);
    assert_int_equal(f.record.outcome, KEY_SOURCE_UNAVAILABLE);
    tear_down(&f);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(test_answers, loop_fixture_setup, loop_fixture_teardown),
        cmocka_unit_test_setup_teardown(test_away_late_and_lost, loop_fixture_setup,
                                        loop_fixture_teardown),
        cmocka_unit_test_setup_teardown(test_cancel, loop_fixture_setup, loop_fixture_teardown),
        cmocka_unit_test_setup_teardown(test_long_prefix, loop_fixture_setup,
                                        loop_fixture_teardown),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
