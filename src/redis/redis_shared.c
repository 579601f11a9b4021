/* SPDX-License-Identifier: MIT */
/*
 * What all workers' connections to Redis have in common, made once from the
 * options. Nothing changes afterwards but the budget and TLS's sessions, which
 * have locks of their own.
 */
#include "redis_shared.h"

#include <string.h>
#include <unistd.h>

#include "kamiyo/base/mem.h"
#include "kamiyo/net/tls.h"
#include "kamiyo/redis/redis_options.h"

/* What a setting of 0 or none means. */
#define DEFAULT_CONNECT_TIMEOUT_MS 1000
#define DEFAULT_BACKOFF_MIN_MS     50
#define DEFAULT_BACKOFF_MAX_MS     1000

static int64_t or_default(int64_t value, int64_t standard)
{
    return value > 0 ? value : standard;
}

struct redis_shared *redis_shared_create(const struct redis_options *options,
                                         struct resolver *resolver,
                                         struct error *error)
{
    struct redis_shared *shared = mem_alloc_zero(sizeof(*shared));

    if (!redis_url_parse(slice_of(options->url), &shared->url, error)) {
        mem_free(shared);
        return NULL;
    }
    shared->resolver = resolver;
    shared->connect_timeout_ms =
        or_default(options->connect_timeout_ms, DEFAULT_CONNECT_TIMEOUT_MS);
    shared->backoff_min_ms = or_default(options->backoff_min_ms, DEFAULT_BACKOFF_MIN_MS);
    shared->backoff_max_ms = or_default(options->backoff_max_ms, DEFAULT_BACKOFF_MAX_MS);
    shared->budget = redis_budget_create();
    if (shared->url.is_tls) {
        shared->tls = tls_client_create(&options->tls, error);
        if (shared->tls == NULL) {
            redis_shared_destroy(&shared);
            return NULL;
        }
    }
    return shared;
}

void redis_shared_destroy(struct redis_shared **shared)
{
    struct redis_shared *self = *shared;

    if (self == NULL)
        return;
    tls_client_destroy(&self->tls);
    redis_budget_destroy(&self->budget);
    redis_url_clear(&self->url);
    mem_free(self);
    *shared = NULL;
}

bool redis_shared_start_tls(struct redis_shared *shared,
                            int fd,
                            struct ssl_st **tls,
                            struct error *error)
{
    *tls = NULL;
    if (shared->tls == NULL)
        return true;
    *tls = tls_client_new(shared->tls, shared->url.host, error);
    if (*tls != NULL)
        return true;
    (void)close(fd); /* nothing was written to it */
    return false;
}
