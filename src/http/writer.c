/* SPDX-License-Identifier: MIT */
/*
 * Heads on their way out. A head is built field by field from a parsed one, so
 * that what leaves is framed by us and nothing that a peer wrote about its own
 * connection, or about who it is, gets past (RFC 9110 7.6, contract section 6).
 *
 * Which fields stay out is decided by sets of kinds, one bit test a field.
 */
#include "kamiyo/http/writer.h"

#include <string.h>

#include "http/http_internal.h"

/* Says who the client is; from an untrusted peer it is worth nothing. */
#define CLAIM_FIELDS                                                                              \
    (HTTP_FIELD_BIT(HTTP_FIELD_FORWARDED) | HTTP_FIELD_BIT(HTTP_FIELD_X_REAL_IP) |                \
     HTTP_FIELD_BIT(HTTP_FIELD_CF_CONNECTING_IP) | HTTP_FIELD_BIT(HTTP_FIELD_TRUE_CLIENT_IP) |    \
     HTTP_FIELD_BIT(HTTP_FIELD_X_FORWARDED_PROTO) | HTTP_FIELD_BIT(HTTP_FIELD_X_FORWARDED_HOST) | \
     HTTP_FIELD_BIT(HTTP_FIELD_X_FORWARDED_PORT))
/* Written by us on every request. */
#define OWN_REQUEST_FIELDS                                                          \
    (HTTP_FIELD_BIT(HTTP_FIELD_HOST) | HTTP_FIELD_BIT(HTTP_FIELD_X_FORWARDED_FOR) | \
     HTTP_FIELD_BIT(HTTP_FIELD_X_REQUEST_ID))
#define LIMIT_FIELDS                                    \
    (HTTP_FIELD_BIT(HTTP_FIELD_X_RATELIMIT_LIMIT) |     \
     HTTP_FIELD_BIT(HTTP_FIELD_X_RATELIMIT_REMAINING) | \
     HTTP_FIELD_BIT(HTTP_FIELD_X_RATELIMIT_RESET) | HTTP_FIELD_BIT(HTTP_FIELD_X_RATELIMIT_TIER))
#define RATELIMIT_FIELDS \
    (HTTP_FIELD_BIT(HTTP_FIELD_RATELIMIT) | HTTP_FIELD_BIT(HTTP_FIELD_RATELIMIT_POLICY))

static void put(struct text *out, struct slice bytes)
{
    text_append(out, bytes);
}

/* `name` is a literal with its colon and space: a few stores, behind one look at the room. */
static ALWAYS_INLINE void put_line(struct text *out, struct slice name, struct slice value)
{
    size_t length = name.length + value.length + 2;

    if (UNLIKELY(out->capacity - out->length < length)) {
        out->overflow = true;
        return;
    }
    char *at = out->data + out->length;

    memcpy(at, name.data, name.length);
    at += name.length;
    if (value.length > 0)
        memcpy(at, value.data, value.length);
    memcpy(at + value.length, "\r\n", 2);
    out->length += length;
}

static void put_field(struct text *out, struct slice name, struct slice value)
{
    /* One look at the room for the whole line: this runs for each field of each message. */
    size_t length = name.length + 2 + value.length + 2;

    if (out->overflow || out->capacity - out->length < length) {
        out->overflow = true;
        return;
    }
    char *at = out->data + out->length;

    memcpy(at, name.data, name.length);
    at += name.length;
    *at++ = ':';
    *at++ = ' ';
    if (value.length > 0)
        memcpy(at, value.data, value.length);
    at += value.length;
    *at++ = '\r';
    *at = '\n';
    out->length += length;
}

/* Case aside, and with "_" for "-": some application servers take the one for the other. */
static bool passes_for(struct slice name, struct slice other)
{
    if (name.length != other.length)
        return false;
    for (size_t i = 0; i < name.length; i++) {
        struct slice byte = {name.data[i] == '_' ? "-" : name.data + i, 1};
        struct slice wanted = {other.data[i] == '_' ? "-" : other.data + i, 1};

        if (!slice_equal_ignore_case(byte, wanted))
            return false;
    }
    return true;
}

static bool is_named(struct slice name, const struct slice *names, size_t count)
{
    for (size_t i = 0; i < count; i++) {
        if (passes_for(name, names[i]))
            return true;
    }
    return false;
}

/*
 * The fields from `i` on that are to leave, in order: none that ends here, none of the kinds in
 * `dropped`. Lines that stand one behind the other as they are to leave are copied at once: `run`
 * is what has been gathered so far, which may begin with the start line.
 */
