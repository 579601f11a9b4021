/* SPDX-License-Identifier: MIT */
/*
 * Bodies: where they end, what they hold, what breaks them. Every vector is
 * read whole, cut at each byte and byte by byte.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "kamiyo/base/mem.h"
#include "kamiyo/http/body.h"

#include "http_support.h"

/* What decoding came to. */
struct decoded {
    enum http_body_status status;
    size_t consumed;
    char payload[20000];
    size_t payload_length;
    char trailers[20000];
    size_t trailers_length;
    bool is_complete;
};

static const struct http_head chunked = {.framing = HTTP_FRAMING_CHUNKED};

/* Decode in pieces: one of `first` bytes, then of `step` bytes each. */
static void decode(struct decoded *decoded,
                   const struct http_head *head,
                   const char *bytes,
                   size_t length,
                   size_t first,
                   size_t step)
{
    struct http_body body;
    size_t at = 0;

    memset(decoded, 0, sizeof(*decoded));
    http_body_init(&body, head);
    do {
        size_t piece = at == 0 ? first : step;
        size_t payload;
        size_t consumed;
        char *copy;

        if (piece > length - at)
            piece = length - at;
        copy = mem_resize(mem_copy_bytes(bytes + at, piece),
                          piece > 0 ? piece : 1); /* asan sees a byte too far */
        decoded->status = http_body_decode(&body, copy, piece, &payload, &consumed);
        assert_true(payload <= consumed && consumed <= piece);
        if (decoded->status == HTTP_BODY_MORE)
            assert_int_equal(consumed, piece);
        memcpy(decoded->payload + decoded->payload_length, copy, payload);
        decoded->payload_length += payload;
        at += consumed;
        mem_free(copy);
    } while (at < length && decoded->status == HTTP_BODY_MORE);
    decoded->consumed = at;
    assert_int_equal(body.payload_bytes, decoded->payload_length);
    if (decoded->status == HTTP_BODY_ERROR)
        assert_non_null(body.error_reason);
    decoded->is_complete = http_body_end(&body);
    if (decoded->status == HTTP_BODY_DONE) {
        decoded->trailers_length = body.trailers_length;
        if (body.trailers_length > 0)
            memcpy(decoded->trailers, body.trailers, body.trailers_length);
    }
    http_body_clear(&body);
    assert_null(body.trailers);
}

static struct decoded whole, other; /* too large for the stack */

static void decode_all_ways(const struct http_head *head, const char *bytes, size_t length)
{
    decode(&whole, head, bytes, length, length, length);
    for (size_t first = 1; first <= length; first++) {
        for (int by_byte = 0; by_byte < 2; by_byte++) {
            decode(&other, head, bytes, length, first, by_byte ? 1 : length);
            assert_int_equal(other.status, whole.status);
            assert_int_equal(other.consumed, whole.consumed);
            assert_int_equal(other.payload_length, whole.payload_length);
            assert_memory_equal(other.payload, whole.payload, whole.payload_length);
            assert_int_equal(other.trailers_length, whole.trailers_length);
            assert_memory_equal(other.trailers, whole.trailers, whole.trailers_length);
            assert_int_equal(other.is_complete, whole.is_complete);
        }
    }
}

