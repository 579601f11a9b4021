/* SPDX-License-Identifier: MIT */
/*
 * Request heads that are refused, and with which status. Every vector is read whole, cut at each
 * byte and byte by byte.
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

static void test_request_line_refusals(void **state)
{
    static const struct http_refusal vectors[] = {
        /* methods */
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
    http_support_refuse(vectors, sizeof(vectors) / sizeof(vectors[0]), PARSED_REQUEST);
}

static void test_field_refusals(void **state)
{
    static const struct http_refusal vectors[] = {
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
        {GET_WITH("A: b\x01"
                  "c\r\n"),
         400},
        {GET_WITH("A: b\x0b"
                  "c\r\n"),
         400},
        {GET_WITH("A: b\x0c"
                  "c\r\n"),
         400},
        {GET_WITH("A: b\x1f"
                  "c\r\n"),
         400},
        {GET_WITH("A: b\x7f"
                  "c\r\n"),
         400},
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
        {GET_WITH(
             "Connection: a,b,c,d,e,f,g,h,i,j,k,l,m,n,o,p,q,r,s,t,u,v,w,x,y,z,1,2,3,4,5,6,7\r\n"),
         400},
    };

    (void)state;
    http_support_refuse(vectors, sizeof(vectors) / sizeof(vectors[0]), PARSED_REQUEST);
}

/* The checks of names and values are llhttp's alone, so here is every byte in each place. */
static void test_every_byte(void **state)
{
    (void)state;
    for (int byte = 0; byte < 256; byte++) {
        char c = (char)byte;

        for (int at = 0; at < 4; at++) {
            static const char template[] =
                "GET / HTTP/1.1\r\nHost: a\r\nNNN: VVV\r\nConnection: VVV\r\n\r\n";
            char bytes[sizeof(template)];
            char *name = NULL;
            bool is_name = at < 2;
            bool is_valid = http_byte_is(c, is_name ? HTTP_BYTE_TOKEN : HTTP_BYTE_VALUE);

            memcpy(bytes, template, sizeof(bytes));
            name = strstr(bytes, is_name ? "NNN" : at == 2 ? "VVV" : "n: VVV");
            name[at == 0 ? 0 : at == 3 ? 4 : 1] = c;
            if (is_name &&
                byte == ':') /* the value then begins earlier; first, the name is empty */
                is_valid = at == 1;
            parsed_init_all_ways(&parsed, PARSED_REQUEST, &http_support_limits, bytes,
                                 sizeof(bytes) - 1);
            if ((parsed.status == HTTP_PARSER_HEAD) != is_valid ||
                (!is_valid && parsed.error_status != 400))
                fail_msg("byte %d at %d: status %d, error %d", byte, at, (int)parsed.status,
                         parsed.error_status);
            parsed_clear(&parsed);
        }
    }
}

/* Published smuggling forms: what one parser takes for a length and another does not. */
static void test_framing_refusals(void **state)
{
    static const struct http_refusal vectors[] = {
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
        {POST_WITH("Content-Length: \x0b"
                   "5\r\n"),
         400},
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
        {POST_WITH("Transfer-Encoding: \x0b"
                   "chunked\r\n"),
         400},
        {POST_WITH("Transfer-Encoding: \x0c"
                   "chunked\r\n"),
         400},
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
    http_support_refuse(vectors, sizeof(vectors) / sizeof(vectors[0]), PARSED_REQUEST);
}

/* The log is told what was understood of a refused request: nothing of an earlier one. */
static void test_nothing_understood(void **state)
{
    static struct http_parser parser;
    static struct http_parser_field fields[HTTP_SUPPORT_FIELDS];
    struct http_request_head head = {.head.fields = parsed.fields};
    size_t consumed;

    (void)state;
    memset(&parser, 0x5a, sizeof(parser));
    http_parser_init_request(&parser, &http_support_limits, fields);
    assert_int_equal(
        http_parser_request(&parser, BYTES("\x01 / HTTP/1.1\r\n\r\n"), &head, &consumed),
        HTTP_PARSER_ERROR);
    assert_int_equal(parser.method.length, 0);
    assert_int_equal(parser.target.length, 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_request_line_refusals),
        cmocka_unit_test(test_field_refusals),
        cmocka_unit_test(test_every_byte),
        cmocka_unit_test(test_framing_refusals),
        cmocka_unit_test(test_nothing_understood),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
