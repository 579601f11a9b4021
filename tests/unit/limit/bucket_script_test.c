/* SPDX-License-Identifier: MIT */
/*
 * bucket.lua in a real Redis against bucket.c: the same random histories, every level compared to
 * the last unit. Redis's clock cannot be set, so time is made to pass by moving what is stored into
 * the past (or the future), and the C side is asked about the time that the reply names.
 *
 * Needs a redis-server (or $KAMIYO_TEST_REDIS, a Valkey for instance); fails without one.
 */
#include <inttypes.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

#include "kamiyo/limit/bucket_script.h"
#include "kamiyo/limit/limit_policy.h"

#include "random_support.h"
#include "script_support.h"

static struct random_source source;

static struct limit_policy random_policy(void)
{
    static const int64_t periods[] = {1000, 60000, 3600000, 86400000, 31622400000};
    struct limit_policy policy = {0};
    struct limit_window window;

    while (policy.window_count == 0 || (policy.window_count < 5 && random_below(&source, 4) != 0))
        if (limit_window_init(&window, random_scaled(&source, 1000000000000),
                              random_below(&source, 2) == 0 ? 0
                                                            : random_scaled(&source, 1000000000000),
                              periods[random_below(&source, COUNT_OF(periods))], NULL))
            (void)!limit_policy_add(&policy, &window, NULL);
    return policy;
}

/* One identity in one layout: what C believes Redis holds. */
struct twin {
    enum limit_layout layout;
    int number;
    struct limit_policy policy;
    bool is_known[LIMIT_MAX_WINDOWS];
    struct bucket buckets[LIMIT_MAX_WINDOWS];
};

static void key_text(const struct twin *twin, size_t window, char out[64])
{
    if (twin->layout == LIMIT_LAYOUT_IDENTITY)
        snprintf(out, 64, "ratelimit:{user:%d}", twin->number);
    else
        snprintf(out, 64, "ratelimit:user:%d:%s", twin->number, twin->policy.windows[window].name);
}

static void field_text(const struct twin *twin, size_t window, const char *field, char out[64])
{
    bool is_identity = twin->layout == LIMIT_LAYOUT_IDENTITY;

    snprintf(out, 64, "%s%s%s", is_identity ? twin->policy.windows[window].name : "",
             is_identity ? ":" : "", field);
}

static struct script_reply run_script(const struct twin *twin,
                                      enum bucket_script_action action,
                                      int64_t tokens,
                                      int64_t deadline_ms)
{
    size_t key_count = twin->layout == LIMIT_LAYOUT_IDENTITY ? 1 : twin->policy.window_count;
    struct script_argument arguments[4 + LIMIT_MAX_WINDOWS];
    char keys[LIMIT_MAX_WINDOWS][64];
    char packed[BUCKET_SCRIPT_ARGUMENT_BYTES];
    char count_text[4];
    size_t count = 0;

    snprintf(count_text, sizeof(count_text), "%zu", key_count);
    arguments[count++] = (struct script_argument){"EVALSHA", 7};
    arguments[count++] = (struct script_argument){script_sha(), 40};
    arguments[count++] = (struct script_argument){count_text, 1};
    for (size_t i = 0; i < key_count; i++) {
        key_text(twin, i, keys[i]);
        arguments[count++] = (struct script_argument){keys[i], strlen(keys[i])};
    }
    arguments[count].length =
        bucket_script_argument(&twin->policy, twin->layout, action, tokens, deadline_ms, packed);
    arguments[count++].data = packed;
    return script_command(arguments, count);
}

static void set_field(const struct twin *twin, size_t window, const char *name, const char *text)
{
    char key[64];
    char field[64];

    key_text(twin, window, key);
    field_text(twin, window, name, field);
    if (text == NULL)
        (void)script_text("HDEL %s %s", key, field);
    else
        (void)script_text("HSET %s %s %s", key, field, text);
}

/* Move what one window has stored by `ms` into the past. */
static void pass_time_of(struct twin *twin, size_t window, int64_t ms)
{
    struct bucket *bucket = &twin->buckets[window];
    char text[32];

    if (!twin->is_known[window])
        return;
    bucket->time_ms -= ms;
    snprintf(text, sizeof(text), "%" PRId64 ".%03" PRId64, bucket->time_ms / 1000,
             bucket->time_ms % 1000);
    set_field(twin, window, "last_refill", text);
}