static void test_chunked(void **state)
{
    static const struct {
        const char *bytes;
        const char *payload;
        const char *trailers;
        size_t rest; /* bytes after the end */
    } vectors[] = {
        {"0\r\n\r\n", "", "", 0},
        {"5\r\nhello\r\n0\r\n\r\n", "hello", "", 0},
        {"5\r\nhello\r\n7\r\n, world\r\n0\r\n\r\nGET /", "hello, world", "", 5},
        {"a\r\n0123456789\r\n0\r\n\r\n", "0123456789", "", 0},
        {"A\r\n0123456789\r\n00\r\n\r\n", "0123456789", "", 0},
        {"0000000000000005\r\nhello\r\n0000\r\n\r\n", "hello", "", 0},
        {"1\r\n\r\r\n1\r\n\n\r\n0\r\n\r\n", "\r\n", "", 0},
        {"2\r\n\r\n\r\n0\r\n\r\n", "\r\n", "", 0},
        /* extensions are dropped */
        {"5;a\r\nhello\r\n0;b=c\r\n\r\n", "hello", "", 0},
        {"5;a=\"x;y \\\" z\";b=c ; d\r\nhello\r\n0\r\n\r\n", "hello", "", 0},
        /* trailers, RFC 9112 7.1.2 */
        {"0\r\nX-Checksum: abc\r\n\r\n", "", "X-Checksum: abc\r\n", 0},
        {"0\r\nA:b\r\nC: \t d \t\r\nE:\r\n\r\nrest", "", "A: b\r\nC: d\r\nE:\r\n", 4},
        {"0\r\nServer-Timing: a;dur=1\r\nContent-Length: 5\r\nB: c\r\n\r\n", "",
         "Server-Timing: a;dur=1\r\nB: c\r\n", 0},
        {"0\r\nTransfer-Encoding: chunked\r\nHOST: x\r\nAuthorization: x\r\nCookie: "
         "a\r\nset-cookie: a\r\n\r\n",
         "", "", 0},
        {"0\r\nX-Forwarded-For: 1.2.3.4\r\nForwarded: for=x\r\nX-Request-Id: x\r\nX-API-Key: "
         "x\r\nX_Real_IP: x\r\n\r\n",
         "", "", 0},
        {"0\r\nContent-Type: a\r\nIf-Match: a\r\nTrailer: a\r\nCache-Control: a\r\nConnection: "
         "a\r\nTE: a\r\n\r\n",
         "", "", 0},
    };

    (void)state;
    for (size_t i = 0; i < sizeof(vectors) / sizeof(vectors[0]); i++) {
        size_t length = strlen(vectors[i].bytes);

        decode_all_ways(&chunked, vectors[i].bytes, length);
        assert_int_equal(whole.status, HTTP_BODY_DONE);
        assert_true(whole.is_complete);
        assert_int_equal(whole.consumed, length - vectors[i].rest);
        whole.payload[whole.payload_length] = '\0';
        whole.trailers[whole.trailers_length] = '\0';
        assert_string_equal(whole.payload, vectors[i].payload);
        assert_string_equal(whole.trailers, vectors[i].trailers);
    }
}

static void test_chunked_refusals(void **state)
{
    static const struct {
        const char *bytes;
        size_t length;
    } vectors[] = {
        /* sizes */
        {BYTES("\r\n")},
        {BYTES("g\r\n")},
        {BYTES("+5\r\nhello\r\n")},
        {BYTES("-5\r\nhello\r\n")},
        {BYTES(" 5\r\nhello\r\n")},
        {BYTES("5 \r\nhello\r\n")},
        {BYTES("5\t\r\nhello\r\n")},
        {BYTES("5 ;a\r\nhello\r\n")},
        {BYTES("0x5\r\nhello\r\n")},
        {BYTES("5_0\r\n")},
        {BYTES("5,5\r\n")},
        {BYTES("\"5\"\r\n")},
        {BYTES("5\0\r\n")},
        {BYTES("8000000000000000\r\n")},
        {BYTES("ffffffffffffffff\r\n")},
        {BYTES("10000000000000005\r\nhello\r\n")},
        {BYTES("00000000000000005\r\nhello\r\n")},
        /* line ends: bare LF or CR, TERM.EXT and EXT.TERM forms */
        {BYTES("5\nhello\r\n")},
        {BYTES("5\rhello\r\n")},
        {BYTES("5\r\rhello\r\n")},
        {BYTES("5\r\nhello\n0\r\n\r\n")},
        {BYTES("5\r\nhello\r0\r\n\r\n")},
        {BYTES("5\r\nhello0\r\n\r\n")},
        {BYTES("5\r\nhello!\r\n0\r\n\r\n")},
        {BYTES("5\r\nhelloXX\r\n0\r\n\r\n")},
        {BYTES("2;\nxx\r\n0\r\n\r\n")},
        {BYTES("2;a\nxx\r\n0\r\n\r\n")},
        {BYTES("2;a\rxx\r\n0\r\n\r\n")},
        {BYTES("2;\r\nxx\r\n0\r\n\r\n")},
        {BYTES("2;a=\"\r\n\"\r\n")},
        {BYTES("2;a\0\r\n")},
        {BYTES("2;a\x7f\r\n")},
        {BYTES("0\r\n\n")},
        {BYTES("0\r\n\r\r")},
        {BYTES("0\n\r\n")},
        {BYTES("0\r\n\rX")},
        /* trailers */
        {BYTES("0\r\n a: b\r\n\r\n")},
        {BYTES("0\r\na : b\r\n\r\n")},
        {BYTES("0\r\n: b\r\n\r\n")},
        {BYTES("0\r\na\r\n\r\n")},
        {BYTES("0\r\na b: c\r\n\r\n")},
        {BYTES("0\r\na: b\n\r\n")},
        {BYTES("0\r\na: b\rc\r\n\r\n")},
        {BYTES("0\r\na: b\r\n c\r\n\r\n")},
        {BYTES("0\r\na: b\0\r\n\r\n")},
        {BYTES("0\r\na: \x01\r\n\r\n")},
        {BYTES("0\r\nGET / HTTP/1.1\r\n\r\n")},
    };

    (void)state;
    for (size_t i = 0; i < sizeof(vectors) / sizeof(vectors[0]); i++) {
        decode_all_ways(&chunked, vectors[i].bytes, vectors[i].length);
        if (whole.status != HTTP_BODY_ERROR)
            fail_msg("%.*s: status %d", (int)vectors[i].length, vectors[i].bytes,
                     (int)whole.status);
        assert_false(whole.is_complete);
    }
}

