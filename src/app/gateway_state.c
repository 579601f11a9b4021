/* SPDX-License-Identifier: MIT */
/*
 * Questions about the running gateway: does Redis decide, is that known yet,
 * and what of a new configuration needs a restart.
 */
#include <string.h>

#include "kamiyo/base/log.h"
#include "kamiyo/limit/limiter_shared.h"

#include "app/app_internal.h"

bool gateway_has_redis(const struct gateway *gateway)
{
    return limit_shared_has_redis(gateway->shared.limits);
}

bool gateway_store_is_known(const struct gateway *gateway)
{
    return limit_shared_is_known(gateway->shared.limits);
}

long gateway_client_room(const struct gateway *gateway, const struct config *config)
{
    enum {
        OTHERS = 64
    }; /* listeners, loops, Redis, logs, the admin listener */
    long reserve = (long)config->upstream.max_connections * (long)gateway->worker_count + OTHERS;
    long half = gateway->descriptor_limit / 2;
    long room = gateway->descriptor_limit - (reserve < half ? reserve : half);
    if (gateway->descriptor_limit == 0 || room > config->client.max_connections)
        return config->client.max_connections;
    return room;
}

static bool same_text(const char *a, const char *b)
{
    return strcmp(a != NULL ? a : "", b != NULL ? b : "") == 0;
}

static bool same_listen(const struct config *a, const struct config *b)
{
    if (a->listen_count != b->listen_count)
        return false;
    for (size_t i = 0; i < a->listen_count; i++)
        if (!same_text(a->listen[i].text, b->listen[i].text) ||
            a->listen[i].proxy_protocol != b->listen[i].proxy_protocol)
            return false;
    return true;
}

static bool same_admin(const struct admin_options *a, const struct admin_options *b)
{
    char a_text[128], b_text[128];
    addr_endpoint_format(&a->listen, a_text);
    addr_endpoint_format(&b->listen, b_text);
    return a->is_enabled == b->is_enabled && strcmp(a_text, b_text) == 0;
}

void gateway_warn_of_restart(const struct config *present, const struct config *next)
{
    const struct {
        const char *key;
        bool is_same;
    } keys[] = {
        {"listen", same_listen(present, next)},
        {"workers", present->workers == next->workers},
        {"redis.url", same_text(present->redis.url, next->redis.url)},
        {"redis.layout", present->limiter.layout == next->limiter.layout},
        {"limiter.memory", present->limiter.memory_bytes == next->limiter.memory_bytes},
        {"admin.listen", same_admin(&present->admin, &next->admin)},
    };
    for (size_t i = 0; i < COUNT_OF(keys); i++)
        if (!keys[i].is_same)
            log_warning("%s is changed in the configuration: takes effect after a restart",
                        keys[i].key);
}
