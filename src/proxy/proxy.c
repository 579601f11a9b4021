/* SPDX-License-Identifier: MIT */
/*
 * The data path of one worker: what all its connections share. One read buffer
 * serves every connection because whatever is read is dealt with before the
 * next read; what must wait is copied to its owner.
 */
#include "kamiyo/proxy/proxy.h"

#include <string.h>

#include "kamiyo/observe/access_log.h"
#include "kamiyo/observe/denials.h"

#include "proxy/proxy_internal.h"

enum {
    SPARE_CLIENTS = 256,
    SPARE_EXCHANGES = 128,
    LOG_FLUSH_MS = 100,
    MAX_RESPONSE_FIELDS = 256,
    HEAD_SLACK = 4096, /* what rewriting may add to a head */
};

static void set_limits(struct proxy *proxy)
{
    const struct client_options *client = proxy->settings.client;
    proxy->request_limits = (struct http_limits){
        .max_head_bytes = client->max_header_bytes,
        .max_target_bytes = client->max_target_bytes,
        .max_fields = (size_t)client->max_headers,
    };
    proxy->response_limits = (struct http_limits){
        .max_head_bytes = proxy->settings.upstream->max_header_bytes,
        .max_target_bytes = proxy->settings.upstream->max_header_bytes,
        .max_fields = MAX_RESPONSE_FIELDS,
    };
}

static size_t larger(size_t a, size_t b)
{
    return a > b ? a : b;
}

/* (Re)build what depends on the settings. */
static void apply_settings(struct proxy *proxy, const struct proxy_settings *settings)
{
    proxy->settings = *settings;
    set_limits(proxy);
    size_t fields = larger(proxy->request_limits.max_fields, proxy->response_limits.max_fields);
    const struct http_limits widest = {.max_fields = fields};
    mem_free(proxy->parser_fields);
    mem_free(proxy->head_fields);
    mem_free(proxy->scratch);
    proxy->parser_fields = mem_alloc(http_parser_fields_size(&widest));
    proxy->head_fields = mem_alloc(fields * sizeof(proxy->head_fields[0]));
    proxy->scratch_size = larger(proxy->response_limits.max_head_bytes, 8192) * 2 + HEAD_SLACK;
    proxy->scratch = mem_alloc(proxy->scratch_size);

    const struct identity_options *identity = settings->identity;
    const char *const names[] = {identity->user_header, identity->tier_header};
    mem_free(proxy->removed_names);
    proxy->removed_names = mem_alloc_zero(COUNT_OF(names) * sizeof(proxy->removed_names[0]));
    proxy->removed_count = 0;
    for (size_t i = 0; i < COUNT_OF(names); i++)
        if (names[i] != NULL && names[i][0] != '\0')
            proxy->removed_names[proxy->removed_count++] = slice_of(names[i]);
}

static void flush_log(void *arg)
{
    struct proxy *proxy = arg;
    access_log_flush(proxy->parts.access_log);
}

void proxy_flush_log_soon(struct proxy *proxy)
{
    if (!loop_timer_is_running(&proxy->log_timer))
        loop_timer_start(proxy->loop, &proxy->log_timer, LOG_FLUSH_MS);
}

struct proxy *proxy_create(const struct proxy_parts *parts, const struct proxy_settings *settings)
{
    struct proxy *proxy = mem_alloc_zero(sizeof(*proxy));
    proxy->parts = *parts;
    proxy->parts.routes = NULL; /* only borrowed for this call */
    proxy->routes = route_lease_create(parts->routes);
    proxy->loop = parts->loop;
    proxy->read_buffer = mem_alloc(PROXY_READ_BYTES);
    apply_settings(proxy, settings);
    lane_table_init(&proxy->lanes, parts->metrics, parts->routes, settings->reply);
    mem_pool_init(&proxy->clients, sizeof(struct client), SPARE_CLIENTS);
    mem_pool_init(&proxy->exchanges, sizeof(struct exchange), SPARE_EXCHANGES);
    mem_pool_init(&proxy->memos, PROXY_MEMO_BYTES, SPARE_EXCHANGES);
    request_id_init(&proxy->ids);
    LIST_INIT(&proxy->open_clients);
    loop_timer_init(&proxy->log_timer, flush_log, proxy);
    return proxy;
}

void proxy_configure(struct proxy *proxy,
                     const struct proxy_settings *settings,
                     struct route_table *routes)
{
    struct client *client;
    lane_table_clear(&proxy->lanes);
    denials_forget_names(proxy->parts.denials);
    route_lease_unref(&proxy->routes);
    proxy->routes = route_lease_create(routes);
    apply_settings(proxy, settings);
    lane_table_init(&proxy->lanes, proxy->parts.metrics, routes, proxy->settings.reply);
    /* Parsers of heads under way were made for as many fields as were allowed before. */
    LIST_FOREACH (client, &proxy->open_clients, entry)
        client_reread_head(client);
}

void proxy_accept(struct proxy *proxy, int fd, const struct addr *peer, bool speaks_proxy_protocol)
{
    (void)client_create(proxy, fd, peer, speaks_proxy_protocol); /* it owns itself from here on */
}

void proxy_drain(struct proxy *proxy)
{
    struct client *client;
    proxy->is_draining = true;
    LIST_FOREACH (client, &proxy->open_clients, entry)
        client_drain(client);
}

size_t proxy_client_count(const struct proxy *proxy)
{
    return proxy->client_count;
}

void proxy_close_all(struct proxy *proxy)
{
    struct client *client;
    while ((client = LIST_FIRST(&proxy->open_clients)) != NULL)
        client_close(client);
}

void proxy_destroy(struct proxy **proxy)
{
    struct proxy *p = *proxy;
    if (p == NULL)
        return;
    loop_timer_stop(&p->log_timer);
    if (p->parts.access_log != NULL)
        access_log_flush(p->parts.access_log);
    lane_table_clear(&p->lanes);
    route_lease_unref(&p->routes);
    mem_pool_clear(&p->clients);
    mem_pool_clear(&p->exchanges);
    mem_pool_clear(&p->memos);
    mem_free(p->parser_fields);
    mem_free(p->head_fields);
    mem_free(p->removed_names);
    mem_free(p->read_buffer);
    mem_free(p->scratch);
    mem_free(p);
    *proxy = NULL;
}
