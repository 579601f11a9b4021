/* SPDX-License-Identifier: MIT */
#pragma once

#include <stdbool.h>
#include <stddef.h>

#include "kamiyo/base/attributes.h"
#include "kamiyo/redis/redis_failure.h"

/*
 * One connected socket speaking Redis's protocol: hiredis's asynchronous
 * context with an adapter of our own, for redis_client alone. It knows
 * commands as opaque pointers, in order; it never connects, waits or retries.
 */
struct loop;
struct redis_connection;
struct redis_reply;
struct ssl_st;

struct redis_connection_handler {
    /* From hiredis's callback: may send and close, must not destroy. */
    void (*on_reply)(void *arg, void *command, const struct redis_reply *reply);
    /* For each command that will have no reply, in order. Only to note it: the connection is coming
     * down. */
    void (*on_lost)(void *arg, void *command);
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
/* At once and without any callback. NULL-safe. Not from on_reply or on_lost. */
void redis_connection_destroy(struct redis_connection **connection);
/* Queue a command in protocol form for the end of the turn. False: the connection is coming down.
 */
bool redis_connection_send(struct redis_connection *connection,
                           const char *bytes,
                           size_t length,
                           void *command) MUST_CHECK;
/* End it: on_lost for what is in flight (now, or when the callback on the stack has returned), then
 * on_closed. */
void redis_connection_close(struct redis_connection *connection,
                            const struct redis_failure *failure);
/* It takes no more commands; on_closed comes before the turn of the loop ends. */
bool redis_connection_has_ended(const struct redis_connection *connection);
size_t redis_connection_in_flight(const struct redis_connection *connection);
