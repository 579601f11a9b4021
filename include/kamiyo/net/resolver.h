/* SPDX-License-Identifier: MIT */
#pragma once

#include <stdbool.h>
#include <stdint.h>

#include "kamiyo/base/attributes.h"
#include "kamiyo/base/progress.h"
#include "kamiyo/net/addr.h"

/*
 * Names to addresses without blocking a loop: getaddrinfo on one helper thread
 * for the whole process, answers posted back to the loop that asked. IP
 * literals are answered at once. libc decides about hosts, search and order.
 */
struct loop;
struct resolver;
struct resolver_call;

#define RESOLVER_MAX_ADDRS 32

struct resolver_result {
    bool is_found;                         /* false: `reason` says why */
    char reason[96];                       /* gai_strerror's words */
    struct addr addrs[RESOLVER_MAX_ADDRS]; /* without repeats, port set */
    int count;
};

typedef void resolver_done_fn(void *arg, const struct resolver_result *result);

/* NULL when no thread can be made. */
struct resolver *resolver_create(void) MUST_CHECK;
/* Waits for the query under way, which libc bounds. All calls must be over or cancelled. */
void resolver_destroy(struct resolver **resolver);
/*
 * DONE fills *result (a literal address, with or without brackets, or a name that none can be).
 * PENDING: `done` runs on `loop`'s thread; its result is borrowed. No deadline of its own: the
 * caller cancels. Call on `loop`'s thread.
 */
enum progress resolver_resolve(struct resolver *resolver,
                               struct loop *loop,
                               const char *host,
                               uint16_t port,
                               struct resolver_result *result,
                               resolver_done_fn *done,
                               void *arg,
                               struct resolver_call **call) MUST_CHECK;
/* On the thread of the call's loop. */
void resolver_cancel(struct resolver_call **call);
