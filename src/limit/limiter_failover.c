/* SPDX-License-Identifier: MIT */
/*
 * Between Redis and the table, for one worker. Redis decides while it can; the
 * moment it cannot, the table does, which has been kept at the levels that
 * Redis last told.
 *
 *            connected           probe succeeded
 *   AWAY ----------------> PROBING ----------------> UP
 *    ^                       ^  |                     |
 *    |  connection lost      |  | connection lost     | so many failures in a row: PROBING;
 *    '-----------------------+--'                     | connection lost and not made again at once:
 * AWAY
 *    '-----------------------'------------------------'
 *
 * A connection that is lost while UP is made again at once; until that attempt
 * has ended, decisions are held, each to its own deadline, and sent again once.
 *
 * A decision is a record (struct limiter_call) that outlives its caller: at the
 * deadline the table decides, and when Redis's answer comes after all, or the
 * connection ends, the record sees to it that the request is in Redis's books
 * at last: what the table granted and Redis did not charge goes to the ledger.
 */
#include <stdlib.h>
#include <string.h>
#include <sys/queue.h>

#include "kamiyo/base/attributes.h"
#include "kamiyo/base/mem.h"
#include "kamiyo/net/loop.h"
#include "kamiyo/observe/metrics.h"

#include "limit_internal.h"
#include "limit_store.h"
#include "limiter_ledger.h"
#include "limiter_presence.h"
#include "limiter_redis.h"
#include "limiter_reset.h"

/* Between two probes; with the connection's back-off (1 s) well under the 2 s of recovery. */
#define PROBE_INTERVAL_MS 200
/* A probe that was answered too late (a stopped Redis that goes on) is tried again so soon. */
#define PROBE_AGAIN_MS 20
/* How long a probe's key lives. */
#define PROBE_TTL_SECONDS "10"
/* A denial is remembered for so long at most (contract section 4). */
#define DENIAL_MEMORY_MS 1000
/* A charge or refund that Redis gets later than this goes back to the ledger. */
#define ADJUST_DEADLINE_MS 1000
/* Policies in fallback shares kept at hand. */
#define SHARE_PLACES 64
#define CALLS_KEPT   256

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
    bool was_resent;
    bool was_granted; /* by the table, after the deadline: Redis's books do not have it yet */
    bool was_refused; /* by the table, after the deadline */
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
    bool is_unconfirmed;            /* a new connection has not answered a decision yet */
    struct limiter_call_list calls; /* oldest first, held and sent ones */
    struct mem_pool pool;
    struct loop_timer probe_timer;
    struct redis_call *probe;
    int64_t probe_sent_ms;
    struct bucket_shape
        *shares[SHARE_PLACES]; /* by the whole shape's number; each with a reference */
};

/* --- the table's decisions --- */

/* The shape in which the table decides while Redis is away. */
static struct bucket_shape *
share_of(struct limiter_failover *failover, struct bucket_shape *whole, int64_t cost)
{
    int64_t share =
        failover->share > 0 ? failover->share : limit_store_instances(failover->shared->store);
    int64_t largest_cost = cost > failover->largest_cost ? cost : failover->largest_cost;
    struct bucket_shape **place = &failover->shares[whole->index % SHARE_PLACES];

    if (share == 1)
        return whole;
    if (*place != NULL && bucket_shape_is(*place, &whole->policy, share, largest_cost))
        return *place;
    if (*place != NULL)
        bucket_shape_unref(*place);
    *place = bucket_shapes_ref(bucket_table_shapes(failover->shared->table), &whole->policy, share,
                               largest_cost);
    return *place;
}

/* True: granted by the table, so that somebody owes Redis a charge. */
static bool decide_locally(struct limiter_failover *failover,
                           const struct bucket_key *key,
                           struct bucket_shape *shape,
                           int64_t cost,
                           enum limit_on_failure on_failure,
                           enum bucket_ledger ledger,
                           struct limit_decision *decision)
{
    decision->mode = LIMIT_MODE_FALLBACK;
    if (on_failure == LIMIT_ON_FAILURE_LOCAL) {
        bool allowed =
            bucket_table_take(failover->shared->table, key, share_of(failover, shape, cost), cost,
                              loop_now_ms(failover->loop), ledger, decision);

        decision->mode = LIMIT_MODE_FALLBACK;
        return allowed;
    }
    decision->outcome = on_failure == LIMIT_ON_FAILURE_ALLOW ? LIMIT_UNLIMITED : LIMIT_STORE_FAILED;
    decision->window_count = 0;
    decision->binding = 0;
    decision->wait_ms = 0;
    return false;
}

