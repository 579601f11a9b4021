/* SPDX-License-Identifier: MIT */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "kamiyo/base/attributes.h"
#include "kamiyo/base/slice.h"
#include "kamiyo/base/text.h"
#include "kamiyo/http/message.h"

/*
 * Heads out: always written anew from a parsed head, never copied as a whole.
 * Here stand the hop-by-hop, forwarding and Via rules (RFC 9110 7.6, contract
 * section 6). Everything goes into a struct text of the caller's; overflow is
 * the caller's to look at.
 */

/* The name in Via (RFC 9110 7.6.3). */
#define HTTP_WRITER_VIA "kamiyo-gateway"

/* Fields the gateway sets or takes away on the way to the upstream. */
struct http_forwarding {
    bool is_peer_trusted; /* keep the peer's X-Forwarded-For chain, -Proto, -Host, Forwarded ... */
    struct slice peer;    /* address of the TCP peer (or PROXY protocol source), appended to
                             X-Forwarded-For; empty = none */
    struct slice scheme;  /* "http" */
    struct slice request_id; /* X-Request-Id as it goes on */
    struct slice tunnel;     /* Upgrade value to pass with "Connection: upgrade", or empty */
    const struct slice
        *removed_names; /* further names to drop, from untrusted peers (identity.header) */
    size_t removed_count;
    struct slice upstream_host; /* Host when the request has none (HTTP/1.0) */
};

/*
 * The request as it goes upstream: "METHOD path_query HTTP/1.1", Host first, the end-to-end
 * fields in order and byte for byte, framing written anew (Content-Length or chunked), Via,
 * X-Forwarded-For (one field), -Proto, -Host, X-Request-Id, the empty line. Connection: only with a
 * tunnel or TE (HTTP/1.1 persists without it). Expect stays out for an HTTP/1.0 client;
 * Max-Forwards of OPTIONS and TRACE goes down by one (at 0 the request must not be passed on at
 * all).
 */
void http_writer_request(struct text *out,
                         const struct http_request_head *request,
                         const struct http_forwarding *forwarding);

/* How the response to a client is framed and whether its connection stays. */
struct http_delivery {
    int client_minor_version;
    enum http_framing
        framing; /* what is written; also LENGTH to HEAD or with 304, where no body follows */
    uint64_t content_length; /* with HTTP_FRAMING_LENGTH */
    bool keep_alive;
    bool replaces_limit_fields;     /* drop X-RateLimit-* of the upstream: ours are in `extra` */
    bool replaces_ratelimit_fields; /* drop RateLimit, RateLimit-Policy likewise */
    bool replaces_retry_after;
    struct slice request_id;
    struct slice tunnel; /* with 101: Upgrade value */
    struct slice extra;  /* whole field lines to add, each with its CRLF */
    struct slice date;   /* Date to add if the upstream sent none */
};

/* The final head of a response on its way to the client (also 101). */
void http_writer_response(struct text *out,
                          const struct http_response_head *response,
                          const struct http_delivery *delivery);
/* An interim response (1xx but 101): status line and end-to-end fields. */
void http_writer_interim(struct text *out, const struct http_response_head *response);
/* "Connection: close" or "keep-alive" as a client of that version needs it, or nothing; for own
 * answers. */
void http_writer_connection(struct text *out, int client_minor_version, bool keep_alive);

/* Room for "ffffffffffffffff\r\n". */
#define HTTP_WRITER_CHUNK_SIZE 20
/* "<hex>\r\n" before a chunk's payload; CRLF follows the payload. Returns the length. */
size_t http_writer_chunk_head(char out[HTTP_WRITER_CHUNK_SIZE], size_t payload);
