/* SPDX-License-Identifier: MIT */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "kamiyo/limit/bucket_table.h"

/* A table with one policy (10 a minute, 100 an hour), and short ways to ask it. */
#define TABLE_START  1000000
#define TABLE_MEMORY ((uint64_t)16 << 20)

struct table_fixture {
    struct bucket_table *table;
    struct limit_policy policy;
    struct bucket_shape *shape;
};

void table_policy(struct limit_policy *policy, int64_t minute, int64_t hour);
void table_setup(struct table_fixture *f, uint64_t memory_bytes);
void table_teardown(struct table_fixture *f);
struct bucket_key table_key(struct table_fixture *f, const char *text);
bool table_take(struct table_fixture *f, const char *text, int64_t cost, int64_t now_ms);
int64_t table_remaining(struct table_fixture *f, const char *text, int64_t now_ms);
struct bucket_table_stats table_stats(struct table_fixture *f);
struct bucket_mirror
table_mirror(struct table_fixture *f, const struct bucket_key *key, int64_t minute, int64_t hour);
