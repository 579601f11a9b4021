/* SPDX-License-Identifier: MIT */
#pragma once

#include <stdbool.h>
#include <stddef.h>

#include "kamiyo/base/attributes.h"

/*
 * Failures as values. `struct error` is one sentence about why something could
 * not be done, for whoever decides to log it. `struct error_list` gathers all
 * that is wrong with a file, each with its place, to be shown in one go.
 */

/* One failure; empty text = none. Plain data: no ender. */
struct error {
    char text[512];
};

void error_clear(struct error *error);
/* Replace the text; cut if too long. `error` may be NULL when the caller does not want it. */
void error_set(struct error *error, const char *format, ...) PRINTF_LIKE(2, 3);
/* Put "prefix: " before the text that is there. */
void error_prefix(struct error *error, const char *format, ...) PRINTF_LIKE(2, 3);

enum error_severity {
    ERROR_FATAL,
    ERROR_WARNING
};

/* A place in a file: line and column count from 1; line 0 = no place (an environment variable, a
 * flag). */
struct error_place {
    int line;
    int column;
    int length; /* bytes to underline, at least 1 */
};

struct error_item {
    enum error_severity severity;
    struct error_place place;
    char *file;    /* owned; what stands before the line number, may name a variable or flag */
    char *key;     /* owned; key.path, or "" */
    char *message; /* owned; what is wrong, what is allowed, what was given */
};

/* In order of being added; at most 200 are kept, `total` counts all. */
struct error_list {
    struct error_item *items;
    size_t count;
    size_t total_errors;
    size_t total_warnings;
};

void error_list_init(struct error_list *list);
void error_list_clear(struct error_list *list);
void error_list_add(struct error_list *list,
                    enum error_severity severity,
                    const char *file,
                    struct error_place place,
                    const char *key,
                    const char *format,
                    ...) PRINTF_LIKE(6, 7);
