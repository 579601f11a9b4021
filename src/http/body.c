/* SPDX-License-Identifier: MIT */
/*
 * Bodies as they arrive. The chunked reader is a machine over bytes, except in
 * a chunk's data, which it takes in runs:
 *
 *   SIZE_FIRST ─► SIZE ─► [EXTENSION] ─► SIZE_LF ─► DATA ─► DATA_CR ─► DATA_LF ─► SIZE_FIRST
 *                                           │
 *                                           └─ size 0 ─► LINE_START
 *
 *   LINE_START ─► NAME ─► OWS ─► VALUE ─► VALUE_LF ─► LINE_START
 *       └─ CR ─► END_LF ─► DONE
 *
 * What is read is at or before what is written, so the payload closes up in the
 * caller's buffer. Everything that a peer can grow without sending payload
 * (sizes, extensions, trailers) has a bound.
 */
#include "kamiyo/http/body.h"

#include <string.h>

#include "kamiyo/base/mem.h"

#include "http/http_internal.h"

#define MAX_SIZE_DIGITS 16

enum chunk_state {
    CHUNK_SIZE_FIRST,
    CHUNK_SIZE,
    CHUNK_EXTENSION_FIRST,
    CHUNK_EXTENSION,
    CHUNK_SIZE_LF,
    CHUNK_DATA,
    CHUNK_DATA_CR,
    CHUNK_DATA_LF,
    TRAILER_LINE_START,
    TRAILER_NAME,
    TRAILER_OWS,
    TRAILER_VALUE,
    TRAILER_VALUE_LF,
    TRAILER_END_LF,
    CHUNK_DONE,
    CHUNK_FAILED,
};

void http_body_init(struct http_body *body, const struct http_head *head)
{
    *body = (struct http_body){.framing = head->framing};
    if (head->framing == HTTP_FRAMING_LENGTH)
        body->remaining = head->content_length;
    body->is_complete = head->framing == HTTP_FRAMING_NONE ||
                        (head->framing == HTTP_FRAMING_LENGTH && head->content_length == 0);
}

void http_body_clear(struct http_body *body)
{
    mem_free(body->trailers);
    body->trailers = NULL;
    body->trailers_length = 0;
    body->trailers_capacity = 0;
}

bool http_body_end(struct http_body *body)
{
    if (body->framing == HTTP_FRAMING_UNTIL_CLOSE)
        body->is_complete = true;
    return body->is_complete;
}

static bool fail(struct http_body *body, const char *reason)
{
    body->state = CHUNK_FAILED;
    body->error_reason = reason;
    return false;
}

#define NAME(literal)                  \
    {                                  \
        (literal), sizeof(literal) - 1 \
    }

/*
 * Fields that are not taken from a trailer section (RFC 9110 6.5.1 and what contract section 6
 * keeps for the gateway): an application that merges trailers into the head would take them for
 * what came with it.
 */
static bool is_forbidden_trailer(struct slice name)
{
    static const struct slice names[] = {
        NAME("Age"),
        NAME("Authorization"),
        NAME("Cache-Control"),
        NAME("Cookie"),
        NAME("Expires"),
        NAME("Location"),
        NAME("Pragma"),
        NAME("Range"),
        NAME("Set-Cookie"),
        NAME("Vary"),
        NAME("WWW-Authenticate"),
        NAME("Warning"),
        NAME("X-HTTP-Method"),
        NAME("X-HTTP-Method-Override"),
        NAME("X-Method-Override"),
    };
    static const struct slice prefixes[] = {
        NAME("content-"),    NAME("if-"),  NAME("proxy-"),      NAME("access-control-"),
        NAME("x-forwarded"), NAME("sec-"), NAME("x-original-"), NAME("x-rewrite-"),
    };

    enum http_field_id id = http_field_id_of(name);

    if (memchr(name.data, '_', name.length) != NULL)
        return true;
    if (id != HTTP_FIELD_OTHER && id != HTTP_FIELD_REFERER) /* which is known for the log only */
        return true;
    for (size_t i = 0; i < COUNT_OF(names); i++) {
        if (slice_equal_ignore_case(name, names[i]))
            return true;
    }
    for (size_t i = 0; i < COUNT_OF(prefixes); i++) {
        if (name.length >= prefixes[i].length &&
            slice_equal_ignore_case((struct slice){name.data, prefixes[i].length}, prefixes[i]))
            return true;
    }
    return false;
}

