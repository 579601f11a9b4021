/* SPDX-License-Identifier: MIT */
/*
 * SET, DEL and, if asked for, the script and more DELs, in one pipeline. The
 * verdict is given when all that counts has been answered; the first failure
 * makes it.
 */
#include "limiter_probe.h"

#include <string.h>

#include "kamiyo/base/mem.h"
#include "kamiyo/base/text.h"
#include "kamiyo/net/loop.h"

#include "limit_store.h"
#include "limiter_redis.h"

/* How long the key lives when its removal fails. */
#define TTL_SECONDS "10"
/* After an answer that came too late. */
#define AGAIN_MS 20

/* Windows that a probe cannot exhaust; their keys live 20 s. */
#define POLICY_LIMIT     1000
#define POLICY_PERIOD_MS 10000

struct limiter_probe {
    struct loop *loop;
    struct limiter_redis *redis;
    const struct limit_store *store;
    limiter_probe_fn *done;
    void *arg;
    struct limit_policy policy; /* with as many windows as the script is to be run for */
    struct loop_timer timer;
    struct redis_call *write;
    struct redis_call *script;
    bool is_whole; /* the script is sent as text: its hash is not known there */
    int64_t timeout_ms;
    int64_t sent_ms;
    struct redis_failure failure; /* of this probe, so far */
    bool is_wrong_place;
};

static void ask(void *arg);

struct limiter_probe *limiter_probe_create(struct loop *loop,
                                           struct limiter_redis *redis,
                                           const struct limit_store *store,
                                           limiter_probe_fn *done,
                                           void *arg)
{
    struct limiter_probe *probe = mem_alloc_zero(sizeof(*probe));
    struct limit_window window = {
        .name = "probe",
        .period_ms = POLICY_PERIOD_MS,
        .limit = POLICY_LIMIT,
        .burst = POLICY_LIMIT,
        .units_per_token = POLICY_PERIOD_MS / POLICY_LIMIT,
        .units_per_ms = 1,
        .capacity_units = POLICY_PERIOD_MS,
        .refill_ms = POLICY_PERIOD_MS,
    };

    probe->loop = loop;
    probe->redis = redis;
    probe->store = store;
    probe->done = done;
    probe->arg = arg;
    for (size_t i = 0; i < LIMIT_MAX_WINDOWS; i++)
        probe->policy.windows[i] = window;
    loop_timer_init(&probe->timer, ask, probe);
    return probe;
}

void limiter_probe_destroy(struct limiter_probe **probe)
{
    if (*probe == NULL)
        return;
    limiter_probe_stop(*probe);
    mem_free(*probe);
    *probe = NULL;
}

void limiter_probe_stop(struct limiter_probe *probe)
{
    loop_timer_stop(&probe->timer);
    redis_client_cancel(&probe->write);
    redis_client_cancel(&probe->script);
}

void limiter_probe_start(struct limiter_probe *probe,
                         int64_t delay_ms,
                         int64_t timeout_ms,
                         size_t script_windows)
{
    limiter_probe_stop(probe);
    probe->timeout_ms = timeout_ms;
    probe->policy.window_count = script_windows;
    if (delay_ms > 0)
        loop_timer_start(probe->loop, &probe->timer, delay_ms);
    else
        ask(probe);
}

static void fail(struct limiter_probe *probe, const struct redis_failure *failure, bool is_wrong)
{
    if (probe->failure.reason == REDIS_REASON_NONE)
        probe->failure = *failure;
    probe->is_wrong_place |= is_wrong;
}

/* One of the two has been answered. */
static void conclude(struct limiter_probe *probe)
{
    if (probe->write != NULL || probe->script != NULL)
        return;
    if (probe->failure.reason == REDIS_REASON_NONE &&
        loop_now_ms(probe->loop) - probe->sent_ms > probe->timeout_ms) {
        loop_timer_start(probe->loop, &probe->timer, AGAIN_MS);
        return;
    }
    probe->done(probe->arg, &probe->failure, probe->is_wrong_place);
}

static void on_written(void *arg, const struct redis_result *result)
{
    struct limiter_probe *probe = arg;
    struct redis_failure failure;
    bool is_wrong = true;
    struct slice text;

    probe->write = NULL;
    if (result->outcome != REDIS_REPLIED)
        return; /* who hears of the connection's end knows more */
    redis_failure_set(&failure, REDIS_REASON_BAD_REPLY, "to a probe");
    if (redis_reply_is_error(result->reply, &text)) {
        is_wrong = redis_failure_from_reply(text, &failure) == REDIS_REPLY_ERROR_READ_ONLY;
        fail(probe, &failure, is_wrong);
    } else if (!redis_reply_is_string(result->reply, &text) || !slice_equal(text, SLICE("OK"))) {
        fail(probe, &failure, is_wrong);
    }
    conclude(probe);
}