static void peek_locally(struct limiter_failover *failover,
                         const struct bucket_key *key,
                         struct bucket_shape *shape,
                         int64_t cost,
                         struct limit_decision *decision)
{
    (void)bucket_table_peek(failover->shared->table, key, share_of(failover, shape, cost), cost,
                            loop_now_ms(failover->loop), decision); /* its outcome says the same */
    decision->mode = LIMIT_MODE_FALLBACK;
}

/* --- records --- */

static struct bucket_key key_of(const struct limiter_call *call)
{
    struct bucket_key key;

    key.hash = call->hash;
    key.data = call->key;
    key.length = call->key_length + (call->route_length > 0 ? 1U + call->route_length : 0U);
    return key;
}

static void on_deadline(void *arg);

static struct limiter_call *make_call(struct limiter_failover *failover,
                                      const struct limit_ask *ask,
                                      enum bucket_script_action action,
                                      int64_t tokens)
{
    struct limiter_call *call = mem_pool_take(&failover->pool);

    call->failover = failover;
    call->done = NULL;
    call->arg = NULL;
    call->action = action;
    call->on_failure = ask->query->on_failure;
    call->shape = ask->shape;
    bucket_shape_ref(ask->shape);
    call->tokens = tokens;
    call->command = NULL;
    call->is_held = false;
    call->was_resent = false;
    call->was_granted = false;
    call->was_refused = false;
    call->hash = ask->key->hash;
    call->key_length = (uint8_t)ask->query->key.length;
    call->route_length = (uint8_t)ask->query->route.length;
    memcpy(call->key, ask->key->data, ask->key->length);
    loop_timer_init(&call->timer, on_deadline, call);
    TAILQ_INSERT_TAIL(&failover->calls, call, entry);
    return call;
}

static void free_call(struct limiter_call *call)
{
    struct limiter_failover *failover = call->failover;

    redis_client_cancel(&call->command);
    loop_timer_stop(&call->timer);
    bucket_shape_unref(call->shape);
    TAILQ_REMOVE(&failover->calls, call, entry);
    mem_pool_give(&failover->pool, call);
}

/* Tell the caller, if there is one; the record may go on. */
static void answer(struct limiter_call *call, const struct limit_decision *decision)
{
    limiter_done_fn *done = call->done;

    call->done = NULL;
    loop_timer_stop(&call->timer);
    if (done != NULL)
        done(call->arg, decision);
}

static struct limiter_redis_request request_of(const struct limiter_call *call)
{
    return (struct limiter_redis_request){
        .action = call->action,
        .deadline_ms = call->deadline_ms,
        .tokens = call->tokens,
        .key = {call->key, call->key_length},
        .route = {call->key + call->key_length + 1, call->route_length},
        .policy = &call->shape->policy,
    };
}

static void on_script_result(void *arg, const struct redis_result *result);

/* False: it cannot be sent now. */
static bool send_call(struct limiter_call *call, bool is_whole)
{
    struct limiter_failover *failover = call->failover;
    struct limiter_redis_request request = request_of(call);
    struct bucket_key key = key_of(call);

    request.is_whole = is_whole;
    call->sent_ms = loop_now_ms(failover->loop);
    call->generation = bucket_table_generation(failover->shared->table, &key);
    call->is_held = false;
    return limiter_redis_send(failover->redis, &request, on_script_result, call, &call->command) ==
           PROGRESS_PENDING;
}

/* --- breaker and state --- */

static void on_probe_timer(void *arg);

/*
 * The table answers in place of Redis. `is_uncharged`: Redis has certainly not taken these tokens
 * and will not, so the ledger has them at once; else that waits for the record's end.
 */