#undef NAME

/* Within the bound of trailer_bytes: a kept line is at most two bytes (": ") longer than it came.
 */
static void keep(struct http_body *body, const char *bytes, size_t length)
{
    if (body->trailers_length + length > body->trailers_capacity) {
        body->trailers_capacity = body->trailers_capacity == 0 ? 256 : body->trailers_capacity * 2;
        body->trailers = mem_resize(body->trailers, body->trailers_capacity);
    }
    memcpy(body->trailers + body->trailers_length, bytes, length);
    body->trailers_length += length;
}

static bool is_removed(const struct http_body *body, struct slice name)
{
    for (size_t i = 0; i < body->removed_count; i++) {
        if (slice_equal_ignore_case(name, body->removed_names[i]))
            return true;
    }
    return false;
}

static void finish_trailer(struct http_body *body)
{
    struct slice line = {body->trailers + body->trailer_start,
                         body->trailers_length - body->trailer_start};
    struct slice name = {line.data, slice_find(line, ':')};

    if (is_forbidden_trailer(name) || is_removed(body, name)) {
        body->trailers_length = body->trailer_start;
        return;
    }
    while (body->trailers[body->trailers_length - 1] == ' ' ||
           body->trailers[body->trailers_length - 1] == '\t')
        body->trailers_length--;
    keep(body, "\r\n", 2);
}

static bool read_trailer_byte(struct http_body *body, char byte)
{
    if (++body->trailer_bytes > HTTP_BODY_MAX_TRAILER_BYTES)
        return fail(body, "the trailers are too long");
    switch (body->state) {
    case TRAILER_LINE_START:
        if (byte == '\r') {
            body->state = TRAILER_END_LF;
            return true;
        }
        if (!http_byte_is(byte, HTTP_BYTE_TOKEN))
            return fail(body, "malformed trailer name");
        body->trailer_start = body->trailers_length;
        body->state = TRAILER_NAME;
        keep(body, &byte, 1);
        return true;
    case TRAILER_NAME:
        if (byte == ':') {
            body->state = TRAILER_OWS;
            keep(body, ": ", 2);
            return true;
        }
        if (!http_byte_is(byte, HTTP_BYTE_TOKEN))
            return fail(body, "malformed trailer name");
        keep(body, &byte, 1);
        return true;
    case TRAILER_OWS:
    case TRAILER_VALUE:
        if (byte == '\r') {
            body->state = TRAILER_VALUE_LF;
            return true;
        }
        if (!http_byte_is(byte, HTTP_BYTE_VALUE))
            return fail(body, "a control byte in a trailer");
        if (body->state == TRAILER_OWS && (byte == ' ' || byte == '\t'))
            return true;
        body->state = TRAILER_VALUE;
        keep(body, &byte, 1);
        return true;
    case TRAILER_VALUE_LF:
        if (byte != '\n')
            return fail(body, "bare CR in a trailer");
        finish_trailer(body);
        body->state = TRAILER_LINE_START;
        return true;
    default:
        if (byte != '\n')
            return fail(body, "bare CR after the last chunk");
        body->state = CHUNK_DONE;
        body->is_complete = true;
        return true;
    }
}

static bool read_size_digit(struct http_body *body, char byte)
{
    unsigned digit = byte <= '9' ? (unsigned)(byte - '0') : (unsigned)((byte | 0x20) - 'a' + 10);

    if (++body->digits > MAX_SIZE_DIGITS)
        return fail(body, "the chunk size is too long");
    body->remaining = body->remaining << 4 | digit;
    if (body->remaining > INT64_MAX)
        return fail(body, "the chunk size overflows");
    body->state = CHUNK_SIZE;
    return true;
}

