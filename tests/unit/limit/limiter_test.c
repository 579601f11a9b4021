/* SPDX-License-Identifier: MIT */
/* The front: decisions of the in-process mode as a caller sees them, on a frozen clock. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>

#include "kamiyo/limit/bucket_table.h"
#include "kamiyo/limit/limit_policy.h"
#include "kamiyo/limit/limiter.h"
#include "kamiyo/limit/limiter_shared.h"
#include "kamiyo/net/loop.h"

struct fixture {
    struct loop *loop;
    struct limit_shared *shared;
    struct limiter *limiter;
    struct limiter_options options;
    struct clock_time now;
    struct limit_policy anonymous;
    int64_t deleted;
};

static void policy_of(struct limit_policy *policy, int64_t minute, int64_t hour)
{
    struct limit_window window;

    *policy = (struct limit_policy){0};
    assert_true(limit_window_init(&window, hour, 0, 3600000, NULL));
    assert_true(limit_policy_add(policy, &window, NULL));
    assert_true(limit_window_init(&window, minute, 0, 60000, NULL));
    assert_true(limit_policy_add(policy, &window, NULL));
}

static void setup(struct fixture *f)
{
    *f = (struct fixture){.options = {.memory_bytes = 1 << 20}, .deleted = -2};
    f->loop = loop_create();
    f->now = (struct clock_time){.monotonic_us = 1000000000, .wall_us = 1700000000000000};
    loop_fake_time(f->loop, &f->now);
    f->shared = limit_shared_create(f->options.memory_bytes, 1);
    f->limiter = limiter_create(f->loop, &f->options, NULL, f->shared, NULL, 0);
    policy_of(&f->anonymous, 10, 100);
}

static void teardown(struct fixture *f)
{
    limiter_destroy(&f->limiter);
    limit_shared_destroy(&f->shared);
    loop_destroy(&f->loop);
}

static void pass_ms(struct fixture *f, int64_t ms)
{
    f->now.monotonic_us += ms * 1000;
    f->now.wall_us += ms * 1000;
    loop_fake_time(f->loop, &f->now);
    loop_run_for(f->loop, 0);
}

static void never(void *arg, const struct limit_decision *decision)
{
    (void)arg;
    (void)decision;
    fail();
}

static struct limit_query query_of(struct fixture *f, const char *key, int64_t cost)
{
    return (struct limit_query){.key = slice_of(key), .policy = &f->anonymous, .cost = cost};
}

static struct limit_decision check(struct fixture *f, const struct limit_query *query)
{
    struct limit_decision decision;
    struct limiter_call *call = NULL;

    assert_int_equal(limiter_check(f->limiter, query, &decision, never, NULL, &call),
                     PROGRESS_DONE);
    return decision;
}

static void test_admits_the_burst_then_denies_with_the_exact_wait(void **state)
{
    struct fixture f;
    struct limit_query query;
    struct limit_decision decision;

    (void)state;
    setup(&f);
    query = query_of(&f, "ip:192.0.2.1", 1);
    for (int i = 0; i < 10; i++) {
        decision = check(&f, &query);
        assert_int_equal(decision.outcome, LIMIT_ALLOWED);
        assert_int_equal(decision.mode, LIMIT_MODE_MEMORY);
        assert_int_equal(decision.window_count, 2);
        assert_int_equal(decision.binding, 0);
        assert_int_equal(decision.levels[0].remaining, 9 - i);
        assert_int_equal(decision.levels[1].remaining, 99 - i);
    }
    decision = check(&f, &query);
    assert_int_equal(decision.outcome, LIMIT_DENIED);
    assert_int_equal(decision.mode, LIMIT_MODE_MEMORY);
    assert_int_equal(decision.wait_ms, 6000);
    pass_ms(&f, 5999);
    decision = check(&f, &query);
    assert_int_equal(decision.outcome, LIMIT_DENIED);
    assert_int_equal(decision.wait_ms, 1);
    pass_ms(&f, 1);
    assert_int_equal(check(&f, &query).outcome, LIMIT_ALLOWED);
    /* another identity, and the same one on a route of its own, have buckets of their own */
    query.route = SLICE("webhooks");
    assert_int_equal(check(&f, &query).levels[0].remaining, 9);
    query = query_of(&f, "ip:192.0.2.2", 1);
    assert_int_equal(check(&f, &query).levels[0].remaining, 9);
    teardown(&f);
}

static void test_charges_and_refunds_after_the_answer(void **state)
{
    struct fixture f;
    struct limit_query query;
    struct limit_query more;
    struct limit_decision decision;
    struct limiter_call *call = NULL;

    (void)state;
    setup(&f);
    query = query_of(&f, "user:123", 1);
    (void)check(&f, &query);
    more = query_of(&f, "user:123", 20);
    limiter_charge(f.limiter, &more);
    decision = check(&f, &query);
    assert_int_equal(decision.outcome, LIMIT_DENIED);
    assert_int_equal(decision.wait_ms, 72000); /* 11 below zero, and one to come */
    assert_int_equal(decision.levels[0].remaining, 0);
    limiter_refund(f.limiter, &more);
    assert_int_equal(limiter_peek(f.limiter, &query, &decision, never, NULL, &call), PROGRESS_DONE);
    assert_int_equal(decision.outcome, LIMIT_ALLOWED);
    assert_int_equal(decision.levels[0].remaining, 9);
    limiter_refund(f.limiter, &more); /* never above the capacity */
    assert_int_equal(limiter_peek(f.limiter, &query, &decision, never, NULL, &call), PROGRESS_DONE);
    assert_int_equal(decision.levels[0].remaining, 10);
    assert_int_equal(decision.levels[1].remaining, 100);
    teardown(&f);
}

