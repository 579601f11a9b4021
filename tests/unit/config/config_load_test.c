/* SPDX-License-Identifier: MIT */
/*
 * The whole of config_load: the layers and their order, what ends up in which
 * field, and a file with every kind of mistake.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

#include "kamiyo/base/attributes.h"
#include "kamiyo/config/config_load.h"

#include "config/config_support.h"

static void load_fine(struct config_support *support, const char *text)
{
    config_support_init(support, text);
    config_support_load(support);
    if (support->errors.count > 0)
        config_support_show(support);
    assert_non_null(support->config);
}

static void test_defaults(void **state)
{
    struct config_support support;
    const struct config *config;
    char directory[] = "/tmp/kamiyo-empty-XXXXXX";
    char before[1024];

    (void)state;
    assert_non_null(mkdtemp(directory));
    assert_non_null(getcwd(before, sizeof(before)));
    assert_int_equal(chdir(directory), 0); /* no config/gateway.yaml here */
    load_fine(&support, NULL);
    config = support.config;
    assert_int_equal(support.errors.count, 0);
    assert_string_equal(config->path, "");
    assert_int_equal(config->listen_count, 1);
    assert_int_equal(config->listen[0].endpoint.addr.port, 10000);
    assert_int_equal(config->workers, 0);
    assert_string_equal(config->upstream.urls[0], "http://localhost:8000");
    assert_int_equal(config->upstream.connect_timeout_ms, 2000);
    assert_true(config->upstream.tls.verify);
    assert_true(config->redis.tls.verify);
    assert_int_equal(config->client.max_header_bytes, 32768);
    assert_int_equal(config->client.max_body, 0);
    assert_string_equal(config->redis.url, "");
    assert_int_equal(config->limiter.timeout_ms, 50);
    assert_int_equal(config->limiter.fallback_share, 1);
    assert_int_equal(config->limiter.memory_bytes, 64 << 20);
    assert_string_equal(config->limiter.key_prefix, "ratelimit");
    assert_int_equal(config->client_ip.trusted_count, 0);
    assert_int_equal(config->client_ip.ipv6_prefix, 64);
    assert_int_equal(config->identity.api_key.header_count, 2);
    assert_string_equal(config->identity.api_key.headers[1], "Authorization");
    assert_int_equal(config->identity.jwt.algorithms, JWT_HS256);
    assert_int_equal(config->identity.failures.windows[0].limit, 30);
    assert_int_equal(config->routes.tier_count, 5);
    assert_string_equal(config->routes.tiers[2].name, "pro");
    assert_int_equal(config->routes.tiers[2].policy.windows[1].limit, 2083);
    assert_int_equal(config->routes.route_count, 2);
    assert_true(config->routes.routes[0].is_exempt);
    assert_int_equal(config->routes.routes[0].path_count, 5);
    assert_string_equal(config->routes.routes[1].name, "preflight");
    assert_true(config->admin.is_enabled);
    assert_true(config->admin.is_default_address);
    assert_int_equal(config->log_level, LOG_LEVEL_INFO);
    assert_true(config->access_log.is_enabled);
    assert_true(config->access_log.denied_always);
    assert_true(config->access_log.sample > 0.999 && config->access_log.sample < 1.001);
    assert_int_equal(config->drain_timeout_ms, 25000);
    config_support_clear(&support);
    assert_int_equal(chdir(before), 0);
    assert_int_equal(rmdir(directory), 0);
}

static const char every_key[] =
    "listen: [127.0.0.1:1, {address: \"[::1]:2\", proxy_protocol: true}, unix:/run/x.sock]\n"
    "workers: 3\n"
    "upstream:\n"
    "  url: [http://a, \"https://b:8443\", unix:/u, c:9, \"http://[::1]:7/\"]\n"
    "  health: {path: /, interval: 7s}\n"
    "  tls: {verify: false}\n"
    "client: {max_body: 1MiB, max_headers: 7}\n"
    "redis: {timeout: 20ms, layout: identity, on_failure: deny, fallback_share: 1/4, breaker: "
    "{failures: 2}}\n"
    "client_ip: {trusted_proxies: [private, loopback, 203.0.113.0/24], header: Forwarded, hops: "
    "2}\n"
    "identity: {failures: none, jwt: {algorithms: [RS256, EdDSA], public_keys: [k.pem]}}\n"
    "tiers: {anonymous: {day: 5, 10s: {limit: 2, burst: 4}}, vip: none}\n"
    "routes:\n"
    "  - {path: /x, limit: none}\n"
    "  - {name: w, path: [/w/*, /v], methods: [GET, POST], host: h, headers: X-A, cost: 2, refund: "
    "[502, 504],\n"
    "     tiers: {anonymous: {minute: 9}}, concurrency: 3, shadow: true, cost_from: X-Cost, "
    "max_cost: 7}\n"
    "  - {name: l, on_failure: allow}\n"
    "allow: [192.0.2.0/24, \"user:a b\"]\n"
    "deny: [\"user:x\", \"2001:db8::/32\"]\n"
    "admin: {listen: \"\"}\n"
    "log: {level: debug, file: d.log, access: {file: /a.log, format: combined, sample: 0.25, "
    "denied: sample}}\n"
    "drain_timeout: 0s\n";

