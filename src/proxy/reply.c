/* SPDX-License-Identifier: MIT */
/*
 * The gateway's own answers: a table from kind to status, error name and words,
 * and the one function that writes head and body. All carry Date, X-Request-Id,
 * Cache-Control: no-store (RFC 6585 forbids storing a 429) and a JSON body.
 */
#include "kamiyo/proxy/reply.h"

#include <string.h>

#include "kamiyo/base/digits.h"

/* What a head takes at most, beside the parts that are given; and the body of has_ready_body. */
#define LITERALS_BYTES       768
#define READY_LITERALS_BYTES 256

#define USUAL_LENGTH_DIGITS 3 /* of the length of a body */

/* Of a body: the members behind a 429's quota, and what all end with. */
#define SECONDS_MEMBER      SLICE(", \"retry_after_seconds\": ")
#define MILLISECONDS_MEMBER SLICE(", \"retry_after_ms\": ")
#define ID_MEMBER           SLICE(", \"request_id\": \"")
#define BODY_END            SLICE("\"}\n")

#define TEXT(literal)                  \
    {                                  \
        (literal), sizeof(literal) - 1 \
    }
#define ROW(status, reason, closes, error, message)                                          \
    {                                                                                        \
        (status), (closes), TEXT("HTTP/1.1 " #status " " reason "\r\nDate: "), TEXT(reason), \
            TEXT(error), TEXT(message)                                                       \
    }

static const struct reply_row {
    int status;
    bool closes;
    struct slice start; /* of the answer, up to the date */
    struct slice reason;
    struct slice error;
    struct slice message;
} rows[REPLY_KIND_COUNT] = {
    [REPLY_HEALTH] = ROW(200, "OK", false, "", ""),
    [REPLY_BAD_REQUEST] = ROW(400, "Bad Request", true, "bad_request", "The request is malformed."),
    [REPLY_FORBIDDEN] = ROW(403, "Forbidden", false, "forbidden", "Access is denied."),
    [REPLY_REQUEST_TIMEOUT] =
        ROW(408, "Request Timeout", true, "request_timeout", "The request did not arrive in time."),
    [REPLY_CONTENT_TOO_LARGE] =
        ROW(413, "Content Too Large", true, "content_too_large", "The request body is too large."),
    [REPLY_URI_TOO_LONG] =
        ROW(414, "URI Too Long", true, "uri_too_long", "The request target is too long."),
    [REPLY_EXPECTATION_FAILED] = ROW(
        417, "Expectation Failed", false, "expectation_failed", "The expectation cannot be met."),
    [REPLY_HEADER_FIELDS_TOO_LARGE] = ROW(431,
                                          "Request Header Fields Too Large",
                                          true,
                                          "header_fields_too_large",
                                          "The header fields are too large or too many."),
    [REPLY_RATE_LIMITED] =
        ROW(429, "Too Many Requests", false, "rate_limit_exceeded", "Rate limit exceeded."),
    [REPLY_NOT_IMPLEMENTED] =
        ROW(501, "Not Implemented", true, "not_implemented", "The method is not supported."),
    [REPLY_HTTP_VERSION_NOT_SUPPORTED] = ROW(505,
                                             "HTTP Version Not Supported",
                                             true,
                                             "http_version_not_supported",
                                             "Only HTTP/1.0 and HTTP/1.1 are spoken here."),
    [REPLY_BAD_GATEWAY] =
        ROW(502, "Bad Gateway", false, "bad_gateway", "The service behind the gateway failed."),
    [REPLY_SERVICE_UNAVAILABLE] = ROW(503,
                                      "Service Unavailable",
                                      false,
                                      "service_unavailable",
                                      "The service is busy. Please try again."),
    [REPLY_STORE_UNAVAILABLE] = ROW(503,
                                    "Service Unavailable",
                                    false,
                                    "store_unavailable",
                                    "Limits cannot be checked at the moment. Please try again."),
    [REPLY_GATEWAY_TIMEOUT] = ROW(504,
                                  "Gateway Timeout",
                                  false,
                                  "gateway_timeout",
                                  "The service behind the gateway did not answer in time."),
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

static uint64_t retry_after_seconds(const struct reply *reply)
{
    return reply->wait_ms > 0 ? ((uint64_t)reply->wait_ms + 999) / 1000 : 1;
}

static uint64_t retry_after_ms(const struct reply *reply)
{
    return reply->wait_ms > 0 ? (uint64_t)reply->wait_ms : 1;
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
        text_append(out, rows[reply->kind].message);
    }
}

/* RFC 9457 members beside KAMIYO's own; types from the IETF httpapi rate-limit draft. */
static void append_problem(struct text *out, const struct reply *reply)
{
    const struct reply_row *row = &rows[reply->kind];
    struct slice type = SLICE("about:blank");
    if (reply->kind == REPLY_RATE_LIMITED)
        type = SLICE("https://iana.org/assignments/http-problem-types#quota-exceeded");
    else if (reply->kind == REPLY_STORE_UNAVAILABLE)
        type = SLICE("https://iana.org/assignments/http-problem-types#temporary-reduced-capacity");
    text_append(out, SLICE("\"type\": \""));
    text_append(out, type);
    text_append(out, SLICE("\", \"title\": \""));
    text_append(out, row->reason);
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

static void append_error(struct text *out, const struct reply *reply)
{
    text_append_char(out, '{');
    if (reply->is_problem_json)
        append_problem(out, reply);
    text_append(out, SLICE("\"error\": \""));
    text_append(out, rows[reply->kind].error);
    text_append(out, SLICE("\", \"message\": \""));
    append_message(out, reply);
    text_append_char(out, '"');
}

void reply_write_quota_start(struct text *out, const struct reply *reply)
{
    append_error(out, reply);
    text_append(out, SLICE(", \"tier\": \""));
    text_append_json(out, reply->tier);
    text_append(out, SLICE("\", \"window\": \""));
    text_append(out, reply->window);
    text_append(out, SLICE("\", \"limit\": "));
    text_append_i64(out, reply->limit);
    text_append(out, SLICE(", \"remaining\": "));
}

void reply_write_quota_end(struct text *out, const struct reply *reply)
{
    if (reply->upgrade_url.length > 0) {
        text_append(out, SLICE(", \"upgrade_url\": \""));
        text_append_json(out, reply->upgrade_url);
        text_append_char(out, '"');
    }
}

static void append_quota(struct text *out, const struct reply *reply)
{
    if (reply->quota_start.length > 0 && !reply->is_problem_json)
        text_append(out, reply->quota_start);
    else
        reply_write_quota_start(out, reply);
    text_append_i64(out, reply->remaining);
    text_append(out, SECONDS_MEMBER);
    text_append_u64(out, retry_after_seconds(reply));
    text_append(out, MILLISECONDS_MEMBER);
    text_append_u64(out, retry_after_ms(reply));
    if (reply->quota_end.length > 0)
        text_append(out, reply->quota_end);
    else
        reply_write_quota_end(out, reply);
}

static void append_body(struct text *out, const struct reply *reply)
{
    if (reply->kind == REPLY_HEALTH) {
        text_append(out, SLICE("{\"status\": \"ok\"}\n"));
        return;
    }
    if (reply->kind == REPLY_RATE_LIMITED)
        append_quota(out, reply);
    else
        append_error(out, reply);
    text_append(out, ID_MEMBER);
    text_append(out, reply->request_id);
    text_append(out, BODY_END);
}

/* Nearly every 429: of its body, all but numbers and id was made ready. */
static bool has_ready_body(const struct reply *reply)
{
    return reply->quota_start.length > 0 && reply->quota_end.length > 0 &&
           reply->kind == REPLY_RATE_LIMITED && !reply->is_problem_json && reply->remaining >= 0;
}

/* What append_body appends to. One look at the room is enough for all of it. */
static void append_ready_body(struct text *out, const struct reply *reply)
{
    size_t length = reply->quota_start.length + reply->quota_end.length + reply->request_id.length +
                    READY_LITERALS_BYTES;
    if (out->capacity - out->length < length) {
        out->overflow = true;
        return;
    }
    char *at = slice_put(out->data + out->length, reply->quota_start);
    at = digits_write(at, (uint64_t)reply->remaining);
    at = slice_put(at, SECONDS_MEMBER);
    at = digits_write(at, retry_after_seconds(reply));
    at = slice_put(at, MILLISECONDS_MEMBER);
    at = digits_write(at, retry_after_ms(reply));
    at = slice_put(at, reply->quota_end);
    at = slice_put(at, ID_MEMBER);
    at = slice_put(at, reply->request_id);
    at = slice_put(at, BODY_END);
    out->length = (size_t)(at - out->data);
}

static char *put_cors(char *at, struct slice origin)
{
    at = slice_put(at, SLICE("Access-Control-Allow-Origin: "));
    at = slice_put(at, origin);
    return slice_put(at,
                     SLICE("\r\nAccess-Control-Expose-Headers: Retry-After, X-Request-Id, "
                           "X-RateLimit-Limit, X-RateLimit-Remaining, X-RateLimit-Reset, "
                           "X-RateLimit-Tier, RateLimit, RateLimit-Policy\r\nVary: Origin\r\n"));
}

/* All of the head but the number behind Content-Length and the empty line. */
static char *put_head(char *at, const struct reply *reply)
{
    const struct reply_row *row = &rows[reply->kind];
    at = slice_put(at, row->start);
    at = slice_put(at, reply->date);
    if (reply->is_problem_json && reply->kind != REPLY_HEALTH)
        at = slice_put(at, SLICE("\r\nContent-Type: application/problem+json\r\n"));
    else
        at = slice_put(at, SLICE("\r\nContent-Type: application/json\r\n"));
    at = slice_put(at, SLICE("Cache-Control: no-store\r\nX-Request-Id: "));
    at = slice_put(at, reply->request_id);
    if (reply->kind == REPLY_RATE_LIMITED) {
        at = slice_put(at, SLICE("\r\nRetry-After: "));
        at = digits_write(at, retry_after_seconds(reply));
    } else if (row->status == 503) {
        at = slice_put(at, SLICE("\r\nRetry-After: 1"));
    }
    at = slice_put(at, SLICE("\r\n"));
    at = slice_put(at, reply->limit_fields);
    if (reply->cors_origin.length > 0)
        at = put_cors(at, reply->cors_origin);
    if (!reply->keep_alive)
        at = slice_put(at, SLICE("Connection: close\r\n"));
    else if (reply->minor_version == 0)
        at = slice_put(at, SLICE("Connection: keep-alive\r\n"));
    return slice_put(at, SLICE("Content-Length: "));
}

/*
 * Between put_head and the body goes its length, which is not known before: the body is written
 * behind room for the usual three digits, and moves when it turns out to have more or less.
 */
void reply_write(struct text *out, const struct reply *reply, size_t *body_bytes)
{
    const struct slice empty_line = SLICE("\r\n\r\n");
    size_t room = out->capacity - out->length;
    size_t head_room = LITERALS_BYTES + reply->date.length + reply->request_id.length +
                       reply->limit_fields.length + reply->cors_origin.length;
    struct text body;
    *body_bytes = 0;
    if (room < head_room) {
        out->overflow = true;
        return;
    }
    char *at = put_head(out->data + out->length, reply);
    char *usual_start = at + USUAL_LENGTH_DIGITS + empty_line.length;
    size_t head_length = (size_t)(at - (out->data + out->length));
    text_init(&body, usual_start, room - head_length - DIGITS_MAX - empty_line.length);
    if (LIKELY(has_ready_body(reply)))
        append_ready_body(&body, reply);
    else
        append_body(&body, reply);
    if (body.overflow) {
        out->overflow = true;
        return;
    }
    size_t digits = digits_count(body.length);
    if (UNLIKELY(digits != USUAL_LENGTH_DIGITS))
        memmove(at + digits + empty_line.length, usual_start, body.length);
    at = slice_put(digits_write(at, body.length), empty_line);
    if (!reply->is_head_method) {
        at += body.length;
        *body_bytes = body.length;
    }
    out->length = (size_t)(at - out->data);
}
