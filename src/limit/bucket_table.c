/* SPDX-License-Identifier: MIT */
/*
 * The operations on the local table. Each finds its shard by the top of the key's hash, holds that
 * shard's lock for one look-up and a few additions, and leaves memory and bounds to bucket_shard.c.
 *
 * Rules that all of them keep: a record that is absent means full buckets; a change of limits or of
 * share is written down where it is met; the ledger is never dropped with a bucket that is full.
 */
#include "kamiyo/limit/bucket_table.h"

#include <assert.h>
#include <stdlib.h>
#include <string.h>

#include "kamiyo/base/attributes.h"
#include "kamiyo/base/hash.h"
#include "kamiyo/base/mem.h"

#include "bucket_shard.h"

/* So much of the bound a shard, between 1 and MAX_SHARDS of them. */
#define SHARD_BYTES ((uint64_t)1 << 20)
#define MAX_SHARDS  256
#define MIN_BYTES   ((uint64_t)64 * 1024)
/* Of a remembered denial: what fits into its record. */
#define MOST_DENIED_COST 0x7fffffff
/* Before a denial is forgotten: many times what Redis takes to answer. */
#define RENEWAL_MS 20

struct bucket_table {
    struct hash_key hash_key;
    struct bucket_shapes *shapes;
    unsigned shard_shift; /* hash >> shard_shift; 64 would be undefined, so two shards at least */
    size_t shard_count;
    struct bucket_shard *shards; /* aligned */
};

static size_t shard_bytes(const struct bucket_table *table, uint64_t memory_bytes)
{
    return (size_t)((memory_bytes < MIN_BYTES ? MIN_BYTES : memory_bytes) / table->shard_count);
}

struct bucket_table *bucket_table_create(uint64_t memory_bytes)
{
    struct bucket_table *table = mem_alloc_zero(sizeof(*table));

    table->shard_count = 2;
    table->shard_shift = 63;
    while (table->shard_count < MAX_SHARDS &&
           table->shard_count * 2 * SHARD_BYTES <= memory_bytes) {
        table->shard_count *= 2;
        table->shard_shift--;
    }
    hash_key_generate(&table->hash_key);
    table->shapes = bucket_shapes_create();
    table->shards = aligned_alloc(_Alignof(struct bucket_shard),
                                  table->shard_count * sizeof(struct bucket_shard));
    if (table->shards == NULL) {
        bucket_table_destroy(&table);
        return NULL;
    }
    memset(table->shards, 0, table->shard_count * sizeof(struct bucket_shard));
    for (size_t i = 0; i < table->shard_count; i++) {
        uint64_t seed;

        hash_random(&seed, sizeof(seed));
        if (!bucket_shard_init(&table->shards[i], table->shapes, &table->hash_key,
                               shard_bytes(table, memory_bytes), seed)) {
            bucket_table_destroy(&table);
            return NULL;
        }
    }
    return table;
}

void bucket_table_destroy(struct bucket_table **table)
{
    if (*table == NULL)
        return;
    if ((*table)->shards != NULL)
        for (size_t i = 0; i < (*table)->shard_count; i++)
            bucket_shard_clear(&(*table)->shards[i]);
    free((*table)->shards);
    bucket_shapes_destroy(&(*table)->shapes);
    mem_free(*table);
    *table = NULL;
}

void bucket_table_set_memory(struct bucket_table *table, uint64_t memory_bytes)
{
    for (size_t i = 0; i < table->shard_count; i++)
        atomic_store_explicit(&table->shards[i].memory_bytes, shard_bytes(table, memory_bytes),
                              memory_order_relaxed);
}

struct bucket_shapes *bucket_table_shapes(struct bucket_table *table)
{
    return table->shapes;
}

void bucket_table_key(const struct bucket_table *table,
                      struct slice key,
                      struct slice route,
                      struct bucket_key *out)
{
    assert(key.length > 0 && key.length + 1 + route.length <= sizeof(out->joined));
    out->data = key.data;
    out->length = key.length;
    if (route.length > 0) {
        memcpy(out->joined, key.data, key.length);
        out->joined[key.length] = 0;
        memcpy(out->joined + key.length + 1, route.data, route.length);
        out->data = out->joined;
        out->length = key.length + 1 + route.length;
    }
    out->hash = hash_bytes(&table->hash_key, out->data, out->length);
}