static void check_every_key(const struct config *config, const char *directory)
{
    const struct route_options *route = &config->routes.routes[1];
    char path[128];

    assert_int_equal(config->listen_count, 3);
    assert_true(config->listen[1].proxy_protocol);
    assert_int_equal(config->listen[1].endpoint.addr.family, ADDR_IPV6);
    assert_string_equal(config->listen[2].endpoint.unix_path, "/run/x.sock");
    assert_int_equal(config->workers, 3);
    assert_int_equal(config->upstream.url_count, 5);
    assert_int_equal(config->upstream.health_interval_ms, 7000);
    assert_false(config->upstream.tls.verify);
    assert_int_equal(config->client.max_body, 1 << 20);
    assert_int_equal(config->limiter.layout, LIMIT_LAYOUT_IDENTITY);
    assert_int_equal(config->limiter.fallback_share, 4);
    assert_int_equal(config->limiter.breaker_failures, 2);
    assert_int_equal(config->client_ip.trusted_count, 7);
    assert_true(config->client_ip.trust_unix);
    assert_int_equal(config->client_ip.header, CLIENT_IP_FORWARDED);
    assert_int_equal(config->identity.failures.window_count, 0);
    assert_int_equal(config->identity.jwt.algorithms, JWT_RS256 | JWT_EDDSA);
    (void)snprintf(path, sizeof(path), "%s/k.pem", directory);
    assert_string_equal(config->identity.jwt.public_key_files[0], path);
    assert_int_equal(config->routes.tier_count, 2);
    assert_int_equal(config->routes.tiers[0].policy.windows[0].period_ms, 10000);
    assert_int_equal(config->routes.tiers[0].policy.windows[0].burst, 4);
    assert_true(config->routes.tiers[1].is_unlimited);
    assert_int_equal(config->routes.route_count, 3);
    assert_int_equal(config->routes.routes[0].on_failure, LIMIT_ON_FAILURE_DENY); /* inherited */
    assert_int_equal(config->routes.routes[2].on_failure, LIMIT_ON_FAILURE_ALLOW);
    assert_int_equal(route->path_count, 2);
    assert_int_equal(route->method_count, 2);
    assert_string_equal(route->hosts[0], "h");
    assert_string_equal(route->headers[0], "X-A");
    assert_int_equal(route->cost, 2);
    assert_int_equal(route->refund_statuses[1], 504);
    assert_int_equal(route->concurrency, 3);
    assert_true(route->is_shadow);
    assert_string_equal(route->cost_from, "X-Cost");
    assert_int_equal(route->max_cost, 7);
    assert_int_equal(config->routes.allow.range_count, 1);
    assert_string_equal(config->routes.allow.users[0], "a%20b"); /* as in bucket keys */
    assert_string_equal(config->routes.deny.users[0], "x");
    assert_false(config->admin.is_enabled);
    assert_false(config->admin.is_default_address);
    assert_int_equal(config->log_level, LOG_LEVEL_DEBUG);
    (void)snprintf(path, sizeof(path), "%s/d.log", directory);
    assert_string_equal(config->log_file, path);
    assert_string_equal(config->access_log.file, "/a.log");
    assert_false(config->access_log.denied_always);
    assert_int_equal(config->access_log.format, ACCESS_LOG_COMBINED);
    assert_true(config->access_log.sample > 0.249 && config->access_log.sample < 0.251);
    assert_int_equal(config->drain_timeout_ms, 0);
}

static void test_every_key(void **state)
{
    struct config_support support;

    (void)state;
    config_support_init(&support, every_key);
    config_support_write(&support, "k.pem", "");
    config_support_load(&support);
    if (support.config == NULL)
        config_support_show(&support);
    assert_non_null(support.config);
    check_every_key(support.config, support.directory);
    config_support_clear(&support);
}

