/* SPDX-License-Identifier: MIT */
/* Tokens of every algorithm, every claim that is checked, and the known ways to cheat. */
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

#include "kamiyo/base/mem.h"
#include "kamiyo/identity/jwt.h"

#include "identity_support.h"

#define TEXTS(...)  \
    (char *[])      \
    {               \
        __VA_ARGS__ \
    }
#define NOW_MS (1700000000LL * 1000)
#define ALL    (JWT_HS256 | JWT_HS384 | JWT_HS512 | JWT_RS256 | JWT_ES256 | JWT_EDDSA)
#define GOOD   "{\"sub\":\"alice\",\"tier\":\"pro\",\"exp\":1700000100}"

static char secret[] = "0123456789abcdef0123456789abcdef",
            old_secret[] = "previous-secret-previous-secret-", sub[] = "sub", tier[] = "tier",
            none[] = "", issuer[] = "https://issuer", audience[] = "kamiyo";

static struct jwt_options options_with(unsigned algorithms)
{
    static char *secrets[2];

    secrets[0] = secret;
    secrets[1] = old_secret;
    return (struct jwt_options){.secrets = secrets,
                                .secret_count = 2,
                                .algorithms = algorithms,
                                .user_claim = sub,
                                .tier_claim = tier,
                                .issuer = none,
                                .audience = none,
                                .leeway_ms = 30000};
}

/* Verify a token with fresh keys and free it. */
static enum jwt_outcome
judge(const struct jwt_options *options, char *token, struct jwt_claims *claims)
{
    struct error error;
    struct jwt_keys *keys = jwt_keys_create(options, &error);
    struct jwt_verifier *verifier;
    enum jwt_outcome first, second;

    assert_non_null(keys);
    verifier = jwt_verifier_create(keys);
    first = jwt_verify(verifier, slice_of(token), NOW_MS, claims);
    second = jwt_verify(verifier, slice_of(token), NOW_MS, claims); /* contexts are used again */
    assert_int_equal(first, second);
    jwt_verifier_destroy(&verifier);
    jwt_keys_destroy(&keys);
    mem_free(token);
    return first;
}

static void test_hmac(void **state)
{
    static const struct {
        const char *digest, *header;
        unsigned listed;
        enum jwt_outcome outcome;
    } rows[] = {
        {"SHA256", "{\"alg\":\"HS256\"}", JWT_HS256, JWT_VALID},
        {"SHA384", "{\"alg\":\"HS384\",\"typ\":\"JWT\"}", JWT_HS384, JWT_VALID},
        {"SHA512", "{\"alg\":\"HS512\"}", ALL, JWT_VALID},
        {"SHA384", "{\"alg\":\"HS384\"}", JWT_HS256, JWT_ALGORITHM},
        {"SHA256", "{\"alg\":\"HS384\"}", ALL, JWT_SIGNATURE}, /* a digest of another length */
        {"SHA256", "{\"alg\":\"hs256\"}", ALL, JWT_ALGORITHM},
        {"SHA256", "{\"alg\":\"none\"}", ALL, JWT_ALGORITHM},
        {"SHA256", "{\"alg\":\"None\"}", ALL, JWT_ALGORITHM},
        {"SHA256", "{\"alg\":\"RS256\"}", ALL, JWT_SIGNATURE}, /* no such key */
        {"SHA256", "{\"alg\":\"PS256\"}", ALL, JWT_ALGORITHM},
        {"SHA256", "{}", ALL, JWT_MALFORMED},
        {"SHA256", "{\"alg\":256}", ALL, JWT_MALFORMED},
        {"SHA256", "[\"HS256\"]", ALL, JWT_MALFORMED},
        {"SHA256", "{\"alg\":\"HS256\",\"alg\":\"none\"}", ALL, JWT_MALFORMED},
        {"SHA256", "{\"alg\":\"HS256\",\"crit\":[\"exp\"]}", ALL, JWT_MALFORMED},
        {"SHA256", "{\"alg\":\"HS256\",\"b64\":false,\"crit\":[\"b64\"]}", ALL, JWT_MALFORMED},
        {"SHA256", "{\"alg\":\"HS256\"", ALL, JWT_MALFORMED},
        {"SHA256", "{\"alg\":\"HS256\"} x", ALL, JWT_MALFORMED},
    };
    static const char *const secrets[] = {secret, old_secret};

    (void)state;
    for (size_t i = 0; i < COUNT_OF(rows); i++)
        for (size_t j = 0; j < COUNT_OF(secrets); j++) {
            struct jwt_options options = options_with(rows[i].listed);
            struct jwt_claims claims;
            enum jwt_outcome outcome =
                judge(&options, token_sign_hmac(rows[i].digest, secrets[j], rows[i].header, GOOD),
                      &claims);

            if (outcome != rows[i].outcome)
                fail_msg("%s %s: %s", rows[i].digest, rows[i].header, jwt_outcome_name(outcome));
            if (outcome != JWT_VALID)
                continue;
            assert_int_equal(claims.expires_ms, 1700000130000);
            assert_int_equal(claims.owner.user_length, 5);
            assert_memory_equal(claims.owner.user, "alice", 5);
            assert_memory_equal(claims.owner.tier, "pro", 3);
        }
}

