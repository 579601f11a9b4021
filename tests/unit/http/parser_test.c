/* SPDX-License-Identifier: MIT */
/*
 * Request heads that pass, and what is read from them; the limits. Every vector is read whole, cut
 * at each byte and byte by byte. Refusals are in parser_refusal_test.c, responses in
 * parser_response_test.c.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "kamiyo/http/parser.h"

#include "http/http_internal.h"
#include "http_support.h"

static struct parsed parsed; /* too large for the stack */

static void accept_request(const char *bytes, size_t length)
{
    parsed_init_all_ways(&parsed, PARSED_REQUEST, &http_support_limits, bytes, length);
    if (parsed.status != HTTP_PARSER_HEAD) {
        print_error("\"%.*s\": status %d, error %d (%s)\n", (int)length, bytes, (int)parsed.status,
                    parsed.error_status, parsed.error_reason != NULL ? parsed.error_reason : "");
        fail();
    }
}

#define assert_slice(slice, literal) assert_true(slice_equal((slice), SLICE(literal)))

static void test_targets(void **state)
{
    static const struct {
        const char *line;
        enum http_target_form form;
        const char *path;
        const char *path_query;
        const char *host;
    } vectors[] = {
        {"GET /", HTTP_TARGET_ORIGIN, "/", "/", "h"},
        {"GET /a/b?c=d", HTTP_TARGET_ORIGIN, "/a/b", "/a/b?c=d", "h"},
        {"GET /a?b?c", HTTP_TARGET_ORIGIN, "/a", "/a?b?c", "h"},
        {"GET /?", HTTP_TARGET_ORIGIN, "/", "/?", "h"},
        {"GET //a//b/../c", HTTP_TARGET_ORIGIN, "//a//b/../c", "//a//b/../c", "h"},
        {"GET /%41%zz;x=[1]|{2}", HTTP_TARGET_ORIGIN, "/%41%zz;x=[1]|{2}", "/%41%zz;x=[1]|{2}",
         "h"},
        {"GET /http://x/", HTTP_TARGET_ORIGIN, "/http://x/", "/http://x/", "h"},
        {"OPTIONS *", HTTP_TARGET_ASTERISK, "*", "*", "h"},
        {"OPTIONS /", HTTP_TARGET_ORIGIN, "/", "/", "h"},
        {"GET http://x.y/", HTTP_TARGET_ABSOLUTE, "/", "/", "x.y"},
        {"GET http://x.y", HTTP_TARGET_ABSOLUTE, "/", "/", "x.y"},
        {"GET HTTP://x.y:80/a?b", HTTP_TARGET_ABSOLUTE, "/a", "/a?b", "x.y:80"},
        {"GET https://[::1]:8/a", HTTP_TARGET_ABSOLUTE, "/a", "/a", "[::1]:8"},
        {"GET http://x.y?q", HTTP_TARGET_ABSOLUTE, "/", "?q", "x.y"},
        {"OPTIONS http://x.y", HTTP_TARGET_ABSOLUTE, "*", "*", "x.y"},
        {"OPTIONS http://x.y/", HTTP_TARGET_ABSOLUTE, "/", "/", "x.y"},
        {"OPTIONS http://x.y?q", HTTP_TARGET_ABSOLUTE, "/", "?q", "x.y"},
    };

    (void)state;
    for (size_t i = 0; i < sizeof(vectors) / sizeof(vectors[0]); i++) {
        char bytes[200];
        int length =
            snprintf(bytes, sizeof(bytes), "%s HTTP/1.1\r\nHost: h\r\n\r\n", vectors[i].line);

        accept_request(bytes, (size_t)length);
        assert_int_equal(parsed.request.form, vectors[i].form);
        assert_true(slice_equal(parsed.request.path, slice_of(vectors[i].path)));
        assert_true(slice_equal(parsed.request.path_query, slice_of(vectors[i].path_query)));
        assert_true(slice_equal(parsed.request.host, slice_of(vectors[i].host)));
        assert_int_equal(parsed.consumed, length);
        parsed_clear(&parsed);
    }
}

