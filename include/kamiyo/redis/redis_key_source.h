/* SPDX-License-Identifier: MIT */
#pragma once

#include <stdint.h>

#include "kamiyo/base/attributes.h"
#include "kamiyo/identity/key_source.h"

/*
 * API keys looked up in Redis: HMGET <prefix>:<sha256 in hex> user tier, on
 * the worker's own connection. A key without a user is absent; one that is no
 * hash too, for it concerns that key only. Belongs to the client's thread.
 */
struct redis_client;
struct redis_key_source;

/*
 * `client` is borrowed and must outlive it; `prefix` is copied. A look-up that takes longer than
 * timeout_ms is unavailable, and so is every one while there is no connection, at once.
 */
struct redis_key_source *redis_key_source_create(struct redis_client *client,
                                                 const char *prefix,
                                                 int64_t timeout_ms) MUST_CHECK;
/* After a reload; calls that are pending keep what they began with. */
void redis_key_source_configure(struct redis_key_source *source,
                                const char *prefix,
                                int64_t timeout_ms);
/* Every call must have ended or been cancelled. */
void redis_key_source_destroy(struct redis_key_source **source);
/* What identity_chain_create takes; NULL gives NULL. */
struct key_source *redis_key_source_as_source(struct redis_key_source *source);
