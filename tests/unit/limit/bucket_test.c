/* SPDX-License-Identifier: MIT */
/*
 * The arithmetic, against a slow model that knows no units: it counts tokens as fractions over the
 * period, uncancelled, in 128 bits, and refills a millisecond's worth by adding `limit`.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <string.h>

#include <cmocka.h>

#include "kamiyo/limit/bucket.h"
#include "kamiyo/limit/limit_policy.h"

#include "random_support.h"

__extension__ typedef __int128 wide;

#define START 1700000000000

static struct random_source source;

static struct limit_window window_of(int64_t limit, int64_t burst, int64_t period_ms)
{
    struct limit_window window;

    assert_true(limit_window_init(&window, limit, burst, period_ms, NULL));
    return window;
}

static struct limit_policy policy_of(const int64_t (*rows)[3], size_t count)
{
    struct limit_policy policy = {0};

    for (size_t i = 0; i < count; i++) {
        struct limit_window window = window_of(rows[i][0], rows[i][1], rows[i][2]);

        assert_true(limit_policy_add(&policy, &window, NULL));
    }
    return policy;
}

static struct limit_policy random_policy(void)
{
    static const int64_t periods[] = {1000, 10000, 60000, 3600000, 86400000, 31622400000};
    struct limit_policy policy = {0};
    struct limit_window window;

    while (policy.window_count == 0 || (policy.window_count < 4 && random_below(&source, 3) != 0))
        if (limit_window_init(&window, random_scaled(&source, 1000000000000),
                              random_below(&source, 2) == 0 ? 0
                                                            : random_scaled(&source, 1000000000000),
                              periods[random_below(&source, COUNT_OF(periods))], NULL))
            (void)!limit_policy_add(&policy, &window, NULL);
    return policy;
}

/* The model: tokens * period_ms. */
struct model {
    wide level[LIMIT_MAX_WINDOWS];
    int64_t time_ms;
};

static void model_init(struct model *model, const struct limit_policy *policy, int64_t now_ms)
{
    model->time_ms = now_ms;
    for (size_t i = 0; i < policy->window_count; i++)
        model->level[i] = (wide)policy->windows[i].burst * policy->windows[i].period_ms;
}

static void model_refill(struct model *model, const struct limit_policy *policy, int64_t now_ms)
{
    for (size_t i = 0; i < policy->window_count; i++) {
        const struct limit_window *window = &policy->windows[i];
        wide full = (wide)window->burst * window->period_ms;

        model->level[i] += (wide)(now_ms - model->time_ms) * window->limit;
        if (model->level[i] > full)
            model->level[i] = full;
    }
    model->time_ms = now_ms;
}

static int64_t
model_wait(const struct model *model, const struct limit_window *window, size_t i, int64_t cost)
{
    wide missing = (wide)cost * window->period_ms - model->level[i];

    return missing <= 0 ? 0 : (int64_t)((missing + window->limit - 1) / window->limit);
}

/* Decides, and checks every figure of the decision. */
static bool check_step(struct bucket *buckets,
                       struct model *model,
                       const struct limit_policy *policy,
                       int64_t cost,
                       int64_t now_ms)
{
    struct limit_decision decision;
    bool allowed = bucket_decide(buckets, policy, cost, now_ms, &decision);
    bool expected = true;
    int64_t longest = 0;

    model_refill(model, policy, now_ms);
    for (size_t i = 0; i < policy->window_count; i++)
        if (model_wait(model, &policy->windows[i], i, cost) > 0)
            expected = false;
    assert_int_equal(allowed, expected);
    assert_int_equal(decision.outcome, allowed ? LIMIT_ALLOWED : LIMIT_DENIED);
    for (size_t i = 0; i < policy->window_count; i++) {
        const struct limit_window *window = &policy->windows[i];
        const struct limit_level *level = &decision.levels[i];
        int64_t wait = model_wait(model, window, i, cost);

        if (allowed)
            model->level[i] -= (wide)cost * window->period_ms;
        assert_int_equal(level->capacity, window->burst);
        assert_int_equal(level->remaining,
                         model->level[i] > 0 ? (int64_t)(model->level[i] / window->period_ms) : 0);
        assert_int_equal(level->full_ms, model_wait(model, window, i, window->burst));
        assert_int_equal(level->wait_ms, allowed ? 0 : wait);
        if (!allowed && wait >= longest) {
            longest = wait;
            assert_true(decision.binding >= i);
        }
    }
    assert_int_equal(decision.wait_ms, longest);
    assert_int_equal(allowed ? 0 : decision.levels[decision.binding].wait_ms, longest);
    return allowed;
}