static void answer_locally(struct limiter_call *call, bool is_uncharged)
{
    struct limiter_failover *failover = call->failover;
    struct bucket_key key = key_of(call);
    struct limit_decision decision;

    if (call->done == NULL)
        return;
    if (call->action == BUCKET_SCRIPT_PEEK) {
        peek_locally(failover, &key, call->shape, call->tokens, &decision);
    } else {
        bool was_granted =
            decide_locally(failover, &key, call->shape, call->tokens, call->on_failure,
                           is_uncharged ? BUCKET_LEDGER_ADD : BUCKET_LEDGER_NONE, &decision);

        call->was_granted = was_granted && !is_uncharged;
        call->was_refused =
            decision.outcome == LIMIT_DENIED || decision.outcome == LIMIT_STORE_FAILED;
    }
    answer(call, &decision);
}

/* The end of a call that Redis has not charged, or of which nobody will ever know. */
static void owe(struct limiter_call *call)
{
    struct limiter_failover *failover = call->failover;
    struct bucket_key key = key_of(call);

    if (call->was_granted)
        bucket_table_add_debt(failover->shared->table, &key, call->shape, call->tokens,
                              loop_now_ms(failover->loop));
    call->was_granted = false;
}

static struct limiter_call *find_held(struct limiter_failover *failover)
{
    struct limiter_call *call;

    TAILQ_FOREACH (call, &failover->calls, entry) {
        if (call->is_held)
            return call;
    }
    return NULL;
}

/* No connection is coming any more. Looks from the start each time: a callback may cancel other
 * held calls. */
static void flush_held(struct limiter_failover *failover)
{
    struct limiter_call *call;

    while ((call = find_held(failover)) != NULL) {
        call->is_held = false;
        answer_locally(call, true);
        free_call(call);
    }
}

static void stop_services(struct limiter_failover *failover)
{
    limiter_ledger_stop(failover->ledger);
    limiter_presence_stop(failover->presence);
}

/* Redis is of no use from now on; `state` says whether there is a connection to probe. */
static void go_down(struct limiter_failover *failover,
                    enum failover_state state,
                    const struct redis_failure *failure)
{
    bool was_up = failover->state == FAILOVER_UP;

    failover->state = state;
    if (was_up)
        stop_services(failover);
    limit_store_report_down(failover->shared->store, failure, was_up);
    redis_client_cancel(&failover->probe);
    loop_timer_stop(&failover->probe_timer);
    if (state == FAILOVER_PROBING)
        loop_timer_start(failover->loop, &failover->probe_timer, PROBE_INTERVAL_MS);
    flush_held(failover);
}

static void open_if_enough(struct limiter_failover *failover, const struct redis_failure *failure)
{
    if (failover->state != FAILOVER_UP ||
        failover->timeouts_in_row + failover->write_failures_in_row < failover->breaker_failures)
        return;
    go_down(failover, redis_client_is_ready(failover->client) ? FAILOVER_PROBING : FAILOVER_AWAY,
            failure);
}

static void count_timeout(struct limiter_failover *failover)
{
    struct redis_failure failure;

    redis_failure_set(&failure, REDIS_REASON_TIMEOUT, "%s", "");
    limiter_redis_count_error(failover->redis, failure.reason);
    failover->timeouts_in_row++;
    open_if_enough(failover, &failure);
}

static void count_failure(struct limiter_failover *failover, const struct redis_failure *failure)
{
    limiter_redis_count_error(failover->redis, failure->reason);
    failover->write_failures_in_row++;
    open_if_enough(failover, failure);
}

static void count_success(struct limiter_failover *failover, bool has_written)
{
    failover->timeouts_in_row = 0;
    if (has_written)
        failover->write_failures_in_row = 0;
    if (failover->is_unconfirmed && has_written) {
        failover->is_unconfirmed = false;
        redis_client_confirm(failover->client);
    }
}

static void go_up(struct limiter_failover *failover)
{
    failover->state = FAILOVER_UP;
    failover->timeouts_in_row = 0;
    failover->write_failures_in_row = 0;
    failover->is_unconfirmed = false;
    redis_client_confirm(failover->client);
    /* Debts first: on this connection they are charged before the decisions that follow. */
    limiter_ledger_start(failover->ledger);
    limiter_presence_start(failover->presence);
    limit_store_report_up(failover->shared->store);
}

/* --- the probe --- */

static void probe_later(struct limiter_failover *failover, int64_t delay_ms)
{
    loop_timer_start(failover->loop, &failover->probe_timer, delay_ms);
}

