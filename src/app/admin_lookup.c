/* SPDX-License-Identifier: MIT */
/*
 * A look-up crosses threads twice. The record belongs to the worker's loop from
 * the first post to the second, and to the control loop before and after; only
 * the control loop reads `is_cancelled`, so nothing in it needs a lock. While a
 * record is under way it counts in gateway->lookup_count, and the workers
 * outlive it.
 */
#include "app/admin_lookup.h"

#include <string.h>

#include "kamiyo/base/mem.h"
#include "kamiyo/limit/bucket_table.h"
#include "kamiyo/limit/limiter.h"
#include "kamiyo/limit/limiter_shared.h"

#include "app/app_internal.h"

enum {
    MAX_ROUTES = 64
}; /* shown of one identity: the default buckets and those of routes */

struct admin_call {
    struct gateway *gateway;
    struct worker *worker;
    struct snapshot *snapshot; /* a reference: names and policies stay */
    bool is_cancelled;
    admin_look_fn *look_done;
    admin_reset_fn *reset_done; /* NULL = a look */
    void *done_arg;
    size_t key_length;
    char key[LIMIT_MAX_KEY_BYTES];
    size_t tier_length;
    char tier_name[64];

    const struct route_tier *tier;
    size_t next_route;
    struct limiter_call *limit_call;
    struct limit_decision decision;
    struct slice mode;
    int outcome; /* of enum in struct admin_buckets */
    size_t route_count;
    struct admin_route_windows routes[MAX_ROUTES];
    struct admin_window windows[MAX_ROUTES][LIMIT_MAX_WINDOWS];
    int64_t deleted;
};

static struct slice key_of(const struct admin_call *call)
{
    return (struct slice){call->key, call->key_length};
}

static bool is_user(const struct admin_call *call)
{
    return slice_starts_with(key_of(call), SLICE("user:"));
}

static void free_call(struct admin_call *call)
{
    call->gateway->lookup_count--;
    snapshot_unref(&call->snapshot);
    mem_free(call);
}

/* ---- the way back, on the control loop */

static void deliver(void *arg)
{
    struct admin_call *call = arg;
    if (!call->is_cancelled && call->reset_done != NULL) {
        call->reset_done(call->done_arg, call->deleted);
    } else if (!call->is_cancelled) {
        struct admin_buckets buckets = {.tier = call->tier != NULL ? call->tier->name : SLICE(""),
                                        .mode = call->mode,
                                        .routes = call->routes,
                                        .route_count = call->route_count};
        memcpy(&buckets.outcome, &call->outcome, sizeof(buckets.outcome));
        call->look_done(call->done_arg, &buckets);
    }
    free_call(call);
}

static void send_back(struct admin_call *call)
{
    loop_post(call->gateway->loop, deliver, call);
}

/* ---- looking, on the worker's loop */

static bool same_policy(const struct limit_policy *a, const struct limit_policy *b)
{
    if (a == NULL || a->window_count != b->window_count)
        return false;
    for (size_t i = 0; i < a->window_count; i++) {
        const struct limit_window *x = &a->windows[i], *y = &b->windows[i];
        if (x->period_ms != y->period_ms || x->limit != y->limit || x->burst != y->burst)
            return false;
    }
    return true;
}

/*
 * The tier that was asked for, else the one by which this process last decided, as its bucket
 * tells; among tiers of equal limits a user's is not the anonymous one. NULL: there is no such
 * tier.
 */
static const struct route_tier *choose_tier(const struct admin_call *call)
{
    const struct route_table *routes = call->snapshot->routes;
    const struct route_tier *usual = route_table_tier(routes, SLICE(""), is_user(call));
    struct slice wanted = {call->tier_name, call->tier_length};
    struct bucket_table *table = call->gateway->shared.limits->table;
    struct limit_policy policy;
    struct bucket_key key;
    for (size_t i = 0; wanted.length > 0 && i < route_table_tier_count(routes); i++)
        if (slice_equal(route_table_tier_at(routes, i)->name, wanted))
            return route_table_tier_at(routes, i);
    if (wanted.length > 0)
        return NULL;
    bucket_table_key(table, key_of(call), SLICE(""), &key);
    if (!is_user(call) || !bucket_table_policy(table, &key, &policy) ||
        same_policy(usual->policy, &policy))
        return usual;
    for (size_t i = 0; i < route_table_tier_count(routes); i++)
        if (same_policy(route_table_tier_at(routes, i)->policy, &policy))
            return route_table_tier_at(routes, i);
    return usual;
}

/* Keep what one peek said; the buckets of a route only if something of them is spent. */
static void
keep_levels(struct admin_call *call, const struct route *route, const struct limit_policy *policy)
{
    struct admin_window *windows = call->windows[call->route_count];
    bool is_touched = !route->has_own_tiers;
    for (size_t i = 0; i < policy->window_count; i++) {
        const struct limit_level *level = &call->decision.levels[i];
        windows[i] = (struct admin_window){
            .name = slice_of(policy->windows[i].name),
            .limit = policy->windows[i].limit,
            .burst = policy->windows[i].burst,
            .remaining = level->remaining,
            .reset_seconds = (level->full_ms + 999) / 1000,
        };
        is_touched = is_touched || level->full_ms > 0;
    }
    if (!is_touched)
        return;
    call->routes[call->route_count++] = (struct admin_route_windows){
        .route = route->has_own_tiers ? route->name : SLICE(""),
        .windows = windows,
        .window_count = policy->window_count,
    };
}

