/* SPDX-License-Identifier: MIT */
/*
 * What tokens are verified with. Each public key is bound to one algorithm by
 * its kind when it is read, and secrets to the HMAC ones: a token cannot choose
 * to have an RSA key taken for an HMAC secret.
 */
#include <errno.h>
#include <stdio.h>
#include <string.h>

#include <openssl/err.h>
#include <openssl/evp.h>
#include <openssl/pem.h>
#include <openssl/x509.h>

#include "kamiyo/base/mem.h"

#include "identity/identity_internal.h"

#define MIN_RSA_BITS 2048
/* In one PEM file; a rotation needs two. */
#define MAX_KEYS_IN_FILE 64

/* The algorithm that a key of this kind is for, or 0 with a reason. */
static unsigned algorithm_of(EVP_PKEY *key, const char **reason)
{
    char group[64] = "";

    *reason = "only RSA, EC P-256 and Ed25519 keys are used";
    if (EVP_PKEY_is_a(key, "RSA")) {
        *reason = "an RSA key needs at least 2048 bits";
        return EVP_PKEY_get_bits(key) >= MIN_RSA_BITS ? JWT_RS256 : 0;
    }
    if (EVP_PKEY_is_a(key, "EC")) {
        *reason = "an EC key must be on the curve P-256";
        if (EVP_PKEY_get_group_name(key, group, sizeof(group), NULL) != 1)
            return 0;
        return strcmp(group, "prime256v1") == 0 ? JWT_ES256 : 0;
    }
    return EVP_PKEY_is_a(key, "ED25519") ? JWT_EDDSA : 0;
}

static bool
add_public_key(struct jwt_keys *keys, EVP_PKEY *key, const char *path, struct error *error)
{
    const char *reason;
    unsigned algorithm = algorithm_of(key, &reason);

    if (algorithm != 0 && (algorithm & keys->algorithms) == 0) {
        algorithm = 0;
        reason = "no listed algorithm uses a key of this kind";
    }
    if (algorithm == 0) {
        error_set(error, "%s: %s", path, reason);
        EVP_PKEY_free(key);
        return false;
    }
    keys->public_keys =
        mem_resize(keys->public_keys, (keys->public_key_count + 1) * sizeof(*keys->public_keys));
    keys->public_keys[keys->public_key_count++] =
        (struct jwt_public_key){.key = key, .algorithm = (enum jwt_algorithm)algorithm};
    return true;
}

/* The key of one PEM block, NULL if it is another kind of block. */
static EVP_PKEY *parse_block(const char *name, const unsigned char *data, long length)
{
    EVP_PKEY *key = NULL;

    if (strcmp(name, PEM_STRING_PUBLIC) == 0)
        return d2i_PUBKEY(NULL, &data, length);
    if (strcmp(name, PEM_STRING_RSA_PUBLIC) == 0)
        return d2i_PublicKey(EVP_PKEY_RSA, NULL, &data, length);
    if (strcmp(name, PEM_STRING_X509) == 0) {
        X509 *certificate = d2i_X509(NULL, &data, length);

        if (certificate != NULL)
            key = X509_get_pubkey(certificate);
        X509_free(certificate);
    }
    return key;
}

static bool read_file(struct jwt_keys *keys, const char *path, struct error *error)
{
    size_t before = keys->public_key_count;
    FILE *file = fopen(path, "re");
    char *name, *header;
    unsigned char *data;
    bool is_good = true;
    long length;

    if (file == NULL) {
        error_set(error, "%s: %s", path, strerror(errno));
        return false;
    }
    while (is_good && keys->public_key_count - before < MAX_KEYS_IN_FILE &&
           PEM_read(file, &name, &header, &data, &length) == 1) {
        EVP_PKEY *key = parse_block(name, data, length);

        if (key != NULL)
            is_good = add_public_key(keys, key, path, error);
        OPENSSL_free(name);
        OPENSSL_free(header);
        OPENSSL_clear_free(data, (size_t)length);
    }
    (void)fclose(file); /* nothing was written to it */
    ERR_clear_error();  /* the end of the file is one */
    if (is_good && keys->public_key_count == before) {
        error_set(error, "%s: no public key in PEM form", path);
        is_good = false;
    }
    return is_good;
}

static bool
add_secrets(struct jwt_keys *keys, const struct jwt_options *options, struct error *error)
{
    keys->secrets = mem_alloc_zero((options->secret_count + 1) * sizeof(*keys->secrets));
    for (size_t i = 0; i < options->secret_count; i++) {
        size_t length = strlen(options->secrets[i]);

        if (length == 0) {
            error_set(error, "jwt.secrets: an empty secret");
            return false;
        }
        keys->secrets[keys->secret_count++] =
            (struct jwt_secret){(unsigned char *)mem_copy_string(options->secrets[i]), length};
    }
    return true;
}

struct jwt_keys *jwt_keys_create(const struct jwt_options *options, struct error *error)
{
    struct jwt_keys *keys = mem_alloc_zero(sizeof(*keys));

    keys->algorithms = options->algorithms;
    keys->user_claim = mem_copy_string(options->user_claim != NULL ? options->user_claim : "sub");
    keys->tier_claim = mem_copy_string(options->tier_claim != NULL ? options->tier_claim : "");
    keys->issuer = mem_copy_string(options->issuer != NULL ? options->issuer : "");
    keys->audience = mem_copy_string(options->audience != NULL ? options->audience : "");
    keys->leeway_ms = options->leeway_ms;
    if (!add_secrets(keys, options, error))
        goto fail;
    for (size_t i = 0; i < options->public_key_count; i++)
        if (!read_file(keys, options->public_key_files[i], error))
            goto fail;
    return keys;
fail:
    jwt_keys_destroy(&keys);
    return NULL;
}

void jwt_keys_destroy(struct jwt_keys **handle)
{
    struct jwt_keys *keys = *handle;

    if (keys == NULL)
        return;
    *handle = NULL;
    for (size_t i = 0; i < keys->secret_count; i++) {
        mem_wipe(keys->secrets[i].bytes, keys->secrets[i].length);
        mem_free(keys->secrets[i].bytes);
    }
    for (size_t i = 0; i < keys->public_key_count; i++)
        EVP_PKEY_free(keys->public_keys[i].key);
    mem_free(keys->secrets);
    mem_free(keys->public_keys);
    mem_free(keys->user_claim);
    mem_free(keys->tier_claim);
    mem_free(keys->issuer);
    mem_free(keys->audience);
    mem_free(keys);
}

bool jwt_keys_any(const struct jwt_keys *keys)
{
    return keys->secret_count + keys->public_key_count > 0;
}
