/* SPDX-License-Identifier: MIT */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "kamiyo/base/attributes.h"
#include "kamiyo/base/slice.h"
#include "kamiyo/http/message.h"

/*
 * Where a message's body ends, and its payload. A body of known length is
 * counted and never looked at. A chunked one is taken apart strictly (no
 * extensions kept, no signs, spaces, bare LF; bounded lines), its payload
 * moved together in place, its trailers checked and kept to be passed on.
 */
#define HTTP_BODY_MAX_TRAILER_BYTES   8192
#define HTTP_BODY_MAX_EXTENSION_BYTES 4096 /* in one body */

struct http_body {
    enum http_framing framing;
    uint64_t remaining; /* of the length, or of the chunk */
    uint8_t state;      /* of the chunked reader */
    bool is_complete;
    uint64_t payload_bytes; /* so far */
    char *trailers;         /* "Name: value\r\n"..., owned, NULL = none */
    size_t trailers_length;
    size_t trailers_capacity;
    uint32_t extension_bytes;
    const char *error_reason;
};

enum http_body_status {
    HTTP_BODY_MORE,  /* all was consumed, the body goes on */
    HTTP_BODY_DONE,  /* the body's end is in these bytes; what follows is not its */
    HTTP_BODY_ERROR, /* the framing is broken: body->error_reason */
};

void http_body_init(struct http_body *body, const struct http_head *head);
/*
 * Take bytes[0..length). Payload is at the start of `bytes` afterwards, *payload of it
 * (also with ERROR: what came before it); *consumed bytes of the input belonged to this body.
 */
enum http_body_status http_body_decode(struct http_body *body,
                                       char *bytes,
                                       size_t length,
                                       size_t *payload,
                                       size_t *consumed) MUST_CHECK;
/* The peer has closed: true if the body was complete (or ends so). */
bool http_body_end(struct http_body *body) MUST_CHECK;
/* Frees the trailers. */
void http_body_clear(struct http_body *body);
