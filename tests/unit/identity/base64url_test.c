/* SPDX-License-Identifier: MIT */
/* RFC 4648's vectors in the alphabet for URLs, and every way to be not quite base64url. */
#include <setjmp.h>
#include <stdarg.h>
#include <string.h>

#include <cmocka.h>

#include "kamiyo/identity/base64url.h"

static void test_rows(void **state)
{
    static const struct {
        const char *text;
        const char *bytes; /* NULL = refused */
    } rows[] = {
        {"", ""},
        {"Zg", "f"},
        {"Zm8", "fo"},
        {"Zm9v", "foo"},
        {"Zm9vYg", "foob"},
        {"Zm9vYmE", "fooba"},
        {"Zm9vYmFy", "foobar"},
        {"-_-_", "\xfb\xff\xbf"},
        {"+/+/", NULL},
        {"Zg==", NULL},
        {"Zm8=", NULL},
        {"Z", NULL},
        {"Zm9vY", NULL},
        {"Zh", NULL}, /* bits left over */
        {"Zm9", NULL},
        {"Z g", NULL},
        {"Zg\n", NULL},
        {"Zm.v", NULL},
        {"Z\xc3\xa9v", NULL},
    };

    (void)state;
    for (size_t i = 0; i < COUNT_OF(rows); i++) {
        struct slice text = slice_of(rows[i].text);
        uint8_t out[16];
        size_t length = 99;

        if (base64url_decode(text, out, sizeof(out), &length) != (rows[i].bytes != NULL))
            fail_msg("\"%s\"", rows[i].text);
        if (rows[i].bytes == NULL) {
            assert_int_equal(length, 99);
            continue;
        }
        assert_int_equal(length, strlen(rows[i].bytes));
        assert_memory_equal(out, rows[i].bytes, length);
        assert_true(base64url_is(text));
        if (length > 0)
            assert_false(base64url_decode(text, out, length - 1, &length));
        assert_true(base64url_decode(text, out, length, &length));
    }
    assert_true(base64url_is(SLICE("Zm9vY"))); /* letters only; no judgement of the length */
    assert_false(base64url_is(SLICE("Zm=v")));
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(test_rows)};

    return cmocka_run_group_tests(tests, NULL, NULL);
}
