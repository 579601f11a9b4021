/* SPDX-License-Identifier: MIT */
/* splitmix64 (Steele, Lea, Flood): repeatable numbers for tests on random tables. */
#include "random_support.h"

size_t random_below(struct random_source *source, size_t below)
{
    uint64_t mixed = source->state += 0x9e3779b97f4a7c15u;

    mixed = (mixed ^ mixed >> 30) * 0xbf58476d1ce4e5b9u;
    mixed = (mixed ^ mixed >> 27) * 0x94d049bb133111ebu;
    return (size_t)((mixed ^ mixed >> 31) % below);
}