static bool read_extension_byte(struct http_body *body, char byte)
{
    if (byte == '\r' && body->state == CHUNK_EXTENSION) {
        body->state = CHUNK_SIZE_LF;
        return true;
    }
    if (!http_byte_is(byte, HTTP_BYTE_VALUE))
        return fail(body, "malformed chunk extension");
    if (++body->extension_bytes > HTTP_BODY_MAX_EXTENSION_BYTES)
        return fail(body, "the chunk extensions are too long");
    body->state = CHUNK_EXTENSION;
    return true;
}

/* Everything between chunks. False: body->error_reason is set. */
static bool read_byte(struct http_body *body, char byte)
{
    switch (body->state) {
    case CHUNK_SIZE_FIRST:
        body->remaining = 0;
        body->digits = 0;
        if (!http_byte_is(byte, HTTP_BYTE_HEX))
            return fail(body, "malformed chunk size");
        return read_size_digit(body, byte);
    case CHUNK_SIZE:
        if (http_byte_is(byte, HTTP_BYTE_HEX))
            return read_size_digit(body, byte);
        if (byte != ';' && byte != '\r')
            return fail(body, "malformed chunk size");
        body->state = byte == ';' ? CHUNK_EXTENSION_FIRST : CHUNK_SIZE_LF;
        return true;
    case CHUNK_EXTENSION_FIRST:
    case CHUNK_EXTENSION:
        return read_extension_byte(body, byte);
    case CHUNK_SIZE_LF:
        if (byte != '\n')
            return fail(body, "bare CR after a chunk size");
        body->state = body->remaining > 0 ? CHUNK_DATA : TRAILER_LINE_START;
        return true;
    case CHUNK_DATA_CR:
        if (byte != '\r')
            return fail(body, "a chunk is longer than its size");
        body->state = CHUNK_DATA_LF;
        return true;
    case CHUNK_DATA_LF:
        if (byte != '\n')
            return fail(body, "bare CR after a chunk");
        body->state = CHUNK_SIZE_FIRST;
        return true;
    default:
        return read_trailer_byte(body, byte);
    }
}

static enum http_body_status decode_chunked(
    struct http_body *body, char *bytes, size_t length, size_t *payload, size_t *consumed)
{
    size_t in = 0;
    size_t out = 0;

    while (in < length && body->state != CHUNK_DONE && body->state != CHUNK_FAILED) {
        if (body->state == CHUNK_DATA) {
            size_t run = length - in < body->remaining ? length - in : (size_t)body->remaining;

            if (in != out)
                memmove(bytes + out, bytes + in, run);
            in += run;
            out += run;
            body->remaining -= run;
            if (body->remaining == 0)
                body->state = CHUNK_DATA_CR;
        } else if (read_byte(body, bytes[in])) {
            in++;
        }
    }
    *payload = out;
    *consumed = in;
    body->payload_bytes += out;
    if (body->state == CHUNK_FAILED)
        return HTTP_BODY_ERROR;
    return body->state == CHUNK_DONE ? HTTP_BODY_DONE : HTTP_BODY_MORE;
}

enum http_body_status http_body_decode(
    struct http_body *body, char *bytes, size_t length, size_t *payload, size_t *consumed)
{
    size_t taken = length;

    switch (body->framing) {
    case HTTP_FRAMING_CHUNKED:
        return decode_chunked(body, bytes, length, payload, consumed);
    case HTTP_FRAMING_LENGTH:
        if (taken > body->remaining)
            taken = (size_t)body->remaining;
        body->remaining -= taken;
        body->is_complete = body->remaining == 0;
        break;
    case HTTP_FRAMING_NONE:
        taken = 0;
        break;
    case HTTP_FRAMING_UNTIL_CLOSE:
        break;
    }
    body->payload_bytes += taken;
    *payload = taken;
    *consumed = taken;
    return body->is_complete ? HTTP_BODY_DONE : HTTP_BODY_MORE;
}

bool http_body_give_back(struct http_body *body, size_t consumed)
{
    if (consumed == 0)
        return true;
    if (body->framing != HTTP_FRAMING_LENGTH)
        return false;
    body->remaining += consumed;
    body->payload_bytes -= consumed;
    body->is_complete = false;
    return true;
}
