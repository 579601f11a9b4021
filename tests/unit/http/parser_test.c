/* SPDX-License-Identifier: MIT */
/*
 * Heads: what passes, what is refused and with which status. Every vector is
 * read whole, cut at each byte and byte by byte.
 */
#include "kamiyo/http/parser.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "http/http_internal.h"
#include "http_support.h"

#define BYTES(literal) (literal), sizeof(literal) - 1
#define GET_WITH(fields) BYTES("GET / HTTP/1.1\r\nHost: a\r\n" fields "\r\n")
#define POST_WITH(fields) BYTES("POST / HTTP/1.1\r\nHost: a\r\n" fields "\r\n")

static struct parsed parsed; /* too large for the stack */

struct refusal {
    const char *bytes;
    size_t length;
    int status;
};

static void check_refusals(const struct refusal *vectors, size_t count, enum parsed_kind kind)
{
    size_t wrong = 0;

    for (size_t i = 0; i < count; i++) {
        parsed_init_all_ways(&parsed, kind, &http_support_limits, vectors[i].bytes, vectors[i].length);
        if (parsed.status != HTTP_PARSER_ERROR || parsed.error_status != vectors[i].status) {
            print_error("\"%.*s\": status %d, error %d (%s), expected %d\n", (int)vectors[i].length, vectors[i].bytes,
                        (int)parsed.status, parsed.error_status, parsed.error_reason != NULL ? parsed.error_reason : "",
                        vectors[i].status);
            wrong++;
        }
        if (parsed.status == HTTP_PARSER_ERROR)
            assert_non_null(parsed.error_reason);
        parsed_clear(&parsed);
    }
    assert_int_equal(wrong, 0);
}

static void accept_request(const char *bytes, size_t length)
{
    parsed_init_all_ways(&parsed, PARSED_REQUEST, &http_support_limits, bytes, length);
    if (parsed.status != HTTP_PARSER_HEAD) {
        print_error("\"%.*s\": status %d, error %d (%s)\n", (int)length, bytes, (int)parsed.status, parsed.error_status,
                    parsed.error_reason != NULL ? parsed.error_reason : "");
        fail();
    }
}

static void accept_response(const char *bytes, size_t length, enum parsed_kind kind)
{
    parsed_init_all_ways(&parsed, kind, &http_support_limits, bytes, length);
    if (parsed.status != HTTP_PARSER_HEAD) {
        print_error("\"%.*s\": status %d, error %d (%s)\n", (int)length, bytes, (int)parsed.status, parsed.error_status,
                    parsed.error_reason != NULL ? parsed.error_reason : "");
        fail();
    }
}

#define assert_slice(slice, literal) assert_true(slice_equal((slice), SLICE(literal)))