static void put_fields(struct text *out,
                       struct slice run,
                       const struct http_head *head,
                       size_t i,
                       uint64_t dropped,
                       const struct http_forwarding *forwarding)
{
    for (; i < head->field_count; i++) {
        const struct http_field *field = &head->fields[i];

        if (field->is_hop || (dropped & HTTP_FIELD_BIT(field->id)) != 0)
            continue;
        if (forwarding != NULL && forwarding->removed_count > 0 &&
            is_named(field->name, forwarding->removed_names, forwarding->removed_count))
            continue;
        if (!field->is_plain_line) {
            put(out, run);
            run.length = 0;
            put_field(out, field->name, field->value);
            continue;
        }
        if (run.length == 0 || field->name.data != run.data + run.length) {
            put(out, run);
            run.data = field->name.data;
        }
        run.length = (size_t)(field->value.data + field->value.length + 2 - run.data);
    }
    put(out, run);
}

static void put_framing(struct text *out, enum http_framing framing, uint64_t length)
{
    if (framing == HTTP_FRAMING_CHUNKED) {
        put(out, SLICE("Transfer-Encoding: chunked\r\n"));
    } else if (framing == HTTP_FRAMING_LENGTH) {
        put(out, SLICE("Content-Length: "));
        text_append_u64(out, length);
        put(out, SLICE("\r\n"));
    }
}

static void put_via(struct text *out, int minor_version)
{
    put(out, minor_version == 0 ? SLICE("Via: 1.0 " HTTP_WRITER_VIA "\r\n")
                                : SLICE("Via: 1.1 " HTTP_WRITER_VIA "\r\n"));
}

/* One field with the whole chain: a reader of only the first or only the last line gets it all. */
static void put_forwarded_for(struct text *out,
                              const struct http_head *head,
                              const struct http_forwarding *forwarding)
{
    const struct http_field *field = NULL;
    bool has_part = false;

    if (forwarding->is_peer_trusted)
        field = http_head_next(head, HTTP_FIELD_X_FORWARDED_FOR, NULL);
    if (field == NULL && forwarding->peer.length == 0)
        return;
    put(out, SLICE("X-Forwarded-For: "));
    for (; field != NULL; field = http_head_next(head, HTTP_FIELD_X_FORWARDED_FOR, field)) {
        if (field->value.length == 0)
            continue;
        if (has_part)
            put(out, SLICE(", "));
        put(out, field->value);
        has_part = true;
    }
    if (forwarding->peer.length > 0) {
        if (has_part)
            put(out, SLICE(", "));
        put(out, forwarding->peer);
    }
    put(out, SLICE("\r\n"));
}

static void put_forwarding(struct text *out,
                           const struct http_request_head *request,
                           const struct http_forwarding *forwarding)
{
    const struct http_head *head = &request->head;
    bool keeps = forwarding->is_peer_trusted;

    put_forwarded_for(out, head, forwarding);
    if (!keeps || head->first[HTTP_FIELD_X_FORWARDED_PROTO] < 0)
        put_line(out, SLICE("X-Forwarded-Proto: "), forwarding->scheme);
    if (request->host.length > 0 && (!keeps || head->first[HTTP_FIELD_X_FORWARDED_HOST] < 0))
        put_line(out, SLICE("X-Forwarded-Host: "), request->host);
    if (forwarding->request_id.length > 0)
        put_line(out, SLICE("X-Request-Id: "), forwarding->request_id);
}

static void
put_request_connection(struct text *out, const struct http_head *head, struct slice tunnel)
{
    if (tunnel.length > 0) {
        put(out, head->has_te_trailers ? SLICE("Connection: upgrade, TE\r\n")
                                       : SLICE("Connection: upgrade\r\n"));
        put_line(out, SLICE("Upgrade: "), tunnel);
    } else if (head->has_te_trailers) {
        put(out, SLICE("Connection: TE\r\n"));
    }
    if (head->has_te_trailers)
        put(out, SLICE("TE: trailers\r\n"));
}

static void put_max_forwards(struct text *out, int64_t max_forwards)
{
    put(out, SLICE("Max-Forwards: "));
    text_append_i64(out, max_forwards > 0 ? max_forwards - 1 : 0);
    put(out, SLICE("\r\n"));
}

static void put_request_start(struct text *out,
                              const struct http_request_head *request,
                              const struct http_forwarding *forwarding)
{
    put(out, request->method);
    text_append_char(out, ' ');
    if (request->path_query.length > 0 && request->path_query.data[0] == '?')
        text_append_char(out, '/');
    put(out, request->path_query);
    put(out, SLICE(" HTTP/1.1\r\n"));
    put_line(out, SLICE("Host: "),
             request->host.length > 0 ? request->host : forwarding->upstream_host);
}

/*
 * A request line that goes on as it came, and Host behind it, as from nearly every client: both as
 * they stand where they were read. Empty if not.
 */
static struct slice usual_start(const struct http_request_head *request)
{
    const struct http_head *head = &request->head;
    const struct http_field *host = head->fields;
    const char *line_end =
        request->target.data + request->target.length + sizeof(" HTTP/1.1\r\n") - 1;

    if (request->form != HTTP_TARGET_ORIGIN || head->minor_version != 1 || head->field_count == 0 ||
        request->method.data != head->bytes.data || host->name.data != line_end ||
        host->id != HTTP_FIELD_HOST || !host->is_plain_line ||
        memcmp(host->name.data, "Host", sizeof("Host") - 1) != 0)
        return (struct slice){NULL, 0};
    return (struct slice){head->bytes.data,
                          (size_t)(host->value.data + host->value.length + 2 - head->bytes.data)};
}

