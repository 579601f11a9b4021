/* SPDX-License-Identifier: MIT */
/* Tiers, policies, refunds and lists as the data path asks for them, and the life of a table. */
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

#include "kamiyo/base/clock.h"
#include "kamiyo/base/mem.h"
#include "kamiyo/route/route_table.h"

#include "request_support.h"

#define TEXTS(...)  \
    (char *[])      \
    {               \
        __VA_ARGS__ \
    }

static char anonymous[] = "anonymous", free_name[] = "free", pro[] = "pro", internal[] = "internal",
            none[] = "", hooks[] = "hooks", health[] = "/health", hooks_path[] = "/hooks/*",
            dear[] = "/dear", x_cost[] = "X-Cost", mallory[] = "mallory", alice[] = "alice";

static struct limit_policy policy(const char *name, int64_t limit)
{
    struct limit_policy made = {.window_count = 1, .windows = {{.limit = limit, .burst = limit}}};

    strncpy(made.windows[0].name, name, sizeof(made.windows[0].name) - 1);
    return made;
}

static struct route_table *make_table(bool has_free)
{
    struct addr_range allow_range, deny_ranges[2];
    struct route_tier_options tiers[] = {
        {.name = anonymous, .policy = policy("minute", 10)},
        {.name = pro, .policy = policy("minute", 35)},
        {.name = internal, .is_unlimited = true},
        {.name = free_name, .policy = policy("hour", 20)},
    };
    struct route_tier_options hook_tiers[] = {
        {.name = pro, .policy = policy("10s", 60)},
        {.name = anonymous, .policy = policy("minute", 30)},
    };
    struct route_options routes[] = {
        {.name = none,
         .paths = TEXTS(health),
         .path_count = 1,
         .is_exempt = true,
         .cost_from = none,
         .cost = 1},
        {.name = hooks,
         .paths = TEXTS(hooks_path),
         .path_count = 1,
         .tiers = hook_tiers,
         .tier_count = 2,
         .cost = 2,
         .cost_from = x_cost,
         .max_cost = 50,
         .refund_statuses = (int[]){502, 504, 100, 599, 99, 600},
         .refund_count = 6,
         .concurrency = 3,
         .is_shadow = true,
         .on_failure = LIMIT_ON_FAILURE_DENY},
        {.name = none, .paths = TEXTS(dear), .path_count = 1, .cost = 5, .cost_from = none},
    };
    struct route_table_options options = {
        .tiers = tiers,
        .tier_count = has_free ? 4 : 3,
        .routes = routes,
        .route_count = 3,
        .allow = {.ranges = &allow_range,
                  .range_count = 1,
                  .users = TEXTS(alice, mallory),
                  .user_count = 2},
        .deny = {.ranges = deny_ranges, .range_count = 2, .users = TEXTS(mallory), .user_count = 1},
        .on_failure = LIMIT_ON_FAILURE_ALLOW};

    assert_true(addr_range_parse(SLICE("10.0.0.0/8"), &allow_range));
    assert_true(addr_range_parse(SLICE("10.6.6.0/24"), &deny_ranges[0]));
    assert_true(addr_range_parse(SLICE("2001:db8::/32"), &deny_ranges[1]));
    return route_table_create(&options);
}

static const struct route *find(const struct route_table *table, const char *path)
{
    struct request_fixture fixture;

    request_make(&fixture, "GET", path, NULL);
    return route_table_find(table, &fixture.request);
}

