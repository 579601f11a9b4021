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

#include "chain_support.h"
#include "identity_support.h"
#include "request_support.h"

#define TEXTS(...)  \
    (char *[])      \
    {               \
        __VA_ARGS__ \
    }

static char x_key[] = "X-Other-Key", user_header[] = "X-User", tier_header[] = "X-Tier",
            none[] = "", pro[] = "pro", secret[] = CHAIN_SECRET;

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
    struct chain_fixture f;

    (void)state;
    chain_set_up(&f);
    chain_make(&f);
    chain_expect(&f, NULL, "ip:192.0.2.7", "", 0);
    chain_expect(&f, "X-API-Key: filed-key", "user:filed", "pro", 0);
    chain_expect(&f, "Authorization: Bearer filed-key", "user:filed", "pro", 0);
    chain_expect(&f, "Authorization: bearer   filed-key", "user:filed", "pro", 0);
    assert_int_equal(f.source.asked, 0);
    chain_expect(&f, "X-API-Key: alice-key", "user:alice", "team", 0);
    chain_expect(&f, "X-API-Key: bob-key", "user:b%20ob", "", 0);
    assert_int_equal(f.source.asked, 2);
    chain_expect(&f, "X-API-Key: mallory", "ip:192.0.2.7", "", 1);
    chain_expect(&f, "Authorization: Bearer mallory2", "ip:192.0.2.7", "", 1);
    assert_string_equal(f.budget.key, "ip:192.0.2.7");
    assert_int_equal(f.source.asked, 4);
    chain_expect(&f, "Authorization: Basic YTpi", "ip:192.0.2.7", "",
                 0); /* another scheme is no key */
    chain_expect(&f, "Authorization: filed-key", "ip:192.0.2.7", "", 0);
    chain_expect(&f, "X-API-Key:", "ip:192.0.2.7", "", 0);
    chain_expect(&f, "Authorization: Bearer ", "ip:192.0.2.7", "", 0);
    chain_expect(&f, "X-API-Key: FILED-KEY", "ip:192.0.2.7", "", 1);
    assert_true(addr_parse(SLICE("2001:db8:1:2:3::4"), &f.client));
    chain_expect(&f, "X-API-Key: mallory3", "ip:2001:db8:1:2::/64", "", 1);
    assert_string_equal(f.budget.key, "ip:2001:db8:1:2::/64");
    f.client = (struct addr){.family = ADDR_UNIX};
    chain_expect(&f, NULL, "ip:unix", "", 0);
    chain_tear_down(&f);
}

static void test_long_key(void **state)
{
    struct chain_fixture f;
    char line[2048];

    (void)state;
    chain_set_up(&f);
    chain_make(&f);
    memset(line, 'k', sizeof(line) - 1);
    line[sizeof(line) - 1] = '\0';
    memcpy(line, "X-API-Key: ", 11);
    chain_expect(&f, line, "ip:192.0.2.7", "", 1);
    assert_int_equal(f.source.asked, 0);
    f.budget.left = 0;
    chain_expect_spent(&f, line);
    chain_tear_down(&f);
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
    struct chain_fixture f;

    (void)state;
    chain_set_up(&f);
    chain_make(&f);
    for (size_t i = 0; i < COUNT_OF(rows); i++) {
        int before = f.budget.charged;

        assert_int_equal(chain_resolve(&f, rows[i].lines), PROGRESS_DONE);
        assert_int_equal(f.identity.key_length, strlen(rows[i].key));
        assert_memory_equal(f.identity.key, rows[i].key, f.identity.key_length);
        assert_int_equal(f.budget.charged - before, rows[i].charged);
    }
    chain_tear_down(&f);
}

/* A Bearer value of three parts is only ever a token, any other only ever a key; other fields hold
 * keys of any form. */
