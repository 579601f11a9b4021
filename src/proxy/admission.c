/* SPDX-License-Identifier: MIT */
/*
 * May this request pass? Route, address, lists, identity, concurrency, limit,
 * in the order of the contract's section 1; each step ends in an answer, in the
 * next step, or in waiting for one of the two that may take time. What was
 * charged stands, unless the route gives it back for the final status.
 */
#include <string.h>

#include "kamiyo/identity/doctor.h"
#include "kamiyo/observe/denials.h"
#include "kamiyo/observe/metrics.h"

#include "proxy/proxy_internal.h"

static struct slice key_of(const struct exchange *exchange)
{
    return (struct slice){exchange->identity.key, exchange->identity.key_length};
}

/* The id as the lists of users and the log have it; empty for an address. */
static struct slice user_of(const struct exchange *exchange)
{
    struct slice key = key_of(exchange);
    struct slice prefix = SLICE("user:");
    if (exchange->identity.kind != IDENTITY_USER || !slice_starts_with(key, prefix))
        return SLICE("");
    return (struct slice){key.data + prefix.length, key.length - prefix.length};
}

static struct limit_query query_of(const struct exchange *exchange, int64_t cost)
{
    return (struct limit_query){
        .key = key_of(exchange),
        .route = exchange->route->has_own_tiers ? exchange->route->name : SLICE(""),
        .policy = exchange->policy,
        .cost = cost,
        .on_failure = exchange->route->on_failure,
        .waited_ms = exchange->waited_us / 1000,
    };
}

static void count_as(const struct exchange *exchange, struct slice mode, struct slice window)
{
    struct lane *lane = exchange_lane(exchange);
    if (LIKELY(lane != NULL))
        lane_count_decision(lane, exchange->verdict, mode, window);
    else
        metrics_count_decision(exchange->proxy->parts.metrics,
                               lane_verdict_names[exchange->verdict], mode, exchange->tier->name,
                               window);
}

/* Who is refused, and by which window; a failure of the store is no refusal of anybody. */
static void count_denial(const struct exchange *exchange, struct slice window)
{
    struct denials *denials = exchange->proxy->parts.denials;
    const struct lane *lane = exchange_lane(exchange);
    int64_t now_us = loop_now(exchange->proxy->loop)->monotonic_us;
    if (LIKELY(lane != NULL) &&
        LIKELY(denials_recount(denials, key_of(exchange), lane, window.data, now_us)))
        return;
    const struct denial denial = {
        .key = key_of(exchange),
        .tier = exchange->tier->name,
        .route = lane_route_name(exchange->route),
        .window = window,
        .lane = lane,
        .window_id = window.data,
    };
    denials_count(denials, &denial, now_us);
}

static void count_decision(const struct exchange *exchange)
{
    const struct limit_decision *decision = &exchange->decision;
    struct slice window = SLICE("");
    if (decision->outcome == LIMIT_DENIED && decision->binding < exchange->policy->window_count)
        window = slice_of(exchange->policy->windows[decision->binding].name);
    count_as(exchange, limit_mode_names[decision->mode], window);
    if (decision->outcome == LIMIT_DENIED && exchange->verdict == LANE_DENIED)
        count_denial(exchange, window);
}

/* A decision that no bucket made: no mode, and a window only where one of our own refuses. */
static void count_without_bucket(const struct exchange *exchange, struct slice window)
{
    count_as(exchange, SLICE(""), window);
    if (exchange->verdict == LANE_DENIED)
        count_denial(exchange, window);
}

static void apply_decision(struct exchange *exchange)
{
    const struct limit_decision *decision = &exchange->decision;
    exchange->limit_us = loop_now(exchange->proxy->loop)->monotonic_us - exchange->limit_began_us;
    metrics_observe_us(exchange->proxy->parts.metrics, METRICS_LIMIT_SECONDS, exchange->limit_us);
    exchange->was_decided = true;
    exchange->is_limited = decision->outcome == LIMIT_ALLOWED || decision->outcome == LIMIT_DENIED;
    exchange->was_charged = decision->outcome == LIMIT_ALLOWED;
    if (decision->outcome == LIMIT_DENIED || decision->outcome == LIMIT_STORE_FAILED)
        exchange->verdict = exchange->route->is_shadow ? LANE_SHADOW : LANE_DENIED;
    else
        exchange->verdict = LANE_ALLOWED;
    count_decision(exchange);

    if (decision->outcome == LIMIT_STORE_FAILED && !exchange->route->is_shadow) {
        answer_send(exchange, REPLY_STORE_UNAVAILABLE, "store_unavailable");
    } else if (decision->outcome == LIMIT_DENIED && !exchange->route->is_shadow) {
        answer_send(exchange, REPLY_RATE_LIMITED, NULL);
    } else {
        exchange_forward(exchange);
    }
}

static void on_limit(void *arg, const struct limit_decision *decision)
{
    struct exchange *exchange = arg;
    exchange->limit_call = NULL;
    exchange->decision = *decision;
    apply_decision(exchange);
}

static void check_limit(struct exchange *exchange)
{
    struct limit_query query = query_of(exchange, exchange->route->cost);
    exchange_enter(exchange, EXCHANGE_LIMIT);
    exchange->limit_began_us = loop_now(exchange->proxy->loop)->monotonic_us;
    if (limiter_check(exchange->proxy->parts.limiter, &query, &exchange->decision, on_limit,
                      exchange, &exchange->limit_call) == PROGRESS_DONE)
        apply_decision(exchange);
    else
        exchange_keep_head(exchange);
}