/* RFC 7515 A.1: another's token, with its odd white space. */
static void test_vector(void **state)
{
    static const unsigned char key[] = {
        3,   35,  53, 75,  43,  15, 165, 188, 131, 126, 6,   101, 119, 123, 166, 143,
        90,  179, 40, 230, 240, 84, 201, 40,  169, 15,  132, 178, 210, 80,  46,  191,
        211, 251, 90, 146, 210, 6,  71,  239, 150, 138, 180, 195, 119, 98,  61,  34,
        61,  46,  33, 114, 5,   46, 79,  8,   192, 205, 154, 245, 103, 208, 128, 163};
    static const char token[] =
        "eyJ0eXAiOiJKV1QiLA0KICJhbGciOiJIUzI1NiJ9"
        ".eyJpc3MiOiJqb2UiLA0KICJleHAiOjEzMDA4MTkzODAsDQogImh0dHA6Ly9leGFtcGxlLmNvbS9pc19yb29"
        "0Ijp0cnVlfQ.dBjftJeZ4CVP-mB92K27uhbUJU1p1r_wW1gFWFOEjXk";
    char *bytes = mem_copy_bytes(key, sizeof(key));
    char iss[] = "iss";
    struct jwt_options options = {
        .secrets = &bytes, .secret_count = 1, .algorithms = JWT_HS256, .user_claim = iss};
    struct error error;
    struct jwt_keys *keys = jwt_keys_create(&options, &error);
    struct jwt_verifier *verifier = jwt_verifier_create(keys);
    struct jwt_claims claims;

    (void)state;
    assert_true(jwt_has_form(slice_of(token)));
    assert_int_equal(jwt_verify(verifier, slice_of(token), 1300819379000, &claims), JWT_VALID);
    assert_memory_equal(claims.owner.user, "joe", 3);
    assert_int_equal(jwt_verify(verifier, slice_of(token), 1300819380000, &claims), JWT_EXPIRED);
    jwt_verifier_destroy(&verifier);
    jwt_keys_destroy(&keys);
    mem_free(bytes);
}