static struct bucket_shard *shard_of(const struct bucket_table *table, const struct bucket_key *key)
{
    return &table->shards[key->hash >> table->shard_shift];
}

static struct bucket_shard *lock_shard(struct bucket_table *table, const struct bucket_key *key)
{
    struct bucket_shard *shard = shard_of(table, key);

    pthread_mutex_lock(&shard->lock);
    return shard;
}

static void unlock_shard(struct bucket_shard *shard)
{
    pthread_mutex_unlock(&shard->lock);
}

static bool are_full(const struct bucket *buckets, const struct limit_policy *policy)
{
    for (size_t i = 0; i < policy->window_count; i++)
        if (buckets[i].level < policy->windows[i].capacity_units)
            return false;
    return true;
}

/* Write buckets down for `shape`, with `debt_tokens` more in the ledger; a record that says nothing
 * goes. */
static struct bucket_record *save(struct bucket_shard *shard,
                                  const struct bucket_key *key,
                                  struct bucket_record *record,
                                  struct bucket_shape *shape,
                                  const struct bucket *buckets,
                                  int64_t debt_tokens,
                                  int64_t now_ms)
{
    int64_t debt = debt_tokens + (record != NULL ? record->debt_tokens : 0);

    if (debt == 0 && are_full(buckets, &shape->policy)) {
        if (record != NULL)
            bucket_shard_drop(shard, key);
        return NULL;
    }
    record = bucket_shard_put(shard, key, record, shape, now_ms);
    if (record == NULL)
        return NULL;
    bucket_record_store(record, buckets);
    if (debt_tokens != 0)
        bucket_shard_owe(shard, record, debt_tokens);
    return record;
}

bool bucket_table_take(struct bucket_table *table,
                       const struct bucket_key *key,
                       struct bucket_shape *shape,
                       int64_t cost,
                       int64_t now_ms,
                       enum bucket_ledger ledger,
                       struct limit_decision *decision)
{
    struct bucket buckets[LIMIT_MAX_WINDOWS];
    struct bucket_shard *shard = lock_shard(table, key);
    struct bucket_record *record = bucket_shard_find(shard, key);
    bool allowed;

    bucket_shard_load(shard, record, shape, now_ms, buckets);
    allowed = bucket_decide(buckets, &shape->policy, cost, now_ms, decision);
    if (allowed || (record != NULL && record->shape != shape->index))
        (void)save(shard, key, record, shape, buckets,
                   allowed && ledger == BUCKET_LEDGER_ADD ? cost : 0, now_ms);
    unlock_shard(shard);
    return allowed;
}

bool bucket_table_peek(struct bucket_table *table,
                       const struct bucket_key *key,
                       const struct bucket_shape *shape,
                       int64_t cost,
                       int64_t now_ms,
                       enum bucket_view view,
                       struct limit_decision *decision)
{
    struct bucket buckets[LIMIT_MAX_WINDOWS];
    struct bucket after[LIMIT_MAX_WINDOWS];
    struct bucket_shard *shard = lock_shard(table, key);
    bool allowed;

    bucket_shard_load(shard, bucket_shard_find(shard, key), shape, now_ms, buckets);
    unlock_shard(shard);
    memcpy(after, buckets, sizeof(after));
    allowed = bucket_decide(after, &shape->policy, cost, now_ms, decision);
    if (allowed && view == BUCKET_VIEW_PRESENT) {
        for (size_t i = 0; i < shape->policy.window_count; i++)
            bucket_refill(&buckets[i], &shape->policy.windows[i], now_ms);
        bucket_describe(buckets, &shape->policy, cost, now_ms, true, decision);
    }
    return allowed;
}

bool bucket_table_policy(struct bucket_table *table,
                         const struct bucket_key *key,
                         struct limit_policy *policy)
{
    struct bucket_shard *shard = lock_shard(table, key);
    const struct bucket_record *record = bucket_shard_find(shard, key);

    if (record != NULL)
        *policy = bucket_shapes_at(shard->shapes, record->shape)->base->policy;
    unlock_shard(shard);
    return record != NULL;
}

