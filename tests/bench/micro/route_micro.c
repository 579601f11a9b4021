/* SPDX-License-Identifier: MIT */
/* Finding a route among the default ones, and among two hundred. */
#include <stdlib.h>

#include "kamiyo/base/text.h"
#include "kamiyo/route/route_table.h"

#include "micro.h"

#define MANY 200

struct search {
    struct route_table *table;
    struct http_request_head request;
};

static void find(void *arg, size_t first, size_t count)
{
    const struct search *search = arg;

    for (size_t i = first; i < first + count; i++)
        micro_keep(route_table_find(search->table, &search->request)->index);
}

/* Paths under /api/0, /api/1 and so on: one exact path each, or all that begins so. */
static void run(const char *name, size_t route_count, bool is_prefix)
{
    static char anonymous[] = "anonymous", none[] = "";
    static struct route_options routes[MANY];
    static char texts[MANY][24];
    static char *paths[MANY];
    struct route_tier_options tier = {.name = anonymous, .is_unlimited = true};
    const struct route_table_options options = {
        .tiers = &tier, .tier_count = 1, .routes = routes, .route_count = route_count};
    struct search search = {.request = {.method = SLICE("GET"),
                                        .target = SLICE("/exploits?page=1"),
                                        .path = SLICE("/exploits"),
                                        .path_query = SLICE("/exploits?page=1"),
                                        .host = SLICE("api.kamiyo.ai")}};

    for (size_t i = 0; i < HTTP_FIELD_COUNT; i++)
        search.request.head.first[i] = -1;
    for (size_t i = 0; i < route_count; i++) {
        struct text text;

        text_init(&text, texts[i], sizeof(texts[i]));
        text_append(&text, SLICE("/api/"));
        text_append_u64(&text, i);
        text_append(&text, is_prefix ? SLICE("/*") : SLICE("/health"));
        (void)text_terminate(&text);
        paths[i] = texts[i];
        routes[i] = (struct route_options){.name = none,
                                           .paths = &paths[i],
                                           .path_count = 1,
                                           .is_exempt = true,
                                           .cost = 1,
                                           .cost_from = none};
    }
    search.table = route_table_create(&options);
    micro_run(name, find, &search);
    route_table_unref(&search.table);
}

void micro_route(void)
{
    run("find a route, none of 6 exact paths", 6, false);
    run("find a route, none of 200 prefixes", MANY, true);
}
