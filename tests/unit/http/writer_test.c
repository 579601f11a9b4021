/* SPDX-License-Identifier: MIT */
/*
 * Heads out: the whole text of what is written, from heads that came through
 * the parser.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "kamiyo/http/writer.h"

#include "http_support.h"

static struct parsed parsed; /* too large for the stack */
static char buffer[8192];
static struct text out;

static const struct http_forwarding untrusted = {
    .peer = {"9.9.9.9", 7},
    .scheme = {"http", 4},
    .request_id = {"id-1", 4},
    .upstream_host = {"api:8000", 8},
};

static void parse(enum parsed_kind kind, const char *bytes)
{
    parsed_init(&parsed, kind, &http_support_limits, bytes, strlen(bytes), NULL, 0);
    if (parsed.status != HTTP_PARSER_HEAD)
        fail_msg("%s: %s", bytes, parsed.error_reason != NULL ? parsed.error_reason : "incomplete");
    text_init(&out, buffer, sizeof(buffer));
}

static void check(const char *expected)
{
    assert_false(out.overflow);
    assert_string_equal(text_terminate(&out), expected);
    parsed_clear(&parsed);
}

static void test_request(void **state)
{
    (void)state;
    parse(PARSED_REQUEST,
          "POST /a?b HTTP/1.1\r\nA: 1\r\nhost: h:80\r\nCookie: x\r\nContent-length: 007\r\nCOOKIE: "
          "y\r\n"
          "Connection: keep-alive, X-Hop\r\nX-Hop: 1\r\nKeep-Alive: timeout=5\r\nProxy-Connection: "
          "keep-alive\r\n"
          "Via: 1.1 other\r\nTE: gzip\r\nUpgrade: h2c\r\nProxy-Authorization: x\r\n"
          "Expect: 100-continue\r\nX-Request-Id: forged\r\nEmpty:\r\nObs: \xff\r\n\r\n");
    http_writer_request(&out, &parsed.request, &untrusted);
    check("POST /a?b HTTP/1.1\r\nHost: h:80\r\nA: 1\r\nCookie: x\r\nCOOKIE: y\r\nVia: 1.1 other\r\n"
          "Expect: 100-continue\r\nEmpty: \r\nObs: \xff\r\nContent-Length: 7\r\nVia: 1.1 "
          "kamiyo-gateway\r\n"
          "X-Forwarded-For: 9.9.9.9\r\nX-Forwarded-Proto: http\r\nX-Forwarded-Host: "
          "h:80\r\nX-Request-Id: id-1\r\n\r\n");
}

/* Lines that are to leave as they came are copied in runs; any other spacing is written anew. */
static void test_request_lines(void **state)
{
    (void)state;
    parse(PARSED_REQUEST,
          "GET /a HTTP/1.1\r\nHost: h\r\nA: 1\r\nB:2\r\nC:  3\r\nD: 4 \r\nE: 5\r\nConnection: "
          "close\r\nF: 6\r\nG: 7\r\nProxy-X: 8\r\nA-Name-Of-More-Than-Sixteen: 9\r\n\r\n");
    http_writer_request(&out, &parsed.request, &untrusted);
    check("GET /a HTTP/1.1\r\nHost: h\r\nA: 1\r\nB: 2\r\nC: 3\r\nD: 4\r\nE: 5\r\nF: 6\r\nG: "
          "7\r\nA-Name-Of-More-Than-Sixteen: 9\r\nVia: 1.1 kamiyo-gateway\r\nX-Forwarded-For: "
          "9.9.9.9\r\nX-Forwarded-Proto: http\r\nX-Forwarded-Host: h\r\nX-Request-Id: "
          "id-1\r\n\r\n");
    parse(PARSED_REQUEST, "GET / HTTP/1.1\r\nhost: h\r\nA: 1\r\n\r\n");
    http_writer_request(&out, &parsed.request, &untrusted);
    check("GET / HTTP/1.1\r\nHost: h\r\nA: 1\r\nVia: 1.1 kamiyo-gateway\r\nX-Forwarded-For: "
          "9.9.9.9\r\nX-Forwarded-Proto: http\r\nX-Forwarded-Host: h\r\nX-Request-Id: "
          "id-1\r\n\r\n");
}

