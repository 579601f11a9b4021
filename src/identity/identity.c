/* SPDX-License-Identifier: MIT */
/*
 * The chain of contract section 3: a trusted front-end's fields, keys, tokens,
 * the address. What verifies first wins.
 *
 *   field of a trusted peer? ──► user
 *   each key:   remembered? ──► user        each token: remembered? ──► user
 *               budget spent? skip                      budget spent? skip
 *               file, then source ──► user              verifies? ──► user
 *               refused: one failure                    refused: one failure
 *   something skipped? ──► failures spent    else ──► address
 *
 * Only a look-up in the source takes time. What is left to try is then copied:
 * the digests of the keys that follow, and what the tokens would come to, since
 * they are judged without waiting. Belongs to one thread; called by exchanges.
 */
#include "kamiyo/identity/identity.h"

#include <assert.h>
#include <string.h>

#include "kamiyo/base/log.h"
#include "kamiyo/base/mem.h"
#include "kamiyo/identity/client_ip.h"
#include "kamiyo/identity/credential_cache.h"
#include "kamiyo/identity/credentials.h"
#include "kamiyo/identity/digest.h"

#include "identity/identity_internal.h"

/* Bounds of what a chain remembers: a flood of unknown keys has a cache of its own and cannot push
 * out users. */
#define MAX_FOUND   131072
#define MAX_REFUSED 16384
/* A key that is longer is refused without being digested. */
#define MAX_KEY_BYTES 1024
/* While the source does not answer: after so many silences in a row nobody asks it for a while. */
#define MAX_SILENCES 5
#define PAUSE_MS     1000
/* A verified token that never expires is looked at again after this. */
#define MAX_TOKEN_MS (60 * 60 * 1000)

_Static_assert(KEY_SOURCE_DIGEST_BYTES == DIGEST_BYTES, "keys are known by their SHA-256");

struct identity_chain {
    struct identity_config *config;
    struct key_source *source; /* NULL = none is to be asked */
    struct identity_budget budget;
    struct digest digest;
    struct credential_cache *found;   /* keys that the source knows; monotonic milliseconds */
    struct credential_cache *refused; /* keys that nobody knows */
    struct credential_cache *tokens;  /* verified tokens; Unix milliseconds */
    struct jwt_verifier *jwt;
    uint8_t *used; /* bit per key of the keys file: has been used, and so is remembered */
    unsigned silences;
    int64_t pause_until_ms;
    struct mem_pool calls;
};

/* What the keys and tokens of one request come to, as far as it is known. */
struct attempt {
    struct identity_chain *chain;
    uint8_t digests[CREDENTIALS_MAX][DIGEST_BYTES];
    size_t key_count;
    size_t next;            /* the key that is being tried */
    bool has_skipped;       /* something was not looked at because the budget was spent */
    bool has_asked_in_vain; /* the source did not answer for an earlier key of this request */
    bool asks_nobody;       /* and will not be asked */
    bool is_rehearsal;      /* changes nothing */
    int64_t now_ms;         /* monotonic, when the request came */
    int64_t wait_ms, limit; /* of the spent budget */
    uint8_t budget_key_length;
    char budget_key[64];
};

struct identity_call {
    struct attempt attempt;
    struct identity otherwise; /* if no key verifies: the token's user, or the address */
    bool has_token_user;
    unsigned token_failures; /* charged if it comes to the tokens */
    struct key_source *source;
    struct key_source_call *source_call;
    identity_done_fn *done;
    void *arg;
};

enum step {
    STEP_VERIFIED,
    STEP_PENDING, /* the source has been asked for the key at `next` */
    STEP_EXHAUSTED,
};

static uint8_t *make_used_bits(const struct identity_config *config)
{
    return mem_alloc_zero(api_key_table_count(config->keys) / 8 + 1);
}

static bool is_used(const uint8_t *bits, size_t index)
{
    return (bits[index / 8] >> index % 8 & 1) != 0;
}

static void set_used(uint8_t *bits, size_t index)
{
    bits[index / 8] = (uint8_t)(bits[index / 8] | 1u << index % 8);
}

