/* SPDX-License-Identifier: MIT */
/*
 * One EVALSHA a decision, written in Redis's protocol right where it is sent
 * from: keys are made here, arguments and replies are bucket_script's. A reply is taken with
 * suspicion, because what answers at the other end need not be Redis.
 */
#include "limiter_redis.h"

#include <assert.h>
#include <stdio.h>
#include <string.h>

#include "kamiyo/base/mem.h"
#include "kamiyo/base/text.h"
#include "kamiyo/limit/limiter.h"
#include "kamiyo/observe/metrics.h"

#include "bucket_lua.h"
#include "script_forms.h"

/* Of the script, in hex digits. */
#define SHA_LENGTH 40

/* Bucket key, route, window name, three colons, two braces, a terminator. */
#define KEY_TAIL_BYTES (LIMIT_MAX_KEY_BYTES + 32 + LIMIT_WINDOW_NAME_SIZE + 8)
/* Time with status, and twice the windows. */
#define MAX_REPLY (1 + 2 * LIMIT_MAX_WINDOWS)

struct limiter_redis {
    struct redis_client *client;
    struct metrics_shard *metrics; /* NULL = none */
    enum limit_layout layout;
    char *prefix;
    size_t prefix_length;
    struct script_forms *forms;
};

size_t limiter_redis_key_size(const struct limiter_redis *redis)
{
    return redis->prefix_length + KEY_TAIL_BYTES;
}

void limiter_redis_configure(struct limiter_redis *redis, const struct limiter_options *options)
{
    mem_free(redis->prefix);
    redis->prefix =
        mem_copy_string(options->key_prefix != NULL ? options->key_prefix : "ratelimit");
    redis->prefix_length = strlen(redis->prefix);
}

struct limiter_redis *limiter_redis_create(struct redis_client *client,
                                           const struct limiter_options *options,
                                           struct metrics_shard *metrics)
{
    struct limiter_redis *redis = mem_alloc_zero(sizeof(*redis));

    redis->client = client;
    redis->metrics = metrics;
    redis->layout = options->layout;
    redis->forms = script_forms_create();
    limiter_redis_configure(redis, options);
    return redis;
}

void limiter_redis_destroy(struct limiter_redis **redis)
{
    if (*redis == NULL)
        return;
    script_forms_destroy(&(*redis)->forms);
    mem_free((*redis)->prefix);
    mem_free(*redis);
    *redis = NULL;
}

struct redis_client *limiter_redis_client(struct limiter_redis *redis)
{
    return redis->client;
}

const char *limiter_redis_script(void)
{
    return bucket_lua;
}

enum limit_layout limiter_redis_layout(const struct limiter_redis *redis)
{
    return redis->layout;
}

void limiter_redis_count_command(struct limiter_redis *redis)
{
    if (redis->metrics != NULL)
        metrics_add(redis->metrics, METRICS_REDIS_COMMANDS, 1);
}

void limiter_redis_count_error(struct limiter_redis *redis, enum redis_reason reason)
{
    if (redis->metrics != NULL)
        metrics_count_redis_error(redis->metrics, redis_reason_names[reason]);
}

/* --- keys --- */

static bool is_identity(const struct limiter_redis *redis)
{
    return redis->layout == LIMIT_LAYOUT_IDENTITY;
}

/* A key without its window. */
static size_t stem_length(const struct limiter_redis *redis, struct slice key, struct slice route)
{
    return redis->prefix_length + key.length + (is_identity(redis) ? 3 : 2) +
           (route.length > 0 ? 1 + route.length : 0);
}

static void append_stem(const struct limiter_redis *redis,
                        struct slice key,
                        struct slice route,
                        struct text *text)
{
    text_append(text, (struct slice){redis->prefix, redis->prefix_length});
    text_append(text, is_identity(redis) ? SLICE(":{") : SLICE(":"));
    text_append(text, key);
    if (is_identity(redis))
        text_append_char(text, '}');
    if (route.length > 0) {
        text_append_char(text, ':');
        text_append(text, route);
    }
    if (!is_identity(redis))
        text_append_char(text, ':');
}

struct slice limiter_redis_key(const struct limiter_redis *redis,
                               struct slice key,
                               struct slice route,
                               struct slice window,
                               char *out,
                               size_t capacity)
{
    struct text text;

    text_init(&text, out, capacity);
    append_stem(redis, key, route, &text);
    if (!is_identity(redis))
        text_append(&text, window);
    (void)text_terminate(&text); /* for whoever prints it */
    return text_slice(&text);
}

