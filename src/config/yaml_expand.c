/* SPDX-License-Identifier: MIT */
/*
 * Variables in a YAML tree. Expansion happens once, on what was parsed, so a
 * variable's content can never become syntax; types are checked afterwards, so
 * `hops: ${HOPS:-0}` is a number in the end. Called by config_load only.
 */
#include "kamiyo/config/yaml_expand.h"

#include <stdbool.h>
#include <stdio.h>
#include <string.h>

#include "kamiyo/base/mem.h"
#include "kamiyo/base/slice.h"

#define MAX_RESULT_BYTES 65536
#define MAX_NESTING      4
#define MAX_PATH_BYTES   256

struct expansion {
    yaml_expand_getenv_fn *getenv_fn;
    const char *file;
    struct error_list *errors;
};

/* Text that grows; its bound keeps a default inside a default inside ... small. */
struct growing {
    char *data;
    size_t length;
    size_t capacity;
};

static void grow(struct growing *out, const char *data, size_t length)
{
    if (length == 0 || out->length + length > MAX_RESULT_BYTES)
        return;
    if (out->length + length >= out->capacity) {
        out->capacity = (out->length + length + 1) * 2;
        out->data = mem_resize(out->data, out->capacity);
    }
    memcpy(out->data + out->length, data, length);
    out->length += length;
    out->data[out->length] = '\0';
}

static bool is_name_byte(char byte, bool is_first)
{
    return (byte >= 'A' && byte <= 'Z') || (byte >= 'a' && byte <= 'z') || byte == '_' ||
           (!is_first && byte >= '0' && byte <= '9');
}

/* Index of the brace that closes the one before text[0], variables in between included; text.length
 * if none does. */
static size_t find_closing(struct slice text)
{
    size_t open = 1;

    for (size_t i = 0; i < text.length; i++) {
        if (text.data[i] == '$' && i + 1 < text.length && text.data[i + 1] == '{') {
            open++;
            i++;
        } else if (text.data[i] == '}' && --open == 0) {
            return i;
        }
    }
    return text.length;
}

static bool expand_text(const struct expansion *expansion,
                        struct slice text,
                        int nesting,
                        struct growing *out,
                        struct error *error);

/* `inside` is what stands between the braces. */
static bool expand_variable(const struct expansion *expansion,
                            struct slice inside,
                            int nesting,
                            struct growing *out,
                            struct error *error)
{
    char name[128];
    size_t length = 0;
    const char *value;

    while (length < inside.length && is_name_byte(inside.data[length], length == 0))
        length++;
    (void)snprintf(name, sizeof(name), "%.*s", (int)length, inside.data);
    if (length == 0 || length >= sizeof(name) ||
        (length < inside.length && strncmp(inside.data + length, ":-", 2) != 0)) {
        error_set(
            error,
            "${%.*s} is no variable; allowed are ${NAME} and ${NAME:-default}, and $$ for a dollar",
            (int)(inside.length < 64 ? inside.length : 64), inside.data);
        return false;
    }
    value = expansion->getenv_fn(name);
    if (value != NULL && *value != '\0') {
        grow(out, value, strlen(value));
        return true;
    }
    if (length == inside.length) {
        error_set(error, "the environment variable %s is not set; set it, or write ${%s:-default}",
                  name, name);
        return false;
    }
    if (nesting >= MAX_NESTING) {
        error_set(error, "a default holds variables more than %d deep", MAX_NESTING);
        return false;
    }
    return expand_text(expansion,
                       (struct slice){inside.data + length + 2, inside.length - length - 2},
                       nesting + 1, out, error);
}

