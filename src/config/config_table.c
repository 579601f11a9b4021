/* SPDX-License-Identifier: MIT */
/*
 * What tables of keys do: store, default, name, clear, describe. Generic over
 * the target struct; the rows (config_schema, config_route) hold the offsets.
 */
#include "kamiyo/config/config_table.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "kamiyo/base/mem.h"
#include "kamiyo/base/text.h"

#define MAX_SIBLINGS 64
#define MAX_NAME     40

const char config_table_default_file[] = "built-in default";

const struct config_key *config_table_find(const struct config_table *table, const char *path)
{
    for (size_t i = 0; i < table->count; i++) {
        if (strcmp(table->keys[i].path, path) == 0)
            return &table->keys[i];
    }
    return NULL;
}

/* What follows "path." in `candidate`, or NULL. An empty path is above everything. */
static const char *below(const char *candidate, const char *path)
{
    size_t length = strlen(path);

    if (length == 0)
        return candidate;
    return strncmp(candidate, path, length) == 0 && candidate[length] == '.'
               ? candidate + length + 1
               : NULL;
}

bool config_table_is_section(const struct config_table *table, const char *path)
{
    for (size_t i = 0; i < table->count; i++) {
        if (below(table->keys[i].path, path) != NULL)
            return true;
    }
    return false;
}

static bool store_int(const struct config_key *key, const struct config_value *value, void *field)
{
    int64_t number;
    int narrow;

    if (!config_value_integer(value, key->min, key->max, &number))
        return false;
    narrow = (int)number;
    memcpy(field, &narrow, sizeof(narrow));
    return true;
}

static bool
store_choice(const struct config_key *key, const struct config_value *value, void *field)
{
    int index;

    if (!config_value_choice(value, key->choices, &index))
        return false;
    memcpy(field, &index, sizeof(index)); /* an enum without negative values is as wide as an int */
    return true;
}

bool config_table_store(const struct config_key *key,
                        const struct config_value *value,
                        void *target)
{
    struct config_value known = *value;
    void *field = (char *)target + key->offset;
    size_t *count = (void *)((char *)target + key->count_offset);

    known.is_secret = key->is_secret;
    if (known.node->kind == YAML_BROKEN)
        return false;
    switch (key->type) {
    case CONFIG_TEXT:
        return config_value_text(&known, key->accept, key->allowed, field);
    case CONFIG_PATH:
        return config_value_path(&known, field);
    case CONFIG_TEXTS:
        return config_value_texts(&known, key->accept, key->allowed, false, field, count);
    case CONFIG_PATHS:
        return config_value_texts(&known, NULL, NULL, true, field, count);
    case CONFIG_BOOL:
        return config_value_bool(&known, field);
    case CONFIG_INT:
        return store_int(key, &known, field);
    case CONFIG_INT64:
        return config_value_integer(&known, key->min, key->max, field);
    case CONFIG_NUMBER:
        return config_value_number(&known, (double)key->max, field);
    case CONFIG_DURATION:
        return config_value_duration(&known, key->min, key->max, field);
    case CONFIG_SIZE:
        return config_value_size(&known, key->is_zero_none, key->min, key->max, field);
    case CONFIG_CHOICE:
        return store_choice(key, &known, field);
    case CONFIG_CUSTOM:
        key->read(&known, target);
        return true;
    }
    return false;
}

/*
 * Most fallbacks are one plain or quoted scalar, for which a YAML parser is too much: a file with a
 * thousand routes takes six of them for each.
 */
static struct yaml_node *make_scalar(const char *fallback)
{
    size_t length = strlen(fallback);
    struct yaml_node *node;
    char *text;

    if (strpbrk(fallback, "[{\n") != NULL)
        return NULL;
    if (length >= 2 && fallback[0] == '"')
        text = mem_copy_bytes(fallback + 1, length - 2);
    else
        text = mem_copy_bytes(fallback, length);
    node = yaml_tree_make_scalar(text);
    node->is_quoted = true;
    mem_free(text);
    return node;
}

