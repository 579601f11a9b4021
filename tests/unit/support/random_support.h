/* SPDX-License-Identifier: MIT */
#pragma once

#include <stddef.h>
#include <stdint.h>

/* A generator (splitmix64) with a seed of the test's own, so that a failure comes again. */
struct random_source {
    uint64_t state;
};

/* 0 to `below` - 1. */
size_t random_below(struct random_source *source, size_t below);
