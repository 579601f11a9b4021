/* SPDX-License-Identifier: MIT */
/*
 * Writes the form that explain_json.h draws: a function for each object, the
 * members in that order, so that the two can be held against each other.
 */
#include "kamiyo/app/explain_json.h"

#include <string.h>

#include "kamiyo/base/mem.h"
#include "kamiyo/base/text.h"
#include "kamiyo/proxy/limit_fields.h"
#include "kamiyo/version.h"

static const char *const decision_names[EXPLAIN_DECISION_COUNT] = {
    [EXPLAIN_NONE] = NULL,       [EXPLAIN_ALLOWED] = "allowed", [EXPLAIN_DENIED] = "denied",
    [EXPLAIN_EXEMPT] = "exempt", [EXPLAIN_SHADOW] = "shadow",
};

/* `"name": "value"`, or null without data; `before` is what stands in front of the name. */
static void put_string(struct text *out, const char *before, struct slice value)
{
    text_append(out, slice_of(before));
    if (value.data == NULL) {
        text_append(out, SLICE("null"));
        return;
    }
    text_append_char(out, '"');
    text_append_json(out, value);
    text_append_char(out, '"');
}

static void put_word(struct text *out, const char *before, const char *word)
{
    put_string(out, before, word != NULL ? slice_of(word) : (struct slice){NULL, 0});
}

static void put_number(struct text *out, const char *before, int64_t value)
{
    text_append(out, slice_of(before));
    text_append_i64(out, value);
}

static void put_bool(struct text *out, const char *before, bool value)
{
    text_append(out, slice_of(before));
    text_append(out, value ? SLICE("true") : SLICE("false"));
}

static struct slice or_null(struct slice text)
{
    return text.length > 0 ? text : (struct slice){NULL, 0};
}

static void put_verdict(struct text *out, const struct explain *explain)
{
    put_bool(out, ", \"allowed\": ", explain->status == 0);
    put_word(out, ", \"decision\": ", decision_names[explain->verdict]);
    if (explain->status != 0)
        put_number(out, ", \"status\": ", explain->status);
    else
        text_append(out, SLICE(", \"status\": null"));
    put_word(out, ", \"reason\": ", explain->reason);
    put_word(out, ", \"window\": ", explain->window);
    if (explain->wait_ms > 0)
        put_number(out, ", \"retry_after_ms\": ", explain->wait_ms);
    else
        text_append(out, SLICE(", \"retry_after_ms\": null"));
}

static void put_route(struct text *out, const struct explain *explain)
{
    const struct route *route = explain->route;

    if (route == NULL) {
        text_append(out, SLICE(", \"route\": null"));
        return;
    }
    put_number(out, ", \"route\": {\"index\": ", (int64_t)route->index);
    put_string(out, ", \"name\": ", or_null(route->name));
    put_word(out, ", \"limits\": ",
             route->is_exempt       ? "none"
             : route->has_own_tiers ? "own"
                                    : "tier");
    put_number(out, ", \"cost\": ", route->cost);
    put_string(out, ", \"cost_from\": ", or_null(route->cost_from));
    put_number(out, ", \"max_cost\": ", route->max_cost);
    put_number(out, ", \"concurrency\": ", route->concurrency);
    put_bool(out, ", \"shadow\": ", route->is_shadow);
    text_append_char(out, '}');
}

static void put_client(struct text *out, const struct explain *explain)
{
    const struct client_ip *client = &explain->client;
    char address[ADDR_TEXT_SIZE];

    if (explain->route == NULL) {
        text_append(out, SLICE(", \"client\": null"));
        return;
    }
    (void)addr_format(&client->addr, address);
    put_word(out, ", \"client\": {\"address\": ", address);
    put_word(out, ", \"source\": ", addr_equal(&client->addr, &explain->peer) ? "peer" : "field");
    put_bool(out, ", \"peer_trusted\": ", client->is_peer_trusted);
    put_bool(out, ", \"fields_ignored\": ", client->has_untrusted_fields);
    put_bool(out, ", \"chain_short\": ", client->is_chain_short);
    text_append_char(out, '}');
}

static void put_identity(struct text *out, const struct explain *explain)
{
    const struct identity *identity = &explain->identity;

    if (!explain->has_identity) {
        text_append(out, SLICE(", \"identity\": null, \"tier\": null"));
        return;
    }
    put_string(out,
               ", \"identity\": {\"key\": ", (struct slice){identity->key, identity->key_length});
    put_word(out, ", \"found_by\": ", identity_method_names[identity->method]);
    put_string(
        out, ", \"named_tier\": ", or_null((struct slice){identity->tier, identity->tier_length}));
    put_number(out, ", \"keys\": ", (int64_t)explain->shown.key_count);
    put_number(out, ", \"tokens\": ", (int64_t)explain->shown.token_count);
    put_bool(out, ", \"unasked\": ",
             explain->parts.limiter == NULL && explain->shown.key_count > 0 &&
                 explain->parts.snapshot->config->identity.api_key.redis_lookup);
    put_string(out, "}, \"tier\": ", explain->tier->name);
}

