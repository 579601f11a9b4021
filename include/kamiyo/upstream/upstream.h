/* SPDX-License-Identifier: MIT */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/queue.h>

#include "kamiyo/base/attributes.h"
#include "kamiyo/base/error.h"
#include "kamiyo/base/slice.h"
#include "kamiyo/net/addr.h"
#include "kamiyo/upstream/upstream_options.h"

/*
 * The endpoints of the upstream as one worker sees them: which addresses the
 * configured URLs stand for, which of them are well, and which is next. It
 * opens no connection; upstream_pool and upstream_health do.
 *
 * Names are asked again every resolve_interval and the last good answer is
 * kept. The next endpoint is the one with the fewest connections in use; among
 * equals, the one that was chosen longest ago. One that fails eject_after
 * times in a row is left out for eject_for, then tried again: its next failure
 * ejects it anew, a success clears it. The last usable endpoint is never
 * ejected.
 *
 * All calls are for the loop's thread.
 */
struct loop;
struct resolver;
struct ssl_st;
struct upstream;
struct upstream_connection;
struct upstream_source; /* one URL */

TAILQ_HEAD(upstream_connection_list, upstream_connection);

struct upstream_endpoint {
    TAILQ_ENTRY(upstream_endpoint) entry;
    struct upstream *upstream;
    struct upstream_source *source; /* NULL = gone: neither resolved nor configured any more */
    struct addr_endpoint at;
    size_t ref_count;
    struct upstream_connection_list
        idle; /* the pool's, as are both counts; the last used is first */
    size_t idle_count;
    size_t active_count; /* lent, or being connected */
    uint64_t request_count;
    uint64_t failure_count;
    int failures_in_row;
    int64_t ejected_until_ms; /* monotonic; 0 = not ejected */
};

TAILQ_HEAD(upstream_endpoint_list, upstream_endpoint);

struct upstream_handler {
    /* Endpoints came, or the asking has failed: whoever waits for one may look again. From the
     * loop. */
    void (*on_change)(void *arg);
    /* The endpoint goes when its last reference does; no new connections to it. May run in
     * upstream_configure. */
    void (*on_gone)(struct upstream_endpoint *endpoint, void *arg);
};

/* Begins to resolve. `options` is borrowed during the call. NULL and *error for a bad URL or bad
 * TLS files. */
struct upstream *upstream_create(struct loop *loop,
                                 struct resolver *resolver,
                                 const struct upstream_options *options,
                                 const struct upstream_handler *handler,
                                 void *arg,
                                 struct error *error) MUST_CHECK;
/*
 * New options: http and unix URLs that stay keep their endpoints, https ones begin anew, because
 * what is trusted may have changed. Nothing changes on failure.
 */
bool upstream_configure(struct upstream *upstream,
                        const struct upstream_options *options,
                        struct error *error) MUST_CHECK;
/* All references to endpoints must be given back. */
void upstream_destroy(struct upstream **upstream);

/* The next endpoint, none of `tried`, or NULL. Counts nothing. */
struct upstream_endpoint *upstream_choose(struct upstream *upstream,
                                          struct upstream_endpoint *const *tried,
                                          size_t tried_count);
/* Whether an answer is awaited that may bring endpoints. */
bool upstream_is_resolving(const struct upstream *upstream);
/* What came of a connection attempt, a request or a probe. */
void upstream_endpoint_report(struct upstream_endpoint *endpoint, bool is_ok);
bool upstream_endpoint_is_ejected(const struct upstream_endpoint *endpoint);
/* Whether connections to it speak TLS. Not for one that is gone. */
bool upstream_endpoint_is_tls(const struct upstream_endpoint *endpoint);
/* An SSL for stream_start_tls. NULL and *error on failure. Not for one that is gone. */
struct ssl_st *upstream_endpoint_new_tls(struct upstream_endpoint *endpoint,
                                         struct error *error) MUST_CHECK;
/* What to send as Host to it: its URL's authority. Not for one that is gone. */
struct slice upstream_endpoint_authority(const struct upstream_endpoint *endpoint);
struct upstream_endpoint *upstream_endpoint_ref(struct upstream_endpoint *endpoint);
void upstream_endpoint_unref(struct upstream_endpoint **endpoint);
/* For walking through them (TAILQ_FOREACH over `entry`); choosing changes the order. */
struct upstream_endpoint_list *upstream_endpoints(struct upstream *upstream);
/* The authority of the first URL. */
struct slice upstream_authority(const struct upstream *upstream);
