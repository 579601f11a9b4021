/* SPDX-License-Identifier: MIT */
#pragma once

#include <stdbool.h>
#include <stddef.h>

#include <openssl/evp.h>

/* Tokens and keys as an issuer would make them. All results are the caller's to free with mem_free
 * (keys: EVP_PKEY_free). */

char *token_encode(const void *bytes, size_t length); /* base64url */
/* HMAC with "SHA256", "SHA384" or "SHA512". */
char *
token_sign_hmac(const char *digest, const char *secret, const char *header, const char *payload);
/* RS256, ES256 (signature as r and s) or EdDSA by the key's kind. */
char *token_sign_key(EVP_PKEY *key, const char *header, const char *payload);
/* header.payload.signature from the three texts; the signature is encoded as it is. */
char *token_join(const char *header, const char *payload, const void *signature, size_t length);

EVP_PKEY *token_key_rsa(unsigned bits);
EVP_PKEY *token_key_ec(const char *curve);
EVP_PKEY *token_key_ed25519(void);
/* Write the public key's PEM to a new file; `path` is a mkstemp template and becomes its name. */
void token_write_public(EVP_PKEY *key, char *path);