static void start(struct bucket *buckets,
                  struct model *model,
                  const struct limit_policy *policy,
                  int64_t now_ms)
{
    for (size_t i = 0; i < policy->window_count; i++)
        bucket_init(&buckets[i], &policy->windows[i], now_ms);
    model_init(model, policy, now_ms);
}

/* A step in time that is often around the time of a token, sometimes nothing, sometimes an age. */
static int64_t random_step(const struct limit_window *window)
{
    switch (random_below(&source, 6)) {
    case 0:
        return 0;
    case 1:
        return 1;
    case 2:
        return random_amount(&source, window->refill_ms + 1);
    case 3:
        return random_scaled(&source, 4000000000000);
    default:
        return random_amount(&source, 2 * window->units_per_token / window->units_per_ms + 2);
    }
}

static void test_random_histories_match_the_model(void **state)
{
    (void)state;
    source.state = 1;
    for (int history = 0; history < 2000; history++) {
        struct limit_policy policy = random_policy();
        struct bucket buckets[LIMIT_MAX_WINDOWS];
        struct model model;
        int64_t now_ms = START;
        int64_t most = limit_policy_max_cost(&policy);

        start(buckets, &model, &policy, now_ms);
        for (int step = 0; step < 100; step++) {
            now_ms += random_step(&policy.windows[random_below(&source, policy.window_count)]);
            (void)check_step(buckets, &model, &policy,
                             random_below(&source, 3) == 0 ? most : random_scaled(&source, most),
                             now_ms);
        }
    }
}

/* In no interval more than the capacity and what was refilled in it. */
static void test_never_more_than_capacity_and_refill(void **state)
{
    (void)state;
    source.state = 2;
    for (int history = 0; history < 300; history++) {
        enum {
            STEPS = 120
        };
        struct limit_policy policy = random_policy();
        struct bucket buckets[LIMIT_MAX_WINDOWS];
        struct model model;
        int64_t times[STEPS];
        int64_t costs[STEPS];
        int64_t now_ms = START;

        start(buckets, &model, &policy, now_ms);
        for (int step = 0; step < STEPS; step++) {
            now_ms += random_step(&policy.windows[0]);
            times[step] = now_ms;
            costs[step] = random_scaled(&source, limit_policy_max_cost(&policy));
            if (!check_step(buckets, &model, &policy, costs[step], now_ms))
                costs[step] = 0;
        }
        for (int from = 0; from < STEPS; from++) {
            wide admitted = 0;

            for (int to = from; to < STEPS; to++) {
                admitted += costs[to];
                for (size_t i = 0; i < policy.window_count; i++) {
                    const struct limit_window *window = &policy.windows[i];

                    assert_true(admitted * window->period_ms <=
                                (wide)window->burst * window->period_ms +
                                    (wide)window->limit * (times[to] - times[from]));
                }
            }
        }
    }
}

static void test_denials_change_nothing(void **state)
{
    (void)state;
    source.state = 3;
    for (int history = 0; history < 1000; history++) {
        struct limit_policy policy = random_policy();
        struct bucket asked[LIMIT_MAX_WINDOWS];
        struct bucket left_alone[LIMIT_MAX_WINDOWS];
        struct limit_decision decision;
        struct model model;
        int64_t now_ms = START;
        int64_t most = limit_policy_max_cost(&policy);

        start(asked, &model, &policy, now_ms);
        start(left_alone, &model, &policy, now_ms);
        for (int step = 0; step < 50; step++) {
            now_ms += random_step(&policy.windows[0]);
            if (bucket_decide(asked, &policy, random_scaled(&source, most), now_ms, &decision))
                memcpy(left_alone, asked, sizeof(asked));
            for (size_t i = 0; i < policy.window_count; i++) {
                struct bucket later = left_alone[i];

                bucket_refill(&later, &policy.windows[i], now_ms);
                assert_int_equal(later.level, asked[i].level);
            }
        }
    }
}

static void test_waiting_as_told_admits_and_a_millisecond_less_does_not(void **state)
{
    (void)state;
    source.state = 4;
    for (int history = 0; history < 2000; history++) {
        struct limit_policy policy = random_policy();
        struct bucket buckets[LIMIT_MAX_WINDOWS];
        struct limit_decision decision;
        struct model model;
        int64_t now_ms = START;
        int64_t most = limit_policy_max_cost(&policy);

        start(buckets, &model, &policy, now_ms);
        for (int step = 0; step < 30; step++) {
            int64_t cost = random_scaled(&source, most);

            if (bucket_decide(buckets, &policy, cost, now_ms, &decision))
                continue;
            now_ms += decision.wait_ms - 1;
            assert_false(bucket_decide(buckets, &policy, cost, now_ms, &decision));
            assert_int_equal(decision.wait_ms, 1);
            now_ms++;
            assert_true(bucket_decide(buckets, &policy, cost, now_ms, &decision));
        }
    }
}

