/* SPDX-License-Identifier: MIT */
#pragma once

#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>

#include "kamiyo/base/attributes.h"
#include "kamiyo/limit/limit_options.h"

/*
 * The policies that buckets in the table were made for, each held once: an
 * entry names its shape by number, and when the limits have changed meanwhile
 * the old shape says what its levels meant. Any thread.
 *
 * `policy` is what the levels count in. For a fallback share it is the scaled
 * policy, and `base` the whole one (itself when share is 1).
 */
struct bucket_shape {
    struct limit_policy policy;
    struct bucket_shape *base; /* holds a reference to it, unless it is itself */
    int64_t share;             /* 1 = the whole limits, n = one n-th */
    int64_t largest_cost;      /* of a share: no capacity is smaller; else 0 */
    uint16_t index;
    /* On a line of its own, apart from what every decision reads: all workers write it. */
    _Alignas(64) atomic_ulong reference_count;
    char rest_of_line[64 - sizeof(atomic_ulong)];
};

struct bucket_shapes;

struct bucket_shapes *bucket_shapes_create(void) MUST_CHECK;
/* All references must have been given back, or be forgotten. */
void bucket_shapes_destroy(struct bucket_shapes **shapes);
/*
 * The shape of this policy (copied) with a reference for the caller. Takes a lock: keep the result
 * (limiter.c caches it by policy). `largest_cost` bounds a share from below; ignored when share
 * is 1.
 */
struct bucket_shape *bucket_shapes_ref(struct bucket_shapes *shapes,
                                       const struct limit_policy *policy,
                                       int64_t share,
                                       int64_t largest_cost) MUST_CHECK;
/* For whoever holds one already. */
void bucket_shape_ref(struct bucket_shape *shape);
void bucket_shape_unref(struct bucket_shape *shape);
/* The shape of an entry: valid while the caller holds it by a reference or the entry's shard lock.
 */
struct bucket_shape *bucket_shapes_at(struct bucket_shapes *shapes, uint16_t index);
/* Whether this shape is this whole policy with this share (and largest_cost, unless share is 1).
 * Cheap enough for each request. */
bool bucket_shape_is(const struct bucket_shape *shape,
                     const struct limit_policy *policy,
                     int64_t share,
                     int64_t largest_cost);
