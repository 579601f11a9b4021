/* SPDX-License-Identifier: MIT */
/*
 * The write-back. A debt counts tokens; what of them is still to be charged
 * differs by window: a minute's bucket that has long refilled owes nothing,
 * the day's owes all of it. The table knows, because it was charged when the
 * tokens were spent: a window owes min(debt, what it lacks of full), and
 * windows that owe alike go in one call of the script.
 *
 * At most once: a call whose end is unknown is not repeated. What Redis
 * certainly did not do goes back into the ledger. So that little ends unknown,
 * debts leave only on a connection that has just answered: one that nobody has
 * used since Redis stopped looks well, and would take them all along.
 */
#include "limiter_ledger.h"

#include <sys/queue.h>

#include "kamiyo/base/mem.h"
#include "kamiyo/limit/bucket_table.h"
#include "kamiyo/limit/limiter_shared.h"
#include "kamiyo/net/loop.h"

#include "limiter_redis.h"

/* The rate: so many debts a turn, from one on a new connection twice as many each time, a turn so
 * often while there are any; and how often to look otherwise. */
#define DEBTS_A_TURN     64
#define BUSY_INTERVAL_MS 20
#define IDLE_INTERVAL_MS 200
/* After Redis refused a charge. */
#define REFUSED_INTERVAL_MS 1000
#define SLOTS_A_TURN        4096
#define MAX_UNDER_WAY       512
/* Redis takes no charge later than this; it goes back to the ledger. */
#define CHARGE_DEADLINE_MS 1000
/* An answer vouches for the connection for so long; after that it is asked first. */
#define HEARD_FOR_MS 40

/* One debt on its way. */
struct charge {
    LIST_ENTRY(charge) entry;
    struct limiter_ledger *ledger;
    struct bucket_debt debt;
    size_t pending; /* calls without an end */
    int64_t undone; /* the most tokens of a call that was not executed */
    struct charge_call {
        struct charge *charge;
        struct redis_call *command;
        struct limit_policy policy; /* the windows that owe `tokens` */
        int64_t tokens;
        int64_t sent_ms;
        bool was_resent;
    } calls[LIMIT_MAX_WINDOWS];
};

struct limiter_ledger {
    struct loop *loop;
    struct limiter_redis *redis;
    struct limit_shared *shared;
    size_t worker_index;
    size_t shard; /* where the walk stands; one of this worker's */
    size_t cursor;
    size_t under_way;
    bool is_running;
    bool is_refused;             /* Redis did not take one: slower */
    size_t turn_debts;           /* for the next turn: what a connection that ends takes along */
    int64_t heard_ms;            /* when the connection last answered here */
    struct redis_call *question; /* whether it still does */
    struct loop_timer timer;
    LIST_HEAD(, charge) charges;
};

static void run(void *arg);

struct limiter_ledger *limiter_ledger_create(struct loop *loop,
                                             struct limiter_redis *redis,
                                             struct limit_shared *shared,
                                             size_t worker_index)
{
    struct limiter_ledger *ledger = mem_alloc_zero(sizeof(*ledger));

    ledger->loop = loop;
    ledger->redis = redis;
    ledger->shared = shared;
    ledger->worker_index = worker_index;
    ledger->shard = worker_index;
    loop_timer_init(&ledger->timer, run, ledger);
    return ledger;
}

static void free_charge(struct charge *charge)
{
    for (size_t i = 0; i < LIMIT_MAX_WINDOWS; i++)
        redis_client_cancel(&charge->calls[i].command);
    bucket_shape_unref(charge->debt.shape);
    LIST_REMOVE(charge, entry);
    charge->ledger->under_way--;
    mem_free(charge);
}

void limiter_ledger_destroy(struct limiter_ledger **ledger)
{
    struct charge *charge;

    if (*ledger == NULL)
        return;
    limiter_ledger_stop(*ledger);
    while ((charge = LIST_FIRST(&(*ledger)->charges)) != NULL)
        free_charge(charge);
    mem_free(*ledger);
    *ledger = NULL;
}

static void
key_of(const struct limiter_ledger *ledger, const struct bucket_debt *debt, struct bucket_key *key)
{
    bucket_table_key(ledger->shared->table, (struct slice){debt->key, debt->key_length},
                     (struct slice){debt->route, debt->route_length}, key);
}

