/* SPDX-License-Identifier: MIT */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include <llhttp.h>

#include "kamiyo/base/attributes.h"
#include "kamiyo/http/message.h"

/*
 * HTTP/1 heads, read by llhttp with every leniency off and then held against
 * the rules that llhttp leaves to its users (RFC 9112, RFC 9110): one space
 * on each side of the target, HTTP/1.0 and 1.1 only, Host, one framing, exact
 * "chunked", no control bytes. What passes can be read in one way only.
 *
 * A head may arrive in any number of pieces; the result is the same for each
 * way to cut it. The parser keeps offsets, not pointers, so the bytes may move
 * between calls as long as they start with the head and are contiguous.
 *
 * Refusals of a request:
 *   400  malformed, or readable in two ways
 *   414  target over max_target_bytes, told while it is still arriving
 *   431  head over max_head_bytes, or more than max_fields fields
 *   501  CONNECT, PRI or a method of more than 32 bytes, a transfer coding other than chunked
 *   505  a version other than 1.0 and 1.1 (the HTTP/2 preface too)
 * Each refusal of a response is 502.
 */
struct http_limits {
    size_t max_head_bytes; /* start line and fields together; below 4 GiB */
    size_t max_target_bytes;
    size_t max_fields; /* at most HTTP_PARSER_MAX_FIELDS */
};

enum http_parser_status {
    HTTP_PARSER_MORE,  /* the head is not whole yet; nothing wrong so far */
    HTTP_PARSER_HEAD,  /* the head is complete; *head is filled */
    HTTP_PARSER_ERROR, /* refuse: parser->error_status and parser->error_reason; what came before is
                          gone */
};

/* Upper bound for max_fields. */
#define HTTP_PARSER_MAX_FIELDS 1000

struct http_parser_span {
    uint32_t offset;
    uint32_t length;
};

struct http_parser_field {
    struct http_parser_span name;
    struct http_parser_span value;
};

/*
 * One parse at a time. Small itself, but needs the spans of max_fields fields: a thread has one
 * for heads that arrive whole, and takes another from a pool only for a head that has to wait for
 * more.
 */
struct http_parser {
    llhttp_t llhttp;
    const struct http_limits *limits;
    const char *base; /* the bytes, during a call only */
    size_t scanned;   /* how far the request line has been looked at; of a response, where a usual
                         status line ends, or 0 */
    size_t parsed;    /* how much llhttp has taken */
    struct http_parser_field *fields; /* max_fields of them, the caller's */
    size_t field_count;
    struct http_parser_span method; /* requests */
    struct http_parser_span target;
    int error_status;         /* 0 = none */
    const char *error_reason; /* a static phrase, "bare LF in the head" */
    uint8_t line_state;       /* where in the request line */
    bool is_response;
};

/* Bytes to allocate for a parser's field spans. */
size_t http_parser_fields_size(const struct http_limits *limits);
/* Make ready for a new request head. `fields` has room for limits->max_fields; both are borrowed.
 */
void http_parser_init_request(struct http_parser *parser,
                              const struct http_limits *limits,
                              struct http_parser_field *fields);
void http_parser_init_response(struct http_parser *parser,
                               const struct http_limits *limits,
                               struct http_parser_field *fields);
/*
 * Look at bytes[0..length), which start with the head and hold what was given before. CRLFs
 * before a request line are the caller's to skip (http_parser_skip_empty_lines). On HEAD
 * *head is filled with slices into `bytes` (host and path may also be constants) and *consumed
 * is the head's length; head->fields is set by the caller and has room for limits->max_fields.
 */
enum http_parser_status http_parser_request(struct http_parser *parser,
                                            const char *bytes,
                                            size_t length,
                                            struct http_request_head *head,
                                            size_t *consumed) MUST_CHECK;
/*
 * The same for a response, to a HEAD request if `to_head`. The framing is that of RFC 9112 6.3:
 * none to HEAD and for 1xx, 204 and 304, whose Content-Length is kept beside (has_content_length)
 * as what a GET would have.
 */
enum http_parser_status http_parser_response(struct http_parser *parser,
                                             const char *bytes,
                                             size_t length,
                                             bool to_head,
                                             struct http_response_head *head,
                                             size_t *consumed) MUST_CHECK;
/*
 * How many bytes of empty lines stand before a request line (RFC 9112 2.2); CRLF only. A CR at
 * the very end is not counted: its LF may follow. Bound what you skip on one connection.
 */
size_t http_parser_skip_empty_lines(const char *bytes, size_t length);
