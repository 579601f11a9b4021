/* SPDX-License-Identifier: MIT */
/* Literals at once, names later on the loop that asked, and cancelling at each stage. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <string.h>

#include <cmocka.h>

#include "kamiyo/net/loop.h"
#include "kamiyo/net/resolver.h"

#include "loop_fixture.h"

struct asker {
    struct resolver_call *call;
    struct resolver_result result;
    int count;
    bool is_done;
};

static void on_result(void *arg, const struct resolver_result *result)
{
    struct asker *asker = arg;

    asker->call = NULL;
    asker->result = *result;
    asker->count++;
    asker->is_done = true;
}

static enum progress
ask(struct resolver *resolver, struct loop *loop, const char *host, struct asker *asker)
{
    *asker = (struct asker){.call = NULL};
    return resolver_resolve(resolver, loop, host, 8080, &asker->result, on_result, asker,
                            &asker->call);
}

static void test_literals_are_answered_at_once(void **state)
{
    static const char *const hosts[] = {"127.0.0.1", "::1", "[::1]"};
    struct resolver *resolver = resolver_create();
    struct asker asker;

    for (size_t i = 0; i < COUNT_OF(hosts); i++) {
        assert_int_equal(ask(resolver, *state, hosts[i], &asker), PROGRESS_DONE);
        assert_null(asker.call);
        assert_true(asker.result.is_found);
        assert_int_equal(asker.result.count, 1);
        assert_int_equal(asker.result.addrs[0].port, 8080);
        assert_true(addr_is_loopback(&asker.result.addrs[0]));
    }
    resolver_destroy(&resolver);
    assert_null(resolver);
    resolver_destroy(&resolver);
}

static void test_impossible_names(void **state)
{
    struct resolver *resolver = resolver_create();
    struct asker asker;
    char host[300];

    memset(host, 'a', sizeof(host) - 1);
    host[sizeof(host) - 1] = '\0';
    assert_int_equal(ask(resolver, *state, host, &asker), PROGRESS_DONE);
    assert_false(asker.result.is_found);
    assert_string_equal(asker.result.reason, "name too long");
    assert_int_equal(ask(resolver, *state, "", &asker), PROGRESS_DONE);
    assert_false(asker.result.is_found);
    resolver_destroy(&resolver);
}

static void test_localhost(void **state)
{
    struct resolver *resolver = resolver_create();
    struct asker asker;

    assert_int_equal(ask(resolver, *state, "localhost", &asker), PROGRESS_PENDING);
    assert_non_null(asker.call);
    loop_fixture_run_until(*state, &asker.is_done);
    assert_true(asker.result.is_found);
    assert_true(asker.result.count >= 1 && asker.result.count <= 2);
    for (int i = 0; i < asker.result.count; i++) {
        assert_true(addr_is_loopback(&asker.result.addrs[i]));
        assert_int_equal(asker.result.addrs[i].port, 8080);
    }
    resolver_destroy(&resolver);
}

static void test_unknown_name(void **state)
{
    struct resolver *resolver = resolver_create();
    struct asker asker;

    /* RFC 6761 6.4: never exists; a name with a bad byte does not even reach a server. */
    assert_int_equal(ask(resolver, *state, "no such name.invalid", &asker), PROGRESS_PENDING);
    loop_fixture_run_until(*state, &asker.is_done);
    assert_false(asker.result.is_found);
    assert_true(asker.result.reason[0] != '\0');
    assert_int_equal(asker.result.count, 0);
    resolver_destroy(&resolver);
}

static void test_cancel(void **state)
{
    struct resolver *resolver = resolver_create();
    struct asker askers[20];

    for (size_t i = 0; i < COUNT_OF(askers); i++)
        assert_int_equal(ask(resolver, *state, "localhost", &askers[i]), PROGRESS_PENDING);
    for (size_t i = 0; i < COUNT_OF(askers); i += 2) {
        resolver_cancel(&askers[i].call);
        assert_null(askers[i].call);
        resolver_cancel(&askers[i].call);
    }
    loop_fixture_run_until(*state, &askers[COUNT_OF(askers) - 1].is_done);
    for (size_t i = 0; i < COUNT_OF(askers); i++)
        assert_int_equal(askers[i].count, i % 2);
    resolver_destroy(&resolver);
}

/* The resolver ends after its queue; the answers are at the loop by then, and one is cancelled
 * there. */
static void test_cancel_after_the_answer(void **state)
{
    struct resolver *resolver = resolver_create();
    struct asker first;
    struct asker last;

    assert_int_equal(ask(resolver, *state, "localhost", &first), PROGRESS_PENDING);
    assert_int_equal(ask(resolver, *state, "localhost", &last), PROGRESS_PENDING);
    while (first.call != NULL) {
        loop_run_for(*state, 1);
        if (last.count > 0)
            break;
    }
    resolver_cancel(&last.call);
    loop_run_for(*state, 20);
    assert_int_equal(first.count, 1);
    assert_true(last.count <= 1);
    resolver_destroy(&resolver);
}

/* The loop goes while an answer is on its way to it. */
static void test_loop_goes_first(void **state)
{
    struct resolver *resolver = resolver_create();
    struct loop *loop = loop_create();
    struct asker asker;

    (void)state;
    assert_int_equal(ask(resolver, loop, "localhost", &asker), PROGRESS_PENDING);
    resolver_destroy(&resolver);
    loop_destroy(&loop);
    assert_int_equal(asker.count, 0);
}

#define TEST(function) \
    cmocka_unit_test_setup_teardown(function, loop_fixture_setup, loop_fixture_teardown)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(test_literals_are_answered_at_once),
        TEST(test_impossible_names),
        TEST(test_localhost),
        TEST(test_unknown_name),
        TEST(test_cancel),
        TEST(test_cancel_after_the_answer),
        TEST(test_loop_goes_first),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
