/* SPDX-License-Identifier: MIT */
/*
 * The gateway's own answers: a table from kind to status, error name and words,
 * and the one function that writes head and body. All carry Date, X-Request-Id,
 * Cache-Control: no-store (RFC 6585 forbids storing a 429) and a JSON body.
 */
#include "kamiyo/proxy/reply.h"

#include "kamiyo/http/message.h"

static const struct reply_row {
    int status;
    bool closes;
    const char *error;
    const char *message;
} rows[REPLY_KIND_COUNT] = {
    [REPLY_HEALTH] = {200, false, "", ""},
    [REPLY_BAD_REQUEST] = {400, true, "bad_request", "The request is malformed."},
    [REPLY_FORBIDDEN] = {403, false, "forbidden", "Access is denied."},
    [REPLY_REQUEST_TIMEOUT] = {408, true, "request_timeout", "The request did not arrive in time."},
    [REPLY_CONTENT_TOO_LARGE] = {413, true, "content_too_large", "The request body is too large."},
    [REPLY_URI_TOO_LONG] = {414, true, "uri_too_long", "The request target is too long."},
    [REPLY_EXPECTATION_FAILED] = {417, false, "expectation_failed",
                                  "The expectation cannot be met."},
    [REPLY_HEADER_FIELDS_TOO_LARGE] = {431, true, "header_fields_too_large",
                                       "The header fields are too large or too many."},
    [REPLY_RATE_LIMITED] = {429, false, "rate_limit_exceeded", "Rate limit exceeded."},
    [REPLY_NOT_IMPLEMENTED] = {501, true, "not_implemented", "The method is not supported."},
    [REPLY_HTTP_VERSION_NOT_SUPPORTED] = {505, true, "http_version_not_supported",
                                          "Only HTTP/1.0 and HTTP/1.1 are spoken here."},
    [REPLY_BAD_GATEWAY] = {502, false, "bad_gateway", "The service behind the gateway failed."},
    [REPLY_SERVICE_UNAVAILABLE] = {503, false, "service_unavailable",
                                   "The service is busy. Please try again."},
    [REPLY_STORE_UNAVAILABLE] = {503, false, "store_unavailable",
                                 "Limits cannot be checked at the moment. Please try again."},
    [REPLY_GATEWAY_TIMEOUT] = {504, false, "gateway_timeout",
                               "The service behind the gateway did not answer in time."},
};

int reply_status(enum reply_kind kind)
{
    return rows[kind].status;
}

bool reply_closes(enum reply_kind kind)
{
    return rows[kind].closes;
}

enum reply_kind reply_kind_of_status(int status)
{
    for (enum reply_kind kind = REPLY_BAD_REQUEST; kind < REPLY_KIND_COUNT; kind++)
        if (rows[kind].status == status)
            return kind;
    return REPLY_BAD_REQUEST;
}

static int64_t retry_after_seconds(const struct reply *reply)
{
    int64_t seconds = (reply->wait_ms + 999) / 1000;
    return seconds > 0 ? seconds : 1;
}

static void append_message(struct text *out, const struct reply *reply)
{
    if (reply->message.length > 0) {
        text_append_json(out, reply->message);
    } else if (reply->kind == REPLY_RATE_LIMITED && reply->window.length > 0) {
        text_append(out, SLICE("Rate limit exceeded for "));
        text_append(out, reply->window);
        text_append(out, SLICE(" window. Please slow down."));
    } else {
        text_append(out, slice_of(rows[reply->kind].message));
    }
}

/* RFC 9457 members beside KAMIYO's own; types from the IETF httpapi rate-limit draft. */
static void append_problem(struct text *out, const struct reply *reply)
{
    const struct reply_row *row = &rows[reply->kind];
    const char *type = "about:blank";
    if (reply->kind == REPLY_RATE_LIMITED)
        type = "https://iana.org/assignments/http-problem-types#quota-exceeded";
    else if (reply->kind == REPLY_STORE_UNAVAILABLE)
        type = "https://iana.org/assignments/http-problem-types#temporary-reduced-capacity";
    text_append(out, SLICE("\"type\": \""));
    text_append(out, slice_of(type));
    text_append(out, SLICE("\", \"title\": \""));
    text_append(out, slice_of(http_status_reason(row->status)));
    text_append(out, SLICE("\", \"status\": "));
    text_append_i64(out, row->status);
    text_append(out, SLICE(", \"detail\": \""));
    append_message(out, reply);
    text_append(out, SLICE("\", "));
    if (reply->violated.length > 0) {
        text_append(out, SLICE("\"violated-policies\": ["));
        text_append(out, reply->violated);
        text_append(out, SLICE("], "));
    }
}

