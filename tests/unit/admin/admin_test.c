/* SPDX-License-Identifier: MIT */
/*
 * The admin listener over real loopback sockets: each path, each refusal, answers that
 * come later, clients that misbehave.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include <cmocka.h>
#include <jansson.h>

#include "kamiyo/admin/admin.h"
#include "kamiyo/base/clock.h"

#include "admin_support.h"
#include "loop_fixture.h"

static void test_health(void **state)
{
    admin_support_start(*state, "secret");
    assert_int_equal(admin_support_ask("GET /healthz", ""), 200);
    assert_int_equal(admin_support_ask("GET /readyz", ""), 200);
    fixture.is_ready = false;
    assert_int_equal(admin_support_ask("GET /readyz", ""), 503);
    assert_int_equal(admin_support_ask("GET /healthz", ""), 200);
    admin_support_assert_field("Cache-Control: no-store\r\n");
    admin_support_assert_field("X-Content-Type-Options: nosniff\r\n");
    admin_support_assert_field("\r\nDate: ");
    admin_support_stop();
}

static void test_metrics(void **state)
{
    admin_support_start(*state, "");
    metrics_count_request(metrics_shard(fixture.metrics, 0), 200, SLICE("default"), SLICE("free"));
    assert_int_equal(admin_support_ask("GET /metrics?x=1", ""), 200);
    admin_support_assert_field("Content-Type: text/plain; version=0.0.4; charset=utf-8\r\n");
    assert_non_null(strstr(
        admin_support_body(),
        "kamiyo_gateway_requests_total{status=\"200\",route=\"default\",tier=\"free\"} 1\n"));
    assert_non_null(strstr(admin_support_body(), "kamiyo_gateway_store_keys 42\n"));
    assert_non_null(strstr(admin_support_body(), "kamiyo_gateway_build_info{version=\""));
    admin_support_stop();
}

static void test_status(void **state)
{
    json_t *json;

    admin_support_start(*state, "");
    metrics_count_request(metrics_shard(fixture.metrics, 0), 429, SLICE("default"), SLICE("free"));
    metrics_count_decision(metrics_shard(fixture.metrics, 0), SLICE("denied"), SLICE("redis"),
                           SLICE("free"), SLICE("minute"));
    for (size_t size = 0; size <= 100000; size += 50000) { /* also more than fits at once */
        fixture.status_bytes = size;
        assert_int_equal(admin_support_ask("GET /api/status", ""), 200);
        json = json_loads(admin_support_body(), 0, NULL);
        assert_non_null(json);
        assert_non_null(json_string_value(json_object_get(json, "version")));
        assert_in_range(json_integer_value(json_object_get(json, "uptime_seconds")), 4, 60);
        assert_int_equal(
            json_integer_value(json_object_get(json_object_get(json, "requests"), "4xx")), 1);
        assert_int_equal(
            json_integer_value(json_object_get(json_object_get(json, "decisions"), "denied")), 1);
        assert_string_equal(
            json_string_value(json_object_get(json_object_get(json, "store"), "mode")), "memory");
        assert_int_equal(json_string_length(json_object_get(json, "filler")), size);
        json_decref(json);
    }
    admin_support_stop();
}

