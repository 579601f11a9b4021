/* SPDX-License-Identifier: MIT */
/*
 * The gateway's own answers: status, fields and JSON of each kind, the 429's
 * body as KAMIYO's clients read it, problem+json, HEAD, CORS, closing.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>
#include <jansson.h>

#include "kamiyo/base/attributes.h"
#include "kamiyo/proxy/reply.h"

struct written {
    char bytes[8192];
    size_t body_bytes;
    const char *body;
};

static void write_reply(const struct reply *given, struct written *written)
{
    struct reply reply = *given;
    struct text out;
    reply.request_id = SLICE("abc-1");
    reply.date = SLICE("Sun, 06 Nov 1994 08:49:37 GMT");
    text_init(&out, written->bytes, sizeof(written->bytes) - 1);
    reply_write(&out, &reply, &written->body_bytes);
    assert_false(out.overflow);
    written->bytes[out.length] = '\0';
    written->body = strstr(written->bytes, "\r\n\r\n") + 4;
    assert_int_equal(strlen(written->body), written->body_bytes);
}

static bool has(const struct written *written, const char *text)
{
    return strstr(written->bytes, text) != NULL;
}

static void test_each_kind(void **state)
{
    (void)state;
    static const struct {
        enum reply_kind kind;
        const char *line, *error;
        bool closes, has_retry_after;
    } rows[] = {
        {REPLY_BAD_REQUEST, "HTTP/1.1 400 Bad Request\r\n", "bad_request", true, false},
        {REPLY_FORBIDDEN, "HTTP/1.1 403 Forbidden\r\n", "forbidden", false, false},
        {REPLY_REQUEST_TIMEOUT, "HTTP/1.1 408 Request Timeout\r\n", "request_timeout", true, false},
        {REPLY_CONTENT_TOO_LARGE, "HTTP/1.1 413 Content Too Large\r\n", "content_too_large", true,
         false},
        {REPLY_URI_TOO_LONG, "HTTP/1.1 414 URI Too Long\r\n", "uri_too_long", true, false},
        {REPLY_EXPECTATION_FAILED, "HTTP/1.1 417 Expectation Failed\r\n", "expectation_failed",
         false, false},
        {REPLY_HEADER_FIELDS_TOO_LARGE, "HTTP/1.1 431 Request Header Fields Too Large\r\n",
         "header_fields_too_large", true, false},
        {REPLY_RATE_LIMITED, "HTTP/1.1 429 Too Many Requests\r\n", "rate_limit_exceeded", false,
         true},
        {REPLY_NOT_IMPLEMENTED, "HTTP/1.1 501 Not Implemented\r\n", "not_implemented", true, false},
        {REPLY_HTTP_VERSION_NOT_SUPPORTED, "HTTP/1.1 505 HTTP Version Not Supported\r\n",
         "http_version_not_supported", true, false},
        {REPLY_BAD_GATEWAY, "HTTP/1.1 502 Bad Gateway\r\n", "bad_gateway", false, false},
        {REPLY_SERVICE_UNAVAILABLE, "HTTP/1.1 503 Service Unavailable\r\n", "service_unavailable",
         false, true},
        {REPLY_STORE_UNAVAILABLE, "HTTP/1.1 503 Service Unavailable\r\n", "store_unavailable",
         false, true},
        {REPLY_GATEWAY_TIMEOUT, "HTTP/1.1 504 Gateway Timeout\r\n", "gateway_timeout", false,
         false},
    };
    for (size_t i = 0; i < COUNT_OF(rows); i++) {
        struct written written;
        const struct reply reply = {.kind = rows[i].kind, .keep_alive = true, .minor_version = 1};
        write_reply(&reply, &written);
        assert_int_equal(strncmp(written.bytes, rows[i].line, strlen(rows[i].line)), 0);
        assert_int_equal(reply_closes(rows[i].kind), rows[i].closes);
        assert_int_equal(has(&written, "\r\nRetry-After: 1\r\n"), rows[i].has_retry_after);
        assert_true(has(&written, "\r\nCache-Control: no-store\r\n"));
        assert_true(has(&written, "\r\nX-Request-Id: abc-1\r\n"));
        assert_true(has(&written, "\r\nDate: Sun, 06 Nov 1994 08:49:37 GMT\r\n"));
        json_t *json = json_loads(written.body, 0, NULL);
        assert_non_null(json);
        assert_string_equal(json_string_value(json_object_get(json, "error")), rows[i].error);
        assert_string_equal(json_string_value(json_object_get(json, "request_id")), "abc-1");
        assert_true(strlen(json_string_value(json_object_get(json, "message"))) > 0);
        json_decref(json);
    }
}

static const struct reply quota = {
    .kind = REPLY_RATE_LIMITED,
    .minor_version = 1,
    .keep_alive = true,
    .limit_fields = {"X-RateLimit-Limit: 10\r\n", 23},
    .tier = {"anonymous", 9},
    .window = {"minute", 6},
    .limit = 10,
    .wait_ms = 5950,
    .upgrade_url = {"https://kamiyo.ai/pricing", 25},
    .violated = {"\"minute\"", 8},
};

static void test_quota(void **state)
{
    (void)state;
    struct written written;
    write_reply(&quota, &written);
    assert_string_equal(written.body,
                        "{\"error\": \"rate_limit_exceeded\", \"message\": \"Rate limit exceeded "
                        "for minute window. Please "
                        "slow down.\", \"tier\": \"anonymous\", \"window\": \"minute\", \"limit\": "
                        "10, \"remaining\": 0, "
                        "\"retry_after_seconds\": 6, \"retry_after_ms\": 5950, \"upgrade_url\": "
                        "\"https://kamiyo.ai/pricing\", \"request_id\": \"abc-1\"}\n");
    assert_true(has(&written, "\r\nRetry-After: 6\r\n"));
    assert_true(has(&written, "\r\nX-RateLimit-Limit: 10\r\n"));
    assert_true(has(&written, "\r\nContent-Type: application/json\r\n"));
    assert_false(has(&written, "Connection:"));
}

/* Rounded up to seconds, never 0; the body has the milliseconds. */
static void test_retry_after(void **state)
{
    static const struct {
        int64_t wait_ms;
        const char *field, *member;
    } rows[] = {
        {0, "\r\nRetry-After: 1\r\n", "\"retry_after_seconds\": 1, \"retry_after_ms\": 1,"},
        {1, "\r\nRetry-After: 1\r\n", "\"retry_after_seconds\": 1, \"retry_after_ms\": 1,"},
        {999, "\r\nRetry-After: 1\r\n", "\"retry_after_seconds\": 1, \"retry_after_ms\": 999,"},
        {1000, "\r\nRetry-After: 1\r\n", "\"retry_after_seconds\": 1, \"retry_after_ms\": 1000,"},
        {1001, "\r\nRetry-After: 2\r\n", "\"retry_after_seconds\": 2, \"retry_after_ms\": 1001,"},
        {30001, "\r\nRetry-After: 31\r\n",
         "\"retry_after_seconds\": 31, \"retry_after_ms\": 30001,"},
    };

    (void)state;
    for (size_t i = 0; i < COUNT_OF(rows); i++) {
        struct reply reply = quota;
        struct written written;

        reply.wait_ms = rows[i].wait_ms;
        write_reply(&reply, &written);
        assert_true(has(&written, rows[i].field));
        assert_non_null(strstr(written.body, rows[i].member));
    }
}

