/* SPDX-License-Identifier: MIT */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "kamiyo/base/mem.h"
#include "kamiyo/net/loop.h"
#include "kamiyo/redis/redis_client.h"

#include "redis_connection.h"
#include "redis_dial.h"
#include "redis_shared.h"

/* Inside of redis_client: what its life (redis_client.c) and its greeting (redis_client_greeting.c)
 * share. */
#define REDIS_CLIENT_SHA_LENGTH 40
enum client_state {
    CLIENT_STOPPED,
    CLIENT_WAITING,
    CLIENT_CONNECTING,
    CLIENT_GREETING,
    CLIENT_READY
};

struct redis_call {
    struct redis_command command; /* in the connection's list, or in `lost` */
    struct redis_client *client;
    redis_done_fn *done; /* NULL = the caller is gone */
    void *arg;
    int64_t sent_us; /* monotonic */
    struct loop_timer deadline;
};

struct redis_client {
    struct loop *loop;
    struct redis_shared *shared;
    const struct redis_client_handler *handler;
    void *arg;
    const char *script;
    char name[64];
    enum client_state state;
    bool is_returning; /* from a loss in use until the next attempt has ended */
    struct redis_dial *dial;
    struct redis_connection *connection;
    struct redis_command_list lost; /* of a connection that is coming down; oldest first */
    struct mem_pool calls;
    struct redis_call *overdue; /* its deadline is over, and what has arrived is being taken; NULL =
                                   none, or it has an answer */
    int64_t greeted_ms;         /* when the greeting was given */
    unsigned greeting_left;     /* replies */
    unsigned failures;          /* in a row, since the last confirm */
    struct loop_timer retry_timer;
    bool has_turn; /* retry_timer waits for a turn that the budget gave, no longer for back-off */
    struct loop_timer greeting_timer; /* from dialling to the last reply of the greeting */
    struct loop_timer stall_timer;
    int64_t attempt_deadline_ms;
    int64_t clock_offset_ms; /* server's Unix ms minus our monotonic ms */
    bool has_clock_offset;
    char sha[REDIS_CLIENT_SHA_LENGTH + 1]; /* "" = the server did not take the script */
    char *buffer;                          /* a command in protocol form */
    size_t buffer_capacity;
    uint64_t random; /* state of a xorshift generator, for jitter */
};

/* A command on whatever connection there is, greeted or not. False: it cannot be sent. */
bool redis_client_send(struct redis_client *client,
                       const struct slice *arguments,
                       size_t count,
                       int64_t timeout_ms,
                       redis_done_fn *done,
                       void *arg,
                       struct redis_call **call) MUST_CHECK;
/* Introduce ourselves on a new connection; ends in redis_client_greeted, or in the connection's
 * end. */
void redis_client_greet(struct redis_client *client);
/* The greeting has been answered well: commands are taken. */
void redis_client_greeted(struct redis_client *client);
