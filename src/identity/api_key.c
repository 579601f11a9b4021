/* SPDX-License-Identifier: MIT */
/*
 * An open-addressed table of digests, at most half full. A digest is random to
 * whoever does not know the key, but a client may send any key: the hash is
 * keyed so that nobody learns from the time of a refusal which slots are taken.
 */
#include "kamiyo/identity/api_key.h"

#include <assert.h>
#include <string.h>

#include <openssl/crypto.h>

#include "kamiyo/base/hash.h"
#include "kamiyo/base/mem.h"

struct api_key {
    uint8_t digest[KEY_SOURCE_DIGEST_BYTES];
    struct key_record record;
};

struct api_key_table {
    struct hash_key hash;
    struct api_key *keys;
    size_t count;
    size_t *slots; /* index + 1, 0 = free */
    size_t slot_count;
};

static size_t *find_slot(const struct api_key_table *table, const uint8_t *digest)
{
    size_t mask = table->slot_count - 1;
    size_t i = hash_bytes(&table->hash, digest, KEY_SOURCE_DIGEST_BYTES) & mask;

    while (table->slots[i] != 0 && CRYPTO_memcmp(table->keys[table->slots[i] - 1].digest, digest,
                                                 KEY_SOURCE_DIGEST_BYTES) != 0)
        i = (i + 1) & mask;
    return &table->slots[i];
}

struct api_key_table *api_key_table_create(const struct api_key_entry *entries, size_t count)
{
    struct api_key_table *table = mem_alloc_zero(sizeof(*table));

    hash_key_generate(&table->hash);
    for (table->slot_count = 16; table->slot_count < count * 2;)
        table->slot_count *= 2;
    table->slots = mem_alloc_zero(table->slot_count * sizeof(*table->slots));
    table->keys = mem_alloc_zero((count + 1) * sizeof(*table->keys));
    for (size_t i = 0; i < count; i++) {
        struct api_key *key = &table->keys[table->count];
        size_t *slot = find_slot(table, entries[i].sha256);

        key_source_fill_record(&key->record, slice_of(entries[i].user), slice_of(entries[i].tier));
        if (*slot != 0 || key->record.outcome != KEY_SOURCE_FOUND)
            continue; /* the configuration refuses both; the first of two wins */
        memcpy(key->digest, entries[i].sha256, sizeof(key->digest));
        *slot = ++table->count;
    }
    return table;
}

void api_key_table_destroy(struct api_key_table **handle)
{
    struct api_key_table *table = *handle;

    if (table == NULL)
        return;
    *handle = NULL;
    mem_free(table->keys);
    mem_free(table->slots);
    mem_free(table);
}

size_t api_key_table_count(const struct api_key_table *table)
{
    return table->count;
}

size_t api_key_table_find(const struct api_key_table *table,
                          const uint8_t digest[KEY_SOURCE_DIGEST_BYTES])
{
    size_t found = *find_slot(table, digest);

    return found != 0 ? found - 1 : API_KEY_ABSENT;
}

const uint8_t *api_key_table_digest(const struct api_key_table *table, size_t index)
{
    assert(index < table->count);
    return table->keys[index].digest;
}

const struct key_record *api_key_table_record(const struct api_key_table *table, size_t index)
{
    assert(index < table->count);
    return &table->keys[index].record;
}
