/* SPDX-License-Identifier: MIT */
/*
 * /api/top: who is refused most, and the lists that it shares with /api/events.
 */
#include "kamiyo/observe/denials.h"
#include "kamiyo/observe/metrics.h"

#include "admin/admin_internal.h"

#define DEFAULT_CLIENTS 20

static void put_member(struct text *out, const char *name, const char *bytes, size_t length)
{
    text_append_char(out, '"');
    text_append(out, slice_of(name));
    text_append(out, SLICE("\": \""));
    text_append_json(out, (struct slice){bytes, length});
    text_append(out, SLICE("\", "));
}

void admin_top_put_clients(struct text *out, const struct admin_survey *survey, size_t max)
{
    text_append(out, SLICE("\"clients\": ["));
    for (size_t i = 0; i < survey->client_count && i < max; i++) {
        const struct denials_client *client = &survey->clients[i];

        text_append(out, i > 0 ? SLICE(", {") : SLICE("{"));
        put_member(out, "key", client->key, client->key_length);
        put_member(out, "tier", client->tier, client->tier_length);
        put_member(out, "route", client->route, client->route_length);
        put_member(out, "window", client->window, client->window_length);
        text_append_format(out, "\"denied\": %llu, \"denied_at_most\": %llu}",
                           (unsigned long long)client->denied,
                           (unsigned long long)client->denied_at_most);
    }
    text_append_char(out, ']');
}

void admin_top_put_endpoints(struct text *out, const struct admin_survey *survey)
{
    text_append(out, SLICE("\"endpoints\": ["));
    for (size_t i = 0; i < survey->endpoint_count; i++) {
        const struct admin_endpoint *endpoint = &survey->endpoints[i];

        text_append(out, i > 0 ? SLICE(", {") : SLICE("{"));
        put_member(out, "address", endpoint->name, slice_of(endpoint->name).length);
        text_append_format(out,
                           "\"workers_ejecting\": %llu, \"connections\": %llu, \"requests\": %llu, "
                           "\"failures\": %llu}",
                           (unsigned long long)endpoint->workers_ejecting,
                           (unsigned long long)endpoint->connections,
                           (unsigned long long)endpoint->requests,
                           (unsigned long long)endpoint->failures);
    }
    text_append_char(out, ']');
}

struct top {
    const struct admin_connection *connection;
    const struct admin_survey *survey;
};

static void write_top(struct text *out, const void *arg)
{
    const struct top *top = arg;
    struct metrics *metrics = top->connection->admin->source.metrics;

    text_append_format(out, "{\"window_seconds\": %d, \"denied_total\": %llu, ",
                       DENIALS_WINDOW_MS / 1000,
                       (unsigned long long)metrics_sum_decisions(metrics, SLICE("denied")));
    admin_top_put_clients(out, top->survey, top->connection->client_limit);
    text_append(out, SLICE("}\n"));
}

static void on_survey(void *arg, const struct admin_survey *survey)
{
    struct admin_connection *connection = arg;
    const struct top top = {connection, survey};

    connection->survey_call = NULL;
    admin_connection_answer_json(connection, write_top, &top);
    admin_connection_proceed(connection);
}

void admin_top_serve(struct admin_connection *connection)
{
    const struct admin_source *source = &connection->admin->source;
    struct slice given = admin_query_find(&connection->request, SLICE("limit"));
    uint64_t limit = DEFAULT_CLIENTS;

    if (given.data != NULL &&
        (!slice_parse_u64(given, &limit) || limit < 1 || limit > ADMIN_SURVEY_CLIENTS)) {
        admin_connection_refuse(connection, 400, "limit is a number from 1 to 100.");
        return;
    }
    connection->client_limit = (size_t)limit;
    source->survey(source->arg, on_survey, connection, &connection->survey_call);
}
