/* SPDX-License-Identifier: MIT */
#pragma once

#include <stdbool.h>
#include <stdint.h>

#include "kamiyo/base/attributes.h"
#include "kamiyo/base/slice.h"

/*
 * One line of an access log as a request that can be decided again: our own
 * JSON lines, and the common and combined formats of nginx, Apache and others.
 */
#define REPLAY_LOG_MAX_LINE 16384

struct replay_record {
    int64_t time_ms; /* Unix */
    char client[64]; /* an address */
    char user[160];  /* an id as in bucket keys; "" = none */
    char tier[33];   /* "" = the log does not say */
    char method[33];
    char path[8192]; /* without its query */
};

/* False when the line is none of these or says too little. Pure. */
bool replay_log_parse(struct slice line, struct replay_record *record) MUST_CHECK;
