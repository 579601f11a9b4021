/* SPDX-License-Identifier: MIT */
/*
 * What the admin listener answers: a table of paths, a function for each. The
 * order is that of the contract: Host first, so that a rebound name learns
 * nothing, then the path, then the token.
 */
#include <string.h>

#include "kamiyo/base/digits.h"
#include "kamiyo/base/mem.h"
#include "kamiyo/observe/metrics.h"
#include "kamiyo/version.h"

#include "admin/admin_internal.h"
#include "page_html.h"

/* "user:" and an id, or "ip:" and an address with its prefix; the limiter's bound, with room. */
#define MAX_KEY_BYTES 160

#define JSON SLICE("application/json")

static void answer_text(struct admin_connection *connection, int status, struct slice body)
{
    const struct admin_answer answer = {
        .status = status, .content_type = SLICE("text/plain; charset=utf-8"), .body = body};

    admin_connection_answer(connection, &answer);
}

/* Writes one JSON body; called again with more memory when it overflows. */
typedef void body_fn(struct text *out, const void *arg);

static void answer_json(struct admin_connection *connection, body_fn *write, const void *arg)
{
    size_t capacity = 4096;
    char *memory = mem_alloc(capacity);
    struct admin_answer answer = {.status = 200, .content_type = JSON};
    struct text body;

    for (;;) {
        text_init(&body, memory, capacity);
        write(&body, arg);
        if (!body.overflow)
            break;
        capacity *= 2;
        memory = mem_resize(memory, capacity);
    }
    answer.body = text_slice(&body);
    admin_connection_answer(connection, &answer);
    mem_free(memory);
}

/* Percent-decoded into `out` of `capacity` bytes; false: a broken escape, a control byte, or too
 * long. */
static bool decode(struct slice text, char *out, size_t capacity, size_t *length)
{
    size_t count = 0;

    for (size_t i = 0; i < text.length; i++) {
        char byte = text.data[i];

        if (byte == '%') {
            int escaped = i + 2 < text.length ? digits_hex_byte(text.data + i + 1) : -1;

            if (escaped < 0)
                return false;
            byte = (char)escaped;
            i += 2;
        }
        if (count == capacity || (unsigned char)byte < 0x20 || byte == 0x7f)
            return false;
        out[count++] = byte;
    }
    *length = count;
    return true;
}

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

/* The raw value of a query parameter; data NULL = absent. */
static struct slice find_parameter(const struct http_request_head *request, struct slice name)
{
    size_t query = slice_find(request->path_query, '?');
    struct slice rest = {NULL, 0};
    struct slice part;

    if (query < request->path_query.length)
        rest = (struct slice){request->path_query.data + query + 1,
                              request->path_query.length - query - 1};
    while (slice_cut(&rest, '&', &part)) {
        size_t equals = slice_find(part, '=');

        if (equals < part.length && slice_equal((struct slice){part.data, equals}, name))
            return (struct slice){part.data + equals + 1, part.length - equals - 1};
    }
    return (struct slice){NULL, 0};
}

static void serve_health(struct admin_connection *connection)
{
    answer_text(connection, 200, SLICE("ok\n"));
}

static void serve_ready(struct admin_connection *connection)
{
    const struct admin_source *source = &connection->admin->source;

    if (source->is_ready(source->arg))
        answer_text(connection, 200, SLICE("ready\n"));
    else
        answer_text(connection, 503, SLICE("draining\n"));
}

static void serve_metrics(struct admin_connection *connection)
{
    const struct admin_source *source = &connection->admin->source;
    struct admin_answer answer = {
        .status = 200, .content_type = SLICE("text/plain; version=0.0.4; charset=utf-8")};
    struct metrics_gauges gauges = {.version = KAMIYO_VERSION, .commit = KAMIYO_COMMIT};
    size_t length;
    char *text;

    source->read_gauges(source->arg, &gauges);
    text = metrics_render(source->metrics, &gauges, &length);
    answer.body = (struct slice){text, length};
    admin_connection_answer(connection, &answer);
    mem_free(text);
}