static void on_probe_result(void *arg, const struct redis_result *result)
{
    struct limiter_failover *failover = arg;
    struct redis_failure failure;
    bool is_wrong_place = false;
    struct slice text;

    failover->probe = NULL;
    if (result->outcome != REDIS_REPLIED)
        return; /* on_down has more to say */
    redis_failure_set(&failure, REDIS_REASON_BAD_REPLY, "to a probe");
    if (redis_reply_is_error(result->reply, &text)) {
        is_wrong_place = redis_failure_from_reply(text, &failure) == REDIS_REPLY_ERROR_READ_ONLY;
    } else if (!redis_reply_is_string(result->reply, &text) || !slice_equal(text, SLICE("OK"))) {
        is_wrong_place = true; /* not Redis's answer to SET: another connection, please */
    } else if (loop_now_ms(failover->loop) - failover->probe_sent_ms > failover->timeout_ms) {
        probe_later(failover, PROBE_AGAIN_MS);
        return;
    } else {
        go_up(failover);
        return;
    }
    limiter_redis_count_error(failover->redis, failure.reason);
    limit_store_report_down(failover->shared->store, &failure, false);
    if (is_wrong_place)
        redis_client_drop(failover->client, &failure);
    else
        probe_later(failover, PROBE_INTERVAL_MS);
}

/* Nobody asks how it ended. */
static void on_removed(void *arg, const struct redis_result *result)
{
    (void)arg;
    (void)result;
}

/* A write, and its removal: a probe that succeeded leaves nothing behind. */
static bool send_probe(struct limiter_failover *failover)
{
    struct redis_call *removal = NULL;
    char key[512];
    struct slice name = limiter_redis_name(
        failover->redis, "probe:", limit_store_instance(failover->shared->store), key, sizeof(key));
    struct slice write[] = {SLICE("SET"), name, SLICE("1"), SLICE("EX"), SLICE(PROBE_TTL_SECONDS)};
    struct slice removing[] = {SLICE("DEL"), name};

    /* No deadline: a stopped Redis answers when it goes on, and a dead one is dropped by the
     * client. */
    if (redis_client_command(failover->client, write, COUNT_OF(write), 0, on_probe_result, failover,
                             &failover->probe) == PROGRESS_DONE)
        return false;
    limiter_redis_count_command(failover->redis);
    if (redis_client_command(failover->client, removing, COUNT_OF(removing), 0, on_removed,
                             failover, &removal) == PROGRESS_PENDING)
        limiter_redis_count_command(failover->redis);
    redis_client_cancel(&removal);
    return true;
}

static void on_probe_timer(void *arg)
{
    struct limiter_failover *failover = arg;

    failover->probe_sent_ms = loop_now_ms(failover->loop);
    if (!send_probe(failover))
        probe_later(failover, PROBE_INTERVAL_MS);
}

/* --- results --- */

static int64_t denial_wait(const struct limiter_call *call, const struct limiter_redis_answer *from)
{
    const struct limit_policy *policy = &call->shape->policy;
    int64_t longest_ms = 0;

    for (size_t i = 0; i < policy->window_count; i++) {
        int64_t wait_ms =
            bucket_wait(&from->buckets[i], &policy->windows[i], call->tokens, from->server_ms);

        if (wait_ms > longest_ms)
            longest_ms = wait_ms;
    }
    return longest_ms;
}

/* Redis has spoken about all windows: the table is to say the same from now on. */
static void mirror(struct limiter_call *call, const struct limiter_redis_answer *from)
{
    struct limiter_failover *failover = call->failover;
    const struct limit_policy *policy = &call->shape->policy;
    struct bucket_key key = key_of(call);
    struct bucket_mirror mirror = {.generation = call->generation};

    for (size_t i = 0; i < policy->window_count; i++) {
        int64_t ahead_ms = from->buckets[i].time_ms - from->server_ms;

        mirror.levels[i] = from->buckets[i].level - ahead_ms * policy->windows[i].units_per_ms;
    }
    if (from->status == LIMITER_REDIS_DENIED && call->action == BUCKET_SCRIPT_TAKE) {
        int64_t wait_ms = denial_wait(call, from);

        mirror.denied_cost = call->tokens;
        mirror.denied_until_ms =
            call->sent_ms + (wait_ms < DENIAL_MEMORY_MS ? wait_ms : DENIAL_MEMORY_MS);
    }
    bucket_table_mirror(failover->shared->table, &key, call->shape, &mirror,
                        loop_now_ms(failover->loop));
}

