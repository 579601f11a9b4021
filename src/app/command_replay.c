/* SPDX-License-Identifier: MIT */
/*
 * `replay`: an access log run through a policy on the log's own clock, to see
 * before a change who would be refused. The buckets are the gateway's own
 * table; a line's fields are not in the log, so routes that ask for a host or a field never match
 * here, which is said. Identities are what the log says they were.
 */
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "kamiyo/app/command.h"
#include "kamiyo/app/options.h"
#include "kamiyo/app/replay_log.h"
#include "kamiyo/app/snapshot.h"
#include "kamiyo/base/mem.h"
#include "kamiyo/base/text.h"
#include "kamiyo/config/config_report.h"
#include "kamiyo/identity/client_ip.h"
#include "kamiyo/limit/bucket_table.h"

#define TABLE_BYTES (UINT64_C(1) << 30)
#define MAX_CLIENTS 100000 /* whose refusals are told apart */
#define SHOWN       10

/* What became of the requests of one row of the result. */
struct tally {
    uint64_t allowed;
    uint64_t denied;
    uint64_t exempt;
};

struct replay_client {
    char key[144];
    uint64_t denied;
    struct replay_client *next;
};

struct replay {
    const struct snapshot *snapshot;
    struct bucket_table *table;
    struct tally total;
    struct tally *cells;                 /* route times tiers + tier */
    struct replay_client *clients[4096]; /* by hash of the key; who was refused */
    size_t client_count;
    uint64_t skipped;
    uint64_t forbidden;
    int64_t first_ms;
    int64_t last_ms;
};

static struct replay_client *find_client(struct replay *replay, struct slice key)
{
    struct bucket_key hashed;
    struct replay_client **list;
    struct replay_client *client;

    bucket_table_key(replay->table, key, slice_of(NULL), &hashed);
    list = &replay->clients[hashed.hash % COUNT_OF(replay->clients)];
    for (client = *list; client != NULL; client = client->next) {
        if (slice_equal(slice_of(client->key), key))
            return client;
    }
    if (replay->client_count == MAX_CLIENTS)
        return NULL;
    client = mem_alloc_zero(sizeof(*client));
    memcpy(client->key, key.data, key.length);
    client->next = *list;
    *list = client;
    replay->client_count++;
    return client;
}

/* A head with nothing but method and path: what an access log knows. */
static void make_request(const struct replay_record *record, struct http_request_head *request)
{
    *request = (struct http_request_head){.method = slice_of(record->method),
                                          .target = slice_of(record->path),
                                          .path = slice_of(record->path),
                                          .path_query = slice_of(record->path)};
    for (size_t i = 0; i < HTTP_FIELD_COUNT; i++)
        request->head.first[i] = -1;
}

/* The bucket key, "user:<id>" or "ip:<network>"; 0 when the log's address is none. */
static size_t make_key(const struct replay *replay,
                       const struct replay_record *record,
                       struct addr *addr,
                       char out[256])
{
    *addr = (struct addr){.family = ADDR_UNIX};
    if (strcmp(record->client, "unix") != 0 &&
        !addr_parse_with_port(slice_of(record->client), addr))
        return 0;
    if (record->user[0] != '\0')
        return (size_t)snprintf(out, 256, "user:%s", record->user);
    return client_ip_format_key(&replay->snapshot->config->client_ip, addr, out);
}

static void decide(struct replay *replay,
                   const struct route *route,
                   const struct limit_policy *policy,
                   struct slice key,
                   struct tally *cell)
{
    struct bucket_shape *shape =
        bucket_shapes_ref(bucket_table_shapes(replay->table), policy, 1, 0);
    struct limit_decision decision;
    struct bucket_key bucket;
    struct replay_client *client;

    bucket_table_key(replay->table, key, route->has_own_tiers ? route->name : slice_of(NULL),
                     &bucket);
    if (bucket_table_take(replay->table, &bucket, shape, route->cost, replay->last_ms,
                          BUCKET_LEDGER_NONE, &decision)) {
        cell->allowed++;
        replay->total.allowed++;
    } else {
        cell->denied++;
        replay->total.denied++;
        client = find_client(replay, key);
        if (client != NULL)
            client->denied++;
    }
    bucket_shape_unref(shape);
}

/* The gateway's own page, which meets no limit. */
static bool is_own_health(const struct replay_record *record)
{
    bool is_get = strcmp(record->method, "GET") == 0 || strcmp(record->method, "HEAD") == 0;

    return is_get && strcmp(record->path, "/_gateway/health") == 0;
}