/* The last call of a charge has ended. */
static void settle(struct charge *charge)
{
    struct limiter_ledger *ledger = charge->ledger;
    struct bucket_key key;

    if (charge->undone != 0) {
        key_of(ledger, &charge->debt, &key);
        bucket_table_add_debt(ledger->shared->table, &key, charge->debt.shape, charge->undone,
                              charge->debt.owed, charge->debt.taken_ms, loop_now_ms(ledger->loop));
    }
    free_charge(charge);
}

static void on_result(void *arg, const struct redis_result *result);

static struct limiter_redis_request request_of(const struct charge_call *call)
{
    const struct bucket_debt *debt = &call->charge->debt;

    return (struct limiter_redis_request){
        .action = BUCKET_SCRIPT_ADD,
        .is_whole = call->was_resent,
        .deadline_ms = call->sent_ms + CHARGE_DEADLINE_MS,
        .tokens = call->tokens,
        .key = {debt->key, debt->key_length},
        .route = {debt->route, debt->route_length},
        .policy = &call->policy,
    };
}

static bool send_call(struct charge_call *call)
{
    struct limiter_ledger *ledger = call->charge->ledger;
    struct limiter_redis_request request;

    call->sent_ms = loop_now_ms(ledger->loop);
    request = request_of(call);
    return limiter_redis_send(ledger->redis, &request, on_result, call, &call->command) ==
           PROGRESS_PENDING;
}

static void note_undone(struct charge_call *call)
{
    struct charge *charge = call->charge;
    int64_t size = call->tokens < 0 ? -call->tokens : call->tokens;
    int64_t known = charge->undone < 0 ? -charge->undone : charge->undone;

    if (size > known)
        charge->undone = call->tokens;
}

static void note_heard(struct limiter_ledger *ledger, const struct redis_result *result)
{
    if (result->outcome == REDIS_REPLIED)
        ledger->heard_ms = loop_now_ms(ledger->loop);
}

static void on_result(void *arg, const struct redis_result *result)
{
    struct charge_call *call = arg;
    struct charge *charge = call->charge;
    struct limiter_redis_request request = request_of(call);
    struct limiter_redis_answer answer;

    call->command = NULL;
    note_heard(charge->ledger, result);
    limiter_redis_read(charge->ledger->redis, &request, result, call->sent_ms, &answer);
    switch (answer.status) {
    case LIMITER_REDIS_NO_SCRIPT:
        if (!call->was_resent) {
            call->was_resent = true;
            if (send_call(call))
                return;
        }
        charge->ledger->is_refused = true;
        note_undone(call);
        break;
    case LIMITER_REDIS_FAILED:
    case LIMITER_REDIS_READ_ONLY:
        limiter_redis_count_error(charge->ledger->redis, answer.failure.reason);
        charge->ledger->is_refused = true;
        note_undone(call);
        break;
    case LIMITER_REDIS_LATE:
        note_undone(call);
        break;
    case LIMITER_REDIS_ALLOWED:
    case LIMITER_REDIS_DENIED:
    case LIMITER_REDIS_ODD_KEY: /* nothing can be charged there */
        break;
    case LIMITER_REDIS_BAD_REPLY: /* unknown: not a second time */
    case LIMITER_REDIS_LOST:      /* likewise; so little is to be under way when that goes on */
        charge->ledger->turn_debts = 1;
        break;
    }
    if (--charge->pending == 0)
        settle(charge);
}

/* One call for each amount that windows owe. */
static size_t make_calls(struct charge *charge)
{
    const struct limit_policy *policy = &charge->debt.shape->policy;
    const int64_t *owed = charge->debt.owed;
    size_t count = 0;

    for (size_t i = 0; i < policy->window_count; i++) {
        struct charge_call *call = NULL;

        if (owed[i] == 0)
            continue;
        for (size_t j = 0; j < count && call == NULL; j++) {
            if (charge->calls[j].tokens == owed[i])
                call = &charge->calls[j];
        }
        if (call == NULL) {
            call = &charge->calls[count++];
            call->charge = charge;
            call->tokens = owed[i];
        }
        call->policy.windows[call->policy.window_count++] = policy->windows[i];
    }
    return count;
}

static void begin(struct limiter_ledger *ledger, const struct bucket_debt *debt)
{
    struct charge *charge = mem_alloc_zero(sizeof(*charge));
    size_t count;

    charge->ledger = ledger;
    charge->debt = *debt;
    LIST_INSERT_HEAD(&ledger->charges, charge, entry);
    ledger->under_way++;
    count = make_calls(charge);
    for (size_t i = 0; i < count; i++) {
        if (send_call(&charge->calls[i]))
            charge->pending++;
        else
            note_undone(&charge->calls[i]);
    }
    if (charge->pending == 0)
        settle(charge);
}

