/* SPDX-License-Identifier: MIT */
/* Slices: comparing, trimming, cutting and reading, with the empty and the missing ones. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#include "kamiyo/base/attributes.h"
#include "kamiyo/base/slice.h"

static const struct slice absent = {NULL, 0};

static void assert_slice(struct slice got, const char *expected)
{
    assert_int_equal(got.length, strlen(expected));
    if (got.length > 0)
        assert_memory_equal(got.data, expected, got.length);
}

static void test_of(void **state)
{
    (void)state;
    assert_slice(slice_of("abc"), "abc");
    assert_slice(slice_of(""), "");
    assert_null(slice_of(NULL).data);
    assert_int_equal(slice_of(NULL).length, 0);
    assert_int_equal(SLICE("a\0b").length, 3);
}

struct comparison {
    struct slice a, b;
    bool is_equal;
    bool is_equal_ignoring_case;
    bool starts; /* a starts with b */
};

static void test_comparing(void **state)
{
    (void)state;
    const struct comparison comparisons[] = {
        {SLICE("abc"), SLICE("abc"), true, true, true},
        {SLICE("abc"), SLICE("aBC"), false, true, false},
        {SLICE("abc"), SLICE("ab"), false, false, true},
        {SLICE("ab"), SLICE("abc"), false, false, false},
        {SLICE("abc"), SLICE("abd"), false, false, false},
        {SLICE(""), SLICE(""), true, true, true},
        {absent, SLICE(""), true, true, true},
        {SLICE(""), absent, true, true, true},
        {absent, absent, true, true, true},
        {SLICE("a"), absent, false, false, true},
        {absent, SLICE("a"), false, false, false},
        {SLICE("a\0b"), SLICE("a\0c"), false, false, false},
        {SLICE("a\0b"), SLICE("A\0B"), false, true, false},
        /* Only ASCII letters have two cases: '@' and '`', '[' and '{', and bytes with the high bit.
         */
        {SLICE("@["), SLICE("`{"), false, false, false},
        {SLICE("\xc4"), SLICE("\xe4"), false, false, false},
        {SLICE("AZ"), SLICE("az"), false, true, false},
    };
    for (size_t i = 0; i < COUNT_OF(comparisons); i++) {
        const struct comparison *c = &comparisons[i];
        assert_int_equal(slice_equal(c->a, c->b), c->is_equal);
        assert_int_equal(slice_equal_ignore_case(c->a, c->b), c->is_equal_ignoring_case);
        assert_int_equal(slice_equal_ignore_case(c->b, c->a), c->is_equal_ignoring_case);
        assert_int_equal(slice_starts_with(c->a, c->b), c->starts);
    }
}

/* Letters are compared several at a step, some of them twice: each length has each byte at each
 * place. */
static void test_letters_at_every_place(void **state)
{
    static const unsigned char changes[] = {0, 0x01, 0x20, 0x40, 0x80, 0xa0};
    (void)state;
    for (size_t length = 1; length <= 20; length++) {
        for (size_t at = 0; at < length; at++) {
            for (unsigned value = 0; value < 256; value++) {
                for (size_t i = 0; i < COUNT_OF(changes); i++) {
                    char a[20], b[20];
                    unsigned char other = (unsigned char)(value ^ changes[i]);
                    bool is_letter = (value | 0x20) >= 'a' && (value | 0x20) <= 'z';
                    memset(a, 'Q', sizeof(a));
                    memset(b, 'q', sizeof(b));
                    a[at] = (char)value;
                    b[at] = (char)other;
                    assert_int_equal(slice_equal_letters(a, b, length),
                                     changes[i] == 0 || (changes[i] == 0x20 && is_letter));
                }
            }
        }
    }
}

static void test_trim(void **state)
{
    (void)state;
    assert_slice(slice_trim(SLICE("a")), "a");
    assert_slice(slice_trim(SLICE(" \ta b\t ")), "a b");
    assert_slice(slice_trim(SLICE(" \t ")), "");
    assert_slice(slice_trim(SLICE("")), "");
    assert_slice(slice_trim(absent), "");
    /* OWS is space and tab, nothing else. */
    assert_slice(slice_trim(SLICE("\r a\v")), "\r a\v");
}

static void test_find(void **state)
{
    (void)state;
    assert_int_equal(slice_find(SLICE("a:b:c"), ':'), 1);
    assert_int_equal(slice_find(SLICE("abc"), ':'), 3);
    assert_int_equal(slice_find(SLICE("a\0b"), '\0'), 1);
    assert_int_equal(slice_find(absent, ':'), 0);
}

static void test_cut(void **state)
{
    (void)state;
    static const char *const lists[][5] = {
        {"a,b", "a", "b"}, {"a,,b", "a", "", "b"}, {",", "", ""}, {"", ""}, {"a,", "a", ""},
    };
    for (size_t i = 0; i < COUNT_OF(lists); i++) {
        struct slice rest = slice_of(lists[i][0]), part;
        for (size_t j = 1; j < 5 && lists[i][j] != NULL; j++) {
            assert_true(slice_cut(&rest, ',', &part));
            assert_slice(part, lists[i][j]);
        }
        assert_false(slice_cut(&rest, ',', &part));
        assert_false(slice_cut(&rest, ',', &part));
    }
    struct slice rest = absent, part = SLICE("kept");
    assert_false(slice_cut(&rest, ',', &part));
    assert_slice(part, "kept");
}

static void test_parse_u64(void **state)
{
    (void)state;
    static const struct {
        const char *text;
        uint64_t value;
    } right[] = {
        {"0", 0},
        {"7", 7},
        {"007", 7},
        {"18446744073709551615", UINT64_MAX},
        {"00000000000000000000000000000001", 1},
    };
    static const char *const wrong[] = {
        "",   " 1", "1 ",  "+1",   "-1",
        "1a", "x",  "0x1", "1e3",  "18446744073709551616",
        "/",  ":",  "1.0", "\xb2", "99999999999999999999999",
    };
    for (size_t i = 0; i < COUNT_OF(right); i++) {
        uint64_t value = 42;
        assert_true(slice_parse_u64(slice_of(right[i].text), &value));
        assert_true(value == right[i].value);
    }
    for (size_t i = 0; i < COUNT_OF(wrong); i++) {
        uint64_t value = 42;
        assert_false(slice_parse_u64(slice_of(wrong[i]), &value));
        assert_true(value == 42);
    }
    uint64_t value = 42;
    assert_false(slice_parse_u64(SLICE("1\0"), &value));
    assert_false(slice_parse_u64(absent, &value));
    assert_true(value == 42);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_of),
        cmocka_unit_test(test_comparing),
        cmocka_unit_test(test_letters_at_every_place),
        cmocka_unit_test(test_trim),
        cmocka_unit_test(test_find),
        cmocka_unit_test(test_cut),
        cmocka_unit_test(test_parse_u64),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