void bucket_table_adjust(struct bucket_table *table,
                         const struct bucket_key *key,
                         struct bucket_shape *shape,
                         int64_t tokens,
                         int64_t now_ms,
                         enum bucket_ledger ledger)
{
    struct bucket buckets[LIMIT_MAX_WINDOWS];
    struct bucket_shard *shard = lock_shard(table, key);
    struct bucket_record *record = bucket_shard_find(shard, key);

    bucket_shard_load(shard, record, shape, now_ms, buckets);
    for (size_t i = 0; i < shape->policy.window_count; i++) {
        bucket_refill(&buckets[i], &shape->policy.windows[i], now_ms);
        bucket_add(&buckets[i], &shape->policy.windows[i], tokens);
    }
    record =
        save(shard, key, record, shape, buckets, ledger == BUCKET_LEDGER_ADD ? tokens : 0, now_ms);
    if (record != NULL && tokens < 0)
        record->denied_until_ms = 0;
    unlock_shard(shard);
}

uint32_t bucket_table_generation(const struct bucket_table *table, const struct bucket_key *key)
{
    return atomic_load_explicit(&shard_of(table, key)->generation, memory_order_relaxed);
}

/* Keep the denial that refuses more, for longer; else the newer one. */
static void
remember_denial(struct bucket_record *record, const struct bucket_mirror *mirror, int64_t now_ms)
{
    bool is_covered = record->denied_until_ms >= mirror->denied_until_ms &&
                      record->denied_cost <= mirror->denied_cost;

    if (mirror->denied_cost == 0 || mirror->denied_cost > MOST_DENIED_COST ||
        mirror->denied_until_ms <= now_ms || is_covered)
        return;
    record->denied_cost = (uint32_t)mirror->denied_cost & MOST_DENIED_COST;
    record->is_renewing = 0;
    record->denied_until_ms = mirror->denied_until_ms;
}

/* What each window still lacks of the debt, in whole tokens, rounded up: no gift. */
static void find_owed(const struct bucket_shard *shard,
                      const struct bucket_record *record,
                      const struct bucket_shape *shape,
                      int64_t now_ms,
                      struct bucket_debt *debt)
{
    struct bucket buckets[LIMIT_MAX_WINDOWS];

    bucket_shard_load(shard, record, shape, now_ms, buckets);
    for (size_t i = 0; i < shape->policy.window_count; i++) {
        const struct limit_window *window = &shape->policy.windows[i];
        int64_t lacking;

        bucket_refill(&buckets[i], window, now_ms);
        lacking = (window->capacity_units - buckets[i].level + window->units_per_token - 1) /
                  window->units_per_token;
        debt->owed[i] = debt->tokens < lacking ? debt->tokens : lacking;
    }
}

/* Take one record's debt out of the ledger, as windows of `shape`, a whole one. */
static void collect_record(struct bucket_shard *shard,
                           struct bucket_record *record,
                           struct bucket_shape *shape,
                           int64_t now_ms,
                           struct bucket_debt *debt)
{
    const char *key = bucket_record_key(record);
    const char *separator = memchr(key, 0, record->key_length);

    debt->tokens = record->debt_tokens;
    debt->taken_ms = now_ms;
    find_owed(shard, record, shape, now_ms, debt);
    debt->shape = shape;
    bucket_shape_ref(shape);
    debt->key_length = separator == NULL ? record->key_length : (size_t)(separator - key);
    debt->route_length = separator == NULL ? 0 : record->key_length - debt->key_length - 1;
    memcpy(debt->key, key, debt->key_length);
    if (separator != NULL)
        memcpy(debt->route, separator + 1, debt->route_length);
    bucket_shard_owe(shard, record, -record->debt_tokens);
}

/*
 * Only an entry that owes nothing, or whose debt leaves now, takes what the store says: how much of
 * a debt a window has refilled since is in the levels alone.
 */
static bool may_mirror(struct bucket_shard *shard,
                       const struct bucket_mirror *mirror,
                       const struct bucket_record *record,
                       const struct bucket_debt *debt)
{
    return atomic_load_explicit(&shard->generation, memory_order_relaxed) == mirror->generation &&
           (record == NULL || record->debt_tokens == 0 || debt != NULL);
}