static void test_hosts(void **state)
{
    static const char *const hosts[] = {"a",
                                        "a.b-c_d~e",
                                        "a:",
                                        "a:0",
                                        "a:65535",
                                        "1.2.3.4",
                                        "1.2.3.4:8",
                                        "[::1]",
                                        "[2001:db8::1]:443",
                                        "a%20b",
                                        "xn--e1afmkfd",
                                        "a;b=c",
                                        "localhost:10000"};

    (void)state;
    for (size_t i = 0; i < sizeof(hosts) / sizeof(hosts[0]); i++) {
        char bytes[200];
        int length =
            snprintf(bytes, sizeof(bytes), "GET / HTTP/1.1\r\nHost: \t%s \r\n\r\n", hosts[i]);

        accept_request(bytes, (size_t)length);
        assert_true(slice_equal(parsed.request.host, slice_of(hosts[i])));
        parsed_clear(&parsed);
    }
    accept_request(BYTES("GET / HTTP/1.0\r\n\r\n"));
    assert_int_equal(parsed.request.host.length, 0);
    assert_false(parsed.request.head.keep_alive);
    parsed_clear(&parsed);
}

static void test_fields(void **state)
{
    const struct http_head *head = &parsed.request.head;

    (void)state;
    accept_request(BYTES(
        "POST /x HTTP/1.1\r\nhost:a\r\nEMPTY:\r\nBlank: \t \r\nX-1:  a \tb \t\r\nObs: \xe9\xff\r\n"
        "Content-Length: 0012 \r\nSet: 1\r\nset: 2\r\nAccept: a\r\nACCEPT: b\r\n\r\nGET /next"));
    assert_int_equal(head->field_count, 10);
    assert_slice(head->fields[0].name, "host");
    assert_slice(head->fields[1].name, "EMPTY");
    assert_slice(head->fields[1].value, "");
    assert_slice(head->fields[2].value, "");
    assert_slice(head->fields[3].value, "a \tb");
    assert_slice(head->fields[4].value, "\xe9\xff");
    assert_int_equal(head->framing, HTTP_FRAMING_LENGTH);
    assert_int_equal(head->content_length, 12);
    assert_slice(http_head_find(head, HTTP_FIELD_ACCEPT), "a");
    assert_slice(http_head_next(head, HTTP_FIELD_ACCEPT, &head->fields[8])->value, "b");
    assert_null(http_head_next(head, HTTP_FIELD_ACCEPT, &head->fields[9]));
    assert_null(http_head_next(head, HTTP_FIELD_HOST, &head->fields[0]));
    assert_slice(http_head_find_name(head, SLICE("SET"))->value, "1");
    assert_null(http_head_find_name(head, SLICE("nothing")));
    assert_null(http_head_find(head, HTTP_FIELD_VIA).data);
    assert_memory_equal(parsed.bytes + parsed.consumed, "GET /next", 9);
    parsed_clear(&parsed);
}

static void test_all_methods(void **state)
{
    static const struct {
        const char *name;
        bool is_idempotent;
    } methods[] = {{"GET", true},       {"HEAD", true},   {"OPTIONS", true},
                   {"TRACE", true},     {"PUT", true},    {"DELETE", true},
                   {"POST", false},     {"PATCH", false}, {"PROPFIND", false},
                   {"M-SEARCH", false}, {"PURGE", false}, {"QUERY", false},
                   {"get", false},      {"BREW", false},  {"GETS", false},
                   {"DESCRIBE", false}, {"X!y#z", false}, {"UNSUBSCRIBE", false}};

    (void)state;
    for (size_t i = 0; i < sizeof(methods) / sizeof(methods[0]); i++) {
        char bytes[100];
        int length =
            snprintf(bytes, sizeof(bytes), "%s / HTTP/1.1\r\nHost: a\r\n\r\n", methods[i].name);

        accept_request(bytes, (size_t)length);
        assert_true(slice_equal(parsed.request.method, slice_of(methods[i].name)));
        assert_int_equal(parsed.request.is_idempotent, methods[i].is_idempotent);
        assert_int_equal(parsed.request.is_head_method, strcmp(methods[i].name, "HEAD") == 0);
        assert_int_equal(parsed.request.head.framing, HTTP_FRAMING_NONE);
        parsed_clear(&parsed);
    }
}

