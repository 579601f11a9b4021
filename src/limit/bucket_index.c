/* SPDX-License-Identifier: MIT */
/*
 * The index of a shard. In the main array an entry is taken out by shifting its followers back
 * (Knuth, 6.4 algorithm R), so there are no tombstones and a probe ends at the first empty slot.
 * The old array is only ever emptied: what left it is marked, so that probes pass over it.
 *
 *   insert -> main        find -> main, then old        step: old[moved..] -> main, then old is
 * freed
 */
#include "bucket_index.h"

#include <assert.h>
#include <sys/mman.h>

#include "kamiyo/base/mem.h"

#define EMPTY          0
#define MOVED          UINT32_MAX
#define FIRST_CAPACITY 16
#define MMAP_BYTES     ((size_t)64 * 1024)

static size_t array_bytes(uint32_t capacity)
{
    return capacity * sizeof(struct bucket_slot);
}

/* Large arrays come from the kernel: zeroed page by page when touched, so a growth does not stop to
 * clear megabytes. */
static struct bucket_slot *array_alloc(uint32_t capacity)
{
    void *memory;

    if (array_bytes(capacity) < MMAP_BYTES)
        return mem_try_alloc_zero(array_bytes(capacity));
    memory = mmap(NULL, array_bytes(capacity), PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS,
                  -1, 0);
    return memory == MAP_FAILED ? NULL : memory;
}

static void array_free(struct bucket_array *array)
{
    if (array_bytes(array->capacity) < MMAP_BYTES)
        mem_free(array->slots);
    else
        munmap(array->slots, array_bytes(array->capacity));
    *array = (struct bucket_array){0};
}

bool bucket_index_init(struct bucket_index *index)
{
    *index = (struct bucket_index){0};
    index->main.slots = array_alloc(FIRST_CAPACITY);
    if (index->main.slots == NULL)
        return false;
    index->main.capacity = FIRST_CAPACITY;
    index->bytes = array_bytes(FIRST_CAPACITY);
    return true;
}

void bucket_index_clear(struct bucket_index *index)
{
    array_free(&index->main);
    array_free(&index->old);
    index->bytes = 0;
    index->moved = 0;
}

uint32_t bucket_index_count(const struct bucket_index *index)
{
    return index->main.count + index->old.count;
}

static struct bucket_place probe(struct bucket_array *array, uint32_t hash, uint32_t slot)
{
    uint32_t mask = array->capacity - 1;

    for (slot &= mask; array->slots[slot].entry != EMPTY; slot = (slot + 1) & mask)
        if (array->slots[slot].hash == hash && array->slots[slot].entry != MOVED)
            return (struct bucket_place){array, slot};
    return (struct bucket_place){NULL, 0};
}

struct bucket_place bucket_index_first(struct bucket_index *index, uint32_t hash)
{
    struct bucket_place place = probe(&index->main, hash, hash);

    if (place.array == NULL && index->old.count > 0)
        place = probe(&index->old, hash, hash);
    return place;
}

struct bucket_place bucket_index_next(struct bucket_index *index, struct bucket_place place)
{
    uint32_t hash = place.array->slots[place.slot].hash;
    struct bucket_place next = probe(place.array, hash, place.slot + 1);

    if (next.array == NULL && place.array == &index->main && index->old.count > 0)
        next = probe(&index->old, hash, hash);
    return next;
}

uint32_t bucket_index_reference(struct bucket_place place)
{
    return place.array->slots[place.slot].entry - 1;
}

bool bucket_place_is_used(struct bucket_place place)
{
    uint32_t entry = place.array->slots[place.slot].entry;

    return entry != EMPTY && entry != MOVED;
}

/* Seven eighths; what is still to come from the old array counts. One slot at least stays empty:
 * probes end there. */
static bool is_crowded(const struct bucket_index *index, uint32_t capacity)
{
    return bucket_index_count(index) + 1 > capacity / 8 * 7;
}

