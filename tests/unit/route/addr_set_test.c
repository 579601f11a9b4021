/* SPDX-License-Identifier: MIT */
/* Membership in many ranges, held to a plain scan of them. */
#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "kamiyo/route/addr_set.h"

#include "random_support.h"

static struct addr addr(const char *text)
{
    struct addr parsed = {.family = ADDR_UNIX};

    if (strcmp(text, "unix") != 0)
        assert_true(addr_parse(slice_of(text), &parsed));
    return parsed;
}

static void test_rows(void **state)
{
    static const char *const texts[] = {"10.0.0.0/8",      "10.1.0.0/16",     "192.0.2.1",
                                        "192.0.2.2",       "255.255.255.255", "2001:db8::/32",
                                        "2001:db8:1::/48", "fd00::1",         "8000::/1"};
    static const struct {
        const char *addr;
        bool is_in;
    } rows[] = {
        {"10.0.0.0", true},
        {"10.255.255.255", true},
        {"9.255.255.255", false},
        {"11.0.0.0", false},
        {"10.1.2.3", true},
        {"192.0.2.0", false},
        {"192.0.2.1", true},
        {"192.0.2.2", true},
        {"192.0.2.3", false},
        {"255.255.255.255", true},
        {"0.0.0.0", false},
        {"2001:db8::", true},
        {"2001:db8:ffff:ffff:ffff:ffff:ffff:ffff", true},
        {"2001:db9::", false},
        {"fd00::1", true},
        {"7fff::1", false},
        {"::", false},
        {"::ffff:10.1.1.1", true},
        {"unix", false},
        {"ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff", true},
    };
    struct addr_range ranges[COUNT_OF(texts)];
    struct addr_set set;

    (void)state;
    for (size_t i = 0; i < COUNT_OF(texts); i++)
        assert_true(addr_range_parse(slice_of(texts[i]), &ranges[i]));
    addr_set_init(&set, ranges, COUNT_OF(texts));
    for (size_t i = 0; i < COUNT_OF(rows); i++) {
        struct addr one = addr(rows[i].addr);

        if (addr_set_has(&set, &one) != rows[i].is_in)
            fail_msg("%s", rows[i].addr);
    }
    addr_set_clear(&set);
    addr_set_clear(&set);
}

static void test_everything_and_nothing(void **state)
{
    struct addr_range ranges[2];
    struct addr one = addr("203.0.113.9"), two = addr("2001:db8::9");
    struct addr_set set;

    (void)state;
    addr_set_init(&set, NULL, 0);
    assert_false(addr_set_has(&set, &one));
    assert_false(addr_set_has(&set, &two));
    addr_set_clear(&set);
    assert_true(addr_range_parse(SLICE("0.0.0.0/0"), &ranges[0]));
    assert_true(addr_range_parse(SLICE("::/0"), &ranges[1]));
    addr_set_init(&set, ranges, 2);
    assert_true(addr_set_has(&set, &one));
    assert_true(addr_set_has(&set, &two));
    addr_set_clear(&set);
}

static struct addr random_addr(struct random_source *source)
{
    struct addr made = {.family = random_below(source, 2) == 0 ? ADDR_IPV4 : ADDR_IPV6};

    for (size_t i = 0; i < (made.family == ADDR_IPV4 ? 4u : 16u); i++)
        made.bytes[i] = (uint8_t)(random_below(source, 3) == 0
                                      ? 255
                                      : random_below(source, 3)); /* dense: hits and near misses */
    return made;
}

static void test_against_scan(void **state)
{
    enum {
        RANGES = 200
    };
    struct addr_range ranges[RANGES];
    struct random_source source = {11};

    (void)state;
    for (int round = 0; round < 20; round++) {
        struct addr_set set;

        for (size_t i = 0; i < RANGES; i++) {
            ranges[i].base = random_addr(&source);
            ranges[i].prefix_length =
                (uint8_t)(ranges[i].base.family == ADDR_IPV4 ? 8 + random_below(&source, 25)
                                                             : 16 + random_below(&source, 113));
            addr_mask(&ranges[i].base, ranges[i].prefix_length);
        }
        addr_set_init(&set, ranges, RANGES);
        for (int i = 0; i < 2000; i++) {
            struct addr one = random_addr(&source);
            bool is_in = false;

            for (size_t j = 0; j < RANGES && !is_in; j++)
                is_in = addr_range_contains(&ranges[j], &one);
            assert_int_equal(addr_set_has(&set, &one), is_in);
        }
        addr_set_clear(&set);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_rows),
        cmocka_unit_test(test_everything_and_nothing),
        cmocka_unit_test(test_against_scan),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