/* The table had refused what Redis charged after all: give it back. */
static void give_back(struct limiter_call *call)
{
    struct limiter_failover *failover = call->failover;
    struct limit_query query = {
        .key = {call->key, call->key_length},
        .route = {call->key + call->key_length + 1, call->route_length},
        .policy = &call->shape->policy,
        .cost = call->tokens,
    };
    struct bucket_key key = key_of(call);
    struct limit_ask ask = {
        .query = &query, .key = &key, .shape = call->shape, .now_ms = loop_now_ms(failover->loop)};

    limiter_failover_adjust(failover, &ask, -call->tokens);
}

static void use_decision(struct limiter_call *call, const struct limiter_redis_answer *from)
{
    bool allowed = from->status == LIMITER_REDIS_ALLOWED;
    struct limit_decision decision;

    count_success(call->failover, allowed && call->action != BUCKET_SCRIPT_PEEK);
    if (!allowed)
        owe(call);
    mirror(call, from);
    if (call->done != NULL) {
        bucket_describe(from->buckets, &call->shape->policy, call->tokens, from->server_ms, allowed,
                        &decision);
        decision.mode = LIMIT_MODE_REDIS;
        answer(call, &decision);
    } else if (allowed && call->was_refused) {
        give_back(call);
    }
}

/* A charge or refund that did not happen is owed. */
static void owe_adjustment(struct limiter_call *call)
{
    struct bucket_key key = key_of(call);

    if (call->action == BUCKET_SCRIPT_ADD)
        bucket_table_add_debt(call->failover->shared->table, &key, call->shape, call->tokens,
                              loop_now_ms(call->failover->loop));
}

/* True: it is under way again. */
static bool send_again(struct limiter_call *call, enum limiter_redis_status status)
{
    struct limiter_failover *failover = call->failover;

    if (call->was_resent || (call->done == NULL && call->action != BUCKET_SCRIPT_ADD))
        return false;
    if (status == LIMITER_REDIS_NO_SCRIPT) {
        call->was_resent = true;
        return send_call(call, true);
    }
    /* Held until the new connection stands; the deadline goes on. Never an adjustment: it may have
     * happened. */
    if (status == LIMITER_REDIS_LOST && call->action != BUCKET_SCRIPT_ADD &&
        failover->state == FAILOVER_UP) {
        call->was_resent = true;
        call->is_held = redis_client_is_returning(failover->client);
        return call->is_held;
    }
    return false;
}

/* No decision came of it. */
static void use_failure(struct limiter_call *call, const struct limiter_redis_answer *from)
{
    struct limiter_failover *failover = call->failover;

    switch (from->status) {
    case LIMITER_REDIS_LATE:
    case LIMITER_REDIS_NO_SCRIPT:
        owe_adjustment(call);
        owe(call);
        answer_locally(call, true);
        break;
    case LIMITER_REDIS_ODD_KEY:
        /* Nothing can ever be charged there: no debt. */
        answer_locally(call, false);
        break;
    case LIMITER_REDIS_FAILED:
    case LIMITER_REDIS_READ_ONLY:
        owe_adjustment(call);
        owe(call);
        answer_locally(call, true);
        count_failure(failover, &from->failure);
        if (from->status == LIMITER_REDIS_READ_ONLY)
            redis_client_drop(failover->client, &from->failure);
        break;
    case LIMITER_REDIS_BAD_REPLY:
        /* Replies may be one off: none of this connection is to be believed any more. */
        owe(call);
        answer_locally(call, true);
        count_failure(failover, &from->failure);
        redis_client_drop(failover->client, &from->failure);
        break;
    case LIMITER_REDIS_LOST:
        /* Perhaps charged: twice is in the documented bound, not at all is not. */
        owe(call);
        answer_locally(call, true);
        break;
    case LIMITER_REDIS_ALLOWED:
    case LIMITER_REDIS_DENIED:
        break;
    }
}

