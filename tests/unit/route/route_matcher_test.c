/* SPDX-License-Identifier: MIT */
/* First match by path, method, host and fields; a plain scan of all routes is the model that random
 * tables are held to. */
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "kamiyo/route/route_matcher.h"

#include "random_support.h"
#include "request_support.h"

#define TEXTS(...)  \
    (char *[])      \
    {               \
        __VA_ARGS__ \
    }

static char health[] = "/health", ready[] = "/ready", any[] = "*", root[] = "/*",
            hooks[] = "/api/v1/webhooks/*", api[] = "/api/*", api_star[] = "/api*",
            exact_api[] = "/api", deep[] = "/api/v1/webhooks/stripe", spaced[] = "/a b",
            utf8[] = "/caf\xc3\xa9", get[] = "GET", post[] = "POST", purge[] = "PURGE",
            options_method[] = "OPTIONS", host_a[] = "Api.example.com",
            host_b[] = "b.example.com:8080", host_6[] = "[2001:db8::1]",
            acrm[] = "Access-Control-Request-Method", custom[] = "X-Custom";

/* In file order. */
static const struct route_options routes[] = {
    /* 0 */ {.paths = TEXTS(health, ready), .path_count = 2, .is_exempt = true},
    /* 1 */
    {.methods = TEXTS(options_method),
     .method_count = 1,
     .headers = TEXTS(acrm),
     .header_count = 1},
    /* 2 */ {.paths = TEXTS(hooks), .path_count = 1, .methods = TEXTS(post), .method_count = 1},
    /* 3 */ {.paths = TEXTS(api), .path_count = 1, .hosts = TEXTS(host_a), .host_count = 1},
    /* 4 */ {.paths = TEXTS(deep, exact_api), .path_count = 2},
    /* 5 */ {.paths = TEXTS(api), .path_count = 1, .headers = TEXTS(custom), .header_count = 1},
    /* 6 */ {.paths = TEXTS(api), .path_count = 1, .methods = TEXTS(purge, get), .method_count = 2},
    /* 7 */ {.paths = TEXTS(spaced, utf8), .path_count = 2},
    /* 8 */ {.hosts = TEXTS(host_b, host_6), .host_count = 2},
    /* 9 */ {.paths = TEXTS(api_star), .path_count = 1},
    /* 10 */ {.paths = TEXTS(root), .path_count = 1, .methods = TEXTS(post), .method_count = 1},
    /* 11 */
    {.paths = TEXTS(any), .path_count = 1, .methods = TEXTS(options_method), .method_count = 1},
};
#define NONE COUNT_OF(routes)