static void test_rehearsal_says_what_a_check_would(void **state)
{
    struct fixture f;
    struct limit_query query;
    struct limit_decision said, decision;
    struct limiter_call *call = NULL;

    (void)state;
    setup(&f);
    query = query_of(&f, "user:123", 3);
    for (int i = 0; i < 5; i++) {
        for (int twice = 0; twice < 2; twice++)
            assert_int_equal(limiter_rehearse(f.limiter, &query, &said, never, NULL, &call),
                             PROGRESS_DONE);
        decision = check(&f, &query);
        assert_int_equal(said.outcome, i < 3 ? LIMIT_ALLOWED : LIMIT_DENIED);
        assert_int_equal(said.outcome, decision.outcome);
        assert_int_equal(said.mode, decision.mode);
        assert_int_equal(said.binding, decision.binding);
        assert_int_equal(said.wait_ms, decision.wait_ms);
        assert_int_equal(said.window_count, 2);
        assert_memory_equal(said.levels, decision.levels, 2 * sizeof(said.levels[0]));
        pass_ms(&f, 777);
    }
    teardown(&f);
}

static void on_reset(void *arg, int64_t deleted)
{
    *(int64_t *)arg = deleted;
}

static void test_reset_forgets_all_routes_and_answers_later(void **state)
{
    struct fixture f;
    struct limit_query query;
    struct limit_buckets buckets;
    struct slice route = SLICE("webhooks");

    (void)state;
    setup(&f);
    query = query_of(&f, "user:123", 10);
    (void)check(&f, &query);
    query.route = route;
    (void)check(&f, &query);
    buckets = (struct limit_buckets){.key = query.key, .routes = &route, .route_count = 1};
    limiter_reset(f.limiter, &buckets, on_reset, &f.deleted);
    assert_int_equal(f.deleted, -2);
    loop_run_for(f.loop, 1);
    assert_int_equal(f.deleted, 4);
    assert_int_equal(check(&f, &query).outcome, LIMIT_ALLOWED);
    query.route = (struct slice){NULL, 0};
    assert_int_equal(check(&f, &query).outcome, LIMIT_ALLOWED);
    /* one that is still under way when the limiter goes */
    buckets.route_count = 0;
    limiter_reset(f.limiter, &buckets, on_reset, &f.deleted);
    teardown(&f);
}

static void test_changed_limits_keep_what_was_spent(void **state)
{
    struct fixture f;
    struct limit_query query;
    struct limit_policy larger;

    (void)state;
    setup(&f);
    policy_of(&f.anonymous, 100, 1000);
    policy_of(&larger, 200, 1000);
    query = query_of(&f, "user:123", 80);
    (void)check(&f, &query);
    query.policy = &larger;
    query.cost = 1;
    assert_int_equal(check(&f, &query).levels[0].remaining, 119);
    teardown(&f);
}

static void test_local_budgets(void **state)
{
    struct fixture f;
    struct limit_query query;
    struct limit_decision decision;

    (void)state;
    setup(&f);
    query = query_of(&f, "failures:ip:192.0.2.1", 10);
    limiter_peek_local(f.limiter, &query, &decision);
    assert_int_equal(decision.outcome, LIMIT_ALLOWED);
    limiter_check_local(f.limiter, &query, &decision);
    assert_int_equal(decision.outcome, LIMIT_ALLOWED);
    query.cost = 1;
    limiter_peek_local(f.limiter, &query, &decision);
    assert_int_equal(decision.outcome, LIMIT_DENIED);
    assert_int_equal(decision.wait_ms, 6000);
    teardown(&f);
}

static void test_full_buckets_leave_the_table(void **state)
{
    struct fixture f;
    struct limit_query query;
    struct bucket_table_stats stats;

    (void)state;
    setup(&f);
    query = query_of(&f, "user:123", 1);
    (void)check(&f, &query);
    bucket_table_stats(f.shared->table, &stats);
    assert_int_equal(stats.entries, 1);
    assert_int_equal(stats.buckets, 2);
    for (int i = 0; i < 40; i++)
        pass_ms(&f, 1001);
    bucket_table_stats(f.shared->table, &stats);
    assert_int_equal(stats.entries, 0);
    assert_int_equal(stats.buckets, 0);
    teardown(&f);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_admits_the_burst_then_denies_with_the_exact_wait),
        cmocka_unit_test(test_charges_and_refunds_after_the_answer),
        cmocka_unit_test(test_rehearsal_says_what_a_check_would),
        cmocka_unit_test(test_reset_forgets_all_routes_and_answers_later),
        cmocka_unit_test(test_changed_limits_keep_what_was_spent),
        cmocka_unit_test(test_local_budgets),
        cmocka_unit_test(test_full_buckets_leave_the_table),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