static void test_look(void **state)
{
    admin_support_start(*state, "");
    assert_int_equal(admin_support_ask("GET /api/buckets/user:123", ""), 200);
    assert_string_equal(
        admin_support_body(),
        "{\"key\": \"user:123\", \"tier\": \"pro\", \"mode\": \"redis\", \"windows\": "
        "{\"minute\": {\"limit\": 35, \"burst\": 40, \"remaining\": 34, \"reset_seconds\": 2}, "
        "\"hour\": {\"limit\": 2083, \"burst\": 2083, \"remaining\": 2000, \"reset_seconds\": "
        "144}}, "
        "\"routes\": {\"webhooks\": {\"minute\": {\"limit\": 35, \"burst\": 40, \"remaining\": 34, "
        "\"reset_seconds\": 2}}}}\n");
    assert_string_equal(fixture.key, "user:123");
    assert_string_equal(fixture.tier, "");
    assert_int_equal(
        admin_support_ask("GET /api/buckets/ip:2001%3Adb8::%2F64?x=y&tier=free%20x", ""), 200);
    assert_string_equal(fixture.key, "ip:2001:db8::/64");
    assert_string_equal(fixture.tier, "free x");
    assert_int_equal(admin_support_ask("GET /api/buckets/ip:2001:db8::/64", ""), 200);
    assert_string_equal(fixture.key, "ip:2001:db8::/64");
    assert_int_equal(admin_support_ask("GET /api/buckets/user:a%2520b", ""), 200);
    assert_string_equal(fixture.key, "user:a%20b");
    /* An id as it was before it became a key. */
    assert_int_equal(admin_support_ask("GET /api/buckets/user:a%20b%2Fc@d", ""), 200);
    assert_string_equal(fixture.key, "user:a%20b%2Fc@d");
    fixture.buckets.route_count = 0;
    assert_int_equal(admin_support_ask("GET /api/buckets/user:1", ""), 200);
    assert_non_null(strstr(admin_support_body(), "\"windows\": {}, \"routes\": {}}"));
    fixture.buckets.outcome = ADMIN_BUCKETS_NO_TIER;
    assert_int_equal(admin_support_ask("GET /api/buckets/user:1?tier=x", ""), 400);
    fixture.buckets.outcome = ADMIN_BUCKETS_UNAVAILABLE;
    assert_int_equal(admin_support_ask("GET /api/buckets/user:1", ""), 503);
    assert_non_null(strstr(admin_support_body(), "\"error\": \"service_unavailable\""));
    admin_support_stop();
}

static void test_bad_keys(void **state)
{
    static const char *const paths[] = {"123",      "user:",   "ip:",      "token:1",
                                        "user:%",   "user:%4", "user:%zz", "user:%00",
                                        "user:%0a", "USER:1",  "%75",      "user:1?tier=%zz"};

    admin_support_start(*state, "");
    for (size_t i = 0; i < sizeof(paths) / sizeof(paths[0]); i++) {
        char line[100];

        snprintf(line, sizeof(line), "GET /api/buckets/%s", paths[i]);
        if (admin_support_ask(line, "") != 400)
            fail_msg("%s: %s", paths[i], fixture.response);
    }
    assert_int_equal(admin_support_ask("GET /api/buckets/", ""), 404);
    assert_int_equal(admin_support_ask("GET /api/buckets", ""), 404);
    assert_string_equal(fixture.key, "");
    admin_support_stop();
}

static void test_reset(void **state)
{
    admin_support_start(*state, "");
    fixture.deleted = 3;
    assert_int_equal(admin_support_ask("DELETE /api/buckets/user:123", ""), 200);
    assert_string_equal(admin_support_body(), "{\"key\": \"user:123\", \"deleted\": 3}\n");
    fixture.deleted = 0;
    assert_int_equal(
        admin_support_ask("DELETE /api/buckets/ip:192.0.2.1", "Origin: http://localhost\r\n"), 200);
    fixture.deleted = -1;
    assert_int_equal(admin_support_ask("DELETE /api/buckets/user:1", ""), 503);
    /* A page of another origin that reaches this address. */
    fixture.key[0] = '\0';
    assert_int_equal(
        admin_support_ask("DELETE /api/buckets/user:1", "Origin: http://evil.example\r\n"), 403);
    assert_int_equal(admin_support_ask("DELETE /api/buckets/user:1", "Origin: null\r\n"), 403);
    assert_string_equal(fixture.key, "");
    admin_support_stop();
}