size_t bucket_index_growth(const struct bucket_index *index)
{
    return is_crowded(index, index->main.capacity) ? array_bytes(index->main.capacity * 2) : 0;
}

static bool start_moving(struct bucket_index *index, uint32_t capacity)
{
    struct bucket_slot *slots = index->old.slots == NULL ? array_alloc(capacity) : NULL;

    if (slots == NULL)
        return false;
    index->old = index->main;
    index->moved = 0;
    index->main = (struct bucket_array){.slots = slots, .capacity = capacity};
    index->bytes += array_bytes(capacity);
    return true;
}

bool bucket_index_grow(struct bucket_index *index)
{
    return start_moving(index, index->main.capacity * 2);
}

void bucket_index_insert(struct bucket_index *index, uint32_t hash, uint32_t reference)
{
    struct bucket_array *array = &index->main;
    uint32_t mask = array->capacity - 1;
    uint32_t slot = hash & mask;

    assert(array->count + 1 < array->capacity);
    while (array->slots[slot].entry != EMPTY)
        slot = (slot + 1) & mask;
    array->slots[slot] = (struct bucket_slot){hash, reference + 1};
    array->count++;
}

/* Close the gap at `gap`: each follower that may stand there moves up. */
static void shift_back(struct bucket_array *array, uint32_t gap)
{
    uint32_t mask = array->capacity - 1;
    uint32_t slot = gap;

    for (;;) {
        slot = (slot + 1) & mask;
        if (array->slots[slot].entry == EMPTY)
            break;
        /* How far it is from home now must be at least how far the gap is behind it. */
        if (((slot - array->slots[slot].hash) & mask) >= ((slot - gap) & mask)) {
            array->slots[gap] = array->slots[slot];
            gap = slot;
        }
    }
    array->slots[gap] = (struct bucket_slot){0, EMPTY};
}

void bucket_index_remove(struct bucket_index *index, struct bucket_place place)
{
    place.array->count--;
    if (place.array == &index->main)
        shift_back(place.array, place.slot);
    else
        place.array->slots[place.slot].entry = MOVED;
}

void bucket_index_swap(struct bucket_place one, struct bucket_place other)
{
    uint32_t entry = one.array->slots[one.slot].entry;

    one.array->slots[one.slot].entry = other.array->slots[other.slot].entry;
    other.array->slots[other.slot].entry = entry;
}

/* Shrink when under an eighth is used, so that growth and shrinking are far apart. */
static bool is_sparse(const struct bucket_index *index)
{
    return index->main.capacity > FIRST_CAPACITY &&
           bucket_index_count(index) < index->main.capacity / 8;
}

void bucket_index_step(struct bucket_index *index, uint32_t slots)
{
    struct bucket_array *old = &index->old;

    if (old->slots == NULL) {
        if (is_sparse(index))
            (void)start_moving(index, index->main.capacity / 2); /* without memory it stays large */
        return;
    }
    for (; slots > 0 && old->count > 0; slots--, index->moved++) {
        struct bucket_slot *slot = &old->slots[index->moved];

        if (slot->entry == EMPTY || slot->entry == MOVED)
            continue;
        bucket_index_insert(index, slot->hash, slot->entry - 1);
        slot->entry = MOVED;
        old->count--;
    }
    if (old->count == 0) {
        index->bytes -= array_bytes(old->capacity);
        array_free(old);
    }
}

size_t bucket_index_slots(const struct bucket_index *index)
{
    return (size_t)index->main.capacity + index->old.capacity;
}

struct bucket_place bucket_index_at(struct bucket_index *index, size_t number)
{
    if (number < index->main.capacity)
        return (struct bucket_place){&index->main, (uint32_t)number};
    number -= index->main.capacity;
    if (number < index->old.capacity)
        return (struct bucket_place){&index->old, (uint32_t)number};
    return (struct bucket_place){NULL, 0};
}
