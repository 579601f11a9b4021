/* SPDX-License-Identifier: MIT */
/*
 * Bounded text: numbers, JSON and quoting against plain references, overflow,
 * durations, sizes, dates, and the nearest name.
 */
#include <inttypes.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>
#include <jansson.h>

#include "kamiyo/base/text.h"

static void test_numbers(void **state)
{
    (void)state;
    static const int64_t values[] = {0,   1,    9,          10,        99,       100,     101,
                                     999, 1000, 9999,       10000,     12345,    1000000, -1,
                                     -10, -100, 1795443442, INT64_MAX, INT64_MIN};
    for (size_t i = 0; i < COUNT_OF(values); i++) {
        char memory[32], expected[32];
        struct text text;
        text_init(&text, memory, sizeof(memory) - 1);
        text_append_i64(&text, values[i]);
        memory[text.length] = '\0';
        snprintf(expected, sizeof(expected), "%" PRId64, values[i]);
        assert_string_equal(memory, expected);
    }
    char memory[32];
    struct text text;
    text_init(&text, memory, sizeof(memory) - 1);
    text_append_u64(&text, UINT64_MAX);
    assert_string_equal(text_terminate(&text), "18446744073709551615");
}

static void test_number_that_just_fits(void **state)
{
    (void)state;
    char memory[6] = "......";
    struct text text;
    text_init(&text, memory, 5);
    text_append_u64(&text, 12345);
    assert_false(text.overflow);
    assert_memory_equal(memory, "12345.", 6);
    text_init(&text, memory, 4);
    text_append_u64(&text, 67890);
    assert_true(text.overflow);
    assert_int_equal(text.length, 0);
    assert_memory_equal(memory, "12345.", 6);
}

static void test_bytes_as_hexadecimal_digits(void **state)
{
    (void)state;
    const unsigned char bytes[] = {0x00, 0x0f, 0xa5, 0xff};
    char memory[16];
    struct text text;
    text_init(&text, memory, sizeof(memory));
    text_append_hex(&text, bytes, sizeof(bytes));
    assert_string_equal(text_terminate(&text), "000fa5ff");
    text_init(&text, memory, sizeof(memory));
    text_append_percent(&text, '/');
    text_append_percent(&text, '\xff');
    text_append_percent(&text, '\0');
    assert_string_equal(text_terminate(&text), "%2F%FF%00");
    text_init(&text, memory, 3);
    text_append_hex(&text, bytes, sizeof(bytes));
    assert_true(text.overflow);
    assert_int_equal(text.length, 3);
}

static void test_overflow_writes_nothing_beyond(void **state)
{
    (void)state;
    char memory[8] = "abcdefg";
    struct text text;
    text_init(&text, memory, 4);
    text_append(&text, SLICE("12"));
    text_append(&text, SLICE("345"));
    assert_true(text.overflow);
    text_append_char(&text, '6');
    text_append_char(&text, '7');
    text_append_char(&text, '8');
    assert_memory_equal(memory, "1267efg", 7);
    text_append_format(&text, "%d", 9);
    assert_int_equal(text.length, 4);
}

/* The same by single bytes, as RFC 8259 7 says; valid UTF-8 is left to jansson to judge. */
static void test_json_of_any_byte_at_any_place(void **state)
{
    (void)state;
    for (int byte = 0; byte < 256; byte++) {
        for (size_t place = 0; place < 20; place++) {
            char given[20], memory[256];
            struct text text;
            memset(given, 'a', sizeof(given));
            given[place] = (char)byte;
            text_init(&text, memory, sizeof(memory) - 1);
            text_append_char(&text, '"');
            text_append_json(&text, (struct slice){given, sizeof(given)});
            text_append_char(&text, '"');
            memory[text.length] = '\0';
            json_t *json = json_loads(memory, JSON_DECODE_ANY | JSON_ALLOW_NUL, NULL);
            assert_non_null(json);
            if (byte < 128) {
                assert_int_equal(json_string_length(json), sizeof(given));
                assert_memory_equal(json_string_value(json), given, sizeof(given));
            } else {
                assert_int_equal(json_string_length(json), sizeof(given) + 2); /* U+FFFD */
            }
            json_decref(json);
        }
    }
}

static void test_json_keeps_utf8(void **state)
{
    (void)state;
    static const struct {
        const char *given, *expected;
    } rows[] = {
        {"gr\xc3\xbc\xc3\x9f", "gr\xc3\xbc\xc3\x9f"},
        {"\xe2\x82\xac", "\xe2\x82\xac"},
        {"\xf0\x9f\x98\x80", "\xf0\x9f\x98\x80"},
        {"\xc0\x80", "\\ufffd\\ufffd"},            /* overlong */
        {"\xed\xa0\x80", "\\ufffd\\ufffd\\ufffd"}, /* a surrogate */
        {"\xf4\x90\x80\x80", "\\ufffd\\ufffd\\ufffd\\ufffd"},
        {"\xe2\x82", "\\ufffd\\ufffd"}, /* cut */
        {"a\"b\\c\n\r\t\x01", "a\\\"b\\\\c\\n\\r\\t\\u0001"},
    };
    for (size_t i = 0; i < COUNT_OF(rows); i++) {
        char memory[128];
        struct text text;
        text_init(&text, memory, sizeof(memory));
        text_append_json(&text, slice_of(rows[i].given));
        assert_string_equal(text_terminate(&text), rows[i].expected);
    }
}

