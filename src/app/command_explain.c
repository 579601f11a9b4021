/* SPDX-License-Identifier: MIT */
/*
 * `explain`: what the gateway would make of one request: route, client address,
 * identity, tier, each bucket and the fields of the answer. Nothing is charged
 * and nothing is asked: the buckets are taken for full. The walk is the
 * gateway's own functions in the gateway's own order.
 */
#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "kamiyo/app/command.h"
#include "kamiyo/app/options.h"
#include "kamiyo/app/snapshot.h"
#include "kamiyo/base/clock.h"
#include "kamiyo/base/mem.h"
#include "kamiyo/base/text.h"
#include "kamiyo/config/config_report.h"
#include "kamiyo/http/parser.h"
#include "kamiyo/identity/client_ip.h"
#include "kamiyo/identity/credentials.h"
#include "kamiyo/limit/bucket.h"
#include "kamiyo/proxy/limit_fields.h"

#define MAX_HEAD_BYTES 65536

struct explain {
    const struct snapshot *snapshot;
    const char *method;
    const char *target;
    struct addr peer;
    const struct options_words *headers;
    char head[MAX_HEAD_BYTES];
    size_t head_length;
    struct http_parser_field spans[HTTP_PARSER_MAX_FIELDS];
    struct http_field fields[HTTP_PARSER_MAX_FIELDS];
    struct http_request_head request;
    struct client_ip client;
    struct identity identity;
    const struct route *route;
    const struct route_tier *tier;
};

/* "-H @file": a field on each line, so that a secret need not stand in the shell's history. */
static bool append_file(struct text *text, const char *path)
{
    char line[8192];
    FILE *file = fopen(path, "re");

    if (file == NULL) {
        (void)fprintf(stderr, "kamiyo-gateway explain: \"%s\" cannot be read\n", path);
        return false;
    }
    while (fgets(line, sizeof(line), file) != NULL) {
        line[strcspn(line, "\r\n")] = '\0';
        if (line[0] != '\0')
            text_append_format(text, "%s\r\n", line);
    }
    (void)fclose(file); /* nothing was written to it */
    return true;
}

static bool make_head(struct explain *explain)
{
    struct text text;

    text_init(&text, explain->head, sizeof(explain->head));
    text_append_format(&text, "%s %s HTTP/1.1\r\n", explain->method, explain->target);
    for (size_t i = 0; i < explain->headers->count; i++) {
        const char *line = explain->headers->items[i];

        if (line[0] == '@' && !append_file(&text, line + 1))
            return false;
        if (line[0] != '@')
            text_append_format(&text, "%s\r\n", line);
    }
    (void)text_terminate(&text);
    text_append(&text, strcasestr(explain->head, "\r\nhost:") != NULL
                           ? SLICE("\r\n")
                           : SLICE("Host: localhost\r\n\r\n"));
    explain->head_length = text.length;
    if (text.overflow)
        (void)fputs("kamiyo-gateway explain: the fields are too long\n", stderr);
    return !text.overflow;
}

static bool parse_head(struct explain *explain)
{
    const struct client_options *client = &explain->snapshot->config->client;
    const struct http_limits limits = {.max_head_bytes = client->max_header_bytes,
                                       .max_target_bytes = client->max_target_bytes,
                                       .max_fields = (size_t)client->max_headers};
    struct http_parser parser;
    size_t consumed;

    http_parser_init_request(&parser, &limits, explain->spans);
    explain->request.head.fields = explain->fields;
    if (http_parser_request(&parser, explain->head, explain->head_length, &explain->request,
                            &consumed) == HTTP_PARSER_HEAD)
        return true;
    printf("answer    %d: %s\n", parser.error_status,
           parser.error_reason != NULL ? parser.error_reason : "malformed");
    return false;
}

static void print_route(const struct explain *explain)
{
    const struct route *route = explain->route;

    if (route->index == 0)
        printf("route     none matches: the tier's limits");
    else
        printf("route     %zu%s%.*s%s: %s", route->index, route->name.length > 0 ? " \"" : "",
               SLICE_PRINT(route->name), route->name.length > 0 ? "\"" : "",
               route->is_exempt       ? "not limited"
               : route->has_own_tiers ? "limits of its own"
                                      : "the tier's limits");
    if (!route->is_exempt)
        printf(", cost %" PRId64, route->cost);
    if (route->cost_from.length > 0)
        printf(", and up to %" PRId64 " more from %.*s", route->max_cost,
               SLICE_PRINT(route->cost_from));
    if (route->concurrency > 0)
        printf(", %d at a time", route->concurrency);
    printf("%s\n", route->is_shadow ? ", shadow: never refused" : "");
}

