/* SPDX-License-Identifier: MIT */
/* Addresses and ranges as tables: what is read, what is refused, and how it is written. */
#include <arpa/inet.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <string.h>
#include <sys/un.h>

#include <cmocka.h>

#include "kamiyo/net/addr.h"

struct text_row {
    const char *text;
    const char *expected; /* NULL = refused */
    int port;
};

static void check_text(const struct text_row *row, bool is_parsed, const struct addr *addr)
{
    char out[ADDR_TEXT_SIZE];

    if (is_parsed != (row->expected != NULL))
        fail_msg("\"%s\" was %s", row->text, is_parsed ? "taken" : "refused");
    if (!is_parsed)
        return;
    assert_int_equal(addr_format(addr, out), strlen(row->expected));
    assert_string_equal(out, row->expected);
    assert_int_equal(addr->port, row->port);
}

static const struct text_row parse_rows[] = {
    {"0.0.0.0", "0.0.0.0", 0},
    {"192.0.2.1", "192.0.2.1", 0},
    {"255.255.255.255", "255.255.255.255", 0},
    {"::", "::", 0},
    {"::1", "::1", 0},
    {"1::", "1::", 0},
    {"2001:DB8::1", "2001:db8::1", 0},
    {"2001:db8:0:0:0:0:0:1", "2001:db8::1", 0},
    {"2001:0db8:0000:0000:0001:0000:0000:0001", "2001:db8::1:0:0:1", 0},
    {"2001:db8:0:1:1:1:1:1", "2001:db8:0:1:1:1:1:1", 0},
    {"2001:0:0:1:0:0:0:1", "2001:0:0:1::1", 0},
    {"1:2:3:4:5:6:7::", "1:2:3:4:5:6:7:0", 0},
    {"::2:3:4:5:6:7:8", "0:2:3:4:5:6:7:8", 0},
    {"fe80::1%eth0", "fe80::1", 0},
    {"::ffff:192.0.2.1", "192.0.2.1", 0},
    {"::ffff:c000:201", "192.0.2.1", 0},
    {"0:0:0:0:0:ffff:192.0.2.1", "192.0.2.1", 0},
    {"64:ff9b::192.0.2.33", "64:ff9b::c000:221", 0},
    {"1:2:3:4:5:6:1.2.3.4", "1:2:3:4:5:6:102:304", 0},
    {"", NULL, 0},
    {"1.2.3", NULL, 0},
    {"1.2.3.4.5", NULL, 0},
    {"1.2.3.4.", NULL, 0},
    {".1.2.3.4", NULL, 0},
    {"1..2.3", NULL, 0},
    {"010.1.1.1", NULL, 0},
    {"00.1.1.1", NULL, 0},
    {"1.2.3.256", NULL, 0},
    {"1.2.3.0004", NULL, 0},
    {"0x7f.0.0.1", NULL, 0},
    {"127.1", NULL, 0},
    {"2130706433", NULL, 0},
    {"+1.2.3.4", NULL, 0},
    {" 1.2.3.4", NULL, 0},
    {"1.2.3.4 ", NULL, 0},
    {"1.2.3.4%eth0", NULL, 0},
    {"1.2.3.4:80", NULL, 0},
    {"[::1]", NULL, 0},
    {":", NULL, 0},
    {":::", NULL, 0},
    {"1:::2", NULL, 0},
    {"1::2::3", NULL, 0},
    {":1:2:3:4:5:6:7:8", NULL, 0},
    {"1:2:3:4:5:6:7:8:", NULL, 0},
    {"1:2:3:4:5:6:7", NULL, 0},
    {"1:2:3:4:5:6:7:8:9", NULL, 0},
    {"1:2:3:4::5:6:7:8", NULL, 0},
    {"::1:2:3:4:5:6:7:8", NULL, 0},
    {"12345::", NULL, 0},
    {"::g", NULL, 0},
    {"::1.2.3.4:1", NULL, 0},
    {"1.2.3.4::", NULL, 0},
    {"1:2:3:4:5:6:7:1.2.3.4", NULL, 0},
    {"::1.2.3", NULL, 0},
    {"::1%", NULL, 0},
    {"unknown", NULL, 0},
    {"_hidden", NULL, 0},
};

static void test_parse(void **state)
{
    (void)state;
    for (size_t i = 0; i < COUNT_OF(parse_rows); i++) {
        struct addr addr;

        check_text(&parse_rows[i], addr_parse(slice_of(parse_rows[i].text), &addr), &addr);
    }
}

