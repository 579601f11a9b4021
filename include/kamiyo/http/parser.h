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
 * the rules that llhttp leaves to its users (RFC 9112, RFC 9110): Host, one
 * framing, exact "chunked", no control bytes in values, HTTP/1.0 and 1.1 only,
 * the target's form. What passes can be read in one way only.
 *
 * A head may arrive in any number of pieces; the result is the same for each
 * way to cut it. The parser keeps offsets, not pointers, so the bytes may move
 * between calls as long as they start with the head and are contiguous.
 */
struct http_limits {
    size_t max_head_bytes;   /* start line and fields together; over it 431 (502 for a response) */
    size_t max_target_bytes; /* over it 414 */
    size_t max_fields;       /* over it 431 */
};

enum http_parser_status {
    HTTP_PARSER_MORE,  /* the head is not whole yet; nothing wrong so far */
    HTTP_PARSER_HEAD,  /* the head is complete; *head is filled */
    HTTP_PARSER_ERROR, /* refuse: parser->error_status and parser->error_reason */
};

/* Upper bound for max_fields, so that offsets have a fixed place. */
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
 * One parse at a time. Large (the spans of max_fields fields): a thread has one for heads that
 * arrive whole, and takes another from a pool only for a head that has to wait for more.
 */
struct http_parser {
    llhttp_t llhttp;
    const struct http_limits *limits;
    size_t parsed; /* bytes that have been looked at, from the head's start */
    struct http_parser_span method, target, reason;
    struct http_parser_field *fields; /* max_fields of them, from the caller */
    size_t field_count;
    int error_status;         /* 400, 414, 431, 501, 505; 502 for responses */
    const char *error_reason; /* a static phrase, "bare LF in the head" */
    bool is_response;
    bool is_complete;
    const char *base;         /* only during a call */
};

/* Bytes to allocate for a parser's field spans. */
size_t http_parser_fields_size(const struct http_limits *limits);
/* Make ready for a new request head. `fields` has room for limits->max_fields; both are borrowed. */
void http_parser_init_request(struct http_parser *parser,
                              const struct http_limits *limits,
                              struct http_parser_field *fields);
void http_parser_init_response(struct http_parser *parser,
                               const struct http_limits *limits,
                               struct http_parser_field *fields);
/*
 * Look at bytes[0..length), which start with the head and hold what was given before. CRLFs
 * before a request line are the caller's to skip (http_parser_skip_empty_lines). On HEAD
 * *head is filled with slices into `bytes`; head->fields must have room for limits->max_fields; *consumed is the head's length.
 */
enum http_parser_status http_parser_request(struct http_parser *parser,
                                            const char *bytes,
                                            size_t length,
                                            struct http_request_head *head,
                                            size_t *consumed) MUST_CHECK;
/*
 * The same for a response; `to_head` = the request was HEAD, `to_http10`... The framing is that of RFC 9112 6.3
 * (no body for HEAD, 1xx, 204, 304).
 */
enum http_parser_status http_parser_response(struct http_parser *parser,
                                             const char *bytes,
                                             size_t length,
                                             bool to_head,
                                             struct http_response_head *head,
                                             size_t *consumed) MUST_CHECK;
/* How many bytes of empty lines stand before a request line (RFC 9112 2.2); CRLF only. */
size_t http_parser_skip_empty_lines(const char *bytes, size_t length);
