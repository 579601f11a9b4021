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
/* The same for numbers with a sign. */
int64_t random_amount(struct random_source *source, int64_t below);
/* 1 to `most`, of all magnitudes. */
int64_t random_scaled(struct random_source *source, int64_t most);
