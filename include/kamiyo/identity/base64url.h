/* SPDX-License-Identifier: MIT */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "kamiyo/base/attributes.h"
#include "kamiyo/base/slice.h"

/* Base64 with the alphabet for URLs, without padding (RFC 4648 5, RFC 7515 2). */

/* Only letters of the alphabet; true for the empty text. */
bool base64url_is(struct slice text);
/*
 * Strict: no padding, no other byte, no bits set that carry nothing, so that a text has one
 * decoding and a decoding one text. False on anything else or when `capacity` is too small: *length
 * is untouched.
 */
bool base64url_decode(struct slice text, uint8_t *out, size_t capacity, size_t *length) MUST_CHECK;
