/* SPDX-License-Identifier: MIT */
/*
 * The admin listener over real loopback sockets: each path, each refusal, answers that
 * come later, clients that misbehave.
 */
#include <netinet/in.h>
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
#include "kamiyo/net/listener.h"
#include "kamiyo/net/loop.h"
#include "kamiyo/observe/metrics.h"

#include "loop_fixture.h"

/* A source whose answers the test chooses, and an admin listener before it. */
struct fixture {
    struct loop *loop;
    struct admin *admin;
    struct metrics *metrics;
    struct addr_endpoint at;
    bool is_ready;
    bool is_late; /* look and reset answer when the test says so */
    size_t status_bytes;
    struct admin_buckets buckets;
    int64_t deleted;
    char key[256];
    char tier[64];
    int cancelled;
    admin_look_fn *look_done;
    admin_reset_fn *reset_done;
    void *done_arg;
    char response[200000];
    size_t response_length;
    int client;
    bool is_ended;
};

static struct fixture fixture; /* large */

static bool is_ready(void *arg)
{
    return ((struct fixture *)arg)->is_ready;
}

static void read_gauges(void *arg, struct metrics_gauges *gauges)
{
    (void)arg;
    gauges->store_keys = 42;
}

static void write_status(void *arg, struct text *out)
{
    const struct fixture *self = arg;

    text_append(out, SLICE("\"store\": {\"mode\": \"memory\"}, \"filler\": \""));
    for (size_t i = 0; i < self->status_bytes; i++)
        text_append_char(out, 'x');
    text_append_char(out, '"');
}

static enum progress look(void *arg,
                          struct slice key,
                          struct slice tier,
                          struct admin_buckets *buckets,
                          admin_look_fn *done,
                          void *done_arg,
                          struct admin_call **call)
{
    struct fixture *self = arg;

    snprintf(self->key, sizeof(self->key), "%.*s", SLICE_PRINT(key));
    snprintf(self->tier, sizeof(self->tier), "%.*s", SLICE_PRINT(tier));
    if (self->is_late) {
        self->look_done = done;
        self->done_arg = done_arg;
        *call = (struct admin_call *)(void *)self;
        return PROGRESS_PENDING;
    }
    *buckets = self->buckets;
    return PROGRESS_DONE;
}

static enum progress reset(void *arg,
                           struct slice key,
                           int64_t *deleted,
                           admin_reset_fn *done,
                           void *done_arg,
                           struct admin_call **call)
{
    struct fixture *self = arg;

    snprintf(self->key, sizeof(self->key), "%.*s", SLICE_PRINT(key));
    if (self->is_late) {
        self->reset_done = done;
        self->done_arg = done_arg;
        *call = (struct admin_call *)(void *)self;
        return PROGRESS_PENDING;
    }
    *deleted = self->deleted;
    return PROGRESS_DONE;
}

static void cancel(void *arg, struct admin_call **call)
{
    ((struct fixture *)arg)->cancelled++;
    *call = NULL;
}

static const struct admin_window windows[] = {
    {{"minute", 6}, 35, 40, 34, 2},
    {{"hour", 4}, 2083, 2083, 2000, 144},
};
static const struct admin_route_windows routes[] = {
    {{"", 0}, windows, 2},
    {{"webhooks", 8}, windows, 1},
};

static void start(struct loop *loop, const char *token)
{
    struct admin_options options = {.is_enabled = true};
    struct admin_source source = {.arg = &fixture,
                                  .is_ready = is_ready,
                                  .read_gauges = read_gauges,
                                  .write_status = write_status,
                                  .look = look,
                                  .reset = reset,
                                  .cancel = cancel};
    char copy[64];
    int fd;

    memset(&fixture, 0, sizeof(fixture));
    fixture.loop = loop;
    fixture.client = -1;
    fixture.is_ready = true;
    fixture.buckets =
        (struct admin_buckets){ADMIN_BUCKETS_FOUND, SLICE("pro"), SLICE("redis"), routes, 2};
    fixture.metrics = metrics_create(1);
    source.metrics = fixture.metrics;
    source.started_ms = clock_wall_ms() - 5000;
    assert_true(addr_parse(SLICE("127.0.0.1"), &options.listen.addr));
    fd = listener_open(&options.listen, NULL);
    assert_true(fd >= 0);
    listener_local_endpoint(fd, &fixture.at);
    snprintf(copy, sizeof(copy), "%s", token);
    options.listen = fixture.at;
    options.token = copy;
    fixture.admin = admin_create(loop, fd, &options, &source);
}

