/* SPDX-License-Identifier: MIT */
/* The walk to the client's address: one row for each branch, and what a forger would try. */
#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "kamiyo/identity/client_ip.h"

#include "request_support.h"

struct row {
    const char *name;
    const char *peer; /* NULL = a unix peer */
    enum client_ip_header header;
    int hops;
    bool trusts_nobody;
    const char *lines[6];
    const char *client;
    bool is_untrusted;  /* the peer; then has_fields */
    bool has_no_fields; /* untrusted, and without forwarding fields */
    bool is_chain_short;
};

#define LONG_LABEL "aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa"
#define XFF        CLIENT_IP_X_FORWARDED_FOR
#define FWD        CLIENT_IP_FORWARDED

/* Trusted: 10.0.0.0/8, fd00::/8, and unix peers. */
static const struct row rows[] = {
    {"no field: the peer", "10.0.0.1", XFF, .client = "10.0.0.1"},
    {"peer is not trusted: forged field", "198.51.100.7", XFF,
     .lines = {"X-Forwarded-For: 6.6.6.6"}, .client = "198.51.100.7", .is_untrusted = true},
    {"peer is not trusted: no field", "198.51.100.7", XFF, .client = "198.51.100.7",
     .is_untrusted = true, .has_no_fields = true},
    {"peer is not trusted: another field than the configured", "198.51.100.7", XFF,
     .lines = {"CF-Connecting-IP: 6.6.6.6"}, .client = "198.51.100.7", .is_untrusted = true},
    {"nobody is trusted by default", "127.0.0.1", XFF, .trusts_nobody = true,
     .lines = {"X-Forwarded-For: 6.6.6.6"}, .client = "127.0.0.1", .is_untrusted = true},
    {"one entry", "10.0.0.1", XFF, .lines = {"X-Forwarded-For: 192.0.2.1"}, .client = "192.0.2.1"},
    {"letters of the name", "10.0.0.1", XFF, .lines = {"x-forwarded-FOR: 192.0.2.1"},
     .client = "192.0.2.1"},
    {"forged on the left", "10.0.0.1", XFF, .lines = {"X-Forwarded-For: 6.6.6.6, 192.0.2.1"},
     .client = "192.0.2.1"},
    {"past trusted proxies", "10.0.0.1", XFF,
     .lines = {"X-Forwarded-For: 6.6.6.6, 192.0.2.1, 10.1.1.1,10.2.2.2"}, .client = "192.0.2.1"},
    {"every entry trusted: the leftmost", "10.0.0.1", XFF,
     .lines = {"X-Forwarded-For: 10.9.9.9, 10.1.1.1"}, .client = "10.9.9.9"},
    {"several lines are one list", "10.0.0.1", XFF,
     .lines = {"X-Forwarded-For: 6.6.6.6", "Accept: */*", "X-Forwarded-For: 192.0.2.1",
               "X-Forwarded-For: 10.1.1.1"},
     .client = "192.0.2.1"},
    {"several lines, all trusted", "10.0.0.1", XFF,
     .lines = {"X-Forwarded-For: 10.3.3.3", "X-Forwarded-For: 10.1.1.1"}, .client = "10.3.3.3"},
    {"an empty line adds nothing", "10.0.0.1", XFF,
     .lines = {"X-Forwarded-For: 192.0.2.1", "X-Forwarded-For:"}, .client = "192.0.2.1"},
    {"only empty lines", "10.0.0.1", XFF, .lines = {"X-Forwarded-For:", "X-Forwarded-For:  "},
     .client = "10.0.0.1"},
    {"a port", "10.0.0.1", XFF, .lines = {"X-Forwarded-For: 192.0.2.1:4711"},
     .client = "192.0.2.1"},
    {"IPv6 bare", "10.0.0.1", XFF, .lines = {"X-Forwarded-For: 2001:DB8:0::1"},
     .client = "2001:db8::1"},
    {"IPv6 in brackets", "10.0.0.1", XFF, .lines = {"X-Forwarded-For: [2001:db8::1]"},
     .client = "2001:db8::1"},
    {"IPv6 with a port", "10.0.0.1", XFF, .lines = {"X-Forwarded-For: [2001:db8::1]:443"},
     .client = "2001:db8::1"},
    {"IPv6 with a zone", "10.0.0.1", XFF, .lines = {"X-Forwarded-For: fe80::1%eth0"},
     .client = "fe80::1"},
    {"IPv4-mapped", "10.0.0.1", XFF, .lines = {"X-Forwarded-For: ::ffff:192.0.2.1"},
     .client = "192.0.2.1"},
    {"IPv4-mapped and trusted", "10.0.0.1", XFF,
     .lines = {"X-Forwarded-For: 192.0.2.9, ::ffff:10.1.1.1"}, .client = "192.0.2.9"},
    {"an IPv6 proxy", "fd00::1", XFF, .lines = {"X-Forwarded-For: 192.0.2.1, fd00::2"},
     .client = "192.0.2.1"},
    {"junk: the peer", "10.0.0.1", XFF, .lines = {"X-Forwarded-For: unknown"},
     .client = "10.0.0.1"},
    {"junk left of a client changes nothing", "10.0.0.1", XFF,
     .lines = {"X-Forwarded-For: ;drop, 192.0.2.1"}, .client = "192.0.2.1"},
    {"junk left of a trusted proxy: that proxy", "10.0.0.1", XFF,
     .lines = {"X-Forwarded-For: 6.6.6.6, junk, 10.1.1.1"}, .client = "10.1.1.1"},
    {"an empty element is malformed", "10.0.0.1", XFF,
     .lines = {"X-Forwarded-For: 6.6.6.6, , 10.1.1.1"}, .client = "10.1.1.1"},
    {"a comma at the end", "10.0.0.1", XFF, .lines = {"X-Forwarded-For: 6.6.6.6,"},
     .client = "10.0.0.1"},
    {"a comma at the beginning", "10.0.0.1", XFF, .lines = {"X-Forwarded-For: , 10.1.1.1"},
     .client = "10.1.1.1"},
    {"octal is not an address", "10.0.0.1", XFF, .lines = {"X-Forwarded-For: 010.1.1.1"},
     .client = "10.0.0.1"},
    {"a number is not an address", "10.0.0.1", XFF, .lines = {"X-Forwarded-For: 3221225985"},
     .client = "10.0.0.1"},
    {"a port out of range", "10.0.0.1", XFF, .lines = {"X-Forwarded-For: 192.0.2.1:65536"},
     .client = "10.0.0.1"},
    {"two addresses without a comma", "10.0.0.1", XFF,
     .lines = {"X-Forwarded-For: 6.6.6.6 192.0.2.1"}, .client = "10.0.0.1"},
    {"quotes belong to Forwarded only", "10.0.0.1", XFF,
     .lines = {"X-Forwarded-For: \"192.0.2.1\""}, .client = "10.0.0.1"},
    {"a long label", "10.0.0.1", XFF, .lines = {"X-Forwarded-For: 6.6.6.6, " LONG_LABEL LONG_LABEL},
     .client = "10.0.0.1"},
    {"a long zone", "10.0.0.1", XFF,
     .lines = {"X-Forwarded-For: fe80::1%" LONG_LABEL LONG_LABEL LONG_LABEL LONG_LABEL LONG_LABEL
                   LONG_LABEL LONG_LABEL LONG_LABEL LONG_LABEL},
     .client = "10.0.0.1"},
    {"a unix peer", NULL, XFF, .lines = {"X-Forwarded-For: 192.0.2.1"}, .client = "192.0.2.1"},
    {"a unix peer without a field", NULL, XFF, .client = "unix"},
    {"a unix peer that is not trusted", NULL, XFF, .trusts_nobody = true,
     .lines = {"X-Forwarded-For: 192.0.2.1"}, .client = "unix", .is_untrusted = true},

    {"hops 1", "10.0.0.1", XFF, 1, .lines = {"X-Forwarded-For: 6.6.6.6, 192.0.2.1"},
     .client = "192.0.2.1"},
    {"hops 2: the edge's address is no client", "10.0.0.1", XFF, 2,
     .lines = {"X-Forwarded-For: 6.6.6.6, 192.0.2.1, 203.0.113.5"}, .client = "192.0.2.1"},
    {"hops over two lines", "10.0.0.1", XFF, 2,
     .lines = {"X-Forwarded-For: 6.6.6.6, 192.0.2.1", "X-Forwarded-For: 203.0.113.5"},
     .client = "192.0.2.1"},
    {"hops ignores trust of entries", "10.0.0.1", XFF, 1,
     .lines = {"X-Forwarded-For: 192.0.2.1, 10.1.1.1"}, .client = "10.1.1.1"},
    {"hops: a short chain is the peer", "10.0.0.1", XFF, 2, .lines = {"X-Forwarded-For: 192.0.2.1"},
     .client = "10.0.0.1", .is_chain_short = true},
    {"hops: no field", "10.0.0.1", XFF, 1, .client = "10.0.0.1", .is_chain_short = true},
    {"hops: an empty field", "10.0.0.1", XFF, 1, .lines = {"X-Forwarded-For: "},
     .client = "10.0.0.1", .is_chain_short = true},
    {"hops: the peer must be trusted", "198.51.100.7", XFF, 1,
     .lines = {"X-Forwarded-For: 6.6.6.6"}, .client = "198.51.100.7", .is_untrusted = true},
    {"hops: the entry itself is junk", "10.0.0.1", XFF, 2,
     .lines = {"X-Forwarded-For: junk, 203.0.113.5"}, .client = "203.0.113.5"},
    {"hops: junk on the way", "10.0.0.1", XFF, 2, .lines = {"X-Forwarded-For: 6.6.6.6, junk"},
     .client = "10.0.0.1"},

    {"X-Real-IP", "10.0.0.1", CLIENT_IP_X_REAL_IP,
     .lines = {"X-Forwarded-For: 6.6.6.6", "X-Real-IP: 192.0.2.1"}, .client = "192.0.2.1"},
    {"X-Real-IP twice: the proxy's is the later", "10.0.0.1", CLIENT_IP_X_REAL_IP,
     .lines = {"X-Real-IP: 6.6.6.6", "X-Real-IP: 192.0.2.1"}, .client = "192.0.2.1"},
    {"CF-Connecting-IP", "10.0.0.1", CLIENT_IP_CF_CONNECTING_IP,
     .lines = {"CF-Connecting-IP: 2001:db8::7", "X-Forwarded-For: 6.6.6.6"},
     .client = "2001:db8::7"},
    {"CF-Connecting-IP, junk", "10.0.0.1", CLIENT_IP_CF_CONNECTING_IP,
     .lines = {"CF-Connecting-IP: -"}, .client = "10.0.0.1"},
    {"True-Client-IP", "10.0.0.1", CLIENT_IP_TRUE_CLIENT_IP, 1,
     .lines = {"True-Client-IP: 192.0.2.1"}, .client = "192.0.2.1"},
    {"the configured field is missing, another is there", "10.0.0.1", CLIENT_IP_TRUE_CLIENT_IP,
     .lines = {"X-Forwarded-For: 6.6.6.6"}, .client = "10.0.0.1"},

    {"Forwarded", "10.0.0.1", FWD, .lines = {"Forwarded: for=192.0.2.1"}, .client = "192.0.2.1"},
    {"Forwarded, every parameter", "10.0.0.1", FWD,
     .lines = {"Forwarded: for=192.0.2.43;proto=http;by=203.0.113.43;host=\"a,b;c\""},
     .client = "192.0.2.43"},
    {"Forwarded, for not first, letters, spaces", "10.0.0.1", FWD,
     .lines = {"Forwarded: proto=https; FOR=192.0.2.1 ;"}, .client = "192.0.2.1"},
    {"Forwarded, quoted IPv6 with port", "10.0.0.1", FWD,
     .lines = {"Forwarded: For=\"[2001:db8:cafe::17]:4711\""}, .client = "2001:db8:cafe::17"},
    {"Forwarded, quoted IPv4 with port", "10.0.0.1", FWD,
     .lines = {"Forwarded: for=\"192.0.2.1:80\""}, .client = "192.0.2.1"},
    {"Forwarded, unquoted port as sloppy proxies write it", "10.0.0.1", FWD,
     .lines = {"Forwarded: for=192.0.2.1:80"}, .client = "192.0.2.1"},
    {"Forwarded, obfuscated port", "10.0.0.1", FWD,
     .lines = {"Forwarded: for=\"[2001:db8::1]:_4711\""}, .client = "2001:db8::1"},
    {"Forwarded, obfuscated port of IPv4", "10.0.0.1", FWD,
     .lines = {"Forwarded: for=\"192.0.2.1:_x.-\""}, .client = "192.0.2.1"},
    {"Forwarded, bad obfuscated port", "10.0.0.1", FWD,
     .lines = {"Forwarded: for=\"192.0.2.1:_ \""}, .client = "10.0.0.1"},
    {"Forwarded, IPv6 without brackets", "10.0.0.1", FWD,
     .lines = {"Forwarded: for=\"2001:db8::1\""}, .client = "10.0.0.1"},
    {"Forwarded, unknown", "10.0.0.1", FWD, .lines = {"Forwarded: for=unknown"},
     .client = "10.0.0.1"},
    {"Forwarded, an obfuscated node ends the walk", "10.0.0.1", FWD,
     .lines = {"Forwarded: for=6.6.6.6, for=_hidden, for=10.1.1.1"}, .client = "10.1.1.1"},
    {"Forwarded, past trusted", "10.0.0.1", FWD,
     .lines = {"Forwarded: for=6.6.6.6, for=192.0.2.1;host=\"x\\\",y\", for=\"[fd00::9]\""},
     .client = "192.0.2.1"},
    {"Forwarded, repeated fields", "10.0.0.1", FWD,
     .lines = {"Forwarded: for=6.6.6.6", "Forwarded: for=192.0.2.1, for=10.1.1.1"},
     .client = "192.0.2.1"},
    {"Forwarded, an open quote on the left", "10.0.0.1", FWD,
     .lines = {"Forwarded: for=\"6.6.6.6, for=192.0.2.1"}, .client = "192.0.2.1"},
    {"Forwarded, an open quote at the right", "10.0.0.1", FWD,
     .lines = {"Forwarded: for=6.6.6.6, for=192.0.2.1\""}, .client = "10.0.0.1"},
    {"Forwarded, an open quote in the last field of two", "10.0.0.1", FWD,
     .lines = {"Forwarded: for=6.6.6.6", "Forwarded: for=\"192.0.2.1"}, .client = "10.0.0.1"},
    {"Forwarded, two for", "10.0.0.1", FWD, .lines = {"Forwarded: for=6.6.6.6;for=192.0.2.1"},
     .client = "10.0.0.1"},
    {"Forwarded, no for", "10.0.0.1", FWD, .lines = {"Forwarded: for=6.6.6.6, proto=http"},
     .client = "10.0.0.1"},
    {"Forwarded, a pair without value", "10.0.0.1", FWD,
     .lines = {"Forwarded: for=192.0.2.1;proto"}, .client = "10.0.0.1"},
    {"Forwarded, an empty value", "10.0.0.1", FWD, .lines = {"Forwarded: for="},
     .client = "10.0.0.1"},
    {"Forwarded, an empty string", "10.0.0.1", FWD, .lines = {"Forwarded: for=\"\""},
     .client = "10.0.0.1"},
    {"Forwarded, a space in a token", "10.0.0.1", FWD, .lines = {"Forwarded: for=192.0.2.1;by=a b"},
     .client = "10.0.0.1"},
    {"Forwarded, text after a string", "10.0.0.1", FWD, .lines = {"Forwarded: for=\"192.0.2.1\"x"},
     .client = "10.0.0.1"},
    {"Forwarded, escapes in the node", "10.0.0.1", FWD, .lines = {"Forwarded: for=\"192.0.2.\\1\""},
     .client = "10.0.0.1"},
    {"Forwarded, an empty element", "10.0.0.1", FWD,
     .lines = {"Forwarded: for=6.6.6.6,, for=10.1.1.1"}, .client = "10.1.1.1"},
    {"Forwarded, hops", "10.0.0.1", FWD, 2,
     .lines = {"Forwarded: for=6.6.6.6, for=192.0.2.1, for=203.0.113.5"}, .client = "192.0.2.1"},
    {"Forwarded, hops and a short chain", "10.0.0.1", FWD, 2, .lines = {"Forwarded: for=192.0.2.1"},
     .client = "10.0.0.1", .is_chain_short = true},
};

