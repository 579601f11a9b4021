/* SPDX-License-Identifier: MIT */
/* Servers and borrowers for the tests of this room; see upstream_support.h. */
#include "upstream_support.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

#include "loop_fixture.h"
#include "upstream/upstream_internal.h"

const struct upstream_pool_query upstream_support_any = {.may_be_sent_twice = true};
const struct upstream_pool_query upstream_support_once = {.may_be_sent_twice = false};
const struct upstream_pool_query upstream_support_new = {.may_be_sent_twice = true,
                                                         .needs_new = true};

static void on_accept(void *arg, int fd, const struct addr *peer)
{
    struct upstream_support_server *server = arg;

    (void)peer;
    assert_true(server->count < UPSTREAM_SUPPORT_FDS);
    server->fds[server->count++] = fd;
}

void upstream_support_server_start(struct upstream_support_server *server, struct loop *loop)
{
    struct error error;
    char name[128];
    int fd;

    *server = (struct upstream_support_server){.count = 0};
    assert_true(addr_parse_with_port(SLICE("127.0.0.1:0"), &server->at.addr));
    fd = listener_open(&server->at, &error);
    assert_true(fd >= 0);
    listener_local_endpoint(fd, &server->at);
    addr_endpoint_format(&server->at, name);
    (void)snprintf(server->url, sizeof(server->url), "http://%.40s", name);
    server->listener = listener_create(loop, fd, NULL, on_accept, server);
}

void upstream_support_server_refuse(struct upstream_support_server *server)
{
    listener_destroy(&server->listener);
}

void upstream_support_server_stop(struct upstream_support_server *server)
{
    listener_destroy(&server->listener);
    for (size_t i = 0; i < server->count; i++) {
        if (server->fds[i] >= 0)
            close(server->fds[i]);
    }
    server->count = 0;
}

void upstream_support_init(struct upstream_support *support, struct loop *loop)
{
    memset(support, 0, sizeof(*support));
    support->loop = loop;
    support->resolver = resolver_create();
    assert_non_null(support->resolver);
    support->options = (struct upstream_options){
        .urls = support->urls,
        .connect_timeout_ms = 2000,
        .idle_timeout_ms = 4000,
        .max_connections = 256,
        .queue_timeout_ms = 5000,
        .resolve_interval_ms = 10000,
        .health_interval_ms = 5000,
        .health_eject_after = 5,
        .health_eject_for_ms = 10000,
        .tls = {.verify = true},
    };
    support->now = (struct clock_time){.monotonic_us = 1000000000, .wall_us = 1};
    loop_fake_time(loop, &support->now);
}

void upstream_support_add_url(struct upstream_support *support, char *url)
{
    assert_true(support->options.url_count < 4);
    support->urls[support->options.url_count++] = url;
}

void upstream_support_open(struct upstream_support *support)
{
    struct error error;

    support->pool =
        upstream_pool_create(support->loop, support->resolver, &support->options, NULL, &error);
    assert_non_null(support->pool);
}

void upstream_support_clear(struct upstream_support *support)
{
    upstream_pool_destroy(&support->pool);
    upstream_pool_destroy(&support->pool);
    resolver_destroy(&support->resolver);
}

void upstream_support_pass_ms(struct upstream_support *support, int64_t ms)
{
    support->now.monotonic_us += ms * 1000;
    loop_fake_time(support->loop, &support->now);
    loop_run_for(support->loop, 0);
    loop_run_for(support->loop, 2); /* what follows from it */
}

static int done_total;

static void
on_done(void *arg, enum upstream_outcome outcome, struct upstream_connection *connection)
{
    struct upstream_support_borrower *borrower = arg;

    borrower->call = NULL;
    borrower->outcome = outcome;
    borrower->connection = connection;
    borrower->is_done = true;
    borrower->done_count++;
    borrower->order = done_total++;
}

void upstream_support_acquire(struct upstream_support *support,
                              const struct upstream_pool_query *query,
                              struct upstream_support_borrower *borrower)
{
    *borrower = (struct upstream_support_borrower){.call = NULL};
    borrower->progress =
        upstream_pool_acquire(support->pool, query, &borrower->outcome, &borrower->connection,
                              on_done, borrower, &borrower->call);
    assert_int_equal(borrower->done_count, 0); /* never inside the call */
    assert_true((borrower->call != NULL) == (borrower->progress == PROGRESS_PENDING));
    borrower->is_done = borrower->progress == PROGRESS_DONE;
}

void upstream_support_wait(struct upstream_support *support,
                           struct upstream_support_borrower *borrower,
                           enum upstream_outcome expected)
{
    loop_fixture_run_until(support->loop, &borrower->is_done);
    assert_string_equal(upstream_outcome_names[borrower->outcome],
                        upstream_outcome_names[expected]);
    assert_true((borrower->connection != NULL) == (expected == UPSTREAM_CONNECTED));
    assert_int_equal(borrower->done_count, borrower->progress == PROGRESS_PENDING);
}

void upstream_support_borrow(struct upstream_support *support,
                             const struct upstream_pool_query *query,
                             struct upstream_support_borrower *borrower,
                             enum upstream_outcome expected)
{
    upstream_support_acquire(support, query, borrower);
    upstream_support_wait(support, borrower, expected);
}

void upstream_support_expect_status(struct upstream_support *support,
                                    size_t idle,
                                    size_t active,
                                    size_t queued)
{
    assert_int_equal(support->pool->idle_count, idle);
    assert_int_equal(support->pool->open_count - support->pool->idle_count, active);
    assert_int_equal(support->pool->queued_count, queued);
}

size_t upstream_support_idle_count(const struct upstream_support *support)
{
    return support->pool->idle_count;
}

const struct upstream_endpoint *
upstream_support_endpoint(const struct upstream_support *support,
                          const struct upstream_support_server *server)
{
    const struct upstream_endpoint *endpoint;

    TAILQ_FOREACH (endpoint, upstream_endpoints(support->pool->upstream), entry) {
        char name[128];

        (void)addr_endpoint_format(&endpoint->at, name); /* it is terminated */
        if (strcmp(name, server->url + strlen("http://")) == 0)
            return endpoint;
    }
    fail_msg("no endpoint %s", server->url);
    return NULL;
}