static void test_claims(void **state)
{
    static const struct {
        const char *payload;
        enum jwt_outcome outcome;
        const char *user, *tier;
        bool asks; /* for issuer and audience */
    } rows[] = {
        {.payload = GOOD, .outcome = JWT_VALID, .user = "alice", .tier = "pro"},
        {.payload = "{\"sub\":\"alice\"}", .outcome = JWT_VALID, .user = "alice", .tier = ""},
        {.payload = "{\"sub\":4711,\"tier\":7}", .outcome = JWT_VALID, .user = "4711", .tier = ""},
        {.payload = "{\"sub\":-1}", .outcome = JWT_VALID, .user = "-1", .tier = ""},
        {.payload = "{\"sub\":\"a|b\",\"tier\":\"no tier\"}",
         .outcome = JWT_VALID,
         .user = "a%7Cb",
         .tier = ""},
        {.payload = "{\"sub\":\"\"}", .outcome = JWT_NO_USER},
        {.payload = "{\"sub\":null}", .outcome = JWT_NO_USER},
        {.payload = "{\"sub\":[\"alice\"]}", .outcome = JWT_NO_USER},
        {.payload = "{\"sub\":1.5}", .outcome = JWT_NO_USER},
        {.payload = "{\"name\":\"alice\"}", .outcome = JWT_NO_USER},
        {.payload = "{}", .outcome = JWT_NO_USER},
        {.payload = "{\"sub\":\"a\",\"exp\":1699999971}",
         .outcome = JWT_VALID,
         .user = "a",
         .tier = ""}, /* the leeway's last second */
        {.payload = "{\"sub\":\"a\",\"exp\":1699999970}", .outcome = JWT_EXPIRED},
        {.payload = "{\"sub\":\"a\",\"exp\":1699999970.001}",
         .outcome = JWT_VALID,
         .user = "a",
         .tier = ""},
        {.payload = "{\"sub\":\"a\",\"exp\":0}", .outcome = JWT_EXPIRED},
        {.payload = "{\"sub\":\"a\",\"exp\":-5}", .outcome = JWT_EXPIRED},
        {.payload = "{\"sub\":\"a\",\"exp\":\"1700000100\"}", .outcome = JWT_MALFORMED},
        {.payload = "{\"sub\":\"a\",\"exp\":null}", .outcome = JWT_MALFORMED},
        {.payload = "{\"sub\":\"a\",\"exp\":1e300}", .outcome = JWT_MALFORMED},
        {.payload = "{\"sub\":\"a\",\"exp\":9223372036854775807}", .outcome = JWT_MALFORMED},
        {.payload = "{\"sub\":\"a\",\"nbf\":1700000030}",
         .outcome = JWT_VALID,
         .user = "a",
         .tier = ""},
        {.payload = "{\"sub\":\"a\",\"nbf\":1700000031}", .outcome = JWT_NOT_YET},
        {.payload = "{\"sub\":\"a\",\"nbf\":true}", .outcome = JWT_MALFORMED},
        {.payload = "{\"sub\":\"a\",\"iat\":\"any\"}",
         .outcome = JWT_VALID,
         .user = "a",
         .tier = ""},
        {.payload = "{\"sub\":\"a\",\"sub\":\"b\"}", .outcome = JWT_MALFORMED},
        {.payload = "{\"sub\":\"a\\u0000b\"}", .outcome = JWT_MALFORMED},
        {.payload = "{\"sub\":\"a\"}x", .outcome = JWT_MALFORMED},
        {.payload = "\"sub\"", .outcome = JWT_MALFORMED},
        {.payload = "", .outcome = JWT_MALFORMED},
        {.payload = "{\"sub\":\"a\",\"x\":[[[[[[[[[[[[[[[1]]]]]]]]]]]]]]]}",
         .outcome = JWT_VALID,
         .user = "a",
         .tier = ""}, /* 16 deep */
        {.payload = "{\"sub\":\"a\",\"x\":[[[[[[[[[[[[[[[[1]]]]]]]]]]]]]]]]}",
         .outcome = JWT_MALFORMED},
        {.payload = "{\"sub\":\"a\",\"x\":\"[[[[[[[[[[[[[[[[[[\\\"[[[[[[[\"}",
         .outcome = JWT_VALID,
         .user = "a",
         .tier = ""},
        {.payload = GOOD, .outcome = JWT_ISSUER, .asks = true},
        {.payload = "{\"sub\":\"a\",\"iss\":\"https://issuer/\",\"aud\":\"kamiyo\"}",
         .outcome = JWT_ISSUER,
         .asks = true},
        {.payload = "{\"sub\":\"a\",\"iss\":[\"https://issuer\"],\"aud\":\"kamiyo\"}",
         .outcome = JWT_ISSUER,
         .asks = true},
        {.payload = "{\"sub\":\"a\",\"iss\":\"https://issuer\"}",
         .outcome = JWT_AUDIENCE,
         .asks = true},
        {.payload = "{\"sub\":\"a\",\"iss\":\"https://issuer\",\"aud\":\"Kamiyo\"}",
         .outcome = JWT_AUDIENCE,
         .asks = true},
        {.payload = "{\"sub\":\"a\",\"iss\":\"https://issuer\",\"aud\":[\"x\",7]}",
         .outcome = JWT_AUDIENCE,
         .asks = true},
        {.payload = "{\"sub\":\"a\",\"iss\":\"https://issuer\",\"aud\":[\"x\",\"kamiyo\"]}",
         .outcome = JWT_VALID,
         .user = "a",
         .tier = "",
         .asks = true},
        {.payload = "{\"sub\":\"a\",\"iss\":\"https://issuer\",\"aud\":\"kamiyo\"}",
         .outcome = JWT_VALID,
         .user = "a",
         .tier = "",
         .asks = true},
    };

    (void)state;
    for (size_t i = 0; i < COUNT_OF(rows); i++) {
        struct jwt_options options = options_with(JWT_HS256);
        struct jwt_claims claims;
        enum jwt_outcome outcome;

        if (rows[i].asks) {
            options.issuer = issuer;
            options.audience = audience;
        }
        outcome = judge(&options,
                        token_sign_hmac("SHA256", secret, "{\"alg\":\"HS256\"}", rows[i].payload),
                        &claims);
        if (outcome != rows[i].outcome)
            fail_msg("%s: %s", rows[i].payload, jwt_outcome_name(outcome));
        if (outcome != JWT_VALID)
            continue;
        assert_int_equal(claims.owner.user_length, strlen(rows[i].user));
        assert_memory_equal(claims.owner.user, rows[i].user, claims.owner.user_length);
        assert_int_equal(claims.owner.tier_length, strlen(rows[i].tier));
        assert_memory_equal(claims.owner.tier, rows[i].tier, claims.owner.tier_length);
    }
}