static void test_request_http10(void **state)
{
    (void)state;
    parse(PARSED_REQUEST, "GET / HTTP/1.0\r\nExpect: 100-continue\r\n\r\n");
    http_writer_request(&out, &parsed.request, &untrusted);
    check("GET / HTTP/1.1\r\nHost: api:8000\r\nVia: 1.0 kamiyo-gateway\r\nX-Forwarded-For: "
          "9.9.9.9\r\n"
          "X-Forwarded-Proto: http\r\nX-Request-Id: id-1\r\n\r\n");
}

static void test_request_claims(void **state)
{
    static const struct slice removed[] = {{"X-Auth-User", 11}, {"x-auth-tier", 11}};
    static const char bytes[] =
        "GET / HTTP/1.1\r\nHost: h\r\nX-Forwarded-For: 1.1.1.1\r\nForwarded: "
        "for=1.1.1.1\r\nX-Real-IP: 1\r\n"
        "CF-Connecting-IP: 1\r\nTrue-Client-IP: 1\r\nX-Forwarded-Proto: https\r\nX-Forwarded-Host: "
        "e\r\n"
        "X-Forwarded-Port: 443\r\nX-Forwarded-For: 2.2.2.2, 3.3.3.3\r\nX-auth-user: root\r\n"
        "X-Auth-Tier: pro\r\nX_auth-User: root\r\nX_Forwarded_For: 1\r\ntraceparent: t\r\n\r\n";
    struct http_forwarding forwarding = untrusted;

    (void)state;
    parse(PARSED_REQUEST, bytes);
    forwarding.removed_names = removed;
    forwarding.removed_count = 2;
    http_writer_request(&out, &parsed.request, &forwarding);
    check("GET / HTTP/1.1\r\nHost: h\r\ntraceparent: t\r\nVia: 1.1 "
          "kamiyo-gateway\r\nX-Forwarded-For: 9.9.9.9\r\n"
          "X-Forwarded-Proto: http\r\nX-Forwarded-Host: h\r\nX-Request-Id: id-1\r\n\r\n");

    parse(PARSED_REQUEST, bytes);
    forwarding = untrusted;
    forwarding.is_peer_trusted = true;
    http_writer_request(&out, &parsed.request, &forwarding);
    check("GET / HTTP/1.1\r\nHost: h\r\nForwarded: for=1.1.1.1\r\nX-Real-IP: "
          "1\r\nCF-Connecting-IP: 1\r\nTrue-Client-IP: 1\r\n"
          "X-Forwarded-Proto: https\r\nX-Forwarded-Host: e\r\nX-Forwarded-Port: "
          "443\r\nX-auth-user: root\r\nX-Auth-Tier: pro\r\nX_auth-User: root\r\n"
          "traceparent: t\r\nVia: 1.1 kamiyo-gateway\r\nX-Forwarded-For: 1.1.1.1, 2.2.2.2, "
          "3.3.3.3, 9.9.9.9\r\n"
          "X-Request-Id: id-1\r\n\r\n");
}

static void test_request_targets(void **state)
{
    (void)state;
    parse(PARSED_REQUEST, "GET http://x.y?q HTTP/1.1\r\nHost: other\r\n\r\n");
    http_writer_request(&out, &parsed.request, &untrusted);
    check("GET /?q HTTP/1.1\r\nHost: x.y\r\nVia: 1.1 kamiyo-gateway\r\nX-Forwarded-For: 9.9.9.9\r\n"
          "X-Forwarded-Proto: http\r\nX-Forwarded-Host: x.y\r\nX-Request-Id: id-1\r\n\r\n");
    parse(PARSED_REQUEST, "OPTIONS http://x.y HTTP/1.1\r\nHost: x.y\r\nMax-Forwards: "
                          "2\r\nTransfer-Encoding: CHUNKED\r\n"
                          "TE: trailers, deflate;q=0.5\r\n\r\n");
    http_writer_request(&out, &parsed.request, &untrusted);
    check("OPTIONS * HTTP/1.1\r\nHost: x.y\r\nTransfer-Encoding: chunked\r\nMax-Forwards: "
          "1\r\nVia: 1.1 kamiyo-gateway\r\n"
          "X-Forwarded-For: 9.9.9.9\r\nX-Forwarded-Proto: http\r\nX-Forwarded-Host: "
          "x.y\r\nX-Request-Id: id-1\r\n"
          "Connection: TE\r\nTE: trailers\r\n\r\n");
}