static void test_tokens(void **state)
{
    char *good = bearer("{\"sub\":\"carol\",\"tier\":\"team\",\"exp\":1700000060}", secret);
    char *forged = bearer("{\"sub\":\"carol\"}", "another secret, of somebody else");
    struct chain_fixture f;

    (void)state;
    chain_set_up(&f);
    chain_make(&f);
    chain_expect(&f, good, "user:carol", "team", 0);
    chain_expect(&f, forged, "ip:192.0.2.7", "", 1);
    chain_expect(&f, "Authorization: Bearer a.b.c", "ip:192.0.2.7", "", 1);
    assert_int_equal(f.source.asked, 0);
    chain_expect(&f, "X-API-Key: a.b.c", "ip:192.0.2.7", "", 1);
    assert_int_equal(f.source.asked, 1);
    chain_advance(&f, 59000);
    chain_expect(&f, good, "user:carol", "team", 0);
    f.budget.left = 0;
    chain_expect(&f, good, "user:carol", "team", 0); /* remembered as valid */
    chain_expect_spent(&f, forged);
    chain_advance(&f, 1000);
    chain_expect_spent(&f, good); /* expired, and so not remembered */
    f.budget.left = 9;
    chain_expect(&f, good, "ip:192.0.2.7", "", 1);
    chain_tear_down(&f);
    chain_set_up(&f);
    f.options.jwt.secret_count =
        0; /* nothing to verify with: no failure, and not looked up as a key */
    chain_make(&f);
    chain_expect(&f, good, "ip:192.0.2.7", "", 0);
    assert_int_equal(f.source.asked, 0);
    chain_tear_down(&f);
    mem_free(good);
    mem_free(forged);
}

static void test_key_then_token(void **state)
{
    char *good = bearer("{\"sub\":\"carol\"}", secret), *forged = bearer("{\"sub\":\"x\"}", "no");
    const char *both[] = {good, "X-API-Key: alice-key", NULL};
    const char *bad_key[] = {good, "X-API-Key: nobody", NULL};
    const char *bad_both[] = {forged, "X-API-Key: nobody", NULL};
    struct chain_fixture f;

    (void)state;
    for (int later = 0; later < 2; later++) {
        chain_set_up(&f);
        f.source.is_pending = later == 1;
        chain_make(&f);
        assert_int_equal(chain_resolve(&f, both), later ? PROGRESS_PENDING : PROGRESS_DONE);
        if (later)
            chain_answer(&f);
        chain_expect_key(&f, "user:alice", "team");
        assert_int_equal(chain_resolve(&f, bad_key), later ? PROGRESS_PENDING : PROGRESS_DONE);
        if (later)
            chain_answer(&f);
        chain_expect_key(&f, "user:carol", "");
        assert_int_equal(f.budget.charged, 1);
        assert_int_equal(chain_resolve(&f, bad_both),
                         PROGRESS_DONE); /* "nobody" is remembered as refused */
        chain_expect_key(&f, "ip:192.0.2.7", "");
        assert_int_equal(f.budget.charged, 3);
        assert_int_equal(f.done_count, later ? 2 : 0);
        chain_tear_down(&f);
    }
    mem_free(good);
    mem_free(forged);
}

static void test_no_source(void **state)
{
    struct chain_fixture f;

    (void)state;
    chain_set_up(&f);
    f.options.api_key.keys_file = none;
    f.options.api_key.key_count = 0;
    f.options.api_key.redis_lookup = false;
    chain_make(&f);
    chain_expect(&f, "X-API-Key: alice-key", "ip:192.0.2.7", "",
                 0); /* no failure: nothing could verify it */
    f.budget.left = 0;
    chain_expect(&f, "X-API-Key: alice-key", "ip:192.0.2.7", "", 0);
    assert_int_equal(f.source.asked, 0);
    chain_tear_down(&f);
    chain_set_up(&f);
    f.options.api_key.redis_lookup = false; /* a file only */
    chain_make(&f);
    chain_expect(&f, "X-API-Key: filed-key", "user:filed", "pro", 0);
    chain_expect(&f, "X-API-Key: alice-key", "ip:192.0.2.7", "", 1);
    assert_int_equal(f.source.asked, 0);
    chain_tear_down(&f);
    chain_set_up(&f);
    f.options.api_key.headers = TEXTS(x_key); /* a field of one's own */
    f.options.api_key.header_count = 1;
    chain_make(&f);
    chain_expect(&f, "x-other-KEY: filed-key", "user:filed", "pro", 0);
    chain_expect(&f, "X-API-Key: filed-key", "ip:192.0.2.7", "", 0);
    chain_expect(&f, "Authorization: Bearer filed-key", "ip:192.0.2.7", "", 0);
    chain_tear_down(&f);
}