static void print_client(const struct explain *explain)
{
    const struct client_ip *client = &explain->client;
    char address[ADDR_TEXT_SIZE];

    (void)addr_format(&client->addr, address);
    printf("client    %s", address);
    if (!addr_equal(&client->addr, &explain->peer))
        printf(" (named by the trusted peer's field)");
    else
        printf(" (the peer%s)", client->is_peer_trusted ? ", which is trusted" : "");
    if (client->has_untrusted_fields)
        printf(
            "; its forwarding fields are not believed: client_ip.trusted_proxies does not name it");
    if (client->is_chain_short)
        printf("; fewer entries than client_ip.hops");
    putchar('\n');
}

static void print_identity(const struct explain *explain)
{
    const struct identity_options *options = &explain->snapshot->config->identity;
    const struct identity *identity = &explain->identity;
    struct credentials shown;

    credentials_gather(explain->snapshot->identity, &explain->request.head, &shown);
    printf("identity  %.*s", identity->key_length, identity->key);
    if (identity->kind == IDENTITY_ADDRESS && shown.key_count + shown.token_count > 0)
        printf(" (%zu key%s and %zu token%s shown, none verified)", shown.key_count,
               shown.key_count == 1 ? "" : "s", shown.token_count,
               shown.token_count == 1 ? "" : "s");
    if (options->api_key.redis_lookup && shown.key_count > 0)
        printf("; keys in Redis are not looked up here");
    printf("\ntier      %.*s", SLICE_PRINT(explain->tier->name));
    if (identity->tier_length > 0 &&
        !slice_equal((struct slice){identity->tier, identity->tier_length}, explain->tier->name))
        printf(" (the identity says \"%.*s\", which is no tier)", identity->tier_length,
               identity->tier);
    putchar('\n');
}

/* The bucket's name in Redis (contract section 4). */
static void print_key(const struct explain *explain, const char *window)
{
    const struct limiter_options *limiter = &explain->snapshot->config->limiter;
    const struct identity *identity = &explain->identity;
    struct slice route =
        explain->route->has_own_tiers ? explain->route->name : (struct slice){NULL, 0};
    const char *colon = route.length > 0 ? ":" : "";

    if (limiter->layout == LIMIT_LAYOUT_IDENTITY)
        printf("%s:{%.*s}%s%.*s", limiter->key_prefix, identity->key_length, identity->key, colon,
               SLICE_PRINT(route));
    else
        printf("%s:%.*s%s%.*s:%s", limiter->key_prefix, identity->key_length, identity->key, colon,
               SLICE_PRINT(route), window);
}

static void print_buckets(const struct explain *explain, const struct limit_policy *policy)
{
    struct bucket buckets[LIMIT_MAX_WINDOWS];
    struct limit_decision decision = {.mode = LIMIT_MODE_MEMORY};
    char memory[LIMIT_FIELDS_SIZE];
    int64_t now_ms = clock_wall_ms();
    struct text text;

    for (size_t i = 0; i < policy->window_count; i++)
        bucket_init(&buckets[i], &policy->windows[i], now_ms);
    (void)bucket_decide(buckets, policy, explain->route->cost, now_ms,
                        &decision); /* full buckets pay every cost */
    for (size_t i = 0; i < policy->window_count; i++) {
        const struct limit_window *window = &policy->windows[i];
        char period[24];

        printf("bucket    ");
        print_key(explain, window->name);
        printf("\n          %" PRId64 " in %s, at most %" PRId64 " at once; %" PRId64
               " left after this request\n",
               window->limit, text_format_duration(window->period_ms, period), window->burst,
               decision.levels[i].remaining);
    }
    printf("answer    the upstream's%s\n",
           explain->snapshot->config->responses.has_x_ratelimit ||
                   explain->snapshot->config->responses.has_ratelimit
               ? ", with"
               : "");
    text_init(&text, memory, sizeof(memory));
    limit_fields_write(&text, policy, &decision, explain->tier->name,
                       &explain->snapshot->config->responses, now_ms);
    for (struct slice rest = text_slice(&text), line; slice_cut(&rest, '\n', &line);) {
        if (line.length > 1)
            printf("          %.*s\n", (int)(line.length - 1), line.data);
    }
}

static enum route_verdict judge(const struct explain *explain)
{
    const struct identity *identity = &explain->identity;
    struct slice user = {identity->key + 5, (size_t)identity->key_length - 5}; /* after "user:" */
    enum route_verdict verdict = ROUTE_NEITHER;

    if (identity->kind == IDENTITY_USER)
        verdict = route_table_judge_user(explain->snapshot->routes, user);
    if (verdict == ROUTE_NEITHER)
        verdict = route_table_judge_addr(explain->snapshot->routes, &explain->client.addr);
    return verdict;
}

static void find_identity(struct explain *explain)
{
    struct identity_chain *chain = identity_chain_create(explain->snapshot->identity, NULL, NULL);
    struct identity_call *call = NULL;
    struct clock_time now;
    const struct identity_query query = {.request = &explain->request,
                                         .client = &explain->client.addr,
                                         .is_peer_trusted = explain->client.is_peer_trusted,
                                         .now = &now};

    clock_read(&now);
    /* Without a source to ask, the answer is there at once. */
    if (identity_resolve(chain, &query, &explain->identity, NULL, NULL, &call) == PROGRESS_PENDING)
        identity_cancel(&call);
    identity_chain_destroy(&chain);
}