/* flag > environment > file > default, and what is set to nothing is not set. */
static void test_layers(void **state)
{
    static const struct config_support_variable variables[] = {
        {"PORT", "8080"},
        {"UPSTREAM_URL", "e:1,f:2"},
        {"REDIS_URL", "redis://e"},
        {"LOG_LEVEL", "WARNING"},
        {"ADMIN_TOKEN", "e-token-of-16-bytes"},
        {"WORKERS", "5"},
        {"TRUSTED_PROXIES", "10.0.0.0/8, loopback"},
        {"TRUSTED_HOPS", "2"},
        {NULL, NULL}};
    static const struct config_support_variable empty[] = {
        {"PORT", ""}, {"WORKERS", ""}, {NULL, NULL}};
    struct config_support support;

    (void)state;
    config_support_init(
        &support, "listen: 127.0.0.1:1\nworkers: 2\nupstream: {url: g:3}\nlog: {level: error}\n");
    config_support_set_environment(empty);
    config_support_load(&support);
    assert_non_null(support.config);
    assert_int_equal(support.config->listen[0].endpoint.addr.port, 1);
    assert_int_equal(support.config->workers, 2);

    config_support_set_environment(variables);
    config_support_load(&support);
    assert_non_null(support.config);
    assert_int_equal(support.config->listen[0].endpoint.addr.port, 8080);
    assert_int_equal(support.config->listen[0].endpoint.addr.bytes[0], 0);
    assert_int_equal(support.config->upstream.url_count, 2);
    assert_string_equal(support.config->upstream.urls[1], "f:2");
    assert_string_equal(support.config->redis.url, "redis://e");
    assert_int_equal(support.config->log_level, LOG_LEVEL_WARNING);
    assert_string_equal(support.config->admin.token, "e-token-of-16-bytes");
    assert_int_equal(support.config->workers, 5);
    assert_int_equal(support.config->client_ip.trusted_count, 3);
    assert_int_equal(support.config->client_ip.hops, 2);

    support.overrides.listen = "127.0.0.1:9,127.0.0.1:10";
    support.overrides.upstream = "h:4";
    support.overrides.redis = "redis://flag";
    support.overrides.workers = "auto";
    support.overrides.log_level = "debug";
    config_support_load(&support);
    assert_non_null(support.config);
    assert_int_equal(support.config->listen_count, 2);
    assert_string_equal(support.config->upstream.urls[0], "h:4");
    assert_string_equal(support.config->redis.url, "redis://flag");
    assert_int_equal(support.config->workers, 0);
    assert_int_equal(support.config->log_level, LOG_LEVEL_DEBUG);
    config_support_clear(&support);
}

/* The path itself: flag, then KAMIYO_GATEWAY_CONFIG. */
static void test_path(void **state)
{
    struct config_support support;
    struct config_support_variable variables[] = {{"KAMIYO_GATEWAY_CONFIG", NULL}, {NULL, NULL}};

    (void)state;
    config_support_init(&support, "workers: 7\n");
    variables[0].value = support.path;
    support.overrides.path = NULL;
    config_support_set_environment(variables);
    config_support_load(&support);
    assert_non_null(support.config);
    assert_int_equal(support.config->workers, 7);
    support.overrides.path = "/nowhere.yaml";
    config_support_load(&support);
    assert_null(support.config);
    assert_int_equal(support.errors.total_errors, 1);
    config_support_clear(&support);
}

/* config/gateway.yaml says what the built-in defaults are. */
static void test_sample(void **state)
{
    static const struct config_support_variable variables[] = {{"KAMIYO_GATEWAY_CONFIG", ""},
                                                               {"UPSTREAM_URL", "api:1"},
                                                               {"REDIS_URL", "redis://r"},
                                                               {"PORT", "77"},
                                                               {NULL, NULL}};
    struct config_support support;
    char path[512];

    (void)state;
    (void)snprintf(path, sizeof(path), "%s/config/gateway.yaml", getenv("KAMIYO_SOURCE_DIR"));
    config_support_init(&support, NULL);
    support.overrides.path = path;
    config_support_load(&support);
    config_support_show(&support);
    assert_non_null(support.config);
    assert_int_equal(support.errors.count, 0);
    assert_string_equal(support.config->upstream.urls[0], "http://localhost:8000");
    assert_int_equal(support.config->listen[0].endpoint.addr.port, 10000);
    config_support_set_environment(variables);
    config_support_load(&support);
    assert_non_null(support.config);
    assert_int_equal(support.config->listen[0].endpoint.addr.port, 77);
    assert_string_equal(support.config->upstream.urls[0], "api:1");
    assert_string_equal(support.config->redis.url, "redis://r");
    config_support_clear(&support);
}

