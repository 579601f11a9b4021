/* SPDX-License-Identifier: MIT */
#pragma once

#include <stddef.h>
#include <stdint.h>

#include <hiredis/hiredis.h>

#include "kamiyo/base/attributes.h"

/*
 * The usual reply to a script, an array of a few integers, read where it
 * lies: hiredis's reader makes an object of each element, and that is a
 * quarter of all that a decision costs. Whatever looks otherwise is left to
 * hiredis, and what is read here hiredis would read the same (a fuzzer
 * compares them).
 */
struct redis_reply;

/* Longer arrays are hiredis's. */
#define REDIS_INTEGERS_MAX 24
/* No reply that is CUT is longer: "*24\r\n", and a sign and 18 digits an element. */
#define REDIS_INTEGERS_MAX_BYTES (5 + REDIS_INTEGERS_MAX * 22)

struct redis_integers {
    redisReply array;
    redisReply *elements[REDIS_INTEGERS_MAX];
    redisReply integers[REDIS_INTEGERS_MAX];
};

enum redis_integers_result {
    REDIS_INTEGERS_WHOLE,
    REDIS_INTEGERS_CUT, /* so far; more bytes will tell */
    REDIS_INTEGERS_OTHER
};

void redis_integers_init(struct redis_integers *integers);
/* The reply that begins at `bytes`; bytes[length] must be 0. WHOLE: *integers holds it, and *used
 * of the bytes are its. */
enum redis_integers_result redis_integers_parse(struct redis_integers *integers,
                                                const char *bytes,
                                                size_t length,
                                                size_t *used) MUST_CHECK;
/* What was parsed last, until the next. */
const struct redis_reply *redis_integers_reply(const struct redis_integers *integers);
