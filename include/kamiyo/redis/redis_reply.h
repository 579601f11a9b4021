/* SPDX-License-Identifier: MIT */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "kamiyo/base/slice.h"

/*
 * A reply of Redis, read through questions, so that nobody beyond this room
 * knows the library's types and a reply of the wrong shape is a NULL or a
 * false, never a wild read. NULL is a fine argument everywhere: it has no kind.
 */
struct redis_reply;

/* An error reply, and its text. */
bool redis_reply_is_error(const struct redis_reply *reply, struct slice *text);
/* A bulk or simple string. */
bool redis_reply_is_string(const struct redis_reply *reply, struct slice *text);
bool redis_reply_is_integer(const struct redis_reply *reply, int64_t *value);
/* An array, and the number of its elements. */
bool redis_reply_is_array(const struct redis_reply *reply, size_t *count);
/* The i-th element of an array, or NULL. */
const struct redis_reply *redis_reply_at(const struct redis_reply *reply, size_t index);
/* An array of integers and nothing else, at most `capacity`: *count of them are in values[]. */
bool redis_reply_is_integers(const struct redis_reply *reply,
                             int64_t *values,
                             size_t capacity,
                             size_t *count);
