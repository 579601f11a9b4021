/* SPDX-License-Identifier: MIT */
#pragma once

#include <stdbool.h>

#include "kamiyo/base/attributes.h"
#include "kamiyo/base/error.h"

/*
 * Diagnostics of the whole process, one line each, to stderr or a file:
 *
 *   2026-11-23T07:25:59.123Z INFO - Message
 *   {"time": "...", "level": "INFO", "message": "..."}
 *
 * The one piece of state that is the process's, because it must work before
 * and after everything else. Any thread may call; a line is one write. Whoever
 * decides, logs, once; rooms that only report a failure return it. Messages
 * have no full stop; text from a peer is quoted and escaped by the caller.
 * Never a key, a token or a password.
 */
enum log_level {
    LOG_LEVEL_DEBUG,
    LOG_LEVEL_INFO,
    LOG_LEVEL_WARNING,
    LOG_LEVEL_ERROR
};
enum log_format {
    LOG_FORMAT_TEXT,
    LOG_FORMAT_JSON
};

/*
 * Set where and how to log; `path` NULL or "" = stderr. May be called again on
 * a reload. False and *error when the file cannot be opened: nothing changes.
 */
bool log_open(const char *path, enum log_level level, enum log_format format, struct error *error)
    MUST_CHECK;
/* Open the file again under its name (after a rotation). False and *error: the old one is kept. */
bool log_reopen(struct error *error) MUST_CHECK;
/* Whether a line of this level would be written: spares putting its arguments together. */
bool log_enabled(enum log_level level);
void log_write(enum log_level level, const char *format, ...) PRINTF_LIKE(2, 3);

#define log_debug(...)                               \
    do {                                             \
        if (log_enabled(LOG_LEVEL_DEBUG))            \
            log_write(LOG_LEVEL_DEBUG, __VA_ARGS__); \
    } while (0)
#define log_info(...)    log_write(LOG_LEVEL_INFO, __VA_ARGS__)
#define log_warning(...) log_write(LOG_LEVEL_WARNING, __VA_ARGS__)
#define log_error(...)   log_write(LOG_LEVEL_ERROR, __VA_ARGS__)

/*
 * Say something that may repeat at most once in `interval_ms`, with the number
 * of times it was left out: false = stay silent now. Zero-initialise the gate;
 * it may be used from several threads.
 */
struct log_gate {
    _Atomic long long next_ms;
    _Atomic unsigned long suppressed;
};
bool log_gate_open(struct log_gate *gate,
                   long long now_ms,
                   long long interval_ms,
                   unsigned long *left_out);