static int explain_request(struct explain *explain)
{
    const struct route_table *routes = explain->snapshot->routes;
    const struct limit_policy *policy;
    enum route_verdict verdict;

    printf("request   %s %s\n", explain->method, explain->target);
    if (!parse_head(explain))
        return COMMAND_OK;
    explain->route = route_table_find(routes, &explain->request);
    client_ip_find(&explain->snapshot->config->client_ip, &explain->peer, &explain->request.head,
                   &explain->client);
    print_route(explain);
    print_client(explain);
    if (route_table_judge_addr(routes, &explain->client.addr) == ROUTE_DENIED) {
        puts("answer    403: the address is on the deny list");
        return COMMAND_OK;
    }
    find_identity(explain);
    explain->tier = route_table_tier(
        routes, (struct slice){explain->identity.tier, explain->identity.tier_length},
        explain->identity.kind == IDENTITY_USER);
    print_identity(explain);
    verdict = judge(explain);
    policy = route_policy(routes, explain->route, explain->tier);
    if (verdict == ROUTE_DENIED)
        puts("answer    403: the user is on the deny list");
    else if (explain->route->is_exempt || verdict == ROUTE_ALLOWED || policy == NULL)
        printf("answer    the upstream's: %s, so no bucket is touched\n",
               explain->route->is_exempt  ? "the route is not limited"
               : verdict == ROUTE_ALLOWED ? "the allow list has this client"
                                          : "the tier is not limited");
    else
        print_buckets(explain, policy);
    return COMMAND_OK;
}

static int load_and_explain(const struct config_overrides *overrides, struct explain *explain)
{
    struct snapshot *snapshot;
    struct error_list errors;
    int status = COMMAND_FAILED;

    error_list_init(&errors);
    snapshot = snapshot_load(overrides, &errors);
    explain->snapshot = snapshot;
    if (snapshot == NULL) {
        char *report = config_format_errors(&errors);

        (void)fputs(report, stderr);
        mem_free(report);
    } else if (make_head(explain)) {
        status = explain_request(explain);
    }
    snapshot_unref(&snapshot);
    error_list_clear(&errors);
    return status;
}

/* "GET /path" as two words or one; a path alone is a GET. */
static bool
split_words(const struct options_words *words, char memory[4096], struct explain *explain)
{
    char *space;

    if (words->count == 2) {
        explain->method = words->items[0];
        explain->target = words->items[1];
        return true;
    }
    if (words->count != 1 || strlen(words->items[0]) >= 4096)
        return false;
    (void)snprintf(memory, 4096, "%s", words->items[0]);
    space = strchr(memory, ' ');
    explain->method = space != NULL ? memory : "GET";
    explain->target = space != NULL ? space + 1 : memory;
    if (space != NULL)
        *space = '\0';
    return true;
}

int command_explain(int argc, char **argv)
{
    struct config_overrides overrides = {.path = NULL};
    const char *ip = "127.0.0.1";
    struct options_words headers = {.count = 0};
    const struct options_item items[] = {
        {"config", 'c', OPTIONS_TEXT, &overrides.path, "FILE", "the configuration"},
        {"ip", 'i', OPTIONS_TEXT, &ip, "ADDRESS", "who connects; 127.0.0.1 if not given"},
        {"header", 'H', OPTIONS_LIST, &headers, "FIELD", "a field, or @FILE with one on each line"},
        {.name = NULL}};
    const struct options options = {
        .command = "explain",
        .usage = "METHOD PATH [--ip ADDRESS] [-H 'Name: value']...",
        .doc = "Tells route, identity, tier, buckets and fields that a request would get.\n"
               "Charges nothing and asks nobody: buckets are taken for full.",
        .items = items,
        .max_words = 2};
    struct options_words words;
    enum options_result result = options_parse(&options, argc, argv, &words);
    struct explain *explain;
    char memory[4096];
    int status = COMMAND_USAGE;

    if (result != OPTIONS_PROCEED)
        return result == OPTIONS_HELPED ? COMMAND_OK : COMMAND_USAGE;
    explain = mem_alloc_zero(sizeof(*explain));
    explain->headers = &headers;
    if (!split_words(&words, memory, explain))
        options_complain(&options, "a method and a path are needed, as GET /exploits");
    else if (strcmp(ip, "unix") == 0)
        explain->peer.family = ADDR_UNIX;
    else if (!addr_parse(slice_of(ip), &explain->peer))
        options_complain(&options, "--ip must be an address or unix, not \"%s\"", ip);
    if (explain->method != NULL && explain->peer.family != ADDR_NONE)
        status = load_and_explain(&overrides, explain);
    mem_free(explain);
    return status;
}
