/* SPDX-License-Identifier: MIT */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "bucket_shard.h"

/*
 * What goes when a shard is at its bound: what matters least, which is what is
 * nearest to full. Under the shard's lock.
 *
 * `units` is the size of the block that is needed (BUCKET_SLAB_UNIT bytes
 * each), or one of these.
 */
#define BUCKET_EVICTION_ANY   ((size_t)0)
#define BUCKET_EVICTION_CHUNK SIZE_MAX /* memory back to the allocator */

/* Drop one record of this size, or a chunk of records of another. False: nothing was met. */
bool bucket_eviction_run(struct bucket_shard *shard, size_t units, int64_t now_ms);