/* On to this worker's next shard; false at the end of a round. */
static bool next_shard(struct limiter_ledger *ledger)
{
    ledger->cursor = 0;
    ledger->shard += ledger->shared->worker_count;
    if (ledger->shard < bucket_table_shard_count(ledger->shared->table))
        return true;
    ledger->shard = ledger->worker_index;
    return false;
}

/* Take up to `most` debts and send them; how many. */
static size_t collect(struct limiter_ledger *ledger, size_t most)
{
    struct bucket_table *table = ledger->shared->table;
    struct bucket_debt debts[DEBTS_A_TURN];
    size_t taken = 0;
    size_t rounds = 0;

    if (ledger->worker_index >= bucket_table_shard_count(table))
        return 0;
    /* Two ends of a round: one may begin in the middle. */
    for (size_t slots = 0; slots < SLOTS_A_TURN && taken < most && rounds < 2;
         slots += SLOTS_A_TURN / 4) {
        size_t count;

        while (!bucket_table_has_debt(table, ledger->shard)) {
            if (!next_shard(ledger) && ++rounds == 2)
                return taken;
        }
        count = bucket_table_collect(table, ledger->shard, &ledger->cursor, SLOTS_A_TURN / 4,
                                     loop_now_ms(ledger->loop), debts, most - taken);
        for (size_t i = 0; i < count; i++)
            begin(ledger, &debts[i]);
        taken += count;
        if (ledger->cursor == 0 && !next_shard(ledger))
            rounds++;
    }
    return taken;
}

static bool has_any_debt(const struct limiter_ledger *ledger)
{
    size_t count = bucket_table_shard_count(ledger->shared->table);

    for (size_t shard = ledger->worker_index; shard < count;
         shard += ledger->shared->worker_count) {
        if (bucket_table_has_debt(ledger->shared->table, shard))
            return true;
    }
    return false;
}

static void collect_turn(struct limiter_ledger *ledger)
{
    (void)collect(ledger, ledger->turn_debts); /* what is left decides about the next turn */
    if (ledger->turn_debts < DEBTS_A_TURN)
        ledger->turn_debts *= 2;
}

static void on_question_answered(void *arg, const struct redis_result *result)
{
    struct limiter_ledger *ledger = arg;

    ledger->question = NULL;
    note_heard(ledger, result);
    if (result->outcome == REDIS_REPLIED && ledger->is_running) {
        loop_timer_stop(&ledger->timer);
        run(ledger);
    }
}

/* Any answer will do. If none comes, the client drops the connection. */
static void ask(struct limiter_ledger *ledger)
{
    struct slice ping = SLICE("PING");

    if (ledger->question == NULL &&
        redis_client_command(limiter_redis_client(ledger->redis), &ping, 1, 0, on_question_answered,
                             ledger, &ledger->question) == PROGRESS_PENDING)
        limiter_redis_count_command(ledger->redis);
}

static void run(void *arg)
{
    struct limiter_ledger *ledger = arg;
    int64_t next_ms = IDLE_INTERVAL_MS;

    if (ledger->is_refused)
        next_ms = REFUSED_INTERVAL_MS;
    else if (ledger->under_way >= MAX_UNDER_WAY || !has_any_debt(ledger))
        next_ms = IDLE_INTERVAL_MS;
    else if (loop_now_ms(ledger->loop) - ledger->heard_ms <= HEARD_FOR_MS)
        collect_turn(ledger);
    else
        ask(ledger);
    if (!ledger->is_refused && has_any_debt(ledger))
        next_ms = BUSY_INTERVAL_MS;
    ledger->is_refused = false;
    if (ledger->is_running)
        loop_timer_start(ledger->loop, &ledger->timer, next_ms);
}

void limiter_ledger_start(struct limiter_ledger *ledger)
{
    ledger->is_running = true;
    ledger->is_refused = false;
    ledger->turn_debts = 1;
    ledger->heard_ms = loop_now_ms(ledger->loop);
    run(ledger);
}

void limiter_ledger_stop(struct limiter_ledger *ledger)
{
    ledger->is_running = false;
    loop_timer_stop(&ledger->timer);
    redis_client_cancel(&ledger->question);
}

bool limiter_ledger_is_open(const struct limiter_ledger *ledger)
{
    return ledger->is_running && !ledger->is_refused && ledger->under_way < MAX_UNDER_WAY;
}

void limiter_ledger_charge(struct limiter_ledger *ledger, const struct bucket_debt *debt)
{
    begin(ledger, debt);
}