static void on_script_result(void *arg, const struct redis_result *result)
{
    struct limiter_call *call = arg;
    struct limiter_redis_request request = request_of(call);
    struct limiter_redis_answer from;

    call->command = NULL;
    limiter_redis_read(call->failover->redis, &request, result, call->sent_ms, &from);
    if (from.status == LIMITER_REDIS_ALLOWED || from.status == LIMITER_REDIS_DENIED)
        use_decision(call, &from);
    else if (send_again(call, from.status))
        return;
    else
        use_failure(call, &from);
    free_call(call);
}

/* --- calls --- */

static void on_deadline(void *arg)
{
    struct limiter_call *call = arg;
    struct limiter_failover *failover = call->failover;
    bool is_held = call->is_held;

    call->is_held = false;
    /* A held one may have been charged on the connection that was lost: it is owed all the same. */
    answer_locally(call, is_held);
    if (is_held)
        free_call(call);
    count_timeout(failover);
}

/* True: it is under way, or held for the connection that is coming. */
static bool start_call(struct limiter_call *call)
{
    struct limiter_failover *failover = call->failover;

    if (redis_client_is_ready(failover->client))
        return send_call(call, false);
    call->is_held = redis_client_is_returning(failover->client);
    return call->is_held;
}

static bool try_redis(struct limiter_failover *failover,
                      const struct limit_ask *ask,
                      enum bucket_script_action action,
                      limiter_done_fn *done,
                      void *arg,
                      struct limiter_call **handle)
{
    struct limiter_call *call;

    if (failover->state != FAILOVER_UP)
        return false;
    call = make_call(failover, ask, action, ask->query->cost);
    call->done = done;
    call->arg = arg;
    call->deadline_ms = ask->now_ms + failover->timeout_ms;
    if (!start_call(call)) {
        free_call(call);
        return false;
    }
    loop_timer_start(failover->loop, &call->timer, failover->timeout_ms);
    *handle = call;
    return true;
}

enum progress limiter_failover_check(struct limiter_failover *failover,
                                     const struct limit_ask *ask,
                                     struct limit_decision *decision,
                                     limiter_done_fn *done,
                                     void *arg,
                                     struct limiter_call **call)
{
    if (try_redis(failover, ask, BUCKET_SCRIPT_TAKE, done, arg, call))
        return PROGRESS_PENDING;
    (void)decide_locally(failover, ask->key, ask->shape, ask->query->cost, ask->query->on_failure,
                         BUCKET_LEDGER_ADD, decision); /* the ledger has it already */
    return PROGRESS_DONE;
}

enum progress limiter_failover_peek(struct limiter_failover *failover,
                                    const struct limit_ask *ask,
                                    struct limit_decision *decision,
                                    limiter_done_fn *done,
                                    void *arg,
                                    struct limiter_call **call)
{
    if (try_redis(failover, ask, BUCKET_SCRIPT_PEEK, done, arg, call))
        return PROGRESS_PENDING;
    peek_locally(failover, ask->key, ask->shape, ask->query->cost, decision);
    return PROGRESS_DONE;
}

void limiter_failover_cancel(struct limiter_call **call)
{
    struct limiter_call *self = *call;

    *call = NULL;
    self->done = NULL;
    loop_timer_stop(&self->timer);
    if (self->is_held)
        free_call(self);
}

void limiter_failover_adjust(struct limiter_failover *failover,
                             const struct limit_ask *ask,
                             int64_t tokens)
{
    struct bucket_table *table = failover->shared->table;
    struct limiter_call *call;

    if (failover->state == FAILOVER_UP && redis_client_is_ready(failover->client)) {
        call = make_call(failover, ask, BUCKET_SCRIPT_ADD, tokens);
        call->deadline_ms = ask->now_ms + ADJUST_DEADLINE_MS;
        if (send_call(call, false)) {
            bucket_table_adjust(table, ask->key, ask->shape, tokens, ask->now_ms,
                                BUCKET_LEDGER_NONE);
            return;
        }
        free_call(call);
    }
    bucket_table_adjust(table, ask->key, share_of(failover, ask->shape, 1), tokens, ask->now_ms,
                        BUCKET_LEDGER_ADD);
}

void limiter_failover_reset(struct limiter_failover *failover,
                            struct slice key,
                            const struct slice *routes,
                            size_t route_count,
                            const struct slice *window_names,
                            size_t window_name_count,
                            limiter_reset_fn *done,
                            void *arg)
{
    limiter_reset_start(failover->reset, key, routes, route_count, window_names, window_name_count,
                        done, arg);
}

