/* SPDX-License-Identifier: MIT */
#pragma once

#include <stdbool.h>
#include <stddef.h>

#include "kamiyo/app/snapshot.h"
#include "kamiyo/base/attributes.h"
#include "kamiyo/base/error.h"
#include "kamiyo/identity/doctor.h"
#include "kamiyo/net/listener.h"
#include "kamiyo/net/loop.h"

/*
 * One thread of the data path: its loop, listeners, clients, upstream pool,
 * limiter, identity chain and shards. The gateway makes workers, tells them
 * what to do by posting to their loops, and joins them.
 */
struct access_log;
struct concurrency;
struct denials_client;
struct explain_parts;
struct limit_shared;
struct limiter;
struct metrics;
struct redis_shared;
struct resolver;
struct upstream_endpoint_status;
struct worker;

/* What the workers share; outlives them. */
struct worker_shared {
    struct limit_shared *limits;
    struct concurrency *concurrency;
    struct metrics *metrics;
    struct access_log *access_log;
    struct resolver *resolver;
    struct redis_shared *redis; /* NULL = none configured, or its URL cannot be used */
    struct listener_limit connections;
    struct doctor_gates doctor;
};

/* A listening descriptor on its way to a worker. */
struct worker_listen {
    int fd;
    bool speaks_proxy_protocol;
};

/* NULL and *error when something of it cannot be made. Its thread does not run yet. */
struct worker *worker_create(size_t index,
                             struct worker_shared *shared,
                             struct snapshot *snapshot,
                             struct error *error) MUST_CHECK;
bool worker_start(struct worker *worker, struct error *error) MUST_CHECK;
/* Accept from these from now on; the descriptors are the worker's. Any thread. */
void worker_listen(struct worker *worker, const struct worker_listen *listens, size_t count);
/* Go on with another configuration. Any thread. */
void worker_configure(struct worker *worker, struct snapshot *snapshot);
/* Stop accepting, let exchanges end; `done(arg)` is posted to `to` once no client is left. Any
 * thread. */
void worker_drain(struct worker *worker, struct loop *to, loop_task_fn *done, void *arg);
/* End the loop with whatever is left, wait for the thread, free everything. */
void worker_destroy(struct worker **worker);
/* Run `run(arg)` on the worker's thread. Any thread. */
void worker_post(struct worker *worker, loop_task_fn *run, void *arg);

/* For use on the worker's own thread only. */
struct limiter *worker_limiter(struct worker *worker);
/* What an explanation asks of this worker: as it decides at present. */
void worker_bring_parts(struct worker *worker, struct explain_parts *parts);
/* Who is refused most (denials_top), at most `max`; the number written. */
size_t worker_list_denied(struct worker *worker, struct denials_client *clients, size_t max);
/* The upstream's endpoints as this worker sees them, at most `max`; the number written. */
size_t worker_list_endpoints(struct worker *worker,
                             struct upstream_endpoint_status *endpoints,
                             size_t max);
