/* SPDX-License-Identifier: MIT */
/*
 * An open-addressed table with linear probing, at most half full, so that a
 * look-up that fails (the usual one) ends after a slot or two.
 */
#include "kamiyo/route/name_map.h"

#include "kamiyo/base/mem.h"

static uint64_t length_bit(struct slice name)
{
    return UINT64_C(1) << (name.length < 63 ? name.length : 63);
}

static struct name_slot *find_slot(const struct name_map *map, struct slice name, uint32_t hash)
{
    size_t mask = map->slot_count - 1;

    for (size_t i = hash & mask;; i = (i + 1) & mask) {
        struct name_slot *slot = &map->slots[i];

        if (slot->value == 0 || (slot->hash == hash && slice_equal(slot->name, name)))
            return slot;
    }
}

static void grow(struct name_map *map)
{
    struct name_map wider = *map;

    wider.slot_count = map->slot_count > 0 ? map->slot_count * 2 : 16;
    wider.slots = mem_alloc_zero(wider.slot_count * sizeof(*wider.slots));
    for (size_t i = 0; i < map->slot_count; i++)
        if (map->slots[i].value != 0)
            *find_slot(&wider, map->slots[i].name, map->slots[i].hash) = map->slots[i];
    mem_free(map->slots);
    *map = wider;
}

void name_map_init(struct name_map *map)
{
    *map = (struct name_map){.slots = NULL};
    hash_key_generate(&map->key);
}

void name_map_clear(struct name_map *map)
{
    mem_free(map->slots);
    map->slots = NULL;
    map->slot_count = 0;
    map->count = 0;
    map->lengths = 0;
}

uint32_t name_map_add(struct name_map *map, struct slice name, uint32_t value)
{
    uint32_t hash = (uint32_t)hash_bytes(&map->key, name.data, name.length);
    struct name_slot *slot;

    if ((map->count + 1) * 2 > map->slot_count)
        grow(map);
    slot = find_slot(map, name, hash);
    if (slot->value == 0) {
        *slot = (struct name_slot){.name = name, .hash = hash, .value = value + 1};
        map->count++;
        map->lengths |= length_bit(name);
    }
    return slot->value - 1;
}

bool name_map_find(const struct name_map *map, struct slice name, uint32_t *value)
{
    const struct name_slot *slot;

    if ((map->lengths & length_bit(name)) == 0) /* most names are not hashed at all */
        return false;
    slot = find_slot(map, name, (uint32_t)hash_bytes(&map->key, name.data, name.length));
    if (slot->value == 0)
        return false;
    *value = slot->value - 1;
    return true;
}
