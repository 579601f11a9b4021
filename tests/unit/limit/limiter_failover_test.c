/* SPDX-License-Identifier: MIT */
/*
 * The limiter over a scripted store: each way in which a decision can go, and
 * what the store's books say in the end. The store here has one window of ten
 * tokens that do not refill while a test runs, and is told what to do with
 * each command.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

#include "kamiyo/base/attributes.h"
#include "kamiyo/base/clock.h"
#include "kamiyo/limit/bucket_table.h"
#include "kamiyo/limit/limit_policy.h"
#include "kamiyo/limit/limiter.h"
#include "kamiyo/limit/limiter_shared.h"
#include "kamiyo/net/resolver.h"
#include "kamiyo/redis/redis_client.h"
#include "kamiyo/redis/redis_options.h"

#include "fake_redis.h"
#include "loop_fixture.h"

#define BURST       10
#define PERIOD_MS   INT64_C(31622400000)
#define TIMEOUT_MS  40
#define QUICK_MS    20 /* much less than the timeout */
#define PATIENCE_MS 3000

/* What the store does with the next script calls, one after another; the last one stays. */
enum act {
    ACT_DECIDE,
    ACT_SILENT,          /* nothing is charged, nothing is said */
    ACT_CHARGE_SILENTLY, /* charged, and not said */
    ACT_HOLD,            /* the command is kept, to be decided by release() */
    ACT_LATE,
    ACT_ODD,
    ACT_NO_SCRIPT,
    ACT_CUT, /* the connection ends instead */
    ACT_OOM,
    ACT_READ_ONLY,
    ACT_SHAPE, /* a reply of a wrong shape */
};

struct fixture {
    struct loop *loop;
    struct resolver *resolver;
    struct fake_redis *fake;
    struct redis_options redis_options;
    char url[64];
    struct redis_shared *redis_shared;
    struct redis_client *client;
    struct limiter_options options;
    struct limit_shared *shared;
    struct limiter *limiter;
    struct limit_policy policy;
    struct limit_query query;
    enum act acts[16];
    size_t act_count;
    size_t act_next;
    bool fails_probes;
    bool fails_script_probes;
    unsigned script_probes;
    double spent; /* in the store's books */
    unsigned evals;
    unsigned evalshas;
    struct fake_redis_connection *held;
    double held_cost;
    double last_deadline;
};

struct answer {
    bool is_done;
    struct limit_decision decision;
    struct limiter_call *call;
};

static enum act next_act(struct fixture *f)
{
    return f->acts[f->act_next + 1 < f->act_count ? f->act_next++ : f->act_next];
}

static void say_decision(struct fixture *f,
                         struct fake_redis_connection *connection,
                         double action,
                         double cost)
{
    const struct limit_window *window = &f->policy.windows[0];
    bool allowed = action == 1 || f->spent + cost <= BURST;
    char reply[128];

    if (allowed && action != 2)
        f->spent += cost;
    (void)snprintf(reply, sizeof(reply), "*3\r\n:%d\r\n:%lld\r\n:%lld\r\n", allowed,
                   (long long)clock_wall_ms(),
                   (long long)((BURST - f->spent) * (double)window->units_per_token));
    fake_redis_reply(connection, reply);
}

static void run_script(struct fixture *f,
                       struct fake_redis_connection *connection,
                       const struct fake_redis_command *command)
{
    double numbers[3]; /* deadline, action, tokens; behind the keys, of which there is one */
    char reply[64];

    memcpy(numbers, command->arguments[4], sizeof(numbers));
    f->last_deadline = numbers[0];
    switch (next_act(f)) {
    case ACT_DECIDE:
        say_decision(f, connection, numbers[1], numbers[2]);
        break;
    case ACT_SILENT:
        break;
    case ACT_CHARGE_SILENTLY:
        f->spent += numbers[2];
        break;
    case ACT_HOLD:
        f->held = connection;
        f->held_cost = numbers[2];
        break;
    case ACT_LATE:
        (void)snprintf(reply, sizeof(reply), "*2\r\n:2\r\n:%lld\r\n", (long long)clock_wall_ms());
        fake_redis_reply(connection, reply);
        break;
    case ACT_ODD:
        (void)snprintf(reply, sizeof(reply), "*3\r\n:3\r\n:%lld\r\n:1\r\n",
                       (long long)clock_wall_ms());
        fake_redis_reply(connection, reply);
        break;
    case ACT_NO_SCRIPT:
        fake_redis_reply(connection, "-NOSCRIPT No matching script.\r\n");
        break;
    case ACT_CUT:
        fake_redis_cut(connection);
        break;
    case ACT_OOM:
        fake_redis_reply(connection, "-OOM command not allowed\r\n");
        break;
    case ACT_READ_ONLY:
        fake_redis_reply(connection, "-READONLY You can't write\r\n");
        break;
    case ACT_SHAPE:
        fake_redis_reply(connection, "*1\r\n$2\r\nhm\r\n");
        break;
    }
}

