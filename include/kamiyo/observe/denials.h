/* SPDX-License-Identifier: MIT */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "kamiyo/base/attributes.h"
#include "kamiyo/base/slice.h"

/*
 * Who is refused most, of late: a bounded sketch of one worker's denials by
 * bucket key (user:<id>, ip:<address>), for the live page and /api/top. Whoever
 * is refused often is in it, however many others there are.
 *
 * Time is cut into slots of DENIALS_SLOT_MS, and "recent" is the running slot
 * with the DENIALS_SLOTS - 1 before it: 50 to 60 seconds. Each slot has a sketch
 * of its own, after Space-Saving (Metwally, Agrawal, El Abbadi, 2005): sets of
 * DENIALS_SET_CLIENTS keys by the key's hash, and a key that is new to a full
 * set takes the place of the one with the fewest there and inherits that number
 * as its uncertainty. With n = the recent denials of all keys of a set (some 1/16
 * of all), for each key:
 *   - one with more than n / DENIALS_SET_CLIENTS recent denials is listed;
 *   - denied <= its recent denials <= denied_at_most;
 *   - denied_at_most - denied <= n / DENIALS_SET_CLIENTS, and 0 while a set has no
 *     more keys than places, in each slot.
 *
 * Time is the monotonic clock in us, and never goes back. A worker's own: all
 * calls on its thread, no lock and no atomics; a reader asks
 * the worker. Counting allocates nothing. Keys are those of buckets, never API
 * keys or tokens.
 */
struct denials;

#define DENIALS_SLOT_MS     10000
#define DENIALS_SLOTS       6
#define DENIALS_WINDOW_MS   (DENIALS_SLOT_MS * DENIALS_SLOTS)
#define DENIALS_SETS        16
#define DENIALS_SET_CLIENTS 8
/* As many are listed at most. */
#define DENIALS_MAX_CLIENTS (DENIALS_SLOTS * DENIALS_SETS * DENIALS_SET_CLIENTS)
/* What is kept of a key and of names; the rest of a longer one is cut off. */
#define DENIALS_KEY_BYTES  144
#define DENIALS_NAME_BYTES 32

struct denials *denials_create(void) MUST_CHECK;
void denials_destroy(struct denials **denials);

/* One denial; its bytes are copied. */
struct denial {
    struct slice key;
    struct slice tier;
    struct slice route;
    struct slice window;
    /* What stands for tier and route, and for the window, in denials_recount; NULL = nothing. */
    const void *lane;
    const void *window_id;
};
void denials_count(struct denials *denials, const struct denial *denial, int64_t now_us);
/*
 * The same for a key that was refused just so before, on the hot path: no name is read. False: it
 * is not known like that, nothing is counted, and denials_count must be told. Neither id is NULL.
 */
bool denials_recount(struct denials *denials,
                     struct slice key,
                     const void *lane,
                     const void *window_id,
                     int64_t now_us) MUST_CHECK;
/* What ids stood for goes, as in a reload. */
void denials_forget_names(struct denials *denials);

/* One client as it stands; plain data. Tier, route, window: those of its last denial. */
struct denials_client {
    uint64_t denied;         /* recent ones that were counted: never too many */
    uint64_t denied_at_most; /* with those that may have gone uncounted */
    uint8_t key_length;
    uint8_t tier_length;
    uint8_t route_length;
    uint8_t window_length;
    char key[DENIALS_KEY_BYTES];
    char tier[DENIALS_NAME_BYTES];
    char route[DENIALS_NAME_BYTES];
    char window[DENIALS_NAME_BYTES];
};
/* Those with recent denials, most first (ties: by key), at most `max`. The number written. */
size_t denials_top(const struct denials *denials,
                   int64_t now_us,
                   struct denials_client *clients,
                   size_t max);
/*
 * Add what another worker saw to `clients` (`count` of them, room for `max`): numbers of one key
 * are added up, the list is put in order again and cut at `max`. The new number. What a list was
 * cut by is in nobody's denied_at_most.
 */
size_t denials_merge(struct denials_client *clients,
                     size_t count,
                     size_t max,
                     const struct denials_client *others,
                     size_t other_count);