static void append_quota(struct text *out, const struct reply *reply)
{
    text_append(out, SLICE(", \"tier\": \""));
    text_append_json(out, reply->tier);
    text_append(out, SLICE("\", \"window\": \""));
    text_append(out, reply->window);
    text_append(out, SLICE("\", \"limit\": "));
    text_append_i64(out, reply->limit);
    text_append(out, SLICE(", \"remaining\": "));
    text_append_i64(out, reply->remaining);
    text_append(out, SLICE(", \"retry_after_seconds\": "));
    text_append_i64(out, retry_after_seconds(reply));
    text_append(out, SLICE(", \"retry_after_ms\": "));
    text_append_i64(out, reply->wait_ms > 0 ? reply->wait_ms : 1);
    if (reply->upgrade_url.length > 0) {
        text_append(out, SLICE(", \"upgrade_url\": \""));
        text_append_json(out, reply->upgrade_url);
        text_append_char(out, '"');
    }
}

static void append_body(struct text *out, const struct reply *reply)
{
    if (reply->kind == REPLY_HEALTH) {
        text_append(out, SLICE("{\"status\": \"ok\"}\n"));
        return;
    }
    text_append_char(out, '{');
    if (reply->is_problem_json)
        append_problem(out, reply);
    text_append(out, SLICE("\"error\": \""));
    text_append(out, slice_of(rows[reply->kind].error));
    text_append(out, SLICE("\", \"message\": \""));
    append_message(out, reply);
    text_append_char(out, '"');
    if (reply->kind == REPLY_RATE_LIMITED)
        append_quota(out, reply);
    text_append(out, SLICE(", \"request_id\": \""));
    text_append_json(out, reply->request_id);
    text_append(out, SLICE("\"}\n"));
}

static void append_line(struct text *out, struct slice name, struct slice value)
{
    text_append(out, name);
    text_append(out, value);
    text_append(out, SLICE("\r\n"));
}

static void append_fields(struct text *out, const struct reply *reply)
{
    bool is_unavailable = rows[reply->kind].status == 503;
    append_line(out, SLICE("Date: "), reply->date);
    append_line(out, SLICE("Content-Type: "),
                reply->is_problem_json && reply->kind != REPLY_HEALTH
                    ? SLICE("application/problem+json")
                    : SLICE("application/json"));
    text_append(out, SLICE("Cache-Control: no-store\r\n"));
    append_line(out, SLICE("X-Request-Id: "), reply->request_id);
    if (reply->kind == REPLY_RATE_LIMITED || is_unavailable) {
        text_append(out, SLICE("Retry-After: "));
        text_append_i64(out, is_unavailable ? 1 : retry_after_seconds(reply));
        text_append(out, SLICE("\r\n"));
    }
    text_append(out, reply->limit_fields);
    if (reply->cors_origin.length > 0) {
        append_line(out, SLICE("Access-Control-Allow-Origin: "), reply->cors_origin);
        text_append(out,
                    SLICE("Access-Control-Expose-Headers: Retry-After, X-Request-Id, "
                          "X-RateLimit-Limit, X-RateLimit-Remaining, X-RateLimit-Reset, "
                          "X-RateLimit-Tier, RateLimit, RateLimit-Policy\r\nVary: Origin\r\n"));
    }
    if (!reply->keep_alive)
        text_append(out, SLICE("Connection: close\r\n"));
    else if (reply->minor_version == 0)
        text_append(out, SLICE("Connection: keep-alive\r\n"));
}

void reply_write(struct text *out, const struct reply *reply, size_t *body_bytes)
{
    const struct reply_row *row = &rows[reply->kind];
    char memory[2048];
    struct text body;
    text_init(&body, memory, sizeof(memory));
    append_body(&body, reply);
    out->overflow |= body.overflow;

    text_append(out, SLICE("HTTP/1.1 "));
    text_append_i64(out, row->status);
    text_append_char(out, ' ');
    text_append(out, slice_of(http_status_reason(row->status)));
    text_append(out, SLICE("\r\n"));
    append_fields(out, reply);
    text_append(out, SLICE("Content-Length: "));
    text_append_u64(out, body.length);
    text_append(out, SLICE("\r\n\r\n"));
    if (!reply->is_head_method)
        text_append(out, text_slice(&body));
    *body_bytes = reply->is_head_method ? 0 : body.length;
}
