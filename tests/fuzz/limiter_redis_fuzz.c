/* SPDX-License-Identifier: MIT */
/*
 * Any bytes as what Redis answers to the script: through hiredis's parser into
 * the limiter's reading of it. Beyond memory errors: what is believed is within
 * the bounds of the policy, so that nothing computed from it overflows.
 */
#include <assert.h>
#include <stdint.h>
#include <stdlib.h>

#include <hiredis/hiredis.h>

#include "kamiyo/base/attributes.h"
#include "kamiyo/limit/bucket_script.h"
#include "kamiyo/limit/limit_policy.h"
#include "kamiyo/net/loop.h"
#include "kamiyo/net/resolver.h"
#include "kamiyo/redis/redis_client.h"
#include "kamiyo/redis/redis_options.h"

#include "limit/limiter_redis.h"

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

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static struct limiter_redis *redis;
    struct limiter_redis_request request = {.tokens = 1, .policy = &policy};
    struct limiter_redis_answer answer;
    struct redis_result result = {.outcome = REDIS_REPLIED};
    redisReader *reader = redisReaderCreate();
    void *reply = NULL;

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
