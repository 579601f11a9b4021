/* SPDX-License-Identifier: MIT */
/* Lints as a table: a small file, and the one complaint that it gets, or none. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#include "kamiyo/base/attributes.h"
#include "kamiyo/config/config_check.h"

#include "config/config_support.h"

struct lint_case {
    const char *text;
    const char *key; /* NULL = nothing to complain about */
    const char *part;
    int line;
    int column;
    enum error_severity severity;
};

static const struct lint_case cases[] = {
    {"tiers: {anonymous: {minute: 10, hour: 5}}", "tiers.anonymous.hour", "below the 10 of minute",
     1, 39, ERROR_WARNING},
    {"tiers: {anonymous: {60s: 10, 1h: 5}}", "tiers.anonymous.hour", "below the 10 of minute", 1,
     34, ERROR_WARNING},
    {"tiers: {anonymous: {hour: 100, minute: 10}}", NULL, NULL, 0, 0, 0},
    {"tiers: {anonymous: none}", "tiers.anonymous", "is not limited", 1, 20, ERROR_WARNING},
    {"identity: {failures: {minute: 9, day: 5}}", "identity.failures.day", "below", 1, 39,
     ERROR_WARNING},

    {"routes: [{path: /a, cost: 11}]", "routes[0].cost", "at most 10", 1, 27, ERROR_FATAL},
    {"routes: [{path: /a, cost: 10}]", NULL, NULL, 0, 0, 0},
    {"routes: [{name: r, path: /a, cost: 11, tiers: {anonymous: {minute: 20}}}]", NULL, NULL, 0, 0,
     0},
    {"routes: [{name: r, path: /a, cost: 21, tiers: {anonymous: {minute: 20}}}]", "routes[0].cost",
     "at most 20", 1, 36, ERROR_FATAL},
    {"routes: [{name: r, tiers: {anonymous: {minute: 20}, pros: {minute: 30}}}]", "routes[0].tiers",
     "did you mean `pro`?", 1, 53, ERROR_WARNING},
    {"routes: [{name: r, tiers: {anonymous: {minute: 20, hour: 1}}}]",
     "routes[0].tiers.anonymous.hour", "below", 1, 58, ERROR_WARNING},

    {"routes:\n- {path: /a/*}\n- {path: /a/b}", "routes[1]", "the route in line 2", 3, 3,
     ERROR_WARNING},
    {"routes:\n- {path: /a/*}\n- {path: [/a/b, /c]}", NULL, NULL, 0, 0, 0},
    {"routes:\n- {path: /a/*}\n- {path: /a}", NULL, NULL, 0, 0, 0},
    {"routes:\n- {path: \"*\"}\n- {path: /a/*, methods: GET}", "routes[1]", "never reached", 3, 3,
     ERROR_WARNING},
    {"routes:\n- {name: all}\n- {host: h}", "routes[1]", "never reached", 3, 3, ERROR_WARNING},
    {"routes:\n- {path: /a, methods: [GET, HEAD]}\n- {path: /a, methods: GET}", "routes[1]",
     "never reached", 3, 3, ERROR_WARNING},
    {"routes:\n- {path: /a, methods: GET}\n- {path: /a}", NULL, NULL, 0, 0, 0},
    {"routes:\n- {path: /a, host: H}\n- {path: /a, host: h}", "routes[1]", "never reached", 3, 3,
     ERROR_WARNING},
    {"routes:\n- {path: /a, headers: X-A}\n- {path: /a, headers: [x-a, x-b]}", "routes[1]",
     "never reached", 3, 3, ERROR_WARNING},
    {"routes:\n- {path: /a, headers: [X-A, X-B]}\n- {path: /a, headers: x-a}", NULL, NULL, 0, 0, 0},

    {"routes: [{path: /a, limit: none, cost: 2}]", "routes[0].cost", "no effect", 1, 40,
     ERROR_WARNING},
    {"routes: [{path: /a, limit: none, shadow: true}]", "routes[0].shadow", "no effect", 1, 42,
     ERROR_WARNING},
    {"routes: [{path: /a, max_cost: 2}]", "routes[0].max_cost", "without cost_from", 1, 31,
     ERROR_WARNING},
    {"client: {max_connections: 5}\nroutes: [{path: /a, concurrency: 6}]", "routes[0].concurrency",
     "never matter", 2, 34, ERROR_WARNING},

    {"client_ip: {trusted_proxies: [10.0.0.0/8, 0.0.0.0/0]}", "client_ip.trusted_proxies[1]",
     "trusts everyone", 1, 43, ERROR_WARNING},
    {"client_ip: {trusted_proxies: \"::/0\"}", "client_ip.trusted_proxies", "trusts everyone", 1,
     30, ERROR_WARNING},
    {"client_ip: {hops: 2}", "client_ip.hops", "no effect", 1, 19, ERROR_WARNING},
    {"client_ip: {header: Forwarded}", "client_ip.header", "no effect", 1, 21, ERROR_WARNING},
    {"client_ip: {header: Forwarded, hops: 1, trusted_proxies: loopback}", NULL, NULL, 0, 0, 0},
    {"identity: {header: {user: X-User}}", "identity.header.user", "never believed", 1, 27,
     ERROR_WARNING},
    {"identity: {header: {tier: X-Tier}}", "identity.header.tier", "no effect", 1, 27,
     ERROR_WARNING},
    {"allow: [0.0.0.0/0]", "allow[0]", "nobody is limited", 1, 9, ERROR_WARNING},
    {"deny: [\"::/0\"]", "deny[0]", "everybody gets 403", 1, 8, ERROR_WARNING},

    {"identity: {jwt: {secrets: [short]}}", "identity.jwt.secrets", "32 bytes", 1, 27,
     ERROR_WARNING},
    {"identity: {jwt: {algorithms: [RS256]}}", "identity.jwt.algorithms", "no effect", 1, 30,
     ERROR_WARNING},
    {"identity: {jwt: {secrets: [0123456789abcdef0123456789abcdef], algorithms: [ES256]}}",
     "identity.jwt.secrets", "no effect", 1, 27, ERROR_WARNING},
    {"identity: {jwt: {secrets: [0123456789abcdef0123456789abcdef]}}", NULL, NULL, 0, 0, 0},
    {"identity: {jwt: {public_keys: /nowhere.pem, algorithms: [RS256]}}",
     "identity.jwt.public_keys", "cannot be read", 1, 31, ERROR_FATAL},
    {"identity: {api_key: {redis_lookup: true}}", "identity.api_key.redis_lookup",
     "no key is found", 1, 36, ERROR_WARNING},

    {"admin: {listen: \"0.0.0.0:9901\"}", "admin.listen", "needs admin.token", 1, 17, ERROR_FATAL},
    {"admin: {listen: \"0.0.0.0:9901\", token: 0123456789abcdef}", NULL, NULL, 0, 0, 0},
    {"admin: {listen: \"unix:/run/a.sock\"}", NULL, NULL, 0, 0, 0},
    {"admin: {token: short}", "admin.token", "guessed", 1, 16, ERROR_WARNING},
    {"listen: 127.0.0.1:9901", "admin.listen", "has this address", 0, 0, ERROR_FATAL},
    {"listen: [\"127.0.0.1:1\", \"127.0.0.1:1\"]", "listen", "twice", 1, 9, ERROR_FATAL},
    {"listen: [\"127.0.0.1:0\", \"127.0.0.1:0\"]", NULL, NULL, 0, 0, 0},
    {"upstream: {url: \"http://localhost:10000\"}", "upstream.url", "own listener", 1, 17,
     ERROR_WARNING},
    {"upstream: {tls: {ca_file: /nowhere.pem}}", "upstream.tls.ca_file", "No such file", 1, 27,
     ERROR_FATAL},
    {"upstream: {tls: {cert_file: /dev/null}}", "upstream.tls.cert_file", "go together", 1, 29,
     ERROR_FATAL},
    {"upstream: {tls: {verify: false}}", "upstream.tls.verify", "pose as it", 1, 26, ERROR_WARNING},
    {"redis: {backoff: {min: 2s}}", "redis.backoff.min", "above redis.backoff.max", 1, 24,
     ERROR_FATAL},
    {"client: {max_target_bytes: 64KiB}", "client.max_target_bytes", "above", 1, 28, ERROR_WARNING},
};

static void test_lints(void **state)
{
    (void)state;
    for (size_t i = 0; i < COUNT_OF(cases); i++) {
        const struct lint_case *wanted = &cases[i];
        struct config_support support;
        const struct error_item *item;

        config_support_init(&support, wanted->text);
        config_support_load(&support);
        if (wanted->key == NULL) {
            if (support.errors.count > 0)
                config_support_show(&support);
            assert_int_equal(support.errors.count, 0);
            config_support_clear(&support);
            continue;
        }
        item =
            config_support_find(&support, wanted->line, wanted->column, wanted->key, wanted->part);
        if (item == NULL || support.errors.count != 1) {
            config_support_show(&support);
            fail_msg("%s", wanted->text);
        }
        assert_int_equal(item->severity, wanted->severity);
        assert_int_equal(support.config == NULL, wanted->severity == ERROR_FATAL);
        config_support_clear(&support);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(test_lints)};

    return cmocka_run_group_tests(tests, NULL, NULL);
}