/* The bucket's name in the store (contract section 4). */
static void put_key(struct text *out, const struct explain *explain, const char *window)
{
    const struct limiter_options *limiter = &explain->parts.snapshot->config->limiter;
    const struct identity *identity = &explain->identity;
    bool is_one = limiter->layout == LIMIT_LAYOUT_IDENTITY;
    struct slice route = explain->route->has_own_tiers ? explain->route->name : SLICE("");

    text_append(out, SLICE("{\"key\": \""));
    text_append_json(out, slice_of(limiter->key_prefix));
    text_append(out, is_one ? SLICE(":{") : SLICE(":"));
    text_append_json(out, (struct slice){identity->key, identity->key_length});
    if (is_one)
        text_append_char(out, '}');
    if (route.length > 0)
        text_append_char(out, ':');
    text_append(out, route);
    if (!is_one)
        text_append_format(out, ":%s", window);
    text_append_char(out, '"');
}

static void put_window(struct text *out, const struct explain *explain, size_t index)
{
    const struct limit_window *window = &explain->policy->windows[index];
    const struct limit_level *level = &explain->decision.levels[index];
    bool is_charged = explain->decision.outcome == LIMIT_ALLOWED;

    text_append_format(out, "%s\"%s\": ", index > 0 ? ", " : "", window->name);
    put_key(out, explain, window->name);
    put_number(out, ", \"limit\": ", window->limit);
    put_number(out, ", \"period_ms\": ", window->period_ms);
    put_number(out, ", \"burst\": ", window->burst);
    put_number(out, ", \"capacity\": ", level->capacity);
    /* A charge takes whole tokens, so what was there is what is left and the cost. */
    put_number(out,
               ", \"remaining\": ", level->remaining + (is_charged ? explain->route->cost : 0));
    put_number(out, ", \"remaining_after\": ", level->remaining);
    put_number(out, ", \"reset_seconds\": ", (level->full_ms + 999) / 1000);
    put_number(out, ", \"wait_ms\": ", level->wait_ms);
    text_append_char(out, '}');
}

static bool was_decided(const struct explain *explain)
{
    return explain->policy != NULL && explain->decision.window_count > 0;
}

static void put_windows(struct text *out, const struct explain *explain)
{
    bool has_mode = explain->policy != NULL && explain->parts.limiter != NULL;

    put_string(out, ", \"mode\": ",
               has_mode ? limit_mode_names[explain->decision.mode] : (struct slice){NULL, 0});
    text_append(out, SLICE(", \"windows\": {"));
    for (size_t i = 0; was_decided(explain) && i < explain->decision.window_count; i++)
        put_window(out, explain, i);
    text_append_char(out, '}');
}

/* "Name: value" lines as members. */
static void put_headers(struct text *out, const struct explain *explain)
{
    char memory[LIMIT_FIELDS_SIZE];
    const char *between = "\"";
    struct text fields;
    struct slice rest, line;

    text_append(out, SLICE(", \"headers\": {"));
    if (explain->status == 429 || explain->status == 503) {
        const struct limit_decision wait = {.wait_ms = explain->wait_ms};

        put_number(out, "\"Retry-After\": \"", limit_fields_retry_after(&wait));
        text_append_char(out, '"');
        between = ", \"";
    }
    text_init(&fields, memory, sizeof(memory));
    if (was_decided(explain))
        limit_fields_write(&fields, explain->policy, &explain->decision, explain->tier->name,
                           &explain->parts.snapshot->config->responses,
                           explain->parts.now.wall_us / 1000);
    for (rest = text_slice(&fields); slice_cut(&rest, '\n', &line);) {
        size_t colon = slice_find(line, ':');

        if (colon == line.length)
            continue; /* behind the last line */
        text_append(out, slice_of(between));
        text_append(out, (struct slice){line.data, colon});
        text_append(out, SLICE("\": \""));
        text_append_json(out, (struct slice){line.data + colon + 2, line.length - colon - 3});
        text_append_char(out, '"');
        between = ", \"";
    }
    text_append_char(out, '}');
}

static void write_all(struct text *out, const struct explain *explain)
{
    char peer[ADDR_TEXT_SIZE];

    (void)addr_format(&explain->peer, peer);
    put_word(out, "{\"version\": ", KAMIYO_VERSION);
    put_bool(out, ", \"is_live\": ", explain->parts.limiter != NULL);
    put_string(out, ", \"method\": ", explain->method);
    put_string(out, ", \"path\": ", explain->target);
    put_word(out, ", \"ip\": ", peer);
    put_verdict(out, explain);
    put_route(out, explain);
    put_client(out, explain);
    put_identity(out, explain);
    put_windows(out, explain);
    put_headers(out, explain);
    text_append(out, SLICE("}\n"));
}

char *explain_json_format(const struct explain *explain, size_t *length)
{
    size_t capacity = 4096;
    char *memory = mem_alloc(capacity);
    struct text out;

    for (;;) {
        text_init(&out, memory, capacity);
        write_all(&out, explain);
        text_append_char(&out, '\0');
        if (!out.overflow)
            break;
        capacity *= 2;
        memory = mem_resize(memory, capacity);
    }
    *length = out.length - 1;
    return memory;
}