static void pass_time(struct twin *twin, int64_t ms)
{
    for (size_t i = 0; i < twin->policy.window_count; i++)
        pass_time_of(twin, i, ms);
}

/* The same numbers as another program might write them, for a part of the windows. */
static void spell_otherwise(const struct twin *twin)
{
    for (size_t i = 0; i < twin->policy.window_count; i++) {
        const struct limit_window *window = &twin->policy.windows[i];
        char text[64];

        if (!twin->is_known[i])
            continue;
        switch (random_below(&source, 4)) {
        case 0:
            snprintf(text, sizeof(text), "%.16e",
                     (double)twin->buckets[i].level / (double)window->units_per_token);
            set_field(twin, i, "tokens", text);
            break;
        case 1:
            snprintf(text, sizeof(text), "%" PRId64 ".00", window->burst);
            set_field(twin, i, "capacity", text);
            break;
        case 2:
            set_field(twin, i, "capacity", NULL);
            break;
        default:
            break;
        }
    }
}

/* What an admission leaves behind is spelled as contract section 4 says, to the last digit. */
static void check_spelling(const struct twin *twin)
{
    for (size_t i = 0; i < twin->policy.window_count; i++) {
        const struct limit_window *window = &twin->policy.windows[i];
        const struct bucket *bucket = &twin->buckets[i];
        char key[64];
        char field[64];
        char text[64];

        if (!twin->is_known[i])
            continue;
        key_text(twin, i, key);
        field_text(twin, i, "tokens", field);
        snprintf(text, sizeof(text), "%.17g",
                 (double)bucket->level / (double)window->units_per_token);
        assert_string_equal(script_text("HGET %s %s", key, field).text, text);
        field_text(twin, i, "last_refill", field);
        snprintf(text, sizeof(text), "%" PRId64 ".%03" PRId64, bucket->time_ms / 1000,
                 bucket->time_ms % 1000);
        assert_string_equal(script_text("HGET %s %s", key, field).text, text);
        field_text(twin, i, "capacity", field);
        snprintf(text, sizeof(text), "%" PRId64, window->burst);
        assert_string_equal(script_text("HGET %s %s", key, field).text, text);
    }
}

/* Long enough for what is stored to fill up, and refreshed when it is about to run out. */
static void check_life(const struct twin *twin, int64_t now_ms)
{
    for (size_t i = 0; i < twin->policy.window_count; i++) {
        const struct limit_window *window = &twin->policy.windows[i];
        char key[64];
        struct script_reply reply;

        if (!twin->is_known[i])
            continue;
        key_text(twin, i, key);
        reply = script_text("PTTL %s", key);
        assert_int_equal(reply.count, 1);
        /* what passed since the script ran is not more than a busy machine's second */
        assert_true(reply.values[0] >
                    bucket_wait(&twin->buckets[i], window, window->burst, now_ms) - 1000);
        assert_true(
            reply.values[0] >
            (window->period_ms > window->refill_ms ? window->period_ms : window->refill_ms) - 1000);
    }
}

/* A denial takes nothing, but a time so far ahead that it counted as now then stands as now. */
static void check_brought_back(struct twin *twin, int64_t now_ms)
{
    for (size_t i = 0; i < twin->policy.window_count; i++) {
        struct bucket *bucket = &twin->buckets[i];
        char key[64];
        char field[64];
        char text[64];

        if (!twin->is_known[i] || bucket->time_ms - now_ms <= twin->policy.windows[i].period_ms)
            continue;
        bucket->time_ms = now_ms;
        key_text(twin, i, key);
        field_text(twin, i, "last_refill", field);
        snprintf(text, sizeof(text), "%" PRId64 ".%03" PRId64, now_ms / 1000, now_ms % 1000);
        assert_string_equal(script_text("HGET %s %s", key, field).text, text);
    }
}

