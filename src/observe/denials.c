/* SPDX-License-Identifier: MIT */
/*
 * The sketch. A denial costs a short hash of its key, a search among eight
 * hashes that stand side by side, and a few additions: it is on the path of
 * every 429. What a reader wants (sums over the slots, order, texts) is worked
 * out when somebody reads.
 */
#include "kamiyo/observe/denials.h"

#include <stdbool.h>
#include <stdlib.h>
#include <string.h>

#include "kamiyo/base/hash.h"
#include "kamiyo/base/mem.h"

/* What counting touches; the texts stand elsewhere. */
struct place {
    uint64_t counted;
    uint64_t inherited;    /* from those that had the place before it */
    const void *lane;      /* of the last denial */
    const void *window_id; /* NULL = names are to be read */
};

/* Of one slot. */
struct sketch {
    /* Apart, so that a search reads one line. 0 = the place is free. Two keys of one hash are
     * counted as one: it is keyed at random, so that is a chance of 1 in 2^63 a pair. */
    uint64_t hashes[DENIALS_SETS][DENIALS_SET_CLIENTS];
    struct place places[DENIALS_SETS][DENIALS_SET_CLIENTS];
    struct denials_client clients[DENIALS_SETS][DENIALS_SET_CLIENTS]; /* numbers: a reader's */
};

struct denials {
    struct sketch sketches[DENIALS_SLOTS]; /* slot s of the clock has s mod DENIALS_SLOTS */
    struct sketch *running;
    int64_t slot; /* of the latest denial */
    int64_t slot_end_us;
    struct hash_key seed;
};

struct denials *denials_create(void)
{
    struct denials *denials = mem_alloc_zero_lines(sizeof(*denials));

    denials->running = &denials->sketches[0];
    hash_key_generate(&denials->seed);
    return denials;
}

void denials_destroy(struct denials **denials)
{
    if (*denials != NULL)
        mem_free(*denials);
    *denials = NULL;
}

static uint64_t load_64(const char *bytes)
{
    uint64_t word;

    memcpy(&word, bytes, sizeof(word));
    return word;
}

__extension__ typedef unsigned __int128 wide;

/* The product of two words, its halves laid over each other: each bit of both reaches all. */
static uint64_t fold(uint64_t a, uint64_t b)
{
    wide product = (wide)a * b;

    return (uint64_t)product ^ (uint64_t)(product >> 64);
}

/* Of tests: a bucket's key has eight bytes as a rule. */
static uint64_t hash_of_short(const struct hash_key *seed, struct slice key)
{
    uint64_t word = 0;

    for (size_t i = 0; i < key.length; i++)
        word = word << 8 | (unsigned char)key.data[i];
    return fold(word ^ seed->k0 ^ key.length, seed->k1) | 1;
}

/*
 * Not SipHash, at a fifth of its cost: who could aim collisions at this table would spoil a list
 * for people, and nothing in the list tells how its hash is keyed. A key is read in pairs of
 * words; the last pair reaches back over what was read.
 */
static inline uint64_t hash_of(const struct hash_key *seed, struct slice key)
{
    uint64_t hash = seed->k0 ^ key.length;
    const char *at = key.data;
    const char *end = key.data + key.length;

    if (UNLIKELY(key.length < sizeof(uint64_t)))
        return hash_of_short(seed, key);
    for (; end - at > 16; at += 16)
        hash = fold(load_64(at) ^ hash, load_64(at + 8) ^ seed->k1);
    if (end - at < 8)
        at = end - 8;
    return fold(load_64(at) ^ hash, load_64(end - 8) ^ seed->k1) | 1; /* never a free place's */
}

static int64_t slot_of(int64_t now_us)
{
    return now_us / 1000 / DENIALS_SLOT_MS;
}

/* The running slot has run out: those after it up to now, or all, begin empty. */
static void turn(struct denials *denials, int64_t now_us)
{
    int64_t slot = slot_of(now_us);

    for (int64_t i = slot; i > denials->slot && i > slot - DENIALS_SLOTS; i--)
        memset(denials->sketches[i % DENIALS_SLOTS].hashes, 0, sizeof(denials->sketches[0].hashes));
    denials->slot = slot;
    denials->slot_end_us = (slot + 1) * DENIALS_SLOT_MS * 1000;
    denials->running = &denials->sketches[slot % DENIALS_SLOTS];
}

/* The fewest that a key of this set can have in this slot without having a place; *place has them,
 * or is free. */
