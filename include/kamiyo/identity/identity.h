/* SPDX-License-Identifier: MIT */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "kamiyo/base/attributes.h"
#include "kamiyo/base/clock.h"
#include "kamiyo/base/error.h"
#include "kamiyo/base/progress.h"
#include "kamiyo/base/slice.h"
#include "kamiyo/http/message.h"
#include "kamiyo/identity/identity_options.h"
#include "kamiyo/identity/key_source.h"
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

enum identity_kind {
    IDENTITY_USER,
    IDENTITY_ADDRESS
};

/* What the identity was found by; the words of contract section 2's `identity`. */
enum identity_method {
    IDENTITY_BY_ADDRESS,
    IDENTITY_BY_HEADER, /* a trusted front-end's fields */
    IDENTITY_BY_API_KEY,
    IDENTITY_BY_JWT,
    IDENTITY_METHOD_COUNT
};
extern const char *const identity_method_names[IDENTITY_METHOD_COUNT]; /* "address", "api_key" */

struct identity {
    enum identity_kind kind;
    enum identity_method method;
    uint8_t key_length;
    uint8_t tier_length;                /* 0 = the method named none */
    char key[IDENTITY_MAX_KEY_BYTES];   /* "user:123" or "ip:192.0.2.0/24"; not terminated */
    char tier[IDENTITY_MAX_TIER_BYTES]; /* as the method named it, unchecked against the tiers; not
                                           terminated */
    bool has_spent_failures;            /* answer 429 with window "failures" */
    int64_t failures_wait_ms;           /* then: until the budget has a token again */
    int64_t failures_limit;
};

/*
 * What the chain reads of the configuration: keys, secrets, public keys.
 * Immutable once made; counted by references from any thread. Secrets are
 * wiped when the last reference goes.
 */
struct identity_config;

/*
 * Copies what it needs and reads the public keys' PEM files. NULL and *error
 * when a file cannot be read, holds no public key, or one of a kind that no
 * listed algorithm uses. The reference is the caller's.
 */
struct identity_config *identity_config_create(const struct identity_options *options,
                                               const struct client_ip_options *client_ip,
                                               struct error *error) MUST_CHECK;
struct identity_config *identity_config_ref(struct identity_config *config);
void identity_config_unref(struct identity_config **config);

/*
 * The budget of keys and tokens that do not verify, of one address
 * (identity.failures). The application brings it, over buckets in the local
 * table. `key` is the address's bucket key, "ip:...".
 */
struct identity_budget {
    /* Nothing left? Then the time until there is, and the limit that was hit. */
    bool (*spent)(void *arg, struct slice key, int64_t *wait_ms, int64_t *limit);
    void (*charge)(void *arg, struct slice key); /* one failure */
    void *arg;
};

/*
 * A chain takes a reference of its own to `config`. `source` (NULL = none) is
 * asked for keys that no keys file names, and must outlive the chain; `budget`
 * is copied, NULL = no budget.
 */
struct identity_chain *identity_chain_create(struct identity_config *config,
                                             struct key_source *source,
                                             const struct identity_budget *budget) MUST_CHECK;
/*
 * After a reload: go on with another configuration and source. Calls that are pending end by the
 * source that they began with. What the source said is kept for its time; verified tokens are
 * forgotten.
 */
void identity_chain_configure(struct identity_chain *chain,
                              struct identity_config *config,
                              struct key_source *source);
/* Every call must have ended or been cancelled. */
void identity_chain_destroy(struct identity_chain **chain);

/* Borrowed during the call only. */
struct identity_query {
    const struct http_request_head *request;
    const struct addr *client; /* as client_ip found it, before prefixes */
    bool is_peer_trusted;
    bool
        asks_nobody; /* only what is known here counts: no limit applies, and no store is touched */
    bool is_rehearsal; /* what would be said: no failure is charged, nothing is remembered */
    const struct clock_time *now;
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
