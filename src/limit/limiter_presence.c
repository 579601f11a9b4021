/* SPDX-License-Identifier: MIT */
/*
 * <prefix>:instances, a sorted set of instances by when they were last seen,
 * on Redis's clock in seconds: every BEAT_MS one ZADD, the removal of those
 * long dead, a TTL, and the count of those alive. All in one pipeline, and
 * nobody waits for it. An instance that ends takes its own name out, so that
 * the others do not count it for ALIVE_SECONDS more.
 */
#include "limiter_presence.h"

#include <stdio.h>

#include "kamiyo/base/mem.h"
#include "kamiyo/limit/limiter_shared.h"
#include "kamiyo/net/loop.h"

#include "limit_store.h"
#include "limiter_redis.h"

#define BEAT_MS       2000
#define ALIVE_SECONDS 10
#define TTL_SECONDS   60

struct limiter_presence {
    struct loop *loop;
    struct limiter_redis *redis;
    struct limit_shared *shared;
    bool is_speaker;
    bool is_enabled;
    bool is_running;
    struct loop_timer timer;
    struct redis_call *count;
};

static void beat(void *arg);

struct limiter_presence *limiter_presence_create(struct loop *loop,
                                                 struct limiter_redis *redis,
                                                 struct limit_shared *shared,
                                                 bool is_speaker)
{
    struct limiter_presence *presence = mem_alloc_zero(sizeof(*presence));

    presence->loop = loop;
    presence->redis = redis;
    presence->shared = shared;
    presence->is_speaker = is_speaker;
    loop_timer_init(&presence->timer, beat, presence);
    return presence;
}

void limiter_presence_destroy(struct limiter_presence **presence)
{
    if (*presence == NULL)
        return;
    redis_client_cancel(&(*presence)->count);
    loop_timer_stop(&(*presence)->timer);
    mem_free(*presence);
    *presence = NULL;
}

static void on_count(void *arg, const struct redis_result *result)
{
    struct limiter_presence *presence = arg;
    int64_t alive;
    struct slice text;

    presence->count = NULL;
    if (redis_reply_is_integer(result->reply, &alive))
        limit_store_set_instances(presence->shared->store, alive);
    else if (redis_reply_is_error(result->reply, &text) &&
             slice_starts_with(text, SLICE("WRONGTYPE")))
        limit_store_set_instances(presence->shared->store, 1);
}

static void send(struct limiter_presence *presence,
                 const struct slice *arguments,
                 size_t count,
                 redis_done_fn *done,
                 struct redis_call **call)
{
    if (redis_client_command(limiter_redis_client(presence->redis), arguments, count, 0, done,
                             presence, call) == PROGRESS_PENDING)
        limiter_redis_count_command(presence->redis);
}

/* Of no interest: what matters is the count. */
static void on_ignored(void *arg, const struct redis_result *result)
{
    (void)arg;
    (void)result;
}

static void forget(struct limiter_presence *presence, const struct slice *arguments, size_t count)
{
    struct redis_call *call = NULL;

    send(presence, arguments, count, on_ignored, &call);
    redis_client_cancel(&call);
}

static void beat(void *arg)
{
    struct limiter_presence *presence = arg;
    int64_t now_ms = loop_now_ms(presence->loop);
    int64_t now = redis_client_server_ms(limiter_redis_client(presence->redis), now_ms) / 1000;
    char key_text[512];
    char now_text[24];
    char dead_text[24];
    char alive_text[24];
    char ttl_text[24];
    struct slice key =
        limiter_redis_name(presence->redis, "instances", "", key_text, sizeof(key_text));
    struct slice name = slice_of(limit_store_instance(presence->shared->store));

    (void)snprintf(now_text, sizeof(now_text), "%lld", (long long)now); /* fits, as all four */
    (void)snprintf(dead_text, sizeof(dead_text), "(%lld", (long long)(now - TTL_SECONDS));
    (void)snprintf(alive_text, sizeof(alive_text), "%lld", (long long)(now - ALIVE_SECONDS));
    (void)snprintf(ttl_text, sizeof(ttl_text), "%d", TTL_SECONDS);
    forget(presence, (struct slice[]){SLICE("ZADD"), key, slice_of(now_text), name}, 4);
    forget(presence,
           (struct slice[]){SLICE("ZREMRANGEBYSCORE"), key, SLICE("-inf"), slice_of(dead_text)}, 4);
    forget(presence, (struct slice[]){SLICE("EXPIRE"), key, slice_of(ttl_text)}, 3);
    redis_client_cancel(&presence->count);
    send(presence, (struct slice[]){SLICE("ZCOUNT"), key, slice_of(alive_text), SLICE("+inf")}, 4,
         on_count, &presence->count);
    loop_timer_start(presence->loop, &presence->timer, BEAT_MS);
}

static void update(struct limiter_presence *presence)
{
    if (!presence->is_enabled || !presence->is_running || !presence->is_speaker)
        loop_timer_stop(&presence->timer);
    else if (!loop_timer_is_running(&presence->timer))
        beat(presence);
}

void limiter_presence_enable(struct limiter_presence *presence, bool is_enabled)
{
    presence->is_enabled = is_enabled;
    update(presence);
}

void limiter_presence_start(struct limiter_presence *presence)
{
    presence->is_running = true;
    update(presence);
}

void limiter_presence_stop(struct limiter_presence *presence)
{
    presence->is_running = false;
    update(presence);
}

void limiter_presence_leave(struct limiter_presence *presence)
{
    char key_text[512];
    struct slice key =
        limiter_redis_name(presence->redis, "instances", "", key_text, sizeof(key_text));
    struct slice name = slice_of(limit_store_instance(presence->shared->store));

    if (loop_timer_is_running(&presence->timer))
        forget(presence, (struct slice[]){SLICE("ZREM"), key, name}, 3);
    limiter_presence_stop(presence);
}
