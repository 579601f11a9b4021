/* SPDX-License-Identifier: MIT */
/*
 * Access-log lines as text: both formats, masking, escaping, cutting.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>
#include <jansson.h>

#include "observe/access_line.h"

static const struct access_record usual = {
    .wall_us = INT64_C(1795505159123456),
    .request_id = {"req-1", 5},
    .client_ip = {"192.0.2.1", 9},
    .method = {"GET", 3},
    .target = {"/exploits?page=1", 16},
    .minor_version = 1,
    .status = 200,
    .bytes_in = 0,
    .bytes_out = 1234,
    .duration_us = 12345,
    .upstream_us = 11002,
    .retries = 1,
    .limit_us = 7,
    .tier = {"pro", 3},
    .user = {"user:1", 6},
    .route = {"default", 7},
    .decision = {"allowed", 7},
    .mode = {"redis", 5},
    .remaining = 34,
    .user_agent = {"curl/8.0", 8},
    .referer = {"https://kamiyo.ai/", 18},
};

static char line[ACCESS_LINE_ROOM];

static void format(enum access_log_format as, const struct access_record *record)
{
    struct access_line_clock clock = {0};
    size_t length = access_line_format(as, record, &clock, line);

    assert_true(length > 0 && length <= ACCESS_LINE_MAX_BYTES);
    line[length] = '\0';
    assert_int_equal(strlen(line), length);
    assert_ptr_equal(strchr(line, '\n'), line + length - 1);
}

static void test_json(void **state)
{
    static const struct access_record nothing = {
        .upstream_us = -1, .remaining = -1, .reason = {"client_closed", 13}};

    (void)state;
    format(ACCESS_LOG_JSON, &usual);
    assert_string_equal(line, "{\"time\":\"2026-11-24T07:25:59.123Z\",\"request_id\":\"req-1\","
                              "\"client_ip\":\"192.0.2.1\","
                              "\"method\":\"GET\",\"path\":\"/"
                              "exploits?page=1\",\"status\":200,\"bytes_in\":0,\"bytes_out\":1234,"
                              "\"duration_ms\":12.345,\"upstream_ms\":11.002,\"retries\":1,\"limit_"
                              "ms\":0.007,\"tier\":\"pro\","
                              "\"user\":\"user:1\",\"route\":\"default\",\"decision\":\"allowed\","
                              "\"mode\":\"redis\",\"remaining\":34,"
                              "\"user_agent\":\"curl/8.0\",\"reason\":null}\n");
    format(ACCESS_LOG_JSON, &nothing);
    assert_string_equal(
        line,
        "{\"time\":\"1970-01-01T00:00:00.000Z\",\"request_id\":null,\"client_ip\":null,\"method\":"
        "null,"
        "\"path\":null,\"status\":0,\"bytes_in\":0,\"bytes_out\":0,\"duration_ms\":0.000,"
        "\"upstream_ms\":null,"
        "\"retries\":0,\"limit_ms\":0.000,\"tier\":null,\"user\":null,\"route\":null,\"decision\":"
        "null,"
        "\"mode\":null,\"remaining\":null,\"user_agent\":null,\"reason\":\"client_closed\"}\n");
}

static void test_combined(void **state)
{
    struct access_record record = usual;

    (void)state;
    format(ACCESS_LOG_COMBINED, &record);
    assert_string_equal(line, "192.0.2.1 - user:1 [24/Nov/2026:07:25:59 +0000] \"GET "
                              "/exploits?page=1 HTTP/1.1\" 200 1234 "
                              "\"https://kamiyo.ai/\" \"curl/8.0\"\n");
    record = (struct access_record){.user_agent = SLICE("a\"b\\\n\x80")};
    format(ACCESS_LOG_COMBINED, &record);
    assert_string_equal(
        line, "- - - [01/Jan/1970:00:00:00 +0000] \"-\" 0 0 \"-\" \"a\\\"b\\\\\\x0a\\x80\"\n");
}

static void test_clock(void **state)
{
    struct access_line_clock clock = {0};
    struct access_record record = usual;

    (void)state;
    (void)access_line_format(ACCESS_LOG_JSON, &record, &clock, line); /* fills the clock */
    record.wall_us += 876000;
    line[access_line_format(ACCESS_LOG_JSON, &record, &clock, line)] = '\0';
    assert_non_null(strstr(line, "07:25:59.999Z"));
    record.wall_us += 1000;
    line[access_line_format(ACCESS_LOG_JSON, &record, &clock, line)] = '\0';
    assert_non_null(strstr(line, "07:26:00.000Z"));
    line[access_line_format(ACCESS_LOG_COMBINED, &record, &clock, line)] = '\0';
    assert_non_null(strstr(line, "07:26:00 +0000"));
    line[access_line_format(ACCESS_LOG_JSON, &record, &clock, line)] = '\0';
    assert_non_null(strstr(line, "07:26:00.000Z"));
}

