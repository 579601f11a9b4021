/* SPDX-License-Identifier: MIT */
/*
 * Readings: what lies between two of them, over shards; decisions by label.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>

#include <cmocka.h>

#include "kamiyo/observe/metrics_reading.h"

static void observe(struct metrics *metrics, size_t shard, int64_t us, int times)
{
    for (int i = 0; i < times; i++)
        metrics_observe_us(metrics_shard(metrics, shard), METRICS_REQUEST_SECONDS, us);
}

static void assert_near(double value, double expected)
{
    assert_true(value > expected - 0.001 && value < expected + 0.001);
}

static void test_quantiles_between_readings(void **state)
{
    struct metrics *metrics = metrics_create(2);
    struct metrics_reading first;
    struct metrics_reading second;

    (void)state;
    observe(metrics, 0, 9000000, 1000); /* before the first one: not in it */
    metrics_reading_take(metrics, METRICS_REQUEST_SECONDS, &first);
    assert_near(metrics_reading_quantile_us(METRICS_REQUEST_SECONDS, &first, &first, 0.5), -1);
    observe(metrics, 0, 600, 50); /* 500 to 1000 */
    observe(metrics, 1, 700, 40);
    observe(metrics, 1, 3000, 10); /* 2500 to 5000 */
    metrics_reading_take(metrics, METRICS_REQUEST_SECONDS, &second);
    assert_near(metrics_reading_quantile_us(METRICS_REQUEST_SECONDS, &first, &second, 0.45), 750);
    assert_near(metrics_reading_quantile_us(METRICS_REQUEST_SECONDS, &first, &second, 0.9), 1000);
    assert_near(metrics_reading_quantile_us(METRICS_REQUEST_SECONDS, &first, &second, 0.95), 3750);
    assert_near(metrics_reading_quantile_us(METRICS_REQUEST_SECONDS, &first, &second, 1), 5000);
    observe(metrics, 0, 3600000000, 1000); /* beyond the last bound */
    metrics_reading_take(metrics, METRICS_REQUEST_SECONDS, &second);
    assert_near(metrics_reading_quantile_us(METRICS_REQUEST_SECONDS, &first, &second, 0.99),
                60000000);
    metrics_destroy(&metrics);
}

static void test_decisions_by_label(void **state)
{
    static const struct {
        size_t shard;
        const char *decision, *mode, *tier, *window;
    } decisions[] = {
        {0, "allowed", "redis", "free", ""},       {0, "allowed", "redis", "pro", ""},
        {1, "denied", "cached", "free", "minute"}, {1, "denied", "redis", "free", "minute"},
        {1, "denied", "redis", "pro", "hour"},     {0, "denied", "redis", "pro", "hour"},
    };
    struct metrics *metrics = metrics_create(2);
    struct metrics_tally tallies[4];
    size_t count;

    (void)state;
    assert_int_equal(metrics_tally_decisions(metrics, METRICS_BY_TIER, SLICE(""), tallies, 4), 0);
    for (size_t i = 0; i < COUNT_OF(decisions); i++)
        metrics_count_decision(metrics_shard(metrics, decisions[i].shard),
                               slice_of(decisions[i].decision), slice_of(decisions[i].mode),
                               slice_of(decisions[i].tier), slice_of(decisions[i].window));
    count = metrics_tally_decisions(metrics, METRICS_BY_TIER, SLICE("denied"), tallies, 4);
    assert_int_equal(count, 2);
    assert_int_equal(metrics_tally_of(tallies, count, SLICE("free")), 2);
    assert_int_equal(metrics_tally_of(tallies, count, SLICE("pro")), 2);
    assert_int_equal(metrics_tally_of(tallies, count, SLICE("team")), 0);
    count = metrics_tally_decisions(metrics, METRICS_BY_MODE, SLICE(""), tallies, 4);
    assert_int_equal(count, 2);
    assert_int_equal(metrics_tally_of(tallies, count, SLICE("redis")), 5);
    assert_int_equal(metrics_tally_of(tallies, count, SLICE("cached")), 1);
    count = metrics_tally_decisions(metrics, METRICS_BY_DECISION, SLICE(""), tallies, 4);
    assert_int_equal(metrics_tally_of(tallies, count, SLICE("allowed")), 2);
    assert_int_equal(metrics_tally_decisions(metrics, METRICS_BY_WINDOW, SLICE(""), tallies, 1), 1);
    metrics_destroy(&metrics);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_quantiles_between_readings),
        cmocka_unit_test(test_decisions_by_label),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
