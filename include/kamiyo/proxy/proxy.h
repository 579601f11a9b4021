/* SPDX-License-Identifier: MIT */
#pragma once

#include <stdbool.h>
#include <stddef.h>

#include "kamiyo/base/attributes.h"
#include "kamiyo/identity/identity_options.h"
#include "kamiyo/net/addr.h"
#include "kamiyo/net/listener.h"
#include "kamiyo/proxy/proxy_options.h"
#include "kamiyo/upstream/upstream_options.h"

/*
 * The data path of one worker: clients come in, each request is answered or
 * relayed. Owns its client connections and what they share (buffers, pools);
 * borrows everything else from the worker. All calls on the loop's thread.
 */
struct access_log_shard;
struct doctor;
struct identity_chain;
struct concurrency;
struct denials;
struct limiter;
struct loop;
struct metrics_shard;
struct proxy;
struct route_table;
struct upstream_pool;

/* Options in force; borrowed, and replaced as a whole by proxy_configure. */
struct proxy_settings {
    const struct client_options *client;
    const struct reply_options *reply;
    const struct client_ip_options *client_ip;
    const struct identity_options *identity; /* for the names of the fields that are removed */
    const struct upstream_options *upstream; /* for the timeouts and bounds of responses */
};

/* The worker's other parts; each outlives the proxy. */
struct proxy_parts {
    struct loop *loop;
    struct route_table *routes; /* the proxy takes its own reference */
    struct identity_chain *identity;
    struct limiter *limiter;
    struct concurrency *concurrency;
    struct upstream_pool *upstreams;
    struct metrics_shard *metrics;
    struct access_log_shard *access_log;
    struct denials *denials;
    struct doctor *doctor;                   /* may be NULL */
    struct listener_limit *connection_limit; /* may be NULL */
};

struct proxy *proxy_create(const struct proxy_parts *parts,
                           const struct proxy_settings *settings) MUST_CHECK;
/* Options and routes of a reload. Exchanges under way keep the routes that they began with. */
void proxy_configure(struct proxy *proxy,
                     const struct proxy_settings *settings,
                     struct route_table *routes);
/* A connection that a listener accepted: `fd` is the proxy's from here on. */
void proxy_accept(struct proxy *proxy, int fd, const struct addr *peer, bool speaks_proxy_protocol);
/* From now on each connection ends with its present request; those without one are closed at once.
 */
void proxy_drain(struct proxy *proxy);
/* Client connections that are open. */
size_t proxy_client_count(const struct proxy *proxy);
/* Cut what is left. The loop must run one more turn before proxy_destroy. */
void proxy_close_all(struct proxy *proxy);
void proxy_destroy(struct proxy **proxy);
