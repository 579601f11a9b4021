/* SPDX-License-Identifier: MIT */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "kamiyo/base/attributes.h"
#include "kamiyo/base/progress.h"
#include "kamiyo/base/slice.h"

/*
 * Where an API key's owner is looked up: an interface in the now-or-later
 * shape, so that the identity chain knows neither Redis nor a loop. A source
 * sees the key's SHA-256 only, never the key.
 */

#define KEY_SOURCE_DIGEST_BYTES   32
#define KEY_SOURCE_MAX_USER_BYTES 128 /* of an escaped id */
#define KEY_SOURCE_MAX_TIER_BYTES 32

enum key_source_outcome {
    KEY_SOURCE_FOUND,
    KEY_SOURCE_ABSENT,      /* the source answered: no such key, or one without a user */
    KEY_SOURCE_UNAVAILABLE, /* no answer in time, or an error: nothing is known about the key */
};

/* What a source says. The user is escaped as it stands in a bucket key; nothing is terminated. */
struct key_record {
    enum key_source_outcome outcome;
    uint8_t user_length;
    uint8_t tier_length; /* 0 = none named */
    char user[KEY_SOURCE_MAX_USER_BYTES];
    char tier[KEY_SOURCE_MAX_TIER_BYTES];
};

/*
 * Fill *record from what a source has stored: FOUND, or ABSENT when `user` is
 * empty. The id is escaped; a tier that is no tier's name counts as none.
 */
void key_source_fill_record(struct key_record *record, struct slice user, struct slice tier);

struct key_source;
struct key_source_call; /* the source's own */

typedef void key_source_done_fn(void *arg, const struct key_record *record);

/* Embedded as the first member of a source; the source fills it. */
struct key_source {
    /*
     * Look `digest` up; borrowed during the call. DONE: *record is filled and `done` never runs.
     * PENDING: *call is set and `done` runs once, later, with a record that is valid during it. The
     * deadline is the source's.
     */
    enum progress (*find)(struct key_source *source,
                          const uint8_t digest[KEY_SOURCE_DIGEST_BYTES],
                          struct key_record *record,
                          key_source_done_fn *done,
                          void *arg,
                          struct key_source_call **call);
    /* NULL handle is fine; nulls it, and `done` cannot run afterwards. */
    void (*cancel)(struct key_source *source, struct key_source_call **call);
};
