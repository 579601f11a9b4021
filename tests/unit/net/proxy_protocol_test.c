/* SPDX-License-Identifier: MIT */
/*
 * PROXY protocol headers of both versions as tables: taken, refused, and every
 * one of them cut at each byte, which is "more" and never anything else.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "kamiyo/base/attributes.h"
#include "kamiyo/net/proxy_protocol.h"

#define SIGNATURE "\r\n\r\n\0\r\nQUIT\n"
#define BEFORE    "192.0.2.99" /* the peer that the socket named */

struct taken {
    struct slice header;
    const char *peer;
    uint16_t port;
};

static const struct taken taken[] = {
    {{"PROXY TCP4 198.51.100.7 192.0.2.1 51000 443\r\n", 45}, "198.51.100.7", 51000},
    {{"PROXY TCP4 255.255.255.255 255.255.255.255 65535 65535\r\n", 56}, "255.255.255.255", 65535},
    {{"PROXY TCP4 0.0.0.0 0.0.0.0 0 0\r\n", 32}, "0.0.0.0", 0},
    {{"PROXY TCP6 2001:db8::7 2001:db8::1 51000 443\r\n", 46}, "2001:db8::7", 51000},
    {{"PROXY TCP6 ::ffff:198.51.100.7 ::1 1 2\r\n", 40}, "198.51.100.7", 1},
    /* UNKNOWN: whatever follows is not looked at, and the socket's peer stands. */
    {{"PROXY UNKNOWN\r\n", 15}, BEFORE, 9},
    {{"PROXY UNKNOWN ffff::1 ffff::2 65535 65535\r\n", 43}, BEFORE, 9},
    {{SIGNATURE "\x21\x11\x00\x0c\xc6\x33\x64\x07\xc0\x00\x02\x01\xc7\x38\x01\xbb", 28},
     "198.51.100.7",
     51000},
    /* With a TLV (NOOP of 3 bytes) after the addresses. */
    {{SIGNATURE "\x21\x11\x00\x12\xc6\x33\x64\x07\xc0\x00\x02\x01\xc7\x38\x01\xbb\x04\x00\x03"
                "abc",
      34},
     "198.51.100.7",
     51000},
    {{SIGNATURE "\x21\x21\x00\x24\x20\x01\x0d\xb8\0\0\0\0\0\0\0\0\0\0\0\x07"
                "\x20\x01\x0d\xb8\0\0\0\0\0\0\0\0\0\0\0\x01\xc7\x38\x01\xbb",
      52},
     "2001:db8::7",
     51000},
    /* LOCAL: a health check of the proxy's own; AF_UNSPEC and AF_UNIX name no address. */
    {{SIGNATURE "\x20\x00\x00\x00", 16}, BEFORE, 9},
    {{SIGNATURE "\x20\x11\x00\x0c\xc6\x33\x64\x07\xc0\x00\x02\x01\xc7\x38\x01\xbb", 28}, BEFORE, 9},
    {{SIGNATURE "\x21\x00\x00\x00", 16}, BEFORE, 9},
    {{SIGNATURE "\x21\x31\x00\x02zz", 18}, BEFORE, 9},
};

static const struct slice refused[] = {
    {"GET / HTTP/1.1\r\n", 16},
    {"proxy TCP4 1.1.1.1 2.2.2.2 1 2\r\n", 32},
    {"PROXY  TCP4 1.1.1.1 2.2.2.2 1 2\r\n", 33},
    {"PROXY TCP4 1.1.1.1 2.2.2.2 1 2\n", 31},
    {"PROXY TCP4 1.1.1.1 2.2.2.2 1\r\n", 30},
    {"PROXY TCP4 1.1.1.1 2.2.2.2 1 2 3\r\n", 34},
    {"PROXY TCP4 1.1.1.1 2.2.2.2 1 2 \r\n", 33},
    {"PROXY TCP4 1.1.1.1 2.2.2.2 65536 2\r\n", 36},
    {"PROXY TCP4 1.1.1.1 2.2.2.2 1 65536\r\n", 36},
    {"PROXY TCP4 1.1.1.1 2.2.2.2 -1 2\r\n", 33},
    {"PROXY TCP4 1.1.1.1 2.2.2.2 1 x\r\n", 32},
    {"PROXY TCP4 1.1.1.1 x 1 2\r\n", 26},
    {"PROXY TCP4 1.1.1 2.2.2.2 1 2\r\n", 30},
    {"PROXY TCP4 ::1 ::2 1 2\r\n", 24},
    {"PROXY TCP4 1.1.1.1 ::2 1 2\r\n", 28},
    {"PROXY TCP6 1.1.1.1 2.2.2.2 1 2\r\n", 32},
    {"PROXY TCP6 fe80::1%lo fe80::2 1 2\r\n", 35},
    {"PROXY TCP5 1.1.1.1 2.2.2.2 1 2\r\n", 32},
    {"PROXY \r\n", 8},
    {"PROXY\r\n", 7},
    {"\r\n\r\n\1", 5},
    {SIGNATURE "\x11\x11\x00\x0c............", 28}, /* version 1 in a binary header */
    {SIGNATURE "\x22\x11\x00\x0c............", 28}, /* no such command */
    {SIGNATURE "\x21\x11\x00\x0b...........", 27},  /* too short for its family */
    {SIGNATURE "\x21\x21\x00\x0c............", 28},
    {SIGNATURE "\x21\x12\x00\x0c............", 28}, /* a datagram */
    {SIGNATURE "\x21\x41\x00\x0c............", 28}, /* no such family */
    {SIGNATURE "\x21\x11\xff\xff", 16},             /* longer than anybody sends */
};

