/* SPDX-License-Identifier: MIT */
#pragma once

#include <stdatomic.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "kamiyo/base/slice.h"
#include "kamiyo/http/message.h"
#include "kamiyo/identity/api_key.h"
#include "kamiyo/identity/identity_options.h"
#include "kamiyo/identity/jwt.h"

/* What the files of a module that was too long for one share. */

struct evp_pkey_st;

struct jwt_secret {
    unsigned char *bytes;
    size_t length;
};

struct jwt_public_key {
    struct evp_pkey_st *key;
    enum jwt_algorithm algorithm; /* the only one that it is used for */
};

struct jwt_keys {
    struct jwt_secret *secrets;
    size_t secret_count;
    struct jwt_public_key *public_keys;
    size_t public_key_count;
    unsigned algorithms;
    char *user_claim;
    char *tier_claim;
    char *issuer;
    char *audience;
    int64_t leeway_ms;
};

/* jwt_signature.c: whether any key for `algorithm` made `signature` over `signed_text`. */
struct jwt_signature;
struct jwt_signature *jwt_signature_create(const struct jwt_keys *keys);
void jwt_signature_destroy(struct jwt_signature **checker);
bool jwt_signature_verify(struct jwt_signature *checker,
                          enum jwt_algorithm algorithm,
                          struct slice signed_text,
                          const uint8_t *signature,
                          size_t length);

/* identity_config.c: what a chain reads of the configuration; identity.h says who owns it. */
struct identity_header {
    char *text;        /* owned */
    struct slice name; /* of `text`; empty = none */
    enum http_field_id id;
    bool is_bearer; /* Authorization: only its Bearer scheme */
};

struct identity_config {
    _Atomic size_t references;
    struct client_ip_options prefixes; /* only these are set */
    struct identity_header user_header;
    struct identity_header tier_header;
    struct identity_header *key_headers;
    size_t key_header_count;
    struct api_key_table *keys;
    struct jwt_keys *jwt;
    bool has_keys;   /* a keys file or a look-up is configured */
    bool has_lookup; /* the source is to be asked */
    int64_t cache_ms;
    atomic_bool has_warned; /* that keys come and none is configured */
};
