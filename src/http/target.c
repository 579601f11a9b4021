/* SPDX-License-Identifier: MIT */
/*
 * The request's target and Host: which of the four forms it has (RFC 9112
 * 3.2), what of it goes on, and for which host. The parser calls it once for
 * a complete head; the target's bytes are checked already.
 */
#include <arpa/inet.h>
#include <string.h>

#include "http/http_internal.h"

static struct http_verdict refuse(const char *reason)
{
    return (struct http_verdict){400, reason};
}

/* The length of the part before a colon or the end, for plain names without "%", as nearly all; 0 =
 * look closer. */
static size_t plain_name_length(struct slice text)
{
    size_t at = 0;

    while (at < text.length && text.data[at] != '%' && http_byte_is(text.data[at], HTTP_BYTE_HOST))
        at++;
    return at == text.length || text.data[at] == ':' ? at : 0;
}

/* "%" only before two hexadecimal digits; no empty name. */
static bool is_host_name(struct slice name)
{
    if (name.length == 0 || !http_bytes_are(name, HTTP_BYTE_HOST))
        return false;
    for (size_t i = slice_find(name, '%'); i < name.length; i++) {
        if (name.data[i] == '%' &&
            (i + 2 >= name.length || !http_byte_is(name.data[i + 1], HTTP_BYTE_HEX) ||
             !http_byte_is(name.data[i + 2], HTTP_BYTE_HEX)))
            return false;
    }
    return true;
}

/* The inside of "[...]": an IPv6 address without a zone. */
static bool is_ipv6(struct slice text)
{
    char copy[INET6_ADDRSTRLEN];
    struct in6_addr ignored;

    if (text.length == 0 || text.length >= sizeof(copy))
        return false;
    memcpy(copy, text.data, text.length);
    copy[text.length] = '\0';
    return inet_pton(AF_INET6, copy, &ignored) == 1;
}

/* Nothing (RFC 3986 allows "host:"), or a number up to 65535. */
static bool is_port(struct slice text)
{
    uint64_t port;

    return text.length == 0 || (text.length <= 5 && slice_parse_u64(text, &port) && port <= 65535);
}

bool http_is_authority(struct slice text)
{
    struct slice rest;

    if (text.length == 0)
        return false;
    if (text.data[0] == '[') {
        size_t end = slice_find(text, ']');

        if (end == text.length || !is_ipv6((struct slice){text.data + 1, end - 1}))
            return false;
        rest = (struct slice){text.data + end + 1, text.length - end - 1};
    } else {
        size_t end = plain_name_length(text);

        if (end == 0) {
            end = slice_find(text, ':');
            if (!is_host_name((struct slice){text.data, end}))
                return false;
        }
        rest = (struct slice){text.data + end, text.length - end};
    }
    if (rest.length == 0)
        return true;
    return rest.data[0] == ':' && is_port((struct slice){rest.data + 1, rest.length - 1});
}

/* Exactly one in HTTP/1.1, at most one in HTTP/1.0, and well formed, also when an absolute target
 * overrides it (RFC 9112 3.2). */
static struct http_verdict resolve_host(struct http_request_head *request)
{
    const struct http_head *head = &request->head;

    request->host = http_head_find(head, HTTP_FIELD_HOST);
    if (head->first[HTTP_FIELD_HOST] < 0) {
        if (head->minor_version >= 1)
            return refuse("Host is missing");
        return HTTP_VERDICT_OK;
    }
    if ((head->repeated & HTTP_FIELD_BIT(HTTP_FIELD_HOST)) != 0)
        return refuse("Host is repeated");
    if (!http_is_authority(request->host))
        return refuse("Host is malformed");
    return HTTP_VERDICT_OK;
}

static void split_path(struct http_request_head *request, struct slice path_query)
{
    request->path_query = path_query;
    request->path = (struct slice){path_query.data, slice_find(path_query, '?')};
}

/* The length of "http://" or "https://" at the start, or 0. */
static size_t scheme_length(struct slice target)
{
    if (target.length >= 7 &&
        slice_equal_ignore_case((struct slice){target.data, 7}, SLICE("http://")))
        return 7;
    if (target.length >= 8 &&
        slice_equal_ignore_case((struct slice){target.data, 8}, SLICE("https://")))
        return 8;
    return 0;
}

static struct http_verdict resolve_absolute(struct http_request_head *request)
{
    size_t start = scheme_length(request->target);
    struct slice rest = {request->target.data + start, request->target.length - start};
    size_t end = 0;

    if (start == 0)
        return refuse("the target is neither a path nor an http URL");
    while (end < rest.length && rest.data[end] != '/' && rest.data[end] != '?')
        end++;
    request->form = HTTP_TARGET_ABSOLUTE;
    request->host = (struct slice){rest.data, end};
    if (!http_is_authority(request->host))
        return refuse("the target's authority is malformed");
    rest = (struct slice){rest.data + end, rest.length - end};
    if (rest.length == 0 && slice_equal(request->method, SLICE("OPTIONS"))) {
        split_path(request, SLICE("*")); /* RFC 9112 3.2.4 */
    } else if (rest.length == 0) {
        split_path(request, SLICE("/"));
    } else {
        split_path(request, rest);
        if (request->path.length == 0)
            request->path = SLICE("/");
    }
    return HTTP_VERDICT_OK;
}

struct http_verdict http_target_resolve(struct http_request_head *request)
{
    struct http_verdict verdict = resolve_host(request);

    if (verdict.status != 0)
        return verdict;
    if (request->target.data[0] == '/') {
        request->form = HTTP_TARGET_ORIGIN;
        split_path(request, request->target);
        return HTTP_VERDICT_OK;
    }
    if (slice_equal(request->target, SLICE("*"))) {
        if (!slice_equal(request->method, SLICE("OPTIONS")))
            return refuse("target * without OPTIONS");
        request->form = HTTP_TARGET_ASTERISK;
        split_path(request, request->target);
        return HTTP_VERDICT_OK;
    }
    return resolve_absolute(request);
}