static void test_cache(void **state)
{
    struct chain_fixture f;

    (void)state;
    chain_set_up(&f);
    chain_make(&f);
    chain_expect(&f, "X-API-Key: alice-key", "user:alice", "team", 0);
    chain_expect(&f, "X-API-Key: nobody", "ip:192.0.2.7", "", 1);
    assert_int_equal(f.source.asked, 2);
    chain_advance(&f, 29999);
    chain_expect(&f, "X-API-Key: alice-key", "user:alice", "team", 0);
    chain_expect(&f, "X-API-Key: nobody", "ip:192.0.2.7", "",
                 1); /* a refusal from memory counts as any */
    assert_int_equal(f.source.asked, 2);
    chain_advance(&f, 1);
    chain_expect(&f, "X-API-Key: alice-key", "user:alice", "team", 0);
    chain_expect(&f, "X-API-Key: nobody", "ip:192.0.2.7", "", 1);
    assert_int_equal(f.source.asked, 4);
    memset(f.source.known, 0, sizeof(f.source.known)); /* revoked */
    chain_advance(&f, 30000);
    chain_expect(&f, "X-API-Key: alice-key", "ip:192.0.2.7", "", 1);
    chain_expect(&f, "X-API-Key: alice-key", "ip:192.0.2.7", "", 1);
    assert_int_equal(f.source.asked, 5);
    chain_digest("nobody", f.source.known[0]); /* and another one issued */
    chain_advance(&f, 30000);
    chain_expect(&f, "X-API-Key: nobody", "user:alice", "team", 0);
    chain_tear_down(&f);
}

/* While the source is away, what it said before counts beyond its time, and nobody waits for it
 * each time. */
static void test_away(void **state)
{
    struct chain_fixture f;
    unsigned asked;

    (void)state;
    chain_set_up(&f);
    chain_make(&f);
    chain_expect(&f, "X-API-Key: alice-key", "user:alice", "team", 0);
    chain_expect(&f, "X-API-Key: nobody", "ip:192.0.2.7", "", 1);
    f.source.is_away = true;
    chain_advance(&f, 3600000);
    chain_expect(&f, "X-API-Key: alice-key", "user:alice", "team", 0);
    chain_expect(&f, "X-API-Key: nobody", "ip:192.0.2.7", "", 1);
    chain_expect(&f, "X-API-Key: bob-key", "ip:192.0.2.7", "",
                 0); /* nothing is known: no failure */
    asked = f.source.asked;
    chain_expect(&f, "X-API-Key: alice-key", "user:alice", "team", 0);
    assert_int_equal(f.source.asked, asked); /* not again within the second */
    for (int i = 0; i < 20; i++)
        chain_expect(&f, "X-API-Key: bob-key", "ip:192.0.2.7", "", 0);
    assert_int_equal(f.source.asked, asked + 2); /* five silences in a row, then a pause */
    chain_advance(&f, 1000);
    f.source.is_away = false;
    chain_expect(&f, "X-API-Key: bob-key", "user:b%20ob", "", 0);
    chain_expect(&f, "X-API-Key: alice-key", "user:alice", "team", 0);
    chain_tear_down(&f);
}

