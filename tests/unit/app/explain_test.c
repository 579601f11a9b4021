/* SPDX-License-Identifier: MIT */
/*
 * The walk and its JSON: each step that may end it, with full buckets and with
 * a limiter; that nothing is charged by it.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>
#include <jansson.h>

#include "kamiyo/app/explain.h"
#include "kamiyo/app/explain_json.h"
#include "kamiyo/base/mem.h"
#include "kamiyo/limit/concurrency.h"
#include "kamiyo/limit/limiter.h"
#include "kamiyo/limit/limiter_shared.h"
#include "kamiyo/net/loop.h"

#include "loop_fixture.h"

static const char yaml[] = "tiers:\n"
                           "  anonymous: {minute: 10, hour: 100}\n"
                           "  pro: {minute: 35}\n"
                           "  internal: none\n"
                           "routes:\n"
                           "- {path: /free, limit: none}\n"
                           "- {name: w, path: /w/*, cost: 3, tiers: {anonymous: {minute: 30}}}\n"
                           "- {path: /shadow, shadow: true}\n"
                           "- {name: one, path: /one, concurrency: 1}\n"
                           "client: {max_body: 1KiB}\n"
                           "client_ip: {trusted_proxies: [10.0.0.0/8]}\n"
                           "identity: {header: {user: X-User, tier: X-Tier}}\n"
                           "allow: [198.51.100.0/24]\n"
                           "deny: [192.0.2.0/24, \"user:mallory\"]\n";

struct fixture {
    struct snapshot *snapshot;
    struct identity_chain *identity;
    struct limit_shared *shared;
    struct limiter *limiter;
    struct concurrency *concurrency;
    struct clock_time now;
    json_t *json; /* of the last walk */
};

static void set_up(struct fixture *f, struct loop *loop)
{
    const struct config_overrides overrides = {
        .listen = "127.0.0.1:1", .upstream = "127.0.0.1:2", .redis = ""};
    struct config_overrides given = overrides;
    struct error_list errors;
    char path[] = "/tmp/explain_test.XXXXXX";
    FILE *file = fdopen(mkstemp(path), "w");
    struct limiter_options options;

    memset(f, 0, sizeof(*f));
    assert_non_null(file);
    fputs(yaml, file);
    assert_int_equal(fclose(file), 0);
    error_list_init(&errors);
    given.path = path;
    f->snapshot = snapshot_load(&given, &errors);
    assert_int_equal(errors.total_errors, 0);
    assert_non_null(f->snapshot);
    error_list_clear(&errors);
    unlink(path);
    f->identity = identity_chain_create(f->snapshot->identity, NULL, NULL);
    f->now = (struct clock_time){.monotonic_us = 1000000000, .wall_us = 1700000000000000};
    loop_fake_time(loop, &f->now);
    f->shared = limit_shared_create(1 << 20, 1);
    options = f->snapshot->config->limiter;
    f->limiter = limiter_create(loop, &options, NULL, f->shared, NULL, 0);
    f->concurrency = concurrency_create();
}

static void tear_down(struct fixture *f)
{
    json_decref(f->json);
    limiter_destroy(&f->limiter);
    limit_shared_destroy(&f->shared);
    concurrency_destroy(&f->concurrency);
    identity_chain_destroy(&f->identity);
    snapshot_unref(&f->snapshot);
}

/* Walk, with the limiter or without; f->json has what came. */
static void
walk(struct fixture *f, bool is_live, const char *target, const char *ip, const char *fields)
{
    const struct explain_parts parts = {.snapshot = f->snapshot,
                                        .identity = f->identity,
                                        .limiter = is_live ? f->limiter : NULL,
                                        .concurrency = is_live ? f->concurrency : NULL,
                                        .now = f->now};
    struct explain *explain;
    struct addr peer;
    size_t length;
    char *text;

    assert_true(addr_parse(slice_of(ip), &peer));
    explain = explain_create(&parts, &peer, SLICE("GET"), slice_of(target), slice_of(fields));
    assert_int_equal(explain_start(explain, NULL, NULL), PROGRESS_DONE);
    text = explain_json_format(explain, &length);
    explain_destroy(&explain);
    assert_null(explain);
    explain_destroy(&explain);
    assert_int_equal(strlen(text), length);
    json_decref(f->json);
    f->json = json_loads(text, JSON_REJECT_DUPLICATES, NULL);
    if (f->json == NULL)
        fail_msg("no JSON: %s", text);
    mem_free(text);
}

