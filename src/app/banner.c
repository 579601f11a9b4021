/* SPDX-License-Identifier: MIT */
/*
 * The first minute: one screen that says what is running, where, before what,
 * and what to type next. Secrets in URLs are masked.
 */
#include "kamiyo/app/banner.h"

#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "kamiyo/redis/redis_url.h"
#include "kamiyo/version.h"

/* A wildcard address is of no use in a curl command. */
static void format_url(const struct addr_endpoint *endpoint, char out[160])
{
    static const uint8_t zero[16];
    char text[128];
    const struct addr *addr = &endpoint->addr;
    size_t length = addr->family == ADDR_IPV4 ? 4 : 16;
    bool is_any = addr->family != ADDR_UNIX && memcmp(addr->bytes, zero, length) == 0;
    addr_endpoint_format(endpoint, text);
    if (is_any)
        snprintf(out, 160, "http://localhost:%u", addr->port);
    else
        snprintf(out, 160, "%s%s", addr->family == ADDR_UNIX ? "" : "http://", text);
}

void banner_print(const struct config *config,
                  const struct addr_endpoint *endpoints,
                  size_t endpoint_count,
                  bool has_redis,
                  size_t worker_count)
{
    char url[160], admin[128], store[256];
    if (!isatty(STDERR_FILENO) || config->log_format != LOG_FORMAT_TEXT || endpoint_count == 0)
        return;
    bool wants_redis = config->redis.url != NULL && config->redis.url[0] != '\0';
    if (wants_redis)
        redis_url_mask(slice_of(config->redis.url), store, sizeof(store));
    format_url(&endpoints[0], url);
    addr_endpoint_format(&config->admin.listen, admin);
    fprintf(stderr, "\n  kamiyo-gateway %s\n", KAMIYO_VERSION);
    fprintf(stderr, "  listening   %s  (%zu worker%s)\n", url, worker_count,
            worker_count == 1 ? "" : "s");
    fprintf(stderr, "  upstream    %s%s\n", config->upstream.urls[0],
            config->upstream.url_count > 1 ? " and more" : "");
    if (wants_redis)
        fprintf(stderr, "  limits      %zu tiers, shared in %s%s\n", config->routes.tier_count,
                store, has_redis ? "" : " (unreachable: in-process until it answers)");
    else
        fprintf(stderr, "  limits      %zu tiers, in-process; set REDIS_URL to share them\n",
                config->routes.tier_count);
    fprintf(stderr, "  config      %s\n",
            config->path[0] != '\0' ? config->path : "built-in defaults");
    if (config->admin.is_enabled)
        fprintf(stderr, "  admin       http://%s/metrics\n", admin);
    fprintf(stderr, "  try         curl -i %s/exploits\n\n", url);
}