static struct addr_range range(const char *text)
{
    struct addr_range parsed;

    assert_true(addr_range_parse(slice_of(text), &parsed));
    return parsed;
}

static void test_walk(void **state)
{
    struct addr_range trusted[2] = {range("10.0.0.0/8"), range("fd00::/8")};

    (void)state;
    for (size_t i = 0; i < COUNT_OF(rows); i++) {
        const struct row *row = &rows[i];
        struct client_ip_options options = {.trusted = trusted,
                                            .trusted_count = row->trusts_nobody ? 0 : 2,
                                            .trust_unix = !row->trusts_nobody,
                                            .header = row->header,
                                            .hops = row->hops};
        struct addr peer = {.family = ADDR_UNIX};
        struct request_fixture fixture;
        struct client_ip client;
        char text[ADDR_TEXT_SIZE];

        request_make(&fixture, "GET", "/", row->lines);
        if (row->peer != NULL)
            assert_true(addr_parse(slice_of(row->peer), &peer));
        peer.port = 5000;
        client_ip_find(&options, &peer, &fixture.request.head, &client);
        addr_format(&client.addr, text);
        if (strcmp(text, row->client) != 0)
            print_error("row \"%s\"\n", row->name);
        assert_string_equal(text, row->client);
        if (client.is_chain_short != row->is_chain_short)
            fail_msg("row \"%s\": is_chain_short", row->name);
        if (client.is_peer_trusted == row->is_untrusted ||
            client.has_untrusted_fields != (row->is_untrusted && !row->has_no_fields))
            fail_msg("row \"%s\": trust", row->name);
    }
}

