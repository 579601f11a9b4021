/* SPDX-License-Identifier: MIT */
/*
 * The limit's header fields, byte for byte: an admission, a denial with two
 * windows that deny, the switches, and decisions that carry none.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "kamiyo/proxy/limit_fields.h"

static const struct limit_policy policy = {
    .window_count = 2,
    .windows = {{.name = "minute", .period_ms = 60000, .limit = 10, .burst = 10},
                {.name = "hour", .period_ms = 3600000, .limit = 100, .burst = 100}},
};

static const struct limit_decision allowed = {
    .outcome = LIMIT_ALLOWED,
    .window_count = 2,
    .binding = 0,
    .levels = {{.capacity = 10, .remaining = 9, .refill_ms = 60000, .full_ms = 5950},
               {.capacity = 100, .remaining = 99, .refill_ms = 3600000, .full_ms = 36000}},
};

static const struct limit_decision denied = {
    .outcome = LIMIT_DENIED,
    .window_count = 2,
    .binding = 1,
    .wait_ms = 30001,
    .levels =
        {{.capacity = 10, .remaining = 0, .refill_ms = 60000, .full_ms = 60000, .wait_ms = 5950},
         {.capacity = 100,
          .remaining = 0,
          .refill_ms = 3600000,
          .full_ms = 3600000,
          .wait_ms = 30001}},
};

struct row {
    const char *name;
    const struct limit_decision *decision;
    struct reply_options options;
    const char *expected;
};

static const struct limit_decision unlimited = {.outcome = LIMIT_UNLIMITED, .window_count = 2};

static const struct row rows[] = {
    {"allowed",
     &allowed,
     {.has_x_ratelimit = true, .has_ratelimit = true},
     "X-RateLimit-Limit: 10\r\nX-RateLimit-Remaining: 9\r\nX-RateLimit-Reset: 1006\r\n"
     "X-RateLimit-Tier: free\r\n"
     "RateLimit-Policy: \"minute\";q=10;w=60, \"hour\";q=100;w=3600\r\n"
     "RateLimit: \"minute\";r=9;t=6, \"hour\";r=99;t=36\r\n"},
    {"denied",
     &denied,
     {.has_x_ratelimit = true, .has_ratelimit = true},
     "X-RateLimit-Limit: 100\r\nX-RateLimit-Remaining: 0\r\nX-RateLimit-Reset: 1031\r\n"
     "X-RateLimit-Tier: free\r\n"
     "RateLimit-Policy: \"minute\";q=10;w=60, \"hour\";q=100;w=3600\r\n"
     "RateLimit: \"minute\";r=0;t=6, \"hour\";r=0;t=31\r\n"},
    {"x only",
     &allowed,
     {.has_x_ratelimit = true},
     "X-RateLimit-Limit: 10\r\nX-RateLimit-Remaining: 9\r\nX-RateLimit-Reset: 1006\r\n"
     "X-RateLimit-Tier: free\r\n"},
    {"draft only",
     &allowed,
     {.has_ratelimit = true},
     "RateLimit-Policy: \"minute\";q=10;w=60, \"hour\";q=100;w=3600\r\n"
     "RateLimit: \"minute\";r=9;t=6, \"hour\";r=99;t=36\r\n"},
    {"off", &allowed, {.has_ratelimit = false}, ""},
    {"unlimited", &unlimited, {.has_x_ratelimit = true, .has_ratelimit = true}, ""},
};

static void test_fields(void **state)
{
    (void)state;
    for (size_t i = 0; i < COUNT_OF(rows); i++) {
        char memory[LIMIT_FIELDS_SIZE + 1];
        struct text out;
        text_init(&out, memory, LIMIT_FIELDS_SIZE);
        limit_fields_write(&out, &policy, rows[i].decision, SLICE("free"), &rows[i].options,
                           1000000);
        memory[out.length] = '\0';
        assert_false(out.overflow);
        assert_string_equal(memory, rows[i].expected);
    }
}

/* The longest of everything fits, and numbers at their ends are written out. */
static void test_extremes(void **state)
{
    (void)state;
    struct limit_policy widest = {.window_count = LIMIT_MAX_WINDOWS};
    struct limit_decision decision = {.outcome = LIMIT_ALLOWED, .window_count = LIMIT_MAX_WINDOWS};
    const struct reply_options options = {.has_x_ratelimit = true, .has_ratelimit = true};
    char memory[LIMIT_FIELDS_SIZE + 1];
    struct text out;
    for (size_t i = 0; i < LIMIT_MAX_WINDOWS; i++) {
        memcpy(widest.windows[i].name, "123456789012345", LIMIT_WINDOW_NAME_SIZE);
        decision.levels[i] = (struct limit_level){.capacity = INT64_MAX,
                                                  .remaining = INT64_MAX,
                                                  .refill_ms = INT64_MAX,
                                                  .full_ms = INT64_MAX};
    }
    text_init(&out, memory, LIMIT_FIELDS_SIZE);
    limit_fields_write(&out, &widest, &decision, SLICE("abcdefghijklmnopqrstuvwxyz012345"),
                       &options, 0);
    memory[out.length] = '\0';
    assert_false(out.overflow);
    assert_non_null(strstr(memory, "X-RateLimit-Remaining: 9223372036854775807\r\n"));
    assert_non_null(strstr(memory, "X-RateLimit-Reset: 9223372036854776\r\n"));
    decision.levels[0].remaining = -5;
    decision.levels[0].full_ms = -1;
    text_init(&out, memory, LIMIT_FIELDS_SIZE);
    limit_fields_write(&out, &widest, &decision, SLICE("t"), &options, 0);
    memory[out.length] = '\0';
    assert_non_null(strstr(memory, "X-RateLimit-Remaining: 0\r\nX-RateLimit-Reset: 0\r\n"));
    assert_non_null(strstr(memory, "RateLimit: \"123456789012345\";r=0;t=0, "));
}

static void test_retry_after(void **state)
{
    (void)state;
    static const struct {
        int64_t wait_ms, seconds;
    } waits[] = {{1, 1}, {999, 1}, {1000, 1}, {1001, 2}, {30001, 31}, {0, 1}};
    for (size_t i = 0; i < COUNT_OF(waits); i++) {
        const struct limit_decision decision = {.outcome = LIMIT_DENIED,
                                                .wait_ms = waits[i].wait_ms};
        assert_int_equal(limit_fields_retry_after(&decision), waits[i].seconds);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_fields),
        cmocka_unit_test(test_extremes),
        cmocka_unit_test(test_retry_after),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
