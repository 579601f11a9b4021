/* SPDX-License-Identifier: MIT */
/*
 * `check --online`: one try of each thing that the configuration names, through
 * the same rooms that the gateway uses, on a loop of its own that ends when
 * the answer is there.
 */
#include "kamiyo/app/online.h"

#include <stdio.h>
#include <string.h>

#include "kamiyo/base/text.h"
#include "kamiyo/net/loop.h"
#include "kamiyo/net/resolver.h"
#include "kamiyo/observe/metrics.h"
#include "kamiyo/redis/redis_client.h"
#include "kamiyo/redis/redis_url.h"
#include "kamiyo/upstream/upstream_pool.h"
#include "kamiyo/upstream/upstream_url.h"

#define ANSWER_MS 5000 /* on top of the connect timeout */

/* One thing being tried. `failure` empty = it answered. */
struct attempt {
    struct loop *loop;
    int64_t started_us;
    int64_t took_us;
    bool is_over;
    char failure[256];
    /* Redis */
    struct redis_client *client;
    struct redis_call *call;
    /* An upstream */
    struct upstream_pool_call *dialling;
    struct upstream_connection *connection;
    struct slice host;
    char answer[256];
    size_t answer_length;
    int status;
};

static void end(struct attempt *attempt, const char *failure)
{
    struct clock_time now;

    if (attempt->is_over)
        return;
    clock_read(&now);
    attempt->took_us = now.monotonic_us - attempt->started_us;
    attempt->is_over = true;
    (void)snprintf(attempt->failure, sizeof(attempt->failure), "%s", failure);
    loop_stop(attempt->loop);
}

/* Until the attempt is over, or for `ms`. */
static void run(struct attempt *attempt, int64_t ms)
{
    if (!attempt->is_over)
        loop_run_for(attempt->loop, ms);
    if (!attempt->is_over)
        end(attempt, "no answer in time");
}

static void begin(struct attempt *attempt, struct loop *loop)
{
    struct clock_time now;

    clock_read(&now);
    *attempt = (struct attempt){.loop = loop, .started_us = now.monotonic_us};
}

static void on_pong(void *arg, const struct redis_result *result)
{
    struct attempt *attempt = arg;

    attempt->call = NULL;
    end(attempt, result->outcome == REDIS_REPLIED ? "" : "connected, but PING has no answer");
}

static void on_redis_ready(void *arg)
{
    struct attempt *attempt = arg;
    const struct slice ping[] = {SLICE("PING")};

    if (redis_client_command(attempt->client, ping, 1, ANSWER_MS, on_pong, attempt,
                             &attempt->call) == PROGRESS_DONE)
        end(attempt, "connected, but PING cannot be sent");
}

static void on_redis_down(void *arg, const struct redis_failure *failure, bool was_ready)
{
    char text[256];

    (void)was_ready;
    redis_failure_format(failure, text, sizeof(text));
    end(arg, text);
}

static void complain(struct error_list *errors,
                     const char *file,
                     const char *key,
                     const char *name,
                     const char *failure)
{
    const struct error_place nowhere = {.line = 0, .column = 1, .length = 1};

    error_list_add(errors, ERROR_FATAL, file, nowhere, key, "%s: %s", name, failure);
}

static void
tell(struct text *told, const char *what, const char *name, const struct attempt *attempt)
{
    text_append_format(told, "%s %s answers", what, name);
    if (attempt->status > 0)
        text_append_format(told, " %d", attempt->status);
    text_append_format(told, " in %lld.%lld ms\n", (long long)(attempt->took_us / 1000),
                       (long long)(attempt->took_us / 100 % 10));
}

static void check_redis(const struct config *config,
                        struct loop *loop,
                        struct resolver *resolver,
                        struct error_list *errors,
                        struct text *told)
{
    static const struct redis_client_handler handler = {.on_ready = on_redis_ready,
                                                        .on_down = on_redis_down};
    struct attempt attempt;
    struct error error;
    struct redis_shared *shared = redis_shared_create(&config->redis, resolver, &error);
    char name[256];

    (void)redis_url_mask(slice_of(config->redis.url), name, sizeof(name));
    if (shared == NULL) {
        complain(errors, "online", "redis.url", name, error.text);
        return;
    }
    begin(&attempt, loop);
    attempt.client = redis_client_create(loop, shared, "kamiyo-gateway-check");
    redis_client_start(attempt.client, &handler, &attempt, NULL);
    run(&attempt, config->redis.connect_timeout_ms + ANSWER_MS);
    redis_client_cancel(&attempt.call);
    redis_client_destroy(&attempt.client);
    redis_shared_destroy(&shared);
    if (attempt.failure[0] != '\0')
        complain(errors, "online", "redis.url", name, attempt.failure);
    else
        tell(told, "redis", name, &attempt);
}