static void test_later(void **state)
{
    admin_support_start(*state, "");
    fixture.is_late = true;
    admin_support_dial();
    /* The second request waits for the first one's answer. */
    admin_support_say(
        "GET /api/buckets/user:1 HTTP/1.1\r\nHost: localhost\r\n\r\nDELETE /api/buckets/user:2 "
        "HTTP/1.1\r\nHost: localhost\r\n\r\n",
        strlen("GET /api/buckets/user:1 HTTP/1.1\r\nHost: localhost\r\n\r\n") * 2 + 3);
    admin_support_listen_for(20);
    assert_int_equal(fixture.response_length, 0);
    assert_string_equal(fixture.key, "user:1");
    fixture.look_done(fixture.done_arg, &fixture.buckets);
    admin_support_await_response();
    assert_non_null(strstr(admin_support_body(), "\"key\": \"user:1\""));
    admin_support_listen_for(20);
    assert_string_equal(fixture.key, "user:2");
    admin_support_forget();
    fixture.reset_done(fixture.done_arg, 7);
    admin_support_await_response();
    assert_string_equal(admin_support_body(), "{\"key\": \"user:2\", \"deleted\": 7}\n");
    assert_int_equal(fixture.cancelled, 0);
    /* A client that leaves, and an end of everything, cancel what is pending. */
    admin_support_dial();
    admin_support_say("GET /api/buckets/user:1 HTTP/1.1\r\nHost: localhost\r\n\r\n", 53);
    admin_support_listen_for(20);
    admin_support_hang_up();
    loop_run_for(fixture.loop, 20);
    assert_int_equal(fixture.cancelled, 1);
    admin_support_dial();
    admin_support_say("GET /api/buckets/user:1 HTTP/1.1\r\nHost: localhost\r\n\r\n", 53);
    admin_support_listen_for(20);
    admin_support_stop();
    assert_int_equal(fixture.cancelled, 2);
}

static void test_token(void **state)
{
    char cookie[200];
    const char *set;

    admin_support_start(*state, "correct horse");
    assert_int_equal(admin_support_ask("GET /metrics", ""), 401);
    admin_support_assert_field("WWW-Authenticate: Bearer");
    assert_int_equal(admin_support_ask("GET /api/nothing", ""),
                     401); /* not even which paths there are */
    assert_int_equal(admin_support_ask("GET /", ""), 401);
    assert_int_equal(admin_support_ask("GET /metrics", "Authorization: Bearer correct horse\r\n"),
                     200);
    assert_int_equal(admin_support_ask("GET /metrics", "Authorization: bearer correct horse\r\n"),
                     200);
    assert_int_equal(admin_support_ask("GET /metrics", "Authorization: Bearer correct hors\r\n"),
                     401);
    assert_int_equal(admin_support_ask("GET /metrics", "Authorization: Bearer correct horse!\r\n"),
                     401);
    assert_int_equal(
        admin_support_ask("GET /metrics", "Authorization: Bearer correct horsecorrect horse\r\n"),
        401);
    assert_int_equal(admin_support_ask("GET /metrics", "Authorization: Basic correct horse\r\n"),
                     401);
    assert_int_equal(admin_support_ask("GET /metrics", "Authorization: Bearer \r\n"), 401);
    assert_int_equal(admin_support_ask("DELETE /api/buckets/user:1", ""), 401);
    assert_string_equal(fixture.key, "");

    assert_int_equal(admin_support_ask("GET /?token=wrong", ""), 401);
    assert_int_equal(admin_support_ask("GET /?token=correct%20horse", ""), 303);
    admin_support_assert_field("Location: /\r\n");
    admin_support_assert_field("; HttpOnly; SameSite=Strict\r\n");
    assert_null(strstr(fixture.response, "correct"));
    set = strstr(fixture.response, "kamiyo_admin=");
    assert_non_null(set);
    snprintf(cookie, sizeof(cookie), "Cookie: a=b; %.*s; c=d\r\n", (int)strcspn(set, ";"), set);
    assert_int_equal(admin_support_ask("GET /", cookie), 200);
    assert_int_equal(admin_support_ask("GET /api/status", cookie), 200);
    assert_int_equal(admin_support_ask("GET /api/status", "Cookie: kamiyo_admin=\r\n"), 401);
    assert_int_equal(admin_support_ask("GET /api/status",
                                       "Cookie: kamiyo_admin=00000000000000000000000000000000\r\n"),
                     401);
    /* A new token ends the sessions of the old one. */
    admin_set_token(fixture.admin, "other");
    assert_int_equal(admin_support_ask("GET /api/status", cookie), 401);
    assert_int_equal(admin_support_ask("GET /api/status", "Authorization: Bearer other\r\n"), 200);
    admin_set_token(fixture.admin, "");
    assert_int_equal(admin_support_ask("GET /api/status", ""), 200);
    admin_support_stop();
}

