/* SPDX-License-Identifier: MIT */
/*
 * Endpoints: a source for each URL asks the resolver and keeps what was last
 * answered; the list of all endpoints stands in the order in which they were
 * last chosen, so that the first of the least busy is the one whose turn it is.
 *
 * An endpoint that is no longer named leaves the list at once and is freed
 * with its last connection.
 */
#include "kamiyo/upstream/upstream.h"

#include <assert.h>
#include <string.h>

#include "kamiyo/base/mem.h"
#include "kamiyo/net/loop.h"
#include "kamiyo/net/resolver.h"
#include "kamiyo/net/tls.h"
#include "kamiyo/upstream/upstream_url.h"

/* How soon a name that has never been resolved is asked again. */
#define RETRY_MS 1000

struct upstream_source {
    TAILQ_ENTRY(upstream_source) entry;
    struct upstream *upstream;
    struct upstream_url url;
    struct resolver_call *call;
    bool is_literal; /* an address or a path: never asked again */
    bool is_known;   /* has been resolved at least once */
};

TAILQ_HEAD(upstream_source_list, upstream_source);

struct upstream {
    struct loop *loop;
    struct resolver *resolver;
    const struct upstream_handler *handler;
    void *arg;
    struct upstream_source_list sources;
    struct upstream_endpoint_list endpoints;
    struct tls_client *tls; /* NULL = no source needs it */
    struct loop_timer resolve_timer;
    int64_t resolve_interval_ms;
    int eject_after;
    int64_t eject_for_ms;
};

/* --- endpoints --- */

struct upstream_endpoint *upstream_endpoint_ref(struct upstream_endpoint *endpoint)
{
    endpoint->ref_count++;
    return endpoint;
}

void upstream_endpoint_unref(struct upstream_endpoint **endpoint_pointer)
{
    struct upstream_endpoint *endpoint = *endpoint_pointer;

    if (endpoint == NULL)
        return;
    *endpoint_pointer = NULL;
    assert(endpoint->ref_count > 0);
    if (--endpoint->ref_count == 0)
        mem_free(endpoint);
}

static void add_endpoint(struct upstream_source *source, const struct addr_endpoint *at)
{
    struct upstream_endpoint *endpoint = mem_alloc_zero(sizeof(*endpoint));

    endpoint->upstream = source->upstream;
    endpoint->source = source;
    endpoint->at = *at;
    endpoint->ref_count = 1; /* the list's */
    TAILQ_INIT(&endpoint->idle);
    TAILQ_INSERT_HEAD(&source->upstream->endpoints, endpoint, entry);
}

static void remove_endpoint(struct upstream *upstream, struct upstream_endpoint *endpoint)
{
    TAILQ_REMOVE(&upstream->endpoints, endpoint, entry);
    endpoint->source = NULL;
    upstream->handler->on_gone(endpoint, upstream->arg);
    upstream_endpoint_unref(&endpoint);
}

static bool is_usable(const struct upstream_endpoint *endpoint, int64_t now_ms)
{
    return endpoint->ejected_until_ms <= now_ms;
}

static bool is_tried(const struct upstream_endpoint *endpoint,
                     struct upstream_endpoint *const *tried,
                     size_t tried_count)
{
    for (size_t i = 0; i < tried_count; i++) {
        if (tried[i] == endpoint)
            return true;
    }
    return false;
}

struct upstream_endpoint *upstream_choose(struct upstream *upstream,
                                          struct upstream_endpoint *const *tried,
                                          size_t tried_count)
{
    int64_t now_ms = loop_now_ms(upstream->loop);
    struct upstream_endpoint *best = NULL;
    struct upstream_endpoint *endpoint;
    bool is_best_usable = false;

    TAILQ_FOREACH (endpoint, &upstream->endpoints, entry) {
        bool is_better = best == NULL || endpoint->active_count < best->active_count;
        bool usable = is_usable(endpoint, now_ms);

        if (is_tried(endpoint, tried, tried_count) || (is_best_usable && !usable))
            continue;
        if (is_better ||
            (usable && !is_best_usable)) { /* an ejected one only where there is no other */
            best = endpoint;
            is_best_usable = usable;
        }
    }
    if (best != NULL && TAILQ_NEXT(best, entry) != NULL) {
        TAILQ_REMOVE(&upstream->endpoints, best, entry);
        TAILQ_INSERT_TAIL(&upstream->endpoints, best, entry);
    }
    return best;
}

