/* SPDX-License-Identifier: MIT */
/*
 * What is said first on each connection, in one write: who we are (AUTH), which
 * database (SELECT), our name, the script, and what the time is. All of it has
 * to be answered before anybody's commands are taken. Servers that do not know
 * CLIENT, SCRIPT or TIME, or do not let us, are used without.
 */
#include <stdio.h>
#include <string.h>

#include "redis_client_internal.h"

static void fail_greeting(struct redis_client *client, const struct redis_failure *failure)
{
    redis_connection_close(client->connection, failure);
}

static void greeting_went_on(struct redis_client *client)
{
    if (--client->greeting_left == 0)
        redis_client_greeted(client);
}

/* An error of the greeting that `reason` makes bearable: this server has no such command, or not
 * for us. */
static bool is_bearable(const struct redis_failure *failure)
{
    return failure->reason == REDIS_REASON_BAD_REPLY ||
           (failure->reason == REDIS_REASON_AUTHENTICATION &&
            strncmp(failure->detail, "NOPERM", 6) == 0);
}

/* True: goes on. */
static bool
check_greeting(struct redis_client *client, const struct redis_result *result, bool may_fail)
{
    struct redis_failure failure = {.reason = REDIS_REASON_NONE};
    struct slice text;

    if (result->outcome != REDIS_REPLIED)
        return false; /* on_closed will say why */
    if (!redis_reply_is_error(result->reply, &text))
        return true;
    (void)redis_failure_from_reply(text, &failure); /* the reason decides here */
    if (may_fail && is_bearable(&failure))
        return true;
    fail_greeting(client, &failure);
    return false;
}

/* What is not understood is not taken for a yes: who knows whose database this is then. */
static void check_ok(struct redis_client *client, const struct redis_result *result, const char *to)
{
    struct redis_failure failure;
    struct slice text;

    if (!check_greeting(client, result, false))
        return;
    if (redis_reply_is_string(result->reply, &text) && slice_equal(text, SLICE("OK"))) {
        greeting_went_on(client);
        return;
    }
    redis_failure_set(&failure, REDIS_REASON_BAD_REPLY, "to %s", to);
    fail_greeting(client, &failure);
}

static void on_auth(void *arg, const struct redis_result *result)
{
    check_ok(arg, result, "AUTH");
}

static void on_select(void *arg, const struct redis_result *result)
{
    struct redis_client *client = arg;
    struct redis_failure failure = {.reason = REDIS_REASON_NONE};
    struct slice text;

    if (result->outcome == REDIS_REPLIED && redis_reply_is_error(result->reply, &text)) {
        (void)redis_failure_from_reply(text, &failure); /* the reason decides here */
        if (failure.reason == REDIS_REASON_BAD_REPLY)
            failure.reason = REDIS_REASON_INVALID_URL; /* its database, then */
        fail_greeting(client, &failure);
        return;
    }
    check_ok(client, result, "SELECT");
}

static void on_name(void *arg, const struct redis_result *result)
{
    struct redis_client *client = arg;

    if (check_greeting(client, result, true))
        greeting_went_on(client);
}

static bool read_time(const struct redis_reply *reply, int64_t *server_ms)
{
    struct slice seconds;
    struct slice micros;
    uint64_t s;
    uint64_t us;

    if (!redis_reply_is_string(redis_reply_at(reply, 0), &seconds) ||
        !redis_reply_is_string(redis_reply_at(reply, 1), &micros) ||
        !slice_parse_u64(seconds, &s) || !slice_parse_u64(micros, &us) || s > UINT64_C(1) << 40 ||
        us >= 1000000)
        return false;
    *server_ms = (int64_t)(s * 1000 + us / 1000);
    return true;
}

static void on_time(void *arg, const struct redis_result *result)
{
    struct redis_client *client = arg;
    struct redis_failure failure;
    int64_t server_ms;
    struct slice text;

    if (!check_greeting(client, result, true))
        return;
    if (!redis_reply_is_error(result->reply, &text)) {
        if (!read_time(result->reply, &server_ms)) {
            redis_failure_set(&failure, REDIS_REASON_BAD_REPLY, "to TIME");
            fail_greeting(client, &failure);
            return;
        }
        /* What an earlier connection told stands while this answer can agree with it: on a busy
         * machine this one may have waited long to be read, and commands held for the connection
         * would be sent with a deadline that is too early by as much. One for the parts of a
         * millisecond by which both clocks were cut. */
        redis_client_note_time(client, server_ms, client->greeted_ms - 1);
    }
    greeting_went_on(client);
}

static void on_script(void *arg, const struct redis_result *result)
{
    struct redis_client *client = arg;
    struct slice sha;

    if (!check_greeting(client, result, true))
        return;
    if (redis_reply_is_string(result->reply, &sha) && sha.length == REDIS_CLIENT_SHA_LENGTH)
        memcpy(client->sha, sha.data, REDIS_CLIENT_SHA_LENGTH);
    greeting_went_on(client);
}

static void
greet(struct redis_client *client, redis_done_fn *done, const struct slice *arguments, size_t count)
{
    struct redis_call *call;

    /* A connection that is just made takes it; if not, on_closed follows. */
    if (redis_client_send(client, arguments, count, 0, done, client, &call))
        client->greeting_left++;
}

void redis_client_greet(struct redis_client *client)
{
    const struct redis_url *url = &client->shared->url;
    char database[20];

    client->state = CLIENT_GREETING;
    client->greeted_ms = loop_now_ms(client->loop);
    client->greeting_left = 0;
    memset(client->sha, 0, sizeof(client->sha));
    if (url->password != NULL && url->user != NULL)
        greet(client, on_auth,
              (struct slice[]){SLICE("AUTH"), slice_of(url->user), slice_of(url->password)}, 3);
    else if (url->password != NULL)
        greet(client, on_auth, (struct slice[]){SLICE("AUTH"), slice_of(url->password)}, 2);
    if (url->database != 0) {
        (void)snprintf(database, sizeof(database), "%d", url->database); /* fits */
        greet(client, on_select, (struct slice[]){SLICE("SELECT"), slice_of(database)}, 2);
    }
    greet(client, on_name,
          (struct slice[]){SLICE("CLIENT"), SLICE("SETNAME"), slice_of(client->name)}, 3);
    if (client->script != NULL)
        greet(client, on_script,
              (struct slice[]){SLICE("SCRIPT"), SLICE("LOAD"), slice_of(client->script)}, 3);
    greet(client, on_time, (struct slice[]){SLICE("TIME")}, 1);
}
