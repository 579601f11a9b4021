/* SPDX-License-Identifier: MIT */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "kamiyo/admin/admin_options.h"
#include "kamiyo/base/attributes.h"
#include "kamiyo/base/progress.h"
#include "kamiyo/base/slice.h"
#include "kamiyo/base/text.h"

/*
 * The admin listener (contract section 8): a small HTTP/1.1 server of its own
 * on the control thread's loop, at most ADMIN_MAX_CONNECTIONS at a time,
 * requests without bodies, one after another.
 *
 * What it tells about the gateway comes through `struct admin_source`, which
 * the app fills; nothing here reaches into a worker. Everything is called on
 * the loop's thread.
 */
struct admin;
struct denials_client;
struct loop;
struct metrics;
struct metrics_gauges;

#define ADMIN_MAX_CONNECTIONS 64
/* Of them, those that watch /api/events. */
#define ADMIN_MAX_STREAMS 16
/* Longest request head, and longest target in it. */
#define ADMIN_MAX_HEAD_BYTES   8192
#define ADMIN_MAX_TARGET_BYTES 2048

/* One window of one bucket, as /api/buckets shows it. */
struct admin_window {
    struct slice name; /* "minute" */
    int64_t limit;
    int64_t burst;
    int64_t remaining; /* whole tokens, at least 0 */
    int64_t reset_seconds;
};

/* The windows of the default buckets (empty name), or of a route with buckets of its own. */
struct admin_route_windows {
    struct slice route;
    const struct admin_window *windows;
    size_t window_count;
};

/* What one identity has; borrowed only while it is handed over. */
struct admin_buckets {
    enum {
        ADMIN_BUCKETS_FOUND,
        ADMIN_BUCKETS_NO_TIER,     /* the tier that was asked for does not exist: 400 */
        ADMIN_BUCKETS_UNAVAILABLE, /* the store did not answer: 503 */
    } outcome;
    struct slice tier;
    struct slice mode; /* "redis", "memory", "fallback" */
    const struct admin_route_windows *routes;
    size_t route_count;
};

/* An endpoint of the upstream, over all workers. */
struct admin_endpoint {
    char name[128]; /* "127.0.0.1:8000" or a path */
    uint64_t workers_ejecting;
    uint64_t connections;
    uint64_t requests;
    uint64_t failures;
};

/* What the workers know; borrowed only while it is handed over. */
#define ADMIN_SURVEY_CLIENTS   100
#define ADMIN_SURVEY_ENDPOINTS 32
struct admin_survey {
    const struct denials_client *clients; /* most refused first */
    size_t client_count;
    const struct admin_endpoint *endpoints;
    size_t endpoint_count;
};

/* A request to be explained. */
struct admin_question {
    struct slice method;
    struct slice target;
    struct slice key; /* of X-API-Key; data NULL = none */
    struct addr peer; /* who connects */
};

struct admin_call; /* the source's own record of something under way */
typedef void admin_look_fn(void *arg, const struct admin_buckets *buckets);
/* `deleted` = how many buckets, -1 = the store did not answer. */
typedef void admin_reset_fn(void *arg, int64_t deleted);

struct admin_survey_call; /* as admin_call, of a survey */
typedef void admin_survey_fn(void *arg, const struct admin_survey *survey);

struct admin_explain_call; /* likewise, of an explanation */
typedef void admin_explain_fn(void *arg, struct slice json);

/*
 * What the admin listener asks. All functions are called on its loop's thread and get `arg`;
 * those with a `call` have the now-or-later shape of base/progress.h, and `cancel` is x_cancel for
 * both. Slices are borrowed during the call only.
 */
struct admin_source {
    void *arg;
    struct metrics *metrics;
    int64_t started_ms; /* Unix */
    /* Serving, and not draining. Redis being away is no reason to say no. */
    bool (*is_ready)(void *arg);
    void (*read_gauges)(void *arg, struct metrics_gauges *gauges);
    /* The members of /api/status beside version, uptime, requests and decisions: `"store": {...},
     * "upstream": ...`, without a comma at either end. Called again with more room if it overflows.
     */
    void (*write_status)(void *arg, struct text *out);
    /* key: "user:<id>" or "ip:<address>" as the contract writes them; tier: empty = as last seen.
     */
    enum progress (*look)(void *arg,
                          struct slice key,
                          struct slice tier,
                          struct admin_buckets *buckets,
                          admin_look_fn *done,
                          void *done_arg,
                          struct admin_call **call);
    enum progress (*reset)(void *arg,
                           struct slice key,
                           int64_t *deleted,
                           admin_reset_fn *done,
                           void *done_arg,
                           struct admin_call **call);
    void (*cancel)(void *arg, struct admin_call **call);
    /* Always answers later; survey_cancel is its x_cancel. */
    void (*survey)(void *arg,
                   admin_survey_fn *done,
                   void *done_arg,
                   struct admin_survey_call **call);
    void (*survey_cancel)(void *arg, struct admin_survey_call **call);
    /* What the gateway would make of it now, charging nothing; likewise. */
    void (*explain)(void *arg,
                    const struct admin_question *question,
                    admin_explain_fn *done,
                    void *done_arg,
                    struct admin_explain_call **call);
    void (*explain_cancel)(void *arg, struct admin_explain_call **call);
};

/*
 * Serve on `fd`, a listening descriptor (owned from here on; listener_open). Options and source
 * are copied, but for what the source's pointers point to. Never NULL.
 */
struct admin *admin_create(struct loop *loop,
                           int fd,
                           const struct admin_options *options,
                           const struct admin_source *source) MUST_CHECK;
/* Close the listener and every connection at once, cancel what is pending. */
void admin_destroy(struct admin **admin);
/* Whoever watches /api/events is told that it ends, and it ends: before a drain, which it would
 * outlast. */
void admin_end_events(struct admin *admin);
/* The token after a reload ("" = none is asked for); with a new one browsers sign in again, and
 * streams end. Call from the loop's thread. */
void admin_set_token(struct admin *admin, const char *token);