static void test_spent(void **state)
{
    const char *remembered_last[] = {"X-API-Key: unknown", "Authorization: Bearer alice-key", NULL};
    struct chain_fixture f;

    (void)state;
    chain_set_up(&f);
    chain_make(&f);
    chain_expect(&f, "X-API-Key: alice-key", "user:alice", "team", 0);
    f.budget.left = 2;
    chain_expect(&f, "X-API-Key: one", "ip:192.0.2.7", "", 1);
    chain_expect(&f, "X-API-Key: two", "ip:192.0.2.7", "", 1);
    chain_expect_spent(&f, "X-API-Key: three");
    chain_expect_spent(&f, "X-API-Key: one");
    chain_expect_spent(&f, "X-API-Key: bob-key");   /* valid, but not remembered */
    chain_expect_spent(&f, "X-API-Key: filed-key"); /* likewise */
    chain_expect(&f, NULL, "ip:192.0.2.7", "", 0);  /* nobody without a credential is refused */
    chain_expect(&f, "X-API-Key: alice-key", "user:alice", "team", 0);
    assert_int_equal(chain_resolve(&f, remembered_last), PROGRESS_DONE);
    chain_expect_key(&f, "user:alice", "team");
    assert_int_equal(f.source.asked, 3);
    chain_advance(&f, 30001);
    chain_expect(&f, "X-API-Key: alice-key", "user:alice", "team",
                 0); /* was valid, so it is asked for again */
    assert_int_equal(f.source.asked, 4);
    f.budget.left = 1;
    chain_expect(&f, "X-API-Key: filed-key", "user:filed", "pro", 0);
    f.budget.left = 0;
    chain_expect(&f, "X-API-Key: filed-key", "user:filed", "pro", 0);
    chain_advance(&f, 86400000);
    chain_expect(&f, "X-API-Key: filed-key", "user:filed", "pro", 0); /* the file has not changed */
    chain_tear_down(&f);
}

/* What would be said is said, and afterwards all is as before. */
static void test_rehearsal(void **state)
{
    char *token = bearer("{\"sub\":\"t\",\"exp\":4000000000}", secret);
    char *forged = bearer("{\"sub\":\"t\",\"exp\":4000000000}", "another");
    struct chain_fixture f;

    (void)state;
    chain_set_up(&f);
    chain_make(&f);
    f.is_rehearsal = true;
    chain_expect(&f, NULL, "ip:192.0.2.7", "", 0);
    assert_int_equal(f.identity.method, IDENTITY_BY_ADDRESS);
    chain_expect(&f, "X-API-Key: filed-key", "user:filed", "pro", 0);
    assert_int_equal(f.identity.method, IDENTITY_BY_API_KEY);
    chain_expect(&f, "X-API-Key: alice-key", "user:alice", "team", 0);
    assert_int_equal(f.identity.method, IDENTITY_BY_API_KEY);
    chain_expect(&f, token, "user:t", "", 0);
    assert_int_equal(f.identity.method, IDENTITY_BY_JWT);
    for (int i = 0; i < 3; i++) { /* no failure, and the source is asked each time */
        chain_expect(&f, "X-API-Key: nobody", "ip:192.0.2.7", "", 0);
        chain_expect(&f, forged, "ip:192.0.2.7", "", 0);
    }
    assert_int_equal(f.identity.method, IDENTITY_BY_ADDRESS);
    assert_int_equal(f.source.asked, 4);
    f.budget.left = 0; /* nothing of it is remembered */
    chain_expect_spent(&f, "X-API-Key: filed-key");
    chain_expect_spent(&f, "X-API-Key: alice-key");
    chain_expect_spent(&f, token);
    f.is_rehearsal = false;
    chain_expect_spent(&f, "X-API-Key: filed-key");
    chain_expect_spent(&f, "X-API-Key: alice-key");
    chain_expect_spent(&f, token);
    f.budget.left = 9;
    chain_expect(&f, "X-API-Key: alice-key", "user:alice", "team", 0);
    f.budget.left = 0;
    f.is_rehearsal = true; /* and what the chain remembers counts here, too */
    chain_expect(&f, "X-API-Key: alice-key", "user:alice", "team", 0);
    f.source.is_away = true;
    f.budget.left = 9;
    for (int i = 0; i < 20; i++)
        chain_expect(&f, "X-API-Key: bob-key", "ip:192.0.2.7", "", 0);
    f.source.is_away = false; /* those silences opened no pause */
    f.is_rehearsal = false;
    chain_expect(&f, "X-API-Key: bob-key", "user:b%20ob", "", 0);
    chain_tear_down(&f);
    mem_free(token);
    mem_free(forged);
}

