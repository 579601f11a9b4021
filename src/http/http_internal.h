/* SPDX-License-Identifier: MIT */
#pragma once

#include <stdbool.h>
#include <stdint.h>
#include <string.h>

#include "kamiyo/base/slice.h"
#include "kamiyo/http/message.h"
#include "kamiyo/http/parser.h"

/*
 * What the room's modules share: which bytes may stand where, and the checks
 * that a complete head goes through. Nobody outside src/http includes this.
 */

/* Classes of a byte; a set of bits. */
enum http_byte_class {
    HTTP_BYTE_TOKEN = 1,  /* tchar, RFC 9110 5.6.2 */
    HTTP_BYTE_TARGET = 2, /* printable ASCII but "#": a fragment is never sent, RFC 9110 4.2 */
    HTTP_BYTE_VALUE = 4,  /* HTAB, SP, VCHAR, obs-text, RFC 9110 5.5 */
    HTTP_BYTE_HOST = 8,   /* reg-name without the comma, RFC 3986 3.2.2 */
    HTTP_BYTE_HEX = 16,
};
extern const uint8_t http_byte_classes[256];

static inline bool http_byte_is(char byte, enum http_byte_class class)
{
    return (http_byte_classes[(unsigned char)byte] & class) != 0;
}

/* Whether all bytes are of the class; true for no bytes. */
bool http_bytes_are(struct slice bytes, enum http_byte_class class);

/* Why a head is refused; status 0 = it is not. The reason is a static phrase. */
struct http_verdict {
    int status;
    const char *reason;
};
#define HTTP_VERDICT_OK ((struct http_verdict){0, NULL})

/*
 * The usual head (head_scan.c). Each gives the length of what it has read, and 0 for what is not
 * whole, or not usual: then llhttp is to read it. A first line with its CRLF; a request line, with
 * its parts; the fields from `at` to the empty line, trimmed, classified and noted, with the length
 * of the whole head.
 */
size_t head_scan_line(const char *bytes, size_t end);
size_t head_scan_request_line(const char *bytes,
                              size_t end,
                              struct http_parser_span *method,
                              struct http_parser_span *target);
size_t head_scan_fields(
    const char *bytes, size_t at, size_t end, struct http_head *head, size_t max_fields);

/*
 * Fields that concern this connection only, RFC 9110 7.6.1. Content-Length and Transfer-Encoding
 * are always written anew.
 */
#define HTTP_HOP_FIELDS                                                                  \
    (HTTP_FIELD_BIT(HTTP_FIELD_CONNECTION) | HTTP_FIELD_BIT(HTTP_FIELD_KEEP_ALIVE) |     \
     HTTP_FIELD_BIT(HTTP_FIELD_PROXY_AUTHENTICATE) |                                     \
     HTTP_FIELD_BIT(HTTP_FIELD_PROXY_AUTHORIZATION) |                                    \
     HTTP_FIELD_BIT(HTTP_FIELD_PROXY_CONNECTION) | HTTP_FIELD_BIT(HTTP_FIELD_TE) |       \
     HTTP_FIELD_BIT(HTTP_FIELD_UPGRADE) | HTTP_FIELD_BIT(HTTP_FIELD_TRANSFER_ENCODING) | \
     HTTP_FIELD_BIT(HTTP_FIELD_CONTENT_LENGTH))

/* Whether a name that is none of the known kinds ends at this hop all the same. */
bool http_is_hop_name(struct slice name);

/* Before the first field of a head. */
static inline void http_fields_begin(struct http_head *head)
{
    memset(head->first, 0xff, sizeof(head->first));
    head->repeated = 0;
    head->field_count = 0;
}

/* The field behind the last one is set, with its kind, and for HTTP_FIELD_OTHER is_hop: count it.
 */
static inline void http_fields_note(struct http_head *head)
{
    struct http_field *field = &head->fields[head->field_count];

    if (field->id != HTTP_FIELD_OTHER) {
        field->is_hop = (HTTP_HOP_FIELDS >> field->id & 1) != 0;
        if (head->first[field->id] < 0)
            head->first[field->id] = (int16_t)head->field_count;
        else
            head->repeated |= HTTP_FIELD_BIT(field->id);
    }
    head->field_count++;
}

/*
 * The same for the field of this name and value, from a reader that has seen to it that the name is
 * a token and the value is HTTP_BYTE_VALUE without leading white space; parser_test holds both
 * readers to that for every byte.
 */
void http_fields_add(struct http_head *head, struct slice name, struct slice value);
/* What Connection and TE say, once all fields are noted. For both directions. */
struct http_verdict http_fields_resolve(struct http_head *head);
/* Transfer-Encoding and Content-Length of a request, RFC 9112 6.3. */
struct http_verdict http_framing_of_request(struct http_head *head);
/* The same for a response; `has_no_body` = to HEAD, 1xx, 204 or 304. */
struct http_verdict http_framing_of_response(struct http_head *head, bool has_no_body);
/* Target form, path, Host. */
struct http_verdict http_target_resolve(struct http_request_head *request);
/* uri-host [":" port], RFC 9110 7.2; never empty, no userinfo. */
bool http_is_authority(struct slice text);