void upstream_endpoint_report(struct upstream_endpoint *endpoint, bool is_ok)
{
    struct upstream *upstream = endpoint->upstream;
    const struct upstream_endpoint *other;
    int64_t now_ms;

    if (is_ok) {
        endpoint->failures_in_row = 0;
        endpoint->ejected_until_ms = 0;
        return;
    }
    endpoint->failure_count++;
    endpoint->failures_in_row++;
    if (endpoint->source == NULL || upstream->eject_after <= 0 ||
        endpoint->failures_in_row < upstream->eject_after)
        return;
    now_ms = loop_now_ms(upstream->loop);
    TAILQ_FOREACH (other, &upstream->endpoints, entry) {
        if (other != endpoint && is_usable(other, now_ms)) {
            endpoint->ejected_until_ms = now_ms + upstream->eject_for_ms;
            return;
        }
    }
}

bool upstream_endpoint_is_ejected(const struct upstream_endpoint *endpoint)
{
    return !is_usable(endpoint, loop_now_ms(endpoint->upstream->loop));
}

bool upstream_endpoint_is_tls(const struct upstream_endpoint *endpoint)
{
    return endpoint->source->url.is_tls;
}

struct ssl_st *upstream_endpoint_new_tls(struct upstream_endpoint *endpoint, struct error *error)
{
    return tls_client_new(endpoint->upstream->tls, endpoint->source->url.host, error);
}

struct slice upstream_endpoint_authority(const struct upstream_endpoint *endpoint)
{
    return slice_of(endpoint->source->url.authority);
}

struct upstream_endpoint_list *upstream_endpoints(struct upstream *upstream)
{
    return &upstream->endpoints;
}

struct slice upstream_authority(const struct upstream *upstream)
{
    return slice_of(TAILQ_FIRST(&upstream->sources)->url.authority);
}

/* --- names --- */

static bool has_addr(const struct resolver_result *result, const struct addr *addr)
{
    for (int i = 0; i < result->count; i++) {
        if (addr_equal(&result->addrs[i], addr))
            return true;
    }
    return false;
}

static bool source_has(const struct upstream_source *source, const struct addr *addr)
{
    const struct upstream_endpoint *endpoint;

    TAILQ_FOREACH (endpoint, &source->upstream->endpoints, entry) {
        if (endpoint->source == source && addr_equal(&endpoint->at.addr, addr))
            return true;
    }
    return false;
}

static void take_answer(struct upstream_source *source, const struct resolver_result *result)
{
    struct upstream *upstream = source->upstream;
    struct upstream_endpoint *endpoint = TAILQ_FIRST(&upstream->endpoints);

    if (!result->is_found)
        return; /* the last good answer stays */
    source->is_known = true;
    for (int i = result->count - 1; i >= 0; i--) { /* each goes first, so libc's order results */
        const struct addr_endpoint at = {.addr = result->addrs[i]};

        if (!source_has(source, &at.addr))
            add_endpoint(source, &at);
    }
    while (endpoint != NULL) {
        struct upstream_endpoint *next = TAILQ_NEXT(endpoint, entry);

        if (endpoint->source == source && !has_addr(result, &endpoint->at.addr))
            remove_endpoint(upstream, endpoint);
        endpoint = next;
    }
}

static void on_resolved(void *arg, const struct resolver_result *result)
{
    struct upstream_source *source = arg;

    source->call = NULL;
    take_answer(source, result);
    source->upstream->handler->on_change(source->upstream->arg);
}

static void ask(struct upstream_source *source)
{
    struct resolver_result result;

    if (source->is_literal || source->call != NULL)
        return;
    if (source->url.unix_path[0] != '\0') {
        struct addr_endpoint at = {.addr = {.family = ADDR_UNIX}};

        memcpy(at.unix_path, source->url.unix_path, sizeof(at.unix_path));
        add_endpoint(source, &at);
        source->is_literal = true;
        source->is_known = true;
    } else if (resolver_resolve(source->upstream->resolver, source->upstream->loop,
                                source->url.host, source->url.port, &result, on_resolved, source,
                                &source->call) == PROGRESS_DONE) {
        source->is_literal = true;
        take_answer(source, &result);
    }
}

static void start_resolve_timer(struct upstream *upstream)
{
    const struct upstream_source *source;
    bool has_names = false;
    bool has_unknown = false;

    TAILQ_FOREACH (source, &upstream->sources, entry) {
        has_names = has_names || !source->is_literal;
        has_unknown = has_unknown || !source->is_known;
    }
    if (has_unknown &&
        (upstream->resolve_interval_ms == 0 || upstream->resolve_interval_ms > RETRY_MS))
        loop_timer_start(upstream->loop, &upstream->resolve_timer, RETRY_MS);
    else if (has_names && upstream->resolve_interval_ms > 0)
        loop_timer_start(upstream->loop, &upstream->resolve_timer, upstream->resolve_interval_ms);
    else
        loop_timer_stop(&upstream->resolve_timer);
}

static void resolve_all(void *arg)
{
    struct upstream *upstream = arg;
    struct upstream_source *source;

    TAILQ_FOREACH (source, &upstream->sources, entry) {
        if (upstream->resolve_interval_ms > 0 || !source->is_known)
            ask(source);
    }
    start_resolve_timer(upstream);
}