static void test_quoted(void **state)
{
    (void)state;
    char memory[128];
    struct text text;
    text_init(&text, memory, sizeof(memory));
    text_append_quoted(&text, (struct slice){"a\"\\\n\x7f\xff ", 7});
    assert_string_equal(text_terminate(&text), "a\\\"\\\\\\x0a\\x7f\\xff ");
}

static void test_durations(void **state)
{
    (void)state;
    static const struct {
        const char *text;
        int64_t ms; /* -1 = refused */
    } rows[] = {
        {"50ms", 50},
        {"2s", 2000},
        {"5m", 300000},
        {"1h", 3600000},
        {"1d", 86400000},
        {"0", 0},
        {"0s", 0},
        {"366d", 31622400000},
        {"367d", -1},
        {"5", -1},
        {"", -1},
        {"s", -1},
        {"-1s", -1},
        {"1 s", -1},
        {"1.5s", -1},
        {"1S", -1},
        {"99999999999999999999s", -1},
        {"18446744073709551615d", -1},
    };
    for (size_t i = 0; i < COUNT_OF(rows); i++) {
        int64_t ms = -1;
        assert_int_equal(text_parse_duration(slice_of(rows[i].text), &ms), rows[i].ms >= 0);
        assert_int_equal(ms, rows[i].ms);
    }
    static const struct {
        int64_t ms;
        const char *text;
    } formats[] = {{0, "0"},         {1500, "1500ms"}, {60000, "1m"},
                   {86400000, "1d"}, {7200000, "2h"},  {61000, "61s"}};
    for (size_t i = 0; i < COUNT_OF(formats); i++) {
        char out[24];
        assert_string_equal(text_format_duration(formats[i].ms, out), formats[i].text);
    }
}

static void test_sizes(void **state)
{
    (void)state;
    static const struct {
        const char *text;
        uint64_t bytes;
        bool is_good;
    } rows[] = {
        {"512B", 512, true},        {"32KiB", 32768, true},
        {"64MiB", 64u << 20, true}, {"1GiB", 1u << 30, true},
        {"1MB", 1000000, true},     {"0", 0, true},
        {"32", 0, false},           {"1kib", 0, false},
        {"KiB", 0, false},          {"99999999999GiB", 0, false},
    };
    for (size_t i = 0; i < COUNT_OF(rows); i++) {
        uint64_t bytes = 0;
        assert_int_equal(text_parse_size(slice_of(rows[i].text), &bytes), rows[i].is_good);
        assert_int_equal(bytes, rows[i].bytes);
    }
}

static void test_nearest(void **state)
{
    (void)state;
    static const char *const names[] = {"listen", "workers", "upstream", "timeout", "tls", NULL};
    static const struct {
        const char *given, *nearest;
    } rows[] = {
        {"lisen", "listen"},     {"ilsten", "listen"},
        {"worker", "workers"},   {"upsteram", "upstream"},
        {"timeouts", "timeout"}, {"banana", NULL},
        {"tsl", "tls"},          {"", NULL},
    };
    for (size_t i = 0; i < COUNT_OF(rows); i++) {
        const char *nearest = text_nearest(slice_of(rows[i].given), names);
        if (rows[i].nearest == NULL)
            assert_null(nearest);
        else
            assert_string_equal(nearest, rows[i].nearest);
    }
    assert_int_equal(text_distance(SLICE("abcd"), SLICE("acbd")), 1);
    assert_int_equal(text_distance(SLICE(""), SLICE("abc")), 3);
}

static void test_dates(void **state)
{
    (void)state;
    char date[TEXT_HTTP_DATE_SIZE], stamp[TEXT_TIMESTAMP_SIZE];
    text_format_http_date(784111777, date);
    assert_string_equal(date, "Sun, 06 Nov 1994 08:49:37 GMT"); /* RFC 9110 5.6.7 */
    text_format_http_date(951782400, date);
    assert_string_equal(date, "Tue, 29 Feb 2000 00:00:00 GMT");
    text_format_timestamp(1795417559123, stamp);
    assert_string_equal(stamp, "2026-11-23T07:05:59.123Z");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_numbers),
        cmocka_unit_test(test_number_that_just_fits),
        cmocka_unit_test(test_bytes_as_hexadecimal_digits),
        cmocka_unit_test(test_overflow_writes_nothing_beyond),
        cmocka_unit_test(test_json_of_any_byte_at_any_place),
        cmocka_unit_test(test_json_keeps_utf8),
        cmocka_unit_test(test_quoted),
        cmocka_unit_test(test_durations),
        cmocka_unit_test(test_sizes),
        cmocka_unit_test(test_nearest),
        cmocka_unit_test(test_dates),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
