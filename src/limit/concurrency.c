/* SPDX-License-Identifier: MIT */
/*
 * Counting requests in flight: a small hash table of chains behind one lock.
 * Every count belongs to an exchange that gives it back when it ends, however
 * it ends; so the table cannot outgrow the number of exchanges.
 */
#include "kamiyo/limit/concurrency.h"

#include <pthread.h>
#include <stdint.h>
#include <string.h>

#include "kamiyo/base/hash.h"
#include "kamiyo/base/mem.h"

enum {
    BUCKETS = 1024,
    JOINED_SIZE = 256
};

struct entry {
    struct entry *next;
    int count;
    uint16_t length; /* of key, a 0 byte, route */
    char bytes[];
};

struct concurrency {
    pthread_mutex_t lock;
    struct hash_key hash_key;
    size_t total;
    struct entry *buckets[BUCKETS];
};

struct concurrency *concurrency_create(void)
{
    struct concurrency *concurrency = mem_alloc_zero(sizeof(*concurrency));
    pthread_mutex_init(&concurrency->lock, NULL);
    hash_key_generate(&concurrency->hash_key);
    return concurrency;
}

void concurrency_destroy(struct concurrency **concurrency)
{
    if (*concurrency == NULL)
        return;
    for (size_t i = 0; i < BUCKETS; i++) {
        while ((*concurrency)->buckets[i] != NULL) {
            struct entry *entry = (*concurrency)->buckets[i];
            (*concurrency)->buckets[i] = entry->next;
            mem_free(entry);
        }
    }
    pthread_mutex_destroy(&(*concurrency)->lock);
    mem_free(*concurrency);
    *concurrency = NULL;
}

/* Both names as one run of bytes; a key has no 0 byte, so the joint is unmistakable. */
static size_t join(struct slice key, struct slice route, char out[JOINED_SIZE])
{
    size_t key_length = key.length < 200 ? key.length : 200;
    size_t route_length = route.length < 40 ? route.length : 40;
    memcpy(out, key.data, key_length);
    out[key_length] = '\0';
    if (route_length > 0)
        memcpy(out + key_length + 1, route.data, route_length);
    return key_length + 1 + route_length;
}

static struct entry **find(struct concurrency *concurrency, const char *bytes, size_t length)
{
    size_t slot = hash_bytes(&concurrency->hash_key, bytes, length) % BUCKETS;
    struct entry **link = &concurrency->buckets[slot];
    while (*link != NULL &&
           ((*link)->length != length || memcmp((*link)->bytes, bytes, length) != 0))
        link = &(*link)->next;
    return link;
}

bool concurrency_enter(struct concurrency *concurrency,
                       struct slice key,
                       struct slice route,
                       int max)
{
    char bytes[JOINED_SIZE];
    size_t length = join(key, route, bytes);
    pthread_mutex_lock(&concurrency->lock);
    struct entry **link = find(concurrency, bytes, length);
    bool may_enter = *link == NULL || (*link)->count < max;
    if (may_enter && *link == NULL) {
        *link = mem_alloc_zero(sizeof(**link) + length);
        (*link)->length = (uint16_t)length;
        memcpy((*link)->bytes, bytes, length);
    }
    if (may_enter) {
        (*link)->count++;
        concurrency->total++;
    }
    pthread_mutex_unlock(&concurrency->lock);
    return may_enter;
}

void concurrency_leave(struct concurrency *concurrency, struct slice key, struct slice route)
{
    char bytes[JOINED_SIZE];
    size_t length = join(key, route, bytes);
    pthread_mutex_lock(&concurrency->lock);
    struct entry **link = find(concurrency, bytes, length);
    if (*link != NULL) {
        concurrency->total--;
        if (--(*link)->count == 0) {
            struct entry *entry = *link;
            *link = entry->next;
            mem_free(entry);
        }
    }
    pthread_mutex_unlock(&concurrency->lock);
}

size_t concurrency_count(struct concurrency *concurrency, struct slice key, struct slice route)
{
    char bytes[JOINED_SIZE];
    size_t length = join(key, route, bytes);
    pthread_mutex_lock(&concurrency->lock);
    const struct entry *entry = *find(concurrency, bytes, length);
    size_t count = entry != NULL ? (size_t)entry->count : 0;
    pthread_mutex_unlock(&concurrency->lock);
    return count;
}

size_t concurrency_total(struct concurrency *concurrency)
{
    pthread_mutex_lock(&concurrency->lock);
    size_t total = concurrency->total;
    pthread_mutex_unlock(&concurrency->lock);
    return total;
}