/* The member at a path as "windows.minute.limit", as compact JSON. */
static void expect(const struct fixture *f, const char *path, const char *value)
{
    const json_t *at = f->json;
    struct slice rest = slice_of(path), name;
    char *text;

    while (slice_cut(&rest, '.', &name)) {
        char member[64];

        snprintf(member, sizeof(member), "%.*s", SLICE_PRINT(name));
        at = json_object_get(at, member);
    }
    if (at == NULL)
        fail_msg("there is no %s", path);
    text = json_dumps(at, JSON_COMPACT | JSON_ENCODE_ANY);
    if (strcmp(text, value) != 0)
        fail_msg("%s is %s, not %s", path, text, value);
    free(text);
}

static void test_answers_of_the_gateways_own(void **state)
{
    static const struct {
        const char *target, *ip, *fields, *status, *identity;
    } rows[] = {
        {"/a b", "1.2.3.4", "", "400", "null"},
        {"/x", "1.2.3.4", "No colon\r\n", "400", "null"},
        {"/x", "1.2.3.4", "Content-Length: 1025\r\n", "413", "null"},
        {"/x", "1.2.3.4", "Expect: tea\r\n", "417", "null"},
        {"/_gateway/health", "1.2.3.4", "", "200", "null"},
        {"/x", "192.0.2.9", "", "403", "null"},
    };
    struct fixture f;

    set_up(&f, *state);
    for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
        walk(&f, false, rows[i].target, rows[i].ip, rows[i].fields);
        expect(&f, "status", rows[i].status);
        expect(&f, "allowed", "false");
        expect(&f, "decision", "null");
        expect(&f, "identity", rows[i].identity);
        expect(&f, "windows", "{}");
        expect(&f, "headers", "{}");
    }
    walk(&f, false, "/x", "10.0.0.1", "X-User: mallory\r\n");
    expect(&f, "status", "403");
    expect(&f, "reason", "\"the user is on the deny list\"");
    expect(&f, "identity.found_by", "\"header\"");
    tear_down(&f);
}

static void test_what_is_not_limited(void **state)
{
    struct fixture f;

    set_up(&f, *state);
    walk(&f, false, "/free", "1.2.3.4", "");
    expect(&f, "decision", "\"exempt\"");
    expect(&f, "route.limits", "\"none\"");
    expect(&f, "route.index", "1");
    walk(&f, false, "/x", "198.51.100.7", "");
    expect(&f, "reason", "\"the allow list has this client\"");
    walk(&f, false, "/x", "10.0.0.1", "X-User: root\r\nX-Tier: internal\r\n");
    expect(&f, "reason", "\"the tier is not limited\"");
    expect(&f, "tier", "\"internal\"");
    expect(&f, "allowed", "true");
    expect(&f, "mode", "null");
    tear_down(&f);
}

