/* SPDX-License-Identifier: MIT */
/*
 * /api/top: the list as JSON whatever a key holds, its length, who may see it.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <string.h>

#include <cmocka.h>
#include <jansson.h>

#include "kamiyo/observe/denials.h"

#include "admin_support.h"
#include "loop_fixture.h"

static struct denials_client clients[ADMIN_SURVEY_CLIENTS];

static void set_client(size_t index, const char *key, uint64_t denied)
{
    struct denials_client *client = &clients[index];

    memset(client, 0, sizeof(*client));
    client->key_length = (uint8_t)strlen(key);
    memcpy(client->key, key, client->key_length);
    client->tier_length = 4;
    memcpy(client->tier, "free", 4);
    client->route_length = 6;
    memcpy(client->route, "search", 6);
    client->window_length = 6;
    memcpy(client->window, "minute", 6);
    client->denied = denied;
    client->denied_at_most = denied + 1;
}

static json_t *load_body(void)
{
    json_t *body = json_loads(admin_support_body(), 0, NULL);

    assert_non_null(body);
    return body;
}

static void test_list(void **state)
{
    json_t *body;
    json_t *client;

    admin_support_start(*state, "");
    assert_int_equal(admin_support_ask("GET /api/top", ""), 200);
    body = load_body();
    assert_int_equal(json_integer_value(json_object_get(body, "window_seconds")), 60);
    assert_int_equal(json_integer_value(json_object_get(body, "denied_total")), 0);
    assert_int_equal(json_array_size(json_object_get(body, "clients")), 0);
    json_decref(body);

    set_client(0, "user:a\"<b>\\\n\xff", 12);
    set_client(1, "ip:2001:db8::/64", 3);
    fixture.survey.clients = clients;
    fixture.survey.client_count = 2;
    metrics_count_decision(metrics_shard(fixture.metrics, 0), SLICE("denied"), SLICE("memory"),
                           SLICE("free"), SLICE("minute"));
    assert_int_equal(admin_support_ask("GET /api/top", ""), 200);
    body = load_body();
    assert_int_equal(json_integer_value(json_object_get(body, "denied_total")), 1);
    assert_int_equal(json_array_size(json_object_get(body, "clients")), 2);
    client = json_array_get(json_object_get(body, "clients"), 0);
    assert_string_equal(json_string_value(json_object_get(client, "key")),
                        "user:a\"<b>\\\n\xef\xbf\xbd");
    assert_string_equal(json_string_value(json_object_get(client, "tier")), "free");
    assert_string_equal(json_string_value(json_object_get(client, "route")), "search");
    assert_string_equal(json_string_value(json_object_get(client, "window")), "minute");
    assert_int_equal(json_integer_value(json_object_get(client, "denied")), 12);
    assert_int_equal(json_integer_value(json_object_get(client, "denied_at_most")), 13);
    json_decref(body);
    admin_support_stop();
}

static void test_limit(void **state)
{
    static const struct {
        const char *line;
        int status;
        size_t count;
    } cases[] = {
        {"GET /api/top", 200, 20},
        {"GET /api/top?limit=1", 200, 1},
        {"GET /api/top?limit=100", 200, 100},
        {"GET /api/top?limit=0", 400, 0},
        {"GET /api/top?limit=101", 400, 0},
        {"GET /api/top?limit=", 400, 0},
        {"GET /api/top?limit=-1", 400, 0},
        {"GET /api/top?limit=1e1", 400, 0},
        {"GET /api/top/", 404, 0},
        {"DELETE /api/top", 405, 0},
    };

    admin_support_start(*state, "");
    for (size_t i = 0; i < ADMIN_SURVEY_CLIENTS; i++)
        set_client(i, "user:x", 1);
    fixture.survey.clients = clients;
    fixture.survey.client_count = ADMIN_SURVEY_CLIENTS;
    for (size_t i = 0; i < COUNT_OF(cases); i++) {
        assert_int_equal(admin_support_ask(cases[i].line, ""), cases[i].status);
        if (cases[i].status == 200) {
            json_t *body = load_body();

            assert_int_equal(json_array_size(json_object_get(body, "clients")), cases[i].count);
            json_decref(body);
        }
    }
    admin_support_stop();
}

static void test_token(void **state)
{
    admin_support_start(*state, "secret");
    assert_int_equal(admin_support_ask("GET /api/top", ""), 401);
    assert_int_equal(fixture.surveys, 0);
    assert_int_equal(admin_support_ask("GET /api/top", "Authorization: Bearer secret\r\n"), 200);
    admin_support_stop();
}

/* Requests behind it wait; one who leaves, and an end of everything, cancel it. */
static void test_later(void **state)
{
    static const char two[] = "GET /api/top HTTP/1.1\r\nHost: localhost\r\n\r\n"
                              "GET /healthz HTTP/1.1\r\nHost: localhost\r\n\r\n";

    admin_support_start(*state, "");
    fixture.holds_survey = true;
    admin_support_dial();
    admin_support_say(two, sizeof(two) - 1);
    admin_support_listen_for(20);
    assert_int_equal(fixture.response_length, 0);
    admin_support_end_survey();
    admin_support_listen_for(20);
    assert_non_null(strstr(admin_support_body(), "\"clients\": []}"));
    assert_non_null(strstr(admin_support_body(), "ok\n"));
    assert_int_equal(fixture.cancelled, 0);

    admin_support_dial();
    admin_support_say(two, sizeof(two) - 1);
    admin_support_listen_for(20);
    assert_int_equal(fixture.surveys, 2);
    admin_support_hang_up();
    loop_run_for(fixture.loop, 20);
    assert_int_equal(fixture.cancelled, 1);

    admin_support_dial();
    admin_support_say(two, sizeof(two) - 1);
    admin_support_listen_for(20);
    assert_int_equal(fixture.surveys, 3);
    admin_support_stop();
    assert_int_equal(fixture.cancelled, 2);
}

#define LOOP_TEST(name) \
    cmocka_unit_test_setup_teardown(name, loop_fixture_setup, loop_fixture_teardown)

int main(void)
{
    const struct CMUnitTest tests[] = {
        LOOP_TEST(test_list),
        LOOP_TEST(test_limit),
        LOOP_TEST(test_token),
        LOOP_TEST(test_later),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
