/* SPDX-License-Identifier: MIT */
#pragma once

#include <stdbool.h>
#include <stdint.h>

#include "kamiyo/redis/redis_budget.h"
#include "kamiyo/redis/redis_client.h"
#include "kamiyo/redis/redis_url.h"

/* Inside of redis_shared (redis_client.h): immutable once made, but for the budget and TLS's
 * sessions, which lock for themselves. */
struct ssl_st;
struct tls_client;

struct redis_shared {
    struct redis_url url;
    struct resolver *resolver; /* borrowed */
    struct tls_client *tls;    /* NULL = plain */
    struct redis_budget *budget;
    int64_t connect_timeout_ms;
    int64_t backoff_min_ms;
    int64_t backoff_max_ms;
};

/* *tls for a new connection, NULL when it is plain. False and *error: descriptor closed. */
bool redis_shared_start_tls(struct redis_shared *shared,
                            int fd,
                            struct ssl_st **tls,
                            struct error *error) MUST_CHECK;