/* A head full of trusted entries ends at the bound, not after all of them. */
static void test_absurd_length(void **state)
{
    struct addr_range trusted[1] = {range("10.0.0.0/8")};
    struct client_ip_options options = {.trusted = trusted, .trusted_count = 1};
    struct request_fixture fixture;
    struct client_ip client;
    struct addr peer, expected;
    size_t length = 0;
    char *value = malloc(64 * 1024);

    (void)state;
    assert_non_null(value);
    memcpy(value, "6.6.6.6", 7);
    length = 7;
    while (length < 60000) {
        memcpy(value + length, ",10.1.1.1", 9);
        length += 9;
    }
    request_make(&fixture, "GET", "/", NULL);
    request_add(&fixture, SLICE("X-Forwarded-For"), (struct slice){value, length});
    assert_true(addr_parse(SLICE("10.0.0.1"), &peer));
    assert_true(addr_parse(SLICE("10.1.1.1"), &expected));
    client_ip_find(&options, &peer, &fixture.request.head, &client);
    assert_true(addr_equal(&client.addr, &expected));

    memset(value, 'a', 60000);
    client_ip_find(&options, &peer, &fixture.request.head, &client);
    assert_true(addr_equal(&client.addr, &peer));
    memset(value, '"', 60000);
    options.header = CLIENT_IP_FORWARDED;
    request_make(&fixture, "GET", "/", NULL);
    request_add(&fixture, SLICE("Forwarded"), (struct slice){value, length});
    client_ip_find(&options, &peer, &fixture.request.head, &client);
    assert_true(addr_equal(&client.addr, &peer));
    memset(value, '\\', 60000);
    value[59999] = '"';
    client_ip_find(&options, &peer, &fixture.request.head, &client);
    assert_true(addr_equal(&client.addr, &peer));
    free(value);
}

