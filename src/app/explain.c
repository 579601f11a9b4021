/* SPDX-License-Identifier: MIT */
/*
 * The walk of an explanation, in the order of the contract's section 1 and of
 * proxy/admission.c, which it follows step by step without an exchange. Every
 * question is a rehearsal: no bucket and no budget is charged, no key becomes
 * known by it.
 *
 *   head ─► route ─► address ─► identity (may wait) ─► lists, places ─► limit (may wait) ─► done
 *      each may end the walk with an answer of the gateway's own
 */
#include "kamiyo/app/explain.h"

#include <string.h>

#include "kamiyo/base/mem.h"
#include "kamiyo/base/text.h"
#include "kamiyo/limit/bucket.h"
#include "kamiyo/limit/concurrency.h"
#include "kamiyo/limit/limiter.h"

#define CONCURRENCY_WAIT_MS 1000 /* what a 429 for concurrency says */

static const struct config *config_of(const struct explain *explain)
{
    return explain->parts.snapshot->config;
}

static struct slice key_of(const struct explain *explain)
{
    return (struct slice){explain->identity.key, explain->identity.key_length};
}

struct explain *explain_create(const struct explain_parts *parts,
                               const struct addr *peer,
                               struct slice method,
                               struct slice target,
                               struct slice fields)
{
    struct explain *explain = mem_alloc_zero(sizeof(*explain));
    size_t capacity = method.length + target.length + fields.length + 64;
    struct text text;

    explain->parts = *parts;
    explain->parts.snapshot = snapshot_ref(parts->snapshot);
    explain->peer = *peer;
    explain->head = mem_alloc(capacity);
    text_init(&text, explain->head, capacity);
    text_append(&text, method);
    text_append_char(&text, ' ');
    text_append(&text, target);
    text_append(&text, SLICE(" HTTP/1.1\r\n"));
    text_append(&text, fields);
    (void)text_terminate(&text); /* there is room */
    if (strcasestr(explain->head, "\r\nhost:") == NULL)
        text_append(&text, SLICE("Host: localhost\r\n"));
    text_append(&text, SLICE("\r\n"));
    explain->head_length = text.length;
    explain->method = (struct slice){explain->head, method.length};
    explain->target = (struct slice){explain->head + method.length + 1, target.length};
    return explain;
}

void explain_destroy(struct explain **explain_in)
{
    struct explain *explain = *explain_in;

    if (explain == NULL)
        return;
    *explain_in = NULL;
    identity_cancel(&explain->identity_call);
    limiter_cancel(&explain->limit_call);
    snapshot_unref(&explain->parts.snapshot);
    mem_wipe(explain->head, explain->head_length);
    mem_free(explain->head);
    mem_free(explain);
}

/* The gateway answers itself, and nothing was decided. */
static enum progress answer(struct explain *explain, int status, const char *reason)
{
    explain->status = status;
    explain->reason = reason;
    return PROGRESS_DONE;
}

static enum progress refuse(struct explain *explain, const char *window, int64_t wait_ms)
{
    explain->verdict = EXPLAIN_DENIED;
    explain->window = window;
    explain->wait_ms = wait_ms;
    explain->status = 429;
    return PROGRESS_DONE;
}

static enum progress exempt(struct explain *explain, const char *reason)
{
    explain->verdict = EXPLAIN_EXEMPT;
    explain->reason = reason;
    return PROGRESS_DONE;
}

/* ---- the limit */

static enum progress apply_decision(struct explain *explain)
{
    const struct limit_decision *decision = &explain->decision;

    switch (decision->outcome) {
    case LIMIT_ALLOWED:
        explain->verdict = EXPLAIN_ALLOWED;
        break;
    case LIMIT_UNLIMITED:
        explain->verdict = EXPLAIN_ALLOWED;
        explain->reason = "the store does not answer, and on_failure allows";
        break;
    case LIMIT_DENIED:
        (void)refuse(explain, explain->policy->windows[decision->binding].name, decision->wait_ms);
        break;
    case LIMIT_STORE_FAILED:
        explain->verdict = EXPLAIN_DENIED;
        (void)answer(explain, 503, "the store does not answer, and on_failure denies");
        break;
    }
    if (explain->route->is_shadow && explain->status != 0) {
        explain->verdict = EXPLAIN_SHADOW;
        explain->status = 0;
    }
    return PROGRESS_DONE;
}

static void decide_on_full_buckets(struct explain *explain)
{
    const struct limit_policy *policy = explain->policy;
    int64_t now_ms = explain->parts.now.wall_us / 1000;
    struct bucket buckets[LIMIT_MAX_WINDOWS];

    for (size_t i = 0; i < policy->window_count; i++)
        bucket_init(&buckets[i], &policy->windows[i], now_ms);
    (void)bucket_decide(buckets, policy, explain->route->cost, now_ms,
                        &explain->decision); /* full buckets pay every cost */
}

static void on_limit(void *arg, const struct limit_decision *decision)
{
    struct explain *explain = arg;

    explain->limit_call = NULL;
    explain->decision = *decision;
    (void)apply_decision(explain); /* the last step */
    explain->done(explain->done_arg, explain);
}

static enum progress check_limit(struct explain *explain)
{
    const struct limit_query query = {
        .key = key_of(explain),
        .route = explain->route->has_own_tiers ? explain->route->name : SLICE(""),
        .policy = explain->policy,
        .cost = explain->route->cost,
        .on_failure = explain->route->on_failure,
    };

