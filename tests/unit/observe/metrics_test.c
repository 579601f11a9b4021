/* SPDX-License-Identifier: MIT */
/*
 * Metrics: what is counted is what is read, over shards and threads; the text
 * form; the bound on combinations.
 */
#include <pthread.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "kamiyo/base/mem.h"
#include "kamiyo/observe/metrics.h"

static char *render(struct metrics *metrics)
{
    static const struct metrics_gauges gauges = {.is_redis_up = true,
                                                 .store_keys = 7,
                                                 .store_bytes = 8192,
                                                 .version = "1.2.3",
                                                 .commit = "a\"b\\c\n"};
    size_t length;
    char *text = metrics_render(metrics, &gauges, &length);

    assert_int_equal(strlen(text), length);
    return text;
}

static void assert_has(const char *text, const char *line)
{
    if (strstr(text, line) == NULL)
        fail_msg("\"%s\" is missing in:\n%s", line, text);
}

static void test_values(void **state)
{
    struct metrics *metrics = metrics_create(3);
    char *text;

    (void)state;
    metrics_add(metrics_shard(metrics, 0), METRICS_CLIENT_CONNECTIONS, 5);
    metrics_add(metrics_shard(metrics, 1), METRICS_CLIENT_CONNECTIONS, -2);
    metrics_add(metrics_shard(metrics, 2), METRICS_REDIS_COMMANDS, 9);
    assert_int_equal(metrics_sum(metrics, METRICS_CLIENT_CONNECTIONS), 3);
    text = render(metrics);
    assert_has(
        text,
        "# TYPE kamiyo_gateway_connections gauge\nkamiyo_gateway_connections{side=\"client\"} 3\n"
        "kamiyo_gateway_connections{side=\"upstream\"} 0\n");
    assert_has(text, "\nkamiyo_gateway_redis_commands_total 9\n");
    assert_has(text, "\nkamiyo_gateway_access_log_dropped_total 0\n");
    assert_has(text, "\nkamiyo_gateway_redis_up 1\n");
    assert_has(text, "\nkamiyo_gateway_store_keys 7\n");
    assert_has(text, "\nkamiyo_gateway_store_bytes 8192\n");
    assert_has(text,
               "\nkamiyo_gateway_build_info{version=\"1.2.3\",commit=\"a\\\"b\\\\c\\n\"} 1\n");
    mem_free(text);
    metrics_destroy(&metrics);
    assert_null(metrics);
    metrics_destroy(&metrics);
}

static void test_counters(void **state)
{
    struct metrics *metrics = metrics_create(2);
    uint64_t by_class[6];
    char *text;

    (void)state;
    for (size_t i = 0; i < 2; i++) {
        struct metrics_shard *shard = metrics_shard(metrics, i);

        metrics_count_request(shard, 200, SLICE("default"), SLICE("free"));
        metrics_count_request(shard, 429, SLICE("default"), SLICE("free"));
        metrics_count_request(shard, 0, SLICE(""), SLICE(""));
        metrics_count_decision(shard, SLICE("allowed"), SLICE("redis"), SLICE("free"),
                               SLICE("minute"));
        metrics_count_decision(shard, SLICE("denied"), SLICE("redis"), SLICE("free"),
                               SLICE("minute"));
    }
    /* Not one label more or less, though joined they would be the same. */
    metrics_count_request(metrics_shard(metrics, 0), 200, SLICE("defaultf"), SLICE("ree"));
    metrics_count_request(metrics_shard(metrics, 1), 200, SLICE("a-long-route-name-1"),
                          SLICE("free"));
    metrics_count_request(metrics_shard(metrics, 1), 200, SLICE("a-long-ROUTE-name-1"),
                          SLICE("free"));
    metrics_count_upstream_error(metrics_shard(metrics, 1), "connect");
    metrics_count_redis_error(metrics_shard(metrics, 1), "read only");
    metrics_count_reload(metrics_shard(metrics, 1), "success");
    text = render(metrics);
    assert_has(text,
               "# TYPE kamiyo_gateway_requests_total counter\n"
               "kamiyo_gateway_requests_total{status=\"none\",route=\"\",tier=\"\"} 2\n"
               "kamiyo_gateway_requests_total{status=\"200\",route=\"a-long-ROUTE-name-1\",tier="
               "\"free\"} 1\n"
               "kamiyo_gateway_requests_total{status=\"200\",route=\"a-long-route-name-1\",tier="
               "\"free\"} 1\n"
               "kamiyo_gateway_requests_total{status=\"200\",route=\"default\",tier=\"free\"} 2\n"
               "kamiyo_gateway_requests_total{status=\"200\",route=\"defaultf\",tier=\"ree\"} 1\n"
               "kamiyo_gateway_requests_total{status=\"429\",route=\"default\",tier=\"free\"} 2\n");
    assert_has(text, "\nkamiyo_gateway_decisions_total{decision=\"denied\",mode=\"redis\",tier="
                     "\"free\",window=\"minute\"} 2\n");
    assert_has(text, "\nkamiyo_gateway_upstream_errors_total{reason=\"connect\"} 1\n");
    assert_has(text, "\nkamiyo_gateway_redis_errors_total{reason=\"read only\"} 1\n");
    assert_has(text, "\nkamiyo_gateway_config_reloads_total{result=\"success\"} 1\n");
    mem_free(text);
    metrics_sum_requests(metrics, by_class);
    assert_int_equal(by_class[0], 2);
    assert_int_equal(by_class[2], 5);
    assert_int_equal(by_class[4], 2);
    assert_int_equal(metrics_sum_decisions(metrics, SLICE("denied")), 2);
    assert_int_equal(metrics_sum_decisions(metrics, SLICE("shadow")), 0);
    metrics_destroy(&metrics);
}