static void test_connection(void **state)
{
    static const struct {
        const char *version;
        const char *fields;
        bool keep_alive;
        bool has_upgrade;
    } vectors[] = {
        {"1.1", "", true, false},
        {"1.0", "", false, false},
        {"1.1", "Connection: close\r\n", false, false},
        {"1.1", "Connection: CLOSE , x\r\n", false, false},
        {"1.1", "Connection: x\r\nConnection: close\r\n", false, false},
        {"1.1", "Connection: keep-alive, close\r\n", false, false},
        {"1.1", "Connection: closed\r\n", true, false},
        {"1.1", "Connection: ,, ,\r\n", true, false},
        {"1.1", "Connection:\r\n", true, false},
        {"1.0", "Connection: Keep-Alive\r\n", true, false},
        {"1.0", "Connection: keep-alive, close\r\n", false, false},
        {"1.0", "Proxy-Connection: keep-alive\r\n", false, false},
        {"1.1", "Connection: Upgrade\r\nUpgrade: websocket\r\n", true, true},
        {"1.1", "Connection: keep-alive, Upgrade\r\nUpgrade: websocket\r\n", true, true},
        {"1.1", "Upgrade: websocket\r\n", true, false},
        {"1.1", "Connection: Upgrade\r\n", true, false},
        {"1.0", "Connection: Upgrade\r\nUpgrade: websocket\r\n", false, false},
    };

    (void)state;
    for (size_t i = 0; i < sizeof(vectors) / sizeof(vectors[0]); i++) {
        char bytes[200];
        int length = snprintf(bytes, sizeof(bytes), "GET / HTTP/%s\r\nHost: a\r\n%s\r\n",
                              vectors[i].version, vectors[i].fields);

        accept_request(bytes, (size_t)length);
        assert_int_equal(parsed.request.head.keep_alive, vectors[i].keep_alive);
        assert_int_equal(parsed.request.head.has_upgrade, vectors[i].has_upgrade);
        parsed_clear(&parsed);
    }
}

static void test_hop_by_hop(void **state)
{
    static const struct {
        const char *name;
        bool is_hop;
    } expected[] = {
        {"Host", false},
        {"Connection", true},
        {"X-Drop", true},
        {"x-drop", true},
        {"X-Keep", false},
        {"Authorization", false},
        {"X-API-Key", false},
        {"X-Forwarded-For", false},
        {"X-Request-Id", false},
        {"Keep-Alive", true},
        {"Proxy-Connection", true},
        {"Proxy-Authorization", true},
        {"Proxy-Foo", true},
        {"Proxy-Status", false},
        {"TE", true},
        {"Upgrade", true},
        {"Trailer", false},
        {"Cookie", true},
        {"X_Forwarded_For", true},
        {"Content_Length", true},
        {"x_real-ip", true},
        {"a_b", false},
        {"Proxy", false},
        {"Content-Length", true},
    };
    char bytes[2000];
    size_t length = (size_t)snprintf(bytes, sizeof(bytes), "GET / HTTP/1.1\r\n");

    (void)state;
    for (size_t i = 0; i < sizeof(expected) / sizeof(expected[0]); i++) {
        const char *value = "1";

        if (strcmp(expected[i].name, "Connection") == 0)
            value = "x-drop, Host, authorization,X-API-KEY, X-Forwarded-For,x-request-id , cookie, "
                    "content-length";
        length += (size_t)snprintf(bytes + length, sizeof(bytes) - length, "%s: %s\r\n",
                                   expected[i].name, value);
    }
    length += (size_t)snprintf(bytes + length, sizeof(bytes) - length, "\r\n");
    accept_request(bytes, length);
    for (size_t i = 0; i < sizeof(expected) / sizeof(expected[0]); i++) {
        if (parsed.request.head.fields[i].is_hop != expected[i].is_hop)
            fail_msg("%s", expected[i].name);
    }
    parsed_clear(&parsed);
}

static void test_expectations(void **state)
{
    static const struct {
        const char *version;
        const char *fields;
        bool expects_continue;
        bool has_bad_expectation;
    } vectors[] = {
        {"1.1", "", false, false},
        {"1.1", "Expect: 100-continue\r\n", true, false},
        {"1.1", "Expect: 100-Continue\r\n", true, false},
        {"1.0", "Expect: 100-continue\r\n", false, false},
        {"1.1", "Expect: 200-ok\r\n", false, true},
        {"1.1", "Expect: 100-continue, x\r\n", true, true},
        {"1.1", "Expect: ,100-continue , 100-Continue,\r\n", true, false},
        {"1.1", "Expect: 100-continue\r\nExpect: x\r\n", true, true},
        {"1.1", "Expect:\r\n", false, false},
    };

    (void)state;
    for (size_t i = 0; i < sizeof(vectors) / sizeof(vectors[0]); i++) {
        char bytes[200];
        int length = snprintf(bytes, sizeof(bytes),
                              "POST / HTTP/%s\r\nHost: a\r\nContent-Length: 1\r\n%s\r\n",
                              vectors[i].version, vectors[i].fields);

        accept_request(bytes, (size_t)length);
        assert_int_equal(parsed.request.expects_continue, vectors[i].expects_continue);
        assert_int_equal(parsed.request.has_bad_expectation, vectors[i].has_bad_expectation);
        parsed_clear(&parsed);
    }
}

