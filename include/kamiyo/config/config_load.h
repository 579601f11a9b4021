/* SPDX-License-Identifier: MIT */
#pragma once

#include <stdbool.h>

#include "kamiyo/base/attributes.h"
#include "kamiyo/base/error.h"
#include "kamiyo/config/config.h"

/*
 * From flags, environment, file and defaults (in that order of precedence) to
 * a struct config, or to the list of everything that is wrong with them.
 */

/* Command-line flags that stand above environment and file; NULL = not given. */
struct config_overrides {
    const char *path;      /* --config */
    const char *listen;    /* --listen */
    const char *upstream;  /* --upstream */
    const char *redis;     /* --redis */
    const char *workers;   /* --workers */
    const char *log_level; /* --log-level */
};

/*
 * NULL when there is any error of severity FATAL; warnings are added in any case. A Redis URL
 * that cannot be used is a warning here with key "redis.url" (the caller of `check` makes it an
 * error). `getenv_fn` is getenv, or a test's own.
 */
typedef const char *config_getenv_fn(const char *name);
struct config *config_load(const struct config_overrides *overrides,
                           config_getenv_fn *getenv_fn,
                           struct error_list *errors) MUST_CHECK;