static void test_full_buckets(void **state)
{
    struct fixture f;

    set_up(&f, *state);
    for (int i = 0; i < 20; i++)
        walk(&f, false, "/w/1", "10.0.0.1", "X-Forwarded-For: 2001:db8:1:2::3\r\nHost: api\r\n");
    expect(&f, "is_live", "false");
    expect(&f, "client.address", "\"2001:db8:1:2::3\"");
    expect(&f, "client.source", "\"field\"");
    expect(&f, "client.peer_trusted", "true");
    expect(&f, "identity.key", "\"ip:2001:db8:1:2::/64\"");
    expect(&f, "route.name", "\"w\"");
    expect(&f, "route.limits", "\"own\"");
    expect(&f, "windows.minute.key", "\"ratelimit:ip:2001:db8:1:2::/64:w:minute\"");
    expect(&f, "windows.minute.remaining", "30");
    expect(&f, "windows.minute.remaining_after", "27");
    expect(&f, "windows.minute.reset_seconds", "6");
    expect(&f, "headers.X-RateLimit-Remaining", "\"27\"");
    expect(&f, "headers.X-RateLimit-Reset", "\"1700000006\"");
    expect(&f, "status", "null");
    walk(&f, false, "/x", "10.0.0.1", "X-User: a b\r\nX-Tier: gold\r\nX-API-Key: k\r\n");
    expect(&f, "identity.key", "\"user:a%20b\"");
    expect(&f, "identity.named_tier", "\"gold\"");
    expect(&f, "identity.keys", "1");
    expect(&f, "tier", "\"anonymous\"");
    walk(&f, false, "/x", "1.2.3.4", "X-Forwarded-For: 5.6.7.8\r\n");
    expect(&f, "client.fields_ignored", "true");
    tear_down(&f);
}

static void test_with_a_limiter(void **state)
{
    struct limiter_call *call = NULL;
    struct limit_decision decision;
    struct limit_query query = {.key = SLICE("ip:1.2.3.4"), .cost = 10};
    struct fixture f;

    set_up(&f, *state);
    query.policy = route_table_tier(f.snapshot->routes, SLICE(""), false)->policy;
    for (int i = 0; i < 20; i++)
        walk(&f, true, "/x", "1.2.3.4", "");
    expect(&f, "is_live", "true");
    expect(&f, "mode", "\"memory\"");
    expect(&f, "windows.minute.remaining", "10");
    expect(&f, "windows.hour.remaining_after", "99");
    assert_int_equal(limiter_check(f.limiter, &query, &decision, NULL, NULL, &call), PROGRESS_DONE);
    walk(&f, true, "/x", "1.2.3.4", "");
    expect(&f, "allowed", "false");
    expect(&f, "decision", "\"denied\"");
    expect(&f, "status", "429");
    expect(&f, "window", "\"minute\"");
    expect(&f, "retry_after_ms", "6000");
    expect(&f, "windows.minute.wait_ms", "6000");
    expect(&f, "windows.hour.remaining", "90");
    expect(&f, "headers.Retry-After", "\"6\"");
    expect(&f, "headers.X-RateLimit-Limit", "\"10\"");
    walk(&f, true, "/shadow", "1.2.3.4", "");
    expect(&f, "allowed", "true");
    expect(&f, "decision", "\"shadow\"");
    expect(&f, "status", "null");
    expect(&f, "headers.X-RateLimit-Remaining", "\"0\"");
    assert_null(json_object_get(json_object_get(f.json, "headers"), "Retry-After"));
    tear_down(&f);
}

static void test_places(void **state)
{
    struct slice key = SLICE("ip:1.2.3.4"), route = SLICE("one");
    struct fixture f;

    set_up(&f, *state);
    for (int i = 0; i < 3; i++) { /* it takes no place itself */
        walk(&f, true, "/one", "1.2.3.4", "");
        expect(&f, "allowed", "true");
        expect(&f, "route.concurrency", "1");
    }
    assert_true(concurrency_enter(f.concurrency, key, route, 1));
    walk(&f, true, "/one", "1.2.3.4", "");
    expect(&f, "status", "429");
    expect(&f, "window", "\"concurrency\"");
    expect(&f, "headers", "{\"Retry-After\":\"1\"}");
    expect(&f, "windows", "{}");
    concurrency_leave(f.concurrency, key, route);
    walk(&f, true, "/one", "1.2.3.4", "");
    expect(&f, "allowed", "true");
    tear_down(&f);
}

int main(void)
{
#define LOOP_TEST(f) cmocka_unit_test_setup_teardown(f, loop_fixture_setup, loop_fixture_teardown)
    const struct CMUnitTest tests[] = {
        LOOP_TEST(test_answers_of_the_gateways_own),
        LOOP_TEST(test_what_is_not_limited),
        LOOP_TEST(test_full_buckets),
        LOOP_TEST(test_with_a_limiter),
        LOOP_TEST(test_places),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
