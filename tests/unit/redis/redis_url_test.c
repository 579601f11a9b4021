/* SPDX-License-Identifier: MIT */
/*
 * redis_url as tables: what each form of URL means, what is refused with which
 * words, and that a password is in neither the words nor the masked text.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#include "kamiyo/base/attributes.h"
#include "kamiyo/base/slice.h"
#include "kamiyo/redis/redis_url.h"

struct good_case {
    const char *text;
    const char *host;
    const char *path;
    const char *user;
    const char *password;
    const char *masked; /* NULL = as the text */
    uint16_t port;
    int database;
    bool is_tls;
};

static const struct good_case good_cases[] = {
    {.text = "redis://localhost", .host = "localhost", .port = 6379},
    {.text = "redis://localhost/", .host = "localhost", .port = 6379},
    {.text = "REDIS://localhost:7000/3",
     .host = "localhost",
     .port = 7000,
     .database = 3,
     .masked = "redis://localhost:7000/3"},
    {.text = "redis://red-abc123:6379", .host = "red-abc123", .port = 6379},
    {.text = "redis://localhost:6379?db=2", .host = "localhost", .port = 6379, .database = 2},
    {.text = "redis://localhost:6379/1?", .host = "localhost", .port = 6379, .database = 1},
    {.text = "rediss://example.com", .host = "example.com", .port = 6379, .is_tls = true},
    {.text = "valkey://10.0.0.1:1/0", .host = "10.0.0.1", .port = 1},
    {.text = "valkeys://v.example:6380", .host = "v.example", .port = 6380, .is_tls = true},
    {.text = "redis://[::1]:6379/15", .host = "::1", .port = 6379, .database = 15},
    {.text = "redis://[fe80::1%25lo]", .host = "fe80::1%lo", .port = 6379},
    {.text = "redis://[2001:db8::1]", .host = "2001:db8::1", .port = 6379},
    {.text = "redis://:secret@h",
     .host = "h",
     .port = 6379,
     .password = "secret",
     .masked = "redis://:***@h"},
    {.text = "redis://me:secret@h:1/2",
     .host = "h",
     .port = 1,
     .database = 2,
     .user = "me",
     .password = "secret",
     .masked = "redis://me:***@h:1/2"},
    {.text = "redis://a%40b:p%3Aw%2f%23%25%C3%A9@h",
     .host = "h",
     .port = 6379,
     .user = "a@b",
     .password = "p:w/#%\xc3\xa9",
     .masked = "redis://a%40b:***@h"},
    {.text = "redis://:a:b@c@h",
     .host = "h",
     .port = 6379,
     .password = "a:b@c",
     .masked = "redis://:***@h"},
    {.text = "redis://default:@h",
     .host = "h",
     .port = 6379,
     .user = "default",
     .password = "",
     .masked = "redis://default:***@h"},
    {.text = "redis://:@h", .host = "h", .port = 6379, .masked = "redis://:***@h"},
    {.text = "rediss://u:p@[::1]:7/1",
     .host = "::1",
     .port = 7,
     .database = 1,
     .user = "u",
     .password = "p",
     .masked = "rediss://u:***@[::1]:7/1",
     .is_tls = true},
    {.text = "unix:///run/redis.sock", .path = "/run/redis.sock"},
    {.text = "unix:///run/a%20b.sock?db=4", .path = "/run/a b.sock", .database = 4},
    {.text = "unix://:pw@/run/redis.sock",
     .path = "/run/redis.sock",
     .password = "pw",
     .masked = "unix://:***@/run/redis.sock"},
};

static void assert_text(const char *actual, const char *expected)
{
    if (expected == NULL)
        assert_null(actual);
    else
        assert_string_equal(actual, expected);
}

static void test_good(void **state)
{
    (void)state;
    for (size_t i = 0; i < COUNT_OF(good_cases); i++) {
        const struct good_case *expected = &good_cases[i];
        struct slice text = slice_of(expected->text);
        struct error error = {""};
        struct redis_url url;
        char masked[256];
        size_t length;

        if (!redis_url_parse(text, &url, &error))
            fail_msg("%s: %s", expected->text, error.text);
        assert_int_equal(url.is_unix, expected->path != NULL);
        assert_string_equal(url.host, expected->host != NULL ? expected->host : "");
        assert_string_equal(url.path, expected->path != NULL ? expected->path : "");
        assert_int_equal(url.port, expected->port);
        assert_int_equal(url.database, expected->database);
        assert_int_equal(url.is_tls, expected->is_tls);
        assert_text(url.user, expected->user);
        assert_text(url.password, expected->password);
        length = redis_url_mask(text, masked, sizeof(masked));
        assert_int_equal(length, strlen(masked));
        assert_string_equal(masked, expected->masked != NULL ? expected->masked : expected->text);
        redis_url_clear(&url);
        assert_null(url.password);
    }
}