static void test_key(void **state)
{
    static const struct {
        const char *addr;
        int ipv4_prefix, ipv6_prefix;
        const char *key;
    } keys[] = {
        {"192.0.2.77", 32, 64, "ip:192.0.2.77"},
        {"192.0.2.77", 24, 64, "ip:192.0.2.0/24"},
        {"192.0.2.77", 0, 64, "ip:0.0.0.0/0"},
        {"2001:db8:1:2:3:4:5:6", 32, 64, "ip:2001:db8:1:2::/64"},
        {"2001:db8:1:2:3:4:5:6", 32, 128, "ip:2001:db8:1:2:3:4:5:6"},
        {"2001:db8:1:2:3:4:5:6", 32, 127, "ip:2001:db8:1:2:3:4:5:6/127"},
        {"2001:db8::1", 32, 48, "ip:2001:db8::/48"},
        {"::ffff:192.0.2.77", 32, 64, "ip:192.0.2.77"},
        {"", 24, 64, "ip:unix"},
    };

    (void)state;
    for (size_t i = 0; i < COUNT_OF(keys); i++) {
        struct client_ip_options options = {.ipv4_prefix = keys[i].ipv4_prefix,
                                            .ipv6_prefix = keys[i].ipv6_prefix};
        struct addr addr = {.family = ADDR_UNIX};
        char out[64];
        size_t length;

        if (keys[i].addr[0] != '\0')
            assert_true(addr_parse(slice_of(keys[i].addr), &addr));
        length = client_ip_format_key(&options, &addr, out);
        assert_int_equal(length, strlen(keys[i].key));
        assert_memory_equal(out, keys[i].key, length);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_walk),
        cmocka_unit_test(test_absurd_length),
        cmocka_unit_test(test_key),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
