/* SPDX-License-Identifier: MIT */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/queue.h>

#include "kamiyo/base/attributes.h"
#include "kamiyo/base/progress.h"
#include "kamiyo/base/slice.h"
#include "kamiyo/net/stream.h"
#include "kamiyo/upstream/upstream_options.h"

/*
 * Connections to the upstream, kept and lent: one pool a worker, over all
 * endpoints. The most recently used idle connection goes out first, so that
 * the rest can age and expire before the upstream closes them. Taking an idle
 * connection and giving it back costs a few pointer writes.
 *
 * While it idles a connection belongs to the pool, which drops it when
 * anything at all arrives. While it is lent its stream belongs to the borrower.
 */
struct loop;
struct metrics_shard;
struct resolver;
struct upstream_endpoint;
struct upstream_pool;
struct upstream_pool_call;

struct upstream_connection {
    struct stream stream;
    struct upstream_pool *pool;
    struct upstream_endpoint *endpoint;
    TAILQ_ENTRY(upstream_connection) entry;
    int64_t idle_since_ms;
    uint64_t request_count; /* how often it has idled; 0 = fresh from connecting */
};

enum upstream_outcome {
    UPSTREAM_CONNECTED,
    UPSTREAM_NOT_RESOLVED,    /* 502 */
    UPSTREAM_CONNECT_FAILED,  /* refused, unreachable, TLS refused: 502 */
    UPSTREAM_CONNECT_TIMEOUT, /* 504 */
    UPSTREAM_QUEUE_TIMEOUT,   /* all connections busy for too long: 503 */
    UPSTREAM_OUTCOME_COUNT,
};
/* "connected", "not_resolved", "connect_failed", "connect_timeout", "queue_timeout": for logs and
 * metrics. */
extern const char *const upstream_outcome_names[UPSTREAM_OUTCOME_COUNT];

struct upstream_pool_query {
    bool may_be_sent_twice; /* false: only a connection that was idle for less than 1 s, else a new
                               one */
    bool needs_new;         /* a new connection in any case (second try) */
};

typedef void upstream_pool_done_fn(void *arg,
                                   enum upstream_outcome outcome,
                                   struct upstream_connection *connection);

/*
 * `options` is borrowed during the call; loop, resolver and metrics (NULL = none) must outlive the
 * pool. NULL and *error for a bad URL or bad TLS files. All calls are for the loop's thread.
 */
struct upstream_pool *upstream_pool_create(struct loop *loop,
                                           struct resolver *resolver,
                                           const struct upstream_options *options,
                                           struct metrics_shard *metrics,
                                           struct error *error) MUST_CHECK;
/*
 * New options after a reload: endpoints that stay keep their connections, others go when they are
 * given back (https ones always). False and *error: everything stays as it was.
 */
bool upstream_pool_configure(struct upstream_pool *pool,
                             const struct upstream_options *options,
                             struct error *error) MUST_CHECK;
/* Closes idle connections; all lent ones must have been given back and all calls be over or
 * cancelled. Before the loop. */
void upstream_pool_destroy(struct upstream_pool **pool);
/*
 * DONE: *outcome is set, and *connection when it is CONNECTED. PENDING: `done` runs later with the
 * same. Deadlines are the pool's (connect_timeout, queue_timeout).
 */
enum progress upstream_pool_acquire(struct upstream_pool *pool,
                                    const struct upstream_pool_query *query,
                                    enum upstream_outcome *outcome,
                                    struct upstream_connection **connection,
                                    upstream_pool_done_fn *done,
                                    void *arg,
                                    struct upstream_pool_call **call) MUST_CHECK;
/* A connection on its way to this caller goes to the next in the queue, or to the pool. */
void upstream_pool_cancel(struct upstream_pool_call **call);

enum upstream_release {
    UPSTREAM_KEEP,
    UPSTREAM_CLOSE
};
/* Give back. KEEP only when the response ended in order and nothing is pending or unread. Nulls the
 * pointer. */
void upstream_pool_release(struct upstream_connection **connection, enum upstream_release release);
/* For passive health: what came of a request on this connection's endpoint. Call before the
 * release. */
void upstream_pool_report(struct upstream_connection *connection, bool is_ok);
/* Host for requests that have none: "localhost" for unix paths. Of the pool's memory. */
struct slice upstream_pool_host(const struct upstream_pool *pool);

/* An endpoint as this worker's pool sees it; the counts are since it was first resolved. */
struct upstream_endpoint_status {
    char name[128]; /* "127.0.0.1:8000" or the unix path */
    bool is_ejected;
    size_t connection_count;
    uint64_t request_count;
    uint64_t failure_count;
};
/* At most `capacity` endpoints; returns how many there are. */
size_t upstream_pool_endpoints(const struct upstream_pool *pool,
                               struct upstream_endpoint_status *endpoints,
                               size_t capacity);
