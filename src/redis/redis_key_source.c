/* SPDX-License-Identifier: MIT */
/*
 * identity's interface of a key source over the worker's Redis connection. The
 * key itself never comes here: Redis sees its digest, which says nothing about
 * it. Called by the identity chain; owned by the worker.
 */
#include "kamiyo/redis/redis_key_source.h"

#include <assert.h>

#include "kamiyo/base/mem.h"
#include "kamiyo/base/text.h"
#include "kamiyo/redis/redis_client.h"

#define MAX_PREFIX_BYTES 256
#define KEY_BYTES        (MAX_PREFIX_BYTES + 1 + 2 * KEY_SOURCE_DIGEST_BYTES)

struct redis_key_source {
    struct key_source source; /* first: the chain's pointer is ours */
    struct redis_client *client;
    char *prefix;
    int64_t timeout_ms;
    struct mem_pool calls;
};

struct key_source_call {
    struct redis_key_source *source;
    struct redis_call *command;
    key_source_done_fn *done;
    void *arg;
};

static void
format_key(const struct redis_key_source *source, const uint8_t *digest, struct text *key)
{
    text_append(key, slice_of(source->prefix));
    text_append_char(key, ':');
    text_append_hex(key, digest, KEY_SOURCE_DIGEST_BYTES);
}

static void read_reply(const struct redis_reply *reply, struct key_record *record)
{
    struct slice text, user = {NULL, 0}, tier = {NULL, 0};
    struct redis_failure failure;
    size_t count;

    record->outcome = KEY_SOURCE_UNAVAILABLE;
    record->user_length = record->tier_length = 0;
    if (redis_reply_is_error(reply, &text)) {
        if (redis_failure_from_reply(text, &failure) == REDIS_REPLY_ERROR_WRONG_TYPE)
            record->outcome = KEY_SOURCE_ABSENT;
        return;
    }
    if (!redis_reply_is_array(reply, &count) || count != 2)
        return;
    if (!redis_reply_is_string(redis_reply_at(reply, 0), &user)) {
        record->outcome = KEY_SOURCE_ABSENT;
        return;
    }
    if (!redis_reply_is_string(redis_reply_at(reply, 1), &tier))
        tier = (struct slice){NULL, 0};
    key_source_fill_record(record, user, tier);
}

static void on_reply(void *arg, const struct redis_result *result)
{
    struct key_source_call *call = arg;
    key_source_done_fn *done = call->done;
    void *done_arg = call->arg;
    struct key_record record;

    read_reply(result->outcome == REDIS_REPLIED ? result->reply : NULL, &record);
    mem_pool_give(&call->source->calls, call);
    done(done_arg, &record);
}

static enum progress find(struct key_source *self,
                          const uint8_t digest[KEY_SOURCE_DIGEST_BYTES],
                          struct key_record *record,
                          key_source_done_fn *done,
                          void *arg,
                          struct key_source_call **handle)
{
    struct redis_key_source *source = CONTAINER_OF(self, struct redis_key_source, source);
    struct key_source_call *call = mem_pool_take(&source->calls);
    char memory[KEY_BYTES];
    struct slice arguments[4];
    struct text key;

    text_init(&key, memory, sizeof(memory));
    format_key(source, digest, &key);
    arguments[0] = SLICE("HMGET");
    arguments[1] = text_slice(&key);
    arguments[2] = SLICE("user");
    arguments[3] = SLICE("tier");
    *call = (struct key_source_call){.source = source, .done = done, .arg = arg};
    if (!key.overflow &&
        redis_client_command(source->client, arguments, COUNT_OF(arguments), source->timeout_ms,
                             on_reply, call, &call->command) == PROGRESS_PENDING) {
        *handle = call;
        return PROGRESS_PENDING;
    }
    mem_pool_give(&source->calls, call);
    read_reply(NULL, record);
    return PROGRESS_DONE;
}

static void cancel(struct key_source *self, struct key_source_call **handle)
{
    struct redis_key_source *source = CONTAINER_OF(self, struct redis_key_source, source);
    struct key_source_call *call = *handle;

    if (call == NULL)
        return;
    *handle = NULL;
    redis_client_cancel(&call->command);
    mem_pool_give(&source->calls, call);
}

struct redis_key_source *
redis_key_source_create(struct redis_client *client, const char *prefix, int64_t timeout_ms)
{
    struct redis_key_source *source = mem_alloc_zero(sizeof(*source));

    source->source.find = find;
    source->source.cancel = cancel;
    source->client = client;
    mem_pool_init(&source->calls, sizeof(struct key_source_call), 64);
    redis_key_source_configure(source, prefix, timeout_ms);
    return source;
}

void redis_key_source_configure(struct redis_key_source *source,
                                const char *prefix,
                                int64_t timeout_ms)
{
    mem_free(source->prefix);
    source->prefix = mem_copy_string(prefix);
    source->timeout_ms = timeout_ms;
}

void redis_key_source_destroy(struct redis_key_source **handle)
{
    struct redis_key_source *source = *handle;

    if (source == NULL)
        return;
    *handle = NULL;
    assert(source->calls.used_count == 0);
    mem_pool_clear(&source->calls);
    mem_free(source->prefix);
    mem_free(source);
}

struct key_source *redis_key_source_as_source(struct redis_key_source *source)
{
    return source != NULL ? &source->source : NULL;
}