static void hang_up(void)
{
    if (fixture.client >= 0)
        close(fixture.client);
    fixture.client = -1;
}

static void stop(void)
{
    hang_up();
    admin_destroy(&fixture.admin);
    assert_null(fixture.admin);
    admin_destroy(&fixture.admin);
    loop_run_for(fixture.loop, 1);
    metrics_destroy(&fixture.metrics);
}

static void dial(void)
{
    struct sockaddr_storage storage;
    socklen_t length = addr_endpoint_to_sockaddr(&fixture.at, &storage);

    hang_up();
    fixture.client = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    assert_int_equal(connect(fixture.client, (struct sockaddr *)&storage, length), 0);
    fixture.response_length = 0;
    fixture.response[0] = '\0';
    fixture.is_ended = false;
}

static void say(const char *bytes, size_t length)
{
    assert_int_equal(send(fixture.client, bytes, length, MSG_NOSIGNAL), length);
}

/* Let the loop run and take what comes. */
static void listen_for(int turns)
{
    for (int i = 0; i < turns && !fixture.is_ended; i++) {
        ssize_t got;

        loop_run_for(fixture.loop, 1);
        got = recv(fixture.client, fixture.response + fixture.response_length,
                   sizeof(fixture.response) - fixture.response_length - 1, MSG_DONTWAIT);
        if (got > 0)
            fixture.response_length += (size_t)got;
        if (got == 0)
            fixture.is_ended = true;
        fixture.response[fixture.response_length] = '\0';
    }
}

static bool has_whole_response(void)
{
    const char *length = strstr(fixture.response, "Content-Length: ");
    const char *end = strstr(fixture.response, "\r\n\r\n");

    return length != NULL && end != NULL && strlen(end + 4) >= strtoul(length + 16, NULL, 10);
}

static void await_response(void)
{
    for (int i = 0; i < 2000 && !has_whole_response() && !fixture.is_ended; i++)
        listen_for(1);
    if (!has_whole_response())
        fail_msg("no whole response: \"%s\"", fixture.response);
}

/* One request on a connection of its own; the status of its answer. */
static int ask(const char *line, const char *fields)
{
    char request[4096];
    int length = snprintf(request, sizeof(request), "%s HTTP/1.1\r\n%s%s\r\n", line,
                          strstr(fields, "Host:") != NULL ? "" : "Host: localhost\r\n", fields);

    dial();
    say(request, (size_t)length);
    await_response();
    assert_memory_equal(fixture.response, "HTTP/1.1 ", 9);
    return atoi(fixture.response + 9);
}

static const char *body(void)
{
    return strstr(fixture.response, "\r\n\r\n") + 4;
}

static void assert_field(const char *line)
{
    if (strstr(fixture.response, line) == NULL)
        fail_msg("\"%s\" is missing in %s", line, fixture.response);
}

static void test_health(void **state)
{
    start(*state, "secret");
    assert_int_equal(ask("GET /healthz", ""), 200);
    assert_int_equal(ask("GET /readyz", ""), 200);
    fixture.is_ready = false;
    assert_int_equal(ask("GET /readyz", ""), 503);
    assert_int_equal(ask("GET /healthz", ""), 200);
    assert_field("Cache-Control: no-store\r\n");
    assert_field("X-Content-Type-Options: nosniff\r\n");
    assert_field("\r\nDate: ");
    stop();
}

static void test_metrics(void **state)
{
    start(*state, "");
    metrics_count_request(metrics_shard(fixture.metrics, 0), 200, SLICE("default"), SLICE("free"));
    assert_int_equal(ask("GET /metrics?x=1", ""), 200);
    assert_field("Content-Type: text/plain; version=0.0.4; charset=utf-8\r\n");
    assert_non_null(strstr(
        body(),
        "kamiyo_gateway_requests_total{status=\"200\",route=\"default\",tier=\"free\"} 1\n"));
    assert_non_null(strstr(body(), "kamiyo_gateway_store_keys 42\n"));
    assert_non_null(strstr(body(), "kamiyo_gateway_build_info{version=\""));
    stop();
}