struct slice limiter_redis_name(const struct limiter_redis *redis,
                                const char *kind,
                                const char *name,
                                char *out,
                                size_t capacity)
{
    int length = snprintf(out, capacity, "%s:%s%s", redis->prefix, kind, name);

    return (struct slice){out, length < (int)capacity ? (size_t)length : capacity - 1};
}

/* --- sending --- */

/* "$40\r\n" */
static void append_size(struct text *command, char kind, size_t size)
{
    text_append_char(command, kind);
    text_append_u64(command, size);
    text_append(command, SLICE("\r\n"));
}

/* The script by its hash, or whole, and the number of keys. */
static void append_script(const char *sha, size_t key_count, struct text *command)
{
    append_size(command, '*', 4 + key_count);
    if (sha != NULL) {
        text_append(command, SLICE("$7\r\nEVALSHA\r\n$40\r\n"));
        text_append(command, (struct slice){sha, SHA_LENGTH});
    } else {
        text_append(command, SLICE("$4\r\nEVAL\r\n"));
        append_size(command, '$', bucket_lua_size);
        text_append(command, (struct slice){bucket_lua, bucket_lua_size});
    }
    text_append(command, SLICE("\r\n$1\r\n"));
    text_append_char(command, (char)('0' + key_count)); /* at most LIMIT_MAX_WINDOWS */
    text_append(command, SLICE("\r\n"));
}

/* The i-th window's part of its key. */
static struct slice key_end(const struct limiter_redis *redis,
                            const struct limiter_redis_request *request,
                            const struct script_form *form,
                            size_t i,
                            char further[2])
{
    if (request->exact_key.length == 0)
        return is_identity(redis) ? (struct slice){NULL, 0} : form->names[i];
    further[0] = ':';
    further[1] = (char)('1' + i); /* at most LIMIT_MAX_WINDOWS */
    return (struct slice){further, i > 0 ? 2 : 0};
}

static void append_keys(const struct limiter_redis *redis,
                        const struct limiter_redis_request *request,
                        const struct script_form *form,
                        size_t count,
                        struct text *command)
{
    bool is_exact = request->exact_key.length > 0;
    size_t length =
        is_exact ? request->exact_key.length : stem_length(redis, request->key, request->route);
    struct slice stem = {NULL, length};

    for (size_t i = 0; i < count; i++) {
        char further[2];
        struct slice end = key_end(redis, request, form, i, further);

        append_size(command, '$', length + end.length);
        if (stem.data != NULL)
            text_append(command, stem);
        else if (is_exact)
            text_append(command, request->exact_key);
        else
            append_stem(redis, request->key, request->route, command);
        stem.data = command->data + command->length - length; /* for the next */
        text_append(command, end);
        text_append(command, SLICE("\r\n"));
    }
}

/* What differs from call to call, in the argument at `argument`. */
static void set_call(const struct limiter_redis *redis,
                     const struct limiter_redis_request *request,
                     char *argument)
{
    int64_t deadline_ms = request->deadline_ms > 0
                              ? redis_client_server_ms(redis->client, request->deadline_ms)
                              : BUCKET_SCRIPT_NO_DEADLINE;

    bucket_script_set_call(argument, request->action, request->tokens, deadline_ms);
}

static void append_form(const struct limiter_redis *redis,
                        const struct limiter_redis_request *request,
                        const struct script_form *form,
                        struct text *command)
{
    size_t start;

    append_size(command, '$', form->argument_length);
    start = command->length;
    text_append(command, (struct slice){form->argument, form->argument_length});
    assert(!command->overflow);
    set_call(redis, request, command->data + start);
    text_append(command, SLICE("\r\n"));
}

/* Upper bound of a command's length: what is around an argument has at most 24 bytes. */
static size_t command_size(const struct limiter_redis *redis,
                           const struct limiter_redis_request *request,
                           const char *sha)
{
    return (sha != NULL ? SHA_LENGTH : bucket_lua_size) +
           request->policy->window_count *
               (limiter_redis_key_size(redis) + request->exact_key.length + 24) +
           BUCKET_SCRIPT_ARGUMENT_BYTES + (size_t)5 * 24;
}

/* The fields of all windows are in one hash, or each in its own. */
static bool is_together(const struct limiter_redis *redis,
                        const struct limiter_redis_request *request)
{
    return is_identity(redis) && request->exact_key.length == 0;
}

