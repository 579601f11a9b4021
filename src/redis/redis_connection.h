/* SPDX-License-Identifier: MIT */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <sys/queue.h>

#include "kamiyo/base/attributes.h"
#include "kamiyo/redis/redis_failure.h"

/*
 * One connected socket speaking Redis's protocol: hiredis's asynchronous
 * context with an adapter of our own, for redis_client alone. It knows
 * commands by their order; it never connects, waits or retries.
 *
 * Commands go two ways. Most are hiredis's from end to end. A script's, of
 * which there is one for each decision, is written by its sender straight into
 * the output, and the usual reply to it, a few integers, is read where it lies;
 * any other reply to it is hiredis's again. Order is kept over both.
 */
struct loop;
struct redis_connection;
struct redis_reply;
struct ssl_st;

/* One under way, embedded in its owner's record. */
struct redis_command {
    TAILQ_ENTRY(redis_command) entry; /* the connection's until on_reply or on_lost */
    bool is_script;
    size_t number; /* counts the connection's commands, from 1 */
    size_t end;    /* of a script's in the output, before it leaves */
};

TAILQ_HEAD(redis_command_list, redis_command);

struct redis_connection_handler {
    /* Perhaps from hiredis's callback: may send and close, must not destroy. */
    void (*on_reply)(void *arg, struct redis_command *command, const struct redis_reply *reply);
    /* For each command that will have no reply, in order. Only to note it: the connection is coming
     * down. */
    void (*on_lost)(void *arg, struct redis_command *command);
    /*
     * Commands leave now that were given a while ago: the thread did not run in the meantime. What
     * they say of time may be set anew (redis_connection_unsent_end). May be NULL.
     */
    void (*on_delayed)(void *arg);
    /* Once, at the end of the turn; nothing runs after it. The owner may destroy the connection
     * inside. */
    void (*on_closed)(void *arg, const struct redis_failure *failure);
};

/*
 * Take over a connected, non-blocking descriptor and, when not NULL, `tls`: its handshake begins.
 * NULL and *failure when TLS fails at once; descriptor and `tls` are gone then too.
 */
struct redis_connection *redis_connection_create(struct loop *loop,
                                                 int fd,
                                                 struct ssl_st *tls,
                                                 const struct redis_connection_handler *handler,
                                                 void *arg,
                                                 struct redis_failure *failure) MUST_CHECK;
/* At once and without any callback; what is under way is forgotten. NULL-safe. Not from on_reply or
 * on_lost. */
void redis_connection_destroy(struct redis_connection **connection);
/* Queue a command in protocol form for the end of the turn. False: the connection is coming down.
 */
bool redis_connection_send(struct redis_connection *connection,
                           const char *bytes,
                           size_t length,
                           struct redis_command *command) MUST_CHECK;
/*
 * Room for a script's command of at most `length` bytes behind what is to be sent; NULL: the
 * connection is coming down. What was written there is queued by redis_connection_commit, before
 * anything else is called.
 */
char *redis_connection_reserve(struct redis_connection *connection, size_t length) MUST_CHECK;
void redis_connection_commit(struct redis_connection *connection,
                             size_t length,
                             struct redis_command *command);
/* It has been given to the connection and has not left. */
bool redis_connection_is_unsent(const struct redis_connection *connection,
                                const struct redis_command *command);
/* Behind the last byte of a script's command, from on_delayed; NULL when it has left already. */
char *redis_connection_unsent_end(struct redis_connection *connection,
                                  const struct redis_command *command);
/* Read what has arrived now, not when the loop finds out: on_reply may run, any number of times. */
void redis_connection_receive(struct redis_connection *connection);
/* End it: on_lost for what is in flight (now, or when the callback on the stack has returned), then
 * on_closed. */
void redis_connection_close(struct redis_connection *connection,
                            const struct redis_failure *failure);
/* It takes no more commands; on_closed comes before the turn of the loop ends. */
bool redis_connection_has_ended(const struct redis_connection *connection);
size_t redis_connection_in_flight(const struct redis_connection *connection);
/* What is under way, oldest first; for looking, and for emptying right before destroy. */
struct redis_command_list *redis_connection_commands(struct redis_connection *connection);