struct mistake {
    const char *line; /* of the file */
    int column;       /* 0 = this line is fine */
    const char *key;
    const char *part;
};

/* One file, each line with at most one mistake. */
static const struct mistake mistakes[] = {
    {"lisen: 0.0.0.0:80", 1, "lisen", "did you mean `listen`?"},
    {"workers: 2.5", 10, "workers", "must be auto"},
    {"listen: \"10000\"", 9, "listen", "the port is missing"},
    {"upstream:", 0, NULL, NULL},
    {"  url: [http://ok, ftp://x]", 20, "upstream.url[1]", "must be"},
    {"  connect_timeout: 5", 20, "upstream.connect_timeout", "needs a unit"},
    {"  max_connections: 0", 20, "upstream.max_connections", "from 1 to"},
    {"  max_header_bytes: 1GiB", 21, "upstream.max_header_bytes", "from 1KiB to 64KiB"},
    {"  health: 5", 11, "upstream.health", "must be a map with the keys path"},
    {"  tls: {verify: yes}", 17, "upstream.tls.verify", "did you mean `true`?"},
    {"redis:", 0, NULL, NULL},
    {"  layout: windows", 11, "redis.layout", "did you mean `window`?"},
    {"  key_prefix: \"a b\"", 15, "redis.key_prefix", "must be"},
    {"  breaker: {failures: [5]}", 23, "redis.breaker.failures", "given a list"},
    {"  timeout: ${UNSET_HERE}", 12, "redis.timeout", "UNSET_HERE is not set"},
    {"  fallback_share: 2", 19, "redis.fallback_share", "1/n"},
    {"client_ip:", 0, NULL, NULL},
    {"  trusted_proxies: [10.0.0.1/8]", 21, "client_ip.trusted_proxies[0]",
     "did you mean `10.0.0.0/8`?"},
    {"  header: X-Forwarded", 11, "client_ip.header", "must be X-Forwarded-For"},
    {"identity: {jwt: {algorithms: [none]}}", 31, "identity.jwt.algorithms[0]", "must be HS256"},
    {"tiers:", 0, NULL, NULL},
    {"  anonymous: {minute: 0}", 23, "tiers.anonymous.minute", "from 1 to"},
    {"  free: {minit: 5}", 10, "tiers.free.minit", "did you mean `minute`?"},
    {"  pro: {minute: 5, 60s: 6}", 20, "tiers.pro.60s", "minute"},
    {"  \"a b\": {minute: 5}", 3, "tiers.a b", "a tier's name"},
    {"  team: {minute: {limit: 5, brust: 9}}", 29, "tiers.team.minute.brust",
     "did you mean `burst`?"},
    {"  vip: {minute: 5, minute: 6}", 20, "minute", "stands here twice"},
    {"routes:", 0, NULL, NULL},
    {"  - {path: health, limit: none}", 12, "routes[0].path", "begins with /"},
    {"  - {path: /a, limit: 5}", 23, "routes[1].limit", "must be none"},
    {"  - {path: /b, tiers: {anonymous: {minute: 1}}}", 5, "routes[2]", "needs a name"},
    {"  - {name: x, tiers: {free: {minute: 1}}}", 22, "routes[3].tiers",
     "must have the tier anonymous"},
    {"  - {name: minute, path: /c}", 12, "routes[4].name", "as a window is"},
    {"  - {name: x, path: /d}", 12, "routes[5].name", "an earlier route has this name"},
    {"  - {path: /e, methods: get}", 25, "routes[6].methods", "capitals"},
    {"  - {path: /f, refund: [99]}", 25, "routes[7].refund[0]", "from 100 to 599"},
    {"  - {path: /g, wieght: 3}", 16, "routes[8].wieght", "unknown key"},
    {"allow: [\"user:\"]", 9, "allow[0]", "needs an id"},
    {"responses: {upgrade_url: kamiyo.ai}", 26, "responses.upgrade_url", "http(s)"},
    {"admin: {listen: \"0.0.0.0:1\"}", 17, "admin.listen", "needs admin.token"},
    {"log: {level: inf}", 14, "log.level", "did you mean `info`?"},
    {"deny: *nobody", 7, "", "aliases"},
    {"drain_timeout: 1w", 16, "drain_timeout", "must be a time from 0s to 1h"},
};