static void test_request_line_refusals(void **state)
{
    static const struct refusal vectors[] = {
        /* methods */
        {BYTES("FOO / HTTP/1.1\r\nHost: a\r\n\r\n"), 501},
        {BYTES("get / HTTP/1.1\r\nHost: a\r\n\r\n"), 501},
        {BYTES("GETS / HTTP/1.1\r\nHost: a\r\n\r\n"), 501},
        {BYTES("DESCRIBE / HTTP/1.1\r\nHost: a\r\n\r\n"), 501},
        {BYTES("CONNECT a:443 HTTP/1.1\r\nHost: a:443\r\n\r\n"), 501},
        {BYTES("AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA"), 501},
        {BYTES(" GET / HTTP/1.1\r\nHost: a\r\n\r\n"), 400},
        {BYTES("G\tET / HTTP/1.1\r\nHost: a\r\n\r\n"), 400},
        {BYTES("GET\t/ HTTP/1.1\r\nHost: a\r\n\r\n"), 400},
        {BYTES("G(T / HTTP/1.1\r\nHost: a\r\n\r\n"), 400},
        {BYTES("\r\nGET / HTTP/1.1\r\nHost: a\r\n\r\n"), 400}, /* the caller skips these */
        {BYTES("\nGET / HTTP/1.1\r\nHost: a\r\n\r\n"), 400},
        {BYTES("\0GET / HTTP/1.1\r\n"), 400},
        {BYTES("\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03"), 400}, /* TLS hello */
        {BYTES("SSH-2.0-OpenSSH_9.2\r\n"), 400},
        /* spaces */
        {BYTES("GET  / HTTP/1.1\r\nHost: a\r\n\r\n"), 400},
        {BYTES("GET /  HTTP/1.1\r\nHost: a\r\n\r\n"), 400},
        {BYTES("GET / HTTP/1.1 \r\nHost: a\r\n\r\n"), 400},
        {BYTES("GET / x HTTP/1.1\r\nHost: a\r\n\r\n"), 400},
        {BYTES("GET /\tHTTP/1.1\r\nHost: a\r\n\r\n"), 400},
        {BYTES("GET HTTP/1.1\r\nHost: a\r\n\r\n"), 400},
        /* line ends */
        {BYTES("GET / HTTP/1.1\nHost: a\r\n\r\n"), 400},
        {BYTES("GET / HTTP/1.1\rHost: a\r\n\r\n"), 400},
        {BYTES("GET / HTTP/1.1\r\r\nHost: a\r\n\r\n"), 400},
        /* versions */
        {BYTES("GET /\r\n"), 400},
        {BYTES("GET /\n"), 400},
        {BYTES("GET / \r\n"), 400},
        {BYTES("GET / HTTP/0.9\r\nHost: a\r\n\r\n"), 400},
        {BYTES("GET / HTTP/1.2\r\nHost: a\r\n\r\n"), 505},
        {BYTES("GET / HTTP/1.9\r\nHost: a\r\n\r\n"), 505},
        {BYTES("GET / HTTP/2.0\r\nHost: a\r\n\r\n"), 505},
        {BYTES("GET / HTTP/3.0\r\nHost: a\r\n\r\n"), 505},
        {BYTES("PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"), 505},
        {BYTES("PRI * HTTP/1.1\r\nHost: a\r\n\r\n"), 501},
        {BYTES("GET / HTTP/2\r\nHost: a\r\n\r\n"), 400},
        {BYTES("GET / HTTP/1.10\r\nHost: a\r\n\r\n"), 400},
        {BYTES("GET / HTTP/11\r\nHost: a\r\n\r\n"), 400},
        {BYTES("GET / HTTP/1,1\r\nHost: a\r\n\r\n"), 400},
        {BYTES("GET / HTTP/ 1.1\r\nHost: a\r\n\r\n"), 400},
        {BYTES("GET / http/1.1\r\nHost: a\r\n\r\n"), 400},
        {BYTES("GET / RTSP/1.0\r\nHost: a\r\n\r\n"), 400},
        {BYTES("SOURCE / ICE/1.0\r\nHost: a\r\n\r\n"), 400},
        {BYTES("GET / XTTP/1.1\r\nHost: a\r\n\r\n"), 400},
        /* targets */
        {BYTES("GET /a#b HTTP/1.1\r\nHost: a\r\n\r\n"), 400},
        {BYTES("GET /\x80 HTTP/1.1\r\nHost: a\r\n\r\n"), 400},
        {BYTES("GET /\xc3\xa9 HTTP/1.1\r\nHost: a\r\n\r\n"), 400},
        {BYTES("GET /\x7f HTTP/1.1\r\nHost: a\r\n\r\n"), 400},
        {BYTES("GET /\x01 HTTP/1.1\r\nHost: a\r\n\r\n"), 400},
        {BYTES("GET /a\0b HTTP/1.1\r\nHost: a\r\n\r\n"), 400},
        {BYTES("GET * HTTP/1.1\r\nHost: a\r\n\r\n"), 400},
        {BYTES("OPTIONS ** HTTP/1.1\r\nHost: a\r\n\r\n"), 400},
        {BYTES("GET a HTTP/1.1\r\nHost: a\r\n\r\n"), 400},
        {BYTES("GET a:80 HTTP/1.1\r\nHost: a\r\n\r\n"), 400},
        {BYTES("GET ?a HTTP/1.1\r\nHost: a\r\n\r\n"), 400},
        {BYTES("GET ftp://a/ HTTP/1.1\r\nHost: a\r\n\r\n"), 400},
        {BYTES("GET http:/a HTTP/1.1\r\nHost: a\r\n\r\n"), 400},
        {BYTES("GET http:// HTTP/1.1\r\nHost: a\r\n\r\n"), 400},
        {BYTES("GET http:///x HTTP/1.1\r\nHost: a\r\n\r\n"), 400},
        {BYTES("GET http://u@a/ HTTP/1.1\r\nHost: a\r\n\r\n"), 400},
        {BYTES("GET http://u:p@a/ HTTP/1.1\r\nHost: a\r\n\r\n"), 400},
        {BYTES("GET http://a:99999/ HTTP/1.1\r\nHost: a\r\n\r\n"), 400},
        {BYTES("GET http://a\\b/ HTTP/1.1\r\nHost: a\r\n\r\n"), 400},
        {BYTES("GET http://a/ HTTP/1.1\r\n\r\n"), 400}, /* Host is needed all the same */
        {BYTES("GET http://a/ HTTP/1.1\r\nHost: a b\r\n\r\n"), 400},
    };

    (void)state;
    check_refusals(vectors, sizeof(vectors) / sizeof(vectors[0]), PARSED_REQUEST);
}

