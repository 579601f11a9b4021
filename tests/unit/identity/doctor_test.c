/* SPDX-License-Identifier: MIT */
/* What is worth a warning, and that it is said once. The warnings are read back from the log's
 * file. */
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

#include "kamiyo/identity/doctor.h"

#include "request_support.h"

static void test_one_address(void **state)
{
    static const struct {
        struct doctor_sample sample;
        bool is_found;
    } rows[] = {
        {{512, 512, 100}, true}, {{512, 308, 16}, true},  {{512, 307, 100}, false},
        {{512, 0, 100}, false},  {{512, 512, 15}, false}, {{63, 63, 40}, false},
        {{64, 64, 40}, true},    {{0, 0, 0}, false},
    };

    (void)state;
    for (size_t i = 0; i < COUNT_OF(rows); i++)
        assert_int_equal(doctor_is_one_address(&rows[i].sample), rows[i].is_found);
}

static void test_proxy_like(void **state)
{
    static const struct {
        const char *peer; /* NULL = unix */
        bool trusts_some;
        bool is_like;
    } rows[] = {
        {"10.1.2.3", true, true},     {"172.16.0.1", true, true},   {"172.32.0.1", true, false},
        {"192.168.1.1", true, true},  {"127.0.0.1", true, true},    {NULL, true, true},
        {"fd00::1", true, true},      {"2001:db8::1", true, false}, {"203.0.113.1", true, false},
        {"203.0.113.1", false, true}, {"::1", true, true},
    };

    (void)state;
    for (size_t i = 0; i < COUNT_OF(rows); i++) {
        struct client_ip_options options = {.trusted_count = rows[i].trusts_some};
        struct addr peer = {.family = ADDR_UNIX};

        if (rows[i].peer != NULL)
            assert_true(addr_parse(slice_of(rows[i].peer), &peer));
        if (doctor_is_proxy_like(&options, &peer) != rows[i].is_like)
            fail_msg("%s", rows[i].peer);
    }
}

/* The warnings that were logged to `path`. */
static int count_warnings(const char *path, const char *part)
{
    FILE *file = fopen(path, "r");
    char line[1024];
    int count = 0;

    assert_non_null(file);
    while (fgets(line, sizeof(line), file) != NULL)
        count += strstr(line, " WARNING - ") != NULL && strstr(line, part) != NULL;
    assert_int_equal(fclose(file), 0);
    return count;
}

/* `count` requests of `peer`, each with a field of its own if `fields` says so. */
static void observe(struct doctor *doctor,
                    const struct client_ip_options *options,
                    const char *peer,
                    const char *field,
                    int count,
                    int64_t now_ms)
{
    struct addr addr;

    assert_true(addr_parse(slice_of(peer), &addr));
    for (int i = 0; i < count; i++) {
        char line[64];
        const char *lines[] = {field != NULL ? line : NULL, NULL};
        struct request_fixture fixture;
        struct client_ip client;

        (void)snprintf(line, sizeof(line), "%s: 192.0.2.%d", field != NULL ? field : "", i % 200);
        request_make(&fixture, "GET", "/", lines);
        client_ip_find(options, &addr, &fixture.request.head, &client);
        doctor_observe(doctor, options, &addr, &fixture.request.head, &client, now_ms);
    }
}

static void test_warnings(void **state)
{
    char path[] = "/tmp/doctor_test_XXXXXX";
    struct addr_range trusted;
    struct client_ip_options none = {.trusted_count = 0},
                             some = {.trusted = &trusted, .trusted_count = 1, .hops = 2};
    struct doctor_gates gates;
    struct doctor *first, *second;
    struct error error;
    int fd = mkstemp(path);

    (void)state;
    memset(&gates, 0, sizeof(gates));
    assert_true(fd >= 0);
    assert_int_equal(close(fd), 0);
    assert_true(log_open(path, LOG_LEVEL_INFO, LOG_FORMAT_TEXT, &error));
    assert_true(addr_range_parse(SLICE("10.0.0.0/8"), &trusted));
    first = doctor_create(&gates);
    second = doctor_create(&gates);

    observe(first, &none, "10.0.0.1", NULL, 5000, 1000); /* nothing to say */
    assert_int_equal(count_warnings(path, ""), 0);
    observe(first, &none, "10.0.0.1", "X-Forwarded-For", 5, 1000);
    observe(second, &none, "10.0.0.1", "X-Forwarded-For", 5, 1000);
    assert_int_equal(count_warnings(path, "X-Forwarded-For from 10.0.0.1 is not believed"), 1);
    observe(first, &none, "10.0.0.1", "CF-Connecting-IP", 1, 1000 + 3600000);
    assert_int_equal(count_warnings(path, "CF-Connecting-IP from 10.0.0.1 is not believed"), 1);
    observe(first, &none, "10.0.0.1", "X-Forwarded-For", 8 * 1024, 2000);
    assert_int_equal(count_warnings(path, "Most requests are charged to 10.0.0.1"), 1);
    assert_int_equal(count_warnings(path, ""), 3);

    observe(first, &some, "10.0.0.1", NULL, 99, 1000); /* health checks */
    assert_int_equal(count_warnings(path, "shorter than"), 0);
    observe(first, &some, "10.0.0.1", "X-Forwarded-For", 3, 1000);
    assert_int_equal(count_warnings(path, "from 10.0.0.1 is shorter than client_ip.hops (2)"), 1);
    observe(second, &some, "10.0.0.1", NULL, 100, 1000 + 3600000);
    assert_int_equal(count_warnings(path, "shorter than"), 2);
    observe(second, &some, "203.0.113.9", "X-Forwarded-For", 7,
            99999999); /* a forger: no advice for that */
    assert_int_equal(count_warnings(path, "203.0.113.9"), 0);

    doctor_destroy(&first);
    doctor_destroy(&second);
    doctor_destroy(&second);
    assert_true(log_open("", LOG_LEVEL_INFO, LOG_FORMAT_TEXT, &error));
    (void)unlink(path); /* a leftover of the test harms nobody */
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(test_one_address),
                                       cmocka_unit_test(test_proxy_like),
                                       cmocka_unit_test(test_warnings)};

    return cmocka_run_group_tests(tests, NULL, NULL);
}