static void test_host(void **state)
{
    static const char *const good[] = {"localhost",   "LOCALHOST:9901", "127.0.0.1",
                                       "127.0.0.1:1", "192.168.1.1:80", "[::1]",
                                       "[::1]:9901"};
    static const char *const bad[] = {"evil.example", "localhost.evil.example",
                                      "127.0.0.1.evil.example", "127.1", "gateway:9901"};
    char fields[100];

    admin_support_start(*state, "");
    for (size_t i = 0; i < sizeof(good) / sizeof(good[0]); i++) {
        snprintf(fields, sizeof(fields), "Host: %s\r\n", good[i]);
        assert_int_equal(admin_support_ask("GET /api/status", fields), 200);
    }
    for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
        snprintf(fields, sizeof(fields), "Host: %s\r\n", bad[i]);
        assert_int_equal(admin_support_ask("GET /api/status", fields), 403);
    }
    admin_support_stop();
}

/* The nonce that the policy names, which style and script carry; nothing else does. */
static void copy_nonce(char nonce[33])
{
    const char *policy = strstr(fixture.response, "script-src 'nonce-");
    char attribute[64];
    int count = 0;

    assert_non_null(policy);
    memcpy(nonce, policy + strlen("script-src 'nonce-"), 32);
    nonce[32] = '\0';
    snprintf(attribute, sizeof(attribute), "nonce=\"%s\"", nonce);
    for (const char *at = admin_support_body(); (at = strstr(at, "nonce=")) != NULL; at++) {
        assert_memory_equal(at, attribute, strlen(attribute));
        count++;
    }
    assert_int_equal(count, 2);
}

static void test_page(void **state)
{
    char first[33];
    char second[33];

    admin_support_start(*state, "");
    assert_int_equal(admin_support_ask("GET /", ""), 200);
    admin_support_assert_field("Content-Type: text/html; charset=utf-8\r\n");
    admin_support_assert_field("Content-Security-Policy: default-src 'none'");
    assert_non_null(strstr(admin_support_body(), "<title>kamiyo-gateway</title>"));
    assert_null(strstr(fixture.response, "unsafe-inline"));
    /* The policy's nonce is the page's, and another in each answer. */
    copy_nonce(first);
    assert_int_equal(admin_support_ask("GET /", ""), 200);
    copy_nonce(second);
    assert_string_not_equal(first, second);
    admin_support_stop();
}

static void test_methods(void **state)
{
    admin_support_start(*state, "");
    assert_int_equal(admin_support_ask("POST /metrics", "Content-Length: 0\r\n"), 405);
    admin_support_assert_field("Allow: GET, HEAD\r\n");
    assert_int_equal(admin_support_ask("PUT /api/buckets/user:1", ""), 405);
    admin_support_assert_field("Allow: GET, HEAD, DELETE\r\n");
    assert_int_equal(admin_support_ask("DELETE /metrics", ""), 405);
    assert_int_equal(admin_support_ask("OPTIONS *", ""), 404);
    assert_int_equal(admin_support_ask("GET /nothing", ""), 404);
    assert_int_equal(admin_support_ask("GET //healthz", ""), 404);
    /* HEAD: the fields of GET and nothing after them */
    admin_support_dial();
    admin_support_say("HEAD /healthz HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n", 63);
    admin_support_listen_for(2000);
    assert_true(fixture.is_ended);
    admin_support_assert_field("Content-Length: 3\r\n");
    assert_string_equal(admin_support_body(), "");
    admin_support_stop();
}