struct identity_chain *identity_chain_create(struct identity_config *config,
                                             struct key_source *source,
                                             const struct identity_budget *budget)
{
    struct identity_chain *chain = mem_alloc_zero(sizeof(*chain));

    chain->config = identity_config_ref(config);
    chain->source = config->has_lookup ? source : NULL;
    if (budget != NULL)
        chain->budget = *budget;
    digest_init(&chain->digest);
    chain->found = credential_cache_create(MAX_FOUND);
    chain->refused = credential_cache_create(MAX_REFUSED);
    chain->tokens = credential_cache_create(MAX_FOUND);
    chain->jwt = jwt_verifier_create(config->jwt);
    chain->used = make_used_bits(config);
    mem_pool_init(&chain->calls, sizeof(struct identity_call), 64);
    return chain;
}

void identity_chain_configure(struct identity_chain *chain,
                              struct identity_config *config,
                              struct key_source *source)
{
    struct identity_config *old = chain->config;
    uint8_t *used = make_used_bits(config);

    for (size_t i = 0; i < api_key_table_count(old->keys); i++) {
        size_t index = is_used(chain->used, i)
                           ? api_key_table_find(config->keys, api_key_table_digest(old->keys, i))
                           : API_KEY_ABSENT;

        if (index != API_KEY_ABSENT)
            set_used(used, index);
    }
    mem_free(chain->used);
    chain->used = used;
    chain->config = identity_config_ref(config);
    chain->source = config->has_lookup ? source : NULL;
    if (chain->source == NULL)
        credential_cache_clear(chain->found);
    credential_cache_clear(chain->refused); /* the new keys file may know them */
    credential_cache_clear(chain->tokens);
    jwt_verifier_destroy(&chain->jwt);
    chain->jwt = jwt_verifier_create(config->jwt);
    identity_config_unref(&old);
}

void identity_chain_destroy(struct identity_chain **handle)
{
    struct identity_chain *chain = *handle;

    if (chain == NULL)
        return;
    *handle = NULL;
    assert(chain->calls.used_count == 0);
    mem_pool_clear(&chain->calls);
    jwt_verifier_destroy(&chain->jwt);
    credential_cache_destroy(&chain->found);
    credential_cache_destroy(&chain->refused);
    credential_cache_destroy(&chain->tokens);
    digest_clear(&chain->digest);
    mem_free(chain->used);
    identity_config_unref(&chain->config);
    mem_free(chain);
}

const char *const identity_method_names[IDENTITY_METHOD_COUNT] = {
    [IDENTITY_BY_ADDRESS] = "address",
    [IDENTITY_BY_HEADER] = "header",
    [IDENTITY_BY_API_KEY] = "api_key",
    [IDENTITY_BY_JWT] = "jwt",
};

static void set_user(struct identity *identity,
                     enum identity_method method,
                     struct slice user,
                     struct slice tier)
{
    memset(identity, 0, offsetof(struct identity, key));
    identity->has_spent_failures = false;
    identity->failures_wait_ms = identity->failures_limit = 0;
    identity->kind = IDENTITY_USER;
    identity->method = method;
    memcpy(identity->key, "user:", 5);
    memcpy(identity->key + 5, user.data, user.length);
    identity->key_length = (uint8_t)(5 + user.length);
    if (tier.length > 0)
        memcpy(identity->tier, tier.data, tier.length);
    identity->tier_length = (uint8_t)tier.length;
}

static void
set_record(struct identity *identity, enum identity_method method, const struct key_record *record)
{
    set_user(identity, method, (struct slice){record->user, record->user_length},
             (struct slice){record->tier, record->tier_length});
}

/* All but the key itself, which stands there. */
static void set_address(struct identity *identity, size_t key_length)
{
    identity->kind = IDENTITY_ADDRESS;
    identity->method = IDENTITY_BY_ADDRESS;
    identity->key_length = (uint8_t)key_length;
    identity->tier_length = 0;
    identity->has_spent_failures = false;
    identity->failures_wait_ms = identity->failures_limit = 0;
}

static void finish_unverified(const struct attempt *attempt, struct identity *identity)
{
    memcpy(identity->key, attempt->budget_key, attempt->budget_key_length);
    set_address(identity, attempt->budget_key_length);
    if (!attempt->has_skipped)
        return;
    identity->has_spent_failures = true;
    identity->failures_wait_ms = attempt->wait_ms;
    identity->failures_limit = attempt->limit;
}

static struct slice budget_key(const struct attempt *attempt)
{
    return (struct slice){attempt->budget_key, attempt->budget_key_length};
}

