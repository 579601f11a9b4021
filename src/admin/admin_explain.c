/* SPDX-License-Identifier: MIT */
/*
 * /api/explain?method=&path=&ip=: what the gateway would make of that request
 * now. A key comes in the X-API-Key field only: a query ends up in histories and
 * logs.
 */
#include "admin/admin_internal.h"

/* Longest that is taken of a method, an address. */
#define MAX_WORD_BYTES 64

static void on_explained(void *arg, struct slice json)
{
    struct admin_connection *connection = arg;
    const struct admin_answer answer = {
        .status = 200, .content_type = SLICE("application/json"), .body = json};

    connection->explain_call = NULL;
    admin_connection_answer(connection, &answer);
    admin_connection_proceed(connection);
}

/* A parameter, decoded; `otherwise` where it is absent or empty. False: it is malformed. */
static bool read_parameter(const struct http_request_head *request,
                           struct slice name,
                           const char *otherwise,
                           char *memory,
                           size_t capacity,
                           struct slice *value)
{
    struct slice raw = admin_query_find(request, name);

    *value = slice_of(otherwise);
    if (raw.length == 0)
        return true;
    value->data = memory;
    return admin_query_decode(raw, memory, capacity, &value->length) && value->length > 0;
}

/* Whether the query asks for nothing else: a key, say, that was put there. */
static bool is_known_query(const struct http_request_head *request)
{
    size_t start = slice_find(request->path_query, '?');
    struct slice rest = {NULL, 0};
    struct slice part;

    if (start < request->path_query.length)
        rest = (struct slice){request->path_query.data + start + 1,
                              request->path_query.length - start - 1};
    while (slice_cut(&rest, '&', &part)) {
        struct slice name = {part.data, slice_find(part, '=')};

        if (part.length > 0 && !slice_equal(name, SLICE("method")) &&
            !slice_equal(name, SLICE("path")) && !slice_equal(name, SLICE("ip")))
            return false;
    }
    return true;
}

void admin_explain_serve(struct admin_connection *connection)
{
    const struct admin_source *source = &connection->admin->source;
    const struct http_request_head *request = &connection->request;
    char method[MAX_WORD_BYTES], ip[MAX_WORD_BYTES];
    struct admin_question question = {.key = http_head_find(&request->head, HTTP_FIELD_X_API_KEY)};
    struct slice address;

    if (!is_known_query(request))
        admin_connection_refuse(
            connection, 400,
            "method, path and ip can be given; a key goes into the X-API-Key field.");
    else if (!read_parameter(request, SLICE("method"), "GET", method, sizeof(method),
                             &question.method) ||
             !read_parameter(request, SLICE("path"), "/", connection->key, sizeof(connection->key),
                             &question.target))
        admin_connection_refuse(connection, 400, "method or path is malformed.");
    else if (!read_parameter(request, SLICE("ip"), "127.0.0.1", ip, sizeof(ip), &address) ||
             !(slice_equal(address, SLICE("unix")) || addr_parse(address, &question.peer)))
        admin_connection_refuse(connection, 400, "ip is an address, or unix.");
    else {
        if (slice_equal(address, SLICE("unix")))
            question.peer.family = ADDR_UNIX;
        source->explain(source->arg, &question, on_explained, connection,
                        &connection->explain_call);
    }
}