static void test_pending(void **state)
{
    const char *two[] = {"X-API-Key: nobody", "Authorization: Bearer bob-key", NULL};
    struct chain_fixture f;

    (void)state;
    chain_set_up(&f);
    chain_make(&f);
    f.source.is_pending = true;
    assert_int_equal(chain_resolve(&f, two), PROGRESS_PENDING);
    assert_int_equal(f.done_count, 0);
    chain_answer(&f); /* the first is refused, the second is asked for */
    assert_int_equal(f.done_count, 0);
    assert_int_equal(f.budget.charged, 1);
    chain_answer(&f);
    assert_int_equal(f.done_count, 1);
    chain_expect_key(&f, "user:b%20ob", "");
    f.source.is_pending = false;
    chain_expect(&f, "X-API-Key: bob-key", "user:b%20ob", "", 0); /* remembered */
    assert_int_equal(f.source.asked, 2);

    f.source.is_pending = true;
    f.source.is_away = true;
    chain_advance(&f, 60000);
    assert_int_equal(chain_resolve(&f, two), PROGRESS_PENDING);
    chain_answer(&f); /* in vain: the second is not asked for, but was known */
    assert_int_equal(f.done_count, 2);
    chain_expect_key(&f, "user:b%20ob", "");
    chain_tear_down(&f);
}

static void test_cancel(void **state)
{
    const char *one[] = {"X-API-Key: alice-key", NULL};
    struct identity_call *nothing = NULL;
    struct chain_fixture f;

    (void)state;
    chain_set_up(&f);
    chain_make(&f);
    f.source.is_pending = true;
    assert_int_equal(chain_resolve(&f, one), PROGRESS_PENDING);
    identity_cancel(&f.call);
    assert_null(f.call);
    identity_cancel(&f.call);
    identity_cancel(&nothing);
    assert_int_equal(f.source.cancelled, 1);
    assert_int_equal(f.done_count, 0);
    chain_tear_down(&f);
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
    struct chain_fixture f;

    (void)state;
    chain_set_up(&f);
    f.options.user_header = user_header;
    f.options.tier_header = tier_header;
    chain_make(&f);
    chain_expect(&f, "X-User: dave", "ip:192.0.2.7", "", 0); /* not from a trusted peer */
    f.is_peer_trusted = true;
    for (size_t i = 0; i < COUNT_OF(rows); i++) {
        assert_int_equal(chain_resolve(&f, rows[i].lines), PROGRESS_DONE);
        chain_expect_key(&f, rows[i].key, rows[i].tier);
    }
    chain_tear_down(&f);
}

/* A reload: keys of the file come and go at once, what the source said stays, tokens are verified
 * anew. */
static void test_reload(void **state)
{
    char *good = bearer("{\"sub\":\"carol\"}", secret);
    char *secrets[] = {pro};
    struct identity_config *former;
    struct chain_fixture f;
    struct error error;

    (void)state;
    chain_set_up(&f);
    chain_make(&f);
    chain_expect(&f, "X-API-Key: filed-key", "user:filed", "pro", 0);
    chain_expect(&f, "X-API-Key: alice-key", "user:alice", "team", 0);
    chain_expect(&f, "X-API-Key: new-key", "ip:192.0.2.7", "", 1);
    chain_expect(&f, good, "user:carol", "", 0);
    former = f.config;
    f.config = identity_config_create(&f.options, &f.client_ip, &error);
    identity_chain_configure(f.chain, f.config, &f.source.source);
    identity_config_unref(&former);
    f.budget.left = 0;
    chain_expect(&f, "X-API-Key: filed-key", "user:filed", "pro",
                 0); /* still remembered as valid */
    chain_expect(&f, "X-API-Key: alice-key", "user:alice", "team", 0);
    f.budget.left = 1000;

    former = f.config;
    chain_digest("new-key", f.entry.sha256);
    f.options.jwt.secrets = secrets;
    f.config = identity_config_create(&f.options, &f.client_ip, &error);
    identity_chain_configure(f.chain, f.config, &f.source.source);
    identity_config_unref(&former);
    chain_expect(&f, "X-API-Key: new-key", "user:filed", "pro", 0);
    chain_expect(&f, "X-API-Key: filed-key", "ip:192.0.2.7", "", 1);
    chain_expect(&f, "X-API-Key: alice-key", "user:alice", "team", 0);
    chain_expect(&f, good, "ip:192.0.2.7", "", 1);
    former = f.config;
    f.options.api_key.redis_lookup = false;
    f.config = identity_config_create(&f.options, &f.client_ip, &error);
    identity_chain_configure(f.chain, f.config, &f.source.source);
    identity_config_unref(&former);
    chain_expect(&f, "X-API-Key: alice-key", "ip:192.0.2.7", "", 1);
    chain_tear_down(&f);
    mem_free(good);
}

