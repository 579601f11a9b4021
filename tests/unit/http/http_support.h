/* SPDX-License-Identifier: MIT */
#pragma once

#include <stdbool.h>
#include <stddef.h>

#include "kamiyo/http/parser.h"

/*
 * Feeding heads and bodies in pieces, for the tests of this room: each vector
 * is read whole, cut at every byte, and byte by byte, and must come to the
 * same end.
 */
#define HTTP_SUPPORT_FIELDS 100
/* A literal as bytes and their number. */
#define BYTES(literal) (literal), sizeof(literal) - 1
/* A request with these lines beside Host. */
#define GET_WITH(fields)  BYTES("GET / HTTP/1.1\r\nHost: a\r\n" fields "\r\n")
#define POST_WITH(fields) BYTES("POST / HTTP/1.1\r\nHost: a\r\n" fields "\r\n")

/* A parsed head with its memory. */
struct parsed {
    enum http_parser_status status;
    int error_status;
    const char *error_reason;
    size_t consumed;
    char *bytes; /* a copy of exactly the input's size, so that asan sees a read past it */
    struct http_parser parser;
    struct http_parser_field spans[HTTP_SUPPORT_FIELDS];
    struct http_field fields[HTTP_SUPPORT_FIELDS];
    struct http_request_head request;
    struct http_response_head response;
};

enum parsed_kind {
    PARSED_REQUEST,
    PARSED_RESPONSE,
    PARSED_RESPONSE_TO_HEAD
};

extern const struct http_limits http_support_limits;

/*
 * Parse `length` bytes given in pieces that end at `cuts` (ascending) and at the end; each piece is
 * given at a new address. Stops at the first verdict. Ended with parsed_clear.
 */
void parsed_init(struct parsed *parsed,
                 enum parsed_kind kind,
                 const struct http_limits *limits,
                 const char *bytes,
                 size_t length,
                 const size_t *cuts,
                 size_t cut_count);
void parsed_clear(struct parsed *parsed);
/* Whole, and fail the test unless every way to cut it comes to the same. */
void parsed_init_all_ways(struct parsed *parsed,
                          enum parsed_kind kind,
                          const struct http_limits *limits,
                          const char *bytes,
                          size_t length);
/* Whether two parses came to the same: status, and all that the head says. */
bool parsed_equal(const struct parsed *a, const struct parsed *b);

/* What must be refused, and with which status, however it is cut. */
struct http_refusal {
    const char *bytes;
    size_t length;
    int status;
};

/* Fail the test unless each is; those that are not are printed first. */
void http_support_refuse(const struct http_refusal *vectors, size_t count, enum parsed_kind kind);
