/* SPDX-License-Identifier: MIT */
/*
 * The life of a worker's connection to Redis, and the commands on it.
 *
 *            start                 dialled            greeted
 *   STOPPED ------> CONNECTING ------------> GREETING ------> READY
 *                      ^  | failed              | failed        | lost
 *                      |  v                     v               |
 *                     WAITING <-----------------+---------------+
 *                      (at once after a loss in use, else back-off, and the budget)
 *
 * Commands are records in a list in the order of their replies. A record
 * outlives its caller: a deadline or a cancel only takes the callback away, and
 * the reply, or the end of the connection, frees it. Callbacks run from
 * redis_connection's on_reply, from a timer, or from on_closed when nothing of
 * hiredis is left; by then the state is WAITING or CONNECTING, so none of them
 * can reach a dead connection.
 */
#include "kamiyo/redis/redis_client.h"

#include <stdio.h>
#include <string.h>

#include "kamiyo/base/hash.h"
#include "kamiyo/net/tls.h"

#include "redis_client_internal.h"
#include "redis_wire.h"

/* Failures in a row after which the back-off no longer doubles. */
#define MAX_DOUBLINGS 16

static const struct redis_client_handler no_handler = {.on_ready = NULL};

static void connect_now(struct redis_client *client);

/* --- commands --- */

/* Into client->buffer; the length. */
static size_t
format_command(struct redis_client *client, const struct slice *arguments, size_t count)
{
    size_t needed = redis_wire_size(arguments, count);

    if (needed > client->buffer_capacity) {
        client->buffer_capacity = needed * 2;
        client->buffer = mem_resize(client->buffer, client->buffer_capacity);
    }
    return redis_wire_write(arguments, count, client->buffer);
}

static struct redis_call *call_of(struct redis_command *command)
{
    return CONTAINER_OF(command, struct redis_call, command);
}

static void free_call(struct redis_call *call)
{
    if (call->client->overdue == call)
        call->client->overdue = NULL;
    loop_timer_stop(&call->deadline);
    mem_pool_give(&call->client->calls, call);
}

static void
end_call(struct redis_call *call, enum redis_outcome outcome, const struct redis_reply *reply)
{
    struct redis_result result = {.outcome = outcome, .reply = reply};
    redis_done_fn *done = call->done;
    void *arg = call->arg;

    if (outcome == REDIS_TIMED_OUT)
        call->done = NULL; /* the record waits for its reply */
    else
        free_call(call);
    if (done != NULL)
        done(arg, &result);
}

static void on_call_deadline(void *arg)
{
    struct redis_call *call = arg;
    struct redis_client *client = call->client;

    client->overdue = call;
    redis_client_receive(client);
    if (client->overdue == NULL)
        return;
    client->overdue = NULL;
    end_call(call, REDIS_TIMED_OUT, NULL);
}

/* Its command is on its way. */
static void begin_call(struct redis_client *client,
                       struct redis_call *call,
                       int64_t timeout_ms,
                       redis_done_fn *done,
                       void *arg)
{
    call->client = client;
    call->done = done;
    call->arg = arg;
    call->sent_us = loop_now(client->loop)->monotonic_us;
    loop_timer_init(&call->deadline, on_call_deadline, call);
    if (timeout_ms > 0)
        loop_timer_start(client->loop, &call->deadline, timeout_ms);
    if (!loop_timer_is_running(&client->stall_timer))
        loop_timer_start(client->loop, &client->stall_timer, client->shared->connect_timeout_ms);
}

bool redis_client_send(struct redis_client *client,
                       const struct slice *arguments,
                       size_t count,
                       int64_t timeout_ms,
                       redis_done_fn *done,
                       void *arg,
                       struct redis_call **handle)
{
    size_t length = format_command(client, arguments, count);
    struct redis_call *call = mem_pool_take(&client->calls);

    if (!redis_connection_send(client->connection, client->buffer, length, &call->command)) {
        mem_pool_give(&client->calls, call);
        return false;
    }
    begin_call(client, call, timeout_ms, done, arg);
    *handle = call;
    return true;
}

static bool takes_commands(const struct redis_client *client)
{
    return client->state == CLIENT_READY &&
           redis_connection_in_flight(client->connection) < REDIS_CLIENT_MAX_IN_FLIGHT;
}

enum progress redis_client_command(struct redis_client *client,
                                   const struct slice *arguments,
                                   size_t count,
                                   int64_t timeout_ms,
                                   redis_done_fn *done,
                                   void *arg,
                                   struct redis_call **call)
{
    if (!takes_commands(client) ||
        !redis_client_send(client, arguments, count, timeout_ms, done, arg, call))
        return PROGRESS_DONE;
    return PROGRESS_PENDING;
}

