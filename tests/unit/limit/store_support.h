/* SPDX-License-Identifier: MIT */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "kamiyo/base/clock.h"
#include "kamiyo/limit/limit_policy.h"
#include "kamiyo/limit/limiter.h"
#include "kamiyo/limit/limiter_shared.h"
#include "kamiyo/redis/redis_options.h"

#include "support/fake_redis.h"
#include "support/loop_fixture.h"

/*
 * A limiter over a scripted store. The store has one window of ten tokens that
 * do not refill while a test runs, keeps books of what was spent, and is told
 * what to do with each script call.
 */
#define STORE_BURST       10
#define STORE_PERIOD_MS   INT64_C(31622400000)
#define STORE_TIMEOUT_MS  400
#define STORE_QUICK_MS    150  /* less than the timeout, the machine's share taken off */
#define STORE_TARDY_MS    2400 /* the timeout, and what a busy machine may add */
#define STORE_PATIENCE_MS 15000

/* What the store does with the next script calls, one after another; the last one stays. */
enum store_act {
    STORE_DECIDE,
    STORE_SILENT,          /* nothing is charged, nothing is said */
    STORE_CHARGE_SILENTLY, /* charged, and not said */
    STORE_HOLD,            /* the command is kept, to be decided by store_release(), or before a
                              probe is answered */
    STORE_LATE,
    STORE_ODD,
    STORE_NO_SCRIPT,
    STORE_CUT, /* the connection ends instead */
    STORE_OOM,
    STORE_READ_ONLY,
    STORE_SHAPE, /* a reply of a wrong shape */
    STORE_AHEAD, /* empty, and as far ahead of its clock as can be */
};

struct store_fixture {
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
    enum store_act acts[16];
    size_t act_count;
    size_t act_next;
    bool fails_probes;
    bool is_stopped; /* commands arrive, nothing is done or said */
    bool fails_script_probes;
    bool ignores_probes; /* they get no answer */
    unsigned script_probes;
    unsigned heartbeats;
    unsigned farewells;
    double spent; /* in the store's books */
    unsigned evals;
    unsigned evalshas;
    struct fake_redis_connection *silent;
    struct fake_redis_connection *held;
    unsigned held_count;
    double held_cost;
    double last_deadline;
};

struct store_answer {
    bool is_done;
    struct limit_decision decision;
    struct limiter_call *call;
};

/* The commands that were held are executed now, and answered. */
void store_release(struct store_fixture *f);
bool store_has_redis(const struct store_fixture *f);
/* Everything but the limiter, so that a test may change the options first. */
void store_setup(struct store_fixture *f, void **state);
/* The limiter, which knows nothing of Redis yet. */
void store_start(struct store_fixture *f);
/* Both, and Redis has answered. */
void store_start_up(struct store_fixture *f, void **state);
void store_teardown(struct store_fixture *f);
/* What the store does with the next script calls; the last one stays. */
void store_set_acts(struct store_fixture *f, size_t count, const enum store_act *acts);
/* For limiter_check and limiter_peek; `arg` is a struct store_answer. */
void store_on_done(void *arg, const struct limit_decision *decision);
void store_ask(struct store_fixture *f, struct store_answer *answer);
/* Ask and wait; the milliseconds that it took. */
int64_t store_expect(struct store_fixture *f, enum limit_outcome outcome, enum limit_mode mode);
/* Ask and wait, which takes no time but the machine's. */
void store_expect_at_once(struct store_fixture *f,
                          enum limit_outcome outcome,
                          enum limit_mode mode);
/* Three requests go by, then the breaker is open and probes fail. */
void store_lose_redis(struct store_fixture *f);
/* Probes succeed again; returns once Redis decides. */
void store_find_redis(struct store_fixture *f);

#define STORE_ACTS(f, ...)                                                              \
    store_set_acts(f, sizeof((enum store_act[]){__VA_ARGS__}) / sizeof(enum store_act), \
                   (const enum store_act[]){__VA_ARGS__})

/* Run the loop until the condition holds. */
#define STORE_UNTIL(f, condition)                                                \
    do {                                                                         \
        int64_t end_ms = clock_monotonic_ms() + STORE_PATIENCE_MS;               \
        while (!(condition)) {                                                   \
            if (clock_monotonic_ms() > end_ms)                                   \
                fail_msg("not within %d ms: %s", STORE_PATIENCE_MS, #condition); \
            loop_run_for((f)->loop, 1);                                          \
        }                                                                        \
    } while (0)