static void test_field_refusals(void **state)
{
    static const struct refusal vectors[] = {
        {GET_WITH("A : b\r\n"), 400},
        {GET_WITH("A\t: b\r\n"), 400},
        {GET_WITH(" A: b\r\n"), 400},
        {GET_WITH("A: b\r\n c\r\n"), 400},
        {GET_WITH("A: b\r\n\tc\r\n"), 400},
        {GET_WITH("A:\r\n b\r\n"), 400},
        {GET_WITH(": b\r\n"), 400},
        {GET_WITH("A\r\n"), 400},
        {GET_WITH("A b\r\n"), 400},
        {GET_WITH("A b: c\r\n"), 400},
        {GET_WITH("A(b: c\r\n"), 400},
        {GET_WITH("A\x80: c\r\n"), 400},
        {GET_WITH("A\0: c\r\n"), 400},
        {GET_WITH("A: b\0c\r\n"), 400},
        {GET_WITH("A: \0\r\n"), 400},
        {GET_WITH("A: b\x01" "c\r\n"), 400},
        {GET_WITH("A: b\x0b" "c\r\n"), 400},
        {GET_WITH("A: b\x0c" "c\r\n"), 400},
        {GET_WITH("A: b\x1f" "c\r\n"), 400},
        {GET_WITH("A: b\x7f" "c\r\n"), 400},
        {GET_WITH("A: b\rc\r\n"), 400},
        {GET_WITH("A: b\r\r\n"), 400},
        {GET_WITH("A: b\nC: d\r\n"), 400},
        {GET_WITH("A: b\n"), 400},
        {GET_WITH("A:\n"), 400},
        {GET_WITH("\n"), 400},
        {GET_WITH("Connection: a\0b\r\n"), 400},
        {GET_WITH("Upgrade: a\x01\r\n"), 400},
        {BYTES("GET / HTTP/1.1\r\n Host: a\r\n\r\n"), 400},
        {BYTES("GET / HTTP/1.1\r\n\tHost: a\r\n\r\n"), 400},
        {BYTES("GET / HTTP/1.1\r\nHost: a\r\n\n"), 400},
        {BYTES("GET / HTTP/1.1\r\nHost: a\r\n\rx"), 400},
        {BYTES("GET / HTTP/1.1\r\nHost: a\n\n"), 400},
        /* Host */
        {BYTES("GET / HTTP/1.1\r\n\r\n"), 400},
        {GET_WITH("Host: a\r\n"), 400},
        {GET_WITH("hOST: b\r\n"), 400},
        {BYTES("GET / HTTP/1.0\r\nHost: a\r\nHost: a\r\n\r\n"), 400},
        {BYTES("GET / HTTP/1.1\r\nHost:\r\n\r\n"), 400},
        {BYTES("GET / HTTP/1.1\r\nHost: \r\n\r\n"), 400},
        {BYTES("GET / HTTP/1.1\r\nHost: a b\r\n\r\n"), 400},
        {BYTES("GET / HTTP/1.1\r\nHost: a,b\r\n\r\n"), 400},
        {BYTES("GET / HTTP/1.1\r\nHost: a/b\r\n\r\n"), 400},
        {BYTES("GET / HTTP/1.1\r\nHost: u@a\r\n\r\n"), 400},
        {BYTES("GET / HTTP/1.1\r\nHost: http://a\r\n\r\n"), 400},
        {BYTES("GET / HTTP/1.1\r\nHost: a:b\r\n\r\n"), 400},
        {BYTES("GET / HTTP/1.1\r\nHost: a:80:80\r\n\r\n"), 400},
        {BYTES("GET / HTTP/1.1\r\nHost: a:65536\r\n\r\n"), 400},
        {BYTES("GET / HTTP/1.1\r\nHost: a:-1\r\n\r\n"), 400},
        {BYTES("GET / HTTP/1.1\r\nHost: :80\r\n\r\n"), 400},
        {BYTES("GET / HTTP/1.1\r\nHost: a%2\r\n\r\n"), 400},
        {BYTES("GET / HTTP/1.1\r\nHost: a%zz\r\n\r\n"), 400},
        {BYTES("GET / HTTP/1.1\r\nHost: [::1\r\n\r\n"), 400},
        {BYTES("GET / HTTP/1.1\r\nHost: [::1]x\r\n\r\n"), 400},
        {BYTES("GET / HTTP/1.1\r\nHost: [1.2.3.4]\r\n\r\n"), 400},
        {BYTES("GET / HTTP/1.1\r\nHost: [fe80::1%eth0]\r\n\r\n"), 400},
        {BYTES("GET / HTTP/1.1\r\nHost: ::1\r\n\r\n"), 400},
        {BYTES("GET / HTTP/1.1\r\nHost: a?\r\n\r\n"), 400},
        {BYTES("GET / HTTP/1.1\r\nHost: a#\r\n\r\n"), 400},
        {BYTES("GET / HTTP/1.1\r\nHost: \xc3\xa9\r\n\r\n"), 400},
        {BYTES("GET / HTTP/1.1\r\nHost: \"a\"\r\n\r\n"), 400},
        /* too many options to compare with every field */
        {GET_WITH("Connection: a,b,c,d,e,f,g,h,i,j,k,l,m,n,o,p,q,r,s,t,u,v,w,x,y,z,1,2,3,4,5,6,7\r\n"), 400},
    };

    (void)state;
    check_refusals(vectors, sizeof(vectors) / sizeof(vectors[0]), PARSED_REQUEST);
}

