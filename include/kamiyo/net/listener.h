/* SPDX-License-Identifier: MIT */
#pragma once

#include <stdbool.h>

#include "kamiyo/base/attributes.h"
#include "kamiyo/base/error.h"
#include "kamiyo/net/addr.h"

/*
 * A listening socket on a loop. Workers each open their own on the same
 * address (SO_REUSEPORT); a unix path is opened once and its descriptor shared.
 */
struct listener;
struct loop;

/* A new connection: `fd` (non-blocking, close-on-exec) is the callee's. */
typedef void listener_accept_fn(void *arg, int fd, const struct addr *peer);

/* Shared by all workers: how many client connections there may be, and are. */
struct listener_limit {
    _Atomic long open;
    _Atomic long max; /* written before the workers start, and on a reload */
};

/*
 * Say whether the address can be bound, by binding it without SO_REUSEPORT and closing again:
 * SO_REUSEPORT alone would share a port that another process serves. *error is one clear
 * sentence, "127.0.0.1:80 is in use". A stale unix socket that nobody answers is removed.
 * Probe all addresses before the first is opened: one's own are in use as well.
 */
bool listener_probe(const struct addr_endpoint *at, struct error *error) MUST_CHECK;
/*
 * Open a listening descriptor (port 0 = any). -1 and *error on failure. The file of a unix
 * socket is the caller's to unlink in the end.
 */
int listener_open(const struct addr_endpoint *at, struct error *error) MUST_CHECK;
/* The address a descriptor listens on (with the port that was chosen). */
void listener_local_endpoint(int fd, struct addr_endpoint *endpoint);
/*
 * Accept from `fd` (owned from here on; workers that share one give each a dup). Accepted TCP
 * sockets have TCP_NODELAY. Many are accepted a turn, so a burst is one turn's
 * work but does not starve the rest. Out of descriptors (EMFILE, ENFILE) or over `limit`
 * (may be NULL): pauses and tries again each 100 ms, one debug line; nothing spins.
 */
struct listener *listener_create(struct loop *loop,
                                 int fd,
                                 struct listener_limit *limit,
                                 listener_accept_fn *on_accept,
                                 void *arg) MUST_CHECK;
/* For whoever closes a connection that was accepted under the limit. */
void listener_limit_release(struct listener_limit *limit);
/*
 * Drain: accept until the queue is empty (a close would reset what is queued), also over the
 * limit, then close. on_accept runs inside this call. In on_accept listener_destroy may be
 * called, listener_drain may not.
 */
void listener_drain(struct listener **listener);
void listener_destroy(struct listener **listener);