static void test_parse_refuses_bytes_behind_a_nul(void **state)
{
    struct addr addr;

    (void)state;
    assert_false(addr_parse((struct slice){"1.2.3.4\0", 8}, &addr));
    assert_false(addr_parse((struct slice){"::1\0", 4}, &addr));
    assert_false(addr_parse((struct slice){NULL, 0}, &addr));
}

static void test_parse_with_port(void **state)
{
    static const struct text_row rows[] = {
        {"1.2.3.4", "1.2.3.4", 0},
        {"1.2.3.4:80", "1.2.3.4", 80},
        {"1.2.3.4:65535", "1.2.3.4", 65535},
        {"[::1]", "::1", 0},
        {"[::1]:443", "::1", 443},
        {"::1", "::1", 0},
        {"2001:db8::1", "2001:db8::1", 0},
        {"[::ffff:10.0.0.1]:1", "10.0.0.1", 1},
        {"[fe80::1%2]:1", "fe80::1", 1},
        {"1.2.3.4:", NULL, 0},
        {"1.2.3.4:65536", NULL, 0},
        {"1.2.3.4:000080", NULL, 0},
        {"1.2.3.4:-1", NULL, 0},
        {"1.2.3.4:80x", NULL, 0},
        {":80", NULL, 0},
        {"[::1", NULL, 0},
        {"[::1]80", NULL, 0},
        {"[::1]:", NULL, 0},
        {"[]:80", NULL, 0},
        {"[1.2.3.4]:80", NULL, 0},
        {"::1]:80", NULL, 0},
        {"[[::1]]", NULL, 0},
        {"", NULL, 0},
    };

    (void)state;
    for (size_t i = 0; i < COUNT_OF(rows); i++) {
        struct addr addr;

        check_text(&rows[i], addr_parse_with_port(slice_of(rows[i].text), &addr), &addr);
    }
}

static void test_range(void **state)
{
    static const struct {
        const char *range;
        const char *inside;
        const char *outside;
    } rows[] = {
        {"10.0.0.0/8", "10.255.0.1", "11.0.0.0"},
        {"192.0.2.0/25", "192.0.2.127", "192.0.2.128"},
        {"192.0.2.1", "192.0.2.1", "192.0.2.2"},
        {"0.0.0.0/0", "255.1.2.3", "::1"},
        {"::/0", "2001:db8::1", "1.2.3.4"},
        {"fc00::/7", "fdff::1", "fe00::1"},
        {"2001:db8::/64", "2001:db8::ffff:1:2:3", "2001:db8:0:1::"},
        {"2001:db8::1/128", "2001:db8::1", "2001:db8::2"},
        {"::ffff:10.0.0.0/104", "10.1.2.3", "11.1.2.3"},
        {"172.16.0.0/12", "172.31.255.255", "172.32.0.0"},
    };
    static const char *const refused[] = {
        "",
        "10.0.0.0/33",
        "10.0.0.1/8",
        "10.0.0.0/",
        "10.0.0.0/08",
        "10.0.0.0/8/8",
        "10.0.0.0/a",
        "::/129",
        "2001::1/64",
        "/8",
        "10/8",
        "10.0.0.0/-1",
        "10.0.0.0 /8",
        "::ffff:10.0.0.0/95",
        "private",
    };
    struct addr_range range;

    (void)state;
    for (size_t i = 0; i < COUNT_OF(rows); i++) {
        struct addr inside;
        struct addr outside;

        assert_true(addr_range_parse(slice_of(rows[i].range), &range));
        assert_true(addr_parse(slice_of(rows[i].inside), &inside));
        assert_true(addr_parse(slice_of(rows[i].outside), &outside));
        assert_true(addr_range_contains(&range, &inside));
        assert_false(addr_range_contains(&range, &outside));
    }
    for (size_t i = 0; i < COUNT_OF(refused); i++) {
        if (addr_range_parse(slice_of(refused[i]), &range))
            fail_msg("\"%s\" was taken", refused[i]);
    }
}