static void script(void *arg,
                   struct fake_redis_connection *connection,
                   const struct fake_redis_command *command)
{
    struct fixture *f = arg;
    const char *name = command->arguments[0];

    if (fake_redis_greet(connection, command))
        return;
    if (command->count > 4 && strstr(command->arguments[3], ":probe:") != NULL) {
        f->script_probes++;
        fake_redis_reply(connection, f->fails_script_probes
                                         ? "-NOPERM no permission\r\n"
                                         : "*3\r\n:1\r\n:1700000000000\r\n:9990\r\n");
    } else if (strcmp(name, "EVALSHA") == 0 || strcmp(name, "EVAL") == 0) {
        f->evals += strcmp(name, "EVAL") == 0;
        f->evalshas += strcmp(name, "EVALSHA") == 0;
        run_script(f, connection, command);
    } else if (strcmp(name, "SET") == 0) {
        fake_redis_reply(connection, f->fails_probes ? "-OOM command not allowed\r\n" : "+OK\r\n");
    } else {
        fake_redis_reply(connection, ":1\r\n");
    }
}

/* The command that was held is executed now, and answered. */
static void release(struct fixture *f)
{
    assert_non_null(f->held);
    say_decision(f, f->held, 0, f->held_cost);
    f->held = NULL;
}

static bool has_redis(const struct fixture *f)
{
    return limit_shared_has_redis(f->shared);
}

