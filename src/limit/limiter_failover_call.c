/* SPDX-License-Identifier: MIT */
/*
 * A decision on its way, from the question to the last that Redis says of it.
 *
 * The record (struct limiter_call) outlives its caller: at the deadline the
 * table decides, and when Redis's answer comes after all, or the connection
 * ends, the record sees to it that the request is in Redis's books at last:
 * what the table granted and Redis did not charge goes to the ledger; what the
 * table refused and Redis charged is given back.
 *
 *   sent -----> reply in time ----------> answered, mirrored
 *    |  '-----> NOSCRIPT, connection lost: once more within the deadline
 *    '--------> deadline: the table answers -----> late reply: mirrored, settled
 *   held (a connection is coming) -> sent, or deadline
 */
#include <string.h>

#include "kamiyo/base/attributes.h"

#include "limit_store.h"
#include "limiter_failover.h"
#include "limiter_ledger.h"

/* A denial is remembered for so long at most (contract section 4). */
#define DENIAL_MEMORY_MS 1000
/* A charge or refund that Redis gets later than this goes back to the ledger. */
#define ADJUST_DEADLINE_MS 1000

/* --- the table's decisions --- */

/* The shape in which the table decides while Redis is away. */
static struct bucket_shape *
share_of(struct limiter_failover *failover, struct bucket_shape *whole, int64_t cost)
{
    int64_t share =
        failover->share > 0 ? failover->share : limit_store_instances(failover->shared->store);
    int64_t largest_cost = cost > failover->largest_cost ? cost : failover->largest_cost;
    struct bucket_shape **place = &failover->shares[whole->index % LIMITER_FAILOVER_SHARES];

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

/* `ask` but for its time. */
static void peek_locally(struct limiter_failover *failover,
                         const struct limit_ask *ask,
                         struct limit_decision *decision)
{
    int64_t cost = ask->query->cost;

    if (ask->is_rehearsal && ask->query->on_failure != LIMIT_ON_FAILURE_LOCAL) {
        (void)decide_locally(failover, ask->key, ask->shape, cost, ask->query->on_failure,
                             BUCKET_LEDGER_NONE, decision); /* touches no bucket either */
        return;
    }
    (void)bucket_table_peek(failover->shared->table, ask->key, share_of(failover, ask->shape, cost),
                            cost, loop_now_ms(failover->loop),
                            ask->is_rehearsal ? BUCKET_VIEW_CHARGED : BUCKET_VIEW_PRESENT,
                            decision); /* its outcome says the same */
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
    call->is_rehearsal = ask->is_rehearsal;
    call->was_resent = false;
    call->was_granted = false;
    call->granted_ms = 0;
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

    if (failover->overdue == call)
        failover->overdue = NULL;
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

/* --- answers of the table --- */

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
        const struct limit_query query = {.cost = call->tokens, .on_failure = call->on_failure};
        const struct limit_ask ask = {&query, &key, call->shape, 0, call->is_rehearsal};

        peek_locally(failover, &ask, &decision);
    } else {
        bool was_granted =
            decide_locally(failover, &key, call->shape, call->tokens, call->on_failure,
                           is_uncharged ? BUCKET_LEDGER_ADD : BUCKET_LEDGER_NONE, &decision);

        call->was_granted = was_granted && !is_uncharged;
        call->granted_ms = loop_now_ms(failover->loop);
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
        bucket_table_add_debt(failover->shared->table, &key, call->shape, call->tokens, NULL,
                              call->granted_ms, loop_now_ms(failover->loop));
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
void limiter_failover_flush_held(struct limiter_failover *failover)
{
    struct limiter_call *call;

    while ((call = find_held(failover)) != NULL) {
        call->is_held = false;
        answer_locally(call, true);
        free_call(call);
    }
}

/* --- results --- */

/* Redis has spoken about all windows: the table is to say the same from now on. What stands in its
 * ledger leaves along with that. */
static void mirror(struct limiter_call *call, const struct limiter_redis_answer *from)
{
    struct limiter_failover *failover = call->failover;
    const struct limit_policy *policy = &call->shape->policy;
    struct bucket_key key = key_of(call);
    struct bucket_mirror mirror = {.generation = call->generation};
    struct bucket_debt debt;
    bool is_open = limiter_ledger_is_open(failover->ledger);

    for (size_t i = 0; i < policy->window_count; i++)
        mirror.levels[i] = bucket_level(&from->buckets[i], &policy->windows[i], from->server_ms);
    if (from->status == LIMITER_REDIS_DENIED && call->action == BUCKET_SCRIPT_TAKE) {
        int64_t wait_ms = bucket_longest_wait(from->buckets, policy, call->tokens, from->server_ms);

        mirror.denied_cost = call->tokens;
        mirror.denied_until_ms =
            call->sent_ms + (wait_ms < DENIAL_MEMORY_MS ? wait_ms : DENIAL_MEMORY_MS);
    }
    if (bucket_table_mirror(failover->shared->table, &key, call->shape, &mirror,
                            loop_now_ms(failover->loop), is_open ? &debt : NULL))
        limiter_ledger_charge(failover->ledger, &debt);
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

static void use_decision(struct limiter_call *call, struct limiter_redis_answer *from)
{
    bool allowed = from->status == LIMITER_REDIS_ALLOWED;
    const struct limit_policy *policy = &call->shape->policy;
    struct limit_decision decision;

    limiter_failover_count_success(call->failover,
                                   loop_now_ms(call->failover->loop) - call->sent_ms,
                                   allowed && call->action != BUCKET_SCRIPT_PEEK);
    if (!allowed)
        owe(call);
    mirror(call, from);
    if (call->done != NULL) {
        if (UNLIKELY(call->is_rehearsal && allowed)) /* the charge that did not happen */
            for (size_t i = 0; i < policy->window_count; i++)
                bucket_add(&from->buckets[i], &policy->windows[i], call->tokens);
        bucket_describe(from->buckets, policy, call->tokens, from->server_ms, allowed, &decision);
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
        bucket_table_add_debt(call->failover->shared->table, &key, call->shape, call->tokens, NULL,
                              call->granted_ms, loop_now_ms(call->failover->loop));
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

/* NOSCRIPT to the script's own text: no Redis says that. */
static void count_text_refused(struct limiter_failover *failover, size_t window_count)
{
    struct redis_failure failure;

    redis_failure_set(&failure, REDIS_REASON_BAD_REPLY, "NOSCRIPT to EVAL");
    limiter_failover_count_failure(failover, window_count, &failure);
}

/* No decision came of it. */
static void use_failure(struct limiter_call *call, const struct limiter_redis_answer *from)
{
    struct limiter_failover *failover = call->failover;
    size_t window_count = call->shape->policy.window_count;

    switch (from->status) {
    case LIMITER_REDIS_LATE:
    case LIMITER_REDIS_NO_SCRIPT:
        owe_adjustment(call);
        owe(call);
        answer_locally(call, true);
        if (from->status == LIMITER_REDIS_NO_SCRIPT && call->was_resent)
            count_text_refused(failover, window_count);
        break;
    case LIMITER_REDIS_ODD_KEY:
        /* Nothing can ever be charged there: no debt. And the store has not failed, so on_failure
         * has no say. */
        call->on_failure = LIMIT_ON_FAILURE_LOCAL;
        answer_locally(call, false);
        break;
    case LIMITER_REDIS_FAILED:
    case LIMITER_REDIS_READ_ONLY:
        owe_adjustment(call);
        owe(call);
        answer_locally(call, true);
        limiter_failover_count_failure(failover, window_count, &from->failure);
        if (from->status == LIMITER_REDIS_READ_ONLY)
            redis_client_drop(failover->client, &from->failure);
        break;
    case LIMITER_REDIS_BAD_REPLY:
        /* Replies may be one off: none of this connection is to be believed any more. */
        owe(call);
        answer_locally(call, true);
        limiter_failover_count_failure(failover, window_count, &from->failure);
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
    bool is_held;

    failover->overdue = call;
    redis_client_receive(failover->client);
    if (failover->overdue == NULL || call->done == NULL)
        return;
    failover->overdue = NULL;
    is_held = call->is_held;
    call->is_held = false;
    /* A held one may have been charged on the connection that was lost: it is owed all the same. */
    answer_locally(call, is_held);
    if (is_held)
        free_call(call);
    limiter_failover_count_timeout(failover);
}

/* True: it is under way, or held for the connection that is coming. */
static bool start_call(struct limiter_call *call)
{
    struct limiter_failover *failover = call->failover;

    if (redis_client_is_ready(failover->client) && send_call(call, false))
        return true;
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
    int64_t left_ms = failover->timeout_ms - ask->query->waited_ms;

    if (failover->state != FAILOVER_UP || left_ms <= 0)
        return false;
    call = make_call(failover, ask, action, ask->query->cost);
    call->done = done;
    call->arg = arg;
    call->deadline_ms = ask->now_ms + left_ms;
    if (!start_call(call)) {
        free_call(call);
        return false;
    }
    loop_timer_start(failover->loop, &call->timer, left_ms);
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
    peek_locally(failover, ask, decision);
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
        call->granted_ms = ask->now_ms;
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

void limiter_failover_send_held(struct limiter_failover *failover)
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

void limiter_failover_postpone(struct limiter_failover *failover)
{
    int64_t now_ms = loop_now_ms(failover->loop);
    struct limiter_call *call;

    TAILQ_FOREACH (call, &failover->calls, entry) {
        struct limiter_redis_request request;

        if (call->command == NULL || redis_client_unsent_end(call->command) == NULL)
            continue;
        call->deadline_ms += now_ms - call->sent_ms;
        call->sent_ms = now_ms;
        request = request_of(call);
        limiter_redis_set_deadline(failover->redis, &request, call->command);
        if (loop_timer_is_running(&call->timer))
            loop_timer_start(failover->loop, &call->timer, call->deadline_ms - now_ms);
    }
}

void limiter_failover_free_calls(struct limiter_failover *failover)
{
    while (!TAILQ_EMPTY(&failover->calls))
        free_call(TAILQ_FIRST(&failover->calls));
}