static const struct script_form *form_of(const struct limiter_redis *redis,
                                         const struct limiter_redis_request *request)
{
    return script_forms_find(redis->forms, request->policy,
                             is_together(redis, request) ? LIMIT_LAYOUT_IDENTITY
                                                         : LIMIT_LAYOUT_WINDOW);
}

enum progress limiter_redis_send(struct limiter_redis *redis,
                                 const struct limiter_redis_request *request,
                                 redis_done_fn *done,
                                 void *arg,
                                 struct redis_call **call)
{
    const char *sha = request->is_whole ? NULL : redis_client_script_sha(redis->client);
    size_t key_count = is_together(redis, request) ? 1 : request->policy->window_count;
    const struct script_form *form = form_of(redis, request);
    size_t size = command_size(redis, request, sha);
    char *place = redis_client_reserve(redis->client, size);
    struct text command;

    if (place == NULL)
        return PROGRESS_DONE;
    text_init(&command, place, size);
    append_script(sha, key_count, &command);
    append_keys(redis, request, form, key_count, &command);
    append_form(redis, request, form, &command);
    *call = redis_client_commit(redis->client, command.length, done, arg);
    limiter_redis_count_command(redis);
    return PROGRESS_PENDING;
}

void limiter_redis_set_deadline(struct limiter_redis *redis,
                                const struct limiter_redis_request *request,
                                struct redis_call *call)
{
    char *end = redis_client_unsent_end(call);

    /* The argument is the command's last, and "\r\n" is behind it. */
    if (end != NULL)
        set_call(redis, request, end - 2 - form_of(redis, request)->argument_length);
}

/* --- reading --- */

/* False: not a reply of the script's. */
static bool read_script_reply(const struct limiter_redis_request *request,
                              const struct redis_reply *reply,
                              struct limiter_redis_answer *answer)
{
    int64_t values[MAX_REPLY];
    size_t count;

    if (!redis_reply_is_integers(reply, values, MAX_REPLY, &count))
        return false;
    switch (
        bucket_script_read(request->policy, values, count, &answer->server_ms, answer->buckets)) {
    case BUCKET_SCRIPT_DENIED:
        answer->status = LIMITER_REDIS_DENIED;
        return bucket_longest_wait(answer->buckets, request->policy, request->tokens,
                                   answer->server_ms) > 0;
    case BUCKET_SCRIPT_DONE:
        answer->status = LIMITER_REDIS_ALLOWED;
        return true;
    case BUCKET_SCRIPT_LATE:
        answer->status = LIMITER_REDIS_LATE;
        return true;
    case BUCKET_SCRIPT_ODD:
        answer->status = LIMITER_REDIS_ODD_KEY;
        return true;
    case BUCKET_SCRIPT_GARBAGE:
        break;
    }
    return false;
}

static enum limiter_redis_status read_error(struct slice text, struct redis_failure *failure)
{
    switch (redis_failure_from_reply(text, failure)) {
    case REDIS_REPLY_ERROR_NO_SCRIPT:
        return LIMITER_REDIS_NO_SCRIPT;
    case REDIS_REPLY_ERROR_WRONG_TYPE:
        return LIMITER_REDIS_ODD_KEY;
    case REDIS_REPLY_ERROR_READ_ONLY:
        return LIMITER_REDIS_READ_ONLY;
    case REDIS_REPLY_ERROR_STORE:
        break;
    }
    return LIMITER_REDIS_FAILED;
}

void limiter_redis_read(struct limiter_redis *redis,
                        const struct limiter_redis_request *request,
                        const struct redis_result *result,
                        int64_t sent_ms,
                        struct limiter_redis_answer *answer)
{
    struct slice text;

    answer->failure.reason = REDIS_REASON_NONE;
    if (result->outcome != REDIS_REPLIED) {
        answer->status = LIMITER_REDIS_LOST;
        redis_failure_set(&answer->failure, REDIS_REASON_CLOSED, "%s", "");
    } else if (redis_reply_is_error(result->reply, &text)) {
        answer->status = read_error(text, &answer->failure);
    } else if (!read_script_reply(request, result->reply, answer)) {
        answer->status = LIMITER_REDIS_BAD_REPLY;
        redis_failure_set(&answer->failure, REDIS_REASON_BAD_REPLY, "not what the script replies");
    } else {
        redis_client_note_time(redis->client, answer->server_ms, sent_ms);
    }
}