/* Whether the address may not try another credential; remembers that something was passed over. */
static bool skips(struct attempt *attempt)
{
    const struct identity_budget *budget = &attempt->chain->budget;

    if (budget->spent == NULL ||
        !budget->spent(budget->arg, budget_key(attempt), &attempt->wait_ms, &attempt->limit))
        return false;
    attempt->has_skipped = true;
    return true;
}

static void charge(const struct attempt *attempt, unsigned failures)
{
    const struct identity_budget *budget = &attempt->chain->budget;

    if (attempt->is_rehearsal)
        return;
    for (; failures > 0 && budget->charge != NULL; failures--)
        budget->charge(budget->arg, budget_key(attempt));
}

static void note_refusal(const struct attempt *attempt, const uint8_t *digest)
{
    log_debug("API key refused, sha256 %02x%02x%02x%02x...", digest[0], digest[1], digest[2],
              digest[3]);
    charge(attempt, 1);
}

/* Nothing comes from the source: what was known before still counts, whatever its age; and for
 * longer, where the source was asked. True = verified. */
static bool decide_without_source(struct attempt *attempt, struct identity *identity)
{
    struct identity_chain *chain = attempt->chain;
    const uint8_t *digest = attempt->digests[attempt->next];
    struct credential *known = credential_cache_find(chain->found, digest);

    attempt->has_asked_in_vain = true;
    if (known != NULL) {
        if (!attempt->asks_nobody && !attempt->is_rehearsal)
            known->expires_ms = attempt->now_ms + PAUSE_MS;
        set_user(identity, IDENTITY_BY_API_KEY, known->user, known->tier);
        return true;
    }
    if (credential_cache_find(chain->refused, digest) != NULL)
        note_refusal(attempt, digest);
    return false;
}

/* The chain remembers what the source said about the key at `next`. */
static void remember(const struct attempt *attempt, const struct key_record *record)
{
    struct identity_chain *chain = attempt->chain;
    const uint8_t *digest = attempt->digests[attempt->next];
    int64_t expires_ms = attempt->now_ms + chain->config->cache_ms;

    if (record->outcome == KEY_SOURCE_UNAVAILABLE) {
        if (++chain->silences >= MAX_SILENCES)
            chain->pause_until_ms = attempt->now_ms + PAUSE_MS;
        return;
    }
    chain->silences = 0;
    if (record->outcome == KEY_SOURCE_FOUND) {
        credential_cache_remove(chain->refused, digest);
        credential_cache_put(chain->found, digest, record, expires_ms);
    } else {
        credential_cache_remove(chain->found, digest);
        credential_cache_put(chain->refused, digest, NULL, expires_ms);
    }
}

/* What the source said about the key at `next`. True = verified. */
static bool
take_record(struct attempt *attempt, const struct key_record *record, struct identity *identity)
{
    if (!attempt->is_rehearsal)
        remember(attempt, record);
    if (record->outcome == KEY_SOURCE_UNAVAILABLE)
        return decide_without_source(attempt, identity);
    if (record->outcome == KEY_SOURCE_FOUND) {
        set_record(identity, IDENTITY_BY_API_KEY, record);
        return true;
    }
    note_refusal(attempt, attempt->digests[attempt->next]);
    return false;
}

/* What is known here about the key at `next`. True = it is decided, and *is_verified says how. */
static bool decide_key_here(struct attempt *attempt, struct identity *identity, bool *is_verified)
{
    struct identity_chain *chain = attempt->chain;
    const uint8_t *digest = attempt->digests[attempt->next];
    size_t index = api_key_table_find(chain->config->keys, digest);
    const struct credential *known = NULL;

    *is_verified = false;
    if (index != API_KEY_ABSENT) {
        if (!is_used(chain->used, index) && skips(attempt))
            return true;
        if (!attempt->is_rehearsal)
            set_used(chain->used, index);
        set_record(identity, IDENTITY_BY_API_KEY, api_key_table_record(chain->config->keys, index));
        return *is_verified = true;
    }
    if (chain->source != NULL)
        known = credential_cache_find(chain->found, digest);
    if (known != NULL && attempt->now_ms < known->expires_ms) {
        set_user(identity, IDENTITY_BY_API_KEY, known->user, known->tier);
        return *is_verified = true;
    }
    if (known == NULL && skips(attempt)) /* one that was valid may be asked for again */
        return true;
    if (chain->source == NULL) {
        note_refusal(attempt, digest);
        return true;
    }
    if (known == NULL) {
        const struct credential *refused = credential_cache_find(chain->refused, digest);

        if (refused != NULL && attempt->now_ms < refused->expires_ms) {
            note_refusal(attempt, digest);
            return true;
        }
    }
    return false;
}

