/* SPDX-License-Identifier: MIT */
/*
 * Chained hash table with a list in order of use. The number of chains doubles
 * as entries come, up to the bound; each entry is one block that also holds its
 * texts, so 100,000 users take about 15 MB. The hash is keyed: a digest's bits
 * can be aimed at a chain by whoever tries enough keys.
 *
 *   newest ⇄ ... ⇄ oldest        chains[hash] → entry → entry
 */
#include "kamiyo/identity/credential_cache.h"

#include <assert.h>
#include <string.h>

#include <openssl/crypto.h>

#include "kamiyo/base/hash.h"
#include "kamiyo/base/mem.h"

#define FIRST_CHAINS 64

struct entry {
    struct credential credential;
    struct entry *next; /* in its chain */
    struct entry *newer, *older;
    uint32_t hash;
    uint8_t digest[KEY_SOURCE_DIGEST_BYTES];
    char texts[]; /* user, tier */
};

struct credential_cache {
    struct hash_key key;
    size_t limit;
    size_t count;
    struct entry **chains;
    size_t chain_count; /* a power of two */
    struct entry *newest, *oldest;
};

struct credential_cache *credential_cache_create(size_t limit)
{
    struct credential_cache *cache = mem_alloc_zero(sizeof(*cache));

    assert(limit > 0);
    hash_key_generate(&cache->key);
    cache->limit = limit;
    cache->chain_count = FIRST_CHAINS;
    cache->chains = mem_alloc_zero(cache->chain_count * sizeof(struct entry *));
    return cache;
}

void credential_cache_destroy(struct credential_cache **handle)
{
    struct credential_cache *cache = *handle;

    if (cache == NULL)
        return;
    *handle = NULL;
    credential_cache_clear(cache);
    mem_free(cache->chains);
    mem_free(cache);
}

size_t credential_cache_count(const struct credential_cache *cache)
{
    return cache->count;
}

/* The pointer that points, or would point, to the digest's entry. */
static struct entry **
find_link(const struct credential_cache *cache, const uint8_t *digest, uint32_t hash)
{
    struct entry **link = &cache->chains[hash & (cache->chain_count - 1)];

    while (*link != NULL && ((*link)->hash != hash ||
                             CRYPTO_memcmp((*link)->digest, digest, KEY_SOURCE_DIGEST_BYTES) != 0))
        link = &(*link)->next;
    return link;
}

static uint32_t hash_digest(const struct credential_cache *cache, const uint8_t *digest)
{
    return (uint32_t)hash_bytes(&cache->key, digest, KEY_SOURCE_DIGEST_BYTES);
}

static void unlink_use(struct credential_cache *cache, struct entry *entry)
{
    if (entry->newer != NULL)
        entry->newer->older = entry->older;
    else
        cache->newest = entry->older;
    if (entry->older != NULL)
        entry->older->newer = entry->newer;
    else
        cache->oldest = entry->newer;
}

static void link_newest(struct credential_cache *cache, struct entry *entry)
{
    entry->newer = NULL;
    entry->older = cache->newest;
    if (cache->newest != NULL)
        cache->newest->newer = entry;
    else
        cache->oldest = entry;
    cache->newest = entry;
}

static void drop(struct credential_cache *cache, struct entry **link)
{
    struct entry *entry = *link;

    *link = entry->next;
    unlink_use(cache, entry);
    cache->count--;
    mem_free(entry);
}

void credential_cache_clear(struct credential_cache *cache)
{
    for (struct entry *entry = cache->newest, *older; entry != NULL; entry = older) {
        older = entry->older;
        mem_free(entry);
    }
    memset(cache->chains, 0, cache->chain_count * sizeof(struct entry *));
    cache->newest = cache->oldest = NULL;
    cache->count = 0;
}

struct credential *credential_cache_find(struct credential_cache *cache,
                                         const uint8_t digest[KEY_SOURCE_DIGEST_BYTES])
{
    struct entry *entry = *find_link(cache, digest, hash_digest(cache, digest));

    if (entry == NULL)
        return NULL;
    if (entry != cache->newest) {
        unlink_use(cache, entry);
        link_newest(cache, entry);
    }
    return &entry->credential;
}

static void widen(struct credential_cache *cache)
{
    size_t count = cache->chain_count * 2;
    struct entry **chains = mem_alloc_zero(count * sizeof(struct entry *));

    for (struct entry *entry = cache->newest; entry != NULL; entry = entry->older) {
        struct entry **chain = &chains[entry->hash & (count - 1)];

        entry->next = *chain;
        *chain = entry;
    }
    mem_free(cache->chains);
    cache->chains = chains;
    cache->chain_count = count;
}

void credential_cache_put(struct credential_cache *cache,
                          const uint8_t digest[KEY_SOURCE_DIGEST_BYTES],
                          const struct key_record *record,
                          int64_t expires_ms)
{
    size_t user_length = record != NULL ? record->user_length : 0;
    size_t tier_length = record != NULL ? record->tier_length : 0;
    uint32_t hash = hash_digest(cache, digest);
    struct entry *entry = mem_alloc(sizeof(*entry) + user_length + tier_length);
    struct entry **link;

    credential_cache_remove(cache, digest);
    if (cache->count == cache->limit)
        credential_cache_remove(cache, cache->oldest->digest);
    if (cache->count == cache->chain_count)
        widen(cache);
    entry->hash = hash;
    memcpy(entry->digest, digest, sizeof(entry->digest));
    if (record != NULL) {
        memcpy(entry->texts, record->user, user_length);
        memcpy(entry->texts + user_length, record->tier, tier_length);
    }
    entry->credential = (struct credential){.expires_ms = expires_ms,
                                            .user = {entry->texts, user_length},
                                            .tier = {entry->texts + user_length, tier_length}};
    link = &cache->chains[hash & (cache->chain_count - 1)];
    entry->next = *link;
    *link = entry;
    link_newest(cache, entry);
    cache->count++;
}

void credential_cache_remove(struct credential_cache *cache,
                             const uint8_t digest[KEY_SOURCE_DIGEST_BYTES])
{
    struct entry **link = find_link(cache, digest, hash_digest(cache, digest));

    if (*link != NULL)
        drop(cache, link);
}
