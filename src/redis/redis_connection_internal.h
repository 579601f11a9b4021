/* SPDX-License-Identifier: MIT */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

#include <event2/event.h>
#include <event2/event_struct.h>
#include <hiredis/hiredis.h>

#include "kamiyo/net/loop.h"

#include "redis_connection.h"
#include "redis_integers.h"

struct redisAsyncContext;

/*
 * Inside of redis_connection: its life and what it writes (redis_connection.c), and what it reads
 * (redis_connection_input.c).
 */

/* One read. A TLS record fits, also behind the beginning of a reply: what would be left of it in
 * OpenSSL's own buffer, no event would announce. */
#define REDIS_CONNECTION_READ_BYTES 16384

/* Bytes that were read and are nobody's yet: [start, end). */
struct redis_input {
    size_t start;
    size_t end;
    size_t handed; /* of these, for hiredis to take when it reads next */
    char data[REDIS_INTEGERS_MAX_BYTES + REDIS_CONNECTION_READ_BYTES + 1]; /* with a 0 at `end` */
};

struct redis_connection {
    struct loop *loop;
    struct redisAsyncContext *context; /* NULL once hiredis has let go of it */
    struct ssl_st *tls;                /* owned by the context; NULL = plain */
    const struct redis_connection_handler *handler;
    void *arg;
    struct event read_event;
    struct event write_event;
    struct loop_task flush_task;
    struct loop_task closed_task;
    const redisContextFuncs *transport; /* hiredis's: the socket, or TLS on it */
    redisContextFuncs functions;        /* the same with two of ours before it */
    struct redis_command_list commands; /* oldest first */
    size_t in_flight;
    size_t given_count;     /* commands, as redis_command's number */
    size_t sent_count;      /* likewise; behind it what has not left */
    size_t delivered_count; /* replies */
    size_t unended_bytes;   /* read since the last of them ended */
    int64_t unsent_ms;      /* monotonic: when the first was given that has not left */
    bool is_reader_busy;    /* hiredis's reader has the beginning of a script's reply */
    struct redis_integers integers;
    struct redis_input input;
    bool is_reading;    /* read_event is added */
    bool is_blocked;    /* write_event is added: the socket takes no more */
    bool is_flushing;   /* hiredis is writing: what it asks for now is EV_WRITE */
    bool is_destroying; /* no callbacks */
    struct redis_failure failure;
};

/* redis_connection.c */
/* hiredis's reader, used without its context, does not like what it got. */
void redis_connection_end_by_error(struct redis_connection *connection);

/* redis_connection_input.c */
/* The socket has something to read. `arg` is the connection. */
void redis_connection_input_on_readable(evutil_socket_t fd, short what, void *arg);
/* hiredis reads: it takes what was handed to it; else the socket is read, and it has to wait. */
ssize_t redis_connection_input_read(redisContext *context, char *buffer, size_t capacity);
/* hiredis has a whole reply to a command that was sent its way. */
void redis_connection_input_on_reply(struct redisAsyncContext *context, void *reply, void *command);