static void on_record(void *arg, const struct key_record *record);

/* Try keys from `next` on. `call` NULL = none is made yet; when the source takes its time, *call is
 * the call that waits. */
static enum step
try_keys(struct attempt *attempt, struct identity *identity, struct identity_call **call)
{
    struct identity_chain *chain = attempt->chain;

    for (; attempt->next < attempt->key_count; attempt->next++) {
        struct key_record record;
        bool is_verified;

        if (decide_key_here(attempt, identity, &is_verified)) {
            if (is_verified)
                return STEP_VERIFIED;
            continue;
        }
        if (attempt->asks_nobody || attempt->has_asked_in_vain ||
            attempt->now_ms < chain->pause_until_ms) {
            if (decide_without_source(attempt, identity))
                return STEP_VERIFIED;
            continue;
        }
        if (*call == NULL) {
            *call = mem_pool_take(&chain->calls);
            (*call)->attempt = *attempt;
            attempt = &(*call)->attempt;
        }
        (*call)->source = chain->source;
        (*call)->source_call = NULL;
        if (chain->source->find(chain->source, attempt->digests[attempt->next], &record, on_record,
                                *call, &(*call)->source_call) == PROGRESS_PENDING)
            return STEP_PENDING;
        if (take_record(attempt, &record, identity))
            return STEP_VERIFIED;
    }
    return STEP_EXHAUSTED;
}

/* Judge the tokens: true and *identity when one verifies. Failures are counted, not charged. */
static bool try_tokens(struct attempt *attempt,
                       const struct credentials *credentials,
                       int64_t unix_ms,
                       struct identity *identity,
                       unsigned *failures)
{
    struct identity_chain *chain = attempt->chain;

    *failures = 0;
    for (size_t i = 0; i < credentials->token_count; i++) {
        uint8_t digest[DIGEST_BYTES];
        const struct credential *known;
        struct jwt_claims claims;
        enum jwt_outcome outcome;

        digest_sha256(&chain->digest, credentials->tokens[i], digest);
        known = credential_cache_find(chain->tokens, digest);
        if (known != NULL && unix_ms < known->expires_ms) {
            set_user(identity, IDENTITY_BY_JWT, known->user, known->tier);
            return true;
        }
        if (skips(attempt))
            continue;
        outcome = jwt_verify(chain->jwt, credentials->tokens[i], unix_ms, &claims);
        if (outcome == JWT_VALID) {
            int64_t latest_ms = unix_ms + MAX_TOKEN_MS;

            if (!attempt->is_rehearsal)
                credential_cache_put(chain->tokens, digest, &claims.owner,
                                     claims.expires_ms < latest_ms ? claims.expires_ms : latest_ms);
            set_record(identity, IDENTITY_BY_JWT, &claims.owner);
            return true;
        }
        log_debug("Token refused: %s", jwt_outcome_name(outcome));
        (*failures)++;
    }
    return false;
}

/* The keys have come to nothing: the tokens' verdict counts. */
static void finish_call(struct identity_call *call, struct identity *identity)
{
    charge(&call->attempt, call->token_failures);
    if (call->has_token_user)
        *identity = call->otherwise;
    else
        finish_unverified(&call->attempt, identity);
}

static void on_record(void *arg, const struct key_record *record)
{
    struct identity_call *call = arg;
    struct identity_chain *chain = call->attempt.chain;
    identity_done_fn *done = call->done;
    void *done_arg = call->arg;
    enum step step = STEP_VERIFIED;
    struct identity identity;

    call->source_call = NULL;
    if (!take_record(&call->attempt, record, &identity)) {
        call->attempt.next++;
        step = try_keys(&call->attempt, &identity, &call);
    }
    if (step == STEP_PENDING)
        return;
    if (step == STEP_EXHAUSTED)
        finish_call(call, &identity);
    mem_pool_give(&chain->calls, call);
    done(done_arg, &identity);
}

