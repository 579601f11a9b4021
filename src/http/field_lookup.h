/* SPDX-License-Identifier: MIT */
#pragma once

#include <stdint.h>

#include "kamiyo/http/message.h"

/*
 * The known field names and the way to the only one that a name can be, by its length and two of
 * its letters. Inline, as this runs for each field of each message.
 *
 * Who compares may do so with the case bits set, as long as the name has no control byte: that bit
 * maps only a capital to each small letter, and to "-" nothing but CR.
 */
#define FIELD_PLACES 128
#define FIELD_HASH(length, first, third) \
    ((19 * (length) + 4 * (first) + 2 * (third)) % FIELD_PLACES)

struct field_name {
    char text[24]; /* so that a block of sixteen can be loaded from each */
    size_t length;
};

/* message.c. Letters of FIELD_HASH: the first and the one at three quarters, both small. */
extern const uint8_t http_field_places[FIELD_PLACES];
extern const struct field_name http_field_names[HTTP_FIELD_COUNT];

/* The kind with a name of this length that `name` may be, or HTTP_FIELD_OTHER. */
static inline enum http_field_id field_candidate(struct slice name)
{
    enum http_field_id id;
    unsigned first, third;

    if (name.length == 0)
        return HTTP_FIELD_OTHER;
    first = (unsigned char)name.data[0] | 0x20U;
    third = (unsigned char)name.data[name.length * 3 / 4] | 0x20U;
    id = (enum http_field_id)http_field_places[FIELD_HASH(name.length, first, third)];
    return http_field_names[id].length == name.length ? id : HTTP_FIELD_OTHER;
}