static uint64_t find_fewest(const struct sketch *sketch, size_t set, size_t *place)
{
    uint64_t fewest = UINT64_MAX;

    for (size_t i = 0; i < DENIALS_SET_CLIENTS; i++) {
        const struct place *each = &sketch->places[set][i];
        uint64_t count = sketch->hashes[set][i] == 0 ? 0 : each->counted + each->inherited;

        if (count < fewest) {
            fewest = count;
            *place = i;
        }
    }
    return fewest;
}

static size_t take_place(struct sketch *sketch, size_t set, uint64_t hash, struct slice key)
{
    size_t at = 0;
    uint64_t fewest = find_fewest(sketch, set, &at);
    struct denials_client *client = &sketch->clients[set][at];
    size_t length = key.length < DENIALS_KEY_BYTES ? key.length : DENIALS_KEY_BYTES;

    sketch->places[set][at] = (struct place){.inherited = fewest};
    sketch->hashes[set][at] = hash;
    client->key_length = (uint8_t)length;
    memcpy(client->key, key.data, length);
    return at;
}

static uint8_t keep_name(char out[DENIALS_NAME_BYTES], struct slice name)
{
    size_t length = name.length < DENIALS_NAME_BYTES ? name.length : DENIALS_NAME_BYTES;

    if (length > 0)
        memcpy(out, name.data, length);
    return (uint8_t)length;
}

static inline size_t set_of(uint64_t hash)
{
    return (size_t)(hash >> 32) % DENIALS_SETS;
}

/* Its place in a set; DENIALS_SET_CLIENTS = it has none. */
static inline size_t find_place(const struct sketch *sketch, size_t set, uint64_t hash)
{
    const uint64_t *hashes = sketch->hashes[set];
    size_t at = 0;

    while (at < DENIALS_SET_CLIENTS && hashes[at] != hash)
        at++;
    return at;
}

void denials_count(struct denials *denials, const struct denial *denial, int64_t now_us)
{
    uint64_t hash = hash_of(&denials->seed, denial->key);
    size_t set = set_of(hash);
    struct denials_client *client;
    struct place *place;
    size_t at;

    if (now_us >= denials->slot_end_us)
        turn(denials, now_us);
    at = find_place(denials->running, set, hash);
    if (at == DENIALS_SET_CLIENTS)
        at = take_place(denials->running, set, hash, denial->key);
    place = &denials->running->places[set][at];
    place->counted++;
    place->lane = denial->lane;
    place->window_id = denial->lane != NULL ? denial->window_id : NULL;
    client = &denials->running->clients[set][at];
    client->tier_length = keep_name(client->tier, denial->tier);
    client->route_length = keep_name(client->route, denial->route);
    client->window_length = keep_name(client->window, denial->window);
}

bool denials_recount(struct denials *denials,
                     struct slice key,
                     const void *lane,
                     const void *window_id,
                     int64_t now_us)
{
    uint64_t hash = hash_of(&denials->seed, key);
    size_t set = set_of(hash);
    size_t at = find_place(denials->running, set, hash);
    struct place *place = &denials->running->places[set][at];

    if (UNLIKELY(at == DENIALS_SET_CLIENTS || now_us >= denials->slot_end_us) ||
        UNLIKELY(place->window_id != window_id || place->lane != lane))
        return false;
    place->counted++;
    return true;
}

void denials_forget_names(struct denials *denials)
{
    for (size_t slot = 0; slot < DENIALS_SLOTS; slot++) {
        for (size_t i = 0; i < DENIALS_SETS * DENIALS_SET_CLIENTS; i++)
            denials->sketches[slot]
                .places[i / DENIALS_SET_CLIENTS][i % DENIALS_SET_CLIENTS]
                .window_id = NULL;
    }
}

/* ---- reading */

/* Most first; equal ones by key, so that a list does not flicker. */
static int compare_clients(const void *left, const void *right)
{
    const struct denials_client *a = *(const struct denials_client *const *)left;
    const struct denials_client *b = *(const struct denials_client *const *)right;
    size_t common = a->key_length < b->key_length ? a->key_length : b->key_length;
    int order;

    if (a->denied != b->denied)
        return a->denied > b->denied ? -1 : 1;
    order = memcmp(a->key, b->key, common);
    return order != 0 ? order : a->key_length - b->key_length;
}