    if (explain->parts.limiter == NULL)
        decide_on_full_buckets(explain);
    else if (limiter_rehearse(explain->parts.limiter, &query, &explain->decision, on_limit, explain,
                              &explain->limit_call) == PROGRESS_PENDING)
        return PROGRESS_PENDING;
    return apply_decision(explain);
}

/* ---- what comes before it */

static bool has_place(const struct explain *explain)
{
    const struct route *route = explain->route;

    return route->concurrency == 0 || route->is_shadow || explain->parts.concurrency == NULL ||
           concurrency_count(explain->parts.concurrency, key_of(explain), route->place) <
               (size_t)route->concurrency;
}

/* The identity is known: who may not, who need not be limited, and what limits the rest. */
static enum progress judge(struct explain *explain)
{
    const struct route_table *routes = explain->parts.snapshot->routes;
    const struct identity *identity = &explain->identity;
    bool is_user = identity->kind == IDENTITY_USER;
    struct slice user = {identity->key + 5, (size_t)identity->key_length - 5}; /* after "user:" */
    enum route_verdict verdict = ROUTE_NEITHER;

    explain->has_identity = true;
    explain->tier =
        route_table_tier(routes, (struct slice){identity->tier, identity->tier_length}, is_user);
    if (identity->has_spent_failures)
        return refuse(explain, "failures", identity->failures_wait_ms);
    if (is_user)
        verdict = route_table_judge_user(routes, user);
    if (verdict == ROUTE_DENIED)
        return answer(explain, 403, "the user is on the deny list");
    if (verdict == ROUTE_NEITHER)
        verdict = route_table_judge_addr(routes, &explain->client.addr);
    if (explain->route->is_exempt)
        return exempt(explain, "the route is not limited");
    if (verdict == ROUTE_ALLOWED)
        return exempt(explain, "the allow list has this client");
    if (!has_place(explain))
        return refuse(explain, "concurrency", CONCURRENCY_WAIT_MS);
    explain->policy = route_policy(routes, explain->route, explain->tier);
    if (explain->policy == NULL)
        return exempt(explain, "the tier is not limited");
    return check_limit(explain);
}

static void on_identity(void *arg, const struct identity *identity)
{
    struct explain *explain = arg;

    explain->identity_call = NULL;
    explain->identity = *identity;
    if (judge(explain) == PROGRESS_DONE)
        explain->done(explain->done_arg, explain);
}

static enum progress identify(struct explain *explain, enum route_verdict verdict)
{
    const struct identity_query query = {
        .request = &explain->request,
        .client = &explain->client.addr,
        .is_peer_trusted = explain->client.is_peer_trusted,
        .asks_nobody = explain->route->is_exempt || verdict == ROUTE_ALLOWED,
        .is_rehearsal = true,
        .now = &explain->parts.now,
    };

    credentials_gather(explain->parts.snapshot->identity, &explain->request.head, &explain->shown);
    if (identity_resolve(explain->parts.identity, &query, &explain->identity, on_identity, explain,
                         &explain->identity_call) == PROGRESS_PENDING)
        return PROGRESS_PENDING;
    return judge(explain);
}

/* Whether it can be parsed, and is one that the gateway passes on at all. */
static bool look_at_head(struct explain *explain)
{
    const struct client_options *client = &config_of(explain)->client;
    const struct http_limits limits = {.max_head_bytes = client->max_header_bytes,
                                       .max_target_bytes = client->max_target_bytes,
                                       .max_fields = (size_t)client->max_headers};
    struct http_request_head request = {.head.fields = explain->fields};
    struct http_parser parser;
    size_t consumed;

    http_parser_init_request(&parser, &limits, explain->spans);
    if (http_parser_request(&parser, explain->head, explain->head_length, &request, &consumed) !=
        HTTP_PARSER_HEAD) {
        (void)answer(explain, parser.error_status != 0 ? parser.error_status : 400,
                     parser.error_reason != NULL ? parser.error_reason : "malformed");
        return false;
    }
    explain->request = request;
    if (client->max_body > 0 && request.head.framing == HTTP_FRAMING_LENGTH &&
        request.head.content_length > client->max_body)
        (void)answer(explain, 413, "the body is longer than client.max_body");
    else if (request.has_bad_expectation)
        (void)answer(explain, 417, "an expectation other than 100-continue");
    else if ((slice_equal(request.method, SLICE("GET")) || request.is_head_method) &&
             slice_equal(request.path, SLICE("/_gateway/health")))
        (void)answer(explain, 200, "the gateway's own page");
    return explain->status == 0;
}

enum progress explain_start(struct explain *explain, explain_done_fn *done, void *arg)
{
    const struct route_table *routes = explain->parts.snapshot->routes;
    enum route_verdict verdict;

    explain->done = done;
    explain->done_arg = arg;
    if (!look_at_head(explain))
        return PROGRESS_DONE;
    explain->route = route_table_find(routes, &explain->request);
    client_ip_find(&config_of(explain)->client_ip, &explain->peer, &explain->request.head,
                   &explain->client);
    verdict = route_table_judge_addr(routes, &explain->client.addr);
    if (verdict == ROUTE_DENIED)
        return answer(explain, 403, "the address is on the deny list");
    return identify(explain, verdict);
}