static void test_mistakes(void **state)
{
    struct config_support support;
    char text[4096] = "";
    size_t length = 0;
    size_t count = 0;

    (void)state;
    for (size_t i = 0; i < COUNT_OF(mistakes); i++) {
        length += (size_t)snprintf(text + length, sizeof(text) - length, "%s\n", mistakes[i].line);
        count += mistakes[i].column > 0;
    }
    config_support_init(&support, text);
    config_support_load(&support);
    assert_null(support.config);
    for (size_t i = 0; i < COUNT_OF(mistakes); i++) {
        if (mistakes[i].column == 0)
            continue;
        if (config_support_find(&support, (int)i + 1, mistakes[i].column, mistakes[i].key,
                                mistakes[i].part) == NULL) {
            config_support_show(&support);
            fail_msg("not found: %s", mistakes[i].line);
        }
    }
    if (support.errors.total_errors != count)
        config_support_show(&support);
    assert_int_equal(support.errors.total_errors, count); /* and no mistake is told twice */
    config_support_clear(&support);
}

/* Errors outside of the file name where they come from. */
static void test_environment_errors(void **state)
{
    static const struct config_support_variable variables[] = {
        {"PORT", "abc"},
        {"WORKERS", "-1"},
        {"TRUSTED_PROXIES", "10.0.0.0/8,everyone"},
        {"MINE", "7"},
        {NULL, NULL}};
    struct config_support support;
    const struct error_item *item;

    (void)state;
    config_support_init(&support, "drain_timeout: ${MINE}\n");
    support.overrides.log_level = "loud";
    config_support_set_environment(variables);
    config_support_load(&support);
    assert_null(support.config);
    assert_int_equal(support.errors.total_errors, 5);
    item = config_support_find(&support, 0, 0, "listen", "0.0.0.0:abc");
    assert_non_null(item);
    assert_string_equal(item->file, "environment variable PORT");
    item = config_support_find(&support, 0, 0, "workers", "\"-1\"");
    assert_non_null(item);
    item = config_support_find(&support, 0, 0, "client_ip.trusted_proxies", "everyone");
    assert_non_null(item);
    item = config_support_find(&support, 0, 0, "log.level", "loud");
    assert_non_null(item);
    assert_string_equal(item->file, "flag --log-level");
    assert_non_null(
        config_support_find(&support, 1, 16, "drain_timeout", "given \"7\" from \"${MINE}\""));
    config_support_clear(&support);
}

/* A URL that cannot be used is no reason not to start, and its password is nowhere. */
static void test_redis_url(void **state)
{
    static const struct config_support_variable variables[] = {
        {"REDIS_URL", "redis://:hunter2@h:badport"}, {NULL, NULL}};
    struct config_support support;
    const struct error_item *item;

    (void)state;
    config_support_init(&support, "redis: {url: \"${REDIS_URL:-}\"}\n");
    config_support_set_environment(variables);
    config_support_load(&support);
    assert_non_null(support.config);
    assert_int_equal(support.errors.count, 1);
    item = &support.errors.items[0];
    assert_int_equal(item->severity, ERROR_WARNING);
    assert_string_equal(item->key, "redis.url");
    assert_string_equal(item->file, "environment variable REDIS_URL");
    assert_null(strstr(item->message, "hunter2"));
    config_support_clear(&support);
}

static void test_broken_syntax(void **state)
{
    static const struct config_support_variable variables[] = {{"WORKERS", "x"}, {NULL, NULL}};
    struct config_support support;

    (void)state;
    config_support_init(&support, "a: [1\n");
    config_support_set_environment(variables);
    config_support_load(&support);
    assert_null(support.config);
    assert_int_equal(support.errors.total_errors, 2); /* the environment is judged all the same */
    config_support_clear(&support);
    config_support_init(&support, "- a\n- b\n");
    config_support_load(&support);
    assert_null(support.config);
    assert_non_null(config_support_find(&support, 1, 1, "", "must be a map"));
    config_support_clear(&support);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_defaults),
        cmocka_unit_test(test_every_key),
        cmocka_unit_test(test_layers),
        cmocka_unit_test(test_path),
        cmocka_unit_test(test_sample),
        cmocka_unit_test(test_mistakes),
        cmocka_unit_test(test_environment_errors),
        cmocka_unit_test(test_redis_url),
        cmocka_unit_test(test_broken_syntax),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
