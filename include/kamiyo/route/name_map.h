/* SPDX-License-Identifier: MIT */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "kamiyo/base/attributes.h"
#include "kamiyo/base/hash.h"
#include "kamiyo/base/slice.h"

/*
 * Names to numbers, filled once and then only read, from any thread. The hash
 * is keyed because clients choose what is looked up. Names are borrowed: they
 * must live as long as the map.
 */
struct name_slot {
    struct slice name;
    uint32_t hash;
    uint32_t value; /* plus 1; 0 = the slot is free */
};

struct name_map {
    struct hash_key key;
    struct name_slot *slots; /* NULL while empty */
    size_t slot_count;       /* a power of two, at most half full */
    size_t count;
    uint64_t lengths; /* a bit for each length that some name has; the last for all longer ones */
};

void name_map_init(struct name_map *map);
void name_map_clear(struct name_map *map);
/* The value that stands for `name` already, else `value` is entered and returned. */
uint32_t name_map_add(struct name_map *map, struct slice name, uint32_t value);
bool name_map_find(const struct name_map *map, struct slice name, uint32_t *value) MUST_CHECK;
