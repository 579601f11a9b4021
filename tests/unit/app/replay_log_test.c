/* SPDX-License-Identifier: MIT */
/* Access-log lines as a table: what each says, and what is refused. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#include "kamiyo/app/replay_log.h"
#include "kamiyo/base/attributes.h"

#define AT_TIME INT64_C(1795418759)

struct line_case {
    const char *line;
    const char *client; /* NULL = refused */
    const char *user;
    const char *tier;
    const char *method;
    const char *path;
    int64_t time_ms;
};

static const struct line_case cases[] = {
    {"{\"time\":\"2026-11-23T07:25:59.123Z\",\"client_ip\":\"1.2.3.4\",\"method\":\"GET\",\"path\":"
     "\"/a?b=c\",\"tier\":\"pro\",\"user\":\"u\"}",
     "1.2.3.4", "u", "pro", "GET", "/a", AT_TIME * 1000 + 123},
    {"{\"time\":\"2026-11-23T07:25:59Z\",\"client_ip\":\"::1\",\"method\":\"POST\",\"path\":\"/"
     "\",\"tier\":null,\"user\":null}\n",
     "::1", "", "", "POST", "/", AT_TIME * 1000},
    {"{\"time\":\"2026-11-23T08:25:59.5+01:00\",\"client_ip\":\"::1\",\"method\":\"GET\",\"path\":"
     "\"/\"}",
     "::1", "", "", "GET", "/", AT_TIME * 1000 + 500},
    {"1.2.3.4 - - [23/Nov/2026:07:25:59 +0000] \"GET /a?b HTTP/1.1\" 200 5 \"-\" \"curl\"",
     "1.2.3.4", "", "", "GET", "/a", AT_TIME * 1000},
    {"1.2.3.4 - alice [23/Nov/2026:02:25:59 -0500] \"HEAD / HTTP/1.0\" 200 5\r\n", "1.2.3.4",
     "alice", "", "HEAD", "/", AT_TIME * 1000},
    {"1.2.3.4 - - [29/Feb/2024:00:00:00 +0000] \"GET / HTTP/1.1\" 200 5", "1.2.3.4", "", "", "GET",
     "/", INT64_C(1709164800000)},
    {"1.2.3.4 - - [23/Nov/2026:07:25:59 +0000] \"GET http://h:1/a?b HTTP/1.1\" 200 5", "1.2.3.4",
     "", "", "GET", "/a", AT_TIME * 1000},
    {"1.2.3.4 - - [23/Nov/2026:07:25:59 +0000] \"OPTIONS * HTTP/1.1\" 200 5", "1.2.3.4", "", "",
     "OPTIONS", "*", AT_TIME * 1000},
    {"", NULL, NULL, NULL, NULL, NULL, 0},
    {"junk", NULL, NULL, NULL, NULL, NULL, 0},
    {"{", NULL, NULL, NULL, NULL, NULL, 0},
    {"{}", NULL, NULL, NULL, NULL, NULL, 0},
    {"[1]", NULL, NULL, NULL, NULL, NULL, 0},
    {"{\"time\":\"yesterday\",\"client_ip\":\"::1\",\"method\":\"GET\",\"path\":\"/\"}", NULL, NULL,
     NULL, NULL, NULL, 0},
    {"{\"time\":\"2026-13-23T07:25:59Z\",\"client_ip\":\"::1\",\"method\":\"GET\",\"path\":\"/\"}",
     NULL, NULL, NULL, NULL, NULL, 0},
    {"{\"time\":\"2026-11-23T07:25:59Z\",\"client_ip\":\"::1\",\"method\":\"\",\"path\":\"/\"}",
     NULL, NULL, NULL, NULL, NULL, 0},
    {"{\"time\":\"2026-11-23T07:25:59Z\",\"client_ip\":\"::1\",\"method\":\"GET\",\"path\":\"?x\"}",
     NULL, NULL, NULL, NULL, NULL, 0},
    {"1.2.3.4 - - [23/Nov/2026:07:25:59 +0000] \"-\" 400 0", NULL, NULL, NULL, NULL, NULL, 0},
    {"1.2.3.4 - - [23/Nov/2026] \"GET / HTTP/1.1\" 200 0", NULL, NULL, NULL, NULL, NULL, 0},
    {"1.2.3.4 - - [23/Foo/2026:07:25:59 +0000] \"GET / HTTP/1.1\" 200 0", NULL, NULL, NULL, NULL,
     NULL, 0},
};

static void test_lines(void **state)
{
    (void)state;
    for (size_t i = 0; i < COUNT_OF(cases); i++) {
        static struct replay_record record; /* eight kilobytes of path */
        bool is_fine =
            replay_log_parse((struct slice){cases[i].line, strlen(cases[i].line)}, &record);

        if (is_fine != (cases[i].client != NULL))
            fail_msg("%s", cases[i].line);
        if (!is_fine)
            continue;
        assert_string_equal(record.client, cases[i].client);
        assert_string_equal(record.user, cases[i].user);
        assert_string_equal(record.tier, cases[i].tier);
        assert_string_equal(record.method, cases[i].method);
        assert_string_equal(record.path, cases[i].path);
        assert_int_equal(record.time_ms, cases[i].time_ms);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(test_lines)};

    return cmocka_run_group_tests(tests, NULL, NULL);
}