static void test_request_tunnel(void **state)
{
    struct http_forwarding forwarding = untrusted;

    (void)state;
    parse(PARSED_REQUEST, "GET /ws HTTP/1.1\r\nHost: h\r\nConnection: Upgrade\r\nUpgrade: "
                          "websocket\r\nSec-WebSocket-Version: 13\r\n\r\n");
    forwarding.tunnel = SLICE("websocket");
    http_writer_request(&out, &parsed.request, &forwarding);
    check("GET /ws HTTP/1.1\r\nHost: h\r\nSec-WebSocket-Version: 13\r\nVia: 1.1 "
          "kamiyo-gateway\r\nX-Forwarded-For: 9.9.9.9\r\n"
          "X-Forwarded-Proto: http\r\nX-Forwarded-Host: h\r\nX-Request-Id: id-1\r\nConnection: "
          "upgrade\r\nUpgrade: websocket\r\n\r\n");
}

static void test_overflow(void **state)
{
    (void)state;
    parse(PARSED_REQUEST, "GET / HTTP/1.1\r\nHost: h\r\nA: 0123456789\r\n\r\n");
    for (size_t capacity = 0; capacity < 150; capacity++) {
        text_init(&out, buffer, capacity);
        http_writer_request(&out, &parsed.request, &untrusted);
        assert_true(out.overflow);
        assert_true(out.length <= capacity);
    }
    parsed_clear(&parsed);
}

static void test_response(void **state)
{
    struct http_delivery delivery = {
        .client_minor_version = 1,
        .framing = HTTP_FRAMING_CHUNKED,
        .keep_alive = true,
        .request_id = SLICE("id-1"),
        .date = SLICE("Sun, 06 Nov 1994 08:49:37 GMT"),
        .extra = SLICE("X-RateLimit-Limit: 10\r\n"),
        .replaces_limit_fields = true,
        .replaces_ratelimit_fields = true,
    };
    static const char bytes[] =
        "HTTP/1.0 200 Fine\r\nServer: u\r\nSet-Cookie: a\r\nConnection: close, X-Hop\r\nX-Hop: "
        "1\r\n"
        "Set-Cookie: b\r\nX-RateLimit-Limit: 5\r\nRateLimit: x\r\nRetry-After: 1\r\nKeep-Alive: "
        "1\r\n"
        "Trailer: X\r\nX-Request-Id: up\r\nProxy-Authenticate: x\r\nVia: 1.0 o\r\n\r\n";

    (void)state;
    parse(PARSED_RESPONSE, bytes);
    http_writer_response(&out, &parsed.response, &delivery);
    check("HTTP/1.1 200 Fine\r\nServer: u\r\nSet-Cookie: a\r\nSet-Cookie: b\r\nRetry-After: "
          "1\r\nTrailer: X\r\nVia: 1.0 o\r\n"
          "Date: Sun, 06 Nov 1994 08:49:37 GMT\r\nTransfer-Encoding: chunked\r\nVia: 1.0 "
          "kamiyo-gateway\r\nX-Request-Id: id-1\r\n"
          "X-RateLimit-Limit: 10\r\n\r\n");
    parse(PARSED_RESPONSE, bytes);
    delivery =
        (struct http_delivery){.client_minor_version = 0, .framing = HTTP_FRAMING_UNTIL_CLOSE};
    http_writer_response(&out, &parsed.response, &delivery);
    check("HTTP/1.1 200 Fine\r\nServer: u\r\nSet-Cookie: a\r\nSet-Cookie: b\r\nX-RateLimit-Limit: "
          "5\r\nRateLimit: x\r\n"
          "Retry-After: 1\r\nX-Request-Id: up\r\nVia: 1.0 o\r\nVia: 1.0 "
          "kamiyo-gateway\r\nConnection: close\r\n\r\n");
    parse(PARSED_RESPONSE, "HTTP/1.1 204\r\nDate: x\r\nContent-Length: 3\r\n\r\n");
    delivery =
        (struct http_delivery){.client_minor_version = 0, .keep_alive = true, .date = SLICE("y")};
    http_writer_response(&out, &parsed.response, &delivery);
    check("HTTP/1.1 204 \r\nDate: x\r\nVia: 1.1 kamiyo-gateway\r\nConnection: keep-alive\r\n\r\n");
}

