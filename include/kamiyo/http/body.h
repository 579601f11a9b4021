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
 * counted and never looked at. A chunked one is taken apart strictly (RFC 9112
 * 7.1: no signs, spaces, "0x" or overflow in a size, CRLF only, extensions
 * checked for control bytes and dropped), its payload moved together in place,
 * its trailers checked and kept to be passed on. Any way to cut the input
 * gives the same payload, trailers and verdict.
 */
#define HTTP_BODY_MAX_TRAILER_BYTES   8192 /* as received, in one body */
#define HTTP_BODY_MAX_EXTENSION_BYTES 4096 /* in one body */

struct http_body {
    enum http_framing framing;
    uint64_t remaining; /* of the length, or of the chunk */
    uint8_t state;      /* of the chunked reader */
    uint8_t digits;     /* of the chunk size so far */
    bool is_complete;
    uint64_t payload_bytes; /* so far */
    /*
     * The trailer fields that may be passed on, "Name: value\r\n"..., owned, NULL = none; whole
     * once the body is DONE. Those that would change framing, routing, authentication or how the
     * content is read (RFC 9110 6.5.1), and those that only the gateway writes, are left out.
     */
    char *trailers;
    size_t trailers_length;
    size_t trailers_capacity;
    size_t trailer_start;     /* of the line being read */
    uint32_t trailer_bytes;   /* received, with those left out */
    uint32_t extension_bytes; /* received */
    const char *error_reason; /* a static phrase */
    /* Further names that are left out of the trailers; borrowed, set before a decode, NULL = none.
     */
    const struct slice *removed_names;
    size_t removed_count;
};

enum http_body_status {
    HTTP_BODY_MORE,  /* all was consumed, the body goes on */
    HTTP_BODY_DONE,  /* the body's end is in these bytes; what follows is not its */
    HTTP_BODY_ERROR, /* the framing is broken: body->error_reason; stays so */
};

/* Make ready for the body that the head announces. Owns nothing until trailers come. */
void http_body_init(struct http_body *body, const struct http_head *head);
/*
 * Take bytes[0..length). Payload is at the start of `bytes` afterwards, *payload of it
 * (also with ERROR: what came before it); *consumed bytes of the input belonged to this body.
 * A body without bytes (none, or length 0) is DONE at the first call, with length 0 too.
 */
enum http_body_status http_body_decode(struct http_body *body,
                                       char *bytes,
                                       size_t length,
                                       size_t *payload,
                                       size_t *consumed) MUST_CHECK;
/*
 * The last `consumed` bytes are to be decoded again: nobody has taken what came of them. False,
 * and nothing changes: they were part of a chunked body, and have been moved.
 */
bool http_body_give_back(struct http_body *body, size_t consumed) MUST_CHECK;
/* The peer has closed: true if the body was complete (or ends so). */
bool http_body_end(struct http_body *body) MUST_CHECK;
/* Frees the trailers. */
void http_body_clear(struct http_body *body);