static const struct {
    const char *method, *target;
    const char *lines[4];
    size_t expected;
} rows[] = {
    {"GET", "/health", .expected = 0},
    {"GET", "/ready?x=%41", .expected = 0},
    {"GET", "/health/", .expected = NONE},
    {"GET", "/Health", .expected = NONE},
    {"GET", "/%68ealth", .expected = NONE}, /* exempt: raw path has a % */
    {"GET", "//health", .expected = NONE},
    {"GET", "/x/../health", .expected = NONE},
    {"GET", "", .expected = NONE},
    {"POST", "", .expected = 10}, /* an absolute target without a path is "/" */
    {"OPTIONS", "/anything", .lines = {"access-control-request-method: GET"}, .expected = 1},
    {"OPTIONS", "/anything", .expected = 11},
    {"OPTIONS", "*", .expected = 11},
    {"OPTIONS", "*", .lines = {"Access-Control-Request-Method: GET"}, .expected = 1},
    {"POST", "/api/v1/webhooks/stripe", .expected = 2},
    {"POST", "/api/v1/webhooks/", .expected = 2},
    {"POST", "/api/v1/webhooks", .expected = 9}, /* "/x/" + "*" does not match "/x" */
    {"POST", "/api/v1/web%68ooks/x", .expected = 2},
    {"POST", "/api%2Fv1/webhooks/x", .expected = 2},
    {"POST", "/api/v1/%2577ebhooks/x", .expected = 9}, /* decoded once */
    {"GET", "/api/v1/webhooks/stripe", .expected = 4},
    {"GET", "/api/v1/webhooks/stripe", .lines = {"Host: api.EXAMPLE.com"}, .expected = 3},
    {"GET", "/api/x", .lines = {"Host: api.example.com:8443"}, .expected = 3},
    {"GET", "/api/x", .lines = {"Host: api.example.com.:8443"}, .expected = 3},
    {"GET", "/api/x", .lines = {"Host: xapi.example.com"}, .expected = 6},
    {"GET", "/api/x", .lines = {"x-custom:"}, .expected = 5},
    {"PURGE", "/api/x", .expected = 6},
    {"PURGES", "/api/x", .expected = 9},
    {"get", "/api/x", .expected = 9}, /* methods are case-sensitive */
    {"GET", "/api", .expected = 4},
    {"GET", "/apis", .expected = 9},
    {"GET", "/ap", .expected = NONE},
    {"GET", "/a%20b", .expected = 7},
    {"GET", "/caf%C3%a9", .expected = 7},
    {"GET", "/a%2", .expected = NONE},
    {"GET", "/%zz", .expected = NONE},
    {"GET", "/y", .lines = {"Host: b.example.com:8080"}, .expected = 8},
    {"GET", "/y", .lines = {"Host: b.example.com"},
     .expected = NONE}, /* the route asks for the port */
    {"GET", "/y", .lines = {"Host: [2001:DB8::1]:80"}, .expected = 8},
    {"GET", "/y", .lines = {"Host: [2001:DB8::1]"}, .expected = 8},
    {"POST", "/y", .expected = 10},
    {"GET", "/y", .expected = NONE},
};

static void test_rows(void **state)
{
    struct route_matcher *matcher = route_matcher_create(routes, COUNT_OF(routes));

    (void)state;
    for (size_t i = 0; i < COUNT_OF(rows); i++) {
        struct request_fixture fixture;
        size_t found;

        request_make(&fixture, rows[i].method, rows[i].target, rows[i].lines);
        found = route_matcher_find(matcher, &fixture.request);
        if (found != rows[i].expected)
            fail_msg("%s %s: route %zu, not %zu", rows[i].method, rows[i].target, found,
                     rows[i].expected);
    }
    route_matcher_destroy(&matcher);
    route_matcher_destroy(&matcher);
    assert_null(matcher);
}

/* An exempt route takes plain paths only. */
static void test_plain(void **state)
{
    static const struct {
        const char *path;
        bool is_plain;
    } paths[] = {
        {"/", true},        {"/a", true},
        {"/a/", true},      {"/a.b", true},
        {"/.a", true},      {"/a.", true},
        {"/..a", true},     {"/...", true},
        {"/.a./b", true},   {"/.well-known/x", true},
        {"*", true},        {"//", false},
        {"/a//b", false},   {"/a//", false},
        {"/.", false},      {"/..", false},
        {"/./a", false},    {"/../a", false},
        {"/a/..", false},   {"/a/.", false},
        {"/a/../b", false}, {"/a%41", false},
        {"/%2e%2e", false}, {"%", false},
    };
    const struct route_options exempt = {.is_exempt = true};
    struct route_matcher *matcher = route_matcher_create(&exempt, 1);

    (void)state;
    for (size_t i = 0; i < COUNT_OF(paths); i++) {
        struct request_fixture fixture;

        request_make(&fixture, "GET", paths[i].path, NULL);
        if ((route_matcher_find(matcher, &fixture.request) == 0) != paths[i].is_plain)
            fail_msg("\"%s\"", paths[i].path);
    }
    route_matcher_destroy(&matcher);
}