struct bad_case {
    const char *text;
    const char *words; /* in the error */
};

/* Wherever one of these has something like a password, it is "s3cret". */
static const struct bad_case bad_cases[] = {
    {"", "does not begin with redis://"},
    {"localhost:6379", "does not begin with redis://"},
    {"http://localhost:6379", "does not begin with redis://"},
    {"redis:/localhost", "does not begin with redis://"},
    {"s3cret", "does not begin with"},
    {"redis://", "no host"},
    {"redis://:6379", "no host"},
    {"redis:///0", "no host"},
    {"redis://:s3cret@", "no host"},
    {"redis://:s3cret@/0", "no host"},
    {"redis://h:", NULL},
    {"redis://h:0", "port"},
    {"redis://h:65536", "port"},
    {"redis://h:6379x", "port"},
    {"redis://user:s3cret", "port"},
    {"redis://:s3cret", "no host"},
    {"redis://h:+1", "port"},
    {"redis://h/x", "database"},
    {"redis://h/-1", "database"},
    {"redis://h/1/2", "database"},
    {"redis://h/1000001", "database"},
    {"redis://h?db=x", "database"},
    {"redis://h?database=1", "only db is"},
    {"redis://h?password=s3cret", "only db is"},
    {"rediss://h?ssl_cert_reqs=none", "redis.tls"},
    {"redis://s3cret@h", "colon"},
    {"redis://:a/s3cret@h", "%2F"},
    {"redis://:a#s3cret@h", "%23"},
    {"redis://:a?s3cret@h", "%3F"},
    {"redis://h#frag", "#"},
    {"redis://:s3cret%@h", "password"},
    {"redis://:s3cret%zz@h", "password"},
    {"redis://:s3cret%00@h", "NUL"},
    {"redis://u%0:s3cret@h", "user"},
    {"redis://::1:6379", "brackets"},
    {"redis://[::1", "bracket"},
    {"redis://[zz::1]", "no IPv6 address"},
    {"redis://[]", "no host"},
    {"redis://[1:2:3:4:5:6:7:8:9]:6379", "no IPv6 address"},
    {"redis://:s3cret@h\n", "control character"},
    {"redis://:s3cr\tet@h", "control character"},
    {"redis://[::1]x", "bracket"},
    {"redis://[]", "no host"},
    {"redis://a b", "character"},
    {"redis://a,b", NULL},
    {"redis://h%20", "character"},
    {"redis://h%5b", "character"},
    {"unix://", "absolute path"},
    {"unix://run/redis.sock", "absolute path"},
    {"unix:///run/%00", "NUL"},
    {"unix:///"
     "aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa"
     "aaaaaaaaaaaaaaaaaaa",
     "longer"},
};

static void test_bad(void **state)
{
    (void)state;
    for (size_t i = 0; i < COUNT_OF(bad_cases); i++) {
        struct slice text = slice_of(bad_cases[i].text);
        struct redis_url url = {.port = 4711};
        struct error error = {""};
        char masked[256];

        (void)redis_url_mask(text, masked, sizeof(masked)); /* its text counts, not its length */
        assert_null(strstr(masked, "s3cret"));
        if (bad_cases[i].words == NULL) /* only that it does no harm */
            continue;
        if (redis_url_parse(text, &url, &error))
            fail_msg("%s is accepted", bad_cases[i].text);
        if (strstr(error.text, bad_cases[i].words) == NULL)
            fail_msg("%s: %s", bad_cases[i].text, error.text);
        assert_null(strstr(error.text, "s3cret"));
        assert_int_equal(url.port, 4711);
    }
}

static void test_long(void **state)
{
    char text[REDIS_URL_MAX_BYTES + 1];
    struct redis_url url;
    struct error error;
    char masked[16];

    (void)state;
    memset(text, 'a', sizeof(text));
    memcpy(text, "redis://:", 9);
    assert_false(redis_url_parse((struct slice){text, sizeof(text)}, &url, &error));
    assert_non_null(strstr(error.text, "longer"));
    memcpy(text + sizeof(text) - 3, "@h", 2); /* the last byte stays out */
    assert_true(redis_url_parse((struct slice){text, sizeof(text) - 1}, &url, &error));
    assert_int_equal(strlen(url.password), sizeof(text) - 1 - 9 - 2);
    redis_url_clear(&url);
    assert_int_equal(redis_url_mask((struct slice){text, sizeof(text) - 1}, masked, sizeof(masked)),
                     14);
    assert_string_equal(masked, "redis://:***@h");
    assert_int_equal(redis_url_mask(SLICE("redis://a-rather-long-name"), masked, sizeof(masked)),
                     15);
    assert_string_equal(masked, "redis://a-rathe");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_good),
        cmocka_unit_test(test_bad),
        cmocka_unit_test(test_long),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
