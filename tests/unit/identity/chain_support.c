/* SPDX-License-Identifier: MIT */
/* The chain's surroundings: a source of keys, a budget of failures, and what is expected of both.
 */
#include "chain_support.h"

#include <setjmp.h>
#include <stdarg.h>
#include <string.h>

#include <cmocka.h>

#include "request_support.h"

static char x_api_key[] = "X-API-Key", authorization[] = "Authorization", none[] = "",
            filed[] = "filed", pro[] = "pro", secret[] = CHAIN_SECRET, sub[] = "sub",
            tier[] = "tier", prefix[] = "kamiyo-apikey";

void chain_digest(const char *text, uint8_t out[DIGEST_BYTES])
{
    struct digest digest;

    digest_init(&digest);
    digest_sha256(&digest, slice_of(text), out);
    digest_clear(&digest);
}

static enum progress fake_find(struct key_source *self,
                               const uint8_t digest[DIGEST_BYTES],
                               struct key_record *record,
                               key_source_done_fn *done,
                               void *arg,
                               struct key_source_call **call)
{
    struct fake_source *source = CONTAINER_OF(self, struct fake_source, source);
    struct key_record answer = {.outcome = KEY_SOURCE_ABSENT};

    source->asked++;
    if (source->is_away)
        answer.outcome = KEY_SOURCE_UNAVAILABLE;
    else if (memcmp(digest, source->known[0], DIGEST_BYTES) == 0)
        key_source_fill_record(&answer, SLICE("alice"), SLICE("team"));
    else if (memcmp(digest, source->known[1], DIGEST_BYTES) == 0)
        key_source_fill_record(&answer, SLICE("b ob"), SLICE(""));
    if (!source->is_pending) {
        *record = answer;
        return PROGRESS_DONE;
    }
    source->answer = answer;
    source->done = done;
    source->arg = arg;
    *call = (struct key_source_call *)source;
    return PROGRESS_PENDING;
}

static void fake_cancel(struct key_source *self, struct key_source_call **call)
{
    struct fake_source *source = CONTAINER_OF(self, struct fake_source, source);

    assert_ptr_equal(*call, source);
    *call = NULL;
    source->cancelled++;
    source->done = NULL;
}

void chain_answer(struct chain_fixture *f)
{
    key_source_done_fn *done = f->source.done;
    struct key_record record = f->source.answer;

    assert_non_null(done);
    f->source.done = NULL;
    done(f->source.arg, &record);
}

static bool fake_spent(void *arg, struct slice key, int64_t *wait_ms, int64_t *limit)
{
    struct fake_budget *budget = arg;

    assert_true(key.length < sizeof(budget->key));
    if (budget->left > 0)
        return false;
    *wait_ms = 1500;
    *limit = 30;
    return true;
}

static void fake_charge(void *arg, struct slice key)
{
    struct fake_budget *budget = arg;

    budget->left--;
    budget->charged++;
    memcpy(budget->key, key.data, key.length);
    budget->key[key.length] = '\0';
}

void chain_make(struct chain_fixture *f)
{
    const struct identity_budget budget = {fake_spent, fake_charge, &f->budget};
    struct error error;

    f->config = identity_config_create(&f->options, &f->client_ip, &error);
    assert_non_null(f->config);
    f->chain = identity_chain_create(f->config, &f->source.source, &budget);
}

void chain_set_up(struct chain_fixture *f)
{
    static char *headers[2], *secrets[1];

    memset(f, 0, sizeof(*f));
    headers[0] = x_api_key;
    headers[1] = authorization;
    secrets[0] = secret;
    chain_digest("alice-key", f->source.known[0]);
    chain_digest("bob-key", f->source.known[1]);
    chain_digest("filed-key", f->entry.sha256);
    f->entry.user = filed;
    f->entry.tier = pro;
    f->source.source.find = fake_find;
    f->source.source.cancel = fake_cancel;
    f->budget.left = 1000;
    f->client_ip.ipv4_prefix = 32;
    f->client_ip.ipv6_prefix = 64;
    f->options = (struct identity_options){.user_header = none,
                                           .tier_header = none,
                                           .api_key = {.headers = headers,
                                                       .header_count = 2,
                                                       .keys_file = filed,
                                                       .keys = &f->entry,
                                                       .key_count = 1,
                                                       .redis_lookup = true,
                                                       .redis_prefix = prefix,
                                                       .cache_ms = 30000},
                                           .jwt = {.secrets = secrets,
                                                   .secret_count = 1,
                                                   .algorithms = JWT_HS256,
                                                   .user_claim = sub,
                                                   .tier_claim = tier,
                                                   .issuer = none,
                                                   .audience = none}};
    f->now = (struct clock_time){.monotonic_us = 5000000, .wall_us = 1700000000000000};
    assert_true(addr_parse(SLICE("192.0.2.7"), &f->client));
}

void chain_tear_down(struct chain_fixture *f)
{
    identity_chain_destroy(&f->chain);
    identity_chain_destroy(&f->chain);
    identity_config_unref(&f->config);
    identity_config_unref(&f->config);
}

void chain_advance(struct chain_fixture *f, int64_t ms)
{
    f->now.monotonic_us += ms * 1000;
    f->now.wall_us += ms * 1000;
}

static void on_done(void *arg, const struct identity *identity)
{
    struct chain_fixture *f = arg;

    f->identity = *identity;
    f->done_count++;
    f->call = NULL;
}

enum progress chain_resolve(struct chain_fixture *f, const char *const *lines)
{
    struct request_fixture request;
    struct identity_query query;

    request_make(&request, "GET", "/", lines);
    query = (struct identity_query){.request = &request.request,
                                    .client = &f->client,
                                    .is_peer_trusted = f->is_peer_trusted,
                                    .is_rehearsal = f->is_rehearsal,
                                    .now = &f->now};
    memset(&f->identity, 0x55, sizeof(f->identity));
    return identity_resolve(f->chain, &query, &f->identity, on_done, f, &f->call);
}

void chain_expect_key(const struct chain_fixture *f, const char *key, const char *tier_name)
{
    const struct identity *identity = &f->identity;

    if (identity->key_length != strlen(key) ||
        memcmp(identity->key, key, identity->key_length) != 0)
        fail_msg("\"%.*s\", not \"%s\"", identity->key_length, identity->key, key);
    assert_int_equal(identity->kind,
                     strncmp(key, "user:", 5) == 0 ? IDENTITY_USER : IDENTITY_ADDRESS);
    assert_int_equal(identity->tier_length, strlen(tier_name));
    assert_memory_equal(identity->tier, tier_name, identity->tier_length);
    assert_false(identity->has_spent_failures);
}

void chain_expect(
    struct chain_fixture *f, const char *line, const char *key, const char *tier_name, int charged)
{
    const char *lines[] = {line, NULL};
    int before = f->budget.charged;

    assert_int_equal(chain_resolve(f, lines), PROGRESS_DONE);
    chain_expect_key(f, key, tier_name);
    assert_int_equal(f->budget.charged - before, charged);
}

void chain_expect_spent(struct chain_fixture *f, const char *line)
{
    const char *lines[] = {line, NULL};

    assert_int_equal(chain_resolve(f, lines), PROGRESS_DONE);
    assert_true(f->identity.has_spent_failures);
    assert_int_equal(f->identity.kind, IDENTITY_ADDRESS);
    assert_int_equal(f->identity.failures_wait_ms, 1500);
    assert_int_equal(f->identity.failures_limit, 30);
}