/* "HTTP/1.1 200": nine bytes, then the status. */
static void on_answer(struct stream *stream, void *arg)
{
    struct attempt *attempt = arg;
    size_t length = 0;
    enum stream_result result =
        stream_read(stream, attempt->answer + attempt->answer_length,
                    sizeof(attempt->answer) - attempt->answer_length, &length);
    uint64_t status;

    attempt->answer_length += length;
    if (attempt->answer_length >= 12) {
        stream_pause(stream);
        if (strncmp(attempt->answer, "HTTP/1.", 7) == 0 &&
            slice_parse_u64((struct slice){attempt->answer + 9, 3}, &status)) {
            attempt->status = (int)status;
            end(attempt, "");
        } else {
            end(attempt, "connected, but the answer is no HTTP/1");
        }
    } else if (result == STREAM_END || result == STREAM_FAILED) {
        stream_pause(stream);
        end(attempt, result == STREAM_END ? "connected, but it closes without an answer"
                                          : stream_error_text(stream));
    }
}

static void on_sent(struct stream *stream, void *arg)
{
    (void)stream;
    (void)arg;
}

static void on_failed(struct stream *stream, void *arg)
{
    end(arg, stream_error_text(stream));
}

static void
on_connected(void *arg, enum upstream_outcome outcome, struct upstream_connection *connection)
{
    static const struct stream_handler handler = {
        .on_readable = on_answer, .on_drained = on_sent, .on_failed = on_failed};
    struct attempt *attempt = arg;
    char request[512];
    struct iovec part = {.iov_base = request};

    attempt->dialling = NULL;
    if (outcome != UPSTREAM_CONNECTED) {
        end(attempt, outcome == UPSTREAM_NOT_RESOLVED ? "the name is not resolved"
                     : outcome == UPSTREAM_CONNECT_TIMEOUT
                         ? "no connection in time"
                         : "the connection is refused, or its TLS is");
        return;
    }
    attempt->connection = connection;
    stream_set_handler(&connection->stream, &handler, attempt);
    part.iov_len = (size_t)snprintf(request, sizeof(request),
                                    "HEAD / HTTP/1.1\r\nHost: %.*s\r\nUser-Agent: "
                                    "kamiyo-gateway-check\r\nConnection: close\r\n\r\n",
                                    SLICE_PRINT(attempt->host));
    if (stream_write(&connection->stream, &part, 1) == STREAM_FAILED)
        end(attempt, stream_error_text(&connection->stream));
}

static void check_upstream(const struct config *config,
                           size_t index,
                           struct loop *loop,
                           struct resolver *resolver,
                           struct error_list *errors,
                           struct text *told)
{
    const struct upstream_pool_query query = {.needs_new = true};
    struct upstream_options options = config->upstream;
    struct metrics *metrics = metrics_create(1);
    enum upstream_outcome outcome = UPSTREAM_CONNECT_FAILED;
    struct upstream_connection *connection = NULL;
    struct upstream_pool *pool;
    struct attempt attempt;
    struct error error;

    options.urls = &config->upstream.urls[index];
    options.url_count = 1;
    pool = upstream_pool_create(loop, resolver, &options, metrics_shard(metrics, 0), &error);
    if (pool == NULL) {
        complain(errors, "online", "upstream.url", options.urls[0], error.text);
        metrics_destroy(&metrics);
        return;
    }
    begin(&attempt, loop);
    attempt.host = upstream_pool_host(pool);
    if (upstream_pool_acquire(pool, &query, &outcome, &connection, on_connected, &attempt,
                              &attempt.dialling) == PROGRESS_DONE)
        on_connected(&attempt, outcome, connection);
    run(&attempt, config->upstream.connect_timeout_ms + ANSWER_MS);
    if (attempt.connection != NULL)
        upstream_pool_release(&attempt.connection, UPSTREAM_CLOSE);
    else
        upstream_pool_cancel(&attempt.dialling);
    upstream_pool_destroy(&pool);
    metrics_destroy(&metrics);
    if (attempt.failure[0] != '\0')
        complain(errors, "online", "upstream.url", options.urls[0], attempt.failure);
    else
        tell(told, "upstream", options.urls[0], &attempt);
}

static bool is_complained_about(const struct error_list *errors, const char *key)
{
    for (size_t i = 0; i < errors->count; i++) {
        if (strcmp(errors->items[i].key, key) == 0)
            return true;
    }
    return false;
}

void online_check(const struct config *config,
                  struct error_list *errors,
                  char told[ONLINE_MAX_TOLD])
{
    struct loop *loop;
    struct resolver *resolver;
    struct text text;

    text_init(&text, told, ONLINE_MAX_TOLD);
    loop_library_init();
    loop = loop_create();
    resolver = resolver_create();
    if (loop == NULL || resolver == NULL) {
        complain(errors, "online", "", "event loop", "the kernel refuses a descriptor");
    } else {
        if (config->redis.url[0] != '\0' && !is_complained_about(errors, "redis.url"))
            check_redis(config, loop, resolver, errors, &text);
        for (size_t i = 0; i < config->upstream.url_count; i++)
            check_upstream(config, i, loop, resolver, errors, &text);
    }
    if (loop != NULL)
        loop_destroy(&loop);
    if (resolver != NULL)
        resolver_destroy(&resolver);
    (void)text_terminate(&text);
}