/* A reload while a look-up is under way: the call ends well, and by the new rules for what is left.
 */
static void test_reload_while_pending(void **state)
{
    const char *two[] = {"X-API-Key: nobody", "Authorization: Bearer bob-key", NULL};
    struct identity_config *former;
    struct chain_fixture f;
    struct error error;

    (void)state;
    chain_set_up(&f);
    chain_make(&f);
    f.source.is_pending = true;
    assert_int_equal(chain_resolve(&f, two), PROGRESS_PENDING);
    former = f.config;
    f.options.api_key.redis_lookup = false;
    f.config = identity_config_create(&f.options, &f.client_ip, &error);
    identity_chain_configure(f.chain, f.config, NULL);
    identity_config_unref(&former);
    chain_answer(&f);
    assert_int_equal(f.done_count, 1);
    chain_expect_key(&f, "ip:192.0.2.7", "");
    chain_tear_down(&f);
}

static void test_bad_config(void **state)
{
    char missing[] = "/nonexistent.pem";
    struct chain_fixture f;
    struct error error;

    (void)state;
    chain_set_up(&f);
    f.options.jwt.public_key_files = TEXTS(missing);
    f.options.jwt.public_key_count = 1;
    assert_null(identity_config_create(&f.options, &f.client_ip, &error));
    assert_string_equal(error.text, "/nonexistent.pem: No such file or directory");
}

/* 10,000 random keys of one address: a bounded number of look-ups, and the users it shares the
 * cache with stay. */
static void test_flood(void **state)
{
    struct chain_fixture f;

    (void)state;
    chain_set_up(&f);
    chain_make(&f);
    chain_expect(&f, "X-API-Key: alice-key", "user:alice", "team", 0);
    f.budget.left = 30;
    for (int i = 0; i < 10000; i++) {
        char line[64];
        const char *lines[] = {line, NULL};

        (void)snprintf(line, sizeof(line), "X-API-Key: random-%d", i);
        assert_int_equal(chain_resolve(&f, lines), PROGRESS_DONE);
        assert_int_equal(f.identity.has_spent_failures, i >= 30);
    }
    assert_int_equal(f.source.asked, 31);
    chain_expect(&f, "X-API-Key: alice-key", "user:alice", "team", 0);
    assert_int_equal(f.source.asked, 31);
    chain_tear_down(&f);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_keys),
        cmocka_unit_test(test_long_key),
        cmocka_unit_test(test_order),
        cmocka_unit_test(test_tokens),
        cmocka_unit_test(test_key_then_token),
        cmocka_unit_test(test_no_source),
        cmocka_unit_test(test_cache),
        cmocka_unit_test(test_away),
        cmocka_unit_test(test_spent),
        cmocka_unit_test(test_rehearsal),
        cmocka_unit_test(test_pending),
        cmocka_unit_test(test_cancel),
        cmocka_unit_test(test_front_end),
        cmocka_unit_test(test_reload),
        cmocka_unit_test(test_reload_while_pending),
        cmocka_unit_test(test_bad_config),
        cmocka_unit_test(test_flood),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