static void test_status(void **state)
{
    json_t *json;

    start(*state, "");
    metrics_count_request(metrics_shard(fixture.metrics, 0), 429, SLICE("default"), SLICE("free"));
    metrics_count_decision(metrics_shard(fixture.metrics, 0), SLICE("denied"), SLICE("redis"),
                           SLICE("free"), SLICE("minute"));
    for (size_t size = 0; size <= 100000; size += 50000) { /* also more than fits at once */
        fixture.status_bytes = size;
        assert_int_equal(ask("GET /api/status", ""), 200);
        json = json_loads(body(), 0, NULL);
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
    stop();
}

static void test_look(void **state)
{
    start(*state, "");
    assert_int_equal(ask("GET /api/buckets/user:123", ""), 200);
    assert_string_equal(
        body(),
        "{\"key\": \"user:123\", \"tier\": \"pro\", \"mode\": \"redis\", \"windows\": "
        "{\"minute\": {\"limit\": 35, \"burst\": 40, \"remaining\": 34, \"reset_seconds\": 2}, "
        "\"hour\": {\"limit\": 2083, \"burst\": 2083, \"remaining\": 2000, \"reset_seconds\": "
        "144}}, "
        "\"routes\": {\"webhooks\": {\"minute\": {\"limit\": 35, \"burst\": 40, \"remaining\": 34, "
        "\"reset_seconds\": 2}}}}\n");
    assert_string_equal(fixture.key, "user:123");
    assert_string_equal(fixture.tier, "");
    assert_int_equal(ask("GET /api/buckets/ip:2001%3Adb8::%2F64?x=y&tier=free%20x", ""), 200);
    assert_string_equal(fixture.key, "ip:2001:db8::/64");
    assert_string_equal(fixture.tier, "free x");
    assert_int_equal(ask("GET /api/buckets/ip:2001:db8::/64", ""), 200);
    assert_string_equal(fixture.key, "ip:2001:db8::/64");
    assert_int_equal(ask("GET /api/buckets/user:a%2520b", ""), 200);
    assert_string_equal(fixture.key, "user:a%20b");
    fixture.buckets.route_count = 0;
    assert_int_equal(ask("GET /api/buckets/user:1", ""), 200);
    assert_non_null(strstr(body(), "\"windows\": {}, \"routes\": {}}"));
    fixture.buckets.outcome = ADMIN_BUCKETS_NO_TIER;
    assert_int_equal(ask("GET /api/buckets/user:1?tier=x", ""), 400);
    fixture.buckets.outcome = ADMIN_BUCKETS_UNAVAILABLE;
    assert_int_equal(ask("GET /api/buckets/user:1", ""), 503);
    assert_non_null(strstr(body(), "\"error\": \"service_unavailable\""));
    stop();
}

static void test_bad_keys(void **state)
{
    static const char *const paths[] = {"123",      "user:",   "ip:",      "token:1",
                                        "user:%",   "user:%4", "user:%zz", "user:%00",
                                        "user:%0a", "USER:1",  "%75",      "user:1?tier=%zz"};

    start(*state, "");
    for (size_t i = 0; i < sizeof(paths) / sizeof(paths[0]); i++) {
        char line[100];

        snprintf(line, sizeof(line), "GET /api/buckets/%s", paths[i]);
        if (ask(line, "") != 400)
            fail_msg("%s: %s", paths[i], fixture.response);
    }
    assert_int_equal(ask("GET /api/buckets/", ""), 404);
    assert_int_equal(ask("GET /api/buckets", ""), 404);
    assert_string_equal(fixture.key, "");
    stop();
}

static void test_reset(void **state)
{
    start(*state, "");
    fixture.deleted = 3;
    assert_int_equal(ask("DELETE /api/buckets/user:123", ""), 200);
    assert_string_equal(body(), "{\"key\": \"user:123\", \"deleted\": 3}\n");
    fixture.deleted = 0;
    assert_int_equal(ask("DELETE /api/buckets/ip:192.0.2.1", "Origin: http://localhost\r\n"), 200);
    fixture.deleted = -1;
    assert_int_equal(ask("DELETE /api/buckets/user:1", ""), 503);
    /* A page of another origin that reaches this address. */
    fixture.key[0] = '\0';
    assert_int_equal(ask("DELETE /api/buckets/user:1", "Origin: http://evil.example\r\n"), 403);
    assert_int_equal(ask("DELETE /api/buckets/user:1", "Origin: null\r\n"), 403);
    assert_string_equal(fixture.key, "");
    stop();
}

static void test_later(void **state)
{
    start(*state, "");
    fixture.is_late = true;
    dial();
    /* The second request waits for the first one's answer. */
    say("GET /api/buckets/user:1 HTTP/1.1\r\nHost: localhost\r\n\r\nDELETE /api/buckets/user:2 "
        "HTTP/1.1\r\nHost: localhost\r\n\r\n",
        strlen("GET /api/buckets/user:1 HTTP/1.1\r\nHost: localhost\r\n\r\n") * 2 + 3);
    listen_for(20);
    assert_int_equal(fixture.response_length, 0);
    assert_string_equal(fixture.key, "user:1");
    fixture.look_done(fixture.done_arg, &fixture.buckets);
    await_response();
    assert_non_null(strstr(body(), "\"key\": \"user:1\""));
    listen_for(20);
    assert_string_equal(fixture.key, "user:2");
    fixture.response_length = 0;
    fixture.reset_done(fixture.done_arg, 7);
    await_response();
    assert_string_equal(body(), "{\"key\": \"user:2\", \"deleted\": 7}\n");
    assert_int_equal(fixture.cancelled, 0);
    /* A client that leaves, and an end of everything, cancel what is pending. */
    dial();
    say("GET /api/buckets/user:1 HTTP/1.1\r\nHost: localhost\r\n\r\n", 53);
    listen_for(20);
    hang_up();
    loop_run_for(fixture.loop, 20);
    assert_int_equal(fixture.cancelled, 1);
    dial();
    say("GET /api/buckets/user:1 HTTP/1.1\r\nHost: localhost\r\n\r\n", 53);
    listen_for(20);
    stop();
    assert_int_equal(fixture.cancelled, 2);
}

static void test_token(void **state)
{
    char cookie[200];
    const char *set;

    start(*state, "correct horse");
    assert_int_equal(ask("GET /metrics", ""), 401);
    assert_field("WWW-Authenticate: Bearer");
    assert_int_equal(ask("GET /api/nothing", ""), 401); /* not even which paths there are */
    assert_int_equal(ask("GET /", ""), 401);
    assert_int_equal(ask("GET /metrics", "Authorization: Bearer correct horse\r\n"), 200);
    assert_int_equal(ask("GET /metrics", "Authorization: bearer correct horse\r\n"), 200);
    assert_int_equal(ask("GET /metrics", "Authorization: Bearer correct hors\r\n"), 401);
    assert_int_equal(ask("GET /metrics", "Authorization: Bearer correct horse!\r\n"), 401);
    assert_int_equal(ask("GET /metrics", "Authorization: Bearer correct horsecorrect horse\r\n"),
                     401);
    assert_int_equal(ask("GET /metrics", "Authorization: Basic correct horse\r\n"), 401);
    assert_int_equal(ask("GET /metrics", "Authorization: Bearer \r\n"), 401);
    assert_int_equal(ask("DELETE /api/buckets/user:1", ""), 401);
    assert_string_equal(fixture.key, "");

    assert_int_equal(ask("GET /?token=wrong", ""), 401);
    assert_int_equal(ask("GET /?token=correct%20horse", ""), 303);
    assert_field("Location: /\r\n");
    assert_field("; HttpOnly; SameSite=Strict\r\n");
    assert_null(strstr(fixture.response, "correct"));
    set = strstr(fixture.response, "kamiyo_admin=");
    assert_non_null(set);
    snprintf(cookie, sizeof(cookie), "Cookie: a=b; %.*s; c=d\r\n", (int)strcspn(set, ";"), set);
    assert_int_equal(ask("GET /", cookie), 200);
    assert_int_equal(ask("GET /api/status", cookie), 200);
    assert_int_equal(ask("GET /api/status", "Cookie: kamiyo_admin=\r\n"), 401);
    assert_int_equal(
        ask("GET /api/status", "Cookie: kamiyo_admin=00000000000000000000000000000000\r\n"), 401);
    /* A new token ends the sessions of the old one. */
    admin_set_token(fixture.admin, "other");
    assert_int_equal(ask("GET /api/status", cookie), 401);
    assert_int_equal(ask("GET /api/status", "Authorization: Bearer other\r\n"), 200);
    admin_set_token(fixture.admin, "");
    assert_int_equal(ask("GET /api/status", ""), 200);
    stop();
}

static void test_host(void **state)
{
    static const char *const good[] = {"localhost",   "LOCALHOST:9901", "127.0.0.1",
                                       "127.0.0.1:1", "192.168.1.1:80", "[::1]",
                                       "[::1]:9901"};
    static const char *const bad[] = {"evil.example", "localhost.evil.example",
                                      "127.0.0.1.evil.example", "127.1", "gateway:9901"};
    char fields[100];

    start(*state, "");
    for (size_t i = 0; i < sizeof(good) / sizeof(good[0]); i++) {
        snprintf(fields, sizeof(fields), "Host: %s\r\n", good[i]);
        assert_int_equal(ask("GET /api/status", fields), 200);
    }
    for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
        snprintf(fields, sizeof(fields), "Host: %s\r\n", bad[i]);
        assert_int_equal(ask("GET /api/status", fields), 403);
    }
    stop();
}