/* Paths of random bits of an alphabet of two, so that prefixes nest, split and collide. */
static void random_path(struct random_source *source, char *out, bool is_pattern)
{
    size_t length = random_below(source, 8);

    *out++ = '/';
    while (length-- > 0)
        *out++ = "ab"[random_below(source, 2)];
    if (is_pattern && random_below(source, 2) == 0)
        *out++ = '*';
    *out = '\0';
}

static bool model_matches(const struct route_options *route, const char *path)
{
    const char *pattern = route->paths[0];
    size_t length = strlen(pattern);

    if (pattern[length - 1] == '*')
        return strncmp(pattern, path, length - 1) == 0;
    return strcmp(pattern, path) == 0;
}

static void test_against_scan(void **state)
{
    enum {
        ROUTES = 120
    };
    static char texts[ROUTES][16];
    static char *pointers[ROUTES];
    struct route_options table[ROUTES];
    struct random_source source = {7};
    char *posts[] = {post};

    (void)state;
    for (int round = 0; round < 50; round++) {
        struct route_matcher *matcher;
        size_t count = random_below(&source, ROUTES);

        memset(table, 0, sizeof(table));
        for (size_t i = 0; i < count; i++) {
            random_path(&source, texts[i], true);
            pointers[i] = texts[i];
            table[i].paths = &pointers[i];
            table[i].path_count = 1;
            table[i].methods = posts;
            table[i].method_count = random_below(&source, 4) == 0;
        }
        matcher = route_matcher_create(table, count);
        for (int i = 0; i < 200; i++) {
            struct request_fixture fixture;
            size_t expected = 0;
            char path[16];

            random_path(&source, path, false);
            request_make(&fixture, "GET", path, NULL);
            while (expected < count &&
                   (table[expected].method_count > 0 || !model_matches(&table[expected], path)))
                expected++;
            assert_int_equal(route_matcher_find(matcher, &fixture.request), expected);
        }
        route_matcher_destroy(&matcher);
    }
}

/* The longest path that may be named, one that is longer, and requests beyond both, plain and
 * escaped. */
static void test_bounds(void **state)
{
    static char longest[ROUTE_MAX_PATH_BYTES + 1], longer[ROUTE_MAX_PATH_BYTES + 2],
        request[8 * ROUTE_MAX_PATH_BYTES], prefix[ROUTE_MAX_PATH_BYTES + 1];
    struct route_options table[] = {
        {.paths = TEXTS(longest), .path_count = 1},
        {.paths = TEXTS(longer), .path_count = 1},
        {.paths = TEXTS(prefix), .path_count = 1},
    };
    struct route_matcher *matcher;
    struct request_fixture fixture;

    (void)state;
    memset(longest, 'a', sizeof(longest) - 1);
    memset(longer, 'a', sizeof(longer) - 1);
    memset(prefix, 'a', sizeof(prefix) - 1);
    longest[0] = longer[0] = prefix[0] = '/';
    prefix[sizeof(prefix) - 2] = '*';
    matcher = route_matcher_create(table, COUNT_OF(table));
    request_make(&fixture, "GET", longest, NULL);
    assert_int_equal(route_matcher_find(matcher, &fixture.request), 0);
    request_make(&fixture, "GET", longer, NULL);
    assert_int_equal(route_matcher_find(matcher, &fixture.request), 2);
    memset(request, 'a', sizeof(request) - 1);
    request[0] = '/';
    request_make(&fixture, "GET", request, NULL);
    assert_int_equal(route_matcher_find(matcher, &fixture.request), 2);
    for (size_t i = 1; i + 3 < sizeof(request); i += 3)
        request[i] = '%', request[i + 1] = '6', request[i + 2] = '1';
    assert_int_equal(route_matcher_find(matcher, &fixture.request), 2);
    route_matcher_destroy(&matcher);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_rows),
        cmocka_unit_test(test_plain),
        cmocka_unit_test(test_against_scan),
        cmocka_unit_test(test_bounds),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
