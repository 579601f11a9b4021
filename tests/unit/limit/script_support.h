/* SPDX-License-Identifier: MIT */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "kamiyo/base/attributes.h"

/*
 * A real Redis for a test of the script: redis-server, or what $KAMIYO_TEST_REDIS
 * names (a Valkey), on a unix socket of its own, asked and waited for one
 * command at a time. bucket.lua is loaded.
 */
#define SCRIPT_MAX_VALUES 32

struct script_argument {
    const char *data;
    size_t length;
};

/* Integers of a reply; the text of the last simple or bulk string, or error. */
struct script_reply {
    size_t count;
    int64_t values[SCRIPT_MAX_VALUES];
    char text[4096];
};

/* Group set-up and tear-down for cmocka. Without such a program the set-up succeeds and
 * script_is_running says no. */
int script_start(void **state);
int script_stop(void **state);
bool script_is_running(void);
/* Of the loaded script, 40 hex digits. */
const char *script_sha(void);
struct script_reply script_command(const struct script_argument *arguments, size_t count);
/* Words separated by spaces. */
struct script_reply script_text(const char *format, ...) PRINTF_LIKE(1, 2);
