/* SPDX-License-Identifier: MIT */
/* What names an upstream and what does not, as a table. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <string.h>

#include <cmocka.h>

#include "kamiyo/upstream/upstream_url.h"

static const struct {
    const char *text;
    const char *authority; /* NULL = refused */
    const char *host;
    int port;
    bool is_tls;
} rows[] = {
    {"http://localhost:8000", "localhost:8000", "localhost", 8000, false},
    {"http://localhost:8000/", "localhost:8000", "localhost", 8000, false},
    {"http://api.test", "api.test", "api.test", 80, false},
    {"http://api.test:80", "api.test", "api.test", 80, false},
    {"https://api.test", "api.test", "api.test", 443, true},
    {"https://api.test:8443", "api.test:8443", "api.test", 8443, true},
    {"https://api.test:80", "api.test:80", "api.test", 80, true},
    {"http://[::1]:81", "[::1]:81", "::1", 81, false},
    {"http://[2001:db8::1]", "[2001:db8::1]", "2001:db8::1", 80, false},
    {"kamiyo-api-x1y2:10000", "kamiyo-api-x1y2:10000", "kamiyo-api-x1y2", 10000, false},
    {"10.0.0.1:8000", "10.0.0.1:8000", "10.0.0.1", 8000, false},
    {"[::1]:8000", "[::1]:8000", "::1", 8000, false},
    {"unix:/run/api.sock", "localhost", "", 0, false},
    {"", NULL, NULL, 0, false},
    {"http://", NULL, NULL, 0, false},
    {"http:///", NULL, NULL, 0, false},
    {"localhost", NULL, NULL, 0, false},
    {":8000", NULL, NULL, 0, false},
    {"http://:8000", NULL, NULL, 0, false},
    {"http://a:0", NULL, NULL, 0, false},
    {"http://a:65536", NULL, NULL, 0, false},
    {"http://a:8x", NULL, NULL, 0, false},
    {"http://a:", NULL, NULL, 0, false},
    {"http://a/path", NULL, NULL, 0, false},
    {"http://a//", NULL, NULL, 0, false},
    {"a:80/", NULL, NULL, 0, false},
    {"http://user@a", NULL, NULL, 0, false},
    {"http://a?x=1", NULL, NULL, 0, false},
    {"http://::1:80", NULL, NULL, 0, false},
    {"http://[::1", NULL, NULL, 0, false},
    {"http://[]:80", NULL, NULL, 0, false},
    {"http://[::1]x", NULL, NULL, 0, false},
    {"ftp://a:21", NULL, NULL, 0, false},
    {"http://a b", NULL, NULL, 0, false},
    {"unix:", NULL, NULL, 0, false},
    {"unix:run/api.sock", NULL, NULL, 0, false},
};

static void test_rows(void **state)
{
    (void)state;
    for (size_t i = 0; i < COUNT_OF(rows); i++) {
        struct upstream_url url;
        struct error error = {.text = ""};
        bool is_parsed = upstream_url_parse(slice_of(rows[i].text), &url, &error);

        if (is_parsed != (rows[i].authority != NULL))
            fail_msg("\"%s\" was %s", rows[i].text, is_parsed ? "taken" : "refused");
        if (!is_parsed) {
            assert_true(error.text[0] != '\0');
            continue;
        }
        assert_string_equal(url.authority, rows[i].authority);
        assert_string_equal(url.host, rows[i].host);
        assert_int_equal(url.port, rows[i].port);
        assert_int_equal(url.is_tls, rows[i].is_tls);
        assert_true(upstream_url_equal(&url, &url));
    }
}

static void test_lengths(void **state)
{
    char text[600] = "http://";
    struct upstream_url url;
    struct error error;

    (void)state;
    memset(text + 7, 'a', 255);
    assert_true(upstream_url_parse(slice_of(text), &url, &error));
    memcpy(text + 7 + 255, ":65535", 7);
    assert_true(upstream_url_parse(slice_of(text), &url, &error));
    assert_int_equal(strlen(url.authority), 261);
    memset(text + 7, 'a', 256);
    text[7 + 256] = '\0';
    assert_false(upstream_url_parse(slice_of(text), &url, &error));
    memset(text, 'a', 200);
    memcpy(text, "unix:/", 6);
    text[5 + 107] = '\0';
    assert_true(upstream_url_parse(slice_of(text), &url, &error));
    assert_int_equal(strlen(url.unix_path), 107);
    text[5 + 107] = 'a';
    text[5 + 108] = '\0';
    assert_false(upstream_url_parse(slice_of(text), &url, &error));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_rows),
        cmocka_unit_test(test_lengths),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