bool bucket_table_mirror(struct bucket_table *table,
                         const struct bucket_key *key,
                         struct bucket_shape *shape,
                         const struct bucket_mirror *mirror,
                         int64_t now_ms,
                         struct bucket_debt *debt)
{
    struct bucket buckets[LIMIT_MAX_WINDOWS];
    struct bucket_shard *shard = lock_shard(table, key);
    struct bucket_record *record = bucket_shard_find(shard, key);
    bool is_owing = record != NULL && record->debt_tokens != 0;
    bool is_taken = false;

    if (LIKELY(may_mirror(shard, mirror, record, debt))) {
        is_taken = is_owing;
        if (UNLIKELY(is_taken))
            collect_record(shard, record, shape, now_ms, debt);
        for (size_t i = 0; i < shape->policy.window_count; i++) {
            buckets[i] = (struct bucket){mirror->levels[i], now_ms};
            bucket_add(&buckets[i], &shape->policy.windows[i], is_taken ? debt->owed[i] : 0);
        }
        record = save(shard, key, record, shape, buckets, 0, now_ms);
        if (record != NULL)
            remember_denial(record, mirror, now_ms);
    }
    unlock_shard(shard);
    return is_taken;
}

/*
 * Whether this one is to ask although it would be refused: the first of the last milliseconds of a
 * denial that would go on. When it is forgotten all who come before the next answer ask; with the
 * answer here by then, none need to.
 */
static bool
renews(struct bucket_record *record, int64_t cost, int64_t longest_wait_ms, int64_t left_ms)
{
    if (left_ms > RENEWAL_MS || longest_wait_ms <= left_ms + RENEWAL_MS ||
        cost != record->denied_cost || record->is_renewing)
        return false;
    record->is_renewing = 1;
    return true;
}

bool bucket_table_is_denied(struct bucket_table *table,
                            const struct bucket_key *key,
                            const struct bucket_shape *shape,
                            int64_t cost,
                            int64_t now_ms,
                            struct limit_decision *decision)
{
    struct bucket buckets[LIMIT_MAX_WINDOWS];
    struct bucket_shard *shard = lock_shard(table, key);
    struct bucket_record *record = bucket_shard_find(shard, key);
    bool is_denied = false;

    if (record != NULL && record->shape != shape->index)
        record->denied_until_ms = 0;
    if (record != NULL && record->denied_until_ms > now_ms && cost >= record->denied_cost) {
        int64_t left_ms = record->denied_until_ms - now_ms;
        int64_t longest_ms = 0;

        /* Its milliseconds begin when Redis's do not: one less may have passed there. The wait that
         * is told must be enough for both. */
        if (record->time_ms < now_ms)
            now_ms--;
        bucket_shard_load(shard, record, shape, now_ms, buckets);
        for (size_t i = 0; i < shape->policy.window_count; i++) {
            int64_t wait_ms;

            bucket_refill(&buckets[i], &shape->policy.windows[i], now_ms);
            wait_ms = bucket_wait(&buckets[i], &shape->policy.windows[i], cost, now_ms);
            longest_ms = wait_ms > longest_ms ? wait_ms : longest_ms;
        }
        is_denied = longest_ms > 0 && !renews(record, cost, longest_ms, left_ms);
    }
    unlock_shard(shard);
    if (is_denied)
        bucket_describe(buckets, &shape->policy, cost, now_ms, false, decision);
    return is_denied;
}

void bucket_table_forget_denial(struct bucket_table *table, const struct bucket_key *key)
{
    struct bucket_shard *shard = lock_shard(table, key);
    struct bucket_record *record = bucket_shard_find(shard, key);

    if (record != NULL)
        record->denied_until_ms = 0;
    unlock_shard(shard);
}

int64_t bucket_table_reset(struct bucket_table *table, const struct bucket_key *key)
{
    struct bucket_shard *shard = lock_shard(table, key);
    struct bucket_record *record = bucket_shard_find(shard, key);
    int64_t windows = 0;

    atomic_fetch_add_explicit(&shard->generation, 1, memory_order_relaxed);
    if (record != NULL) {
        windows = record->window_count;
        bucket_shard_drop(shard, key);
    }
    unlock_shard(shard);
    return windows;
}

