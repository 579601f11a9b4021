/* SPDX-License-Identifier: MIT */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "kamiyo/base/attributes.h"
#include "kamiyo/base/error.h"
#include "kamiyo/base/progress.h"
#include "kamiyo/base/slice.h"
#include "kamiyo/redis/redis_failure.h"
#include "kamiyo/redis/redis_reply.h"

/*
 * One pipelined connection to Redis on one loop, which keeps itself alive.
 *
 * Commands go out together: what one turn of the loop produced leaves in one
 * write at its end. Each has its own handle, deadline and cancel; the reply to
 * a command whose caller is gone meets a detached record, so one timeout does
 * not fail its neighbours. There is no queue for when Redis is away: a command
 * is sent now or not at all.
 *
 * Connecting resolves the name again each time, tries its addresses in order,
 * and sends AUTH, SELECT, CLIENT SETNAME, TIME and SCRIPT LOAD in one go;
 * connect_timeout covers all of it. A connection that was lost is made again
 * at once, after a failure with back-off and jitter, and never more often than
 * the budget of the process allows. One whose oldest command has no answer for
 * connect_timeout (a stopped Redis, a dead path) is dropped.
 *
 * All on the loop's thread but redis_shared, which any thread may use.
 */
struct loop;
struct redis_options;
struct resolver;

/* What the connections of all workers have in common: the parsed URL, TLS, the budget of
 * reconnects. */
struct redis_shared;

/*
 * NULL and *error when options->url is not a Redis URL or the TLS files cannot be used. The
 * options are copied; the resolver is borrowed and must outlive it.
 */
struct redis_shared *redis_shared_create(const struct redis_options *options,
                                         struct resolver *resolver,
                                         struct error *error) MUST_CHECK;
void redis_shared_destroy(struct redis_shared **shared);

struct redis_client;

/* Commands that may be without their replies at a time; the next is refused. */
#define REDIS_CLIENT_MAX_IN_FLIGHT 8192
/* Bytes of a reply that is not complete yet; more, and the connection is dropped. */
#define REDIS_CLIENT_MAX_REPLY_BYTES (64 * 1024)

/* All run from the loop, never inside a call of the owner's. Any may be NULL. */
struct redis_client_handler {
    /* Connected and greeted: commands are taken. */
    void (*on_ready)(void *arg);
    /*
     * A connection was lost (was_ready; the calls on it fail right after this) or an attempt
     * failed. The next attempt is already arranged.
     */
    void (*on_down)(void *arg, const struct redis_failure *failure, bool was_ready);
    /* A reply has come, whoever asked: microseconds since its command was given. */
    void (*on_round_trip)(void *arg, int64_t us);
    /*
     * Commands leave now that were given a while ago: the thread had to wait for a CPU, say. Their
     * times begin now; whoever wrote one into a command may set it anew (redis_client_unsent_end).
     */
    void (*on_delayed)(void *arg);
};

/* `name` (copied) is for CLIENT SETNAME: no blanks. Not connected until redis_client_start. */
struct redis_client *
redis_client_create(struct loop *loop, struct redis_shared *shared, const char *name) MUST_CHECK;
/* Calls that are pending end without their callbacks. Not from inside a callback of the client's.
 */
void redis_client_destroy(struct redis_client **client);
/*
 * Begin to connect. `script` (borrowed for the client's life; NULL = none) is loaded on each
 * connection. Once.
 */
void redis_client_start(struct redis_client *client,
                        const struct redis_client_handler *handler,
                        void *arg,
                        const char *script);
bool redis_client_is_ready(const struct redis_client *client);
/* A connection was lost in use, and the first attempt to make it again is under way or begins
 * before this turn of the loop ends. */
bool redis_client_is_returning(const struct redis_client *client);
/* 40 hex digits for EVALSHA, or NULL when the server did not take the script. Valid until the next
 * connection. */
const char *redis_client_script_sha(const struct redis_client *client);
/* Commands without a reply at present. */
size_t redis_client_in_flight(const struct redis_client *client);
/*
 * The connection does what it is for: the next failure begins a new back-off. Until this is said,
 * each new connection counts as one more failure (a Redis that accepts and then refuses to work).
 */
void redis_client_confirm(struct redis_client *client);
/* Drop the connection at the end of the turn (it says READONLY, say) and make a new one after
 * back-off. */
void redis_client_drop(struct redis_client *client, const struct redis_failure *failure);

/*
 * The server's clock. Every reply that carries its time (Unix ms) is to be noted with when its
 * command was given; the estimate is never ahead of the server's clock by more than the way there.
 */
void redis_client_note_time(struct redis_client *client, int64_t server_ms, int64_t sent_ms);
int64_t redis_client_server_ms(const struct redis_client *client, int64_t monotonic_ms);

enum redis_outcome {
    REDIS_REPLIED,   /* `reply` is what came, error replies included */
    REDIS_NOT_SENT,  /* DONE only: there is no connection, or too much is in flight */
    REDIS_TIMED_OUT, /* no reply in time; whether it was executed is unknown */
    REDIS_LOST       /* the connection ended before the reply; likewise unknown */
};

struct redis_result {
    enum redis_outcome outcome;
    const struct redis_reply *reply; /* REPLIED: valid during the callback only */
};

struct redis_call;
typedef void redis_done_fn(void *arg, const struct redis_result *result);

/*
 * Send a command. DONE: it was not sent. PENDING: `done` runs once, later, at most timeout_ms from
 * now (0 = when the reply comes or the connection ends). The arguments are copied.
 */
enum progress redis_client_command(struct redis_client *client,
                                   const struct slice *arguments,
                                   size_t count,
                                   int64_t timeout_ms,
                                   redis_done_fn *done,
                                   void *arg,
                                   struct redis_call **call) MUST_CHECK;
/*
 * The short way for a command of which there are many and whose reply is a small array of integers,
 * as a script's: it is written in Redis's protocol where it will be sent from, and such a reply is
 * read without any allocation. Other replies to it are fine. redis_client_reserve gives room for
 * `length` bytes, or NULL: nothing can be sent now. What was written there is sent by
 * redis_client_commit, which cannot fail; nothing else is called between the two. `done` runs as
 * for a command without a timeout.
 */
char *redis_client_reserve(struct redis_client *client, size_t length) MUST_CHECK;
struct redis_call *redis_client_commit(struct redis_client *client,
                                       size_t length,
                                       redis_done_fn *done,
                                       void *arg) MUST_CHECK;
/* From on_delayed: behind the last byte of a command of redis_client_commit's; NULL when it has
 * left already, or will not. */
char *redis_client_unsent_end(struct redis_call *call);
/*
 * Take what has arrived, before something is given up for its time being over: a thread that did
 * not run finds the end of the time and the answer at once, and the answer counts. `done` may run,
 * of any call. From a timer's function, not from a callback of the client's.
 */
void redis_client_receive(struct redis_client *client);
/* Forget the caller. The command may still be executed. */
void redis_client_cancel(struct redis_call **call);