static void test_problem(void **state)
{
    (void)state;
    struct written written;
    struct reply reply = quota;
    reply.is_problem_json = true;
    write_reply(&reply, &written);
    assert_true(has(&written, "\r\nContent-Type: application/problem+json\r\n"));
    json_t *json = json_loads(written.body, JSON_REJECT_DUPLICATES, NULL);
    assert_non_null(json);
    assert_string_equal(json_string_value(json_object_get(json, "type")),
                        "https://iana.org/assignments/http-problem-types#quota-exceeded");
    assert_int_equal(json_integer_value(json_object_get(json, "status")), 429);
    assert_string_equal(
        json_string_value(json_array_get(json_object_get(json, "violated-policies"), 0)), "minute");
    assert_string_equal(json_string_value(json_object_get(json, "error")), "rate_limit_exceeded");
    json_decref(json);
}

static void test_head_close_and_cors(void **state)
{
    (void)state;
    struct written whole, head;
    struct reply reply = quota;
    write_reply(&reply, &whole);
    reply.is_head_method = true;
    write_reply(&reply, &head);
    assert_int_equal(head.body_bytes, 0);
    /* The fields of GET, Content-Length included. */
    assert_int_equal(strncmp(whole.bytes, head.bytes, strlen(head.bytes)), 0);

    reply = quota;
    reply.keep_alive = false;
    reply.cors_origin = SLICE("https://kamiyo.ai");
    write_reply(&reply, &whole);
    assert_true(has(&whole, "\r\nConnection: close\r\n"));
    assert_true(has(&whole, "\r\nAccess-Control-Allow-Origin: https://kamiyo.ai\r\n"));
    assert_true(has(&whole, "\r\nVary: Origin\r\n"));

    reply = quota;
    reply.minor_version = 0;
    write_reply(&reply, &whole);
    assert_true(has(&whole, "\r\nConnection: keep-alive\r\n"));
}