bool upstream_is_resolving(const struct upstream *upstream)
{
    const struct upstream_source *source;

    TAILQ_FOREACH (source, &upstream->sources, entry) {
        if (source->call != NULL)
            return true;
    }
    return false;
}

/* --- making, changing and ending --- */

static void free_sources(struct upstream_source_list *sources)
{
    struct upstream_source *source;

    while ((source = TAILQ_FIRST(sources)) != NULL) {
        struct upstream *upstream = source->upstream;
        struct upstream_endpoint *endpoint = TAILQ_FIRST(&upstream->endpoints);

        TAILQ_REMOVE(sources, source, entry);
        resolver_cancel(&source->call);
        while (endpoint != NULL) {
            struct upstream_endpoint *next = TAILQ_NEXT(endpoint, entry);

            if (endpoint->source == source)
                remove_endpoint(upstream, endpoint);
            endpoint = next;
        }
        mem_free(source);
    }
}

/* Read all URLs into `sources`; nothing is asked yet. */
static bool read_sources(struct upstream *upstream,
                         const struct upstream_options *options,
                         struct upstream_source_list *sources,
                         bool *has_tls,
                         struct error *error)
{
    *has_tls = false;
    if (options->url_count == 0) {
        error_set(error, "no upstream URL");
        return false;
    }
    for (size_t i = 0; i < options->url_count; i++) {
        struct upstream_source *source = mem_alloc_zero(sizeof(*source));

        source->upstream = upstream;
        TAILQ_INSERT_TAIL(sources, source, entry);
        if (!upstream_url_parse(slice_of(options->urls[i]), &source->url, error)) {
            error_prefix(error, "upstream \"%s\"", options->urls[i]);
            return false;
        }
        *has_tls = *has_tls || source->url.is_tls;
    }
    return true;
}

/* The old source of the same URL takes the new one's place, with its endpoints. */
static void keep_sources(struct upstream *upstream, struct upstream_source_list *sources)
{
    struct upstream_source *source = TAILQ_FIRST(sources);

    while (source != NULL) {
        struct upstream_source *next = TAILQ_NEXT(source, entry);
        struct upstream_source *old;

        TAILQ_FOREACH (old, &upstream->sources, entry) {
            if (!old->url.is_tls && upstream_url_equal(&old->url, &source->url))
                break;
        }
        if (old != NULL) {
            TAILQ_REMOVE(&upstream->sources, old, entry);
            TAILQ_INSERT_BEFORE(source, old, entry);
            TAILQ_REMOVE(sources, source, entry);
            mem_free(source);
        }
        source = next;
    }
}

bool upstream_configure(struct upstream *upstream,
                        const struct upstream_options *options,
                        struct error *error)
{
    struct upstream_source_list sources = TAILQ_HEAD_INITIALIZER(sources);
    struct upstream_source_list old = TAILQ_HEAD_INITIALIZER(old);
    struct tls_client *tls = NULL;
    bool has_tls;

    if (!read_sources(upstream, options, &sources, &has_tls, error) ||
        (has_tls && (tls = tls_client_create(&options->tls, error)) == NULL)) {
        free_sources(&sources);
        return false;
    }
    tls_client_destroy(&upstream->tls);
    upstream->tls = tls;
    upstream->resolve_interval_ms = options->resolve_interval_ms;
    upstream->eject_after = options->health_eject_after;
    upstream->eject_for_ms = options->health_eject_for_ms;
    keep_sources(upstream, &sources);
    TAILQ_CONCAT(&old, &upstream->sources, entry);
    TAILQ_CONCAT(&upstream->sources, &sources, entry);
    free_sources(&old);
    resolve_all(upstream);
    return true;
}

struct upstream *upstream_create(struct loop *loop,
                                 struct resolver *resolver,
                                 const struct upstream_options *options,
                                 const struct upstream_handler *handler,
                                 void *arg,
                                 struct error *error)
{
    struct upstream *upstream = mem_alloc_zero(sizeof(*upstream));

    upstream->loop = loop;
    upstream->resolver = resolver;
    upstream->handler = handler;
    upstream->arg = arg;
    TAILQ_INIT(&upstream->sources);
    TAILQ_INIT(&upstream->endpoints);
    loop_timer_init(&upstream->resolve_timer, resolve_all, upstream);
    if (!upstream_configure(upstream, options, error))
        upstream_destroy(&upstream);
    return upstream;
}

void upstream_destroy(struct upstream **upstream_pointer)
{
    struct upstream *upstream = *upstream_pointer;

    if (upstream == NULL)
        return;
    *upstream_pointer = NULL;
    loop_timer_stop(&upstream->resolve_timer);
    free_sources(&upstream->sources);
    tls_client_destroy(&upstream->tls);
    mem_free(upstream);
}
