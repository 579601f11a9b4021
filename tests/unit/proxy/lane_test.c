/* SPDX-License-Identifier: MIT */
/*
 * Lanes against the slow way: what is counted, and the texts made ready, also
 * when the limits that decide change and when there are more combinations than
 * a lane keeps.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "kamiyo/base/mem.h"
#include "kamiyo/observe/metrics.h"
#include "kamiyo/proxy/reply.h"

#include "proxy/lane.h"

static char anonymous[] = "anonymous", pro[] = "pro", hooks[] = "hooks", none[] = "",
            hooks_path[] = "/hooks/*", upgrade_url[] = "https://example.test/\"more\"";

struct fixture {
    struct metrics *metrics;
    struct route_table *routes;
    struct reply_options options;
    struct lane_table lanes;
};

static const struct limit_policy policy = {
    .window_count = 2,
    .windows = {{.name = "minute", .period_ms = 60000, .limit = 10, .burst = 10},
                {.name = "hour", .period_ms = 3600000, .limit = 100, .burst = 100}},
};

static void set_up(struct fixture *fixture)
{
    struct route_tier_options tiers[] = {
        {.name = anonymous, .policy = policy},
        {.name = pro, .policy = policy},
    };
    char *paths[] = {hooks_path};
    struct route_options routes[] = {
        {.name = hooks, .paths = paths, .path_count = 1, .cost = 1, .cost_from = none},
    };
    const struct route_table_options options = {
        .tiers = tiers,
        .tier_count = 2,
        .routes = routes,
        .route_count = 1,
    };
    fixture->metrics = metrics_create(1);
    fixture->routes = route_table_create(&options);
    fixture->options = (struct reply_options){
        .has_x_ratelimit = true, .has_ratelimit = true, .upgrade_url = upgrade_url};
    lane_table_init(&fixture->lanes, metrics_shard(fixture->metrics, 0), fixture->routes,
                    &fixture->options);
}

static void tear_down(struct fixture *fixture)
{
    lane_table_clear(&fixture->lanes);
    route_table_unref(&fixture->routes);
    metrics_destroy(&fixture->metrics);
}

static struct lane *lane_at(struct fixture *fixture, size_t route, size_t tier)
{
    return lane_find(&fixture->lanes, route_table_at(fixture->routes, route),
                     route_table_tier_at(fixture->routes, tier));
}

static void assert_counted(struct metrics *metrics, const char *line)
{
    static const struct metrics_gauges gauges = {.version = "1"};
    size_t length;
    char *text = metrics_render(metrics, &gauges, &length);

    if (strstr(text, line) == NULL)
        fail_msg("\"%s\" is missing in:\n%s", line, text);
    mem_free(text);
}

static void test_each_has_its_own_lane(void **state)
{
    (void)state;
    struct fixture fixture;
    set_up(&fixture);
    for (size_t i = 0; i < 4; i++)
        for (size_t j = 0; j < i; j++)
            assert_ptr_not_equal(lane_at(&fixture, i / 2, i % 2), lane_at(&fixture, j / 2, j % 2));
    assert_ptr_equal(lane_at(&fixture, 1, 1), lane_at(&fixture, 1, 1));
    lane_count_request(lane_at(&fixture, 0, 0), 200);
    lane_count_request(lane_at(&fixture, 1, 1), 200);
    assert_counted(fixture.metrics, "{status=\"200\",route=\"default\",tier=\"anonymous\"} 1\n");
    assert_counted(fixture.metrics, "{status=\"200\",route=\"hooks\",tier=\"pro\"} 1\n");
    tear_down(&fixture);
}

static void test_more_counters_than_places(void **state)
{
    (void)state;
    struct fixture fixture;
    set_up(&fixture);
    struct lane *lane = lane_at(&fixture, 0, 1);
    for (int round = 0; round < 3; round++)
        for (int status = 200; status < 220; status++)
            lane_count_request(lane, status);
    for (int status = 200; status < 220; status++) {
        char line[100];
        snprintf(line, sizeof(line), "{status=\"%d\",route=\"default\",tier=\"pro\"} 3\n", status);
        assert_counted(fixture.metrics, line);
    }
    for (int round = 0; round < 2; round++)
        for (size_t mode = 0; mode < LIMIT_MODE_COUNT; mode++)
            for (size_t window = 0; window < policy.window_count; window++) {
                lane_count_decision(lane, LANE_DENIED, limit_mode_names[mode],
                                    slice_of(policy.windows[window].name));
                lane_count_decision(lane, LANE_SHADOW, limit_mode_names[mode],
                                    slice_of(policy.windows[window].name));
            }
    lane_count_decision(lane, LANE_ALLOWED, limit_mode_names[LIMIT_MODE_MEMORY], SLICE(""));
    lane_count_decision(lane, LANE_EXEMPT, SLICE(""), SLICE(""));
    assert_counted(fixture.metrics,
                   "{decision=\"denied\",mode=\"cached\",tier=\"pro\",window=\"hour\"} 2\n");
    assert_counted(fixture.metrics,
                   "{decision=\"shadow\",mode=\"redis\",tier=\"pro\",window=\"minute\"} 2\n");
    assert_counted(fixture.metrics,
                   "{decision=\"allowed\",mode=\"memory\",tier=\"pro\",window=\"\"} 1\n");
    assert_counted(fixture.metrics, "{decision=\"exempt\",mode=\"\",tier=\"pro\",window=\"\"} 1\n");
    tear_down(&fixture);
}

/* Decisions of the whole limits and of a share of them, in turn. */
static void test_texts_follow_who_decided(void **state)
{
    (void)state;
    static const int64_t capacities[] = {10, 10, 4, 10, 4, 4};
    struct fixture fixture;
    set_up(&fixture);
    struct lane *lane = lane_at(&fixture, 0, 0);
    for (size_t i = 0; i < COUNT_OF(capacities); i++) {
        const struct limit_decision decision = {
            .outcome = i % 2 == 0 ? LIMIT_DENIED : LIMIT_ALLOWED,
            .window_count = 2,
            .binding = i % 2,
            .wait_ms = 1500,
            .levels = {{.capacity = capacities[i], .refill_ms = 60000, .wait_ms = 1500},
                       {.capacity = 100, .remaining = 7, .refill_ms = 3600000, .full_ms = 99001}},
        };
        char expected[LIMIT_FIELDS_SIZE], put[LIMIT_FIELDS_SIZE];
        struct text text;
        text_init(&text, expected, sizeof(expected));
        limit_fields_write(&text, &policy, &decision, SLICE("anonymous"), &fixture.options, 5000);
        const struct limit_fields *fields = lane_limit_fields(lane, &policy, &decision);
        char *end = limit_fields_put(put, fields, &decision, 5000);
        assert_int_equal(end - put, text.length);
        assert_memory_equal(put, expected, text.length);
    }
    tear_down(&fixture);
}