/* --- the client's events --- */

static void send_held(struct limiter_failover *failover)
{
    struct limiter_call *call;

    /* Sending calls nobody back. */
    TAILQ_FOREACH (call, &failover->calls, entry) {
        if (call->is_held && !send_call(call, false)) {
            call->is_held = true; /* no room: the deadline sees to the rest */
            break;
        }
    }
}

static void on_ready(void *arg)
{
    struct limiter_failover *failover = arg;

    failover->is_unconfirmed = true;
    if (failover->state == FAILOVER_UP) {
        send_held(failover);
        return;
    }
    failover->state = FAILOVER_PROBING;
    on_probe_timer(failover);
}

static void on_down(void *arg, const struct redis_failure *failure, bool was_ready)
{
    struct limiter_failover *failover = arg;

    limiter_redis_count_error(failover->redis, failure->reason);
    if (failover->state == FAILOVER_UP && was_ready && redis_client_is_returning(failover->client))
        return;
    go_down(failover, FAILOVER_AWAY, failure);
}

static void on_round_trip(void *arg, int64_t us)
{
    struct limiter_failover *failover = arg;

    if (failover->metrics != NULL)
        metrics_observe_us(failover->metrics, METRICS_REDIS_ROUND_TRIP_SECONDS, us);
}

static const struct redis_client_handler client_handler = {
    .on_ready = on_ready,
    .on_down = on_down,
    .on_round_trip = on_round_trip,
};

/* --- life --- */

static void configure(struct limiter_failover *failover, const struct limiter_options *options)
{
    failover->timeout_ms = options->timeout_ms > 0 ? options->timeout_ms : 50;
    failover->breaker_failures = options->breaker_failures > 0 ? options->breaker_failures : 5;
    failover->share = options->fallback_share;
    failover->largest_cost = options->largest_cost > 0 ? options->largest_cost : 1;
    limiter_presence_enable(failover->presence, options->fallback_share == 0);
}

struct limiter_failover *limiter_failover_create(struct loop *loop,
                                                 const struct limiter_options *options,
                                                 struct redis_client *redis,
                                                 struct limit_shared *shared,
                                                 struct metrics_shard *metrics,
                                                 size_t worker_index)
{
    struct limiter_failover *failover = mem_alloc_zero(sizeof(*failover));

    failover->loop = loop;
    failover->shared = shared;
    failover->client = redis;
    failover->metrics = metrics;
    failover->redis = limiter_redis_create(redis, options, metrics);
    failover->ledger = limiter_ledger_create(loop, failover->redis, shared, worker_index);
    failover->presence = limiter_presence_create(loop, failover->redis, shared, worker_index == 0);
    failover->reset = limiter_reset_create(loop, failover->redis);
    TAILQ_INIT(&failover->calls);
    mem_pool_init(&failover->pool, sizeof(struct limiter_call), CALLS_KEPT);
    loop_timer_init(&failover->probe_timer, on_probe_timer, failover);
    configure(failover, options);
    limit_store_expect(shared->store);
    redis_client_start(redis, &client_handler, failover, limiter_redis_script());
    return failover;
}

void limiter_failover_configure(struct limiter_failover *failover,
                                const struct limiter_options *options)
{
    limiter_redis_configure(failover->redis, options);
    configure(failover, options);
}

void limiter_failover_destroy(struct limiter_failover **failover)
{
    struct limiter_failover *self = *failover;

    if (self == NULL)
        return;
    if (self->state == FAILOVER_UP)
        limit_store_leave(self->shared->store);
    while (!TAILQ_EMPTY(&self->calls))
        free_call(TAILQ_FIRST(&self->calls));
    redis_client_cancel(&self->probe);
    loop_timer_stop(&self->probe_timer);
    limiter_ledger_destroy(&self->ledger);
    limiter_presence_destroy(&self->presence);
    limiter_reset_destroy(&self->reset);
    limiter_redis_destroy(&self->redis);
    for (size_t i = 0; i < SHARE_PLACES; i++) {
        if (self->shares[i] != NULL)
            bucket_shape_unref(self->shares[i]);
    }
    mem_pool_clear(&self->pool);
    mem_free(self);
    *failover = NULL;
}