static void test_removed_trailers(void **state)
{
    static const struct slice removed[] = {{"x-auth-user", 11}, {"X-Auth-Tier", 11}};
    char bytes[] = "0\r\nA: b\r\nX-AUTH-USER: root\r\nX-Auth-Users: c\r\nx-auth-tier: pro\r\n\r\n";
    struct http_body body;
    size_t payload;
    size_t consumed;

    (void)state;
    http_body_init(&body, &chunked);
    body.removed_names = removed;
    body.removed_count = 2;
    assert_int_equal(http_body_decode(&body, bytes, sizeof(bytes) - 1, &payload, &consumed),
                     HTTP_BODY_DONE);
    assert_int_equal(body.trailers_length, 23);
    assert_memory_equal(body.trailers, "A: b\r\nX-Auth-Users: c\r\n", 23);
    http_body_clear(&body);
}

/* A body cut short anywhere is not complete. */
static void test_truncated(void **state)
{
    static const char bytes[] = "5;x\r\nhello\r\n3\r\nabc\r\n0\r\nA: b\r\n\r\n";

    (void)state;
    for (size_t length = 0; length < sizeof(bytes) - 1; length++) {
        decode(&whole, &chunked, bytes, length, length, length);
        assert_int_equal(whole.status, HTTP_BODY_MORE);
        assert_false(whole.is_complete);
    }
}

static enum http_body_status repeat(const char *prefix, char byte, size_t count, const char *suffix)
{
    static char bytes[40000];
    size_t length = (size_t)snprintf(bytes, sizeof(bytes), "%s", prefix);

    memset(bytes + length, byte, count);
    length += count;
    length += (size_t)snprintf(bytes + length, sizeof(bytes) - length, "%s", suffix);
    decode(&whole, &chunked, bytes, length, length, length);
    decode(&other, &chunked, bytes, length, 1, 1);
    assert_int_equal(whole.status, other.status);
    return whole.status;
}