static void look_on(struct admin_call *call);

static void on_peek(void *arg, const struct limit_decision *decision)
{
    struct admin_call *call = arg;
    const struct route *route = route_table_at(call->snapshot->routes, call->next_route++);
    call->limit_call = NULL;
    call->decision = *decision;
    if (!route->has_own_tiers)
        call->mode = limit_mode_names[decision->mode];
    keep_levels(call, route, route_policy(call->snapshot->routes, route, call->tier));
    look_on(call);
}

/* Ask for the next buckets; when there are none left, answer. */
static void look_on(struct admin_call *call)
{
    const struct route_table *routes = call->snapshot->routes;
    for (; call->next_route < route_table_count(routes) && call->route_count < MAX_ROUTES;
         call->next_route++) {
        const struct route *route = route_table_at(routes, call->next_route);
        const struct limit_policy *policy = route_policy(routes, route, call->tier);
        if ((call->next_route > 0 && !route->has_own_tiers) || policy == NULL)
            continue;
        const struct limit_query query = {
            .key = key_of(call),
            .route = route->has_own_tiers ? route->name : SLICE(""),
            .policy = policy,
            .cost = 1,
        };
        if (limiter_peek(worker_limiter(call->worker), &query, &call->decision, on_peek, call,
                         &call->limit_call) == PROGRESS_PENDING)
            return;
        if (!route->has_own_tiers)
            call->mode = limit_mode_names[call->decision.mode];
        keep_levels(call, route, policy);
    }
    send_back(call);
}

static void look(void *arg)
{
    struct admin_call *call = arg;
    struct admin_buckets words;
    call->mode = limit_mode_names[LIMIT_MODE_MEMORY];
    call->tier = choose_tier(call);
    words.outcome = call->tier != NULL ? ADMIN_BUCKETS_FOUND : ADMIN_BUCKETS_NO_TIER;
    memcpy(&call->outcome, &words.outcome, sizeof(words.outcome));
    if (call->tier == NULL)
        send_back(call);
    else
        look_on(call);
}

/* ---- resetting, on the worker's loop */

static void on_reset(void *arg, int64_t deleted)
{
    struct admin_call *call = arg;
    call->deleted = deleted;
    send_back(call);
}

static void reset(void *arg)
{
    struct admin_call *call = arg;
    const struct route_table *routes = call->snapshot->routes;
    struct slice names[MAX_ROUTES];
    size_t count = 0, window_count;
    const struct slice *windows = route_table_window_names(routes, &window_count);
    for (size_t i = 0; i < route_table_count(routes) && count < MAX_ROUTES; i++)
        if (route_table_at(routes, i)->has_own_tiers)
            names[count++] = route_table_at(routes, i)->name;
    limiter_reset(worker_limiter(call->worker),
                  &(struct limit_buckets){.key = key_of(call),
                                          .routes = names,
                                          .route_count = count,
                                          .window_names = windows,
                                          .window_name_count = window_count},
                  on_reset, call);
}

/* ---- the way there */

static struct admin_call *begin(struct gateway *gateway, struct slice key, void *done_arg)
{
    struct admin_call *call = mem_alloc_zero(sizeof(*call));
    call->gateway = gateway;
    call->worker = gateway->workers[0];
    call->snapshot = snapshot_ref(gateway->snapshot);
    call->done_arg = done_arg;
    call->key_length = key.length;
    memcpy(call->key, key.data, key.length);
    gateway->lookup_count++;
    return call;
}

enum progress admin_lookup_look(void *arg,
                                struct slice key,
                                struct slice tier,
                                struct admin_buckets *buckets,
                                admin_look_fn *done,
                                void *done_arg,
                                struct admin_call **call)
{
    struct gateway *gateway = arg;
    if (key.length > LIMIT_MAX_KEY_BYTES || tier.length > sizeof((*call)->tier_name)) {
        *buckets = (struct admin_buckets){.outcome = ADMIN_BUCKETS_NO_TIER};
        return PROGRESS_DONE;
    }
    *call = begin(gateway, key, done_arg);
    (*call)->look_done = done;
    (*call)->tier_length = tier.length;
    if (tier.length > 0)
        memcpy((*call)->tier_name, tier.data, tier.length);
    worker_post(gateway->workers[0], look, *call);
    return PROGRESS_PENDING;
}

enum progress admin_lookup_reset(void *arg,
                                 struct slice key,
                                 int64_t *deleted,
                                 admin_reset_fn *done,
                                 void *done_arg,
                                 struct admin_call **call)
{
    struct gateway *gateway = arg;
    if (key.length > LIMIT_MAX_KEY_BYTES) {
        *deleted = 0;
        return PROGRESS_DONE;
    }
    *call = begin(gateway, key, done_arg);
    (*call)->reset_done = done;
    worker_post(gateway->workers[0], reset, *call);
    return PROGRESS_PENDING;
}

void admin_lookup_cancel(void *arg, struct admin_call **call)
{
    (void)arg;
    if (*call != NULL)
        (*call)->is_cancelled = true; /* it frees itself when it comes back */
    *call = NULL;
}