char *redis_client_reserve(struct redis_client *client, size_t length)
{
    return takes_commands(client) ? redis_connection_reserve(client->connection, length) : NULL;
}

struct redis_call *
redis_client_commit(struct redis_client *client, size_t length, redis_done_fn *done, void *arg)
{
    struct redis_call *call = mem_pool_take(&client->calls);

    redis_connection_commit(client->connection, length, &call->command);
    begin_call(client, call, 0, done, arg);
    return call;
}

void redis_client_receive(struct redis_client *client)
{
    if (client->connection != NULL)
        redis_connection_receive(client->connection);
}

char *redis_client_unsent_end(struct redis_call *call)
{
    return redis_connection_unsent_end(call->client->connection, &call->command);
}

void redis_client_cancel(struct redis_call **call)
{
    if (*call == NULL)
        return;
    (*call)->done = NULL;
    loop_timer_stop(&(*call)->deadline);
    *call = NULL;
}

/* --- back-off --- */

static uint64_t next_random(struct redis_client *client)
{
    client->random ^= client->random << 13;
    client->random ^= client->random >> 7;
    client->random ^= client->random << 17;
    return client->random;
}

/* Doubling from backoff_min to backoff_max, of which at least half is waited. */
static int64_t backoff_ms(struct redis_client *client)
{
    unsigned doublings = client->failures;
    int64_t delay_ms = client->shared->backoff_min_ms;

    if (doublings > MAX_DOUBLINGS)
        doublings = MAX_DOUBLINGS;
    delay_ms <<= doublings;
    if (delay_ms > client->shared->backoff_max_ms)
        delay_ms = client->shared->backoff_max_ms;
    if (delay_ms < 2)
        return delay_ms;
    return delay_ms / 2 + (int64_t)(next_random(client) % (uint64_t)(delay_ms / 2 + 1));
}

/* The back-off is over: now, or when the process has an attempt left. */
static void connect_in_turn(struct redis_client *client)
{
    int64_t now_ms = loop_now_ms(client->loop);
    int64_t at_ms = redis_budget_reserve(client->shared->budget, now_ms);

    client->has_turn = at_ms > now_ms;
    if (client->has_turn)
        loop_timer_start(client->loop, &client->retry_timer, at_ms - now_ms);
    else
        connect_now(client);
}

/* Arrange the next attempt, after so long. */
static void connect_after(struct redis_client *client, int64_t delay_ms)
{
    client->failures++;
    client->state = CLIENT_WAITING;
    client->has_turn = false;
    if (delay_ms > 0)
        loop_timer_start(client->loop, &client->retry_timer, delay_ms);
    else
        connect_in_turn(client);
}

static void on_retry(void *arg)
{
    struct redis_client *client = arg;

    if (client->has_turn)
        connect_now(client);
    else
        connect_in_turn(client);
}

void redis_client_greeted(struct redis_client *client)
{
    loop_timer_stop(&client->greeting_timer);
    client->state = CLIENT_READY;
    client->is_returning = false;
    if (client->handler->on_ready != NULL)
        client->handler->on_ready(client->arg);
}

/* --- the connection's events --- */

static void
on_connection_reply(void *arg, struct redis_command *command, const struct redis_reply *reply)
{
    struct redis_client *client = arg;
    struct redis_call *call = call_of(command);

    if (client->handler->on_round_trip != NULL)
        client->handler->on_round_trip(client->arg,
                                       loop_now(client->loop)->monotonic_us - call->sent_us);
    end_call(call, REDIS_REPLIED, reply);
}

static void on_connection_lost(void *arg, struct redis_command *command)
{
    struct redis_client *client = arg;

    struct redis_call *call = call_of(command);

    TAILQ_INSERT_TAIL(&client->lost, command, entry);
    /* Its deadline is overtaken: the callback comes at the end of this turn. */
    loop_timer_stop(&call->deadline);
    if (client->overdue == call)
        client->overdue = NULL;
}

/* Their times begin now. */
static void on_connection_delayed(void *arg)
{
    struct redis_client *client = arg;
    struct redis_command *command;

    loop_refresh(client->loop);
    TAILQ_FOREACH_REVERSE(command, redis_connection_commands(client->connection),
                          redis_command_list, entry)
    {
        struct redis_call *call = call_of(command);

        if (!redis_connection_is_unsent(client->connection, command))
            break;
        if (loop_timer_is_running(&call->deadline))
            loop_timer_start(client->loop, &call->deadline,
                             call->deadline.deadline_ms - (call->sent_us + 999) / 1000);
        call->sent_us = loop_now(client->loop)->monotonic_us;
    }
    if (client->handler->on_delayed != NULL)
        client->handler->on_delayed(client->arg);
}

