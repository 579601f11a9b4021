/* SPDX-License-Identifier: MIT */
#pragma once

#include <stddef.h>
#include <stdint.h>

#include "kamiyo/base/attributes.h"
#include "kamiyo/identity/identity_options.h"
#include "kamiyo/identity/key_source.h"

/*
 * The keys file as a table from digest to owner. Immutable once made; any
 * thread. The time of a look-up says nothing about the stored digests: slots
 * are chosen by a keyed hash, and digests are compared in constant time.
 */
struct api_key_table;

#define API_KEY_ABSENT SIZE_MAX

/* Copies what it needs. An entry without a user is left out. */
struct api_key_table *api_key_table_create(const struct api_key_entry *entries,
                                           size_t count) MUST_CHECK;
void api_key_table_destroy(struct api_key_table **table);
size_t api_key_table_count(const struct api_key_table *table);
/* The key's index, below the count, or API_KEY_ABSENT. */
size_t api_key_table_find(const struct api_key_table *table,
                          const uint8_t digest[KEY_SOURCE_DIGEST_BYTES]);
const uint8_t *api_key_table_digest(const struct api_key_table *table, size_t index);
/* Whose key it is. */
const struct key_record *api_key_table_record(const struct api_key_table *table, size_t index);
