/* SPDX-License-Identifier: MIT */
/* splitmix64 (Steele, Lea, Flood): repeatable numbers for tests on random tables. */
#include "random_support.h"

static uint64_t next(struct random_source *source)
{
    uint64_t mixed = source->state += 0x9e3779b97f4a7c15u;

    mixed = (mixed ^ mixed >> 30) * 0xbf58476d1ce4e5b9u;
    mixed = (mixed ^ mixed >> 27) * 0x94d049bb133111ebu;
    return mixed ^ mixed >> 31;
}

size_t random_below(struct random_source *source, size_t below)
{
    return (size_t)(next(source) % below);
}

int64_t random_amount(struct random_source *source, int64_t below)
{
    return (int64_t)(next(source) % (uint64_t)below);
}

int64_t random_scaled(struct random_source *source, int64_t most)
{
    int64_t bound = 1;

    while (bound < most && random_below(source, 4) != 0)
        bound = bound > most / 10 ? most : bound * 10;
    return 1 + random_amount(source, bound);
}