/* A key of this probe's, at `out`. */
static struct slice key_of(const struct limiter_probe *probe, char *out, size_t capacity)
{
    return limiter_redis_name(probe->redis, "probe:", limit_store_instance(probe->store), out,
                              capacity);
}

static bool run_script(struct limiter_probe *probe);

static void on_script(void *arg, const struct redis_result *result)
{
    struct limiter_probe *probe = arg;
    struct limiter_redis_request request = {.tokens = 1, .policy = &probe->policy};
    struct limiter_redis_answer answer;

    probe->script = NULL;
    if (result->outcome != REDIS_REPLIED)
        return; /* likewise */
    limiter_redis_read(probe->redis, &request, result, probe->sent_ms, &answer);
    if (answer.status == LIMITER_REDIS_NO_SCRIPT && !probe->is_whole) {
        probe->is_whole = true;
        if (run_script(probe))
            return;
    }
    if (answer.status != LIMITER_REDIS_ALLOWED) {
        if (answer.failure.reason == REDIS_REASON_NONE)
            redis_failure_set(&answer.failure, REDIS_REASON_BAD_REPLY, "to a probe of the script");
        fail(probe, &answer.failure,
             answer.status == LIMITER_REDIS_READ_ONLY || answer.status == LIMITER_REDIS_BAD_REPLY);
    }
    conclude(probe);
}

/* Nobody asks how it ended. */
static void on_removed(void *arg, const struct redis_result *result)
{
    (void)arg;
    (void)result;
}

static void remove_key(struct limiter_probe *probe, struct slice key)
{
    struct redis_call *call = NULL;
    struct slice arguments[] = {SLICE("DEL"), key};

    if (redis_client_command(limiter_redis_client(probe->redis), arguments, COUNT_OF(arguments), 0,
                             on_removed, probe, &call) == PROGRESS_PENDING)
        limiter_redis_count_command(probe->redis);
    redis_client_cancel(&call);
}

/* Those that the script was run for: each by a command of its own, for they may be in several
 * slots. */
static void remove_keys(struct limiter_probe *probe, struct slice first)
{
    remove_key(probe, first);
    for (size_t i = 1; i < probe->policy.window_count; i++) {
        char memory[512];
        struct text text;

        text_init(&text, memory, sizeof(memory));
        text_append(&text, first);
        text_append_char(&text, ':');
        text_append_u64(&text, i + 1);
        remove_key(probe, text_slice(&text));
    }
}

static bool run_script(struct limiter_probe *probe)
{
    bool is_identity = limiter_redis_layout(probe->redis) == LIMIT_LAYOUT_IDENTITY;
    char memory[512];
    struct limiter_redis_request request = {
        .action = BUCKET_SCRIPT_TAKE,
        .is_whole = probe->is_whole,
        .tokens = 1,
        .exact_key = key_of(probe, memory, sizeof(memory)),
        .policy = &probe->policy,
    };

    /* There all windows of a decision are one key's. */
    if (is_identity)
        probe->policy.window_count = 1;
    if (limiter_redis_send(probe->redis, &request, on_script, probe, &probe->script) ==
        PROGRESS_DONE)
        return false;
    remove_keys(probe, request.exact_key);
    return true;
}

static void ask(void *arg)
{
    struct limiter_probe *probe = arg;
    char memory[512];
    struct slice key = key_of(probe, memory, sizeof(memory));
    struct slice write[] = {SLICE("SET"), key, SLICE("1"), SLICE("EX"), SLICE(TTL_SECONDS)};

    probe->sent_ms = loop_now_ms(probe->loop);
    probe->failure.reason = REDIS_REASON_NONE;
    probe->is_wrong_place = false;
    probe->is_whole = false;
    /* No deadline: a stopped Redis answers when it goes on, and a dead one is dropped by the
     * client. */
    if (redis_client_command(limiter_redis_client(probe->redis), write, COUNT_OF(write), 0,
                             on_written, probe, &probe->write) == PROGRESS_DONE) {
        loop_timer_start(probe->loop, &probe->timer, AGAIN_MS);
        return;
    }
    limiter_redis_count_command(probe->redis);
    remove_key(probe, key);
    if (probe->policy.window_count > 0)
        (void)run_script(probe); /* what cannot be sent now is seen at the next decision */
}
