/* SPDX-License-Identifier: MIT */
#pragma once

#include <stdbool.h>
#include <stddef.h>

#include "kamiyo/base/error.h"
#include "kamiyo/config/config.h"
#include "kamiyo/config/config_load.h"

/* A configuration file in a directory of its own, an environment of its own, and what config_load
 * says of both. */
struct config_support {
    char directory[64];
    char path[96];
    struct config_overrides overrides;
    struct error_list errors;
    struct config *config;
};

/* One variable of the tests' environment; the array ends with a NULL name. */
struct config_support_variable {
    const char *name;
    const char *value;
};

/* What the tests' getenv answers from now on; NULL = nothing is set. */
void config_support_set_environment(const struct config_support_variable *variables);
const char *config_support_getenv(const char *name);

/* Make the directory and the file `text`; NULL = no file, so built-in defaults. */
void config_support_init(struct config_support *support, const char *text);
/* A further file in the directory. */
void config_support_write(struct config_support *support, const char *name, const char *text);
/* Load, replacing what an earlier load gave. */
void config_support_load(struct config_support *support);
void config_support_clear(struct config_support *support);

/* The item at a place whose key is `key` and whose message contains `part`, or NULL. Line 0 = a
 * place outside of files. */
const struct error_item *config_support_find(
    const struct config_support *support, int line, int column, const char *key, const char *part);
/* Print all items to stderr, for a failing test. */
void config_support_show(const struct config_support *support);
