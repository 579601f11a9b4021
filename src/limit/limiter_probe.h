/* SPDX-License-Identifier: MIT */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "kamiyo/base/attributes.h"
#include "kamiyo/redis/redis_failure.h"

/*
 * Whether Redis is fit to decide, asked before the breaker closes: a write of
 * <prefix>:probe:<instance> with a TTL, which is removed again; after errors
 * that the script met, a run of the script on that key too, and on as many as
 * decisions have: what a cluster refuses for two keys it may do for one.
 */
struct limit_store;
struct limiter_probe;
struct limiter_redis;
struct loop;

/*
 * reason NONE: it is. Else why not; `is_wrong_place`: another connection may lead to a better one.
 * Not called for a probe whose connection ended.
 */
typedef void limiter_probe_fn(void *arg, const struct redis_failure *failure, bool is_wrong_place);

struct limiter_probe *limiter_probe_create(struct loop *loop,
                                           struct limiter_redis *redis,
                                           const struct limit_store *store,
                                           limiter_probe_fn *done,
                                           void *arg) MUST_CHECK;
void limiter_probe_destroy(struct limiter_probe **probe);
/*
 * Ask after `delay_ms`, in place of a probe that is under way. An answer that takes longer than
 * `timeout_ms` (a stopped Redis that goes on) does not count: it is asked again. The script is run
 * for so many windows; 0 = not at all.
 */
void limiter_probe_start(struct limiter_probe *probe,
                         int64_t delay_ms,
                         int64_t timeout_ms,
                         size_t script_windows);
void limiter_probe_stop(struct limiter_probe *probe);