static void fail_lost_calls(struct redis_client *client)
{
    struct redis_command *command;

    while ((command = TAILQ_FIRST(&client->lost)) != NULL) {
        TAILQ_REMOVE(&client->lost, command, entry);
        end_call(call_of(command), REDIS_LOST, NULL);
    }
}

static void attempt_failed(struct redis_client *client, const struct redis_failure *failure)
{
    int64_t began_ms = client->attempt_deadline_ms - client->shared->connect_timeout_ms;
    int64_t delay_ms = began_ms + backoff_ms(client) - loop_now_ms(client->loop);

    loop_timer_stop(&client->greeting_timer);
    client->is_returning = false;
    /* The time that a silent attempt took is part of the back-off: a store that is well again is
     * not left alone for the length of both. */
    if (delay_ms < client->shared->backoff_min_ms)
        delay_ms = client->shared->backoff_min_ms;
    connect_after(client, delay_ms);
    if (client->handler->on_down != NULL)
        client->handler->on_down(client->arg, failure, false);
}

static void on_connection_closed(void *arg, const struct redis_failure *closed)
{
    struct redis_client *client = arg;
    struct redis_failure failure = *closed;
    bool was_ready = client->state == CLIENT_READY;

    redis_connection_destroy(&client->connection);
    loop_timer_stop(&client->stall_timer);
    if (!was_ready) {
        attempt_failed(client, &failure);
    } else {
        bool is_first = client->failures == 0;

        connect_after(client, is_first ? 0 : backoff_ms(client));
        client->is_returning = is_first && client->state == CLIENT_CONNECTING;
        if (client->handler->on_down != NULL)
            client->handler->on_down(client->arg, &failure, true);
    }
    fail_lost_calls(client);
}

static const struct redis_connection_handler connection_handler = {
    .on_reply = on_connection_reply,
    .on_lost = on_connection_lost,
    .on_delayed = on_connection_delayed,
    .on_closed = on_connection_closed,
};

static void on_dialled(void *arg, int fd, const struct redis_failure *dial_failure)
{
    struct redis_client *client = arg;
    struct redis_failure failure = *dial_failure;
    struct ssl_st *tls = NULL;
    struct error error;
    int64_t left_ms;

    client->dial = NULL;
    if (fd < 0) {
        attempt_failed(client, &failure);
        return;
    }
    if (!redis_shared_start_tls(client->shared, fd, &tls, &error)) {
        redis_failure_set(&failure, REDIS_REASON_CLOSED, "TLS: %.100s", error.text);
        attempt_failed(client, &failure);
        return;
    }
    client->connection =
        redis_connection_create(client->loop, fd, tls, &connection_handler, client, &failure);
    if (client->connection == NULL) {
        attempt_failed(client, &failure);
        return;
    }
    left_ms = client->attempt_deadline_ms - loop_now_ms(client->loop);
    loop_timer_start(client->loop, &client->greeting_timer, left_ms > 0 ? left_ms : 1);
    redis_client_greet(client);
}

static void on_greeting_timeout(void *arg)
{
    struct redis_client *client = arg;
    struct redis_failure failure;

    redis_client_receive(client);
    if (client->state != CLIENT_GREETING)
        return;
    redis_failure_set(&failure, REDIS_REASON_CONNECT_TIMEOUT, "connected, but no answer");
    redis_connection_close(client->connection, &failure);
}

static struct redis_call *oldest_call(const struct redis_client *client)
{
    struct redis_command *oldest = client->connection != NULL
                                       ? TAILQ_FIRST(redis_connection_commands(client->connection))
                                       : NULL;

    return oldest != NULL ? call_of(oldest) : NULL;
}

/* Until the oldest command has waited too long. */
static int64_t stall_left_ms(struct redis_client *client, const struct redis_call *oldest)
{
    return oldest->sent_us / 1000 + client->shared->connect_timeout_ms - loop_now_ms(client->loop);
}

/* Nobody stops this timer when replies come; it looks when it runs. */
static void on_stall_check(void *arg)
{
    struct redis_client *client = arg;
    struct redis_call *oldest = oldest_call(client);
    struct redis_failure failure;

    if (oldest != NULL && stall_left_ms(client, oldest) <= 0) {
        redis_client_receive(client);
        oldest = oldest_call(client);
    }
    if (oldest == NULL)
        return;
    if (stall_left_ms(client, oldest) > 0) {
        loop_timer_start(client->loop, &client->stall_timer, stall_left_ms(client, oldest));
        return;
    }
    redis_failure_set(&failure, REDIS_REASON_TIMEOUT, "%s", "");
    redis_connection_close(client->connection, &failure);
}