static void replay_line(struct replay *replay, struct slice line)
{
    const struct route_table *routes = replay->snapshot->routes;
    struct replay_record record;
    struct http_request_head request;
    const struct route *route;
    const struct route_tier *tier;
    const struct limit_policy *policy;
    enum route_verdict verdict = ROUTE_NEITHER;
    struct tally *cell;
    struct addr addr;
    char key[256];
    size_t length = 0;

    if (!replay_log_parse(line, &record) || (length = make_key(replay, &record, &addr, key)) == 0 ||
        length > 144 - 1) {
        replay->skipped++;
        return;
    }
    if (is_own_health(&record))
        return;
    if (replay->first_ms == 0)
        replay->first_ms = record.time_ms;
    if (record.time_ms > replay->last_ms)
        replay->last_ms =
            record.time_ms; /* lines are written when a request ends, so they overtake each other */
    make_request(&record, &request);
    route = route_table_find(routes, &request);
    tier = route_table_tier(routes, slice_of(record.tier), record.user[0] != '\0');
    cell = &replay->cells[route->index * route_table_tier_count(routes) + tier->index];
    if (record.user[0] != '\0')
        verdict = route_table_judge_user(routes, slice_of(record.user));
    if (verdict == ROUTE_NEITHER || route_table_judge_addr(routes, &addr) == ROUTE_DENIED)
        verdict = route_table_judge_addr(routes, &addr);
    policy = route_policy(routes, route, tier);
    if (verdict == ROUTE_DENIED) {
        replay->forbidden++;
    } else if (route->is_exempt || verdict == ROUTE_ALLOWED || policy == NULL) {
        cell->exempt++;
        replay->total.exempt++;
    } else {
        decide(replay, route, policy, (struct slice){key, length}, cell);
    }
}

static double percent(uint64_t part, uint64_t whole)
{
    return whole == 0 ? 0.0 : 100.0 * (double)part / (double)whole;
}

static int compare_clients(const void *a, const void *b)
{
    const struct replay_client *left = *(const struct replay_client *const *)a;
    const struct replay_client *right = *(const struct replay_client *const *)b;

    if (left->denied != right->denied)
        return left->denied < right->denied ? 1 : -1;
    return strcmp(left->key, right->key);
}

static void print_clients(const struct replay *replay)
{
    struct replay_client **sorted;
    size_t count = 0;

    if (replay->client_count == 0)
        return;
    sorted = mem_alloc(replay->client_count * sizeof(struct replay_client *));
    for (size_t i = 0; i < COUNT_OF(replay->clients); i++) {
        for (struct replay_client *client = replay->clients[i]; client != NULL;
             client = client->next)
            sorted[count++] = client;
    }
    qsort(sorted, count, sizeof(struct replay_client *), compare_clients);
    printf("\n%zu client%s would have been refused%s\n", count, count == 1 ? "" : "s",
           count > SHOWN ? "; most often:" : ":");
    for (size_t i = 0; i < count && i < SHOWN; i++)
        printf("  %-40s %10" PRIu64 " times\n", sorted[i]->key, sorted[i]->denied);
    mem_free(sorted);
}

static void print_result(const struct replay *replay)
{
    const struct route_table *routes = replay->snapshot->routes;
    const struct tally *total = &replay->total;
    uint64_t sum = total->allowed + total->denied + total->exempt + replay->forbidden;
    size_t tiers = route_table_tier_count(routes);
    char first[TEXT_TIMESTAMP_SIZE];
    char last[TEXT_TIMESTAMP_SIZE];

    text_format_timestamp(replay->first_ms, first);
    text_format_timestamp(replay->last_ms, last);
    if (sum == 0) {
        printf("no request was found; %" PRIu64 " lines were not understood\n", replay->skipped);
        return;
    }
    printf("%s to %s: %" PRIu64 " requests\n\n", first, last, sum);
    printf("%-20s %-12s %10s %10s %10s %8s\n", "route", "tier", "allowed", "refused", "exempt",
           "refused");
    for (size_t i = 0; i < route_table_count(routes) * tiers; i++) {
        const struct tally *cell = &replay->cells[i];
        const struct route *route = route_table_at(routes, i / tiers);
        struct slice name = route->name.length > 0 ? route->name : SLICE("default");

        if (cell->allowed + cell->denied + cell->exempt == 0)
            continue;
        if (route->name.length == 0 && route->index > 0)
            printf("%-20zu", route->index); /* the nameless ones by their place */
        else
            printf("%-20.*s", SLICE_PRINT(name));
        printf(" %-12.*s %10" PRIu64 " %10" PRIu64 " %10" PRIu64 " %7.2f%%%s\n",
               SLICE_PRINT(route_table_tier_at(routes, i % tiers)->name), cell->allowed,
               cell->denied, cell->exempt,
               percent(cell->denied, cell->allowed + cell->denied + cell->exempt),
               route->is_shadow ? " (shadow: not refused)" : "");
    }
    printf("%-20s %-12s %10" PRIu64 " %10" PRIu64 " %10" PRIu64 " %7.2f%%\n", "all", "",
           total->allowed, total->denied, total->exempt, percent(total->denied, sum));
    print_clients(replay);
    if (replay->forbidden > 0)
        printf("\n%" PRIu64 " requests are on the deny list: 403\n", replay->forbidden);
    if (replay->skipped > 0)
        printf("\n%" PRIu64 " line%s not understood\n", replay->skipped,
               replay->skipped == 1 ? " was" : "s were");
}

