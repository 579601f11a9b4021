/* SPDX-License-Identifier: MIT */
/*
 * Signatures of tokens (RFC 7518 3, RFC 8037 3.1) by OpenSSL. The algorithm
 * chooses which keys are tried, never the other way round. HMAC contexts are
 * keyed once and begun anew for each token; belongs to one thread.
 */
#include <string.h>

#include <openssl/core_names.h>
#include <openssl/crypto.h>
#include <openssl/ecdsa.h>
#include <openssl/err.h>
#include <openssl/evp.h>

#include "kamiyo/base/mem.h"

#include "identity/identity_internal.h"

#define HMAC_KINDS       3
#define ES256_HALF_BYTES 32
/* A DER sequence of two integers of up to 33 bytes. */
#define ES256_MAX_DER 80

struct jwt_signature {
    const struct jwt_keys *keys;
    EVP_MAC *hmac;
    EVP_MAC_CTX **contexts; /* secret * HMAC_KINDS + kind, made at first use */
    EVP_MD_CTX *public_key_context;
};

static const struct {
    enum jwt_algorithm algorithm;
    const char *digest;
    size_t length;
} hmac_kinds[HMAC_KINDS] = {
    {JWT_HS256, "SHA256", 32}, {JWT_HS384, "SHA384", 48}, {JWT_HS512, "SHA512", 64}};

struct jwt_signature *jwt_signature_create(const struct jwt_keys *keys)
{
    struct jwt_signature *checker = mem_alloc_zero(sizeof(*checker));

    checker->keys = keys;
    checker->hmac = EVP_MAC_fetch(NULL, "HMAC", NULL);
    checker->public_key_context = EVP_MD_CTX_new();
    checker->contexts =
        mem_alloc_zero((keys->secret_count * HMAC_KINDS + 1) * sizeof(EVP_MAC_CTX *));
    return checker;
}

void jwt_signature_destroy(struct jwt_signature **handle)
{
    struct jwt_signature *checker = *handle;

    if (checker == NULL)
        return;
    *handle = NULL;
    for (size_t i = 0; i < checker->keys->secret_count * HMAC_KINDS; i++)
        EVP_MAC_CTX_free(checker->contexts[i]);
    EVP_MAC_free(checker->hmac);
    EVP_MD_CTX_free(checker->public_key_context);
    mem_free(checker->contexts);
    mem_free(checker);
}

/* The context of a secret and a digest, ready for a new message; NULL when OpenSSL refuses. */
static EVP_MAC_CTX *begin_hmac(struct jwt_signature *checker, size_t secret, size_t kind)
{
    EVP_MAC_CTX **context = &checker->contexts[secret * HMAC_KINDS + kind];
    const struct jwt_secret *key = &checker->keys->secrets[secret];
    char digest[8];
    OSSL_PARAM parameters[2];

    if (*context != NULL)
        return EVP_MAC_init(*context, NULL, 0, NULL) == 1 ? *context : NULL;
    if (checker->hmac == NULL || (*context = EVP_MAC_CTX_new(checker->hmac)) == NULL)
        return NULL;
    memcpy(digest, hmac_kinds[kind].digest, sizeof("SHA256"));
    parameters[0] = OSSL_PARAM_construct_utf8_string(OSSL_MAC_PARAM_DIGEST, digest, 0);
    parameters[1] = OSSL_PARAM_construct_end();
    if (EVP_MAC_init(*context, key->bytes, key->length, parameters) == 1)
        return *context;
    EVP_MAC_CTX_free(*context);
    *context = NULL;
    return NULL;
}

static bool verify_hmac(struct jwt_signature *checker,
                        size_t kind,
                        struct slice text,
                        const uint8_t *signature,
                        size_t length)
{
    bool is_good = false;

    if (length != hmac_kinds[kind].length)
        return false;
    for (size_t i = 0; i < checker->keys->secret_count; i++) {
        EVP_MAC_CTX *context = begin_hmac(checker, i, kind);
        unsigned char expected[EVP_MAX_MD_SIZE];
        size_t expected_length = 0;

        if (context == NULL ||
            EVP_MAC_update(context, (const unsigned char *)text.data, text.length) != 1 ||
            EVP_MAC_final(context, expected, &expected_length, sizeof(expected)) != 1)
            continue;
        is_good |= expected_length == length && CRYPTO_memcmp(expected, signature, length) == 0;
    }
    return is_good;
}

/* RFC 7518 3.4: r and s as 32 bytes each, which OpenSSL wants as DER. Returns the DER's length, 0 =
 * refused. */
static size_t
es256_to_der(const uint8_t *signature, size_t length, unsigned char der[ES256_MAX_DER])
{
    ECDSA_SIG *pair = ECDSA_SIG_new();
    BIGNUM *r = NULL, *s = NULL;
    unsigned char *end = der;
    int written = 0;

    if (length != 2 * ES256_HALF_BYTES || pair == NULL)
        goto done;
    r = BN_bin2bn(signature, ES256_HALF_BYTES, NULL);
    s = BN_bin2bn(signature + ES256_HALF_BYTES, ES256_HALF_BYTES, NULL);
    if (r == NULL || s == NULL || ECDSA_SIG_set0(pair, r, s) != 1)
        goto done;
    r = s = NULL; /* the pair's */
    written = i2d_ECDSA_SIG(pair, NULL);
    written = written > 0 && written <= ES256_MAX_DER ? i2d_ECDSA_SIG(pair, &end) : 0;
done:
    BN_free(r);
    BN_free(s);
    ECDSA_SIG_free(pair);
    return written > 0 ? (size_t)written : 0;
}

static bool verify_public(struct jwt_signature *checker,
                          enum jwt_algorithm algorithm,
                          struct slice text,
                          const uint8_t *signature,
                          size_t length)
{
    EVP_MD_CTX *context = checker->public_key_context;
    const EVP_MD *digest = algorithm == JWT_EDDSA ? NULL : EVP_sha256();
    unsigned char der[ES256_MAX_DER];
    bool is_good = false;

    if (context == NULL)
        return false;
    if (algorithm == JWT_ES256) {
        length = es256_to_der(signature, length, der);
        signature = der;
    }
    for (size_t i = 0; length > 0 && i < checker->keys->public_key_count && !is_good; i++) {
        const struct jwt_public_key *key = &checker->keys->public_keys[i];

        if (key->algorithm != algorithm)
            continue;
        is_good = EVP_DigestVerifyInit(context, NULL, digest, NULL, key->key) == 1 &&
                  EVP_DigestVerify(context, signature, length, (const unsigned char *)text.data,
                                   text.length) == 1;
        (void)EVP_MD_CTX_reset(context); /* it always succeeds */
    }
    ERR_clear_error(); /* a signature that is wrong leaves one */
    return is_good;
}

bool jwt_signature_verify(struct jwt_signature *checker,
                          enum jwt_algorithm algorithm,
                          struct slice signed_text,
                          const uint8_t *signature,
                          size_t length)
{
    for (size_t i = 0; i < HMAC_KINDS; i++)
        if (hmac_kinds[i].algorithm == algorithm)
            return verify_hmac(checker, i, signed_text, signature, length);
    return verify_public(checker, algorithm, signed_text, signature, length);
}