/* Run the loop until the condition holds. */
#define UNTIL(f, condition)                                                \
    do {                                                                   \
        int64_t end_ms = clock_monotonic_ms() + PATIENCE_MS;               \
        while (!(condition)) {                                             \
            if (clock_monotonic_ms() > end_ms)                             \
                fail_msg("not within %d ms: %s", PATIENCE_MS, #condition); \
            loop_run_for((f)->loop, 1);                                    \
        }                                                                  \
    } while (0)

static void setup(struct fixture *f, void **state)
{
    struct limit_window window;
    struct error error;

    memset(f, 0, sizeof(*f));
    f->loop = *state;
    f->resolver = resolver_create();
    f->fake = fake_redis_create(f->loop, script, f);
    (void)snprintf(f->url, sizeof(f->url), "redis://127.0.0.1:%u", fake_redis_port(f->fake));
    f->redis_options = (struct redis_options){
        .url = f->url, .connect_timeout_ms = 500, .backoff_min_ms = 10, .backoff_max_ms = 50};
    f->redis_shared = redis_shared_create(&f->redis_options, f->resolver, &error);
    f->client = redis_client_create(f->loop, f->redis_shared, "test");
    f->options = (struct limiter_options){.memory_bytes = 1 << 20,
                                          .timeout_ms = TIMEOUT_MS,
                                          .breaker_failures = 3,
                                          .fallback_share = 1};
    f->shared = limit_shared_create(f->options.memory_bytes, 1);
    assert_true(limit_window_init(&window, BURST, 0, PERIOD_MS, &error));
    assert_true(limit_policy_add(&f->policy, &window, &error));
    f->query = (struct limit_query){.key = SLICE("user:1"), .policy = &f->policy, .cost = 1};
    f->acts[0] = ACT_DECIDE;
    f->act_count = 1;
}

static void start(struct fixture *f)
{
    assert_true(limit_shared_is_known(f->shared));
    f->limiter = limiter_create(f->loop, &f->options, f->client, f->shared, NULL, 0);
    assert_false(limit_shared_is_known(f->shared));
    assert_false(has_redis(f));
}

static void start_up(struct fixture *f, void **state)
{
    setup(f, state);
    start(f);
    UNTIL(f, has_redis(f));
    assert_true(limit_shared_is_known(f->shared));
}

static void teardown(struct fixture *f)
{
    limiter_destroy(&f->limiter);
    redis_client_destroy(&f->client);
    redis_shared_destroy(&f->redis_shared);
    fake_redis_destroy(&f->fake);
    limit_shared_destroy(&f->shared);
    resolver_destroy(&f->resolver);
}

static void set_acts(struct fixture *f, size_t count, const enum act *acts)
{
    memcpy(f->acts, acts, count * sizeof(*acts));
    f->act_count = count;
    f->act_next = 0;
}
#define ACTS(f, ...)                                                  \
    set_acts(f, sizeof((enum act[]){__VA_ARGS__}) / sizeof(enum act), \
             (const enum act[]){__VA_ARGS__})

static void on_done(void *arg, const struct limit_decision *decision)
{
    struct answer *answer = arg;

    assert_false(answer->is_done);
    answer->is_done = true;
    answer->decision = *decision;
    answer->call = NULL;
}

static void ask(struct fixture *f, struct answer *answer)
{
    memset(answer, 0, sizeof(*answer));
    if (limiter_check(f->limiter, &f->query, &answer->decision, on_done, answer, &answer->call) ==
        PROGRESS_DONE)
        answer->is_done = true;
}

/* Ask and wait; the milliseconds that it took. */
static int64_t expect(struct fixture *f, enum limit_outcome outcome, enum limit_mode mode)
{
    int64_t began_ms = clock_monotonic_ms();
    struct answer answer;

    ask(f, &answer);
    UNTIL(f, answer.is_done);
    if (answer.decision.outcome != outcome || answer.decision.mode != mode)
        fail_msg("outcome %d, mode %s", answer.decision.outcome,
                 limit_mode_names[answer.decision.mode]);
    return clock_monotonic_ms() - began_ms;
}

static void lose_redis(struct fixture *f)
{
    f->fails_probes = true;
    ACTS(f, ACT_OOM);
    while (has_redis(f))
        (void)expect(f, LIMIT_ALLOWED, LIMIT_MODE_FALLBACK);
}

static void find_redis(struct fixture *f)
{
    f->fails_probes = false;
    ACTS(f, ACT_DECIDE);
    UNTIL(f, has_redis(f));
}

static void test_decisions(void **state)
{
    struct fixture f;
    struct answer answer;

    start_up(&f, state);
    for (int i = 1; i <= BURST; i++) {
        ask(&f, &answer);
        assert_false(answer.is_done);
        UNTIL(&f, answer.is_done);
        assert_int_equal(answer.decision.outcome, LIMIT_ALLOWED);
        assert_int_equal(answer.decision.mode, LIMIT_MODE_REDIS);
        assert_int_equal(answer.decision.levels[0].remaining, BURST - i);
    }
    (void)expect(&f, LIMIT_DENIED, LIMIT_MODE_REDIS);
    for (int i = 0; i < 100; i++)
        (void)expect(&f, LIMIT_DENIED, LIMIT_MODE_CACHED);
    assert_int_equal(f.evalshas, BURST + 1);
    assert_true(f.last_deadline >= (double)clock_wall_ms() - PATIENCE_MS &&
                f.last_deadline <= (double)(clock_wall_ms() + TIMEOUT_MS + 1));
    /* After a second it is asked again. */
    loop_run_for(f.loop, 1010);
    (void)expect(&f, LIMIT_DENIED, LIMIT_MODE_REDIS);
    teardown(&f);
}

static void test_script_is_sent_whole_when_unknown(void **state)
{
    struct fixture f;

    start_up(&f, state);
    ACTS(&f, ACT_NO_SCRIPT, ACT_DECIDE);
    (void)expect(&f, LIMIT_ALLOWED, LIMIT_MODE_REDIS);
    assert_int_equal(f.evals, 1);
    /* A store that never knows it is no store. */
    ACTS(&f, ACT_NO_SCRIPT);
    (void)expect(&f, LIMIT_ALLOWED, LIMIT_MODE_FALLBACK);
    assert_int_equal(f.evals, 2);
    teardown(&f);
}

static void test_lost_connection_is_tried_once_more(void **state)
{
    struct fixture f;

    start_up(&f, state);
    (void)expect(&f, LIMIT_ALLOWED, LIMIT_MODE_REDIS);
    ACTS(&f, ACT_CUT, ACT_DECIDE);
    (void)expect(&f, LIMIT_ALLOWED, LIMIT_MODE_REDIS);
    assert_true(has_redis(&f));
    assert_int_equal(fake_redis_accepted(f.fake), 2);
    /* Twice is enough. */
    ACTS(&f, ACT_CUT, ACT_CUT, ACT_DECIDE);
    (void)expect(&f, LIMIT_ALLOWED, LIMIT_MODE_FALLBACK);
    /* What may have been charged is charged once more, and never not at all: 2 and the one. */
    find_redis(&f);
    UNTIL(&f, f.spent == 3);
    teardown(&f);
}

/* The table decides at the deadline; what Redis says later settles the account. */
static void test_late_reply(void **state)
{
    struct fixture f;
    int64_t took_ms;

    start_up(&f, state);
    (void)expect(&f, LIMIT_ALLOWED, LIMIT_MODE_REDIS);
    ACTS(&f, ACT_HOLD, ACT_DECIDE);
    took_ms = expect(&f, LIMIT_ALLOWED, LIMIT_MODE_FALLBACK);
    assert_in_range(took_ms, TIMEOUT_MS, TIMEOUT_MS + 100);
    assert_int_equal((int)f.spent, 1);
    release(&f); /* it is charged after all */
    loop_run_for(f.loop, 300);
    assert_int_equal((int)f.spent, 2);
    assert_int_equal(f.evalshas, 2);
    teardown(&f);
}

static void test_late_reply_that_charged_nothing(void **state)
{
    struct fixture f;
    char late[64];

    start_up(&f, state);
    ACTS(&f, ACT_HOLD, ACT_DECIDE);
    (void)expect(&f, LIMIT_ALLOWED, LIMIT_MODE_FALLBACK);
    (void)snprintf(late, sizeof(late), "*2\r\n:2\r\n:%lld\r\n", (long long)clock_wall_ms());
    fake_redis_reply(f.held, late);
    UNTIL(&f, f.spent == 1); /* from the ledger, once */
    loop_run_for(f.loop, 300);
    assert_int_equal((int)f.spent, 1);
    teardown(&f);
}

static void test_late_without_a_timeout_is_no_failure(void **state)
{
    struct fixture f;

    start_up(&f, state);
    ACTS(&f, ACT_LATE, ACT_LATE, ACT_LATE, ACT_LATE, ACT_LATE, ACT_LATE, ACT_DECIDE);
    for (int i = 0; i < 5; i++)
        assert_in_range(expect(&f, LIMIT_ALLOWED, LIMIT_MODE_FALLBACK), 0, QUICK_MS);
    assert_true(has_redis(&f));
    UNTIL(&f, f.spent == 5);
    teardown(&f);
}

/* The table had refused, Redis charged: the tokens come back. */
static void test_charge_of_a_refused_request_is_given_back(void **state)
{
    struct fixture f;

    start_up(&f, state);
    for (int i = 0; i < BURST; i++)
        (void)expect(&f, LIMIT_ALLOWED, LIMIT_MODE_REDIS);
    f.spent = 5; /* somebody gave tokens back; the table does not know */
    ACTS(&f, ACT_HOLD, ACT_DECIDE);
    (void)expect(&f, LIMIT_DENIED, LIMIT_MODE_FALLBACK);
    release(&f);
    assert_int_equal((int)f.spent, 6);
    UNTIL(&f, f.spent == 5);
    teardown(&f);
}

static void test_breaker(void **state)
{
    struct fixture f;
    struct limit_status status;

    start_up(&f, state);
    (void)expect(&f, LIMIT_ALLOWED, LIMIT_MODE_REDIS);
    ACTS(&f, ACT_SILENT);
    f.fails_probes = true;
    for (int i = 0; i < 3; i++)
        assert_in_range(expect(&f, LIMIT_ALLOWED, LIMIT_MODE_FALLBACK), TIMEOUT_MS,
                        TIMEOUT_MS + 100);
    assert_false(has_redis(&f));
    limit_shared_status(f.shared, &status);
    assert_string_equal(status.reason, "socket_timeout");
    for (int i = 0; i < 3; i++)
        assert_in_range(expect(&f, LIMIT_ALLOWED, LIMIT_MODE_FALLBACK), 0, QUICK_MS);
    assert_int_equal(f.evalshas, 4);
    find_redis(&f);
    /* Three came after the breaker opened, three timed out unheard and end with their connection.
     */
    UNTIL(&f, f.spent >= 4);
    (void)expect(&f, LIMIT_ALLOWED, LIMIT_MODE_REDIS);
    teardown(&f);
}

/* On a full store a denial succeeds: it neither keeps the breaker closed nor closes it. */
static void test_denials_prove_nothing(void **state)
{
    struct fixture f;

    start_up(&f, state);
    f.fails_probes = true;
    f.query.key = SLICE("user:2");
    ACTS(&f, ACT_OOM, ACT_ODD, ACT_OOM, ACT_ODD, ACT_OOM);
    for (int i = 0; i < 5; i++)
        (void)expect(&f, LIMIT_ALLOWED, LIMIT_MODE_FALLBACK);
    assert_false(has_redis(&f));
    loop_run_for(f.loop, 500);
    assert_false(has_redis(&f));
    teardown(&f);
}

static void test_read_only_drops_the_connection(void **state)
{
    struct fixture f;

    start_up(&f, state);
    ACTS(&f, ACT_READ_ONLY, ACT_DECIDE);
    assert_in_range(expect(&f, LIMIT_ALLOWED, LIMIT_MODE_FALLBACK), 0, QUICK_MS);
    UNTIL(&f, fake_redis_accepted(f.fake) == 2);
    UNTIL(&f, has_redis(&f));
    UNTIL(&f, f.spent == 1);
    teardown(&f);
}

static void test_wrong_shape_drops_the_connection(void **state)
{
    struct fixture f;

    start_up(&f, state);
    ACTS(&f, ACT_SHAPE, ACT_DECIDE);
    assert_in_range(expect(&f, LIMIT_ALLOWED, LIMIT_MODE_FALLBACK), 0, QUICK_MS);
    UNTIL(&f, fake_redis_accepted(f.fake) == 2 && has_redis(&f));
    teardown(&f);
}

/* A store that takes writes but not the script stays down, with one line in the log. */
static void test_probe_runs_the_script_after_its_errors(void **state)
{
    struct fixture f;

    start_up(&f, state);
    assert_int_equal(f.script_probes, 0);
    f.fails_script_probes = true;
    ACTS(&f, ACT_OOM);
    while (has_redis(&f))
        (void)expect(&f, LIMIT_ALLOWED, LIMIT_MODE_FALLBACK);
    loop_run_for(f.loop, 700);
    assert_false(has_redis(&f));
    assert_in_range(f.script_probes, 2, 4);
    f.fails_script_probes = false;
    find_redis(&f);
    UNTIL(&f, f.spent == 3);
    teardown(&f);
}

/* A key that is not ours is decided here, and owes nothing. */
static void test_odd_key(void **state)
{
    struct fixture f;

    start_up(&f, state);
    ACTS(&f, ACT_ODD);
    for (int i = 0; i < BURST; i++)
        (void)expect(&f, LIMIT_ALLOWED, LIMIT_MODE_FALLBACK);
    (void)expect(&f, LIMIT_DENIED, LIMIT_MODE_FALLBACK);
    assert_true(has_redis(&f));
    ACTS(&f, ACT_DECIDE);
    loop_run_for(f.loop, 300);
    assert_int_equal((int)f.spent, 0);
    teardown(&f);
}

static void test_outage_is_no_gift(void **state)
{
    struct fixture f;

    start_up(&f, state);
    for (int i = 0; i < 4; i++)
        (void)expect(&f, LIMIT_ALLOWED, LIMIT_MODE_REDIS);
    lose_redis(&f); /* three more */
    for (int i = 0; i < 3; i++)
        (void)expect(&f, LIMIT_ALLOWED, LIMIT_MODE_FALLBACK);
    (void)expect(&f, LIMIT_DENIED, LIMIT_MODE_FALLBACK);
    assert_int_equal((int)f.spent, 4);
    find_redis(&f);
    UNTIL(&f, f.spent == BURST);
    loop_run_for(f.loop, 300);
    assert_int_equal((int)f.spent, BURST);
    (void)expect(&f, LIMIT_DENIED, LIMIT_MODE_REDIS);
    teardown(&f);
}

/* A charge whose reply is lost is not repeated. */
static void test_write_back_at_most_once(void **state)
{
    struct fixture f;

    start_up(&f, state);
    lose_redis(&f);
    f.fails_probes = false;
    ACTS(&f, ACT_CHARGE_SILENTLY, ACT_DECIDE);
    UNTIL(&f, f.spent == 3);
    fake_redis_cut_all(f.fake);
    loop_run_for(f.loop, 500);
    assert_int_equal((int)f.spent, 3);
    teardown(&f);
}

/* A charge that was certainly refused is repeated. */
static void test_write_back_until_it_is_done(void **state)
{
    struct fixture f;

    start_up(&f, state);
    lose_redis(&f);
    f.fails_probes = false;
    ACTS(&f, ACT_LATE, ACT_NO_SCRIPT, ACT_OOM, ACT_DECIDE);
    UNTIL(&f, f.spent == 3);
    loop_run_for(f.loop, 300);
    assert_int_equal((int)f.spent, 3);
    teardown(&f);
}

static void test_charge_and_refund(void **state)
{
    struct fixture f;

    start_up(&f, state);
    f.query.cost = 12;
    limiter_charge(f.limiter, &f.query); /* below zero */
    UNTIL(&f, f.spent == 12);
    f.query.cost = 1;
    (void)expect(&f, LIMIT_DENIED, LIMIT_MODE_REDIS);
    f.query.cost = 8;
    limiter_refund(f.limiter, &f.query);
    UNTIL(&f, f.spent == 4);
    f.query.cost = 1;
    (void)expect(&f, LIMIT_ALLOWED, LIMIT_MODE_REDIS);
    /* During an outage both are owed. */
    lose_redis(&f);
    limiter_refund(f.limiter, &f.query);
    limiter_refund(f.limiter, &f.query);
    find_redis(&f);
    UNTIL(&f, f.spent == 5 + 3 - 2);
    teardown(&f);
}

static void test_on_failure(void **state)
{
    struct fixture f;

    start_up(&f, state);
    lose_redis(&f);
    f.query.on_failure = LIMIT_ON_FAILURE_ALLOW;
    (void)expect(&f, LIMIT_UNLIMITED, LIMIT_MODE_FALLBACK);
    f.query.on_failure = LIMIT_ON_FAILURE_DENY;
    (void)expect(&f, LIMIT_STORE_FAILED, LIMIT_MODE_FALLBACK);
    teardown(&f);
}

static void test_share(void **state)
{
    struct fixture f;

    setup(&f, state);
    f.options.fallback_share = 4;
    start(&f);
    UNTIL(&f, has_redis(&f));
    lose_redis(&f); /* three: of a share of ceil(10 / 4) */
    (void)expect(&f, LIMIT_DENIED, LIMIT_MODE_FALLBACK);
    find_redis(&f);
    UNTIL(&f, f.spent == 3);
    (void)expect(&f, LIMIT_ALLOWED, LIMIT_MODE_REDIS); /* the whole limit again */
    teardown(&f);
}

static void test_cancel(void **state)
{
    struct fixture f;
    struct answer answer;

    start_up(&f, state);
    ask(&f, &answer); /* sent */
    limiter_cancel(&answer.call);
    limiter_cancel(&answer.call);
    UNTIL(&f, f.spent == 1);
    ACTS(&f, ACT_HOLD, ACT_DECIDE);
    ask(&f, &answer); /* sent, and the reply comes after the deadline */
    limiter_cancel(&answer.call);
    loop_run_for(f.loop, TIMEOUT_MS * 2);
    release(&f);
    loop_run_for(f.loop, 10);
    ACTS(&f, ACT_CUT, ACT_SILENT);
    ask(&f, &answer); /* lost */
    loop_run_for(f.loop, 1);
    limiter_cancel(&answer.call);
    loop_run_for(f.loop, TIMEOUT_MS * 2);
    assert_false(answer.is_done);
    ask(&f, &answer);
    teardown(&f); /* with one under way */
    assert_false(answer.is_done);
}

static void test_absent_at_the_start(void **state)
{
    struct fixture f;
    struct limit_status status;

    setup(&f, state);
    fake_redis_destroy(&f.fake);
    start(&f);
    (void)expect(&f, LIMIT_ALLOWED, LIMIT_MODE_FALLBACK);
    UNTIL(&f, limit_shared_is_known(f.shared));
    assert_false(has_redis(&f));
    limit_shared_status(f.shared, &status);
    assert_true(status.is_configured);
    assert_string_equal(status.reason, "connection refused");
    teardown(&f);
}

static void test_refused(void **state)
{
    struct fixture f;
    struct limit_status status;

    setup(&f, state);
    limit_shared_refuse(f.shared, "no host is named");
    assert_true(limit_shared_is_known(f.shared));
    assert_false(has_redis(&f));
    limit_shared_status(f.shared, &status);
    assert_string_equal(status.reason, "invalid REDIS_URL: no host is named");
    teardown(&f);
}

static void on_reset(void *arg, int64_t deleted)
{
    *(int64_t *)arg = deleted;
}

static void test_reset(void **state)
{
    static const struct slice windows[] = {{"minute", 6}, {"hour", 4}};
    static const struct slice routes[] = {{"upload", 6}};
    struct fixture f;
    int64_t deleted = -2;

    start_up(&f, state);
    limiter_reset(f.limiter, SLICE("user:1"), routes, 1, windows, 2, on_reset, &deleted);
    assert_int_equal(deleted, -2);
    UNTIL(&f, deleted != -2);
    assert_int_equal(deleted, 2); /* the fake says 1 to each DEL */
    fake_redis_destroy(&f.fake);
    UNTIL(&f, !has_redis(&f));
    deleted = -2;
    limiter_reset(f.limiter, SLICE("user:1"), routes, 1, windows, 2, on_reset, &deleted);
    assert_int_equal(deleted, -2);
    UNTIL(&f, deleted != -2);
    assert_int_equal(deleted, -1);
    teardown(&f);
}

static void test_peek(void **state)
{
    struct fixture f;
    struct answer answer = {.is_done = false};

    start_up(&f, state);
    (void)expect(&f, LIMIT_ALLOWED, LIMIT_MODE_REDIS);
    assert_int_equal(
        limiter_peek(f.limiter, &f.query, &answer.decision, on_done, &answer, &answer.call),
        PROGRESS_PENDING);
    UNTIL(&f, answer.is_done);
    assert_int_equal(answer.decision.levels[0].remaining, BURST - 1);
    assert_int_equal((int)f.spent, 1);
    lose_redis(&f);
    assert_int_equal(
        limiter_peek(f.limiter, &f.query, &answer.decision, on_done, &answer, &answer.call),
        PROGRESS_DONE);
    assert_int_equal(answer.decision.levels[0].remaining, BURST - 4);
    teardown(&f);
}

int main(void)
{
#define LOOP_TEST(f) cmocka_unit_test_setup_teardown(f, loop_fixture_setup, loop_fixture_teardown)
    const struct CMUnitTest tests[] = {
        LOOP_TEST(test_decisions),
        LOOP_TEST(test_script_is_sent_whole_when_unknown),
        LOOP_TEST(test_lost_connection_is_tried_once_more),
        LOOP_TEST(test_late_reply),
        LOOP_TEST(test_late_reply_that_charged_nothing),
        LOOP_TEST(test_late_without_a_timeout_is_no_failure),
        LOOP_TEST(test_charge_of_a_refused_request_is_given_back),
        LOOP_TEST(test_breaker),
        LOOP_TEST(test_denials_prove_nothing),
        LOOP_TEST(test_read_only_drops_the_connection),
        LOOP_TEST(test_wrong_shape_drops_the_connection),
        LOOP_TEST(test_probe_runs_the_script_after_its_errors),
        LOOP_TEST(test_odd_key),
        LOOP_TEST(test_outage_is_no_gift),
        LOOP_TEST(test_write_back_at_most_once),
        LOOP_TEST(test_write_back_until_it_is_done),
        LOOP_TEST(test_charge_and_refund),
        LOOP_TEST(test_on_failure),
        LOOP_TEST(test_share),
        LOOP_TEST(test_cancel),
        LOOP_TEST(test_absent_at_the_start),
        LOOP_TEST(test_refused),
        LOOP_TEST(test_reset),
        LOOP_TEST(test_peek),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