static void test_public_keys(void **state)
{
    static const char *const headers[] = {"{\"alg\":\"RS256\"}", "{\"alg\":\"ES256\"}",
                                          "{\"alg\":\"EdDSA\"}"};
    EVP_PKEY *keys[] = {token_key_rsa(2048), token_key_ec("P-256"), token_key_ed25519()};
    EVP_PKEY *others[] = {token_key_rsa(2048), token_key_ec("P-256"), token_key_ed25519()};
    char paths[3][32];
    char *files[3];
    struct jwt_options options = options_with(ALL);
    struct jwt_claims claims;

    (void)state;
    for (size_t i = 0; i < 3; i++) {
        memcpy(paths[i], "/tmp/jwt_test_XXXXXX", sizeof("/tmp/jwt_test_XXXXXX"));
        token_write_public(keys[i], paths[i]);
        files[i] = paths[i];
    }
    options.public_key_files = files;
    options.public_key_count = 3;
    for (int round = 0; round < 8; round++) /* r and s of ES256 are short now and then */
        for (size_t i = 0; i < 3; i++)
            for (size_t j = 0; j < 3; j++) {
                enum jwt_outcome outcome =
                    judge(&options, token_sign_key(keys[i], headers[j], GOOD), &claims);

                assert_int_equal(outcome, i == j ? JWT_VALID : JWT_SIGNATURE);
            }
    for (size_t i = 0; i < 3; i++)
        assert_int_equal(judge(&options, token_sign_key(others[i], headers[i], GOOD), &claims),
                         JWT_SIGNATURE);
    for (size_t i = 0; i < 3; i++) {
        (void)unlink(paths[i]); /* a leftover of the test harms nobody */
        EVP_PKEY_free(keys[i]);
        EVP_PKEY_free(others[i]);
    }
}

