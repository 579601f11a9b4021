/* SPDX-License-Identifier: MIT */
/* The scripted store, and short ways to ask the limiter that stands over it. */
#include "store_support.h"

#include <endian.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

#include "kamiyo/net/resolver.h"
#include "kamiyo/redis/redis_client.h"

#include "support/stopwatch.h"

static enum store_act next_act(struct store_fixture *f)
{
    return f->acts[f->act_next + 1 < f->act_count ? f->act_next++ : f->act_next];
}

static void say_decision(struct store_fixture *f,
                         struct fake_redis_connection *connection,
                         double action,
                         double cost)
{
    const struct limit_window *window = &f->policy.windows[0];
    bool allowed = action == 1 || f->spent + cost <= STORE_BURST;
    char reply[128];

    if (allowed && action != 2)
        f->spent += cost;
    (void)snprintf(reply, sizeof(reply), "*2\r\n:%lld\r\n:%lld\r\n",
                   (long long)clock_wall_ms() * 4 + allowed,
                   (long long)((STORE_BURST - f->spent) * (double)window->units_per_token));
    fake_redis_reply(connection, reply);
}

/* An "int 64" of MessagePack in the script's argument, which stands behind the one key. */
static double number_at(const struct fake_redis_command *command, size_t offset)
{
    uint64_t bits;

    memcpy(&bits, command->arguments[4] + offset + 1, sizeof(bits));
    return (double)(int64_t)be64toh(bits);
}

static void run_script(struct store_fixture *f,
                       struct fake_redis_connection *connection,
                       const struct fake_redis_command *command)
{
    double action = command->arguments[4][9];
    double tokens = number_at(command, 10);
    char reply[64];

    f->last_deadline = number_at(command, 0);
    switch (next_act(f)) {
    case STORE_DECIDE:
        say_decision(f, connection, action, tokens);
        break;
    case STORE_SILENT:
        f->silent = connection;
        break;
    case STORE_CHARGE_SILENTLY:
        f->spent += tokens;
        f->silent = connection;
        break;
    case STORE_HOLD:
        f->held = connection;
        f->held_count++;
        f->held_cost = tokens;
        break;
    case STORE_LATE:
        (void)snprintf(reply, sizeof(reply), "*1\r\n:%lld\r\n", (long long)clock_wall_ms() * 4 + 2);
        fake_redis_reply(connection, reply);
        break;
    case STORE_ODD:
        (void)snprintf(reply, sizeof(reply), "*2\r\n:%lld\r\n:1\r\n",
                       (long long)clock_wall_ms() * 4 + 3);
        fake_redis_reply(connection, reply);
        break;
    case STORE_NO_SCRIPT:
        fake_redis_reply(connection, "-NOSCRIPT No matching script.\r\n");
        break;
    case STORE_CUT:
        fake_redis_cut(connection);
        break;
    case STORE_OOM:
        fake_redis_reply(connection, "-OOM command not allowed\r\n");
        break;
    case STORE_READ_ONLY:
        fake_redis_reply(connection, "-READONLY You can't write\r\n");
        break;
    case STORE_SHAPE:
        fake_redis_reply(connection, "*1\r\n$2\r\nhm\r\n");
        break;
    case STORE_AHEAD:
        (void)snprintf(reply, sizeof(reply), "*3\r\n:%lld\r\n:0\r\n:%lld\r\n",
                       (long long)clock_wall_ms() * 4 + 1, (long long)STORE_PERIOD_MS);
        fake_redis_reply(connection, reply);
        break;
    }
}

static void script(void *arg,
                   struct fake_redis_connection *connection,
                   const struct fake_redis_command *command)
{
    struct store_fixture *f = arg;
    const char *name = command->arguments[0];

    if (f->is_stopped)
        return;
    if (fake_redis_greet(connection, command)) {
        if (connection == f->silent)
            f->silent = NULL; /* another in its place */
        return;
    }
    if (connection == f->silent)
        return; /* replies are in order: none comes before the one that does not */
    if (command->count > 4 && strstr(command->arguments[3], ":probe:") != NULL) {
        f->script_probes++;
        fake_redis_reply(connection, f->fails_script_probes ? "-NOPERM no permission\r\n"
                                                            : "*2\r\n:6800000000001\r\n:9990\r\n");
    } else if (strcmp(name, "EVALSHA") == 0 || strcmp(name, "EVAL") == 0) {
        f->evals += strcmp(name, "EVAL") == 0;
        f->evalshas += strcmp(name, "EVALSHA") == 0;
        run_script(f, connection, command);
    } else if (strcmp(name, "SET") == 0) {
        if (f->held != NULL)
            store_release(f);
        if (!f->ignores_probes)
            fake_redis_reply(connection,
                             f->fails_probes ? "-OOM command not allowed\r\n" : "+OK\r\n");
    } else {
        bool is_behind = strcmp(name, "PING") == 0 && f->acts[f->act_next] == STORE_SILENT;

        f->heartbeats += strcmp(name, "ZADD") == 0;
        f->farewells += strcmp(name, "ZREM") == 0;
        if (!f->ignores_probes && !is_behind) /* a DEL is part of them; replies keep their order */
            fake_redis_reply(connection, ":1\r\n");
    }
}

