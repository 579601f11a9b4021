/* SPDX-License-Identifier: MIT */
#pragma once

#include <stdint.h>

#include "kamiyo/base/attributes.h"
#include "kamiyo/redis/redis_failure.h"

/*
 * From a host and port, or a unix path, to a connected descriptor, for
 * redis_client alone: resolve, then one address after the other, each with its
 * share of the time.
 */
struct loop;
struct redis_dial;
struct redis_url;
struct resolver;

/* fd >= 0: connected, non-blocking, the callee's; else *failure says why. Never inside
 * redis_dial_start. */
typedef void redis_dial_fn(void *arg, int fd, const struct redis_failure *failure);

/* `url` is borrowed until `done` runs or the dial is cancelled. */
struct redis_dial *redis_dial_start(struct loop *loop,
                                    struct resolver *resolver,
                                    const struct redis_url *url,
                                    int64_t timeout_ms,
                                    redis_dial_fn *done,
                                    void *arg) MUST_CHECK;
void redis_dial_cancel(struct redis_dial **dial);