static void connect_now(struct redis_client *client)
{
    int64_t timeout_ms = client->shared->connect_timeout_ms;

    client->state = CLIENT_CONNECTING;
    client->attempt_deadline_ms = loop_now_ms(client->loop) + timeout_ms;
    client->dial = redis_dial_start(client->loop, client->shared->resolver, &client->shared->url,
                                    timeout_ms, on_dialled, client);
}

/* --- life --- */

struct redis_client *
redis_client_create(struct loop *loop, struct redis_shared *shared, const char *name)
{
    struct redis_client *client = mem_alloc_zero(sizeof(*client));

    client->loop = loop;
    client->shared = shared;
    client->handler = &no_handler;
    (void)snprintf(client->name, sizeof(client->name), "%s", name); /* cut is fine */
    TAILQ_INIT(&client->lost);
    mem_pool_init(&client->calls, sizeof(struct redis_call), 256);
    loop_timer_init(&client->retry_timer, on_retry, client);
    loop_timer_init(&client->greeting_timer, on_greeting_timeout, client);
    loop_timer_init(&client->stall_timer, on_stall_check, client);
    hash_random(&client->random, sizeof(client->random));
    client->random |= 1; /* a xorshift generator must not stand at 0 */
    return client;
}

void redis_client_start(struct redis_client *client,
                        const struct redis_client_handler *handler,
                        void *arg,
                        const char *script)
{
    client->handler = handler != NULL ? handler : &no_handler;
    client->arg = arg;
    client->script = script;
    redis_budget_count(client->shared->budget, loop_now_ms(client->loop));
    connect_now(client);
}

static void free_calls(struct redis_command_list *list)
{
    struct redis_command *command;

    while ((command = TAILQ_FIRST(list)) != NULL) {
        TAILQ_REMOVE(list, command, entry);
        free_call(call_of(command));
    }
}

void redis_client_destroy(struct redis_client **client)
{
    struct redis_client *self = *client;

    if (self == NULL)
        return;
    redis_dial_cancel(&self->dial);
    if (self->connection != NULL)
        free_calls(redis_connection_commands(self->connection));
    redis_connection_destroy(&self->connection);
    free_calls(&self->lost);
    loop_timer_stop(&self->retry_timer);
    loop_timer_stop(&self->greeting_timer);
    loop_timer_stop(&self->stall_timer);
    mem_pool_clear(&self->calls);
    if (self->buffer != NULL)
        mem_wipe(self->buffer, self->buffer_capacity); /* AUTH was formatted there */
    mem_free(self->buffer);
    mem_free(self);
    *client = NULL;
}

bool redis_client_is_ready(const struct redis_client *client)
{
    return client->state == CLIENT_READY;
}

bool redis_client_is_returning(const struct redis_client *client)
{
    return client->is_returning || (client->state == CLIENT_READY && client->failures == 0 &&
                                    redis_connection_has_ended(client->connection));
}

const char *redis_client_script_sha(const struct redis_client *client)
{
    return client->sha[0] != '\0' ? client->sha : NULL;
}

size_t redis_client_in_flight(const struct redis_client *client)
{
    return client->connection != NULL ? redis_connection_in_flight(client->connection) : 0;
}

void redis_client_confirm(struct redis_client *client)
{
    client->failures = 0;
}

void redis_client_drop(struct redis_client *client, const struct redis_failure *failure)
{
    if (client->connection == NULL)
        return;
    /* Not confirmed any more: the next connection waits for its back-off. */
    if (client->failures == 0)
        client->failures = 1;
    redis_connection_close(client->connection, failure);
}

void redis_client_note_time(struct redis_client *client, int64_t server_ms, int64_t sent_ms)
{
    /* The server read its clock between `sent_ms` and now. */
    int64_t low = server_ms - loop_now_ms(client->loop);
    int64_t high = server_ms - sent_ms;

    if (client->has_clock_offset && client->clock_offset_ms >= low) {
        /* Down to what can be, and no further: the answer may have waited long to be read, and
         * what is sent next would have a deadline that is too early by as much. */
        if (client->clock_offset_ms > high)
            client->clock_offset_ms = high;
        return;
    }
    /* "Now" is later than the turn's time when the thread had to wait in the middle of it. */
    low = server_ms - loop_clock_ms(client->loop);
    if (!client->has_clock_offset || client->clock_offset_ms < low)
        client->clock_offset_ms = low;
    client->has_clock_offset = true;
}

int64_t redis_client_server_ms(const struct redis_client *client, int64_t monotonic_ms)
{
    if (!client->has_clock_offset)
        return loop_wall_ms(client->loop) - loop_now_ms(client->loop) + monotonic_ms;
    return client->clock_offset_ms + monotonic_ms;
}
