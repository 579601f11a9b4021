/* SPDX-License-Identifier: MIT */
/* The chain: order, budgets, memory and every way a source of keys may answer; now, later, never.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

#include "kamiyo/base/mem.h"
#include "kamiyo/identity/digest.h"
#include "kamiyo/identity/identity.h"

#include "identity_support.h"
#include "request_support.h"

#define TEXTS(...)  \
    (char *[])      \
    {               \
        __VA_ARGS__ \
    }

static char x_api_key[] = "X-API-Key", authorization[] = "Authorization", x_key[] = "X-Other-Key",
            user_header[] = "X-User", tier_header[] = "X-Tier", none[] = "", filed[] = "filed",
            pro[] = "pro", secret[] = "a-secret-for-tokens-of-32-bytes!", sub[] = "sub",
            tier[] = "tier", prefix[] = "kamiyo-apikey";

/* A source that knows the keys "alice" and "bob", and does as it is told. */
struct fake_source {
    struct key_source source;
    bool is_pending;
    bool is_away;
    unsigned asked;
    unsigned cancelled;
    uint8_t known[2][DIGEST_BYTES];
    struct key_record answer;
    key_source_done_fn *done;
    void *arg;
};

/* A budget of `left` failures. */
struct fake_budget {
    int left;
    int charged;
    char key[64];
};

struct fixture {
    struct fake_source source;
    struct fake_budget budget;
    struct identity_options options;
    struct client_ip_options client_ip;
    struct api_key_entry entry;
    struct identity_config *config;
    struct identity_chain *chain;
    struct clock_time now;
    struct addr client;
    bool is_peer_trusted;
    struct identity identity; /* what came, now or later */
    unsigned done_count;
    struct identity_call *call;
};

static void digest_of(const char *text, uint8_t out[DIGEST_BYTES])
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
        key_record_set(&answer, SLICE("alice"), SLICE("team"));
    else if (memcmp(digest, source->known[1], DIGEST_BYTES) == 0)
        key_record_set(&answer, SLICE("b ob"), SLICE(""));
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

/* The reply that the source owes; it may ask for the next key at once. */
static void answer(struct fixture *f)
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

static void make_chain(struct fixture *f)
{
    const struct identity_budget budget = {fake_spent, fake_charge, &f->budget};
    struct error error;

    f->config = identity_config_create(&f->options, &f->client_ip, &error);
    assert_non_null(f->config);
    f->chain = identity_chain_create(f->config, &f->source.source, &budget);
}

