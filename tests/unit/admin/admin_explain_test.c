/* SPDX-License-Identifier: MIT */
/* /api/explain: what of a request becomes the question, what is refused, and what comes late. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

#include "admin_support.h"
#include "loop_fixture.h"

static void test_questions(void **state)
{
    static const struct {
        const char *line, *fields, *question;
    } rows[] = {
        {"GET /api/explain", "", "GET /  127.0.0.1"},
        {"GET /api/explain?", "", "GET /  127.0.0.1"},
        {"GET /api/explain?method=&path=&ip=", "", "GET /  127.0.0.1"},
        {"GET /api/explain?method=POST&path=%2Fa%3Fb%3Dc%26d&ip=192.0.2.1", "",
         "POST /a?b=c&d  192.0.2.1"},
        {"GET /api/explain?path=/a?b=c%2526&ip=2001:db8::1", "", "GET /a?b=c%26  2001:db8::1"},
        {"GET /api/explain?ip=unix&path=a%20b", "X-API-Key: k 1\r\nX-Other: k2\r\n",
         "GET a b k 1 unix"},
    };

    admin_support_start(*state, "");
    for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
        assert_int_equal(admin_support_ask(rows[i].line, rows[i].fields), 200);
        assert_string_equal(fixture.question, rows[i].question);
        assert_string_equal(admin_support_body(), "{\"allowed\": true}\n");
        admin_support_assert_field("Content-Type: application/json\r\n");
    }
    admin_support_stop();
}

static void test_refusals(void **state)
{
    static const char *const queries[] = {"key=k",           "path=/&api_key=k", "X-API-Key=k",
                                          "path=%",          "path=%0d%0aX:y",   "path=%00",
                                          "method=%zz",      "ip=nobody",        "ip=1.2.3",
                                          "ip=192.0.2.0/24", "pa%74h=/",         "token=t"};
    char line[300];

    admin_support_start(*state, "");
    for (size_t i = 0; i < sizeof(queries) / sizeof(queries[0]); i++) {
        snprintf(line, sizeof(line), "GET /api/explain?%s", queries[i]);
        if (admin_support_ask(line, "") != 400)
            fail_msg("%s: %s", line, fixture.response);
    }
    /* A method and an address have their bounds. */
    snprintf(line, sizeof(line), "GET /api/explain?method=%065d", 1);
    assert_int_equal(admin_support_ask(line, ""), 400);
    assert_int_equal(admin_support_ask("POST /api/explain", ""), 405);
    assert_int_equal(admin_support_ask("GET /api/explain/", ""), 404);
    assert_string_equal(fixture.question, "");
    admin_support_stop();
}

/* Without the token nobody hears anything, whatever the question is. */
static void test_token(void **state)
{
    static const char *const lines[] = {"GET /api/explain", "GET /api/explain?ip=x",
                                        "POST /api/explain"};

    admin_support_start(*state, "a-token-of-the-admins");
    for (size_t i = 0; i < sizeof(lines) / sizeof(lines[0]); i++) {
        assert_int_equal(admin_support_ask(lines[i], "X-API-Key: k\r\n"), 401);
        assert_int_equal(admin_support_ask(lines[i], "Authorization: Bearer x\r\n"), 401);
    }
    assert_int_equal(admin_support_ask("GET /api/explain", "Host: rebound.example\r\n"), 403);
    assert_string_equal(fixture.question, "");
    assert_int_equal(
        admin_support_ask("GET /api/explain", "Authorization: Bearer a-token-of-the-admins\r\n"),
        200);
    admin_support_stop();
}

static void test_hang_up(void **state)
{
    static const char request[] = "GET /api/explain HTTP/1.1\r\nHost: localhost\r\n\r\n";

    admin_support_start(*state, "");
    fixture.holds_explanation = true;
    admin_support_dial();
    admin_support_say(request, sizeof(request) - 1);
    admin_support_listen_for(20);
    assert_non_null(fixture.explain_done);
    assert_int_equal(fixture.response_length, 0);
    admin_support_hang_up();
    for (int i = 0; i < 2000 && fixture.cancelled == 0; i++)
        loop_run_for(fixture.loop, 1);
    assert_int_equal(fixture.cancelled, 1);
    admin_support_stop();
}

int main(void)
{
#define LOOP_TEST(f) cmocka_unit_test_setup_teardown(f, loop_fixture_setup, loop_fixture_teardown)
    const struct CMUnitTest tests[] = {
        LOOP_TEST(test_questions),
        LOOP_TEST(test_refusals),
        LOOP_TEST(test_token),
        LOOP_TEST(test_hang_up),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