/* Routes that a log cannot meet. */
static void print_blind_spots(const struct config *config)
{
    for (size_t i = 0; i < config->routes.route_count; i++) {
        const struct route_options *route = &config->routes.routes[i];

        if (route->host_count > 0 || route->header_count > 0)
            printf("route %zu%s%s asks for a host or a field, which the log does not have: it "
                   "matches nothing here\n",
                   i + 1, route->name[0] != '\0' ? " " : "", route->name);
    }
}

static void replay_file(struct replay *replay, FILE *file)
{
    char *line = mem_alloc(REPLAY_LOG_MAX_LINE);

    while (fgets(line, REPLAY_LOG_MAX_LINE, file) != NULL) {
        size_t length = strlen(line);
        bool is_whole = length > 0 && line[length - 1] == '\n';

        if (!is_whole && feof(file) == 0) {
            int byte;

            while ((byte = fgetc(file)) != EOF && byte != '\n')
                continue;
            replay->skipped++; /* longer than any line of ours */
            continue;
        }
        replay_line(replay, (struct slice){line, length});
    }
    mem_free(line);
}

static int run(const struct snapshot *snapshot, const char *path)
{
    FILE *file = strcmp(path, "-") == 0 ? stdin : fopen(path, "re");
    struct replay *replay;

    if (file == NULL) {
        (void)fprintf(stderr, "kamiyo-gateway replay: \"%s\" cannot be read\n", path);
        return COMMAND_FAILED;
    }
    replay = mem_alloc_zero(sizeof(*replay));
    replay->snapshot = snapshot;
    replay->table = bucket_table_create(TABLE_BYTES);
    replay->cells =
        mem_alloc_zero(route_table_count(snapshot->routes) *
                       route_table_tier_count(snapshot->routes) * sizeof(*replay->cells));
    if (replay->table != NULL) {
        print_blind_spots(snapshot->config);
        replay_file(replay, file);
        print_result(replay);
    }
    for (size_t i = 0; i < COUNT_OF(replay->clients); i++) {
        while (replay->clients[i] != NULL) {
            struct replay_client *gone = replay->clients[i];

            replay->clients[i] = gone->next;
            mem_free(gone);
        }
    }
    bucket_table_destroy(&replay->table);
    mem_free(replay->cells);
    mem_free(replay);
    if (file != stdin)
        (void)fclose(file); /* nothing was written to it */
    return COMMAND_OK;
}

int command_replay(int argc, char **argv)
{
    struct config_overrides overrides = {.path = NULL};
    const char *log = NULL;
    const struct options_item items[] = {
        {"config", 'c', OPTIONS_TEXT, &overrides.path, "FILE", "the policy to try"},
        {"log", 'l', OPTIONS_TEXT, &log, "FILE", "the access log, - for stdin"},
        {.name = NULL}};
    const struct options options = {
        .command = "replay",
        .usage = "--log FILE [--config FILE]",
        .doc = "Runs an access log (JSON lines of the gateway, or the common or combined format) "
               "through\n"
               "a policy on the log's own clock, and tells who would have been refused.",
        .items = items,
        .max_words = 0};
    enum options_result result = options_parse(&options, argc, argv, NULL);
    struct error_list errors;
    struct snapshot *snapshot;
    int status = COMMAND_FAILED;

    if (result != OPTIONS_PROCEED)
        return result == OPTIONS_HELPED ? COMMAND_OK : COMMAND_USAGE;
    if (log == NULL) {
        options_complain(&options, "--log is needed");
        return COMMAND_USAGE;
    }
    error_list_init(&errors);
    snapshot = snapshot_load(&overrides, &errors);
    if (snapshot == NULL) {
        char *report = config_format_errors(&errors);

        (void)fputs(report, stderr);
        mem_free(report);
    } else {
        status = run(snapshot, log);
    }
    snapshot_unref(&snapshot);
    error_list_clear(&errors);
    return status;
}
