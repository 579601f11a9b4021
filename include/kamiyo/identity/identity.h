/* SPDX-License-Identifier: MIT */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "kamiyo/base/attributes.h"
#include "kamiyo/base/progress.h"
#include "kamiyo/base/slice.h"
#include "kamiyo/http/message.h"
#include "kamiyo/identity/identity_options.h"
#include "kamiyo/net/addr.h"

/*
 * Who is asking? The ordered chain of contract section 3: a front-end's fields
 * (from trusted peers), an API key, a JWT, else the client's address. Each
 * either verifies or passes on; what does not verify is anonymous and counts
 * against its address. Yields the bucket key and the tier's name; knows no
 * limits, no routes and no Redis.
 *
 * A chain belongs to one worker's thread. What it reads of the configuration
 * (keys file, secrets) is immutable and shared: struct identity_config,
 * counted by references.
 */
struct identity_chain;
struct identity_call;

#define IDENTITY_MAX_KEY_BYTES  144 /* "user:" + 128, or "ip:" + address + "/128" */
#define IDENTITY_MAX_TIER_BYTES 32

enum identity_kind { IDENTITY_USER, IDENTITY_ADDRESS };

struct identity {
    enum identity_kind kind;
    uint8_t key_length;
    uint8_t tier_length;            /* 0 = the method named none */
    char key[IDENTITY_MAX_KEY_BYTES];   /* "user:123" or "ip:192.0.2.0/24"; not terminated */
    char tier[IDENTITY_MAX_TIER_BYTES]; /* as the method named it, unchecked against the tiers; not terminated */
    bool has_spent_failures;        /* answer 429 with window "failures" */
    int64_t failures_wait_ms;       /* then: until the budget has a token again */
    int64_t failures_limit;
};

/* Borrowed during the call only. */
struct identity_query {
    const struct http_request_head *request;
    const struct addr *client; /* as client_ip found it, before prefixes */
    bool is_peer_trusted;
};

typedef void identity_done_fn(void *arg, const struct identity *identity);

/* Now or later (a look-up in Redis); shape of base/progress.h. Always ends in an identity. */
enum progress identity_resolve(struct identity_chain *chain,
                               const struct identity_query *query,
                               struct identity *identity,
                               identity_done_fn *done,
                               void *arg,
                               struct identity_call **call) MUST_CHECK;
void identity_cancel(struct identity_call **call);