/* A place among the identity's requests in flight on this route; false: answered. */
static bool take_place(struct exchange *exchange)
{
    int max = exchange->route->concurrency;
    if (max == 0)
        return true;
    if (concurrency_enter(exchange->proxy->parts.concurrency, key_of(exchange),
                          exchange->route->place, max)) {
        exchange->holds_concurrency = true;
        return true;
    }
    exchange->verdict = exchange->route->is_shadow ? LANE_SHADOW : LANE_DENIED;
    count_without_bucket(exchange, SLICE("concurrency"));
    if (exchange->route->is_shadow)
        return true;
    answer_send_limited(exchange, SLICE("concurrency"), max, 1000);
    return false;
}

static void pass_exempt(struct exchange *exchange)
{
    exchange->verdict = LANE_EXEMPT;
    count_without_bucket(exchange, SLICE(""));
    exchange_forward(exchange);
}

/* The identity is known: who may not, who need not be limited, and what limits the rest. */
static void judge(struct exchange *exchange)
{
    const struct identity *identity = &exchange->identity;
    const struct route_table *routes = exchange->routes->table;
    bool is_user = identity->kind == IDENTITY_USER;
    exchange->tier =
        route_table_tier(routes, (struct slice){identity->tier, identity->tier_length}, is_user);
    if (LIKELY(exchange->routes == exchange->proxy->routes))
        exchange->lane = lane_find(&exchange->proxy->lanes, exchange->route, exchange->tier);
    if (identity->has_spent_failures) {
        exchange->verdict = LANE_DENIED;
        count_without_bucket(exchange, SLICE("failures"));
        answer_send_limited(exchange, SLICE("failures"), identity->failures_limit,
                            identity->failures_wait_ms);
        return;
    }
    enum route_verdict verdict =
        is_user ? route_table_judge_user(routes, user_of(exchange)) : ROUTE_NEITHER;
    if (verdict == ROUTE_DENIED) {
        answer_send(exchange, REPLY_FORBIDDEN, "denied_user");
        return;
    }
    if (verdict == ROUTE_NEITHER)
        verdict = route_table_judge_addr(routes, &exchange->client_ip.addr);
    exchange->policy =
        verdict == ROUTE_ALLOWED ? NULL : route_policy(routes, exchange->route, exchange->tier);
    if (exchange->route->is_exempt || verdict == ROUTE_ALLOWED) {
        pass_exempt(exchange);
    } else if (take_place(exchange)) {
        if (exchange->policy != NULL) {
            check_limit(exchange);
            return;
        }
        pass_exempt(exchange); /* an unlimited tier */
    }
}

static void on_identity(void *arg, const struct identity *identity)
{
    struct exchange *exchange = arg;
    exchange->identity_call = NULL;
    /* The limiter's answer comes out of the same redis.timeout. */
    exchange->waited_us = loop_now(exchange->proxy->loop)->monotonic_us - exchange->began_us;
    exchange->identity = *identity;
    judge(exchange);
}

void admission_begin(struct exchange *exchange)
{
    struct proxy *proxy = exchange->proxy;
    const struct http_request_head *request = exchange->request;
    exchange->route = route_table_find(exchange->routes->table, request);
    client_ip_find(proxy->settings.client_ip, &exchange->client->peer, &request->head,
                   &exchange->client_ip);
    if (exchange->client_ip.has_untrusted_fields)
        metrics_add(proxy->parts.metrics, METRICS_UNTRUSTED_FORWARDING, 1);
    if (exchange->client_ip.is_chain_short)
        metrics_add(proxy->parts.metrics, METRICS_SHORT_CHAINS, 1);
    if (proxy->parts.doctor != NULL)
        doctor_observe(proxy->parts.doctor, proxy->settings.client_ip, &exchange->client->peer,
                       &request->head, &exchange->client_ip,
                       loop_now(proxy->loop)->monotonic_us / 1000);
    enum route_verdict verdict =
        route_table_judge_addr(exchange->routes->table, &exchange->client_ip.addr);
    if (verdict == ROUTE_DENIED) {
        answer_send(exchange, REPLY_FORBIDDEN, "denied_address");
        return;
    }
    const struct identity_query query = {
        .request = request,
        .client = &exchange->client_ip.addr,
        .is_peer_trusted = exchange->client_ip.is_peer_trusted,
        .asks_nobody = exchange->route->is_exempt || verdict == ROUTE_ALLOWED,
        .now = loop_now(proxy->loop),
    };
    exchange_enter(exchange, EXCHANGE_IDENTITY);
    if (identity_resolve(proxy->parts.identity, &query, &exchange->identity, on_identity, exchange,
                         &exchange->identity_call) == PROGRESS_DONE)
        judge(exchange);
    else
        exchange_keep_head(exchange);
}

void admission_cancel(struct exchange *exchange)
{
    if (exchange->identity_call != NULL)
        identity_cancel(&exchange->identity_call);
    if (exchange->limit_call != NULL)
        limiter_cancel(&exchange->limit_call);
    if (exchange->holds_concurrency) {
        exchange->holds_concurrency = false;
        concurrency_leave(exchange->proxy->parts.concurrency, key_of(exchange),
                          exchange->route->place);
    }
}

void admission_settle(struct exchange *exchange)
{
    if (!exchange->was_charged)
        return;
    exchange->was_charged = false;
    if (route_refunds(exchange->routes->table, exchange->route, exchange->status)) {
        struct limit_query query = query_of(exchange, exchange->route->cost);
        limiter_refund(exchange->proxy->parts.limiter, &query);
    } else if (exchange->cost_after > 0) {
        struct limit_query query = query_of(exchange, exchange->cost_after);
        limiter_charge(exchange->proxy->parts.limiter, &query);
    }
}
