/* SPDX-License-Identifier: MIT */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "kamiyo/config/config_value.h"

/*
 * Tables of keys: a row says where a key stands, what it takes, what it is when nobody
 * sets it and where it goes. Reading, hints for unknown keys, defaults, freeing
 * and documentation all come from the rows, so a new key is one row.
 */
enum config_type {
    CONFIG_TEXT,     /* char * */
    CONFIG_PATH,     /* char *, relative to the file */
    CONFIG_TEXTS,    /* char ** and size_t */
    CONFIG_PATHS,    /* likewise */
    CONFIG_BOOL,     /* bool */
    CONFIG_INT,      /* int */
    CONFIG_INT64,    /* int64_t */
    CONFIG_NUMBER,   /* double from 0 to max */
    CONFIG_DURATION, /* int64_t, milliseconds */
    CONFIG_SIZE,     /* uint64_t, bytes */
    CONFIG_CHOICE,   /* an enum that counts from 0 as `choices` does */
    CONFIG_CUSTOM,   /* `read` and `clear` know */
};

struct config_key {
    const char *path; /* dotted, from the table's root */
    enum config_type type;
    bool is_secret;
    bool is_zero_none;   /* SIZE: a bare 0 is allowed */
    size_t offset;       /* of the field in the table's target */
    size_t count_offset; /* TEXTS and PATHS: of the number of items */
    int64_t min;         /* in the field's unit, both inclusive */
    int64_t max;
    const char *const *choices; /* ended by NULL */
    config_value_accept_fn *accept;
    const char *
        allowed; /* what `accept` takes, or a custom key's values, for messages and documentation */
    void (*read)(const struct config_value *value, void *target);
    void (*clear)(void *target);
    const char *fallback; /* YAML; NULL = the field is left alone */
    const char *variable; /* environment variable, or NULL */
    const char *flag;     /* "--workers", or NULL */
    const char *doc;      /* one sentence */
};

struct config_table {
    const struct config_key *keys;
    size_t count;
};

/* What stands as `file` in values that nobody set. */
extern const char config_table_default_file[];

const struct config_key *config_table_find(const struct config_table *table, const char *path);
/* Whether keys stand below `path`. */
bool config_table_is_section(const struct config_table *table, const char *path);
/* Read a value into the key's field of `target`; false when it was refused (custom readers report
 * by themselves: true). */
bool config_table_store(const struct config_key *key,
                        const struct config_value *value,
                        void *target);
/* Every key's fallback. */
void config_table_store_defaults(const struct config_table *table,
                                 void *target,
                                 struct error_list *errors);
/* Every key that is in the map `value`, which stands for the table's root; unknown names are
 * reported. For the items of lists. */
void config_table_store_map(const struct config_table *table,
                            const struct config_value *value,
                            void *target);
/* Report every name below the map `value` that the table does not know. */
void config_table_check_names(const struct config_table *table, const struct config_value *value);
/* Free what the fields own. The target may be half filled if it began zeroed. */
void config_table_clear(const struct config_table *table, void *target);
/* What a key takes, for people: "a time from 1ms to 10s". Terminated, cut at `size`. */
const char *config_table_describe(const struct config_key *key, char *out, size_t size);
