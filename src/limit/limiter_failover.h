/* SPDX-License-Identifier: MIT */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/queue.h>

#include "kamiyo/base/mem.h"
#include "kamiyo/net/loop.h"

#include "limit_internal.h"
#include "limiter_redis.h"

/*
 * What the two halves of limiter_failover share: limiter_failover.c knows
 * whether Redis is to be asked, limiter_failover_call.c asks it and sees each
 * call to its end.
 */
/* Policies in fallback shares kept at hand. */
#define LIMITER_FAILOVER_SHARES 64

enum failover_state {
    FAILOVER_AWAY,
    FAILOVER_PROBING,
    FAILOVER_UP
};

struct limiter_call {
    TAILQ_ENTRY(limiter_call) entry; /* in the failover's calls */
    struct limiter_failover *failover;
    limiter_done_fn *done; /* NULL = answered, or the caller is gone */
    void *arg;
    enum bucket_script_action action;
    enum limit_on_failure on_failure;
    struct bucket_shape *shape; /* a reference */
    int64_t tokens;
    int64_t sent_ms;
    int64_t deadline_ms;
    uint32_t generation;
    struct redis_call *command; /* under way in Redis */
    bool is_held;               /* waits for the connection that is coming */
    struct loop_timer timer;
    bool is_rehearsal; /* of a peek, as of struct limit_ask */
    bool was_resent;
    bool was_granted;   /* by the table, after the deadline: Redis's books do not have it yet */
    bool was_refused;   /* by the table, after the deadline */
    int64_t granted_ms; /* when the table's levels were charged with what Redis may not have */
    uint64_t hash;
    uint8_t key_length;
    uint8_t route_length;
    char key[BUCKET_TABLE_KEY_BYTES]; /* as struct bucket_key has it: key, then 0 and the route if
                                         there is one */
};

TAILQ_HEAD(limiter_call_list, limiter_call);

struct limiter_failover {
    struct loop *loop;
    struct limit_shared *shared;
    struct limiter_redis *redis;
    struct redis_client *client;
    struct metrics_shard *metrics; /* NULL = none */
    struct limiter_ledger *ledger;
    struct limiter_presence *presence;
    struct limiter_reset *reset;
    enum failover_state state;
    int64_t timeout_ms;
    int breaker_failures;
    int share; /* 1, n, or 0 = auto */
    int64_t largest_cost;
    int timeouts_in_row;            /* ended by any reply in time */
    int write_failures_in_row;      /* ended by a write that succeeded; a denial proves nothing */
    bool was_connected;             /* once at least */
    bool is_unconfirmed;            /* a new connection has not answered a decision yet */
    struct limiter_call_list calls; /* oldest first, held and sent ones */
    struct limiter_call *overdue; /* its deadline is over, and what has arrived is being taken; NULL
                                     = none, or it has an answer */
    struct mem_pool pool;
    struct limiter_probe *probe;
    size_t script_windows; /* of the widest decision that failed since Redis was last found well:
                              the probe is to run the script for as many; 0 = none has */
    struct bucket_shape
        *shares[LIMITER_FAILOVER_SHARES]; /* by the whole shape's number; each with a reference */
};

/* limiter_failover_call.c */
/* A connection stands again: send what was held for it. */
void limiter_failover_send_held(struct limiter_failover *failover);
/* Commands leave only now: their deadlines begin now. */
void limiter_failover_postpone(struct limiter_failover *failover);
/* No connection is coming any more: the table decides what was held. */
void limiter_failover_flush_held(struct limiter_failover *failover);
/* The end: no callbacks. */
void limiter_failover_free_calls(struct limiter_failover *failover);

/* limiter_failover.c */
/* A decision had no answer in time. May go down, and then calls back. */
void limiter_failover_count_timeout(struct limiter_failover *failover);
/* A decision for so many windows was answered with this error. Likewise. */
void limiter_failover_count_failure(struct limiter_failover *failover,
                                    size_t window_count,
                                    const struct redis_failure *failure);
/* A decision was answered after `took_ms`; `has_written` = and it charged, which proves that Redis
 * takes writes. What came after the timeout ends no row of timeouts: its request had given up. */
void limiter_failover_count_success(struct limiter_failover *failover,
                                    int64_t took_ms,
                                    bool has_written);