static bool expand_text(const struct expansion *expansion,
                        struct slice text,
                        int nesting,
                        struct growing *out,
                        struct error *error)
{
    for (size_t i = 0; i < text.length; i++) {
        char next = i + 1 < text.length ? text.data[i + 1] : '\0';
        struct slice inside;
        size_t closing;

        if (text.data[i] != '$' || (next != '$' && next != '{')) {
            grow(out, &text.data[i], 1);
            continue;
        }
        i++;
        if (next == '$') {
            grow(out, "$", 1);
            continue;
        }
        inside = (struct slice){text.data + i + 1, text.length - i - 1};
        closing = find_closing(inside);
        if (closing == inside.length) {
            error_set(error, "${ without its }; write $$ for a dollar");
            return false;
        }
        inside.length = closing;
        if (!expand_variable(expansion, inside, nesting, out, error))
            return false;
        i += closing + 1;
    }
    if (out->length >= MAX_RESULT_BYTES) {
        error_set(error, "becomes longer than %d bytes", MAX_RESULT_BYTES);
        return false;
    }
    return true;
}

static void
expand_scalar(const struct expansion *expansion, struct yaml_node *node, const char *path)
{
    struct growing out = {.data = mem_copy_string("")};
    struct error error;

    error_clear(&error);
    if (expand_text(expansion, slice_of(node->text), 0, &out, &error)) {
        if (strstr(node->text, "${") != NULL) {
            node->origin = node->text;
            node->text = NULL;
        }
        mem_free(node->text);
        node->text = out.data;
        return;
    }
    error_list_add(expansion->errors, ERROR_FATAL, expansion->file, node->place, path, "%s",
                   error.text);
    mem_free(out.data);
    node->kind = YAML_BROKEN;
}

size_t yaml_expand_split(const struct yaml_node *model, struct yaml_node ***parts)
{
    struct slice rest = slice_of(model->text);
    struct slice part;
    size_t count = 0;

    *parts = NULL;
    while (slice_cut(&rest, ',', &part)) {
        struct yaml_node *node;

        part = slice_trim(part);
        if (part.length == 0)
            continue;
        node = mem_alloc_zero(sizeof(*node));
        node->kind = YAML_SCALAR;
        node->place = model->place;
        node->text = mem_copy_bytes(part.data, part.length);
        node->origin = mem_copy_string(model->origin);
        *parts = mem_resize(*parts, (count + 1) * sizeof(struct yaml_node *));
        (*parts)[count++] = node;
    }
    return count;
}

/* Put the parts of the items that were expanded in the items' places. */
static void spread_items(struct yaml_node *list)
{
    struct yaml_node **items = NULL;
    size_t count = 0;

    for (size_t i = 0; i < list->count; i++) {
        struct yaml_node *item = list->items[i];
        struct yaml_node **parts = &item;
        size_t part_count = 1;
        bool is_spread = item->kind == YAML_SCALAR && item->origin != NULL;

        if (is_spread)
            part_count = yaml_expand_split(item, &parts);
        if (part_count > 0) {
            items = mem_resize(items, (count + part_count) * sizeof(struct yaml_node *));
            memcpy(items + count, parts, part_count * sizeof(struct yaml_node *));
            count += part_count;
        }
        if (is_spread) {
            mem_free(parts);
            yaml_tree_destroy_node(&item);
        }
    }
    mem_free(list->items);
    list->items = items;
    list->count = count;
}

/* Recursion is as deep as the tree, which its parser has bounded. */
static void expand_node(const struct expansion *expansion, struct yaml_node *node, const char *path)
{
    char below[MAX_PATH_BYTES];

    if (node->kind == YAML_SCALAR && strchr(node->text, '$') != NULL)
        expand_scalar(expansion, node, path);
    for (size_t i = 0; i < node->count; i++) {
        if (node->kind == YAML_MAP)
            (void)snprintf(below, sizeof(below), "%s%s%s", path, *path != '\0' ? "." : "",
                           node->keys[i].text);
        else
            (void)snprintf(below, sizeof(below), "%s[%zu]", path, i);
        expand_node(expansion, node->items[i], below);
    }
    if (node->kind == YAML_LIST)
        spread_items(node);
}

void yaml_expand(struct yaml_tree *tree,
                 yaml_expand_getenv_fn *getenv_fn,
                 struct error_list *errors)
{
    struct expansion expansion = {.getenv_fn = getenv_fn, .file = tree->file, .errors = errors};

    if (tree->root != NULL)
        expand_node(&expansion, tree->root, "");
}
