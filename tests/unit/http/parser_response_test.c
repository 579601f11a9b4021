/* SPDX-License-Identifier: MIT */
/*
 * Response heads: what passes, with which framing, and what is refused (always 502). Every vector
 * is read whole, cut at each byte and byte by byte.
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

static void accept_response(const char *bytes, size_t length, enum parsed_kind kind)
{
    parsed_init_all_ways(&parsed, kind, &http_support_limits, bytes, length);
    if (parsed.status != HTTP_PARSER_HEAD) {
        print_error("\"%.*s\": status %d, error %d (%s)\n", (int)length, bytes, (int)parsed.status,
                    parsed.error_status, parsed.error_reason != NULL ? parsed.error_reason : "");
        fail();
    }
}

static void test_response_refusals(void **state)
{
    static const struct http_refusal vectors[] = {
        {BYTES("\r\nHTTP/1.1 200 OK\r\n\r\n"), 502},
        {BYTES("\nHTTP/1.1 200 OK\r\n\r\n"), 502},
        {BYTES("<html>"), 502},
        {BYTES("HTP/1.1 200 OK\r\n\r\n"), 502},
        {BYTES("http/1.1 200 OK\r\n\r\n"), 502},
        {BYTES("RTSP/1.0 200 OK\r\n\r\n"), 502},
        {BYTES("HTTP/0.9 200 OK\r\n\r\n"), 502},
        {BYTES("HTTP/1.2 200 OK\r\n\r\n"), 502},
        {BYTES("HTTP/2.0 200 OK\r\n\r\n"), 502},
        {BYTES("HTTP/2 200 OK\r\n\r\n"), 502},
        {BYTES("HTTP/1.1  200 OK\r\n\r\n"), 502},
        {BYTES("HTTP/1.1\t200 OK\r\n\r\n"), 502},
        {BYTES("HTTP/1.1 20 OK\r\n\r\n"), 502},
        {BYTES("HTTP/1.1 2000 OK\r\n\r\n"), 502},
        {BYTES("HTTP/1.1 099 OK\r\n\r\n"), 502},
        {BYTES("HTTP/1.1 2x0 OK\r\n\r\n"), 502},
        {BYTES("HTTP/1.1 -20 OK\r\n\r\n"), 502},
        {BYTES("HTTP/1.1 200OK\r\n\r\n"), 502},
        {BYTES("HTTP/1.1\r\n\r\n"), 502},
        {BYTES("HTTP/1.1 200 O\0K\r\n\r\n"), 502},
        {BYTES("HTTP/1.1 200 O\x01K\r\n\r\n"), 502},
        {BYTES("HTTP/1.1 200 O\rK\r\n\r\n"), 502},
        {BYTES("HTTP/1.1 200 OK\n\n"), 502},
        {BYTES("HTTP/1.1 200 OK\nA: b\r\n\r\n"), 502},
        {BYTES("HTTP/1.1 200 OK\r\nA: b\n\r\n"), 502},
        {BYTES("HTTP/1.1 200 OK\r\nA : b\r\n\r\n"), 502},
        {BYTES("HTTP/1.1 200 OK\r\n A: b\r\n\r\n"), 502},
        {BYTES("HTTP/1.1 200 OK\r\nA: b\r\n c\r\n\r\n"), 502},
        {BYTES("HTTP/1.1 200 OK\r\nA: b\0\r\n\r\n"), 502},
        {BYTES("HTTP/1.1 200 OK\r\nA\r\n\r\n"), 502},
        {BYTES("HTTP/1.1 200 OK\r\nContent-Length: 1\r\nContent-Length: 1\r\n\r\n"), 502},
        {BYTES("HTTP/1.1 200 OK\r\nContent-Length: 1, 1\r\n\r\n"), 502},
        {BYTES("HTTP/1.1 200 OK\r\nContent-Length: -1\r\n\r\n"), 502},
        {BYTES("HTTP/1.1 200 OK\r\nContent-Length: x\r\n\r\n"), 502},
        {BYTES("HTTP/1.1 200 OK\r\nContent-Length: 9223372036854775808\r\n\r\n"), 502},
        {BYTES("HTTP/1.1 200 OK\r\nContent-Length: 1\r\nTransfer-Encoding: chunked\r\n\r\n"), 502},
        {BYTES("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\nContent-Length: 1\r\n\r\n"), 502},
        {BYTES("HTTP/1.1 200 OK\r\nTransfer-Encoding: gzip, chunked\r\n\r\n"), 502},
        {BYTES("HTTP/1.1 200 OK\r\nTransfer-Encoding: gzip\r\n\r\n"), 502},
        {BYTES("HTTP/1.1 200 OK\r\nTransfer-Encoding: identity\r\n\r\n"), 502},
        {BYTES("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked, chunked\r\n\r\n"), 502},
        {BYTES(
             "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\nTransfer-Encoding: chunked\r\n\r\n"),
         502},
        {BYTES("HTTP/1.0 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n"), 502},
    };

    (void)state;
    http_support_refuse(vectors, sizeof(vectors) / sizeof(vectors[0]), PARSED_RESPONSE);
}

static void test_responses(void **state)
{
    static const struct {
        const char *bytes;
        enum parsed_kind kind;
        int status;
        const char *reason;
        enum http_framing framing;
        bool keep_alive;
        bool has_content_length;
    } vectors[] = {
        {"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\n", PARSED_RESPONSE, 200, "OK",
         HTTP_FRAMING_LENGTH, true, true},
        {"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n", PARSED_RESPONSE, 200, "OK",
         HTTP_FRAMING_LENGTH, true, true},
        {"HTTP/1.1 200\r\nContent-Length: 5\r\n\r\n", PARSED_RESPONSE, 200, "", HTTP_FRAMING_LENGTH,
         true, true},
        {"HTTP/1.1 200 \r\nContent-Length: 5\r\n\r\n", PARSED_RESPONSE, 200, "",
         HTTP_FRAMING_LENGTH, true, true},
        {"HTTP/1.1 404 Not  Found \xe9\r\n\r\n", PARSED_RESPONSE, 404, "Not  Found \xe9",
         HTTP_FRAMING_UNTIL_CLOSE, false, false},
        {"HTTP/1.1 200 OK\r\nTransfer-Encoding: Chunked\r\n\r\n", PARSED_RESPONSE, 200, "OK",
         HTTP_FRAMING_CHUNKED, true, false},
        {"HTTP/1.1 200 OK\r\nConnection: close\r\nTransfer-Encoding: chunked\r\n\r\n",
         PARSED_RESPONSE, 200, "OK", HTTP_FRAMING_CHUNKED, false, false},
        {"HTTP/1.0 200 OK\r\nContent-Length: 5\r\n\r\n", PARSED_RESPONSE, 200, "OK",
         HTTP_FRAMING_LENGTH, false, true},
        {"HTTP/1.0 200 OK\r\nConnection: keep-alive\r\nContent-Length: 5\r\n\r\n", PARSED_RESPONSE,
         200, "OK", HTTP_FRAMING_LENGTH, true, true},
        {"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\n", PARSED_RESPONSE_TO_HEAD, 200, "OK",
         HTTP_FRAMING_NONE, true, true},
        {"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n", PARSED_RESPONSE_TO_HEAD, 200,
         "OK", HTTP_FRAMING_NONE, true, false},
        {"HTTP/1.1 200 OK\r\n\r\n", PARSED_RESPONSE_TO_HEAD, 200, "OK", HTTP_FRAMING_NONE, true,
         false},
        {"HTTP/1.1 204 No Content\r\nContent-Length: 5\r\n\r\n", PARSED_RESPONSE, 204, "No Content",
         HTTP_FRAMING_NONE, true, true},
        {"HTTP/1.1 304 Not Modified\r\nContent-Length: 5\r\n\r\n", PARSED_RESPONSE, 304,
         "Not Modified", HTTP_FRAMING_NONE, true, true},
        {"HTTP/1.1 205 Reset Content\r\nContent-Length: 0\r\n\r\n", PARSED_RESPONSE, 205,
         "Reset Content", HTTP_FRAMING_LENGTH, true, true},
        {"HTTP/1.1 100 Continue\r\n\r\n", PARSED_RESPONSE, 100, "Continue", HTTP_FRAMING_NONE, true,
         false},
        {"HTTP/1.1 103 Early Hints\r\nLink: </a>\r\n\r\n", PARSED_RESPONSE, 103, "Early Hints",
         HTTP_FRAMING_NONE, true, false},
        {"HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\n",
         PARSED_RESPONSE, 101, "Switching Protocols", HTTP_FRAMING_NONE, true, false},
        {"HTTP/1.1 999 Odd\r\nContent-Length: 5\r\n\r\n", PARSED_RESPONSE, 999, "Odd",
         HTTP_FRAMING_LENGTH, true, true},
    };

    (void)state;
    for (size_t i = 0; i < sizeof(vectors) / sizeof(vectors[0]); i++) {
        accept_response(vectors[i].bytes, strlen(vectors[i].bytes), vectors[i].kind);
        assert_int_equal(parsed.response.status, vectors[i].status);
        assert_true(slice_equal(parsed.response.reason, slice_of(vectors[i].reason)));
        assert_int_equal(parsed.response.head.framing, vectors[i].framing);
        assert_int_equal(parsed.response.head.keep_alive, vectors[i].keep_alive);
        assert_int_equal(parsed.response.head.has_content_length, vectors[i].has_content_length);
        assert_int_equal(parsed.consumed, strlen(vectors[i].bytes));
        parsed_clear(&parsed);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_response_refusals),
        cmocka_unit_test(test_responses),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
