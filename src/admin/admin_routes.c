/* SPDX-License-Identifier: MIT */
/*
 * What the admin listener answers: a table of paths. The order is that of the
 * contract: Host first, so that a rebound name learns nothing, then the path,
 * then the token.
 */
#include "admin/admin_internal.h"

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
    {"/", METHOD_GET, true, admin_page_serve},
    {"/healthz", METHOD_GET, true, admin_status_serve_health},
    {"/readyz", METHOD_GET, true, admin_status_serve_ready},
    {"/metrics", METHOD_GET, false, admin_status_serve_metrics},
    {"/api/status", METHOD_GET, false, admin_status_serve},
    {"/api/top", METHOD_GET, false, admin_top_serve},
    {"/api/events", METHOD_GET, false, admin_events_serve},
    {"/api/explain", METHOD_GET, false, admin_explain_serve},
    {"/api/buckets/", METHOD_GET | METHOD_DELETE, false, admin_buckets_serve},
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
                                  .content_type = SLICE("application/json"),
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