/* A 429 with the ready texts is the same, byte for byte, as one without. */
static void test_quota_texts(void **state)
{
    (void)state;
    struct fixture fixture;
    set_up(&fixture);
    struct lane *lane = lane_at(&fixture, 1, 1);
    for (size_t i = 0; i < 6; i++) {
        size_t window = i % 2, body_bytes, ready_bytes;
        char expected[4096], written[4096];
        struct text text, ready;
        struct reply reply = {
            .kind = REPLY_RATE_LIMITED,
            .request_id = SLICE("abc-1"),
            .date = SLICE("Sun, 06 Nov 1994 08:49:37 GMT"),
            .tier = SLICE("pro"),
            .window = slice_of(policy.windows[window].name),
            .limit = i < 4 ? 10 : 5,
            .wait_ms = 5950,
            .upgrade_url = slice_of(upgrade_url),
        };
        text_init(&text, expected, sizeof(expected));
        reply_write(&text, &reply, &body_bytes);
        reply.quota_start = lane_quota_start(lane, &policy, window, reply.limit);
        reply.quota_end = lane_quota_end(lane);
        reply.tier = reply.window = reply.upgrade_url = SLICE("");
        text_init(&ready, written, sizeof(written));
        reply_write(&ready, &reply, &ready_bytes);
        assert_int_equal(ready_bytes, body_bytes);
        assert_int_equal(ready.length, text.length);
        assert_memory_equal(written, expected, text.length);
    }
    tear_down(&fixture);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_each_has_its_own_lane),
        cmocka_unit_test(test_more_counters_than_places),
        cmocka_unit_test(test_texts_follow_who_decided),
        cmocka_unit_test(test_quota_texts),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
