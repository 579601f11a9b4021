/* SPDX-License-Identifier: MIT */
#pragma once

#include <stddef.h>

#include "kamiyo/base/slice.h"

#define USER_ID_MAX_BYTES 128

/*
 * A user's id as it stands in a bucket key, a log line and the lists: bytes
 * outside A-Z a-z 0-9 . _ @ + = - as %XX; what would be longer than 128 bytes
 * is "sha256-" and 64 hex digits of the id. Returns the length; nothing is
 * terminated. Two ids never give one text, but for a client that is itself
 * called "sha256-...".
 */
size_t user_id_format(struct slice id, char out[USER_ID_MAX_BYTES]);
