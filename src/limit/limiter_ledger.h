/* SPDX-License-Identifier: MIT */
#pragma once

#include <stdbool.h>
#include <stddef.h>

#include "kamiyo/base/attributes.h"

/*
 * Charging Redis with what was spent while it was away: one worker's shards
 * of the table's ledger, at a bounded rate, each debt at most once; and the
 * debt of a bucket that Redis speaks of just now, whosever shard it is in.
 */
struct bucket_debt;
struct limit_shared;
struct limiter_ledger;
struct limiter_redis;
struct loop;

struct limiter_ledger *limiter_ledger_create(struct loop *loop,
                                             struct limiter_redis *redis,
                                             struct limit_shared *shared,
                                             size_t worker_index) MUST_CHECK;
void limiter_ledger_destroy(struct limiter_ledger **ledger);
/* Redis takes charges from now on; the first leave at once. */
void limiter_ledger_start(struct limiter_ledger *ledger);
void limiter_ledger_stop(struct limiter_ledger *ledger);
/* Whether a debt may be handed over now. */
bool limiter_ledger_is_open(const struct limiter_ledger *ledger);
/* Charge this one at once: on a connection that has just answered. Takes the shape's reference. */
void limiter_ledger_charge(struct limiter_ledger *ledger, const struct bucket_debt *debt);