/* One call on both sides. */
static void step(struct twin *twin, enum bucket_script_action action, int64_t tokens)
{
    struct script_reply reply = run_script(twin, action, tokens, BUCKET_SCRIPT_NO_DEADLINE);
    const struct limit_policy *policy = &twin->policy;
    struct bucket theirs[LIMIT_MAX_WINDOWS];
    struct bucket ours[LIMIT_MAX_WINDOWS];
    struct limit_decision decision;
    int64_t now_ms = 0;
    enum bucket_script_status status =
        bucket_script_read(policy, reply.values, reply.count, &now_ms, theirs);
    bool allowed;

    /* integers only */
    if ((status != BUCKET_SCRIPT_DONE && status != BUCKET_SCRIPT_DENIED) || *reply.text != 0)
        fail_msg("status %d of %zu values, \"%s\"", (int)status, reply.count, reply.text);
    for (size_t i = 0; i < policy->window_count; i++) {
        if (!twin->is_known[i])
            bucket_init(&twin->buckets[i], &policy->windows[i], now_ms);
        ours[i] = twin->buckets[i];
    }
    if (action == BUCKET_SCRIPT_ADD) {
        for (size_t i = 0; i < policy->window_count; i++) {
            bucket_refill(&ours[i], &policy->windows[i], now_ms);
            bucket_add(&ours[i], &policy->windows[i], tokens);
        }
        allowed = true;
    } else {
        struct bucket before[LIMIT_MAX_WINDOWS];

        for (size_t i = 0; i < policy->window_count; i++) {
            before[i] = ours[i];
            bucket_refill(&before[i], &policy->windows[i], now_ms);
        }
        allowed = bucket_decide(ours, policy, tokens, now_ms, &decision);
        if (action == BUCKET_SCRIPT_PEEK)
            memcpy(ours, before, sizeof(ours));
    }
    assert_int_equal(status, allowed ? BUCKET_SCRIPT_DONE : BUCKET_SCRIPT_DENIED);
    for (size_t i = 0; i < policy->window_count; i++) {
        assert_int_equal(theirs[i].level, ours[i].level);
        assert_int_equal(theirs[i].time_ms, ours[i].time_ms);
    }
    if (action == BUCKET_SCRIPT_PEEK)
        return;
    if (!allowed) {
        check_brought_back(twin, now_ms);
        return;
    }
    for (size_t i = 0; i < policy->window_count; i++) {
        /* giving back to what is not there writes nothing */
        if (ours[i].level < policy->windows[i].capacity_units || twin->is_known[i])
            twin->is_known[i] = true;
        twin->buckets[i] = ours[i];
    }
    check_life(twin, now_ms);
    if (random_below(&source, 4) == 0)
        check_spelling(twin);
}

static int64_t random_step(const struct limit_window *window)
{
    switch (random_below(&source, 8)) {
    case 0:
        return 0;
    case 1:
        return -random_amount(&source, random_amount(&source, 2) == 0
                                           ? window->period_ms / 1000 + 2
                                           : 2 * window->period_ms); /* ahead of Redis's clock */
    case 2:
        return random_amount(&source, window->refill_ms < 100000000000 ? window->refill_ms + 1
                                                                       : 100000000000);
    case 3:
        return random_scaled(&source, 100000000000);
    default:
        return random_amount(&source, 2 * window->units_per_token / window->units_per_ms + 2) %
               100000000000;
    }
}

static void run_histories(enum limit_layout layout, uint64_t seed)
{
    assert_true(script_is_running());
    source.state = seed;
    for (int history = 0; history < 150; history++) {
        struct twin twin = {.layout = layout, .number = history, .policy = random_policy()};
        int64_t most = limit_policy_max_cost(&twin.policy);

        for (int i = 0; i < 40; i++) {
            const struct limit_window *window =
                &twin.policy.windows[random_below(&source, twin.policy.window_count)];
            int64_t tokens = random_below(&source, 3) == 0 ? most : random_scaled(&source, most);

            if (random_below(&source, 4) != 0)
                pass_time(&twin, random_step(window));
            else
                for (size_t j = 0; j < twin.policy.window_count; j++)
                    pass_time_of(&twin, j, random_step(window));
            if (random_below(&source, 4) == 0)
                spell_otherwise(&twin);
            switch (random_below(&source, 10)) {
            case 0:
                step(&twin, BUCKET_SCRIPT_ADD, random_below(&source, 2) == 0 ? tokens : -tokens);
                break;
            case 1:
                step(&twin, BUCKET_SCRIPT_PEEK, tokens);
                break;
            default:
                step(&twin, BUCKET_SCRIPT_TAKE, tokens);
            }
        }
    }
    (void)script_text("FLUSHALL");
}

