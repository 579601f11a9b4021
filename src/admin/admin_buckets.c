/* SPDX-License-Identifier: MIT */
/*
 * /api/buckets/<key>: one identity's buckets looked at, or reset. The key may
 * come as the log has it or as it was before it became one.
 */
#include <string.h>

#include "admin/admin_internal.h"

/* "user:" and an id, or "ip:" and an address with its prefix; the limiter's bound, with room. */
#define MAX_KEY_BYTES 160

/*
 * A user's id may be asked for as the log has it or as it was before it became a key: what cannot
 * stand in a key (contract section 3) gets its %XX, what is a key already stays. False: too long.
 */
static bool escape_user(char *key, size_t capacity, size_t *length)
{
    char plain[MAX_KEY_BYTES];
    size_t plain_length = *length;
    struct text text;

    memcpy(plain, key, plain_length);
    text_init(&text, key, capacity);
    for (size_t i = 0; i < plain_length; i++) {
        unsigned char byte = (unsigned char)plain[i];
        bool is_alphanumeric = (byte >= '0' && byte <= '9') || (byte >= 'A' && byte <= 'Z') ||
                               (byte >= 'a' && byte <= 'z');

        if (i < sizeof("user:") - 1 || is_alphanumeric || strchr("._@+=-%", byte) != NULL) {
            text_append_char(&text, plain[i]);
        } else {
            text_append_percent(&text, plain[i]);
        }
    }
    *length = text.length;
    return !text.overflow;
}

static void put_windows(struct text *out, const struct admin_route_windows *route)
{
    text_append_char(out, '{');
    for (size_t i = 0; i < route->window_count; i++) {
        const struct admin_window *window = &route->windows[i];

        text_append(out, i > 0 ? SLICE(", \"") : SLICE("\""));
        text_append_json(out, window->name);
        text_append(out, SLICE("\": {\"limit\": "));
        text_append_i64(out, window->limit);
        text_append(out, SLICE(", \"burst\": "));
        text_append_i64(out, window->burst);
        text_append(out, SLICE(", \"remaining\": "));
        text_append_i64(out, window->remaining);
        text_append(out, SLICE(", \"reset_seconds\": "));
        text_append_i64(out, window->reset_seconds);
        text_append_char(out, '}');
    }
    text_append_char(out, '}');
}

struct look {
    struct slice key;
    const struct admin_buckets *buckets;
};

static void write_buckets(struct text *out, const void *arg)
{
    static const struct admin_route_windows none = {0};
    const struct look *look = arg;
    const struct admin_buckets *buckets = look->buckets;
    const struct admin_route_windows *by_default = &none;
    bool is_first = true;

    for (size_t i = 0; i < buckets->route_count; i++) {
        if (buckets->routes[i].route.length == 0)
            by_default = &buckets->routes[i];
    }
    text_append(out, SLICE("{\"key\": \""));
    text_append_json(out, look->key);
    text_append(out, SLICE("\", \"tier\": \""));
    text_append_json(out, buckets->tier);
    text_append(out, SLICE("\", \"mode\": \""));
    text_append_json(out, buckets->mode);
    text_append(out, SLICE("\", \"windows\": "));
    put_windows(out, by_default);
    text_append(out, SLICE(", \"routes\": {"));
    for (size_t i = 0; i < buckets->route_count; i++) {
        if (buckets->routes[i].route.length == 0)
            continue;
        text_append(out, is_first ? SLICE("\"") : SLICE(", \""));
        text_append_json(out, buckets->routes[i].route);
        text_append(out, SLICE("\": "));
        put_windows(out, &buckets->routes[i]);
        is_first = false;
    }
    text_append(out, SLICE("}}\n"));
}

static void answer_look(struct admin_connection *connection, const struct admin_buckets *buckets)
{
    const struct look look = {{connection->key, connection->key_length}, buckets};

    switch (buckets->outcome) {
    case ADMIN_BUCKETS_FOUND:
        admin_connection_answer_json(connection, write_buckets, &look);
        break;
    case ADMIN_BUCKETS_NO_TIER:
        admin_connection_refuse(connection, 400, "There is no such tier.");
        break;
    case ADMIN_BUCKETS_UNAVAILABLE:
        admin_connection_refuse(connection, 503, "The store does not answer.");
        break;
    }
}

static void on_look(void *arg, const struct admin_buckets *buckets)
{
    struct admin_connection *connection = arg;

    connection->call = NULL;
    answer_look(connection, buckets);
    admin_connection_proceed(connection);
}

static void write_deleted(struct text *out, const void *arg)
{
    const struct admin_connection *connection = arg;

    text_append(out, SLICE("{\"key\": \""));
    text_append_json(out, (struct slice){connection->key, connection->key_length});
    text_append(out, SLICE("\", \"deleted\": "));
    text_append_i64(out, connection->deleted);
    text_append(out, SLICE("}\n"));
}

static void answer_reset(struct admin_connection *connection, int64_t deleted)
{
    connection->deleted = deleted;
    if (deleted < 0)
        admin_connection_refuse(connection, 503, "The store does not answer.");
    else
        admin_connection_answer_json(connection, write_deleted, connection);
}

static void on_reset(void *arg, int64_t deleted)
{
    struct admin_connection *connection = arg;

    connection->call = NULL;
    answer_reset(connection, deleted);
    admin_connection_proceed(connection);
}

void admin_buckets_serve(struct admin_connection *connection)
{
    static const size_t prefix = sizeof("/api/buckets/") - 1;
    const struct admin_source *source = &connection->admin->source;
    struct slice path = connection->request.path;
    struct slice raw_tier = admin_query_find(&connection->request, SLICE("tier"));
    struct slice key;
    struct admin_buckets buckets;
    char tier[64];
    size_t tier_length = 0;
    int64_t deleted;

    if (!admin_query_decode((struct slice){path.data + prefix, path.length - prefix},
                            connection->key, MAX_KEY_BYTES, &connection->key_length) ||
        !admin_query_decode(raw_tier, tier, sizeof(tier), &tier_length)) {
        admin_connection_refuse(connection, 400, "The key or the tier is malformed.");
        return;
    }
    key = (struct slice){connection->key, connection->key_length};
    if (slice_starts_with(key, SLICE("user:")) &&
        !escape_user(connection->key, MAX_KEY_BYTES, &connection->key_length)) {
        admin_connection_refuse(connection, 400, "The key is too long.");
        return;
    }
    key.length = connection->key_length;
    if (!(slice_starts_with(key, SLICE("user:")) && key.length > 5) &&
        !(slice_starts_with(key, SLICE("ip:")) && key.length > 3)) {
        admin_connection_refuse(connection, 400, "A key is user:<id> or ip:<address>.");
        return;
    }
    if (slice_equal(connection->request.method, SLICE("DELETE"))) {
        if (source->reset(source->arg, key, &deleted, on_reset, connection, &connection->call) ==
            PROGRESS_DONE)
            answer_reset(connection, deleted);
    } else if (source->look(source->arg, key, (struct slice){tier, tier_length}, &buckets, on_look,
                            connection, &connection->call) == PROGRESS_DONE) {
        answer_look(connection, &buckets);
    }
}