void http_writer_request(struct text *out,
                         const struct http_request_head *request,
                         const struct http_forwarding *forwarding)
{
    const struct http_head *head = &request->head;
    uint64_t dropped = OWN_REQUEST_FIELDS;
    struct slice run;

    if (!forwarding->is_peer_trusted)
        dropped |= CLAIM_FIELDS;
    if (head->minor_version == 0)
        dropped |= HTTP_FIELD_BIT(HTTP_FIELD_EXPECT);
    if (request->max_forwards >= 0)
        dropped |= HTTP_FIELD_BIT(HTTP_FIELD_MAX_FORWARDS);
    run = usual_start(request);
    if (run.length > 0) {
        put_fields(out, run, head, 1, dropped, forwarding);
    } else {
        put_request_start(out, request, forwarding);
        put_fields(out, run, head, 0, dropped, forwarding);
    }
    put_framing(out, head->framing, head->content_length);
    if (request->max_forwards >= 0)
        put_max_forwards(out, request->max_forwards);
    put_via(out, head->minor_version);
    put_forwarding(out, request, forwarding);
    put_request_connection(out, head, forwarding->tunnel);
    put(out, SLICE("\r\n"));
}

void http_writer_connection(struct text *out, int client_minor_version, bool keep_alive)
{
    if (!keep_alive)
        put(out, SLICE("Connection: close\r\n"));
    else if (client_minor_version == 0)
        put(out, SLICE("Connection: keep-alive\r\n"));
}

/*
 * The status line as it came, if it goes on so; else it is written, and nothing is left to copy.
 * llhttp lets one end in a bare CR.
 */
static struct slice put_status_line(struct text *out, const struct http_response_head *response)
{
    enum {
        REASON_AT = sizeof("HTTP/1.1 200 ") - 1
    };
    const struct http_head *head = &response->head;
    struct slice reason = response->reason;

    if (head->minor_version == 1 && reason.length > 0 &&
        reason.data == head->bytes.data + REASON_AT &&
        memcmp(reason.data + reason.length, "\r\n", 2) == 0)
        return (struct slice){head->bytes.data, REASON_AT + reason.length + 2};
    put(out, SLICE("HTTP/1.1 "));
    text_append_u64(out, (uint64_t)response->status);
    text_append_char(out, ' ');
    put(out, response->reason);
    put(out, SLICE("\r\n"));
    return (struct slice){NULL, 0};
}

void http_writer_response(struct text *out,
                          const struct http_response_head *response,
                          const struct http_delivery *delivery)
{
    const struct http_head *head = &response->head;
    uint64_t dropped = 0;

    if (delivery->request_id.length > 0)
        dropped |= HTTP_FIELD_BIT(HTTP_FIELD_X_REQUEST_ID);
    if (delivery->replaces_limit_fields)
        dropped |= LIMIT_FIELDS;
    if (delivery->replaces_ratelimit_fields)
        dropped |= RATELIMIT_FIELDS;
    if (delivery->replaces_retry_after)
        dropped |= HTTP_FIELD_BIT(HTTP_FIELD_RETRY_AFTER);
    /* Without chunks there is nowhere for trailers to stand. */
    if (delivery->framing != HTTP_FRAMING_CHUNKED)
        dropped |= HTTP_FIELD_BIT(HTTP_FIELD_TRAILER);
    put_fields(out, put_status_line(out, response), head, 0, dropped, NULL);
    if (head->first[HTTP_FIELD_DATE] < 0 && delivery->date.length > 0)
        put_line(out, SLICE("Date: "), delivery->date);
    put_framing(out, delivery->framing, delivery->content_length);
    put_via(out, head->minor_version);
    if (delivery->request_id.length > 0)
        put_line(out, SLICE("X-Request-Id: "), delivery->request_id);
    put(out, delivery->extra);
    if (delivery->tunnel.length > 0) {
        put(out, SLICE("Connection: upgrade\r\n"));
        put_line(out, SLICE("Upgrade: "), delivery->tunnel);
    } else {
        http_writer_connection(out, delivery->client_minor_version, delivery->keep_alive);
    }
    put(out, SLICE("\r\n"));
}

void http_writer_interim(struct text *out, const struct http_response_head *response)
{
    put_fields(out, put_status_line(out, response), &response->head, 0, 0, NULL);
    put(out, SLICE("\r\n"));
}

size_t http_writer_chunk_head(char out[HTTP_WRITER_CHUNK_SIZE], size_t payload)
{
    static const char digits[] = "0123456789abcdef";
    size_t length = 1;

    for (size_t rest = payload >> 4; rest != 0; rest >>= 4)
        length++;
    for (size_t i = length; i > 0; i--, payload >>= 4)
        out[i - 1] = digits[payload & 15];
    out[length] = '\r';
    out[length + 1] = '\n';
    return length + 2;
}