/* A public key is no secret: its PEM as an HMAC key is the classic forgery. */
static void test_confusion(void **state)
{
    EVP_PKEY *key = token_key_rsa(2048);
    char path[] = "/tmp/jwt_test_XXXXXX", pem[4096];
    char *files[] = {path};
    struct jwt_options options = options_with(JWT_RS256 | JWT_HS256);
    struct jwt_claims claims;
    FILE *file;

    (void)state;
    token_write_public(key, path);
    file = fopen(path, "r");
    assert_non_null(file);
    pem[fread(pem, 1, sizeof(pem) - 1, file)] = '\0';
    assert_int_equal(fclose(file), 0);
    options.public_key_files = files;
    options.public_key_count = 1;
    assert_int_equal(
        judge(&options, token_sign_hmac("SHA256", pem, "{\"alg\":\"HS256\"}", GOOD), &claims),
        JWT_SIGNATURE);
    options.secret_count = 0;
    assert_int_equal(
        judge(&options, token_sign_hmac("SHA256", pem, "{\"alg\":\"HS256\"}", GOOD), &claims),
        JWT_SIGNATURE);
    assert_int_equal(
        judge(&options, token_sign_hmac("SHA256", "", "{\"alg\":\"HS256\"}", GOOD), &claims),
        JWT_SIGNATURE);
    assert_int_equal(judge(&options, token_sign_key(key, "{\"alg\":\"RS256\"}", GOOD), &claims),
                     JWT_VALID);
    (void)unlink(path); /* a leftover of the test harms nobody */
    EVP_PKEY_free(key);
}

static void test_forms(void **state)
{
    static const struct {
        const char *token;
        bool has_form;
        enum jwt_outcome outcome;
    } rows[] = {
        {"", false, JWT_MALFORMED},
        {"a.b", false, JWT_MALFORMED},
        {"a.b.c.d", false, JWT_MALFORMED},
        {"a.b.c", true, JWT_MALFORMED},
        {"a.b.", true, JWT_MALFORMED},
        {".b.c", false, JWT_MALFORMED},
        {"a..c", false, JWT_MALFORMED},
        {"a.b.c=", false, JWT_MALFORMED},
        {"a.b c.d", false, JWT_MALFORMED},
        {"eyJhbGciOiJub25lIn0.eyJzdWIiOiJhIn0.", true, JWT_ALGORITHM},
        {"eyJhbGciOiJIUzI1NiJ9.eyJzdWIiOiJhIn0.", true, JWT_SIGNATURE},
        {"eyJhbGciOiJIUzI1NiJ9.eyJzdWIiOiJhIn0.A", true, JWT_MALFORMED},
        {"eyJhbGciOiJIUzI1NiJ9.eyJzdWIiOiJhIn0.AAAA", true, JWT_SIGNATURE},
        {"kamiyo_live_0123456789", false, JWT_MALFORMED},
    };
    static char huge[JWT_MAX_BYTES + 2];
    struct jwt_options options = options_with(ALL);
    struct jwt_claims claims;

    (void)state;
    for (size_t i = 0; i < COUNT_OF(rows); i++) {
        enum jwt_outcome outcome = judge(&options, mem_copy_string(rows[i].token), &claims);

        if (outcome != rows[i].outcome || jwt_has_form(slice_of(rows[i].token)) != rows[i].has_form)
            fail_msg("\"%s\": %s", rows[i].token, jwt_outcome_name(outcome));
    }
    memset(huge, 'A', sizeof(huge) - 1);
    huge[100] = huge[200] = '.';
    assert_int_equal(judge(&options, mem_copy_string(huge), &claims), JWT_MALFORMED);
    huge[JWT_MAX_BYTES] = '\0';
    assert_int_equal(judge(&options, mem_copy_string(huge), &claims), JWT_MALFORMED);
}