static void test_mask(void **state)
{
    static const struct {
        const char *target;
        const char *masked;
    } vectors[] = {
        {"/a", "/a"},
        {"/a?", "/a?"},
        {"/token=x", "/token=x"},
        {"/ws?token=abc&chains=eth", "/ws?token=***&chains=eth"},
        {"/a?x=1&API_KEY=abc", "/a?x=1&API_KEY=***"},
        {"/a?key=a;secret=b&signature=c", "/a?key=***;secret=***&signature=***"},
        {"/a?key=", "/a?key=***"},
        {"/a?key", "/a?key"},
        {"/a?key=a=b", "/a?key=***"},
        {"/a?%74oken=abc", "/a?%74oken=***"},
        {"/a?%4bEY=abc", "/a?%4bEY=***"},
        {"/a?keys=1&monkey=2", "/a?keys=1&monkey=2"},
        {"/a?&&=x&", "/a?&&=x&"},
        {"/a?%zz=1&%7", "/a?%zz=1&%7"},
        {"/a?b?key=1", "/a?b?key=1"},
        {"/a?a=&key=1", "/a?a=&key=***"},
        {"/a?a=key=1", "/a?a=key=1"},
        {"/a?=key=1", "/a?=key=1"},
        {"/a?a==;Token=1", "/a?a==;Token=***"},
        {"/a?x=%74oken=1;%74oken=2", "/a?x=%74oken=1;%74oken=***"},
        {"/a?page=1&page_size=10", "/a?page=1&page_size=10"},
        {"/a?x=1&sIGNATURE=2&y=3", "/a?x=1&sIGNATURE=***&y=3"},
    };

    (void)state;
    for (size_t i = 0; i < sizeof(vectors) / sizeof(vectors[0]); i++) {
        char out[200];
        struct slice masked = access_line_mask(slice_of(vectors[i].target), out, sizeof(out));

        if (!slice_equal(masked, slice_of(vectors[i].masked)))
            fail_msg("%s: %.*s", vectors[i].target, SLICE_PRINT(masked));
    }
}

/* Whatever a client sends, the line is one line of valid JSON that a pipe takes whole, and no
 * secret is in it. */
static void test_hostile(void **state)
{
    static char target[40000];
    static char agent[40000];

    (void)state;
    for (size_t length = 1; length < sizeof(target); length = length * 3 / 2 + 1) {
        for (int kind = 0; kind < 4; kind++) {
            struct access_record record = usual;
            json_t *json;

            memset(agent,
                   kind == 0   ? 'a'
                   : kind == 1 ? '\x01'
                   : kind == 2 ? '"'
                               : '\xff',
                   sizeof(agent));
            memset(target, kind == 3 ? '\xc3' : 'a', sizeof(target));
            memcpy(target, "/?key=hunter2&token=hunter2&", length < 28 ? length : 28);
            if (kind == 2) {
                for (size_t i = 4; i + 4 < length; i += 5)
                    memcpy(target + i, "&key=", 5);
            }
            record.target = (struct slice){target, length};
            record.user_agent = (struct slice){agent, length};
            record.referer = record.user_agent;
            record.user = (struct slice){agent, length};
            format(ACCESS_LOG_JSON, &record);
            assert_null(strstr(line, "hunter2"));
            json = json_loads(line, 0, NULL);
            assert_non_null(json);
            assert_string_equal(json_string_value(json_object_get(json, "request_id")), "req-1");
            json_decref(json);
            format(ACCESS_LOG_COMBINED, &record);
            assert_null(strstr(line, "hunter2"));
        }
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_json), cmocka_unit_test(test_combined), cmocka_unit_test(test_clock),
        cmocka_unit_test(test_mask), cmocka_unit_test(test_hostile),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