static void store_default(const struct config_key *key, void *target, struct error_list *errors)
{
    struct config_value value = {
        .file = config_table_default_file, .directory = "", .key = key->path, .errors = errors};
    struct yaml_node *scalar = make_scalar(key->fallback);
    struct yaml_tree *tree = NULL;

    if (scalar == NULL)
        tree = yaml_tree_parse(value.file, key->fallback, strlen(key->fallback), &yaml_tree_bounds,
                               errors);
    value.node = tree != NULL ? tree->root : scalar;
    if (value.node != NULL)
        (void)config_table_store(key, &value, target); /* what is wrong is in `errors` */
    yaml_tree_destroy(&tree);
    yaml_tree_destroy_node(&scalar);
}

void config_table_store_defaults(const struct config_table *table,
                                 void *target,
                                 struct error_list *errors)
{
    for (size_t i = 0; i < table->count; i++) {
        if (table->keys[i].fallback != NULL)
            store_default(&table->keys[i], target, errors);
    }
}

void config_table_store_map(const struct config_table *table,
                            const struct config_value *value,
                            void *target)
{
    config_table_check_names(table, value);
    for (size_t i = 0; i < table->count; i++) {
        const struct config_key *key = &table->keys[i];
        const struct yaml_node *node = yaml_tree_find(value->node, key->path);
        char name[CONFIG_VALUE_KEY_SIZE];
        struct config_value item;

        if (node == NULL)
            continue;
        item = config_value_below(value, node, key->path, 0, name);
        (void)config_table_store(key, &item, target); /* what is wrong is in value->errors */
    }
}

/* The names that may stand in a section, each once. */
struct siblings {
    char names[MAX_SIBLINGS][MAX_NAME];
    const char *list[MAX_SIBLINGS + 1]; /* for text_nearest */
    size_t count;
};

static void
find_siblings(const struct config_table *table, const char *path, struct siblings *siblings)
{
    siblings->count = 0;
    for (size_t i = 0; i < table->count; i++) {
        const char *name = below(table->keys[i].path, path);
        size_t length = name != NULL ? strcspn(name, ".") : 0;
        bool is_known = length == 0 || length >= MAX_NAME || siblings->count == MAX_SIBLINGS;

        for (size_t j = 0; !is_known && j < siblings->count; j++)
            is_known = strncmp(siblings->names[j], name, length) == 0 &&
                       siblings->names[j][length] == '\0';
        if (is_known)
            continue;
        memcpy(siblings->names[siblings->count], name, length);
        siblings->names[siblings->count][length] = '\0';
        siblings->list[siblings->count] = siblings->names[siblings->count];
        siblings->count++;
    }
    siblings->list[siblings->count] = NULL;
}

static const char *join_names(const struct siblings *siblings, char *out, size_t size)
{
    struct text text;

    text_init(&text, out, size);
    for (size_t i = 0; i < siblings->count; i++)
        text_append_format(&text, "%s%s", i == 0 ? "" : ", ", siblings->list[i]);
    return text_terminate(&text);
}

/* A row elsewhere whose last part is this name: the key stands in the wrong section. */
static const char *find_elsewhere(const struct config_table *table, const char *name)
{
    for (size_t i = 0; i < table->count; i++) {
        const char *dot = strrchr(table->keys[i].path, '.');

        if (strcmp(dot != NULL ? dot + 1 : table->keys[i].path, name) == 0)
            return table->keys[i].path;
    }
    return NULL;
}

static void refuse_name(const struct config_table *table,
                        const struct config_value *value,
                        const char *section,
                        const struct yaml_key *name,
                        const char *key)
{
    struct siblings siblings;
    char names[600];
    const char *nearest;

    find_siblings(table, section, &siblings);
    nearest = text_nearest(slice_of(name->text), siblings.list);
    if (nearest == NULL)
        nearest = find_elsewhere(table, name->text);
    error_list_add(value->errors, ERROR_FATAL, value->file, name->place, key,
                   "unknown key; allowed here: %s%s%s%s",
                   join_names(&siblings, names, sizeof(names)),
                   nearest != NULL ? "; did you mean `" : "", nearest != NULL ? nearest : "",
                   nearest != NULL ? "`?" : "");
}