static void test_hostile_text_is_escaped(void **state)
{
    (void)state;
    struct written written;
    struct reply reply = quota;
    reply.tier = SLICE("a\"b\\c\n\xff");
    write_reply(&reply, &written);
    json_t *json = json_loads(written.body, 0, NULL);
    assert_non_null(json);
    json_decref(json);
}

static void test_kind_of_status(void **state)
{
    (void)state;
    assert_int_equal(reply_kind_of_status(431), REPLY_HEADER_FIELDS_TOO_LARGE);
    assert_int_equal(reply_kind_of_status(505), REPLY_HTTP_VERSION_NOT_SUPPORTED);
    assert_int_equal(reply_kind_of_status(418), REPLY_BAD_REQUEST);
    for (enum reply_kind kind = REPLY_BAD_REQUEST; kind < REPLY_KIND_COUNT; kind++)
        assert_int_equal(reply_status(reply_kind_of_status(reply_status(kind))),
                         reply_status(kind));
}

static size_t content_length(const struct written *written)
{
    const char *field = strstr(written->bytes, "\r\nContent-Length: ");
    assert_non_null(field);
    return (size_t)strtoul(field + sizeof("\r\nContent-Length: ") - 1, NULL, 10);
}

/* The body moves when its length has another number of digits than most. */
static void test_length_of_each_body(void **state)
{
    (void)state;
    char message[1100];
    size_t shortest = SIZE_MAX, longest = 0;
    memset(message, 'm', sizeof(message));
    for (size_t length = 1; length < sizeof(message); length++) {
        struct written written;
        const struct reply reply = {
            .kind = REPLY_FORBIDDEN,
            .minor_version = 1,
            .keep_alive = true,
            .message = {message, length},
        };
        write_reply(&reply, &written);
        assert_int_equal(content_length(&written), written.body_bytes);
        json_t *json = json_loads(written.body, 0, NULL);
        assert_int_equal(json_string_length(json_object_get(json, "message")), length);
        json_decref(json);
        shortest = written.body_bytes < shortest ? written.body_bytes : shortest;
        longest = written.body_bytes > longest ? written.body_bytes : longest;
    }
    assert_true(shortest < 100 && longest > 999);
}

/* In whatever room: whole and the same, or nothing and said so, and never a byte behind it. */
static void check_in_each_room(const struct reply *reply)
{
    struct written whole;
    write_reply(reply, &whole);
    size_t length = (size_t)(whole.body - whole.bytes) + whole.body_bytes;
    size_t fitted = 0;
    for (size_t room = 0; room < length + 1200; room++) {
        char bytes[4096];
        struct text out;
        struct reply given = *reply;
        size_t body_bytes;
        given.request_id = SLICE("abc-1");
        given.date = SLICE("Sun, 06 Nov 1994 08:49:37 GMT");
        memset(bytes, '#', sizeof(bytes));
        text_init(&out, bytes, room);
        reply_write(&out, &given, &body_bytes);
        for (size_t i = room; i < sizeof(bytes); i++)
            assert_int_equal(bytes[i], '#');
        if (out.overflow) {
            assert_int_equal(out.length, 0);
            assert_int_equal(body_bytes, 0);
            continue;
        }
        assert_int_equal(out.length, length);
        assert_memory_equal(bytes, whole.bytes, length);
        fitted++;
    }
    assert_true(fitted > 0 && fitted < length + 1200);
}

static void test_room(void **state)
{
    (void)state;
    char start[1024], end[1024];
    struct text text;
    struct reply ready = quota;
    const struct reply short_body = {.kind = REPLY_HEALTH, .minor_version = 1, .keep_alive = true};
    check_in_each_room(&short_body);
    check_in_each_room(&quota);
    text_init(&text, start, sizeof(start));
    reply_write_quota_start(&text, &quota);
    ready.quota_start = text_slice(&text);
    text_init(&text, end, sizeof(end));
    reply_write_quota_end(&text, &quota);
    ready.quota_end = text_slice(&text);
    check_in_each_room(&ready);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_each_kind),
        cmocka_unit_test(test_quota),
        cmocka_unit_test(test_retry_after),
        cmocka_unit_test(test_problem),
        cmocka_unit_test(test_head_close_and_cors),
        cmocka_unit_test(test_hostile_text_is_escaped),
        cmocka_unit_test(test_kind_of_status),
        cmocka_unit_test(test_length_of_each_body),
        cmocka_unit_test(test_room),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