static void test_page(void **state)
{
    start(*state, "");
    assert_int_equal(ask("GET /", ""), 200);
    assert_field("Content-Type: text/html; charset=utf-8\r\n");
    assert_field("Content-Security-Policy: default-src 'none'");
    assert_non_null(strstr(body(), "<title>kamiyo-gateway</title>"));
    stop();
}

static void test_methods(void **state)
{
    start(*state, "");
    assert_int_equal(ask("POST /metrics", "Content-Length: 0\r\n"), 405);
    assert_field("Allow: GET, HEAD\r\n");
    assert_int_equal(ask("PUT /api/buckets/user:1", ""), 405);
    assert_field("Allow: GET, HEAD, DELETE\r\n");
    assert_int_equal(ask("DELETE /metrics", ""), 405);
    assert_int_equal(ask("OPTIONS *", ""), 404);
    assert_int_equal(ask("GET /nothing", ""), 404);
    assert_int_equal(ask("GET //healthz", ""), 404);
    /* HEAD: the fields of GET and nothing after them */
    dial();
    say("HEAD /healthz HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n", 63);
    listen_for(2000);
    assert_true(fixture.is_ended);
    assert_field("Content-Length: 3\r\n");
    assert_string_equal(body(), "");
    stop();
}

static void test_bad_requests(void **state)
{
    static char big[ADMIN_MAX_HEAD_BYTES + 100];

    start(*state, "");
    assert_int_equal(ask("GET /healthz", "Content-Length: 5\r\n"), 413);
    assert_field("Connection: close\r\n");
    listen_for(2000);
    assert_true(fixture.is_ended);
    assert_int_equal(ask("GET /healthz", "Transfer-Encoding: chunked\r\n"), 413);
    assert_int_equal(ask("BREW /healthz", ""), 501);
    assert_int_equal(ask("GET /healthz", "Host: a\r\nHost: b\r\n"), 400);
    dial();
    say("\x16\x03\x01", 3);
    await_response();
    assert_field("HTTP/1.1 400 ");
    dial();
    memset(big, 'a', sizeof(big));
    memcpy(big, "GET / HTTP/1.1\r\nX: ", 19);
    say(big, sizeof(big));
    await_response();
    assert_field("HTTP/1.1 431 ");
    stop();
}

