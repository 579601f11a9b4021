/* SPDX-License-Identifier: MIT */
/* Requests in flight by identity and route: the bound, who shares it, and that nothing is left. */
#include <pthread.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

#include "kamiyo/limit/concurrency.h"

#define KEY   SLICE("user:1")
#define OTHER SLICE("user:2")
#define ROUTE SLICE("export")

static int setup(void **state)
{
    *state = concurrency_create();
    return *state != NULL ? 0 : -1;
}

static int teardown(void **state)
{
    struct concurrency *concurrency = *state;
    concurrency_destroy(&concurrency);
    concurrency_destroy(&concurrency); /* NULL by now, and that is fine */
    return concurrency == NULL ? 0 : -1;
}

static void test_bound(void **state)
{
    struct concurrency *concurrency = *state;
    assert_true(concurrency_enter(concurrency, KEY, ROUTE, 2));
    assert_true(concurrency_enter(concurrency, KEY, ROUTE, 2));
    assert_false(concurrency_enter(concurrency, KEY, ROUTE, 2));
    assert_int_equal(concurrency_total(concurrency), 2); /* what was refused is not counted */
    assert_int_equal(concurrency_count(concurrency, KEY, ROUTE), 2);
    assert_int_equal(concurrency_count(concurrency, KEY, SLICE("other")), 0);
    concurrency_leave(concurrency, KEY, ROUTE);
    assert_true(concurrency_enter(concurrency, KEY, ROUTE, 2));
    assert_false(concurrency_enter(concurrency, KEY, ROUTE, 2));
    /* A reload may lower the bound below what is in flight, or raise it. */
    assert_false(concurrency_enter(concurrency, KEY, ROUTE, 1));
    assert_true(concurrency_enter(concurrency, KEY, ROUTE, 3));
    for (int i = 0; i < 3; i++)
        concurrency_leave(concurrency, KEY, ROUTE);
    assert_int_equal(concurrency_total(concurrency), 0);
}

static void test_identities_and_routes_are_apart(void **state)
{
    struct concurrency *concurrency = *state;
    assert_true(concurrency_enter(concurrency, KEY, ROUTE, 1));
    assert_true(concurrency_enter(concurrency, OTHER, ROUTE, 1));
    assert_true(concurrency_enter(concurrency, KEY, SLICE("import"), 1));
    assert_true(concurrency_enter(concurrency, KEY, (struct slice){NULL, 0}, 1));
    /* The two names are not merely put together. */
    assert_true(concurrency_enter(concurrency, SLICE("user:1e"), SLICE("xport"), 1));
    assert_false(concurrency_enter(concurrency, KEY, ROUTE, 1));
    assert_false(concurrency_enter(concurrency, KEY, (struct slice){NULL, 0}, 1));
    assert_int_equal(concurrency_total(concurrency), 5);
}

static void test_leaving_without_having_entered(void **state)
{
    struct concurrency *concurrency = *state;
    concurrency_leave(concurrency, KEY, ROUTE);
    assert_int_equal(concurrency_total(concurrency), 0);
    assert_true(concurrency_enter(concurrency, OTHER, ROUTE, 1));
    concurrency_leave(concurrency, KEY, ROUTE);
    assert_int_equal(concurrency_total(concurrency), 1);
    assert_false(concurrency_enter(concurrency, OTHER, ROUTE, 1));
}

static struct slice number_key(char memory[16], int number)
{
    int length = snprintf(memory, 16, "user:%d", number);
    return (struct slice){memory, (size_t)length};
}

/* More identities than chains, so that each chain has several, taken out in another order. */
static void test_many(void **state)
{
    struct concurrency *concurrency = *state;
    enum {
        MANY = 5000
    };
    char memory[16];
    for (int i = 0; i < MANY; i++)
        assert_true(concurrency_enter(concurrency, number_key(memory, i), ROUTE, 1));
    assert_int_equal(concurrency_total(concurrency), MANY);
    for (int i = 0; i < MANY; i++)
        assert_false(concurrency_enter(concurrency, number_key(memory, i), ROUTE, 1));
    for (int i = MANY - 1; i >= 0; i -= 2)
        concurrency_leave(concurrency, number_key(memory, i), ROUTE);
    for (int i = 0; i < MANY; i++)
        assert_int_equal(concurrency_enter(concurrency, number_key(memory, i), ROUTE, 1), i % 2);
}

struct crowd {
    struct concurrency *concurrency;
    atomic_int inside;
    atomic_int most;
    atomic_int entered;
};

static void *come_and_go(void *arg)
{
    struct crowd *crowd = arg;
    for (int i = 0; i < 20000; i++) {
        if (!concurrency_enter(crowd->concurrency, KEY, ROUTE, 2))
            continue;
        int inside = atomic_fetch_add(&crowd->inside, 1) + 1, most = atomic_load(&crowd->most);
        while (inside > most && !atomic_compare_exchange_weak(&crowd->most, &most, inside))
            continue;
        atomic_fetch_add(&crowd->entered, 1);
        atomic_fetch_sub(&crowd->inside, 1);
        concurrency_leave(crowd->concurrency, KEY, ROUTE);
    }
    return NULL;
}

static void test_threads(void **state)
{
    struct crowd crowd = {.concurrency = *state};
    pthread_t threads[4];
    for (int i = 0; i < 4; i++)
        assert_int_equal(pthread_create(&threads[i], NULL, come_and_go, &crowd), 0);
    for (int i = 0; i < 4; i++)
        assert_int_equal(pthread_join(threads[i], NULL), 0);
    assert_in_range(atomic_load(&crowd.most), 1, 2);
    assert_true(atomic_load(&crowd.entered) > 0);
    assert_int_equal(concurrency_total(*state), 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(test_bound, setup, teardown),
        cmocka_unit_test_setup_teardown(test_identities_and_routes_are_apart, setup, teardown),
        cmocka_unit_test_setup_teardown(test_leaving_without_having_entered, setup, teardown),
        cmocka_unit_test_setup_teardown(test_many, setup, teardown),
        cmocka_unit_test_setup_teardown(test_threads, setup, teardown),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
