/* SPDX-License-Identifier: MIT */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "kamiyo/app/snapshot.h"
#include "kamiyo/base/attributes.h"
#include "kamiyo/base/clock.h"
#include "kamiyo/base/progress.h"
#include "kamiyo/base/slice.h"
#include "kamiyo/http/message.h"
#include "kamiyo/http/parser.h"
#include "kamiyo/identity/client_ip.h"
#include "kamiyo/identity/credentials.h"
#include "kamiyo/identity/identity.h"
#include "kamiyo/limit/limit_decision.h"
#include "kamiyo/net/addr.h"
#include "kamiyo/route/route_table.h"

/*
 * What the gateway would make of one request, charging nothing and remembering
 * nothing: the walk of contract section 1 by the gateway's own functions, with
 * all that is found on the way. The command's dry run and the running gateway
 * (/api/explain) walk alike; they differ in the parts that they bring.
 */
struct concurrency;
struct limiter;

/* What the walk asks. Chain and limiter belong to the thread that walks, and outlive the walk. */
struct explain_parts {
    struct snapshot *snapshot; /* a reference is taken */
    struct identity_chain *identity;
    struct limiter *limiter;         /* NULL = nobody: buckets are taken for full */
    struct concurrency *concurrency; /* NULL = nothing is in flight */
    struct clock_time now;
};

enum explain_decision {
    EXPLAIN_NONE, /* refused, or answered by the gateway itself, before anything was decided */
    EXPLAIN_ALLOWED,
    EXPLAIN_DENIED,
    EXPLAIN_EXEMPT,
    EXPLAIN_SHADOW, /* would be denied, and passes */
    EXPLAIN_DECISION_COUNT
};

struct explain;
struct identity_call;
struct limiter_call;
typedef void explain_done_fn(void *arg, struct explain *explain);

/* Filled as far as the walk came: what it did not reach is NULL or zero. */
struct explain {
    struct explain_parts parts;
    struct addr peer;
    char *head; /* the request's, owned */
    size_t head_length;
    struct http_parser_field spans[HTTP_PARSER_MAX_FIELDS];
    struct http_field fields[HTTP_PARSER_MAX_FIELDS];
    struct slice method; /* in `head`, as they were given */
    struct slice target;
    struct http_request_head request; /* method NULL = malformed */
    const struct route *route;
    struct client_ip client;
    bool has_identity;
    struct identity identity;
    struct credentials shown;
    const struct route_tier *tier;
    const struct limit_policy *policy; /* NULL = no bucket is touched */
    struct limit_decision decision;    /* with policy; levels as after the charge */

    enum explain_decision verdict;
    int status;         /* of the gateway's own answer; 0 = the request goes to the upstream */
    const char *reason; /* of the status, or why no bucket is touched; static */
    const char *window; /* that refuses: "minute", "concurrency", "failures"; NULL = none */
    int64_t wait_ms;    /* until it would not; 0 = that does not help */

    struct identity_call *identity_call;
    struct limiter_call *limit_call;
    explain_done_fn *done;
    void *done_arg;
};

/*
 * A request from `peer`: no 0 byte in any part, `fields` whole lines with their CRLF; where no Host
 * is among them, there is one. Everything is copied.
 */
struct explain *explain_create(const struct explain_parts *parts,
                               const struct addr *peer,
                               struct slice method,
                               struct slice target,
                               struct slice fields) MUST_CHECK;
/* Cancels what is pending; wipes the fields. */
void explain_destroy(struct explain **explain);
/* Walk. DONE: it is filled and `done` never runs. PENDING: `done` runs once, later, on the thread
 * of the parts; it may destroy. */
enum progress explain_start(struct explain *explain, explain_done_fn *done, void *arg) MUST_CHECK;