static void test_bad_requests(void **state)
{
    static char big[ADMIN_MAX_HEAD_BYTES + 100];

    admin_support_start(*state, "");
    assert_int_equal(admin_support_ask("GET /healthz", "Content-Length: 5\r\n"), 413);
    admin_support_assert_field("Connection: close\r\n");
    admin_support_listen_for(2000);
    assert_true(fixture.is_ended);
    assert_int_equal(admin_support_ask("GET /healthz", "Transfer-Encoding: chunked\r\n"), 413);
    assert_int_equal(admin_support_ask("BREW /healthz", ""), 405);
    assert_int_equal(admin_support_ask("CONNECT a:1", ""), 501);
    assert_int_equal(admin_support_ask("GET /healthz", "Host: a\r\nHost: b\r\n"), 400);
    admin_support_dial();
    admin_support_say("\x16\x03\x01", 3);
    admin_support_await_response();
    admin_support_assert_field("HTTP/1.1 400 ");
    admin_support_dial();
    memset(big, 'a', sizeof(big));
    memcpy(big, "GET / HTTP/1.1\r\nX: ", 19);
    admin_support_say(big, sizeof(big));
    admin_support_await_response();
    admin_support_assert_field("HTTP/1.1 431 ");
    admin_support_stop();
}

/* One after another on one connection, the head in pieces. */
static void test_keep_alive(void **state)
{
    static const char request[] = "\r\nGET /healthz HTTP/1.1\r\nHost: localhost\r\n\r\n";

    admin_support_start(*state, "");
    admin_support_dial();
    for (int round = 0; round < 3; round++) {
        admin_support_forget();
        for (size_t i = 0; i < sizeof(request) - 1; i++) {
            admin_support_say(request + i, 1);
            loop_run_for(fixture.loop, 0);
        }
        admin_support_await_response();
        assert_string_equal(admin_support_body(), "ok\n");
    }
    assert_false(fixture.is_ended);
    admin_support_stop();
}

/* A head that does not come to its end is cut off, however slowly it trickles. */
static void test_slow_head(void **state)
{
    struct clock_time now;

    admin_support_start(*state, "");
    clock_read(&now);
    loop_fake_time(*state, &now);
    admin_support_dial();
    for (int second = 0; second < 12 && !fixture.is_ended; second++) {
        (void)send(fixture.client, second < 3 ? "\r\n" : "GG", 2,
                   MSG_NOSIGNAL); /* it may be closed already */
        admin_support_listen_for(3);
        now.monotonic_us += 1000000;
        loop_fake_time(*state, &now);
        admin_support_listen_for(3);
    }
    assert_true(fixture.is_ended);
    loop_fake_time(*state, NULL);
    admin_support_stop();
}

/* Beyond the bound connections wait in the accept queue, and are served once there is room. */
static void test_many_connections(void **state)
{
    static int clients[ADMIN_MAX_CONNECTIONS + 5];
    struct sockaddr_storage storage;
    socklen_t length;

    admin_support_start(*state, "");
    length = addr_endpoint_to_sockaddr(&fixture.at, &storage);
    for (size_t i = 0; i < sizeof(clients) / sizeof(clients[0]); i++) {
        clients[i] = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
        assert_int_equal(connect(clients[i], (struct sockaddr *)&storage, length), 0);
        loop_run_for(fixture.loop, 1);
    }
    for (size_t i = 0; i < sizeof(clients) / sizeof(clients[0]); i++)
        close(clients[i]);
    assert_int_equal(admin_support_ask("GET /healthz", ""), 200);
    admin_support_stop();
}

#define ADMIN_TEST(name) \
    cmocka_unit_test_setup_teardown(name, loop_fixture_setup, loop_fixture_teardown)

int main(void)
{
    const struct CMUnitTest tests[] = {
        ADMIN_TEST(test_health),     ADMIN_TEST(test_metrics),   ADMIN_TEST(test_status),
        ADMIN_TEST(test_look),       ADMIN_TEST(test_bad_keys),  ADMIN_TEST(test_reset),
        ADMIN_TEST(test_later),      ADMIN_TEST(test_token),     ADMIN_TEST(test_host),
        ADMIN_TEST(test_page),       ADMIN_TEST(test_methods),   ADMIN_TEST(test_bad_requests),
        ADMIN_TEST(test_keep_alive), ADMIN_TEST(test_slow_head), ADMIN_TEST(test_many_connections),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