static void test_routes(void **state)
{
    struct route_table *table = make_table(true);
    const struct route *route;

    (void)state;
    assert_int_equal(route_table_count(table), 4);
    route = find(table, "/elsewhere");
    assert_int_equal(route->index, 0);
    assert_int_equal(route->cost, 1);
    assert_int_equal(route->on_failure, LIMIT_ON_FAILURE_ALLOW);
    assert_false(route->is_exempt || route->has_own_tiers || route->is_shadow);
    assert_int_equal(route->name.length + route->cost_from.length, 0);
    assert_true(find(table, "/health")->is_exempt);
    route = find(table, "/hooks/stripe");
    assert_ptr_equal(route, route_table_at(table, 2));
    assert_true(slice_equal(route->name, SLICE("hooks")));
    assert_true(slice_equal(route->cost_from, SLICE("X-Cost")));
    assert_true(route->has_own_tiers && route->is_shadow);
    assert_int_equal(route->cost, 2);
    assert_int_equal(route->max_cost, 50);
    assert_int_equal(route->concurrency, 3);
    assert_int_equal(route->on_failure, LIMIT_ON_FAILURE_DENY);
    assert_int_equal(find(table, "/dear")->cost, 5);
    route_table_unref(&table);
}

static void test_tiers(void **state)
{
    struct route_table *table = make_table(true);

    (void)state;
    assert_int_equal(route_table_tier_count(table), 4);
    assert_int_equal(route_table_tier(table, SLICE("pro"), true)->index, 1);
    assert_int_equal(route_table_tier(table, SLICE("internal"), true)->index, 2);
    assert_int_equal(route_table_tier(table, SLICE(""), true)->index, 3);
    assert_int_equal(route_table_tier(table, SLICE("gold"), true)->index, 3);
    assert_int_equal(route_table_tier(table, SLICE("Pro"), true)->index, 3);
    assert_int_equal(route_table_tier(table, SLICE(""), false)->index, 0);
    assert_true(slice_equal(route_table_tier_at(table, 3)->name, SLICE("free")));
    route_table_unref(&table);
    table = make_table(false);
    assert_int_equal(route_table_tier(table, SLICE("gold"), true)->index, 0);
    route_table_unref(&table);
}

static void test_policies(void **state)
{
    struct route_table *table = make_table(true);
    const struct route *plain = find(table, "/"), *own = find(table, "/hooks/x"),
                       *exempt = find(table, "/health");
    const struct slice *windows;
    size_t count;

    (void)state;
    assert_int_equal(route_policy(table, plain, route_table_tier_at(table, 1))->windows[0].limit,
                     35);
    assert_null(route_policy(table, plain, route_table_tier_at(table, 2)));
    assert_null(route_policy(table, exempt, route_table_tier_at(table, 0)));
    assert_int_equal(route_policy(table, own, route_table_tier_at(table, 0))->windows[0].limit, 30);
    assert_int_equal(route_policy(table, own, route_table_tier_at(table, 1))->windows[0].limit, 60);
    /* Tiers that the route does not list, an unlimited one included, take its anonymous limits. */
    assert_int_equal(route_policy(table, own, route_table_tier_at(table, 2))->windows[0].limit, 30);
    assert_int_equal(route_policy(table, own, route_table_tier_at(table, 3))->windows[0].limit, 30);
    windows = route_table_window_names(table, &count);
    assert_int_equal(count, 3);
    assert_true(slice_equal(windows[0], SLICE("minute")));
    assert_true(slice_equal(windows[1], SLICE("hour")));
    assert_true(slice_equal(windows[2], SLICE("10s")));
    route_table_unref(&table);
}

static void test_refunds(void **state)
{
    struct route_table *table = make_table(true);
    const struct route *own = find(table, "/hooks/x");

    (void)state;
    assert_true(route_refunds(table, own, 502));
    assert_true(route_refunds(table, own, 504));
    assert_true(route_refunds(table, own, 100));
    assert_true(route_refunds(table, own, 599));
    assert_false(route_refunds(table, own, 503));
    assert_false(route_refunds(table, own, 99));
    assert_false(route_refunds(table, own, 600));
    assert_false(route_refunds(table, own, -1));
    assert_false(route_refunds(table, find(table, "/"), 502));
    route_table_unref(&table);
}