/* A copy without spare bytes, so that the sanitizer sees a read beyond the end. */
static enum proxy_protocol_status
parse(struct slice header, size_t length, struct addr *peer, size_t *consumed)
{
    char *copy = malloc(length > 0 ? length : 1);
    assert_non_null(copy);
    memcpy(copy, header.data, length);
    enum proxy_protocol_status status = proxy_protocol_parse(copy, length, peer, consumed);
    free(copy);
    return status;
}

static void socket_peer(struct addr *peer)
{
    assert_true(addr_parse(slice_of(BEFORE), peer));
    peer->port = 9;
}

static void assert_peer(const struct addr *peer, const char *expected, uint16_t port)
{
    char text[ADDR_TEXT_SIZE];
    (void)addr_format(peer, text);
    assert_string_equal(text, expected);
    assert_int_equal(peer->port, port);
}

static void test_taken(void **state)
{
    (void)state;
    for (size_t i = 0; i < COUNT_OF(taken); i++) {
        struct slice header = taken[i].header;
        struct addr peer;
        size_t consumed = 0;
        socket_peer(&peer);
        assert_int_equal(parse(header, header.length, &peer, &consumed), PROXY_PROTOCOL_DONE);
        assert_int_equal(consumed, header.length);
        assert_peer(&peer, taken[i].peer, taken[i].port);
        for (size_t length = 0; length < header.length; length++) {
            socket_peer(&peer);
            consumed = 77;
            assert_int_equal(parse(header, length, &peer, &consumed), PROXY_PROTOCOL_MORE);
            assert_int_equal(consumed, 77);
            assert_peer(&peer, BEFORE, 9);
        }
    }
}

static void test_what_follows_is_left(void **state)
{
    (void)state;
    for (size_t i = 0; i < COUNT_OF(taken); i++) {
        static const struct slice after = {"GET / HTTP/1.1\r\n\r\n", 18};
        struct slice header = taken[i].header;
        char bytes[200];
        struct addr peer;
        size_t consumed = 0;
        socket_peer(&peer);
        memcpy(bytes, header.data, header.length);
        memcpy(bytes + header.length, after.data, after.length);
        struct slice both = {bytes, header.length + after.length};
        assert_int_equal(parse(both, both.length, &peer, &consumed), PROXY_PROTOCOL_DONE);
        assert_int_equal(consumed, header.length);
        assert_peer(&peer, taken[i].peer, taken[i].port);
    }
}

static void test_refused(void **state)
{
    (void)state;
    for (size_t i = 0; i < COUNT_OF(refused); i++) {
        struct addr peer;
        size_t consumed = 77;
        socket_peer(&peer);
        assert_int_equal(parse(refused[i], refused[i].length, &peer, &consumed),
                         PROXY_PROTOCOL_ERROR);
        assert_int_equal(consumed, 77);
        assert_peer(&peer, BEFORE, 9);
    }
}

/* 107 bytes with the line's end are the longest that version 1 knows. */
static void test_bound_of_a_line(void **state)
{
    (void)state;
    char bytes[200];
    struct addr peer;
    size_t consumed = 0;
    socket_peer(&peer);
    memset(bytes, 'x', sizeof(bytes));
    memcpy(bytes, "PROXY UNKNOWN ", 14);
    struct slice line = {bytes, sizeof(bytes)};
    assert_int_equal(parse(line, 106, &peer, &consumed), PROXY_PROTOCOL_MORE);
    assert_int_equal(parse(line, 107, &peer, &consumed), PROXY_PROTOCOL_ERROR);
    memcpy(bytes + 105, "\r\n", 2);
    assert_int_equal(parse(line, 106, &peer, &consumed), PROXY_PROTOCOL_MORE);
    assert_int_equal(parse(line, 107, &peer, &consumed), PROXY_PROTOCOL_DONE);
    assert_int_equal(consumed, 107);
    memcpy(bytes + 105, "x\r\n", 3);
    assert_int_equal(parse(line, 108, &peer, &consumed), PROXY_PROTOCOL_ERROR);
}

static void test_bound_of_the_binary_form(void **state)
{
    (void)state;
    char bytes[16 + 521] = SIGNATURE "\x20\x00";
    struct slice header = {bytes, sizeof(bytes)};
    struct addr peer;
    size_t consumed = 0;
    socket_peer(&peer);
    bytes[14] = 520 >> 8;
    bytes[15] = 520 & 0xff;
    assert_int_equal(parse(header, 16 + 519, &peer, &consumed), PROXY_PROTOCOL_MORE);
    assert_int_equal(parse(header, 16 + 520, &peer, &consumed), PROXY_PROTOCOL_DONE);
    assert_int_equal(consumed, 16 + 520);
    bytes[15]++;
    assert_int_equal(parse(header, 16, &peer, &consumed), PROXY_PROTOCOL_ERROR);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_taken),
        cmocka_unit_test(test_what_follows_is_left),
        cmocka_unit_test(test_refused),
        cmocka_unit_test(test_bound_of_a_line),
        cmocka_unit_test(test_bound_of_the_binary_form),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