static void test_max_forwards(void **state)
{
    (void)state;
    accept_request(BYTES("OPTIONS / HTTP/1.1\r\nHost: a\r\nMax-Forwards: 3\r\n\r\n"));
    assert_int_equal(parsed.request.max_forwards, 3);
    parsed_clear(&parsed);
    accept_request(GET_WITH("Max-Forwards: 3\r\n"));
    assert_int_equal(parsed.request.max_forwards, -1);
    parsed_clear(&parsed);
    accept_request(BYTES("TRACE / HTTP/1.1\r\nHost: a\r\nMax-Forwards: x\r\n\r\n"));
    assert_int_equal(parsed.request.max_forwards, -1);
    parsed_clear(&parsed);
}

/* Each limit: what just fits, and one byte or field more. */
static void test_limits(void **state)
{
    static char bytes[8000];
    static const struct http_limits limits = {
        .max_head_bytes = 300, .max_target_bytes = 50, .max_fields = 5};
    int length;

    (void)state;
    for (int over = 0; over < 2; over++) {
        length =
            snprintf(bytes, sizeof(bytes), "GET /%0*d HTTP/1.1\r\nHost: a\r\n\r\n", 49 + over, 0);
        parsed_init_all_ways(&parsed, PARSED_REQUEST, &limits, bytes, (size_t)length);
        assert_int_equal(parsed.error_status, over ? 414 : 0);
        parsed_clear(&parsed);

        length = snprintf(bytes, sizeof(bytes), "GET / HTTP/1.1\r\nHost: a\r\nX: %0*d\r\n\r\n",
                          300 - 32 + over, 0);
        parsed_init_all_ways(&parsed, PARSED_REQUEST, &limits, bytes, (size_t)length);
        assert_int_equal(parsed.error_status, over ? 431 : 0);
        parsed_clear(&parsed);

        length = snprintf(bytes, sizeof(bytes),
                          "GET / HTTP/1.1\r\nHost: a\r\nA: 1\r\nB: 1\r\nC: 1\r\nD: 1\r\n%s\r\n",
                          over ? "E: 1\r\n" : "");
        parsed_init_all_ways(&parsed, PARSED_REQUEST, &limits, bytes, (size_t)length);
        assert_int_equal(parsed.error_status, over ? 431 : 0);
        parsed_clear(&parsed);
    }
    /* An endless head is refused although its end never comes, also in a name. */
    length = snprintf(bytes, sizeof(bytes), "GET / HTTP/1.1\r\nHost: a\r\n%0*d", 1000, 0);
    parsed_init_all_ways(&parsed, PARSED_REQUEST, &limits, bytes, (size_t)length);
    assert_int_equal(parsed.error_status, 431);
    parsed_clear(&parsed);
    length = snprintf(bytes, sizeof(bytes), "GET /%0*d", 51, 0);
    parsed_init_all_ways(&parsed, PARSED_REQUEST, &limits, bytes, (size_t)length);
    assert_int_equal(parsed.error_status, 414);
    parsed_clear(&parsed);
    /* Too long and malformed further on: the first byte over decides. */
    length = snprintf(bytes, sizeof(bytes), "GET /%0*d\x01", 51, 0);
    parsed_init_all_ways(&parsed, PARSED_REQUEST, &limits, bytes, (size_t)length);
    assert_int_equal(parsed.error_status, 414);
    parsed_clear(&parsed);
}

static void test_incomplete(void **state)
{
    static const char whole[] = "GET /a HTTP/1.1\r\nHost: a\r\nB: c\r\n\r\n";

    (void)state;
    for (size_t length = 0; length < sizeof(whole) - 1; length++) {
        parsed_init_all_ways(&parsed, PARSED_REQUEST, &http_support_limits, whole, length);
        assert_int_equal(parsed.status, HTTP_PARSER_MORE);
        parsed_clear(&parsed);
    }
    assert_int_equal(http_parser_skip_empty_lines(BYTES("\r\n\r\nGET")), 4);
    assert_int_equal(http_parser_skip_empty_lines(BYTES("GET")), 0);
    assert_int_equal(http_parser_skip_empty_lines(BYTES("\r")), 0);
    assert_int_equal(http_parser_skip_empty_lines(BYTES("\n\n")), 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_targets),      cmocka_unit_test(test_hosts),
        cmocka_unit_test(test_fields),       cmocka_unit_test(test_all_methods),
        cmocka_unit_test(test_connection),   cmocka_unit_test(test_hop_by_hop),
        cmocka_unit_test(test_expectations), cmocka_unit_test(test_max_forwards),
        cmocka_unit_test(test_limits),       cmocka_unit_test(test_incomplete),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