static void test_layout_window_decides_as_c_does(void **state)
{
    (void)state;
    run_histories(LIMIT_LAYOUT_WINDOW, 1);
}

static void test_layout_identity_decides_as_c_does(void **state)
{
    (void)state;
    run_histories(LIMIT_LAYOUT_IDENTITY, 2);
}

static struct twin minute_twin(enum limit_layout layout, int64_t limit)
{
    struct twin twin = {.layout = layout, .number = 123};
    struct limit_window window;

    assert_true(script_is_running());
    (void)script_text("FLUSHALL");
    assert_true(limit_window_init(&window, limit, 0, 60000, NULL));
    assert_true(limit_policy_add(&twin.policy, &window, NULL));
    assert_true(limit_window_init(&window, limit * 10, 0, 3600000, NULL));
    assert_true(limit_policy_add(&twin.policy, &window, NULL));
    return twin;
}

static int64_t level_of(const struct twin *twin)
{
    struct script_reply reply = run_script(twin, BUCKET_SCRIPT_PEEK, 1, BUCKET_SCRIPT_NO_DEADLINE);

    assert_int_equal(reply.count, 3);
    return reply.values[1];
}

static void test_changed_limits_keep_what_was_spent(void **state)
{
    (void)state;
    for (int layout = 0; layout < 2; layout++) {
        struct twin twin = minute_twin((enum limit_layout)layout, 100);
        struct twin larger = minute_twin((enum limit_layout)layout, 200);
        struct twin smaller = minute_twin((enum limit_layout)layout, 10);

        step(&twin, BUCKET_SCRIPT_TAKE, 80);
        assert_in_range(level_of(&larger) / larger.policy.windows[0].units_per_token, 120, 121);
        assert_in_range(-level_of(&smaller) / smaller.policy.windows[0].units_per_token, 68, 70);
    }
}

static void test_a_key_without_expiry_is_healed(void **state)
{
    (void)state;
    for (int layout = 0; layout < 2; layout++) {
        struct twin twin = minute_twin((enum limit_layout)layout, 10);
        char key[64];

        key_text(&twin, 0, key);
        step(&twin, BUCKET_SCRIPT_TAKE, 1);
        assert_int_equal(script_text("TTL %s", key).values[0], layout == 0 ? 120 : 7200);
        (void)script_text("PERSIST %s", key);
        step(&twin, BUCKET_SCRIPT_TAKE, 1);
        assert_int_equal(script_text("TTL %s", key).values[0], layout == 0 ? 120 : 7200);
        step(&twin, BUCKET_SCRIPT_ADD, 12); /* 4 below zero: 30 s to the next token */
        (void)script_text("PERSIST %s", key);
        step(&twin, BUCKET_SCRIPT_TAKE, 1); /* denied, and an admission will follow in time */
        assert_int_equal(script_text("TTL %s", key).values[0], -1);
        step(&twin, BUCKET_SCRIPT_ADD, 8); /* 78 s */
        (void)script_text("PERSIST %s", key);
        step(&twin, BUCKET_SCRIPT_TAKE, 1); /* denied for longer than the window */
        assert_true(script_text("TTL %s", key).values[0] > 120);
    }
}

static void test_expiry_is_left_alone_while_it_suffices(void **state)
{
    struct twin twin = minute_twin(LIMIT_LAYOUT_WINDOW, 10);

    (void)state;
    step(&twin, BUCKET_SCRIPT_TAKE, 1);
    (void)script_text("EXPIRE ratelimit:user:123:minute 70");
    step(&twin, BUCKET_SCRIPT_TAKE, 1);
    assert_in_range(script_text("TTL ratelimit:user:123:minute").values[0], 68, 70);
    (void)script_text("EXPIRE ratelimit:user:123:minute 50");
    step(&twin, BUCKET_SCRIPT_TAKE, 1);
    assert_int_equal(script_text("TTL ratelimit:user:123:minute").values[0], 120);
}