/* The store may have lifted the levels since, not knowing of these tokens. */
static void set_right(struct bucket_shard *shard,
                      struct bucket_record *record,
                      const struct bucket_shape *shape,
                      const int64_t owed[],
                      int64_t since_ms,
                      int64_t now_ms)
{
    struct bucket buckets[LIMIT_MAX_WINDOWS];

    if (record->shape != shape->index)
        return; /* a share, which only the table decides by; or other limits, that came later */
    bucket_shard_load(shard, record, shape, now_ms, buckets);
    for (size_t i = 0; i < shape->policy.window_count; i++) {
        const struct limit_window *window = &shape->policy.windows[i];

        bucket_refill(&buckets[i], window, now_ms);
        bucket_lack(&buckets[i], window, owed[i], now_ms - since_ms, record->debt_tokens);
    }
    bucket_record_store(record, buckets);
}

void bucket_table_add_debt(struct bucket_table *table,
                           const struct bucket_key *key,
                           struct bucket_shape *shape,
                           int64_t tokens,
                           const int64_t *owed,
                           int64_t since_ms,
                           int64_t now_ms)
{
    struct bucket buckets[LIMIT_MAX_WINDOWS];
    int64_t all[LIMIT_MAX_WINDOWS];
    struct bucket_shard *shard = lock_shard(table, key);
    struct bucket_record *record = bucket_shard_find(shard, key);

    for (size_t i = 0; i < shape->policy.window_count; i++)
        all[i] = owed != NULL ? owed[i] : tokens;
    if (record != NULL) { /* of whatever shape: tokens are tokens */
        set_right(shard, record, shape, all, since_ms, now_ms);
        bucket_shard_owe(shard, record, tokens);
    } else { /* the store has said full since, without these: they are lacking all the same */
        bucket_shard_load(shard, NULL, shape, now_ms, buckets);
        for (size_t i = 0; i < shape->policy.window_count; i++)
            bucket_add(&buckets[i], &shape->policy.windows[i], all[i]);
        (void)save(shard, key, NULL, shape, buckets, tokens, now_ms);
    }
    unlock_shard(shard);
}

size_t bucket_table_shard_count(const struct bucket_table *table)
{
    return table->shard_count;
}

bool bucket_table_has_debt(const struct bucket_table *table, size_t shard)
{
    return atomic_load_explicit(&table->shards[shard].debts, memory_order_relaxed) != 0;
}

size_t bucket_table_collect(struct bucket_table *table,
                            size_t number,
                            size_t *cursor,
                            size_t max_slots,
                            int64_t now_ms,
                            struct bucket_debt *debts,
                            size_t max_debts)
{
    struct bucket_shard *shard = &table->shards[number];
    size_t count = 0;

    pthread_mutex_lock(&shard->lock);
    for (; max_slots > 0 && count < max_debts; max_slots--, (*cursor)++) {
        struct bucket_place place = bucket_index_at(&shard->index, *cursor);
        struct bucket_record *record;

        if (place.array == NULL) {
            *cursor = 0;
            break;
        }
        if (!bucket_place_is_used(place))
            continue;
        record = bucket_shard_at(shard, place);
        if (record->debt_tokens != 0)
            collect_record(shard, record, bucket_shapes_at(shard->shapes, record->shape)->base,
                           now_ms, &debts[count++]);
    }
    pthread_mutex_unlock(&shard->lock);
    return count;
}

size_t bucket_table_sweep(
    struct bucket_table *table, size_t number, size_t *cursor, size_t max_slots, int64_t now_ms)
{
    struct bucket_shard *shard = &table->shards[number];
    size_t dropped;

    pthread_mutex_lock(&shard->lock);
    dropped = bucket_shard_sweep(shard, cursor, max_slots, now_ms);
    pthread_mutex_unlock(&shard->lock);
    return dropped;
}

void bucket_table_stats(const struct bucket_table *table, struct bucket_table_stats *stats)
{
    *stats = (struct bucket_table_stats){.bytes = sizeof(*table)};
    for (size_t i = 0; i < table->shard_count; i++) {
        const struct bucket_shard *shard = &table->shards[i];

        stats->entries += atomic_load_explicit(&shard->entries, memory_order_relaxed);
        stats->buckets += atomic_load_explicit(&shard->buckets, memory_order_relaxed);
        stats->bytes += atomic_load_explicit(&shard->bytes, memory_order_relaxed);
        stats->evicted += atomic_load_explicit(&shard->evicted, memory_order_relaxed);
    }
}