static void set_up(struct fixture *f)
{
    static char *headers[2], *secrets[1];

    memset(f, 0, sizeof(*f));
    headers[0] = x_api_key;
    headers[1] = authorization;
    secrets[0] = secret;
    digest_of("alice-key", f->source.known[0]);
    digest_of("bob-key", f->source.known[1]);
    digest_of("filed-key", f->entry.sha256);
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

static void tear_down(struct fixture *f)
{
    identity_chain_destroy(&f->chain);
    identity_chain_destroy(&f->chain);
    identity_config_unref(&f->config);
    identity_config_unref(&f->config);
}

static void advance(struct fixture *f, int64_t ms)
{
    f->now.monotonic_us += ms * 1000;
    f->now.wall_us += ms * 1000;
}

static void on_done(void *arg, const struct identity *identity)
{
    struct fixture *f = arg;

    f->identity = *identity;
    f->done_count++;
    f->call = NULL;
}

static enum progress resolve(struct fixture *f, const char *const *lines)
{
    struct request_fixture request;
    struct identity_query query;

    request_make(&request, "GET", "/", lines);
    query = (struct identity_query){.request = &request.request,
                                    .client = &f->client,
                                    .is_peer_trusted = f->is_peer_trusted,
                                    .now = &f->now};
    memset(&f->identity, 0x55, sizeof(f->identity));
    return identity_resolve(f->chain, &query, &f->identity, on_done, f, &f->call);
}

static void expect_key(const struct fixture *f, const char *key, const char *tier_name)
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

/* One header line (NULL = none) resolves at once to `key`, with `charged` failures. */
static void
expect(struct fixture *f, const char *line, const char *key, const char *tier_name, int charged)
{
    const char *lines[] = {line, NULL};
    int before = f->budget.charged;

    assert_int_equal(resolve(f, lines), PROGRESS_DONE);
    expect_key(f, key, tier_name);
    assert_int_equal(f->budget.charged - before, charged);
}

static void expect_spent(struct fixture *f, const char *line)
{
    const char *lines[] = {line, NULL};

    assert_int_equal(resolve(f, lines), PROGRESS_DONE);
    assert_true(f->identity.has_spent_failures);
    assert_int_equal(f->identity.kind, IDENTITY_ADDRESS);
    assert_int_equal(f->identity.failures_wait_ms, 1500);
    assert_int_equal(f->identity.failures_limit, 30);
}

static char *bearer(const char *payload, const char *with_secret)
{
    char *token = token_sign_hmac("SHA256", with_secret, "{\"alg\":\"HS256\"}", payload);
    size_t length = strlen(token) + 32;
    char *line = mem_alloc(length);

    (void)snprintf(line, length, "Authorization: Bearer %s", token);
    mem_free(token);
    return line;
}

static void test_keys(void **state)
{
    struct fixture f;

    (void)state;
    set_up(&f);
    make_chain(&f);
    expect(&f, NULL, "ip:192.0.2.7", "", 0);
    expect(&f, "X-API-Key: filed-key", "user:filed", "pro", 0);
    expect(&f, "Authorization: Bearer filed-key", "user:filed", "pro", 0);
    expect(&f, "Authorization: bearer   filed-key", "user:filed", "pro", 0);
    assert_int_equal(f.source.asked, 0);
    expect(&f, "X-API-Key: alice-key", "user:alice", "team", 0);
    expect(&f, "X-API-Key: bob-key", "user:b%20ob", "", 0);
    assert_int_equal(f.source.asked, 2);
    expect(&f, "X-API-Key: mallory", "ip:192.0.2.7", "", 1);
    expect(&f, "Authorization: Bearer mallory2", "ip:192.0.2.7", "", 1);
    assert_string_equal(f.budget.key, "ip:192.0.2.7");
    assert_int_equal(f.source.asked, 4);
    expect(&f, "Authorization: Basic YTpi", "ip:192.0.2.7", "", 0); /* another scheme is no key */
    expect(&f, "Authorization: filed-key", "ip:192.0.2.7", "", 0);
    expect(&f, "X-API-Key:", "ip:192.0.2.7", "", 0);
    expect(&f, "Authorization: Bearer ", "ip:192.0.2.7", "", 0);
    expect(&f, "X-API-Key: FILED-KEY", "ip:192.0.2.7", "", 1);
    assert_true(addr_parse(SLICE("2001:db8:1:2:3::4"), &f.client));
    expect(&f, "X-API-Key: mallory3", "ip:2001:db8:1:2::/64", "", 1);
    assert_string_equal(f.budget.key, "ip:2001:db8:1:2::/64");
    f.client = (struct addr){.family = ADDR_UNIX};
    expect(&f, NULL, "ip:unix", "", 0);
    tear_down(&f);
}

static void test_long_key(void **state)
{
    struct fixture f;
    char line[2048];

    (void)state;
    set_up(&f);
    make_chain(&f);
    memset(line, 'k', sizeof(line) - 1);
    line[sizeof(line) - 1] = '\0';
    memcpy(line, "X-API-Key: ", 11);
    expect(&f, line, "ip:192.0.2.7", "", 1);
    assert_int_equal(f.source.asked, 0);
    f.budget.left = 0;
    expect_spent(&f, line);
    tear_down(&f);
}

/* Several credentials: the first that verifies wins, in the order of `headers`; each is tried once.
 */
static void test_order(void **state)
{
    static const struct {
        const char *lines[6];
        const char *key;
        int charged;
    } rows[] = {
        {{"Authorization: Bearer alice-key", "X-API-Key: filed-key"}, "user:filed", 0},
        {{"Authorization: Bearer alice-key", "X-API-Key: nobody"}, "user:alice", 1},
        {{"X-API-Key: nobody", "X-API-Key: alice-key", "X-API-Key: filed-key"}, "user:alice", 1},
        {{"X-API-Key: same", "Authorization: Bearer same"}, "ip:192.0.2.7", 1},
        {{"X-API-Key: a", "X-API-Key: b", "X-API-Key: c", "X-API-Key: d", "X-API-Key: filed-key"},
         "ip:192.0.2.7",
         4},
    };
    struct fixture f;

    (void)state;
    set_up(&f);
    make_chain(&f);
    for (size_t i = 0; i < COUNT_OF(rows); i++) {
        int before = f.budget.charged;

        assert_int_equal(resolve(&f, rows[i].lines), PROGRESS_DONE);
        assert_int_equal(f.identity.key_length, strlen(rows[i].key));
        assert_memory_equal(f.identity.key, rows[i].key, f.identity.key_length);
        assert_int_equal(f.budget.charged - before, rows[i].charged);
    }
    tear_down(&f);
}

/* A Bearer value of three parts is only ever a token, any other only ever a key; other fields hold
 * keys of any form. */
static void test_tokens(void **state)
{
    char *good = bearer("{\"sub\":\"carol\",\"tier\":\"team\",\"exp\":1700000060}", secret);
    char *forged = bearer("{\"sub\":\"carol\"}", "another secret, of somebody else");
    struct fixture f;

    (void)state;
    set_up(&f);
    make_chain(&f);
    expect(&f, good, "user:carol", "team", 0);
    expect(&f, forged, "ip:192.0.2.7", "", 1);
    expect(&f, "Authorization: Bearer a.b.c", "ip:192.0.2.7", "", 1);
    assert_int_equal(f.source.asked, 0);
    expect(&f, "X-API-Key: a.b.c", "ip:192.0.2.7", "", 1);
    assert_int_equal(f.source.asked, 1);
    advance(&f, 59000);
    expect(&f, good, "user:carol", "team", 0);
    f.budget.left = 0;
    expect(&f, good, "user:carol", "team", 0); /* remembered as valid */
    expect_spent(&f, forged);
    advance(&f, 1000);
    expect_spent(&f, good); /* expired, and so not remembered */
    f.budget.left = 9;
    expect(&f, good, "ip:192.0.2.7", "", 1);
    tear_down(&f);
    set_up(&f);
    f.options.jwt.secret_count =
        0; /* nothing to verify with: no failure, and not looked up as a key */
    make_chain(&f);
    expect(&f, good, "ip:192.0.2.7", "", 0);
    assert_int_equal(f.source.asked, 0);
    tear_down(&f);
    mem_free(good);
    mem_free(forged);
}

static void test_key_then_token(void **state)
{
    char *good = bearer("{\"sub\":\"carol\"}", secret), *forged = bearer("{\"sub\":\"x\"}", "no");
    const char *both[] = {good, "X-API-Key: alice-key", NULL};
    const char *bad_key[] = {good, "X-API-Key: nobody", NULL};
    const char *bad_both[] = {forged, "X-API-Key: nobody", NULL};
    struct fixture f;

    (void)state;
    for (int later = 0; later < 2; later++) {
        set_up(&f);
        f.source.is_pending = later == 1;
        make_chain(&f);
        assert_int_equal(resolve(&f, both), later ? PROGRESS_PENDING : PROGRESS_DONE);
        if (later)
            answer(&f);
        expect_key(&f, "user:alice", "team");
        assert_int_equal(resolve(&f, bad_key), later ? PROGRESS_PENDING : PROGRESS_DONE);
        if (later)
            answer(&f);
        expect_key(&f, "user:carol", "");
        assert_int_equal(f.budget.charged, 1);
        assert_int_equal(resolve(&f, bad_both),
                         PROGRESS_DONE); /* "nobody" is remembered as refused */
        expect_key(&f, "ip:192.0.2.7", "");
        assert_int_equal(f.budget.charged, 3);
        assert_int_equal(f.done_count, later ? 2 : 0);
        tear_down(&f);
    }
    mem_free(good);
    mem_free(forged);
}

static void test_no_source(void **state)
{
    struct fixture f;

    (void)state;
    set_up(&f);
    f.options.api_key.keys_file = none;
    f.options.api_key.key_count = 0;
    f.options.api_key.redis_lookup = false;
    make_chain(&f);
    expect(&f, "X-API-Key: alice-key", "ip:192.0.2.7", "",
           0); /* no failure: nothing could verify it */
    f.budget.left = 0;
    expect(&f, "X-API-Key: alice-key", "ip:192.0.2.7", "", 0);
    assert_int_equal(f.source.asked, 0);
    tear_down(&f);
    set_up(&f);
    f.options.api_key.redis_lookup = false; /* a file only */
    make_chain(&f);
    expect(&f, "X-API-Key: filed-key", "user:filed", "pro", 0);
    expect(&f, "X-API-Key: alice-key", "ip:192.0.2.7", "", 1);
    assert_int_equal(f.source.asked, 0);
    tear_down(&f);
    set_up(&f);
    f.options.api_key.headers = TEXTS(x_key); /* a field of one's own */
    f.options.api_key.header_count = 1;
    make_chain(&f);
    expect(&f, "x-other-KEY: filed-key", "user:filed", "pro", 0);
    expect(&f, "X-API-Key: filed-key", "ip:192.0.2.7", "", 0);
    expect(&f, "Authorization: Bearer filed-key", "ip:192.0.2.7", "", 0);
    tear_down(&f);
}

static void test_cache(void **state)
{
    struct fixture f;

    (void)state;
    set_up(&f);
    make_chain(&f);
    expect(&f, "X-API-Key: alice-key", "user:alice", "team", 0);
    expect(&f, "X-API-Key: nobody", "ip:192.0.2.7", "", 1);
    assert_int_equal(f.source.asked, 2);
    advance(&f, 29999);
    expect(&f, "X-API-Key: alice-key", "user:alice", "team", 0);
    expect(&f, "X-API-Key: nobody", "ip:192.0.2.7", "",
           1); /* a refusal from memory counts as any */
    assert_int_equal(f.source.asked, 2);
    advance(&f, 1);
    expect(&f, "X-API-Key: alice-key", "user:alice", "team", 0);
    expect(&f, "X-API-Key: nobody", "ip:192.0.2.7", "", 1);
    assert_int_equal(f.source.asked, 4);
    memset(f.source.known, 0, sizeof(f.source.known)); /* revoked */
    advance(&f, 30000);
    expect(&f, "X-API-Key: alice-key", "ip:192.0.2.7", "", 1);
    expect(&f, "X-API-Key: alice-key", "ip:192.0.2.7", "", 1);
    assert_int_equal(f.source.asked, 5);
    digest_of("nobody", f.source.known[0]); /* and another one issued */
    advance(&f, 30000);
    expect(&f, "X-API-Key: nobody", "user:alice", "team", 0);
    tear_down(&f);
}

/* While the source is away, what it said before counts beyond its time, and nobody waits for it
 * each time. */
static void test_away(void **state)
{
    struct fixture f;
    unsigned asked;

    (void)state;
    set_up(&f);
    make_chain(&f);
    expect(&f, "X-API-Key: alice-key", "user:alice", "team", 0);
    expect(&f, "X-API-Key: nobody", "ip:192.0.2.7", "", 1);
    f.source.is_away = true;
    advance(&f, 3600000);
    expect(&f, "X-API-Key: alice-key", "user:alice", "team", 0);
    expect(&f, "X-API-Key: nobody", "ip:192.0.2.7", "", 1);
    expect(&f, "X-API-Key: bob-key", "ip:192.0.2.7", "", 0); /* nothing is known: no failure */
    asked = f.source.asked;
    expect(&f, "X-API-Key: alice-key", "user:alice", "team", 0);
    assert_int_equal(f.source.asked, asked); /* not again within the second */
    for (int i = 0; i < 20; i++)
        expect(&f, "X-API-Key: bob-key", "ip:192.0.2.7", "", 0);
    assert_int_equal(f.source.asked, asked + 2); /* five silences in a row, then a pause */
    advance(&f, 1000);
    f.source.is_away = false;
    expect(&f, "X-API-Key: bob-key", "user:b%20ob", "", 0);
    expect(&f, "X-API-Key: alice-key", "user:alice", "team", 0);
    tear_down(&f);
}

static void test_spent(void **state)
{
    const char *remembered_last[] = {"X-API-Key: unknown", "Authorization: Bearer alice-key", NULL};
    struct fixture f;

    (void)state;
    set_up(&f);
    make_chain(&f);
    expect(&f, "X-API-Key: alice-key", "user:alice", "team", 0);
    f.budget.left = 2;
    expect(&f, "X-API-Key: one", "ip:192.0.2.7", "", 1);
    expect(&f, "X-API-Key: two", "ip:192.0.2.7", "", 1);
    expect_spent(&f, "X-API-Key: three");
    expect_spent(&f, "X-API-Key: one");
    expect_spent(&f, "X-API-Key: bob-key");   /* valid, but not remembered */
    expect_spent(&f, "X-API-Key: filed-key"); /* likewise */
    expect(&f, NULL, "ip:192.0.2.7", "", 0);  /* nobody without a credential is refused */
    expect(&f, "X-API-Key: alice-key", "user:alice", "team", 0);
    assert_int_equal(resolve(&f, remembered_last), PROGRESS_DONE);
    expect_key(&f, "user:alice", "team");
    assert_int_equal(f.source.asked, 3);
    advance(&f, 30001);
    expect(&f, "X-API-Key: alice-key", "user:alice", "team",
           0); /* was valid, so it is asked for again */
    assert_int_equal(f.source.asked, 4);
    f.budget.left = 1;
    expect(&f, "X-API-Key: filed-key", "user:filed", "pro", 0);
    f.budget.left = 0;
    expect(&f, "X-API-Key: filed-key", "user:filed", "pro", 0);
    advance(&f, 86400000);
    expect(&f, "X-API-Key: filed-key", "user:filed", "pro", 0); /* the file has not changed */
    tear_down(&f);
}

static void test_pending(void **state)
{
    const char *two[] = {"X-API-Key: nobody", "Authorization: Bearer bob-key", NULL};
    struct fixture f;

    (void)state;
    set_up(&f);
    make_chain(&f);
    f.source.is_pending = true;
    assert_int_equal(resolve(&f, two), PROGRESS_PENDING);
    assert_int_equal(f.done_count, 0);
    answer(&f); /* the first is refused, the second is asked for */
    assert_int_equal(f.done_count, 0);
    assert_int_equal(f.budget.charged, 1);
    answer(&f);
    assert_int_equal(f.done_count, 1);
    expect_key(&f, "user:b%20ob", "");
    f.source.is_pending = false;
    expect(&f, "X-API-Key: bob-key", "user:b%20ob", "", 0); /* remembered */
    assert_int_equal(f.source.asked, 2);

    f.source.is_pending = true;
    f.source.is_away = true;
    advance(&f, 60000);
    assert_int_equal(resolve(&f, two), PROGRESS_PENDING);
    answer(&f); /* in vain: the second is not asked for, but was known */
    assert_int_equal(f.done_count, 2);
    expect_key(&f, "user:b%20ob", "");
    tear_down(&f);
}

static void test_cancel(void **state)
{
    const char *one[] = {"X-API-Key: alice-key", NULL};
    struct identity_call *nothing = NULL;
    struct fixture f;

    (void)state;
    set_up(&f);
    make_chain(&f);
    f.source.is_pending = true;
    assert_int_equal(resolve(&f, one), PROGRESS_PENDING);
    identity_cancel(&f.call);
    assert_null(f.call);
    identity_cancel(&f.call);
    identity_cancel(&nothing);
    assert_int_equal(f.source.cancelled, 1);
    assert_int_equal(f.done_count, 0);
    tear_down(&f);
}

static void test_front_end(void **state)
{
    static const struct {
        const char *lines[6];
        const char *key, *tier;
    } rows[] = {
        {{"X-User: dave", "X-Tier: pro"}, "user:dave", "pro"},
        {{"x-user: da ve"}, "user:da%20ve", ""},
        {{"X-User: dave", "X-Tier: not a tier"}, "user:dave", ""},
        {{"X-User: dave", "X-API-Key: filed-key"}, "user:dave", ""},
        {{"X-User:", "X-API-Key: filed-key"}, "user:filed", "pro"},
        {{"X-Tier: pro"}, "ip:192.0.2.7", ""},
        {{"X-User: dave", "X-User: root"},
         "ip:192.0.2.7",
         ""}, /* which one the front-end wrote, nobody knows */
        {{"X-User: dave", "X-Tier: pro", "X-Tier: team"}, "ip:192.0.2.7", ""},
    };
    struct fixture f;

    (void)state;
    set_up(&f);
    f.options.user_header = user_header;
    f.options.tier_header = tier_header;
    make_chain(&f);
    expect(&f, "X-User: dave", "ip:192.0.2.7", "", 0); /* not from a trusted peer */
    f.is_peer_trusted = true;
    for (size_t i = 0; i < COUNT_OF(rows); i++) {
        assert_int_equal(resolve(&f, rows[i].lines), PROGRESS_DONE);
        expect_key(&f, rows[i].key, rows[i].tier);
    }
    tear_down(&f);
}

/* A reload: keys of the file come and go at once, what the source said stays, tokens are verified
 * anew. */
static void test_reload(void **state)
{
    char *good = bearer("{\"sub\":\"carol\"}", secret);
    char *secrets[] = {pro};
    struct identity_config *former;
    struct fixture f;
    struct error error;

    (void)state;
    set_up(&f);
    make_chain(&f);
    expect(&f, "X-API-Key: filed-key", "user:filed", "pro", 0);
    expect(&f, "X-API-Key: alice-key", "user:alice", "team", 0);
    expect(&f, "X-API-Key: new-key", "ip:192.0.2.7", "", 1);
    expect(&f, good, "user:carol", "", 0);
    former = f.config;
    f.config = identity_config_create(&f.options, &f.client_ip, &error);
    identity_chain_configure(f.chain, f.config, &f.source.source);
    identity_config_unref(&former);
    f.budget.left = 0;
    expect(&f, "X-API-Key: filed-key", "user:filed", "pro", 0); /* still remembered as valid */
    expect(&f, "X-API-Key: alice-key", "user:alice", "team", 0);
    f.budget.left = 1000;

    former = f.config;
    digest_of("new-key", f.entry.sha256);
    f.options.jwt.secrets = secrets;
    f.config = identity_config_create(&f.options, &f.client_ip, &error);
    identity_chain_configure(f.chain, f.config, &f.source.source);
    identity_config_unref(&former);
    expect(&f, "X-API-Key: new-key", "user:filed", "pro", 0);
    expect(&f, "X-API-Key: filed-key", "ip:192.0.2.7", "", 1);
    expect(&f, "X-API-Key: alice-key", "user:alice", "team", 0);
    expect(&f, good, "ip:192.0.2.7", "", 1);
    former = f.config;
    f.options.api_key.redis_lookup = false;
    f.config = identity_config_create(&f.options, &f.client_ip, &error);
    identity_chain_configure(f.chain, f.config, &f.source.source);
    identity_config_unref(&former);
    expect(&f, "X-API-Key: alice-key", "ip:192.0.2.7", "", 1);
    tear_down(&f);
    mem_free(good);
}

/* A reload while a look-up is under way: the call ends well, and by the new rules for what is left.
 */
static void test_reload_while_pending(void **state)
{
    const char *two[] = {"X-API-Key: nobody", "Authorization: Bearer bob-key", NULL};
    struct identity_config *former;
    struct fixture f;
    struct error error;

    (void)state;
    set_up(&f);
    make_chain(&f);
    f.source.is_pending = true;
    assert_int_equal(resolve(&f, two), PROGRESS_PENDING);
    former = f.config;
    f.options.api_key.redis_lookup = false;
    f.config = identity_config_create(&f.options, &f.client_ip, &error);
    identity_chain_configure(f.chain, f.config, NULL);
    identity_config_unref(&former);
    answer(&f);
    assert_int_equal(f.done_count, 1);
    expect_key(&f, "ip:192.0.2.7", "");
    tear_down(&f);
}

static void test_bad_config(void **state)
{
    char missing[] = "/nonexistent.pem";
    struct fixture f;
    struct error error;

    (void)state;
    set_up(&f);
    f.options.jwt.public_key_files = TEXTS(missing);
    f.options.jwt.public_key_count = 1;
    assert_null(identity_config_create(&f.options, &f.client_ip, &error));
    assert_string_equal(error.text, "/nonexistent.pem: No such file or directory");
}

/* 10,000 random keys of one address: a bounded number of look-ups, and the users it shares the
 * cache with stay. */
static void test_flood(void **state)
{
    struct fixture f;

    (void)state;
    set_up(&f);
    make_chain(&f);
    expect(&f, "X-API-Key: alice-key", "user:alice", "team", 0);
    f.budget.left = 30;
    for (int i = 0; i < 10000; i++) {
        char line[64];
        const char *lines[] = {line, NULL};

        (void)snprintf(line, sizeof(line), "X-API-Key: random-%d", i);
        assert_int_equal(resolve(&f, lines), PROGRESS_DONE);
        assert_int_equal(f.identity.has_spent_failures, i >= 30);
    }
    assert_int_equal(f.source.asked, 31);
    expect(&f, "X-API-Key: alice-key", "user:alice", "team", 0);
    assert_int_equal(f.source.asked, 31);
    tear_down(&f);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_keys),           cmocka_unit_test(test_long_key),
        cmocka_unit_test(test_order),          cmocka_unit_test(test_tokens),
        cmocka_unit_test(test_key_then_token), cmocka_unit_test(test_no_source),
        cmocka_unit_test(test_cache),          cmocka_unit_test(test_away),
        cmocka_unit_test(test_spent),          cmocka_unit_test(test_pending),
        cmocka_unit_test(test_cancel),         cmocka_unit_test(test_front_end),
        cmocka_unit_test(test_reload),         cmocka_unit_test(test_reload_while_pending),
        cmocka_unit_test(test_bad_config),     cmocka_unit_test(test_flood),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
