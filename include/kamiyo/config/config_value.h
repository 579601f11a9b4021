/* SPDX-License-Identifier: MIT */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "kamiyo/base/attributes.h"
#include "kamiyo/base/error.h"
#include "kamiyo/base/slice.h"
#include "kamiyo/config/yaml_tree.h"

/*
 * One value on its way from text into a struct: the node, where it came from,
 * and the key that complaints name. Each reader either stores the value and
 * returns true, or reports what is wrong and what is allowed, leaves the target
 * alone and returns false. YAML_BROKEN nodes fail silently: they were reported before.
 */
struct config_value {
    const struct yaml_node *node;
    const char *file;      /* or "environment variable WORKERS", "flag --workers" */
    const char *directory; /* what relative paths are relative to; "" = where the process runs */
    const char *key;       /* "redis.timeout" */
    bool is_secret;        /* never shown in a message */
    struct error_list *errors;
};

/* Longest "routes[12].tiers.anonymous.minute". */
#define CONFIG_VALUE_KEY_SIZE 256

/* A value below this one: of the same file, with ".name" (or "[index]" when name is NULL) after the
 * key, which is written to `key`. */
struct config_value config_value_below(const struct config_value *value,
                                       const struct yaml_node *node,
                                       const char *name,
                                       size_t index,
                                       char key[CONFIG_VALUE_KEY_SIZE]);

/* Report this value: the message says what is allowed; what was given is added. */
void config_value_refuse(const struct config_value *value, const char *format, ...)
    PRINTF_LIKE(2, 3);
/* The same with "did you mean `x`?" for the nearest of `names` (ended by NULL). */
void config_value_refuse_name(const struct config_value *value,
                              const char *const *names,
                              const char *format,
                              ...) PRINTF_LIKE(3, 4);
/* The same with one `hint`, NULL = none. */
void config_value_refuse_hint(const struct config_value *value,
                              const char *hint,
                              const char *format,
                              ...) PRINTF_LIKE(3, 4);
/* As refuse, as a warning, and without what was given. */
void config_value_warn(const struct config_value *value, const char *format, ...) PRINTF_LIKE(2, 3);

/* Whether the node is a scalar; else reported with what is `allowed`. */
bool config_value_is_scalar(const struct config_value *value, const char *allowed);
bool config_value_bool(const struct config_value *value, bool *out);
bool config_value_integer(const struct config_value *value, int64_t min, int64_t max, int64_t *out);
bool config_value_number(const struct config_value *value, double max, double *out); /* from 0 */
/* With a unit; a bare 0 only where it means none. */
bool config_value_duration(const struct config_value *value, int64_t min, int64_t max, int64_t *ms);
bool config_value_size(
    const struct config_value *value, bool is_zero_none, int64_t min, int64_t max, uint64_t *bytes);
/* The index in `names` (ended by NULL). */
bool config_value_choice(const struct config_value *value, const char *const *names, int *out);

/* What a text must look like: NULL = anything without control characters. */
typedef bool config_value_accept_fn(struct slice text);
/* Takes control characters too: for what is judged later, in words of its own. */
bool config_value_accept_any(struct slice text);
/* *out is replaced (the old one freed). `allowed` describes what `accept` takes. */
bool config_value_text(const struct config_value *value,
                       config_value_accept_fn *accept,
                       const char *allowed,
                       char **out);
/* As text; a relative path is made to start at value->directory. "" stays "". */
bool config_value_path(const struct config_value *value, char **out);
/*
 * A list of texts, or one text for a list of one (split at commas when it came from a variable or
 * flag). What *items held is freed. Items that are wrong are reported and left out.
 */
bool config_value_texts(const struct config_value *value,
                        config_value_accept_fn *accept,
                        const char *allowed,
                        bool is_path,
                        char ***items,
                        size_t *count);

/* The elements of a list; one text, or one map, stands for a list of itself. */
struct config_elements {
    const struct yaml_node *node; /* the list, or the one element */
    struct yaml_node **parts;     /* owned: of a text with commas; else NULL */
    size_t count;
};
void config_value_elements(const struct config_value *value, struct config_elements *elements);
/* The element as a value: "key[index]" of a list, plain "key" where one stands for a list. */
struct config_value config_value_element(const struct config_value *value,
                                         const struct config_elements *elements,
                                         size_t index,
                                         char key[CONFIG_VALUE_KEY_SIZE]);
void config_value_elements_clear(struct config_elements *elements);

void config_value_free_texts(char ***items, size_t *count);
