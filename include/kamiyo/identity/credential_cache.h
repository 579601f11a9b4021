/* SPDX-License-Identifier: MIT */
#pragma once

#include <stddef.h>
#include <stdint.h>

#include "kamiyo/base/attributes.h"
#include "kamiyo/identity/key_source.h"

/*
 * What is known about credentials, by their digests: bounded in number, the
 * one that was asked for longest ago makes room. An entry past its time stays
 * until then; whether it still counts is for the caller. One thread.
 */
struct credential_cache;

struct credential {
    int64_t expires_ms; /* on the caller's clock; may be changed in place */
    struct slice user;  /* escaped; empty for a refused one */
    struct slice tier;
};

/* `limit`: entries at most, at least 1. Memory is taken as entries come. */
struct credential_cache *credential_cache_create(size_t limit) MUST_CHECK;
void credential_cache_destroy(struct credential_cache **cache);
void credential_cache_clear(struct credential_cache *cache);
/* Entries kept now, for tests. */
size_t credential_cache_count(const struct credential_cache *cache);
/* NULL = not known. The entry is valid until the next put, remove or clear. */
struct credential *credential_cache_find(struct credential_cache *cache,
                                         const uint8_t digest[KEY_SOURCE_DIGEST_BYTES]);
/* Enter or replace; `record` NULL = refused. */
void credential_cache_put(struct credential_cache *cache,
                          const uint8_t digest[KEY_SOURCE_DIGEST_BYTES],
                          const struct key_record *record,
                          int64_t expires_ms);
void credential_cache_remove(struct credential_cache *cache,
                             const uint8_t digest[KEY_SOURCE_DIGEST_BYTES]);