/* The checks of names and values are llhttp's alone, so here is every byte in each place. */
static void test_every_byte(void **state)
{
    (void)state;
    for (int byte = 0; byte < 256; byte++) {
        char c = (char)byte;

        for (int at = 0; at < 4; at++) {
            static const char template[] = "GET / HTTP/1.1\r\nHost: a\r\nNNN: VVV\r\nConnection: VVV\r\n\r\n";
            char bytes[sizeof(template)];
            char *name = NULL;
            bool is_name = at < 2;
            bool is_valid = http_byte_is(c, is_name ? HTTP_BYTE_TOKEN : HTTP_BYTE_VALUE);

            memcpy(bytes, template, sizeof(bytes));
            name = strstr(bytes, is_name ? "NNN" : at == 2 ? "VVV" : "n: VVV");
            name[at == 0 ? 0 : at == 3 ? 4 : 1] = c;
            if (is_name && byte == ':') /* the value then begins earlier; first, the name is empty */
                is_valid = at == 1;
            parsed_init_all_ways(&parsed, PARSED_REQUEST, &http_support_limits, bytes, sizeof(bytes) - 1);
            if ((parsed.status == HTTP_PARSER_HEAD) != is_valid || (!is_valid && parsed.error_status != 400))
                fail_msg("byte %d at %d: status %d, error %d", byte, at, (int)parsed.status, parsed.error_status);
            parsed_clear(&parsed);
        }
    }
}

