/* SPDX-License-Identifier: MIT */
/* The issuer's side of tokens, made with other calls than the verifier's where OpenSSL has them. */
#include "identity_support.h"

#include <assert.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <openssl/ecdsa.h>
#include <openssl/hmac.h>
#include <openssl/pem.h>

#include "kamiyo/base/mem.h"

char *token_encode(const void *bytes, size_t length)
{
    char *text = mem_alloc(length / 3 * 4 + 8);
    int written = EVP_EncodeBlock((unsigned char *)text, bytes, (int)length);

    for (int i = 0; i < written; i++) {
        if (text[i] == '+')
            text[i] = '-';
        else if (text[i] == '/')
            text[i] = '_';
        else if (text[i] == '=')
            text[i] = '\0';
    }
    text[written] = '\0';
    return text;
}

static char *join(const char *left, const char *right)
{
    size_t length = strlen(left) + strlen(right) + 2;
    char *text = mem_alloc(length);

    (void)snprintf(text, length, "%s.%s", left, right);
    return text;
}

static char *signed_text(const char *header, const char *payload)
{
    char *left = token_encode(header, strlen(header)),
         *right = token_encode(payload, strlen(payload));
    char *text = join(left, right);

    mem_free(left);
    mem_free(right);
    return text;
}

static char *add_signature(char *text, const void *signature, size_t length)
{
    char *last = token_encode(signature, length);
    char *token = join(text, last);

    mem_free(text);
    mem_free(last);
    return token;
}

char *token_join(const char *header, const char *payload, const void *signature, size_t length)
{
    return add_signature(signed_text(header, payload), signature, length);
}

char *
token_sign_hmac(const char *digest, const char *secret, const char *header, const char *payload)
{
    char *text = signed_text(header, payload);
    unsigned char signature[EVP_MAX_MD_SIZE];
    unsigned length = 0;

    assert(HMAC(EVP_get_digestbyname(digest), secret, (int)strlen(secret), (unsigned char *)text,
                strlen(text), signature, &length) != NULL);
    return add_signature(text, signature, length);
}

/* DER to the fixed form of RFC 7518 3.4. */
static size_t fix_ecdsa(unsigned char *signature, size_t length)
{
    const unsigned char *der = signature;
    ECDSA_SIG *pair = d2i_ECDSA_SIG(NULL, &der, (long)length);

    assert(pair != NULL);
    assert(BN_bn2binpad(ECDSA_SIG_get0_r(pair), signature, 32) == 32);
    assert(BN_bn2binpad(ECDSA_SIG_get0_s(pair), signature + 32, 32) == 32);
    ECDSA_SIG_free(pair);
    return 64;
}

char *token_sign_key(EVP_PKEY *key, const char *header, const char *payload)
{
    const EVP_MD *digest = EVP_PKEY_is_a(key, "ED25519") ? NULL : EVP_sha256();
    char *text = signed_text(header, payload);
    EVP_MD_CTX *context = EVP_MD_CTX_new();
    unsigned char signature[1024];
    size_t length = sizeof(signature);

    assert(EVP_DigestSignInit(context, NULL, digest, NULL, key) == 1);
    assert(EVP_DigestSign(context, signature, &length, (unsigned char *)text, strlen(text)) == 1);
    EVP_MD_CTX_free(context);
    if (EVP_PKEY_is_a(key, "EC"))
        length = fix_ecdsa(signature, length);
    return add_signature(text, signature, length);
}

EVP_PKEY *token_key_rsa(unsigned bits)
{
    EVP_PKEY *key = EVP_PKEY_Q_keygen(NULL, NULL, "RSA", (size_t)bits);

    assert(key != NULL);
    return key;
}

EVP_PKEY *token_key_ec(const char *curve)
{
    EVP_PKEY *key = EVP_PKEY_Q_keygen(NULL, NULL, "EC", curve);

    assert(key != NULL);
    return key;
}

EVP_PKEY *token_key_ed25519(void)
{
    EVP_PKEY *key = EVP_PKEY_Q_keygen(NULL, NULL, "ED25519");

    assert(key != NULL);
    return key;
}

void token_write_public(EVP_PKEY *key, char *path)
{
    int fd = mkstemp(path);
    FILE *file = fdopen(fd, "w");

    assert(fd >= 0 && file != NULL);
    assert(PEM_write_PUBKEY(file, key) == 1);
    assert(fclose(file) == 0);
}