/* llhttp takes a bare CR for the status line's end: it must not leave as one. */
static void test_response_status_line(void **state)
{
    static const struct {
        const char *from, *to;
    } rows[] = {
        {"HTTP/1.1 204 No Content\r\r\r\n\n\r\n", "HTTP/1.1 204 No Content\r\n"},
        {"HTTP/1.1 204 No Content\r\nA: 1\r\n\r\n", "HTTP/1.1 204 No Content\r\nA: 1\r\n"},
        {"HTTP/1.1 204\r\nA:1\r\n\r\n", "HTTP/1.1 204 \r\nA: 1\r\n"},
        {"HTTP/1.0 204 No\r\nA: 1\r\n\r\n", "HTTP/1.1 204 No\r\nA: 1\r\n"},
    };

    (void)state;
    for (size_t i = 0; i < COUNT_OF(rows); i++) {
        char expected[128];

        parse(PARSED_RESPONSE, rows[i].from);
        http_writer_interim(&out, &parsed.response);
        (void)snprintf(expected, sizeof(expected), "%s\r\n", rows[i].to);
        check(expected);
    }
}

static void test_response_tunnel_and_interim(void **state)
{
    struct http_delivery delivery = {
        .client_minor_version = 1, .keep_alive = true, .tunnel = SLICE("websocket")};

    (void)state;
    parse(PARSED_RESPONSE, "HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: "
                           "websocket\r\nSec-WebSocket-Accept: x\r\n\r\n");
    http_writer_response(&out, &parsed.response, &delivery);
    check("HTTP/1.1 101 Switching Protocols\r\nSec-WebSocket-Accept: x\r\nVia: 1.1 "
          "kamiyo-gateway\r\nConnection: upgrade\r\n"
          "Upgrade: websocket\r\n\r\n");
    parse(PARSED_RESPONSE,
          "HTTP/1.1 103 Early Hints\r\nLink: </a>\r\nConnection: x\r\nContent-Length: 0\r\n\r\n");
    http_writer_interim(&out, &parsed.response);
    check("HTTP/1.1 103 Early Hints\r\nLink: </a>\r\n\r\n");
}

static void test_chunks(void **state)
{
    static const struct {
        size_t payload;
        const char *head;
    } vectors[] = {{1, "1\r\n"},
                   {15, "f\r\n"},
                   {16, "10\r\n"},
                   {65536, "10000\r\n"},
                   {SIZE_MAX, "ffffffffffffffff\r\n"}};
    char head[HTTP_WRITER_CHUNK_SIZE];

    (void)state;
    for (size_t i = 0; i < sizeof(vectors) / sizeof(vectors[0]); i++) {
        size_t length = http_writer_chunk_head(head, vectors[i].payload);

        assert_int_equal(length, strlen(vectors[i].head));
        assert_memory_equal(head, vectors[i].head, length);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_request),
        cmocka_unit_test(test_request_http10),
        cmocka_unit_test(test_request_claims),
        cmocka_unit_test(test_request_targets),
        cmocka_unit_test(test_request_tunnel),
        cmocka_unit_test(test_overflow),
        cmocka_unit_test(test_response),
        cmocka_unit_test(test_response_tunnel_and_interim),
        cmocka_unit_test(test_chunks),
        cmocka_unit_test(test_request_lines),
        cmocka_unit_test(test_response_status_line),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