/* The first `max` of `all` in order, copied to `clients`. */
static size_t put_in_order(struct denials_client *clients,
                           size_t max,
                           const struct denials_client *all,
                           size_t count)
{
    const struct denials_client **order = mem_alloc((count + 1) * sizeof(const void *));

    for (size_t i = 0; i < count; i++)
        order[i] = &all[i];
    qsort(order, count, sizeof(const void *), compare_clients);
    if (count > max)
        count = max;
    for (size_t i = 0; i < count; i++)
        clients[i] = *order[i];
    mem_free(order);
    return count;
}

/* The sketches that are not too old, the latest first. */
static size_t
list_recent(const struct denials *denials, int64_t now_us, const struct sketch *out[DENIALS_SLOTS])
{
    int64_t oldest = slot_of(now_us) - DENIALS_SLOTS + 1;
    size_t count = 0;

    for (int64_t slot = denials->slot; slot > denials->slot - DENIALS_SLOTS; slot--) {
        if (slot >= oldest && slot >= 0)
            out[count++] = &denials->sketches[slot % DENIALS_SLOTS];
    }
    return count;
}

/* What one slot's sketch says of a key, known or not. */
static void
add_slot(const struct sketch *sketch, size_t set, uint64_t hash, struct denials_client *client)
{
    size_t at = find_place(sketch, set, hash);

    if (at == DENIALS_SET_CLIENTS) {
        client->denied_at_most += find_fewest(sketch, set, &at);
        return;
    }
    client->denied += sketch->places[set][at].counted;
    client->denied_at_most += sketch->places[set][at].counted + sketch->places[set][at].inherited;
}

/* The clients of one set, each once: with the names of the latest slot that has it. */
static size_t list_set(const struct sketch *const sketches[DENIALS_SLOTS],
                       size_t slots,
                       size_t set,
                       struct denials_client *clients)
{
    size_t count = 0;

    for (size_t i = 0; i < slots * DENIALS_SET_CLIENTS; i++) {
        size_t slot = i / DENIALS_SET_CLIENTS;
        size_t at = i % DENIALS_SET_CLIENTS;
        uint64_t hash = sketches[slot]->hashes[set][at];
        bool is_listed = false;

        for (size_t later = 0; later < slot && !is_listed; later++)
            is_listed = find_place(sketches[later], set, hash) < DENIALS_SET_CLIENTS;
        if (hash == 0 || is_listed)
            continue;
        clients[count] = sketches[slot]->clients[set][at];
        clients[count].denied = 0;
        clients[count].denied_at_most = 0;
        for (size_t each = 0; each < slots; each++)
            add_slot(sketches[each], set, hash, &clients[count]);
        count++;
    }
    return count;
}

size_t denials_top(const struct denials *denials,
                   int64_t now_us,
                   struct denials_client *clients,
                   size_t max)
{
    const struct sketch *sketches[DENIALS_SLOTS];
    size_t slots = list_recent(denials, now_us, sketches);
    struct denials_client *all = mem_alloc(DENIALS_MAX_CLIENTS * sizeof(all[0]));
    size_t count = 0;

    for (size_t set = 0; set < DENIALS_SETS; set++)
        count += list_set(sketches, slots, set, all + count);
    count = put_in_order(clients, max, all, count);
    mem_free(all);
    return count;
}

static bool is_of_one_key(const struct denials_client *a, const struct denials_client *b)
{
    return a->key_length == b->key_length && memcmp(a->key, b->key, a->key_length) == 0;
}

/* The names are those of the worker that refused it more. */
static void add_client(struct denials_client *client, const struct denials_client *other)
{
    struct denials_client sum = other->denied > client->denied ? *other : *client;

    sum.denied = client->denied + other->denied;
    sum.denied_at_most = client->denied_at_most + other->denied_at_most;
    *client = sum;
}

size_t denials_merge(struct denials_client *clients,
                     size_t count,
                     size_t max,
                     const struct denials_client *others,
                     size_t other_count)
{
    struct denials_client *all = mem_alloc((count + other_count + 1) * sizeof(all[0]));
    size_t all_count = count;

    memcpy(all, clients, count * sizeof(all[0]));
    for (size_t i = 0; i < other_count; i++) {
        size_t at = 0;

        while (at < count && !is_of_one_key(&all[at], &others[i]))
            at++;
        if (at < count)
            add_client(&all[at], &others[i]);
        else
            all[all_count++] = others[i];
    }
    count = put_in_order(clients, max, all, all_count);
    mem_free(all);
    return count;
}
