/* SPDX-License-Identifier: MIT */
/*
 * Names: the byte classes against the grammar, each field kind found under its
 * own name only, lists, reasons.
 */
#include <ctype.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "kamiyo/http/message.h"

#include "http/field_lookup.h"
#include "http/http_internal.h"

static bool in(int byte, const char *set)
{
    return byte != 0 && strchr(set, byte) != NULL;
}

static void test_byte_classes(void **state)
{
    (void)state;
    for (int byte = 0; byte < 256; byte++) {
        bool is_ascii = byte < 128;
        bool is_alnum = is_ascii && isalnum(byte) != 0;
        char c = (char)byte;

        assert_int_equal(http_byte_is(c, HTTP_BYTE_TOKEN), is_alnum || in(byte, "!#$%&'*+-.^_`|~"));
        assert_int_equal(http_byte_is(c, HTTP_BYTE_TARGET),
                         byte > 0x20 && byte < 0x7f && byte != '#');
        assert_int_equal(http_byte_is(c, HTTP_BYTE_VALUE),
                         byte == '\t' || (byte >= 0x20 && byte != 0x7f));
        assert_int_equal(http_byte_is(c, HTTP_BYTE_HOST), is_alnum || in(byte, "-._~%!$&'()*+;="));
        assert_int_equal(http_byte_is(c, HTTP_BYTE_HEX), is_ascii && isxdigit(byte) != 0);
    }
}

static void test_field_ids(void **state)
{
    (void)state;
    assert_int_equal(http_field_names[HTTP_FIELD_OTHER].length, 0);
    for (int i = 1; i < HTTP_FIELD_COUNT; i++) {
        struct slice name = {http_field_names[i].text, http_field_names[i].length};
        char copy[64];

        assert_true(name.length > 0 && name.length < sizeof(copy) - 1);
        for (size_t j = 0; j < name.length; j++)
            copy[j] = (char)toupper(name.data[j]);
        assert_int_equal(http_field_id_of(name), i);
        assert_int_equal(http_field_id_of((struct slice){copy, name.length}), i);
        for (size_t j = 0; j < name.length; j++)
            copy[j] = (char)tolower(name.data[j]);
        assert_int_equal(http_field_id_of((struct slice){copy, name.length}), i);
        /* One letter changed, one missing, one more: another name. */
        for (size_t j = 0; j < name.length; j++) {
            char kept = copy[j];

            copy[j] = kept == 'q' ? 'z' : 'q';
            assert_int_not_equal(http_field_id_of((struct slice){copy, name.length}), i);
            copy[j] = kept;
        }
        copy[name.length] = 's';
        assert_int_not_equal(http_field_id_of((struct slice){copy, name.length + 1}), i);
        assert_int_not_equal(http_field_id_of((struct slice){copy, name.length - 1}), i);
    }
    assert_int_equal(http_field_id_of((struct slice){NULL, 0}), HTTP_FIELD_OTHER);
    for (size_t length = 1; length < 64; length++) {
        char copy[64];

        memset(copy, 'x', sizeof(copy));
        assert_int_equal(http_field_id_of((struct slice){copy, length}), HTTP_FIELD_OTHER);
    }
}

static void test_tokens(void **state)
{
    (void)state;
    assert_true(http_is_token(SLICE("a-b!~")));
    assert_false(http_is_token(SLICE("")));
    assert_false(http_is_token(SLICE("a b")));
    assert_false(http_is_token(SLICE("a\0")));
    assert_true(http_list_has(SLICE("a, Websocket ,b"), SLICE("websocket")));
    assert_true(http_list_has(SLICE("a"), SLICE("A")));
    assert_false(http_list_has(SLICE("ab"), SLICE("a")));
    assert_false(http_list_has(SLICE(""), SLICE("a")));
    assert_false(http_list_has((struct slice){NULL, 0}, SLICE("a")));
}

static void test_reasons(void **state)
{
    (void)state;
    assert_string_equal(http_status_reason(200), "OK");
    assert_string_equal(http_status_reason(429), "Too Many Requests");
    assert_string_equal(http_status_reason(299), "");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_byte_classes),
        cmocka_unit_test(test_field_ids),
        cmocka_unit_test(test_tokens),
        cmocka_unit_test(test_reasons),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
