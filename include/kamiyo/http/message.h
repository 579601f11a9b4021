/* SPDX-License-Identifier: MIT */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "kamiyo/base/slice.h"

/*
 * The head of an HTTP/1 message as slices into the bytes it was read from, and
 * what its framing says. Plain data, valid as long as those bytes are; nothing
 * here allocates. The parser fills it, everyone else reads.
 */

/* Fields that someone asks for, so that nobody compares names twice. HTTP_FIELD_OTHER is everything
 * else. */
enum http_field_id {
    HTTP_FIELD_OTHER,
    HTTP_FIELD_ACCEPT,
    HTTP_FIELD_AUTHORIZATION,
    HTTP_FIELD_CF_CONNECTING_IP,
    HTTP_FIELD_CONNECTION,
    HTTP_FIELD_CONTENT_LENGTH,
    HTTP_FIELD_CONTENT_TYPE,
    HTTP_FIELD_DATE,
    HTTP_FIELD_EXPECT,
    HTTP_FIELD_FORWARDED,
    HTTP_FIELD_HOST,
    HTTP_FIELD_KEEP_ALIVE,
    HTTP_FIELD_MAX_FORWARDS,
    HTTP_FIELD_ORIGIN,
    HTTP_FIELD_PROXY_AUTHENTICATE,
    HTTP_FIELD_PROXY_AUTHORIZATION,
    HTTP_FIELD_PROXY_CONNECTION,
    HTTP_FIELD_RATELIMIT,
    HTTP_FIELD_RATELIMIT_POLICY,
    HTTP_FIELD_REFERER,
    HTTP_FIELD_RETRY_AFTER,
    HTTP_FIELD_TE,
    HTTP_FIELD_TRAILER,
    HTTP_FIELD_TRANSFER_ENCODING,
    HTTP_FIELD_TRUE_CLIENT_IP,
    HTTP_FIELD_UPGRADE,
    HTTP_FIELD_USER_AGENT,
    HTTP_FIELD_VIA,
    HTTP_FIELD_X_API_KEY,
    HTTP_FIELD_X_FORWARDED_FOR,
    HTTP_FIELD_X_FORWARDED_HOST,
    HTTP_FIELD_X_FORWARDED_PORT,
    HTTP_FIELD_X_FORWARDED_PROTO,
    HTTP_FIELD_X_RATELIMIT_LIMIT,
    HTTP_FIELD_X_RATELIMIT_REMAINING,
    HTTP_FIELD_X_RATELIMIT_RESET,
    HTTP_FIELD_X_RATELIMIT_TIER,
    HTTP_FIELD_X_REAL_IP,
    HTTP_FIELD_X_REQUEST_ID,
    HTTP_FIELD_COUNT, /* below 64: sets of them are bits of a uint64_t */
};

#define HTTP_FIELD_BIT(id) ((uint64_t)1 << (id))

struct http_field {
    struct slice name;  /* as received */
    struct slice value; /* without surrounding white space */
    enum http_field_id id;
    bool is_hop; /* hop-by-hop, or named by Connection (and allowed to be): not to be passed on */
    bool is_plain_line; /* where it was read it stands as "name: value" and CRLF, byte for byte, and
                           may be copied from there */
};

enum http_target_form {
    HTTP_TARGET_ORIGIN,    /* "/path?query" */
    HTTP_TARGET_ABSOLUTE,  /* "http://host/path": goes on in origin-form, its authority is the host
                            */
    HTTP_TARGET_ASTERISK,  /* "*", only with OPTIONS */
    HTTP_TARGET_AUTHORITY, /* "host:port", only with CONNECT */
};

enum http_framing {
    HTTP_FRAMING_NONE,   /* no body */
    HTTP_FRAMING_LENGTH, /* content_length bytes */
    HTTP_FRAMING_CHUNKED,
    HTTP_FRAMING_UNTIL_CLOSE, /* responses only */
};

/* What requests and responses have in common. */
struct http_head {
    struct slice bytes;        /* the whole head, with its empty line */
    int minor_version;         /* 0 or 1; the major one is always 1 */
    struct http_field *fields; /* the array belongs to the parser's caller */
    size_t field_count;
    /* Index of the first field of each known kind, or -1. */
    int16_t first[HTTP_FIELD_COUNT];
    uint64_t repeated; /* HTTP_FIELD_BIT of each known kind that occurs more than once */
    enum http_framing framing;
    uint64_t content_length; /* with HTTP_FRAMING_LENGTH; for a response to HEAD or a 304 what the
                                field says */
    bool has_content_length;
    bool keep_alive;      /* by version and Connection */
    bool has_upgrade;     /* Upgrade field, and Connection names it */
    bool has_te_trailers; /* TE: trailers */
};

struct http_request_head {
    struct http_head head;
    struct slice method;
    bool is_head_method;
    bool is_idempotent;  /* RFC 9110 9.2.2: GET HEAD OPTIONS TRACE PUT DELETE */
    struct slice target; /* as received */
    enum http_target_form form;
    struct slice path; /* target without authority and query: what routes match; "*" for asterisk */
    struct slice path_query;  /* path and query, byte for byte; of an absolute "http://host?x" it is
                                 "?x", and the writer puts the missing "/" before */
    struct slice host;        /* Host, or the absolute target's authority; empty only in HTTP/1.0 */
    bool expects_continue;    /* Expect: 100-continue, HTTP/1.1 */
    bool has_bad_expectation; /* any other expectation: 417 */
    int64_t max_forwards; /* Max-Forwards of OPTIONS and TRACE (RFC 9110 7.6.2), -1 = none; at 0 it
                             may not be passed on */
};

struct http_response_head {
    struct http_head head;
    int status;
    struct slice reason;
};

/* The value of the first field of that kind, or an empty slice with NULL data. */
struct slice http_head_find(const struct http_head *head, enum http_field_id id);
/* The next field of that kind after `previous` (NULL = the first), or NULL. */
const struct http_field *http_head_next(const struct http_head *head,
                                        enum http_field_id id,
                                        const struct http_field *previous);
/* The first field of any name, letters without case, or NULL. */
const struct http_field *http_head_find_name(const struct http_head *head, struct slice name);
/* The kind of a field name, letters without case. */
enum http_field_id http_field_id_of(struct slice name);
/* RFC 9110 5.6.2: one or more tchar. */
bool http_is_token(struct slice text);
/* Whether a comma-separated list names `token`, letters without case. */
bool http_list_has(struct slice list, struct slice token);
/* "OK", "Too Many Requests"; "" for a code without one. */
const char *http_status_reason(int status);