/* The page, or with ?token= the way in for a browser: a cookie, and the token out of the address
 * bar. */
static void serve_page(struct admin_connection *connection)
{
    const struct admin_access *access = &connection->admin->access;
    struct slice given = find_parameter(&connection->request, SLICE("token"));
    char token[512];
    char memory[256];
    struct text fields;
    struct admin_answer answer = {.status = 200, .content_type = SLICE("text/html; charset=utf-8")};
    size_t length;

    text_init(&fields, memory, sizeof(memory));
    if (given.data != NULL && decode(given, token, sizeof(token), &length) &&
        admin_access_is_token(access, (struct slice){token, length})) {
        answer.status = 303;
        text_append(&fields, SLICE("Location: /\r\nSet-Cookie: kamiyo_admin="));
        text_append(&fields, slice_of(access->session));
        text_append(&fields, SLICE("; Path=/; HttpOnly; SameSite=Strict\r\n"));
    } else if (!admin_access_is_known(access, &connection->request)) {
        admin_connection_refuse(connection, 401,
                                "The admin token is needed: as Bearer, or /?token= in a browser.");
        return;
    } else {
        text_append(&fields,
                    SLICE("Content-Security-Policy: default-src 'none'; style-src 'unsafe-inline'; "
                          "script-src 'unsafe-inline'; connect-src 'self'; base-uri 'none'; "
                          "form-action 'none'; frame-ancestors 'none'\r\n"
                          "Referrer-Policy: no-referrer\r\n"));
        answer.body = (struct slice){page_html, page_html_size};
    }
    answer.fields = text_slice(&fields);
    admin_connection_answer(connection, &answer);
}

static void put_quantile(struct text *out, struct metrics *metrics, double quantile)
{
    int64_t us = metrics_histogram_quantile_us(metrics, METRICS_REQUEST_SECONDS, quantile);

    if (us < 0)
        text_append(out, SLICE("null"));
    else
        text_append_format(out, "%g", (double)us / 1000);
}

static void write_status(struct text *out, const void *arg)
{
    static const char *const decisions[] = {"allowed", "denied", "exempt", "shadow"};
    const struct admin_connection *connection = arg;
    const struct admin_source *source = &connection->admin->source;
    int64_t uptime_ms = loop_wall_ms(connection->admin->loop) - source->started_ms;
    uint64_t by_class[6];

    metrics_sum_requests(source->metrics, by_class);
    text_append_format(out, "{\"version\": \"%s\", \"commit\": \"%s\", \"uptime_seconds\": %lld, ",
                       KAMIYO_VERSION, KAMIYO_COMMIT,
                       (long long)(uptime_ms > 0 ? uptime_ms / 1000 : 0));
    text_append_format(out, "\"is_ready\": %s, ", source->is_ready(source->arg) ? "true" : "false");
    text_append(out, SLICE("\"requests\": {"));
    for (int class = 1; class <= 5; class ++)
        text_append_format(out, "\"%dxx\": %llu, ", class, (unsigned long long)by_class[class]);
    text_append_format(out, "\"none\": %llu}, \"decisions\": {", (unsigned long long)by_class[0]);
    for (size_t i = 0; i < COUNT_OF(decisions); i++)
        text_append_format(
            out, "%s\"%s\": %llu", i > 0 ? ", " : "", decisions[i],
            (unsigned long long)metrics_sum_decisions(source->metrics, slice_of(decisions[i])));
    text_append(out, SLICE("}, \"duration_ms\": {\"p50_at_most\": "));
    put_quantile(out, source->metrics, 0.5);
    text_append(out, SLICE(", \"p99_at_most\": "));
    put_quantile(out, source->metrics, 0.99);
    text_append(out, SLICE("}, "));
    source->write_status(source->arg, out);
    text_append(out, SLICE("}\n"));
}

