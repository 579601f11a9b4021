/* SPDX-License-Identifier: MIT */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include "kamiyo/base/attributes.h"

/*
 * A slice is a borrowed run of bytes: no owner, no terminator, any content.
 * It is valid as long as what it points into; whoever stores one says whose
 * memory that is. An empty slice may have a NULL pointer.
 */
struct slice {
    const char *data;
    size_t length;
};

/* A slice of a string literal. */
#define SLICE(literal) ((struct slice){(literal), sizeof(literal) - 1})
/* For printf's "%.*s". */
#define SLICE_PRINT(slice) (int)(slice).length, ((slice).data != NULL ? (slice).data : "")

/* Copy to where the caller has made sure of the room; returns what follows. Inline, so that
 * literals become plain stores. */
static inline char *slice_put(char *out, struct slice bytes)
{
    if (bytes.length > 0)
        memcpy(out, bytes.data, bytes.length);
    return out + bytes.length;
}

/* The slice of a terminated string; NULL gives the empty slice. */
struct slice slice_of(const char *text);
bool slice_equal(struct slice a, struct slice b);
/* slice_equal_ignore_case of two runs of the same length. */
bool slice_equal_letters(const char *a, const char *b, size_t length);
/* ASCII letters compare without case; all else byte for byte. No locale. */
static inline bool slice_equal_ignore_case(struct slice a, struct slice b)
{
    return a.length == b.length && slice_equal_letters(a.data, b.data, a.length);
}
bool slice_starts_with(struct slice text, struct slice prefix);
/* Without leading and trailing spaces and tabs (RFC 9110 OWS). */
struct slice slice_trim(struct slice text);
/* Index of `byte`, or text.length if absent. */
size_t slice_find(struct slice text, char byte);
/*
 * Cut the next part off *rest at `separator`: *part is what stood before it and
 * *rest what follows. False when *rest is spent (its data is NULL), so that
 * "a,,b" gives three parts and "" gives one empty part.
 */
bool slice_cut(struct slice *rest, char separator, struct slice *part);
/* Decimal digits only, no sign, no space, no overflow; else false, *value untouched. */
bool slice_parse_u64(struct slice text, uint64_t *value) MUST_CHECK;