static void test_late_calls_and_denials_write_nothing(void **state)
{
    (void)state;
    for (int layout = 0; layout < 2; layout++) {
        struct twin twin = minute_twin((enum limit_layout)layout, 10);
        struct bucket buckets[LIMIT_MAX_WINDOWS];
        struct script_reply reply = run_script(&twin, BUCKET_SCRIPT_TAKE, 1, 1700000000000);
        int64_t now_ms = 0;
        char key[64];

        assert_int_equal(
            bucket_script_read(&twin.policy, reply.values, reply.count, &now_ms, buckets),
            BUCKET_SCRIPT_LATE);
        assert_true(now_ms > 1700000000000);
        assert_int_equal(script_text("DBSIZE").values[0], 0);
        step(&twin, BUCKET_SCRIPT_TAKE, 10);
        key_text(&twin, 1, key);
        (void)script_text("HSET %s %s 1.5", key, layout == 0 ? "tokens" : "hour:tokens");
        (void)script_text("CONFIG RESETSTAT");
        assert_int_equal(
            run_script(&twin, BUCKET_SCRIPT_TAKE, 2, BUCKET_SCRIPT_NO_DEADLINE).values[0] % 4, 0);
        assert_null(strstr(script_text("INFO commandstats").text, "cmdstat_hset"));
    }
}

static void test_odd_fields_are_refused(void **state)
{
    static const char *const odd[] = {
        "nan",   "inf",  "-inf", "0x10", "1e999",
        "abc",   "+5",   ".5",   "5.",   "-.5",
        "1e",    "--5",  "5e",   "1_0",  "11111111111111111111111111111111111111111",
        "1E5",   "1.e5", "1e5.", ".",    "-",
        "5.5.5", "1e+",  "e5"};
    static const char *const fine[] = {"5", "-5", "5.25", "-5.25", "1e1", "1.5e+1", "5e-1", "05"};
    static const char *const fields[] = {"tokens", "last_refill", "capacity"};

    (void)state;
    for (int layout = 0; layout < 2; layout++) {
        struct twin twin = minute_twin((enum limit_layout)layout, 10);
        char key[64];
        char field[64];

        key_text(&twin, 1, key);
        for (size_t i = 0; i < COUNT_OF(fields); i++) {
            memset(twin.is_known, 0, sizeof(twin.is_known));
            (void)script_text("FLUSHALL");
            step(&twin, BUCKET_SCRIPT_TAKE, 1);
            field_text(&twin, 1, fields[i], field);
            for (size_t j = 0; j < COUNT_OF(odd); j++) {
                struct script_reply reply;

                (void)script_text("HSET %s %s %s", key, field, odd[j]);
                reply = run_script(&twin, BUCKET_SCRIPT_TAKE, 1, BUCKET_SCRIPT_NO_DEADLINE);
                if (reply.count != 2 || reply.values[0] % 4 != 3 || reply.values[1] != 2)
                    fail_msg("%s %s gives %" PRId64, fields[i], odd[j], reply.values[0]);
            }
            for (size_t j = 0; j < COUNT_OF(fine); j++) {
                (void)script_text("HSET %s %s %s", key, field, fine[j]);
                assert_true(
                    run_script(&twin, BUCKET_SCRIPT_PEEK, 1, BUCKET_SCRIPT_NO_DEADLINE).values[0] %
                        4 <
                    2);
            }
        }
        (void)script_text("DEL %s", key);
        (void)script_text("SET %s x", key);
        assert_int_equal(
            run_script(&twin, BUCKET_SCRIPT_TAKE, 1, BUCKET_SCRIPT_NO_DEADLINE).values[0] % 4, 3);
    }
}