static void check_section(const struct config_table *table,
                          const struct config_value *value,
                          const char *section);

static void check_name(const struct config_table *table,
                       const struct config_value *value,
                       const char *section,
                       size_t index)
{
    const struct yaml_key *name = &value->node->keys[index];
    const struct yaml_node *node = value->node->items[index];
    char key[CONFIG_VALUE_KEY_SIZE];
    char path[CONFIG_VALUE_KEY_SIZE];
    struct config_value item = config_value_below(value, node, name->text, 0, key);
    bool is_section;

    (void)snprintf(path, sizeof(path), "%s%s%s", section, *section != '\0' ? "." : "", name->text);
    is_section = config_table_is_section(table, path);
    if (strchr(name->text, '.') != NULL || (!is_section && config_table_find(table, path) == NULL))
        refuse_name(table, value, section, name, key);
    else if (is_section && node->kind == YAML_MAP)
        check_section(table, &item, path);
    else if (is_section && config_table_find(table, path) == NULL && !yaml_tree_is_empty(node)) {
        struct siblings siblings;
        char names[600];

        find_siblings(table, path, &siblings);
        config_value_refuse(&item, "must be a map with the keys %s",
                            join_names(&siblings, names, sizeof(names)));
    }
}

static void check_section(const struct config_table *table,
                          const struct config_value *value,
                          const char *section)
{
    for (size_t i = 0; i < value->node->count; i++)
        check_name(table, value, section, i);
}

void config_table_check_names(const struct config_table *table, const struct config_value *value)
{
    check_section(table, value, "");
}

void config_table_clear(const struct config_table *table, void *target)
{
    for (size_t i = 0; i < table->count; i++) {
        const struct config_key *key = &table->keys[i];
        void *field = (char *)target + key->offset;
        size_t *count = (void *)((char *)target + key->count_offset);
        char **text = field;

        if (key->type == CONFIG_TEXTS || key->type == CONFIG_PATHS) {
            config_value_free_texts(field, count);
        } else if (key->type == CONFIG_TEXT || key->type == CONFIG_PATH) {
            mem_free(*text);
            *text = NULL;
        } else if (key->clear != NULL) {
            key->clear(target);
        }
    }
}

const char *config_table_describe(const struct config_key *key, char *out, size_t size)
{
    char least[24];
    char most[24];
    struct text text;

    text_init(&text, out, size);
    switch (key->type) {
    case CONFIG_BOOL:
        text_append(&text, SLICE("true or false"));
        break;
    case CONFIG_INT:
    case CONFIG_INT64:
        text_append_format(&text, "a whole number from %" PRId64 " to %" PRId64, key->min,
                           key->max);
        break;
    case CONFIG_NUMBER:
        text_append_format(&text, "a number from 0 to %" PRId64, key->max);
        break;
    case CONFIG_DURATION:
        text_append_format(&text, "a time from %s to %s",
                           key->min == 0 ? "0s" : text_format_duration(key->min, least),
                           text_format_duration(key->max, most));
        break;
    case CONFIG_SIZE:
        text_append_format(&text, "a size from %" PRId64 "B to %" PRId64 "MiB%s", key->min,
                           key->max >> 20, key->is_zero_none ? ", or 0 for none" : "");
        break;
    case CONFIG_CHOICE:
        for (size_t i = 0; key->choices[i] != NULL; i++)
            text_append_format(&text, "%s%s", i == 0 ? "" : " | ", key->choices[i]);
        break;
    case CONFIG_PATH:
    case CONFIG_PATHS:
        text_append(&text, key->type == CONFIG_PATH ? SLICE("a path") : SLICE("a list of paths"));
        break;
    case CONFIG_TEXT:
    case CONFIG_TEXTS:
    case CONFIG_CUSTOM:
        text_append(&text, slice_of(key->allowed != NULL ? key->allowed : "a text"));
        break;
    }
    return text_terminate(&text);
}