/* One after another on one connection, the head in pieces. */
static void test_keep_alive(void **state)
{
    static const char request[] = "\r\nGET /healthz HTTP/1.1\r\nHost: localhost\r\n\r\n";

    start(*state, "");
    dial();
    for (int round = 0; round < 3; round++) {
        fixture.response_length = 0;
        for (size_t i = 0; i < sizeof(request) - 1; i++) {
            say(request + i, 1);
            loop_run_for(fixture.loop, 0);
        }
        await_response();
        assert_string_equal(body(), "ok\n");
    }
    assert_false(fixture.is_ended);
    stop();
}

/* A head that does not come to its end is cut off, however slowly it trickles. */
static void test_slow_head(void **state)
{
    struct clock_time now;

    start(*state, "");
    clock_read(&now);
    loop_fake_time(*state, &now);
    dial();
    for (int second = 0; second < 12 && !fixture.is_ended; second++) {
        (void)send(fixture.client, second < 3 ? "\r\n" : "GG", 2,
                   MSG_NOSIGNAL); /* it may be closed already */
        listen_for(3);
        now.monotonic_us += 1000000;
        loop_fake_time(*state, &now);
        listen_for(3);
    }
    assert_true(fixture.is_ended);
    loop_fake_time(*state, NULL);
    stop();
}

/* Beyond the bound connections wait in the accept queue, and are served once there is room. */
static void test_many_connections(void **state)
{
    static int clients[ADMIN_MAX_CONNECTIONS + 5];
    struct sockaddr_storage storage;
    socklen_t length;

    start(*state, "");
    length = addr_endpoint_to_sockaddr(&fixture.at, &storage);
    for (size_t i = 0; i < sizeof(clients) / sizeof(clients[0]); i++) {
        clients[i] = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
        assert_int_equal(connect(clients[i], (struct sockaddr *)&storage, length), 0);
        loop_run_for(fixture.loop, 1);
    }
    for (size_t i = 0; i < sizeof(clients) / sizeof(clients[0]); i++)
        close(clients[i]);
    assert_int_equal(ask("GET /healthz", ""), 200);
    stop();
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
