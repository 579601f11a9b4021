/* SPDX-License-Identifier: MIT */
#pragma once

#include <stddef.h>
#include <stdint.h>

#include "kamiyo/base/slice.h"

/*
 * SHA-256 for one thread: the algorithm is fetched and the context made once,
 * which halves the time of a short digest.
 */
#define DIGEST_BYTES 32

struct evp_md_st;
struct evp_md_ctx_st;

struct digest {
    struct evp_md_st *algorithm;
    struct evp_md_ctx_st *context;
};

/* Ends the process if OpenSSL has no SHA-256 or no memory. */
void digest_init(struct digest *digest);
void digest_clear(struct digest *digest);
void digest_sha256(struct digest *digest, struct slice bytes, uint8_t out[DIGEST_BYTES]);