/* Every bit of a good token counts. */
static void test_every_change(void **state)
{
    struct jwt_options options = options_with(JWT_HS256);
    struct jwt_claims claims;
    struct error error;
    struct jwt_keys *keys = jwt_keys_create(&options, &error);
    struct jwt_verifier *verifier = jwt_verifier_create(keys);
    char *token = token_sign_hmac("SHA256", secret, "{\"alg\":\"HS256\"}", GOOD);

    (void)state;
    assert_int_equal(jwt_verify(verifier, slice_of(token), NOW_MS, &claims), JWT_VALID);
    for (size_t i = 0; i < strlen(token); i++)
        for (int bit = 0; bit < 7; bit++) {
            token[i] = (char)(token[i] ^ 1 << bit);
            assert_int_not_equal(jwt_verify(verifier, slice_of(token), NOW_MS, &claims), JWT_VALID);
            token[i] = (char)(token[i] ^ 1 << bit);
        }
    for (size_t cut = 0; cut < strlen(token); cut++)
        assert_int_not_equal(jwt_verify(verifier, (struct slice){token, cut}, NOW_MS, &claims),
                             JWT_VALID);
    mem_free(token);
    jwt_verifier_destroy(&verifier);
    jwt_verifier_destroy(&verifier);
    jwt_keys_destroy(&keys);
    jwt_keys_destroy(&keys);
}

static void refuse(EVP_PKEY *key, unsigned algorithms, const char *expected)
{
    char path[] = "/tmp/jwt_test_XXXXXX";
    char *files[] = {path};
    struct jwt_options options = options_with(algorithms);
    struct error error;

    token_write_public(key, path);
    options.public_key_files = files;
    options.public_key_count = 1;
    assert_null(jwt_keys_create(&options, &error));
    if (strstr(error.text, expected) == NULL || strstr(error.text, path) == NULL)
        fail_msg("\"%s\"", error.text);
    (void)unlink(path); /* a leftover of the test harms nobody */
    EVP_PKEY_free(key);
}

static void test_bad_files(void **state)
{
    char missing[] = "/nonexistent/key.pem", source[] = "/dev/null", empty[] = "";
    char *files[] = {missing}, *secrets[] = {empty};
    struct jwt_options options = options_with(ALL);
    struct jwt_keys *keys;
    struct error error;

    (void)state;
    refuse(token_key_rsa(1024), ALL, "2048 bits");
    refuse(token_key_ec("P-384"), ALL, "P-256");
    refuse(token_key_ed25519(), JWT_RS256, "no listed algorithm");
    options.public_key_files = files;
    options.public_key_count = 1;
    assert_null(jwt_keys_create(&options, &error));
    assert_string_equal(error.text, "/nonexistent/key.pem: No such file or directory");
    files[0] = source;
    assert_null(jwt_keys_create(&options, &error));
    assert_string_equal(error.text, "/dev/null: no public key in PEM form");
    options = (struct jwt_options){.secrets = secrets, .secret_count = 1};
    assert_null(jwt_keys_create(&options, &error));
    assert_string_equal(error.text, "jwt.secrets: an empty secret");
    options.secret_count = 0;
    keys = jwt_keys_create(&options, &error);
    assert_false(jwt_keys_any(keys));
    jwt_keys_destroy(&keys);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_hmac),         cmocka_unit_test(test_vector),
        cmocka_unit_test(test_claims),       cmocka_unit_test(test_public_keys),
        cmocka_unit_test(test_confusion),    cmocka_unit_test(test_forms),
        cmocka_unit_test(test_every_change), cmocka_unit_test(test_bad_files),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
