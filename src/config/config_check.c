/* SPDX-License-Identifier: MIT */
/*
 * Lints over a whole configuration that is sound key by key: files that are not
 * there, keys that contradict each other, settings that do nothing or too much. Routes have a
 * file of their own (config_check_route). Each lint is one function over struct
 * check, and complains at the value in effect, wherever it came from.
 */
#include "kamiyo/config/config_check.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "kamiyo/base/text.h"
#include "kamiyo/config/config_schema.h"
#include "kamiyo/upstream/upstream_url.h"

#include "config_check_internal.h"

struct config_value config_check_value(const struct check *check, const char *path)
{
    for (size_t i = 0; i < config_schema.count; i++) {
        if (strcmp(config_schema.keys[i].path, path) == 0)
            return check->values[i];
    }
    return (struct config_value){.node = NULL};
}

/* A complaint at a key, or, if only its default is in effect, at no place. */
static void complain(const struct check *check,
                     enum error_severity severity,
                     const char *path,
                     const char *message)
{
    struct config_value value = config_check_value(check, path);
    struct error_place nowhere = {.line = 0, .column = 1, .length = 1};

    error_list_add(check->errors, severity,
                   value.node != NULL ? value.file : config_table_default_file,
                   value.node != NULL ? value.node->place : nowhere, path, "%s", message);
}

static void check_file(const struct check *check, const char *key, const char *path)
{
    char message[400];

    if (path == NULL || path[0] == '\0' || access(path, R_OK) == 0)
        return;
    (void)snprintf(message, sizeof(message), "%.200s cannot be read: %s", path, strerror(errno));
    complain(check, ERROR_FATAL, key, message);
}

static void check_tls(const struct check *check, const struct tls_options *tls, const char *section)
{
    const struct {
        const char *name;
        const char *path;
    } files[] = {
        {"ca_file", tls->ca_file}, {"cert_file", tls->cert_file}, {"key_file", tls->key_file}};
    char key[64];

    for (size_t i = 0; i < COUNT_OF(files); i++) {
        (void)snprintf(key, sizeof(key), "%s.tls.%s", section, files[i].name);
        check_file(check, key, files[i].path);
    }
    if ((tls->cert_file[0] != '\0') == (tls->key_file[0] != '\0'))
        return;
    (void)snprintf(key, sizeof(key), "%s.tls.%s", section,
                   tls->cert_file[0] != '\0' ? "cert_file" : "key_file");
    complain(check, ERROR_FATAL, key,
             "cert_file and key_file go together; the other one is missing");
}

static void check_files(const struct check *check)
{
    const struct jwt_options *jwt = &check->config->identity.jwt;

    check_tls(check, &check->config->upstream.tls, "upstream");
    check_tls(check, &check->config->redis.tls, "redis");
    for (size_t i = 0; i < jwt->public_key_count; i++)
        check_file(check, "identity.jwt.public_keys", jwt->public_key_files[i]);
    if (config_check_value(check, "upstream.tls.verify").node != NULL &&
        !check->config->upstream.tls.verify)
        complain(check, ERROR_WARNING, "upstream.tls.verify",
                 "anyone on the way to the upstream can pose as it");
}

static void check_admin(const struct check *check)
{
    const struct admin_options *admin = &check->config->admin;

    if (admin->is_enabled && !addr_is_loopback(&admin->listen.addr) && admin->token[0] == '\0')
        complain(check, ERROR_FATAL, "admin.listen",
                 "an address that is not loopback needs admin.token (or ADMIN_TOKEN)");
    if (admin->token[0] != '\0' && strlen(admin->token) < 16)
        complain(check, ERROR_WARNING, "admin.token",
                 "a token of less than 16 bytes can be guessed");
}

static bool is_same_endpoint(const struct addr_endpoint *a, const struct addr_endpoint *b)
{
    if (a->addr.family == ADDR_UNIX || b->addr.family == ADDR_UNIX)
        return a->addr.family == b->addr.family && strcmp(a->unix_path, b->unix_path) == 0;
    return a->addr.port != 0 && a->addr.port == b->addr.port && addr_equal(&a->addr, &b->addr);
}

static void check_listeners(const struct check *check)
{
    const struct config *config = check->config;

    for (size_t i = 0; i < config->listen_count; i++) {
        for (size_t j = 0; j < i; j++) {
            if (is_same_endpoint(&config->listen[i].endpoint, &config->listen[j].endpoint))
                complain(check, ERROR_FATAL, "listen", "the same address stands here twice");
        }
        if (config->admin.is_enabled &&
            is_same_endpoint(&config->listen[i].endpoint, &config->admin.listen))
            complain(check, ERROR_FATAL, "admin.listen", "listen has this address already");
    }
}

/* An upstream that is the gateway's own listener: each request would come back for ever. */
static void check_loop(const struct check *check)
{
    static const char *const local[] = {"localhost", "127.0.0.1", "0.0.0.0", "::1", NULL};
    const struct config *config = check->config;

    for (size_t i = 0; i < config->upstream.url_count; i++) {
        struct upstream_url url;
        struct error error;
        bool is_local = false;

        if (!upstream_url_parse(slice_of(config->upstream.urls[i]), &url, &error))
            continue;
        for (size_t j = 0; local[j] != NULL; j++)
            is_local = is_local || strcmp(url.host, local[j]) == 0;
        for (size_t j = 0; is_local && j < config->listen_count; j++) {
            if (config->listen[j].endpoint.addr.port == url.port)
                complain(check, ERROR_WARNING, "upstream.url",
                         "this is the gateway's own listener: requests would go round");
        }
    }
}