static void test_touched_each_millisecond_gains_the_same(void **state)
{
    static const int64_t limits[] = {1, 7, 2083, 99999, 1000003};

    (void)state;
    for (size_t i = 0; i < COUNT_OF(limits); i++) {
        struct limit_window window = window_of(limits[i], 0, 86400000);
        struct bucket touched = {.level = -5, .time_ms = START};
        struct bucket alone = touched;

        for (int64_t ms = 1; ms <= 20000; ms++)
            bucket_refill(&touched, &window, START + ms);
        bucket_refill(&alone, &window, START + 20000);
        assert_int_equal(touched.level, alone.level);
    }
}

static void test_time_that_went_back(void **state)
{
    struct limit_window window = window_of(10, 0, 60000);
    struct bucket bucket = {.level = 0, .time_ms = START};

    (void)state;
    bucket_refill(&bucket, &window, START - 60000);
    assert_int_equal(bucket.level, 0);
    assert_int_equal(bucket.time_ms, START);
    assert_int_equal(bucket_wait(&bucket, &window, 1, START - 60000), 66000);
    bucket_refill(&bucket, &window, START + 5999);
    assert_int_equal(bucket_wait(&bucket, &window, 1, START + 5999), 1);
    bucket = (struct bucket){.level = 0, .time_ms = START};
    bucket_refill(&bucket, &window, START - 60001); /* beyond the window: as now */
    assert_int_equal(bucket.time_ms, START - 60001);
    assert_int_equal(bucket_wait(&bucket, &window, 1, START - 60001), 6000);
}

static void test_add_goes_below_zero_and_stops_at_the_capacity(void **state)
{
    struct limit_window window = window_of(10, 0, 60000);
    struct bucket bucket;

    (void)state;
    bucket_init(&bucket, &window, START);
    bucket_add(&bucket, &window, 25);
    assert_int_equal(bucket.level, -90000);
    assert_int_equal(bucket_wait(&bucket, &window, 1, START), 96000);
    bucket_add(&bucket, &window, -5);
    assert_int_equal(bucket.level, -60000);
    bucket_add(&bucket, &window, -1000);
    assert_int_equal(bucket.level, 60000);
    bucket_add(&bucket, &window, 1000000000000);
    assert_int_equal(bucket.level, -BUCKET_MAX_UNITS);
    bucket_add(&bucket, &window, 1000000000000);
    assert_int_equal(bucket.level, -BUCKET_MAX_UNITS);
    assert_int_equal(bucket_wait(&bucket, &window, 11, START), BUCKET_NEVER_MS);
}

static void test_changed_limits_keep_what_was_spent(void **state)
{
    static const struct {
        int64_t from_limit, from_burst, to_limit, to_burst;
        int64_t tokens, expected; /* thousandths of a token */
    } rows[] = {
        {100, 100, 200, 200, 20000, 120000}, {200, 200, 100, 100, 120000, 20000},
        {200, 200, 100, 100, 50000, -50000}, /* owed */
        {100, 100, 7, 100, 33000, 33000},    /* another rate alone changes nothing */
        {10, 10, 10, 30, -5000, 15000},      {60, 60, 7, 13, 60000, 13000},
    };

    (void)state;
    for (size_t i = 0; i < COUNT_OF(rows); i++) {
        struct limit_window from = window_of(rows[i].from_limit, rows[i].from_burst, 60000);
        struct limit_window to = window_of(rows[i].to_limit, rows[i].to_burst, 60000);
        struct bucket bucket = {.level = rows[i].tokens * from.units_per_token / 1000,
                                .time_ms = START};

        bucket_change(&bucket, &from, &to);
        assert_int_equal(bucket.level, rows[i].expected * to.units_per_token / 1000);
        assert_int_equal(bucket.time_ms, START);
    }
}

