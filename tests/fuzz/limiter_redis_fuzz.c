/* SPDX-License-Identifier: MIT */
/*
 * Any bytes as what Redis answers to the script: through hiredis's parser into
 * the limiter's reading of it. Beyond memory errors: what is believed is within
 * the bounds of the policy, so that nothing computed from it overflows; and
 * what redis_integers reads without hiredis, hiredis reads the same.
 */
#include <assert.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <hiredis/hiredis.h>

#include "kamiyo/base/attributes.h"
#include "kamiyo/limit/bucket_script.h"
#include "kamiyo/limit/limit_policy.h"
#include "kamiyo/net/loop.h"
#include "kamiyo/net/resolver.h"
#include "kamiyo/redis/redis_client.h"
#include "kamiyo/redis/redis_options.h"

#include "limit/limiter_redis.h"
#include "redis/redis_integers.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static struct limit_policy policy;

/* One of everything for the whole run; a client that is never started. */
static struct limiter_redis *make(void)
{
    static char url[] = "redis://127.0.0.1:1";
    struct redis_options redis_options = {.url = url};
    struct limiter_options options = {.key_prefix = NULL};
    struct limit_window window;
    struct error error;
    struct redis_shared *shared = redis_shared_create(&redis_options, NULL, &error);

    assert(shared != NULL);
    if (!limit_window_init(&window, 10, 0, 60000, &error) ||
        !limit_policy_add(&policy, &window, &error) ||
        !limit_window_init(&window, 4167, 9999, 3600000, &error) ||
        !limit_policy_add(&policy, &window, &error))
        abort();
    return limiter_redis_create(redis_client_create(loop_create(), shared, "fuzz"), &options, NULL);
}

static void check(const struct limiter_redis_request *request,
                  const struct limiter_redis_answer *answer)
{
    struct limit_decision decision;
    bool allowed = answer->status == LIMITER_REDIS_ALLOWED;

    if (!allowed && answer->status != LIMITER_REDIS_DENIED)
        return;
    for (size_t i = 0; i < policy.window_count; i++) {
        assert(answer->buckets[i].level <= policy.windows[i].capacity_units);
        assert(answer->buckets[i].level >= -BUCKET_MAX_UNITS);
        assert(answer->buckets[i].time_ms >= answer->server_ms);
    }
    bucket_describe(answer->buckets, &policy, request->tokens, answer->server_ms, allowed,
                    &decision);
    assert(allowed || decision.wait_ms >= 1);
}

/* The reader's reply, NULL while it waits for more; *failed when it gives up. */
static redisReply *read_one(redisReader *reader, const char *bytes, size_t length, bool *failed)
{
    void *reply = NULL;

    (void)redisReaderFeed(reader, bytes, length); /* fails only without memory */
    *failed = redisReaderGetReply(reader, &reply) != REDIS_OK;
    return reply;
}

static void compare(const char *bytes, size_t length)
{
    static struct redis_integers integers;
    redisReader *reader = redisReaderCreate();
    int64_t ours[REDIS_INTEGERS_MAX];
    int64_t theirs[REDIS_INTEGERS_MAX];
    size_t count;
    size_t their_count;
    size_t used;
    bool failed;
    redisReply *reply;
    enum redis_integers_result result;

    reader->maxelements = 4096; /* as redis_connection has it */
    redis_integers_init(&integers);
    result = redis_integers_parse(&integers, bytes, length, &used);
    reply = read_one(reader, bytes, result == REDIS_INTEGERS_WHOLE ? used : length, &failed);
    if (result == REDIS_INTEGERS_CUT) {
        assert(length < REDIS_INTEGERS_MAX_BYTES && reply == NULL && !failed);
    } else if (result == REDIS_INTEGERS_WHOLE) {
        assert(reader->pos == used);
        assert(
            redis_reply_is_integers(redis_integers_reply(&integers), ours, COUNT_OF(ours), &count));
        assert(redis_reply_is_integers((const struct redis_reply *)(const void *)reply, theirs,
                                       COUNT_OF(theirs), &their_count));
        assert(count == their_count && memcmp(ours, theirs, count * sizeof(ours[0])) == 0);
    }
    freeReplyObject(reply);
    redisReaderFree(reader);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static struct limiter_redis *redis;
    struct limiter_redis_request request = {.tokens = 1, .policy = &policy};
    struct limiter_redis_answer answer;
    struct redis_result result = {.outcome = REDIS_REPLIED};
    redisReader *reader = redisReaderCreate();
    void *reply = NULL;
    char *bytes = malloc(size + 1);

    assert(bytes != NULL);
    if (size > 0)
        memcpy(bytes, data, size);
    bytes[size] = '\0';
    compare(bytes, size);
    free(bytes);
    if (redis == NULL)
        redis = make();
    reader->maxelements = 4096;
    (void)redisReaderFeed(reader, (const char *)data, size); /* fails only without memory */
    while (redisReaderGetReply(reader, &reply) == REDIS_OK && reply != NULL) {
        result.reply = reply;
        limiter_redis_read(redis, &request, &result, 0, &answer);
        check(&request, &answer);
        freeReplyObject(reply);
        reply = NULL;
    }
    redisReaderFree(reader);
    return 0;
}
