/* SPDX-License-Identifier: MIT */
#pragma once

#include <stdbool.h>
#include <stdint.h>

#include "kamiyo/base/slice.h"
#include "kamiyo/http/message.h"

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
 * The usual head (head_scan.c): the length of the first line with its CRLF, and the fields from
 * `at` to the empty line, with the length of all. 0: not whole, or not usual; llhttp is to read it.
 */
size_t head_scan_line(const char *bytes, size_t end);
size_t head_scan_fields(
    const char *bytes, size_t at, size_t end, struct http_head *head, size_t max_fields);

/*
 * Classify head->fields, and find the first of each kind, repetitions, and what Connection says.
 * For both directions. Names and values are set, and the reader has seen to it that names are
 * tokens and values are HTTP_BYTE_VALUE without leading white space; parser_test holds both readers
 * to that for every byte.
 */
struct http_verdict http_fields_resolve(struct http_head *head);
/* Transfer-Encoding and Content-Length of a request, RFC 9112 6.3. */
struct http_verdict http_framing_of_request(struct http_head *head);
/* The same for a response; `has_no_body` = to HEAD, 1xx, 204 or 304. */
struct http_verdict http_framing_of_response(struct http_head *head, bool has_no_body);
/* Target form, path, Host. */
struct http_verdict http_target_resolve(struct http_request_head *request);
/* uri-host [":" port], RFC 9110 7.2; never empty, no userinfo. */
bool http_is_authority(struct slice text);