static void test_lists(void **state)
{
    static const struct {
        const char *addr;
        enum route_verdict verdict;
    } addrs[] = {{"10.1.1.1", ROUTE_ALLOWED},
                 {"10.6.6.6", ROUTE_DENIED},
                 {"192.0.2.1", ROUTE_NEITHER},
                 {"2001:db8::1", ROUTE_DENIED},
                 {"2001:db9::1", ROUTE_NEITHER}};
    struct route_table *table = make_table(true);
    struct addr peer = {.family = ADDR_UNIX};

    (void)state;
    for (size_t i = 0; i < COUNT_OF(addrs); i++) {
        struct addr addr;

        assert_true(addr_parse(slice_of(addrs[i].addr), &addr));
        assert_int_equal(route_table_judge_addr(table, &addr), addrs[i].verdict);
    }
    assert_int_equal(route_table_judge_addr(table, &peer), ROUTE_NEITHER);
    assert_int_equal(route_table_judge_user(table, SLICE("mallory")), ROUTE_DENIED);
    assert_int_equal(route_table_judge_user(table, SLICE("alice")), ROUTE_ALLOWED);
    assert_int_equal(route_table_judge_user(table, SLICE("Alice")), ROUTE_NEITHER);
    assert_int_equal(route_table_judge_user(table, SLICE("")), ROUTE_NEITHER);
    route_table_unref(&table);
}

static void test_references(void **state)
{
    struct route_table *table = make_table(true), *other = route_table_ref(table), *nothing = NULL;

    (void)state;
    route_table_unref(&table);
    assert_null(table);
    assert_int_equal(find(other, "/dear")->cost, 5); /* still there */
    route_table_unref(&other);
    route_table_unref(&nothing);
}

/* Nanoseconds a find takes among `count` routes, half exact and half prefixes; the best of some
 * rounds. */
static double time_find(size_t count)
{
    enum {
        ROUNDS = 9,
        FINDS = 2000
    };
    static const char *const targets[] = {"/exploits?page=1", "/api/v1/item3/tx", "/static/1",
                                          "/api/v2/none", "/health"};
    struct route_options *routes = mem_alloc_zero(count * sizeof(*routes));
    char(*texts)[48] = mem_alloc_zero(count * sizeof(*texts));
    char **paths = mem_alloc_zero(count * sizeof(*paths));
    struct route_tier_options tier = {.name = anonymous, .policy = policy("minute", 10)};
    struct route_table_options options = {
        .tiers = &tier, .tier_count = 1, .routes = routes, .route_count = count};
    struct route_table *table;
    double best = 1e9;

    for (size_t i = 0; i < count; i++) {
        (void)snprintf(texts[i], sizeof(texts[i]), i % 2 == 0 ? "/static/%zu" : "/api/v1/item%zu/*",
                       i);
        paths[i] = texts[i];
        routes[i] = (struct route_options){
            .name = none, .cost_from = none, .paths = &paths[i], .path_count = 1};
    }
    table = route_table_create(&options);
    for (int round = 0; round < ROUNDS; round++) {
        struct request_fixture fixtures[COUNT_OF(targets)];
        struct clock_time from, to;
        double ns;

        for (size_t i = 0; i < COUNT_OF(targets); i++)
            request_make(&fixtures[i], "GET", targets[i], NULL);
        clock_read(&from);
        for (size_t i = 0; i < FINDS; i++)
            assert_non_null(route_table_find(table, &fixtures[i % COUNT_OF(targets)].request));
        clock_read(&to);
        ns = (double)(to.monotonic_us - from.monotonic_us) * 1000 / FINDS;
        best = ns < best ? ns : best;
    }
    route_table_unref(&table);
    mem_free(routes);
    mem_free(texts);
    mem_free(paths);
    return best;
}

/* A hundred times the routes: a scan would take a hundred times as long. The bound is wide, for
 * machines that are busy. */
static void test_cost_of_many_routes(void **state)
{
    double few = time_find(10), many = time_find(1000);

    (void)state;
    print_message("find among 10 routes %.0f ns, among 1000 %.0f ns\n", few, many);
    assert_true(many < few * 6);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_routes),
        cmocka_unit_test(test_tiers),
        cmocka_unit_test(test_policies),
        cmocka_unit_test(test_refunds),
        cmocka_unit_test(test_lists),
        cmocka_unit_test(test_references),
        cmocka_unit_test(test_cost_of_many_routes),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