/* What a peer can send without payload is bounded: just fits, one more does not. */
static void test_bounds(void **state)
{
    char bytes[20000];
    size_t length = 0;

    (void)state;
    assert_int_equal(repeat("0;", 'a', HTTP_BODY_MAX_EXTENSION_BYTES, "\r\n\r\n"), HTTP_BODY_DONE);
    assert_int_equal(repeat("0;", 'a', HTTP_BODY_MAX_EXTENSION_BYTES + 1, "\r\n\r\n"),
                     HTTP_BODY_ERROR);
    assert_int_equal(repeat("0\r\na:", 'a', HTTP_BODY_MAX_TRAILER_BYTES - 6, "\r\n\r\n"),
                     HTTP_BODY_DONE);
    assert_int_equal(repeat("0\r\na:", 'a', HTTP_BODY_MAX_TRAILER_BYTES - 5, "\r\n\r\n"),
                     HTTP_BODY_ERROR);
    assert_int_equal(repeat("0\r\nHost:", 'a', HTTP_BODY_MAX_TRAILER_BYTES, ""), HTTP_BODY_ERROR);
    assert_int_equal(repeat("0\r\n", 'a', HTTP_BODY_MAX_TRAILER_BYTES + 1, ""), HTTP_BODY_ERROR);
    /* the bound is for the body, not for one line */
    for (size_t i = 0; i < 50; i++)
        length +=
            (size_t)snprintf(bytes + length, sizeof(bytes) - length, "1;%0*d\r\nx\r\n", 100, 0);
    decode(&whole, &chunked, bytes, length, length, length);
    assert_int_equal(whole.status, HTTP_BODY_ERROR);
}

static void test_length(void **state)
{
    struct http_head head = {.framing = HTTP_FRAMING_LENGTH, .content_length = 5};

    (void)state;
    decode_all_ways(&head, BYTES("helloGET"));
    assert_int_equal(whole.status, HTTP_BODY_DONE);
    assert_int_equal(whole.consumed, 5);
    assert_true(whole.is_complete);
    decode_all_ways(&head, BYTES("hell"));
    assert_int_equal(whole.status, HTTP_BODY_MORE);
    assert_false(whole.is_complete);
    head.content_length = 0;
    decode(&whole, &head, "", 0, 0, 1);
    assert_int_equal(whole.status, HTTP_BODY_DONE);
    head.framing = HTTP_FRAMING_NONE;
    decode(&whole, &head, "x", 1, 1, 1);
    assert_int_equal(whole.status, HTTP_BODY_DONE);
    assert_int_equal(whole.consumed, 0);
    head.framing = HTTP_FRAMING_UNTIL_CLOSE;
    decode_all_ways(&head, BYTES("anything\0"));
    assert_int_equal(whole.status, HTTP_BODY_MORE);
    assert_int_equal(whole.payload_length, 9);
    assert_true(whole.is_complete);
}

/* What nobody has taken can be decoded again, where it has not been moved. */
static void test_given_back(void **state)
{
    struct http_head head = {.framing = HTTP_FRAMING_LENGTH, .content_length = 5};
    struct http_body body;
    char bytes[] = "5\r\nhello\r\n";
    size_t payload, consumed;

    (void)state;
    http_body_init(&body, &head);
    assert_int_equal(http_body_decode(&body, bytes, 2, &payload, &consumed), HTTP_BODY_MORE);
    assert_true(http_body_give_back(&body, 2));
    assert_int_equal(body.payload_bytes, 0);
    assert_int_equal(http_body_decode(&body, bytes, 8, &payload, &consumed), HTTP_BODY_DONE);
    assert_int_equal(consumed, 5);
    assert_true(http_body_give_back(&body, 5));
    assert_false(body.is_complete);
    assert_int_equal(body.remaining, 5);

    head.framing = HTTP_FRAMING_CHUNKED;
    http_body_init(&body, &head);
    assert_int_equal(http_body_decode(&body, bytes, 0, &payload, &consumed), HTTP_BODY_MORE);
    assert_true(http_body_give_back(&body, 0));
    assert_int_equal(http_body_decode(&body, bytes, 5, &payload, &consumed), HTTP_BODY_MORE);
    assert_false(http_body_give_back(&body, 5));
    assert_int_equal(body.payload_bytes, payload);
    http_body_clear(&body);

    head.framing = HTTP_FRAMING_NONE;
    http_body_init(&body, &head);
    assert_true(http_body_give_back(&body, 0));
    assert_true(body.is_complete);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_chunked),          cmocka_unit_test(test_chunked_refusals),
        cmocka_unit_test(test_removed_trailers), cmocka_unit_test(test_truncated),
        cmocka_unit_test(test_bounds),           cmocka_unit_test(test_length),
        cmocka_unit_test(test_given_back),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