void store_release(struct store_fixture *f)
{
    assert_non_null(f->held);
    for (; f->held_count > 0; f->held_count--)
        say_decision(f, f->held, 0, f->held_cost);
    f->held = NULL;
}

bool store_has_redis(const struct store_fixture *f)
{
    return limit_shared_has_redis(f->shared);
}

void store_setup(struct store_fixture *f, void **state)
{
    struct limit_window window;
    struct error error;

    memset(f, 0, sizeof(*f));
    f->loop = *state;
    f->resolver = resolver_create();
    f->fake = fake_redis_create(f->loop, script, f);
    (void)snprintf(f->url, sizeof(f->url), "redis://127.0.0.1:%u", fake_redis_port(f->fake));
    f->redis_options = (struct redis_options){
        .url = f->url, .connect_timeout_ms = 1500, .backoff_min_ms = 10, .backoff_max_ms = 50};
    f->redis_shared = redis_shared_create(&f->redis_options, f->resolver, &error);
    f->client = redis_client_create(f->loop, f->redis_shared, "test");
    f->options = (struct limiter_options){.memory_bytes = 1 << 20,
                                          .timeout_ms = STORE_TIMEOUT_MS,
                                          .breaker_failures = 3,
                                          .fallback_share = 1};
    f->shared = limit_shared_create(f->options.memory_bytes, 1);
    assert_true(limit_window_init(&window, STORE_BURST, 0, STORE_PERIOD_MS, &error));
    assert_true(limit_policy_add(&f->policy, &window, &error));
    f->query = (struct limit_query){.key = SLICE("user:1"), .policy = &f->policy, .cost = 1};
    f->acts[0] = STORE_DECIDE;
    f->act_count = 1;
}

void store_start(struct store_fixture *f)
{
    assert_true(limit_shared_is_known(f->shared));
    f->limiter = limiter_create(f->loop, &f->options, f->client, f->shared, NULL, 0);
    assert_false(limit_shared_is_known(f->shared));
    assert_false(store_has_redis(f));
}

void store_start_up(struct store_fixture *f, void **state)
{
    store_setup(f, state);
    store_start(f);
    STORE_UNTIL(f, store_has_redis(f));
    assert_true(limit_shared_is_known(f->shared));
}

void store_teardown(struct store_fixture *f)
{
    limiter_destroy(&f->limiter);
    redis_client_destroy(&f->client);
    redis_shared_destroy(&f->redis_shared);
    fake_redis_destroy(&f->fake);
    limit_shared_destroy(&f->shared);
    resolver_destroy(&f->resolver);
}

void store_set_acts(struct store_fixture *f, size_t count, const enum store_act *acts)
{
    memcpy(f->acts, acts, count * sizeof(*acts));
    f->act_count = count;
    f->act_next = 0;
}

void store_on_done(void *arg, const struct limit_decision *decision)
{
    struct store_answer *answer = arg;

    assert_false(answer->is_done);
    answer->is_done = true;
    answer->decision = *decision;
    answer->call = NULL;
}

void store_ask(struct store_fixture *f, struct store_answer *answer)
{
    memset(answer, 0, sizeof(*answer));
    if (limiter_check(f->limiter, &f->query, &answer->decision, store_on_done, answer,
                      &answer->call) == PROGRESS_DONE)
        answer->is_done = true;
}

int64_t store_expect(struct store_fixture *f, enum limit_outcome outcome, enum limit_mode mode)
{
    int64_t began_ms = clock_monotonic_ms();
    struct store_answer answer;

    store_ask(f, &answer);
    STORE_UNTIL(f, answer.is_done);
    if (answer.decision.outcome != outcome || answer.decision.mode != mode)
        fail_msg("outcome %d, mode %s", answer.decision.outcome,
                 limit_mode_names[answer.decision.mode].data);
    return clock_monotonic_ms() - began_ms;
}

void store_expect_at_once(struct store_fixture *f, enum limit_outcome outcome, enum limit_mode mode)
{
    struct stopwatch watch;

    stopwatch_start(&watch);
    (void)store_expect(f, outcome, mode);
    assert_in_range(stopwatch_own_ms(&watch), 0, STORE_QUICK_MS);
}

void store_lose_redis(struct store_fixture *f)
{
    f->fails_probes = true;
    STORE_ACTS(f, STORE_OOM);
    while (store_has_redis(f))
        (void)store_expect(f, LIMIT_ALLOWED, LIMIT_MODE_FALLBACK);
}

void store_find_redis(struct store_fixture *f)
{
    f->fails_probes = false;
    STORE_ACTS(f, STORE_DECIDE);
    STORE_UNTIL(f, store_has_redis(f));
}
