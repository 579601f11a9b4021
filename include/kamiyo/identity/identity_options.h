/* SPDX-License-Identifier: MIT */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "kamiyo/limit/limit_options.h"
#include "kamiyo/net/addr.h"

/* Who names the client, and how users prove who they are; contract section 2. Strings are owned by
 * the holder. */

enum client_ip_header {
    CLIENT_IP_X_FORWARDED_FOR,
    CLIENT_IP_FORWARDED,
    CLIENT_IP_X_REAL_IP,
    CLIENT_IP_CF_CONNECTING_IP,
    CLIENT_IP_TRUE_CLIENT_IP,
};

struct client_ip_options {
    struct addr_range *trusted; /* CIDRs; `private` and `loopback` are expanded */
    size_t trusted_count;
    bool trust_unix; /* `loopback` names unix peers too */
    enum client_ip_header header;
    int hops; /* 0 = walk from the right */
    int ipv4_prefix;
    int ipv6_prefix;
};

enum jwt_algorithm {
    JWT_HS256 = 1 << 0,
    JWT_HS384 = 1 << 1,
    JWT_HS512 = 1 << 2,
    JWT_RS256 = 1 << 3,
    JWT_ES256 = 1 << 4,
    JWT_EDDSA = 1 << 5,
};

struct jwt_options {
    char **secrets;
    size_t secret_count;
    char **public_key_files; /* PEM */
    size_t public_key_count;
    unsigned algorithms; /* of enum jwt_algorithm */
    char *user_claim;
    char *tier_claim;
    char *issuer;   /* "" = not asked for */
    char *audience; /* "" = not asked for */
    int64_t leeway_ms;
};

enum api_key_header_kind {
    API_KEY_HEADER_FIELD,
    API_KEY_HEADER_AUTHORIZATION
};

/* One line of the keys file. */
struct api_key_entry {
    uint8_t sha256[32]; /* of the key */
    char *user;
    char *tier; /* "" = none named */
};

struct api_key_options {
    char **headers; /* field names; "Authorization" = its Bearer scheme */
    size_t header_count;
    char *keys_file;            /* "" = none */
    struct api_key_entry *keys; /* what stands in keys_file; no digest twice */
    size_t key_count;
    bool redis_lookup;
    char *redis_prefix;
    int64_t cache_ms;
};

struct identity_options {
    char *user_header; /* "" = off */
    char *tier_header;
    struct api_key_options api_key;
    struct jwt_options jwt;
    struct limit_policy failures; /* window_count 0 = no budget */
};
