/* SPDX-License-Identifier: MIT */
#pragma once

#include <stdbool.h>
#include <stdint.h>

#include "kamiyo/base/slice.h"

/*
 * Names of single requests, X-Request-Id: kept when a client's is well formed
 * (1 to 128 of A-Z a-z 0-9 . _ -), else made: 32 hexadecimal digits from the
 * worker's own generator. Unique for tracing, not secret.
 */
#define REQUEST_ID_MAX_BYTES  128
#define REQUEST_ID_MADE_BYTES 32

struct request_id_source {
    uint64_t state[2]; /* xoroshiro128+, seeded by the kernel */
};

void request_id_init(struct request_id_source *source);
void request_id_make(struct request_id_source *source, char out[REQUEST_ID_MADE_BYTES]);
bool request_id_is_valid(struct slice id);