/* Published smuggling forms: what one parser takes for a length and another does not. */
static void test_framing_refusals(void **state)
{
    static const struct refusal vectors[] = {
        /* CL.TE and TE.CL */
        {POST_WITH("Content-Length: 5\r\nTransfer-Encoding: chunked\r\n"), 400},
        {POST_WITH("Transfer-Encoding: chunked\r\nContent-Length: 5\r\n"), 400},
        {POST_WITH("Content-Length: 0\r\nTransfer-Encoding: chunked\r\n"), 400},
        {POST_WITH("Content-Length: 5\r\nTransfer-Encoding: identity\r\n"), 400},
        {POST_WITH("Content-Length: 5\r\nTransfer-Encoding:\r\n"), 400},
        /* CL.CL */
        {POST_WITH("Content-Length: 5\r\nContent-Length: 5\r\n"), 400},
        {POST_WITH("Content-Length: 5\r\nContent-Length: 6\r\n"), 400},
        {POST_WITH("Content-Length: 5\r\ncontent-length: 0\r\n"), 400},
        {POST_WITH("Content-Length: 5, 5\r\n"), 400},
        {POST_WITH("Content-Length: 5,6\r\n"), 400},
        {POST_WITH("Content-Length: 5,\r\n"), 400},
        {POST_WITH("Content-Length: +5\r\n"), 400},
        {POST_WITH("Content-Length: -5\r\n"), 400},
        {POST_WITH("Content-Length: 5 5\r\n"), 400},
        {POST_WITH("Content-Length: 0x5\r\n"), 400},
        {POST_WITH("Content-Length: 5.0\r\n"), 400},
        {POST_WITH("Content-Length: 5e1\r\n"), 400},
        {POST_WITH("Content-Length: 1_0\r\n"), 400},
        {POST_WITH("Content-Length: \"5\"\r\n"), 400},
        {POST_WITH("Content-Length:\r\n"), 400},
        {POST_WITH("Content-Length: \r\n"), 400},
        {POST_WITH("Content-Length: a\r\n"), 400},
        {POST_WITH("Content-Length: 5;\r\n"), 400},
        {POST_WITH("Content-Length: \x0b" "5\r\n"), 400},
        {POST_WITH("Content-Length: 5\xa0\r\n"), 400},
        {POST_WITH("Content-Length: \xd9\xa5\r\n"), 400}, /* an Arabic digit */
        {POST_WITH("Content-Length: 9223372036854775808\r\n"), 400},
        {POST_WITH("Content-Length: 18446744073709551615\r\n"), 400},
        {POST_WITH("Content-Length: 18446744073709551616\r\n"), 400},
        {POST_WITH("Content-Length: 99999999999999999999999999\r\n"), 400},
        {POST_WITH("Content-Length : 5\r\n"), 400},
        {POST_WITH("Content-Length\t: 5\r\n"), 400},
        {POST_WITH("X: y\rContent-Length: 5\r\n"), 400},
        {POST_WITH("X: y\nContent-Length: 5\r\n"), 400},
        /* Transfer-Encoding in disguise */
        {POST_WITH("Transfer-Encoding : chunked\r\n"), 400},
        {POST_WITH("Transfer-Encoding\t: chunked\r\n"), 400},
        {POST_WITH(" Transfer-Encoding: chunked\r\n"), 400},
        {POST_WITH("X: y\r\n Transfer-Encoding: chunked\r\n"), 400},
        {POST_WITH("Transfer-Encoding:\r\n chunked\r\n"), 400},
        {POST_WITH("Transfer-Encoding: \x0b" "chunked\r\n"), 400},
        {POST_WITH("Transfer-Encoding: \x0c" "chunked\r\n"), 400},
        {POST_WITH("Transfer-Encoding: chunked\0\r\n"), 400},
        {POST_WITH("Transfer-Encoding: xchunked\r\n"), 400},
        {POST_WITH("Transfer-Encoding: chunkedx\r\n"), 400},
        {POST_WITH("Transfer-Encoding: chunk\r\n"), 400},
        {POST_WITH("Transfer-Encoding: \"chunked\"\r\n"), 400},
        {POST_WITH("Transfer-Encoding: 'chunked'\r\n"), 400},
        {POST_WITH("Transfer-Encoding: [chunked]\r\n"), 400},
        {POST_WITH("Transfer-Encoding: chunked;q=1\r\n"), 400},
        {POST_WITH("Transfer-Encoding: chunked;\r\n"), 400},
        {POST_WITH("Transfer-Encoding: chunked,\r\n"), 400},
        {POST_WITH("Transfer-Encoding: ,chunked\r\n"), 400},
        {POST_WITH("Transfer-Encoding: chunked chunked\r\n"), 400},
        {POST_WITH("Transfer-Encoding: chunked, chunked\r\n"), 400},
        {POST_WITH("Transfer-Encoding: chunked, identity\r\n"), 400},
        {POST_WITH("Transfer-Encoding: chunked, gzip\r\n"), 400},
        {POST_WITH("Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked\r\n"), 400},
        {POST_WITH("Transfer-Encoding: chunked\r\nTransfer-Encoding: x\r\n"), 400},
        {POST_WITH("Transfer-Encoding: x\r\nTransfer-Encoding: chunked\r\n"), 400},
        {POST_WITH("Transfer-Encoding:\r\nTransfer-Encoding: chunked\r\n"), 400},
        {POST_WITH("Transfer-Encoding: identity\r\n"), 400},
        {POST_WITH("Transfer-Encoding: gzip\r\n"), 400},
        {POST_WITH("Transfer-Encoding:\r\n"), 400},
        {POST_WITH("Transfer-Encoding: \xef\xbd\x83hunked\r\n"), 400},
        {POST_WITH("Transfer-Encoding: gzip, chunked\r\n"), 501},
        {POST_WITH("Transfer-Encoding: identity, chunked\r\n"), 501},
        {BYTES("POST / HTTP/1.0\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n"), 400},
    };

    (void)state;
    check_refusals(vectors, sizeof(vectors) / sizeof(vectors[0]), PARSED_REQUEST);
}

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
        {"GET /%41%zz;x=[1]|{2}", HTTP_TARGET_ORIGIN, "/%41%zz;x=[1]|{2}", "/%41%zz;x=[1]|{2}", "h"},
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
        int length = snprintf(bytes, sizeof(bytes), "%s HTTP/1.1\r\nHost: h\r\n\r\n", vectors[i].line);

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
    static const char *const hosts[] = {"a", "a.b-c_d~e", "a:", "a:0", "a:65535", "1.2.3.4", "1.2.3.4:8", "[::1]",
                                        "[2001:db8::1]:443", "a%20b", "xn--e1afmkfd", "a;b=c", "localhost:10000"};

    (void)state;
    for (size_t i = 0; i < sizeof(hosts) / sizeof(hosts[0]); i++) {
        char bytes[200];
        int length = snprintf(bytes, sizeof(bytes), "GET / HTTP/1.1\r\nHost: \t%s \r\n\r\n", hosts[i]);

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
    accept_request(BYTES("POST /x HTTP/1.1\r\nhost:a\r\nEMPTY:\r\nBlank: \t \r\nX-1:  a \tb \t\r\nObs: \xe9\xff\r\n"
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
    } methods[] = {{"GET", true},  {"HEAD", true},   {"OPTIONS", true}, {"TRACE", true},      {"PUT", true},
                   {"DELETE", true}, {"POST", false}, {"PATCH", false},  {"PROPFIND", false}, {"M-SEARCH", false},
                   {"PURGE", false}, {"QUERY", false}, {"UNSUBSCRIBE", false}};

    (void)state;
    for (size_t i = 0; i < sizeof(methods) / sizeof(methods[0]); i++) {
        char bytes[100];
        int length = snprintf(bytes, sizeof(bytes), "%s / HTTP/1.1\r\nHost: a\r\n\r\n", methods[i].name);

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
        int length = snprintf(bytes, sizeof(bytes), "GET / HTTP/%s\r\nHost: a\r\n%s\r\n", vectors[i].version, vectors[i].fields);

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
        {"Host", false},          {"Connection", true},        {"X-Drop", true},
        {"x-drop", true},         {"X-Keep", false},           {"Authorization", false},
        {"X-API-Key", false},     {"X-Forwarded-For", false},  {"X-Request-Id", false},
        {"Keep-Alive", true},     {"Proxy-Connection", true},  {"Proxy-Authorization", true},
        {"Proxy-Foo", true},      {"Proxy-Status", false},     {"TE", true},
        {"Upgrade", true},        {"Trailer", false},          {"Cookie", true},
        {"X_Forwarded_For", true}, {"Content_Length", true},   {"x_real-ip", true},
        {"a_b", false},           {"Proxy", false},            {"Content-Length", true},
    };
    char bytes[2000];
    size_t length = (size_t)snprintf(bytes, sizeof(bytes), "GET / HTTP/1.1\r\n");

    (void)state;
    for (size_t i = 0; i < sizeof(expected) / sizeof(expected[0]); i++) {
        const char *value = "1";

        if (strcmp(expected[i].name, "Connection") == 0)
            value = "x-drop, Host, authorization,X-API-KEY, X-Forwarded-For,x-request-id , cookie, content-length";
        length += (size_t)snprintf(bytes + length, sizeof(bytes) - length, "%s: %s\r\n", expected[i].name, value);
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
        {"1.1", "Expect: 100-continue, x\r\n", false, true},
        {"1.1", "Expect: 100-continue\r\nExpect: x\r\n", true, true},
        {"1.1", "Expect:\r\n", false, true},
    };

    (void)state;
    for (size_t i = 0; i < sizeof(vectors) / sizeof(vectors[0]); i++) {
        char bytes[200];
        int length = snprintf(bytes, sizeof(bytes), "POST / HTTP/%s\r\nHost: a\r\nContent-Length: 1\r\n%s\r\n",
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
    static const struct http_limits limits = {.max_head_bytes = 300, .max_target_bytes = 50, .max_fields = 5};
    int length;

    (void)state;
    for (int over = 0; over < 2; over++) {
        length = snprintf(bytes, sizeof(bytes), "GET /%0*d HTTP/1.1\r\nHost: a\r\n\r\n", 49 + over, 0);
        parsed_init_all_ways(&parsed, PARSED_REQUEST, &limits, bytes, (size_t)length);
        assert_int_equal(parsed.error_status, over ? 414 : 0);
        parsed_clear(&parsed);

        length = snprintf(bytes, sizeof(bytes), "GET / HTTP/1.1\r\nHost: a\r\nX: %0*d\r\n\r\n", 300 - 32 + over, 0);
        parsed_init_all_ways(&parsed, PARSED_REQUEST, &limits, bytes, (size_t)length);
        assert_int_equal(parsed.error_status, over ? 431 : 0);
        parsed_clear(&parsed);

        length = snprintf(bytes, sizeof(bytes), "GET / HTTP/1.1\r\nHost: a\r\nA: 1\r\nB: 1\r\nC: 1\r\nD: 1\r\n%s\r\n",
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

static void test_response_refusals(void **state)
{
    static const struct refusal vectors[] = {
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
        {BYTES("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\nTransfer-Encoding: chunked\r\n\r\n"), 502},
        {BYTES("HTTP/1.0 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n"), 502},
    };

    (void)state;
    check_refusals(vectors, sizeof(vectors) / sizeof(vectors[0]), PARSED_RESPONSE);
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
        {"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\n", PARSED_RESPONSE, 200, "OK", HTTP_FRAMING_LENGTH, true, true},
        {"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n", PARSED_RESPONSE, 200, "OK", HTTP_FRAMING_LENGTH, true, true},
        {"HTTP/1.1 200\r\nContent-Length: 5\r\n\r\n", PARSED_RESPONSE, 200, "", HTTP_FRAMING_LENGTH, true, true},
        {"HTTP/1.1 200 \r\nContent-Length: 5\r\n\r\n", PARSED_RESPONSE, 200, "", HTTP_FRAMING_LENGTH, true, true},
        {"HTTP/1.1 404 Not  Found \xe9\r\n\r\n", PARSED_RESPONSE, 404, "Not  Found \xe9", HTTP_FRAMING_UNTIL_CLOSE, false, false},
        {"HTTP/1.1 200 OK\r\nTransfer-Encoding: Chunked\r\n\r\n", PARSED_RESPONSE, 200, "OK", HTTP_FRAMING_CHUNKED, true, false},
        {"HTTP/1.1 200 OK\r\nConnection: close\r\nTransfer-Encoding: chunked\r\n\r\n", PARSED_RESPONSE, 200, "OK",
         HTTP_FRAMING_CHUNKED, false, false},
        {"HTTP/1.0 200 OK\r\nContent-Length: 5\r\n\r\n", PARSED_RESPONSE, 200, "OK", HTTP_FRAMING_LENGTH, false, true},
        {"HTTP/1.0 200 OK\r\nConnection: keep-alive\r\nContent-Length: 5\r\n\r\n", PARSED_RESPONSE, 200, "OK",
         HTTP_FRAMING_LENGTH, true, true},
        {"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\n", PARSED_RESPONSE_TO_HEAD, 200, "OK", HTTP_FRAMING_NONE, true, true},
        {"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n", PARSED_RESPONSE_TO_HEAD, 200, "OK", HTTP_FRAMING_NONE,
         true, false},
        {"HTTP/1.1 200 OK\r\n\r\n", PARSED_RESPONSE_TO_HEAD, 200, "OK", HTTP_FRAMING_NONE, true, false},
        {"HTTP/1.1 204 No Content\r\nContent-Length: 5\r\n\r\n", PARSED_RESPONSE, 204, "No Content", HTTP_FRAMING_NONE, true, true},
        {"HTTP/1.1 304 Not Modified\r\nContent-Length: 5\r\n\r\n", PARSED_RESPONSE, 304, "Not Modified", HTTP_FRAMING_NONE,
         true, true},
        {"HTTP/1.1 205 Reset Content\r\nContent-Length: 0\r\n\r\n", PARSED_RESPONSE, 205, "Reset Content",
         HTTP_FRAMING_LENGTH, true, true},
        {"HTTP/1.1 100 Continue\r\n\r\n", PARSED_RESPONSE, 100, "Continue", HTTP_FRAMING_NONE, true, false},
        {"HTTP/1.1 103 Early Hints\r\nLink: </a>\r\n\r\n", PARSED_RESPONSE, 103, "Early Hints", HTTP_FRAMING_NONE, true, false},
        {"HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\n", PARSED_RESPONSE, 101,
         "Switching Protocols", HTTP_FRAMING_NONE, true, false},
        {"HTTP/1.1 999 Odd\r\nContent-Length: 5\r\n\r\n", PARSED_RESPONSE, 999, "Odd", HTTP_FRAMING_LENGTH, true, true},
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
        cmocka_unit_test(test_request_line_refusals),
        cmocka_unit_test(test_field_refusals),
        cmocka_unit_test(test_every_byte),
        cmocka_unit_test(test_framing_refusals),
        cmocka_unit_test(test_targets),
        cmocka_unit_test(test_hosts),
        cmocka_unit_test(test_fields),
        cmocka_unit_test(test_all_methods),
        cmocka_unit_test(test_connection),
        cmocka_unit_test(test_hop_by_hop),
        cmocka_unit_test(test_expectations),
        cmocka_unit_test(test_max_forwards),
        cmocka_unit_test(test_limits),
        cmocka_unit_test(test_incomplete),
        cmocka_unit_test(test_response_refusals),
        cmocka_unit_test(test_responses),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