/* KAMIYO's own limiter writes shorter and longer numbers, and no capacity. */
static void test_another_writer_is_understood(void **state)
{
    struct twin twin = minute_twin(LIMIT_LAYOUT_WINDOW, 10);
    struct script_reply reply;
    struct script_reply after;
    int64_t now_ms;

    (void)state;
    reply = run_script(&twin, BUCKET_SCRIPT_PEEK, 1, BUCKET_SCRIPT_NO_DEADLINE);
    now_ms = reply.values[0] / 4;
    /* 0.9999 ms past a millisecond: as the next one, so that nothing is gained early */
    (void)script_text("HSET ratelimit:user:123:minute tokens 3.5 last_refill %" PRId64 ".%03" PRId64
                      "9999",
                      (now_ms - 1000) / 1000, (now_ms - 1000) % 1000);
    after = run_script(&twin, BUCKET_SCRIPT_PEEK, 1, BUCKET_SCRIPT_NO_DEADLINE);
    assert_int_equal(after.values[1], 21000 + after.values[0] / 4 - (now_ms - 1000 + 1));
}

/* A time as replies have it, without a status. */
#define AT ((int64_t)1700000000000 * 4)

static void test_replies_that_are_none(void **state)
{
    const struct limit_policy policy = {.window_count = 1,
                                        .windows = {{.period_ms = 60000,
                                                     .capacity_units = 60000,
                                                     .units_per_ms = 1,
                                                     .units_per_token = 6000,
                                                     .burst = 10}}};
    static const struct {
        size_t count;
        int64_t values[4];
        enum bucket_script_status status;
    } rows[] = {
        {2, {AT + 1, 60000}, BUCKET_SCRIPT_DONE},
        {3, {AT + 0, -60000, 60000}, BUCKET_SCRIPT_DENIED},
        {1, {AT + 2}, BUCKET_SCRIPT_LATE},
        {2, {AT + 3, 1}, BUCKET_SCRIPT_ODD},
        {0, {0}, BUCKET_SCRIPT_GARBAGE},
        {1, {AT + 1}, BUCKET_SCRIPT_GARBAGE},
        {1, {AT + 3}, BUCKET_SCRIPT_GARBAGE},
        {4, {AT + 1, 1, 1, 1}, BUCKET_SCRIPT_GARBAGE},
        {2, {1, 1}, BUCKET_SCRIPT_GARBAGE},
        {2, {-AT, 1}, BUCKET_SCRIPT_GARBAGE},
        {2, {INT64_MIN, 1}, BUCKET_SCRIPT_GARBAGE},
        {2, {INT64_MAX, 1}, BUCKET_SCRIPT_GARBAGE},
        {2, {((int64_t)1 << 53) + 1, 1}, BUCKET_SCRIPT_GARBAGE},
        {2, {AT + 2, 1}, BUCKET_SCRIPT_GARBAGE},
        {3, {AT + 3, 1, 1}, BUCKET_SCRIPT_GARBAGE},
        {2, {AT + 1, 60001}, BUCKET_SCRIPT_GARBAGE},
        {2, {AT + 1, INT64_MIN}, BUCKET_SCRIPT_GARBAGE},
        {3, {AT + 1, 1, -1}, BUCKET_SCRIPT_GARBAGE},
        {3, {AT + 1, 1, 60001}, BUCKET_SCRIPT_GARBAGE},
    };

    (void)state;
    for (size_t i = 0; i < COUNT_OF(rows); i++) {
        struct bucket buckets[LIMIT_MAX_WINDOWS];
        int64_t now_ms = -1;

        assert_int_equal(
            bucket_script_read(&policy, rows[i].values, rows[i].count, &now_ms, buckets),
            rows[i].status);
        assert_int_equal(now_ms, rows[i].status == BUCKET_SCRIPT_GARBAGE ? -1 : 1700000000000);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_layout_window_decides_as_c_does),
        cmocka_unit_test(test_layout_identity_decides_as_c_does),
        cmocka_unit_test(test_changed_limits_keep_what_was_spent),
        cmocka_unit_test(test_a_key_without_expiry_is_healed),
        cmocka_unit_test(test_expiry_is_left_alone_while_it_suffices),
        cmocka_unit_test(test_late_calls_and_denials_write_nothing),
        cmocka_unit_test(test_odd_fields_are_refused),
        cmocka_unit_test(test_another_writer_is_understood),
        cmocka_unit_test(test_replies_that_are_none),
    };

    return cmocka_run_group_tests(tests, script_start, script_stop);
}
