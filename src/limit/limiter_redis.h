/* SPDX-License-Identifier: MIT */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "kamiyo/base/attributes.h"
#include "kamiyo/base/progress.h"
#include "kamiyo/base/slice.h"
#include "kamiyo/limit/bucket.h"
#include "kamiyo/limit/bucket_script.h"
#include "kamiyo/limit/limit_options.h"
#include "kamiyo/redis/redis_client.h"

/*
 * The calls of the script on Redis: keys by layout, arguments out, reply in.
 * It knows no breaker and no table; each call is one command, and what came
 * of it is told in one word.
 */
struct limiter_redis;
struct metrics_shard;

/* Borrows the client; `metrics` may be NULL. */
struct limiter_redis *limiter_redis_create(struct redis_client *client,
                                           const struct limiter_options *options,
                                           struct metrics_shard *metrics) MUST_CHECK;
void limiter_redis_destroy(struct limiter_redis **redis);
/* Another key prefix. The layout stays. */
void limiter_redis_configure(struct limiter_redis *redis, const struct limiter_options *options);
struct redis_client *limiter_redis_client(struct limiter_redis *redis);
/* The script's text, for redis_client_start. */
const char *limiter_redis_script(void);

struct limiter_redis_request {
    enum bucket_script_action action;
    bool is_whole;       /* send the script's text: its hash was not known */
    int64_t deadline_ms; /* our monotonic clock; Redis does nothing after it; 0 = none */
    int64_t tokens;
    struct slice key;
    struct slice route;     /* empty = the default buckets */
    struct slice exact_key; /* not empty: this key of Redis, and with ":2" and so on behind it for
                               further windows, each a hash of its own */
    const struct limit_policy *policy;
};
/* As redis_client_command without a timeout. */
enum progress limiter_redis_send(struct limiter_redis *redis,
                                 const struct limiter_redis_request *request,
                                 redis_done_fn *done,
                                 void *arg,
                                 struct redis_call **call) MUST_CHECK;
/* The request's deadline has changed before its command left: from redis_client's on_delayed. */
void limiter_redis_set_deadline(struct limiter_redis *redis,
                                const struct limiter_redis_request *request,
                                struct redis_call *call);

enum limiter_redis_status {
    LIMITER_REDIS_DENIED,
    LIMITER_REDIS_ALLOWED,
    LIMITER_REDIS_LATE,      /* past its deadline: nothing was charged */
    LIMITER_REDIS_ODD_KEY,   /* this key is not ours to read: nothing was charged */
    LIMITER_REDIS_NO_SCRIPT, /* nothing was charged; send it whole */
    LIMITER_REDIS_FAILED,    /* an error reply: nothing was charged */
    LIMITER_REDIS_READ_ONLY, /* likewise, and the connection leads to the wrong server */
    LIMITER_REDIS_BAD_REPLY, /* what happened is unknown, and so is what the next reply would mean
                              */
    LIMITER_REDIS_LOST       /* what happened is unknown */
};

struct limiter_redis_answer {
    enum limiter_redis_status status;
    struct redis_failure failure; /* FAILED and below */
    int64_t server_ms;            /* DENIED, ALLOWED, LATE: Redis's clock */
    struct bucket
        buckets[LIMIT_MAX_WINDOWS]; /* DENIED, ALLOWED: after the call, on Redis's clock */
};
/*
 * Read a result (REPLIED or LOST). The reply is believed only when it could be one: of the right
 * shape, levels within bounds, a denial where something lacks. Notes Redis's time for a command
 * given at sent_ms.
 */
void limiter_redis_read(struct limiter_redis *redis,
                        const struct limiter_redis_request *request,
                        const struct redis_result *result,
                        int64_t sent_ms,
                        struct limiter_redis_answer *answer);

/* A key below the prefix, "<prefix>:probe:<name>", written at `out` (terminated, cut at capacity).
 */
struct slice limiter_redis_name(const struct limiter_redis *redis,
                                const char *kind,
                                const char *name,
                                char *out,
                                size_t capacity);
/* The key of a bucket (window layout) or of all of an identity's (identity layout; `window` is not
 * looked at). */
struct slice limiter_redis_key(const struct limiter_redis *redis,
                               struct slice key,
                               struct slice route,
                               struct slice window,
                               char *out,
                               size_t capacity);
enum limit_layout limiter_redis_layout(const struct limiter_redis *redis);
/* Count a command that somebody sent beside these. */
void limiter_redis_count_command(struct limiter_redis *redis);
void limiter_redis_count_error(struct limiter_redis *redis, enum redis_reason reason);
/* Longest key that the two above can need for the present prefix, with its terminator. */
size_t limiter_redis_key_size(const struct limiter_redis *redis);
