/* SPDX-License-Identifier: MIT */
#pragma once

#include <stdbool.h>
#include <stdint.h>

#include "kamiyo/base/slice.h"
#include "kamiyo/base/text.h"
#include "kamiyo/limit/limiter.h"

/*
 * The answers that the gateway makes itself (contract section 5): the only
 * place that knows which outcome has which status, error name and text. Pure:
 * writes a whole response, head and body, into a text.
 */
enum reply_kind {
    REPLY_HEALTH,
    REPLY_BAD_REQUEST,
    REPLY_FORBIDDEN,
    REPLY_REQUEST_TIMEOUT,
    REPLY_CONTENT_TOO_LARGE,
    REPLY_URI_TOO_LONG,
    REPLY_EXPECTATION_FAILED,
    REPLY_HEADER_FIELDS_TOO_LARGE,
    REPLY_RATE_LIMITED,
    REPLY_NOT_IMPLEMENTED,
    REPLY_HTTP_VERSION_NOT_SUPPORTED,
    REPLY_BAD_GATEWAY,
    REPLY_SERVICE_UNAVAILABLE,
    REPLY_STORE_UNAVAILABLE,
    REPLY_GATEWAY_TIMEOUT,
    REPLY_KIND_COUNT,
};

struct reply {
    enum reply_kind kind;
    int minor_version;   /* the client's; 1.0 and keep_alive needs to be told so */
    bool is_head_method; /* no body */
    bool keep_alive;
    bool is_problem_json;    /* application/problem+json */
    struct slice message;    /* replaces the kind's own when not empty */
    struct slice request_id; /* as request_id.h has them: nothing to escape */
    struct slice date;
    struct slice cors_origin;  /* Access-Control-Allow-Origin to send, or empty */
    struct slice limit_fields; /* whole lines, or empty */
    /* A 429's own. */
    struct slice tier;
    struct slice window; /* "minute", "concurrency", "failures" */
    int64_t limit;
    int64_t remaining;
    int64_t wait_ms;
    struct slice upgrade_url;
    struct slice quota_start; /* what reply_write_quota_start writes, made ready before; or empty */
    struct slice quota_end;   /* likewise; neither is looked at for problem+json */
    struct slice violated; /* windows that deny, as the inside of a JSON array, for problem+json */
};

int reply_status(enum reply_kind kind);
/* The kind for a status that the parser asks for; BAD_REQUEST for any that has none. */
enum reply_kind reply_kind_of_status(int status);
/* Whether the connection is closed after this answer whatever the client asked for. */
bool reply_closes(enum reply_kind kind);
/*
 * The body of a 429 up to the number that remains, and from behind the numbers to the request's id:
 * what changes only with tier, window, limit and upgrade_url.
 */
void reply_write_quota_start(struct text *out, const struct reply *reply);
void reply_write_quota_end(struct text *out, const struct reply *reply);
/* Head and body. `body_bytes` = what of it is body. Look at out->overflow. */
void reply_write(struct text *out, const struct reply *reply, size_t *body_bytes);