/* The fields of a front-end that has authenticated; believed only when each stands there once. */
static bool find_front_end_user(const struct identity_config *config,
                                const struct http_head *head,
                                struct identity *identity)
{
    struct slice values[2] = {{NULL, 0}, {NULL, 0}};
    const struct identity_header *headers[2] = {&config->user_header, &config->tier_header};
    struct key_record record;

    if (config->user_header.name.length == 0)
        return false;
    for (size_t i = 0; i < head->field_count; i++)
        for (size_t j = 0; j < 2; j++) {
            if (headers[j]->name.length == 0 ||
                !slice_equal_ignore_case(head->fields[i].name, headers[j]->name))
                continue;
            if (values[j].data != NULL)
                return false;
            values[j] = slice_trim(head->fields[i].value);
        }
    key_source_fill_record(&record, values[0], values[1]);
    if (record.outcome != KEY_SOURCE_FOUND)
        return false;
    set_record(identity, IDENTITY_BY_HEADER, &record);
    return true;
}

static void warn_without_keys(struct identity_config *config)
{
    if (!atomic_load_explicit(&config->has_warned, memory_order_relaxed) &&
        !atomic_exchange(&config->has_warned, true))
        log_warning("API keys are presented but no keys_file or redis_lookup is set: charged as "
                    "anonymous");
}

static void begin_attempt(struct identity_chain *chain,
                          const struct identity_query *query,
                          struct credentials *credentials,
                          struct attempt *attempt)
{
    attempt->chain = chain;
    attempt->key_count = attempt->next = 0;
    attempt->has_skipped = attempt->has_asked_in_vain = false;
    attempt->asks_nobody = query->asks_nobody;
    attempt->is_rehearsal = query->is_rehearsal;
    attempt->now_ms = query->now->monotonic_us / 1000;
    attempt->wait_ms = attempt->limit = 0;
    attempt->budget_key_length =
        (uint8_t)client_ip_format_key(&chain->config->prefixes, query->client, attempt->budget_key);
    if (credentials->key_count > 0 && !chain->config->has_keys) {
        if (!query->is_rehearsal)
            warn_without_keys(chain->config);
        return;
    }
    for (size_t i = 0; i < credentials->key_count; i++) {
        struct slice key = credentials->keys[i];

        if (key.length <= MAX_KEY_BYTES)
            digest_sha256(&chain->digest, key, attempt->digests[attempt->key_count++]);
        else if (!skips(attempt))
            charge(attempt, 1);
    }
}

enum progress identity_resolve(struct identity_chain *chain,
                               const struct identity_query *query,
                               struct identity *identity,
                               identity_done_fn *done,
                               void *arg,
                               struct identity_call **call)
{
    const struct http_head *head = &query->request->head;
    int64_t unix_ms = query->now->wall_us / 1000;
    struct identity_call *waiting = NULL;
    struct credentials credentials;
    struct attempt attempt;
    unsigned failures;
    enum step step;

    if (query->is_peer_trusted && find_front_end_user(chain->config, head, identity))
        return PROGRESS_DONE;
    credentials_gather(chain->config, head, &credentials);
    if (credentials.key_count + credentials.token_count == 0) { /* nothing is to be verified */
        set_address(identity,
                    client_ip_format_key(&chain->config->prefixes, query->client, identity->key));
        return PROGRESS_DONE;
    }
    begin_attempt(chain, query, &credentials, &attempt);
    step = try_keys(&attempt, identity, &waiting);
    if (step == STEP_PENDING) {
        waiting->has_token_user = try_tokens(&waiting->attempt, &credentials, unix_ms,
                                             &waiting->otherwise, &waiting->token_failures);
        waiting->done = done;
        waiting->arg = arg;
        *call = waiting;
        return PROGRESS_PENDING;
    }
    if (waiting != NULL) { /* the source answered at once: go on with what it left */
        attempt = waiting->attempt;
        mem_pool_give(&chain->calls, waiting);
    }
    if (step == STEP_EXHAUSTED) {
        bool is_user = try_tokens(&attempt, &credentials, unix_ms, identity, &failures);

        charge(&attempt, failures);
        if (!is_user)
            finish_unverified(&attempt, identity);
    }
    return PROGRESS_DONE;
}

void identity_cancel(struct identity_call **handle)
{
    struct identity_call *call = *handle;

    if (call == NULL)
        return;
    *handle = NULL;
    call->source->cancel(call->source, &call->source_call);
    mem_pool_give(&call->attempt.chain->calls, call);
}