static void test_histograms(void **state)
{
    struct metrics *metrics = metrics_create(2);
    char *text;

    (void)state;
    assert_int_equal(metrics_histogram_quantile_us(metrics, METRICS_REQUEST_SECONDS, 0.5), -1);
    metrics_observe_us(metrics_shard(metrics, 0), METRICS_REQUEST_SECONDS, 500);
    metrics_observe_us(metrics_shard(metrics, 0), METRICS_REQUEST_SECONDS, 501);
    metrics_observe_us(metrics_shard(metrics, 1), METRICS_REQUEST_SECONDS, 2000000);
    metrics_observe_us(metrics_shard(metrics, 1), METRICS_REQUEST_SECONDS, INT64_C(90000000));
    metrics_observe_us(metrics_shard(metrics, 1), METRICS_REQUEST_SECONDS, -5);
    text = render(metrics);
    assert_has(text, "# TYPE kamiyo_gateway_request_duration_seconds histogram\n"
                     "kamiyo_gateway_request_duration_seconds_bucket{le=\"0.0005\"} 2\n"
                     "kamiyo_gateway_request_duration_seconds_bucket{le=\"0.001\"} 3\n");
    assert_has(text, "_bucket{le=\"2.5\"} 4\n");
    assert_has(text, "kamiyo_gateway_request_duration_seconds_bucket{le=\"60\"} 4\n"
                     "kamiyo_gateway_request_duration_seconds_bucket{le=\"+Inf\"} 5\n"
                     "kamiyo_gateway_request_duration_seconds_sum 92.001001\n"
                     "kamiyo_gateway_request_duration_seconds_count 5\n");
    assert_has(text, "kamiyo_gateway_limit_duration_seconds_bucket{le=\"0.000001\"} 0\n");
    mem_free(text);
    assert_int_equal(metrics_histogram_count(metrics, METRICS_REQUEST_SECONDS), 5);
    assert_int_equal(metrics_histogram_quantile_us(metrics, METRICS_REQUEST_SECONDS, 0.4), 500);
    assert_int_equal(metrics_histogram_quantile_us(metrics, METRICS_REQUEST_SECONDS, 0.5), 1000);
    assert_int_equal(metrics_histogram_quantile_us(metrics, METRICS_REQUEST_SECONDS, 0.99), -1);
    metrics_destroy(&metrics);
}

/* Statuses are the upstream's to invent: their number is bounded, and none goes uncounted. */
static void test_bound(void **state)
{
    struct metrics *metrics = metrics_create(1);
    struct metrics_shard *shard = metrics_shard(metrics, 0);
    uint64_t by_class[6];
    uint64_t total = 0;
    char *text;

    (void)state;
    for (int round = 0; round < 2; round++) {
        for (int route = 0; route < 10; route++) {
            char name[24];

            snprintf(name, sizeof(name), "route-%d", route);
            for (int status = 100; status < 1000; status++)
                metrics_count_request(shard, status, slice_of(name), SLICE("free"));
        }
    }
    metrics_sum_requests(metrics, by_class);
    for (size_t i = 0; i < 6; i++)
        total += by_class[i];
    assert_int_equal(total, 18000);
    text = render(metrics);
    assert_has(
        text,
        "kamiyo_gateway_requests_total{status=\"other\",route=\"other\",tier=\"other\"} 9808\n");
    assert_has(text,
               "kamiyo_gateway_requests_total{status=\"100\",route=\"route-0\",tier=\"free\"} 2\n");
    mem_free(text);
    metrics_destroy(&metrics);
}

#define THREADS 3
#define ROUNDS  20000

struct counting {
    struct metrics_shard *shard;
    pthread_t thread;
};

static void *count(void *arg)
{
    struct counting *counting = arg;

    for (int i = 0; i < ROUNDS; i++) {
        metrics_add(counting->shard, METRICS_UPSTREAM_RETRIES, 1);
        metrics_observe_us(counting->shard, METRICS_LIMIT_SECONDS, i);
        metrics_count_request(counting->shard, 100 + i % 400, SLICE("r"), SLICE("t"));
    }
    return NULL;
}

/* Under tsan this is the proof that reading beside counting is in order. */
static void test_threads(void **state)
{
    struct metrics *metrics = metrics_create(THREADS);
    struct counting counting[THREADS];
    uint64_t by_class[6];
    uint64_t total = 0;

    (void)state;
    for (size_t i = 0; i < THREADS; i++) {
        counting[i].shard = metrics_shard(metrics, i);
        assert_int_equal(pthread_create(&counting[i].thread, NULL, count, &counting[i]), 0);
    }
    for (int i = 0; i < 20; i++)
        mem_free(render(metrics));
    for (size_t i = 0; i < THREADS; i++)
        assert_int_equal(pthread_join(counting[i].thread, NULL), 0);
    assert_int_equal(metrics_sum(metrics, METRICS_UPSTREAM_RETRIES), THREADS * ROUNDS);
    assert_int_equal(metrics_histogram_count(metrics, METRICS_LIMIT_SECONDS), THREADS * ROUNDS);
    metrics_sum_requests(metrics, by_class);
    for (size_t i = 0; i < 6; i++)
        total += by_class[i];
    assert_int_equal(total, THREADS * ROUNDS);
    metrics_destroy(&metrics);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_values),     cmocka_unit_test(test_counters),
        cmocka_unit_test(test_histograms), cmocka_unit_test(test_bound),
        cmocka_unit_test(test_threads),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