static void check_store(const struct check *check)
{
    const struct config *config = check->config;
    const struct redis_options *redis = &config->redis;

    if (redis->backoff_min_ms > redis->backoff_max_ms)
        complain(check, ERROR_FATAL,
                 config_check_value(check, "redis.backoff.min").node != NULL ? "redis.backoff.min"
                                                                             : "redis.backoff.max",
                 "redis.backoff.min is above redis.backoff.max");
    if (config->identity.api_key.redis_lookup && redis->url != NULL && redis->url[0] == '\0')
        complain(check, ERROR_WARNING, "identity.api_key.redis_lookup",
                 "without redis.url no key is found");
}

static bool is_everyone(const struct addr_range *range)
{
    return range->prefix_length == 0;
}

/* A list's element that is everyone: 0.0.0.0/0 or ::/0. Ranges may be fewer or more than elements,
 * so the text is read again. */
static void check_everyone(const struct check *check, const char *path, const char *message)
{
    struct config_value value = config_check_value(check, path);
    struct config_elements elements;

    if (value.node == NULL)
        return;
    config_value_elements(&value, &elements);
    for (size_t i = 0; i < elements.count; i++) {
        char key[CONFIG_VALUE_KEY_SIZE];
        struct config_value item = config_value_element(&value, &elements, i, key);
        struct addr_range range;

        if (item.node->kind == YAML_SCALAR && addr_range_parse(slice_of(item.node->text), &range) &&
            is_everyone(&range))
            config_value_warn(&item, "%s", message);
    }
    config_value_elements_clear(&elements);
}

static void check_trust(const struct check *check)
{
    const struct client_ip_options *options = &check->config->client_ip;
    bool is_nobody = options->trusted_count == 0 && !options->trust_unix;

    check_everyone(check, "client_ip.trusted_proxies",
                   "trusts everyone: any client can name any address as its own");
    check_everyone(check, "allow", "nobody is limited");
    check_everyone(check, "deny", "everybody gets 403");
    if (is_nobody && options->hops > 0)
        complain(check, ERROR_WARNING, "client_ip.hops",
                 "has no effect: client_ip.trusted_proxies names nobody");
    if (is_nobody && options->header != CLIENT_IP_X_FORWARDED_FOR)
        complain(check, ERROR_WARNING, "client_ip.header",
                 "has no effect: client_ip.trusted_proxies names nobody");
    if (is_nobody && check->config->identity.user_header[0] != '\0')
        complain(check, ERROR_WARNING, "identity.header.user",
                 "is never believed: client_ip.trusted_proxies names nobody");
    if (check->config->identity.user_header[0] == '\0' &&
        check->config->identity.tier_header[0] != '\0')
        complain(check, ERROR_WARNING, "identity.header.tier",
                 "has no effect without identity.header.user");
}

static void check_jwt(const struct check *check)
{
    const struct jwt_options *jwt = &check->config->identity.jwt;
    unsigned shared = JWT_HS256 | JWT_HS384 | JWT_HS512;

    if (jwt->secret_count > 0 && (jwt->algorithms & shared) == 0)
        complain(check, ERROR_WARNING, "identity.jwt.secrets",
                 "have no effect: identity.jwt.algorithms names none of HS256, HS384, HS512");
    if (jwt->public_key_count > 0 && (jwt->algorithms & ~shared) == 0)
        complain(check, ERROR_WARNING, "identity.jwt.public_keys",
                 "have no effect: identity.jwt.algorithms names none of RS256, ES256, EdDSA");
    if (jwt->algorithms != JWT_HS256 && jwt->algorithms != 0 && jwt->secret_count == 0 &&
        jwt->public_key_count == 0)
        complain(check, ERROR_WARNING, "identity.jwt.algorithms",
                 "has no effect without identity.jwt.secrets or identity.jwt.public_keys");
    for (size_t i = 0; i < jwt->secret_count; i++) {
        if (strlen(jwt->secrets[i]) < 32) {
            complain(check, ERROR_WARNING, "identity.jwt.secrets",
                     "a secret of less than 32 bytes is weaker than the signature");
            break;
        }
    }
}

static void check_identity(const struct check *check)
{
    const struct api_key_options *keys = &check->config->identity.api_key;
    bool has_source = keys->key_count > 0 || keys->redis_lookup;

    check_jwt(check);
    if (has_source && keys->header_count == 0)
        complain(check, ERROR_WARNING, "identity.api_key.headers",
                 "names no field, so no key is ever seen");
    for (size_t i = 0; i < keys->key_count; i++) {
        const char *tier = keys->keys[i].tier;
        char message[160];

        if (tier[0] == '\0' || config_check_has_tier(check, tier))
            continue;
        (void)snprintf(
            message, sizeof(message),
            "names the tier \"%s\", which is not among tiers: its users are free or anonymous",
            tier);
        complain(check, ERROR_WARNING, "identity.api_key.keys_file", message);
        break; /* a keys file that misspells one tier does so on each of its lines */
    }
}

static void check_client(const struct check *check)
{
    const struct client_options *client = &check->config->client;

    if (client->max_target_bytes > client->max_header_bytes)
        complain(
            check, ERROR_WARNING,
            config_check_value(check, "client.max_target_bytes").node != NULL
                ? "client.max_target_bytes"
                : "client.max_header_bytes",
            "client.max_target_bytes is above client.max_header_bytes, which is reached first");
}

void config_check(const struct config *config,
                  const struct config_value *values,
                  struct error_list *errors)
{
    struct check check = {.config = config, .values = values, .errors = errors};

    check_listeners(&check);
    check_loop(&check);
    check_client(&check);
    check_store(&check);
    check_trust(&check);
    check_files(&check);
    check_identity(&check);
    check_admin(&check);
    config_check_tiers(&check);
    config_check_routes(&check);
}
