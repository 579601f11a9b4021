/* SPDX-License-Identifier: MIT */
#pragma once

#include <stdbool.h>
#include <stdint.h>

#include "kamiyo/base/attributes.h"
#include "kamiyo/base/error.h"
#include "kamiyo/base/slice.h"
#include "kamiyo/identity/identity_options.h"
#include "kamiyo/identity/key_source.h"

/*
 * JSON Web Tokens (RFC 7519) in their compact signed form (RFC 7515): verified
 * with what the configuration lists, and read for user and tier. Encrypted,
 * unsigned and detached tokens, and those with critical extensions, are refused.
 */

/* Tokens that are longer are refused unread. */
#define JWT_MAX_BYTES 16384

enum jwt_outcome {
    JWT_VALID,
    JWT_MALFORMED, /* form, base64url, JSON, a claim of the wrong type */
    JWT_ALGORITHM, /* not listed, or no key for it */
    JWT_SIGNATURE,
    JWT_EXPIRED,
    JWT_NOT_YET,
    JWT_ISSUER,
    JWT_AUDIENCE,
    JWT_NO_USER,
};

/* "expired", for debug messages. */
const char *jwt_outcome_name(enum jwt_outcome outcome);

/* Secrets, public keys and expectations. Immutable once made; any thread. */
struct jwt_keys;

/*
 * Copies the options and reads the PEM files (public keys or certificates, any number in each).
 * NULL and *error when a file cannot be read or holds no public key, or one that no listed
 * algorithm uses, or RSA under 2048 bits.
 */
struct jwt_keys *jwt_keys_create(const struct jwt_options *options, struct error *error) MUST_CHECK;
/* Wipes the secrets. */
void jwt_keys_destroy(struct jwt_keys **keys);
/* Whether there is any secret or public key, so that a token could verify. */
bool jwt_keys_any(const struct jwt_keys *keys);

/* Whether a credential has the form of a token: three parts of base64url, the last of which may be
 * empty. */
bool jwt_has_form(struct slice text);

struct jwt_claims {
    struct key_record owner; /* FOUND when valid */
    int64_t expires_ms;      /* Unix time, leeway included; INT64_MAX = never */
};

/* The contexts of one thread over keys that outlive it. */
struct jwt_verifier;

struct jwt_verifier *jwt_verifier_create(const struct jwt_keys *keys) MUST_CHECK;
void jwt_verifier_destroy(struct jwt_verifier **verifier);
/* *claims is filled when the outcome is JWT_VALID. Nothing of the payload is parsed before the
 * signature is good. */
enum jwt_outcome jwt_verify(struct jwt_verifier *verifier,
                            struct slice token,
                            int64_t now_unix_ms,
                            struct jwt_claims *claims);