static void test_mask(void **state)
{
    static const struct {
        const char *text;
        unsigned prefix_length;
        const char *expected;
    } rows[] = {
        {"192.0.2.255", 24, "192.0.2.0"},
        {"192.0.2.255", 31, "192.0.2.254"},
        {"192.0.2.255", 32, "192.0.2.255"},
        {"192.0.2.255", 0, "0.0.0.0"},
        {"2001:db8:1:2:3::4", 64, "2001:db8:1:2::"},
        {"2001:db8::ffff", 121, "2001:db8::ff80"},
        {"2001:db8::1", 128, "2001:db8::1"},
        {"ffff::1", 1, "8000::"},
    };

    (void)state;
    for (size_t i = 0; i < COUNT_OF(rows); i++) {
        struct addr addr;
        char out[ADDR_TEXT_SIZE];

        assert_true(addr_parse(slice_of(rows[i].text), &addr));
        addr_mask(&addr, rows[i].prefix_length);
        addr_format(&addr, out);
        assert_string_equal(out, rows[i].expected);
    }
}

static void test_loopback(void **state)
{
    static const struct {
        const char *text;
        bool is_loopback;
    } rows[] = {
        {"127.0.0.1", true},  {"127.255.0.3", true}, {"::1", true},  {"::ffff:127.0.0.1", true},
        {"128.0.0.1", false}, {"::", false},         {"::2", false}, {"10.0.0.1", false},
    };
    struct addr addr;

    (void)state;
    for (size_t i = 0; i < COUNT_OF(rows); i++) {
        assert_true(addr_parse(slice_of(rows[i].text), &addr));
        assert_int_equal(addr_is_loopback(&addr), rows[i].is_loopback);
    }
    addr = (struct addr){.family = ADDR_UNIX};
    assert_true(addr_is_loopback(&addr));
}

static void test_sockaddr_both_ways(void **state)
{
    static const char *const texts[] = {"192.0.2.7:8080", "[2001:db8::7]:1"};

    (void)state;
    for (size_t i = 0; i < COUNT_OF(texts); i++) {
        struct addr_endpoint endpoint = {.addr = {.family = ADDR_NONE}};
        struct sockaddr_storage storage;
        struct addr back;
        char out[128];
        socklen_t length;

        assert_true(addr_parse_with_port(slice_of(texts[i]), &endpoint.addr));
        length = addr_endpoint_to_sockaddr(&endpoint, &storage);
        addr_from_sockaddr((const struct sockaddr *)&storage, length, &back);
        assert_memory_equal(&back, &endpoint.addr, sizeof(back));
        addr_endpoint_format(&endpoint, out);
        assert_string_equal(out, texts[i]);
    }
}

static void test_unix_path(void **state)
{
    struct addr_endpoint endpoint = {.addr = {.family = ADDR_UNIX}};
    struct sockaddr_storage storage;
    struct sockaddr_un un;
    struct addr back;
    char out[128];
    socklen_t length;

    (void)state;
    memset(endpoint.unix_path, 'x', sizeof(endpoint.unix_path) - 1);
    endpoint.unix_path[0] = '/';
    length = addr_endpoint_to_sockaddr(&endpoint, &storage);
    memcpy(&un, &storage, sizeof(un));
    assert_string_equal(un.sun_path, endpoint.unix_path);
    addr_from_sockaddr((const struct sockaddr *)&storage, length, &back);
    assert_int_equal(back.family, ADDR_UNIX);
    assert_int_equal(addr_endpoint_format(&endpoint, out), 5 + 107);
    addr_format(&back, out);
    assert_string_equal(out, "unix");
}

static void test_mapped_sockaddr_is_ipv4(void **state)
{
    struct sockaddr_in6 in6 = {.sin6_family = AF_INET6, .sin6_port = htons(9)};
    struct sockaddr_storage storage = {0};
    struct addr addr;
    char out[ADDR_TEXT_SIZE];

    (void)state;
    assert_int_equal(inet_pton(AF_INET6, "::ffff:198.51.100.4", &in6.sin6_addr), 1);
    memcpy(&storage, &in6, sizeof(in6));
    addr_from_sockaddr((const struct sockaddr *)&storage, sizeof(in6), &addr);
    addr_format(&addr, out);
    assert_string_equal(out, "198.51.100.4");
    assert_int_equal(addr.port, 9);
    addr_from_sockaddr((const struct sockaddr *)&storage, 0, &addr);
    assert_int_equal(addr.family, ADDR_NONE);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_parse),
        cmocka_unit_test(test_parse_refuses_bytes_behind_a_nul),
        cmocka_unit_test(test_parse_with_port),
        cmocka_unit_test(test_range),
        cmocka_unit_test(test_mask),
        cmocka_unit_test(test_loopback),
        cmocka_unit_test(test_sockaddr_both_ways),
        cmocka_unit_test(test_unix_path),
        cmocka_unit_test(test_mapped_sockaddr_is_ipv4),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