static void test_a_share_keeps_what_is_left(void **state)
{
    const int64_t rows[][3] = {{100, 0, 60000}};
    struct limit_policy policy = policy_of(rows, 1);
    struct limit_policy share;
    struct bucket bucket = {.level = 20 * policy.windows[0].units_per_token, .time_ms = START};

    (void)state;
    limit_policy_share(&policy, 4, 1, &share);
    bucket_rescale(&bucket, &policy.windows[0], &share.windows[0]);
    assert_int_equal(bucket.level, 20 * share.windows[0].units_per_token);
    bucket.level = 80 * policy.windows[0].units_per_token;
    bucket_rescale(&bucket, &policy.windows[0], &share.windows[0]);
    assert_int_equal(bucket.level, share.windows[0].capacity_units);
    bucket_rescale(&bucket, &share.windows[0], &policy.windows[0]);
    assert_int_equal(bucket.level, 25 * policy.windows[0].units_per_token);
}

static void test_the_binding_window(void **state)
{
    const int64_t rows[][3] = {{5, 0, 60000}, {6, 0, 3600000}, {7, 0, 86400000}};
    struct limit_policy policy = policy_of(rows, 3);
    struct bucket buckets[LIMIT_MAX_WINDOWS];
    struct limit_decision decision;
    struct model model;

    (void)state;
    start(buckets, &model, &policy, START);
    assert_true(bucket_decide(buckets, &policy, 1, START, &decision));
    assert_int_equal(decision.binding, 0); /* 4/5 is less than 5/6 */
    assert_true(bucket_decide(buckets, &policy, 4, START, &decision));
    assert_false(bucket_decide(buckets, &policy, 1, START, &decision));
    assert_int_equal(decision.binding, 0);
    assert_int_equal(decision.levels[1].remaining, 1);
    assert_int_equal(decision.levels[2].remaining, 2);
    assert_true(bucket_decide(buckets, &policy, 1, START + 12000, &decision));
    assert_false(bucket_decide(buckets, &policy, 1, START + 24000, &decision));
    assert_int_equal(decision.binding, 1); /* the minute has one, the hour waits longest */
    assert_int_equal(decision.levels[0].wait_ms, 0);
    assert_int_equal(decision.levels[0].remaining, 1);
    assert_int_equal(decision.levels[2].wait_ms, 0);

    /* ties: the shorter when allowed, the longer when denied */
    bucket_init(&buckets[0], &policy.windows[0], START);
    bucket_init(&buckets[1], &policy.windows[1], START);
    bucket_init(&buckets[2], &policy.windows[2], START);
    bucket_describe(buckets, &policy, 1, START, true, &decision);
    assert_int_equal(decision.binding, 0);
    for (size_t i = 0; i < 3; i++)
        buckets[i].level =
            policy.windows[i].units_per_token - 1000 * policy.windows[i].units_per_ms;
    bucket_describe(buckets, &policy, 1, START, false, &decision);
    assert_int_equal(decision.wait_ms, 1000);
    assert_int_equal(decision.binding, 2);
}

static void test_the_largest_numbers(void **state)
{
    const int64_t rows[][3] = {{1000000000000, 0, 1000}, {1, 35604, 31622400000}};
    struct limit_policy policy = policy_of(rows, 2);
    struct bucket buckets[LIMIT_MAX_WINDOWS];
    struct limit_decision decision;
    struct model model;

    (void)state;
    start(buckets, &model, &policy, 0);
    assert_true(bucket_decide(buckets, &policy, 35604, INT64_MAX / 2, &decision));
    assert_false(bucket_decide(buckets, &policy, 35604, INT64_MAX / 2 + 1, &decision));
    assert_int_equal(decision.wait_ms, 35604 * 31622400000 - 1);
    buckets[0].level = -BUCKET_MAX_UNITS;
    buckets[1].level = -BUCKET_MAX_UNITS;
    assert_true(bucket_decide(buckets, &policy, 1, INT64_MAX, &decision));
    buckets[1].level = -BUCKET_MAX_UNITS;
    assert_false(bucket_decide(buckets, &policy, 1, INT64_MAX, &decision));
    assert_int_equal(decision.wait_ms, BUCKET_MAX_UNITS + 31622400000);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_random_histories_match_the_model),
        cmocka_unit_test(test_never_more_than_capacity_and_refill),
        cmocka_unit_test(test_denials_change_nothing),
        cmocka_unit_test(test_waiting_as_told_admits_and_a_millisecond_less_does_not),
        cmocka_unit_test(test_touched_each_millisecond_gains_the_same),
        cmocka_unit_test(test_time_that_went_back),
        cmocka_unit_test(test_add_goes_below_zero_and_stops_at_the_capacity),
        cmocka_unit_test(test_changed_limits_keep_what_was_spent),
        cmocka_unit_test(test_a_share_keeps_what_is_left),
        cmocka_unit_test(test_the_binding_window),
        cmocka_unit_test(test_the_largest_numbers),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
