/* SPDX-License-Identifier: MIT */
#pragma once

#include <stdbool.h>
#include <stddef.h>

#include "kamiyo/net/listener.h"
#include "kamiyo/net/loop.h"
#include "kamiyo/net/resolver.h"
#include "kamiyo/upstream/upstream.h"
#include "kamiyo/upstream/upstream_pool.h"

/* Servers, a pool and borrowers for tests of the upstream room, on one loop with a clock of the
 * test's. */
#define UPSTREAM_SUPPORT_FDS 64

struct upstream_support_server {
    struct listener *listener;
    struct addr_endpoint at;
    char url[64];
    int fds[UPSTREAM_SUPPORT_FDS]; /* accepted, in order; -1 = closed */
    size_t count;
};

void upstream_support_server_start(struct upstream_support_server *server, struct loop *loop);
/* Nobody listens any more; what was accepted stays. */
void upstream_support_server_refuse(struct upstream_support_server *server);
void upstream_support_server_stop(struct upstream_support_server *server);

struct upstream_support {
    struct loop *loop;
    struct resolver *resolver;
    struct upstream_pool *pool;
    struct upstream_options options;
    char *urls[4];
    struct clock_time now;
};

/* Contract defaults, no URL yet; the clock stands still from here on. */
void upstream_support_init(struct upstream_support *support, struct loop *loop);
void upstream_support_add_url(struct upstream_support *support, char *url);
void upstream_support_open(struct upstream_support *support);
void upstream_support_clear(struct upstream_support *support);
void upstream_support_pass_ms(struct upstream_support *support, int64_t ms);

/* Somebody who wants a connection. */
struct upstream_support_borrower {
    struct upstream_pool_call *call;
    struct upstream_connection *connection;
    enum upstream_outcome outcome;
    enum progress progress;
    bool is_done;
    int done_count;
    int order; /* who was called back before: 0 = the first */
};

extern const struct upstream_pool_query upstream_support_any;
extern const struct upstream_pool_query upstream_support_once; /* may not be sent twice */
extern const struct upstream_pool_query upstream_support_new;

void upstream_support_acquire(struct upstream_support *support,
                              const struct upstream_pool_query *query,
                              struct upstream_support_borrower *borrower);
/* Acquire, wait for the outcome and expect it. */
void upstream_support_borrow(struct upstream_support *support,
                             const struct upstream_pool_query *query,
                             struct upstream_support_borrower *borrower,
                             enum upstream_outcome expected);
void upstream_support_wait(struct upstream_support *support,
                           struct upstream_support_borrower *borrower,
                           enum upstream_outcome expected);
void upstream_support_expect_status(struct upstream_support *support,
                                    size_t idle,
                                    size_t active,
                                    size_t queued);
size_t upstream_support_idle_count(const struct upstream_support *support);
/* The pool's endpoint at the server's address; there must be one. */
const struct upstream_endpoint *
upstream_support_endpoint(const struct upstream_support *support,
                          const struct upstream_support_server *server);