static void serve_status(struct admin_connection *connection)
{
    answer_json(connection, write_status, connection);
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
        answer_json(connection, write_buckets, &look);
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
        answer_json(connection, write_deleted, connection);
}

static void on_reset(void *arg, int64_t deleted)
{
    struct admin_connection *connection = arg;

    connection->call = NULL;
    answer_reset(connection, deleted);
    admin_connection_proceed(connection);
}

static void serve_buckets(struct admin_connection *connection)
{
    static const size_t prefix = sizeof("/api/buckets/") - 1;
    const struct admin_source *source = &connection->admin->source;
    struct slice path = connection->request.path;
    struct slice raw_tier = find_parameter(&connection->request, SLICE("tier"));
    struct slice key;
    struct admin_buckets buckets;
    char tier[64];
    size_t tier_length = 0;
    int64_t deleted;

    if (!decode((struct slice){path.data + prefix, path.length - prefix}, connection->key,
                MAX_KEY_BYTES, &connection->key_length) ||
        !decode(raw_tier, tier, sizeof(tier), &tier_length)) {
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

enum method {
    METHOD_GET = 1, /* and HEAD */
    METHOD_DELETE = 2,
};

static const struct route {
    const char *path; /* ends in "/": anything after it, too */
    unsigned methods;
    bool is_open; /* needs no token, or looks for itself */
    void (*serve)(struct admin_connection *connection);
} routes[] = {
    {"/", METHOD_GET, true, serve_page},
    {"/healthz", METHOD_GET, true, serve_health},
    {"/readyz", METHOD_GET, true, serve_ready},
    {"/metrics", METHOD_GET, false, serve_metrics},
    {"/api/status", METHOD_GET, false, serve_status},
    {"/api/buckets/", METHOD_GET | METHOD_DELETE, false, serve_buckets},
};

static const struct route *find_route(struct slice path)
{
    for (size_t i = 0; i < COUNT_OF(routes); i++) {
        struct slice own = slice_of(routes[i].path);
        bool is_prefix = own.length > 1 && own.data[own.length - 1] == '/';

        if (is_prefix ? slice_starts_with(path, own) && path.length > own.length
                      : slice_equal(path, own))
            return &routes[i];
    }
    return NULL;
}

static unsigned method_of(const struct http_request_head *request)
{
    if (request->is_head_method || slice_equal(request->method, SLICE("GET")))
        return METHOD_GET;
    return slice_equal(request->method, SLICE("DELETE")) ? METHOD_DELETE : 0;
}

static void refuse_method(struct admin_connection *connection, const struct route *route)
{
    struct admin_answer answer = {.status = 405,
                                  .content_type = JSON,
                                  .fields = SLICE("Allow: GET, HEAD\r\n"),
                                  .body = SLICE("{\"error\": \"method_not_allowed\", \"message\": "
                                                "\"This path does not know that method.\"}\n")};

    if ((route->methods & METHOD_DELETE) != 0)
        answer.fields = SLICE("Allow: GET, HEAD, DELETE\r\n");
    admin_connection_answer(connection, &answer);
}

void admin_routes_serve(struct admin_connection *connection)
{
    const struct http_request_head *request = &connection->request;
    const struct admin_access *access = &connection->admin->access;
    const struct route *route = find_route(request->path);

    if (!admin_access_is_own_host(access, request))
        admin_connection_refuse(connection, 403,
                                "Host is neither the listen address, localhost nor an IP address.");
    else if ((route == NULL || !route->is_open) && !admin_access_is_known(access, request))
        admin_connection_refuse(connection, 401, "The admin token is needed.");
    else if (route == NULL)
        admin_connection_refuse(connection, 404, "There is no such path.");
    else if ((method_of(request) & route->methods) == 0)
        refuse_method(connection, route);
    else
        route->serve(connection);
}
