/* SPDX-License-Identifier: MIT */
/*
 * From text to typed values, with complaints that say what is allowed and what
 * was given. The schema's rows and the readers of tiers, routes and addresses
 * build on these; none of them formats a complaint by itself. A secret's text
 * never enters a message.
 */
#include "kamiyo/config/config_value.h"

#include <inttypes.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include "kamiyo/base/mem.h"
#include "kamiyo/base/text.h"
#include "kamiyo/config/yaml_expand.h"

#define MAX_SHOWN_BYTES 80

struct config_value config_value_below(const struct config_value *value,
                                       const struct yaml_node *node,
                                       const char *name,
                                       size_t index,
                                       char key[CONFIG_VALUE_KEY_SIZE])
{
    struct config_value below = *value;

    if (name != NULL)
        (void)snprintf(key, CONFIG_VALUE_KEY_SIZE, "%s%s%s", value->key,
                       value->key[0] != '\0' ? "." : "", name);
    else
        (void)snprintf(key, CONFIG_VALUE_KEY_SIZE, "%s[%zu]", value->key, index);
    below.node = node;
    below.key = key;
    return below;
}

static void append_shown(struct text *text, const char *given)
{
    struct slice shown = slice_of(given);
    bool is_cut = shown.length > MAX_SHOWN_BYTES;

    if (is_cut)
        shown.length = MAX_SHOWN_BYTES;
    text_append_char(text, '"');
    text_append_quoted(text, shown);
    text_append(text, is_cut ? SLICE("...\"") : SLICE("\""));
}

/* `; given "5"`, or `; given "5" from "${X}"`, or `; given a list`. */
static void append_given(struct text *text, const struct config_value *value)
{
    const struct yaml_node *node = value->node;

    text_append(text, SLICE("; given "));
    if (node->kind != YAML_SCALAR || yaml_tree_is_empty(node)) {
        text_append(text, slice_of(yaml_tree_kind_name(node)));
    } else if (value->is_secret) {
        text_append(text, SLICE("a text that is not shown"));
    } else {
        append_shown(text, node->text);
        if (node->origin != NULL && node->place.line > 0) {
            text_append(text, SLICE(" from "));
            append_shown(text, node->origin);
        }
    }
}

PRINTF_LIKE(3, 0)
static void
add_error(const struct config_value *value, const char *hint, const char *format, va_list args)
{
    char message[1000];
    char extra[420];
    struct text text;

    if (value->node->kind == YAML_BROKEN)
        return;
    text_init(&text, extra, sizeof(extra));
    append_given(&text, value);
    if (hint != NULL && !value->is_secret)
        text_append_format(&text, "; did you mean `%s`?", hint);
    (void)vsnprintf(message, sizeof(message), format, args);
    error_list_add(value->errors, ERROR_FATAL, value->file, value->node->place, value->key, "%s%s",
                   message, text_terminate(&text));
}

void config_value_refuse(const struct config_value *value, const char *format, ...)
{
    va_list args;

    va_start(args, format);
    add_error(value, NULL, format, args);
    va_end(args);
}

void config_value_refuse_hint(const struct config_value *value,
                              const char *hint,
                              const char *format,
                              ...)
{
    va_list args;

    va_start(args, format);
    add_error(value, hint, format, args);
    va_end(args);
}

void config_value_refuse_name(const struct config_value *value,
                              const char *const *names,
                              const char *format,
                              ...)
{
    const char *nearest = NULL;
    va_list args;

    if (names != NULL && value->node->kind == YAML_SCALAR)
        nearest = text_nearest(slice_of(value->node->text), names);
    va_start(args, format);
    add_error(value, nearest, format, args);
    va_end(args);
}

void config_value_warn(const struct config_value *value, const char *format, ...)
{
    char message[1000];
    va_list args;

    va_start(args, format);
    (void)vsnprintf(message, sizeof(message), format, args);
    va_end(args);
    error_list_add(value->errors, ERROR_WARNING, value->file, value->node->place, value->key, "%s",
                   message);
}

bool config_value_is_scalar(const struct config_value *value, const char *allowed)
{
    if (value->node->kind == YAML_SCALAR && !yaml_tree_is_empty(value->node))
        return true;
    config_value_refuse(value, "must be %s", allowed);
    return false;
}

bool config_value_bool(const struct config_value *value, bool *out)
{
    static const char *const names[] = {"false", "true", NULL};
    static const char *const other[][2] = {
        {"no", "yes"}, {"off", "on"}, {"0", "1"}, {"False", "True"}, {"FALSE", "TRUE"}};
    const char *given = value->node->kind == YAML_SCALAR ? value->node->text : "";

    for (size_t i = 0; i < 2; i++) {
        if (strcmp(given, names[i]) == 0) {
            *out = i == 1;
            return true;
        }
        for (size_t j = 0; j < COUNT_OF(other); j++) {
            if (strcmp(given, other[j][i]) == 0) {
                config_value_refuse_hint(value, names[i], "must be true or false");
                return false;
            }
        }
    }
    config_value_refuse_name(value, names, "must be true or false");
    return false;
}

/* Decimal digits with an optional minus; no other way to write a number. */
static bool parse_integer(struct slice text, int64_t *out)
{
    bool is_negative = text.length > 0 && text.data[0] == '-';
    uint64_t magnitude;

    if (is_negative)
        text = (struct slice){text.data + 1, text.length - 1};
    if (!slice_parse_u64(text, &magnitude) || magnitude > INT64_MAX)
        return false;
    *out = is_negative ? -(int64_t)magnitude : (int64_t)magnitude;
    return true;
}

bool config_value_integer(const struct config_value *value, int64_t min, int64_t max, int64_t *out)
{
    int64_t number;

    if (value->node->kind == YAML_SCALAR && parse_integer(slice_of(value->node->text), &number) &&
        number >= min && number <= max) {
        *out = number;
        return true;
    }
    config_value_refuse(value, "must be a whole number from %" PRId64 " to %" PRId64, min, max);
    return false;
}

bool config_value_number(const struct config_value *value, double max, double *out)
{
    struct slice text = slice_of(value->node->kind == YAML_SCALAR ? value->node->text : NULL);
    size_t dot = slice_find(text, '.');
    struct slice whole = {text.data, dot};
    struct slice part = {text.data + dot + 1, dot < text.length ? text.length - dot - 1 : 0};
    uint64_t digits = 0;
    double number = 0.0;
    bool is_fine = text.length > 0 && text.length <= 16 && slice_parse_u64(whole, &digits);

    number = (double)digits;
    if (is_fine && dot < text.length) {
        double scale = 1.0;

        is_fine = slice_parse_u64(part, &digits);
        for (size_t i = 0; i < part.length; i++)
            scale *= 10.0;
        number += (double)digits / scale;
    }
    if (is_fine && number <= max) {
        *out = number;
        return true;
    }
    config_value_refuse(value, "must be a number from 0 to %g, as 0.25", max);
    return false;
}

/* "a whole number needs a unit" is the commonest slip, so the message offers the ways out. */
static bool refuse_bare_number(const struct config_value *value, const char *units)
{
    int64_t number;

    if (value->node->kind != YAML_SCALAR || !parse_integer(slice_of(value->node->text), &number))
        return false;
    config_value_refuse(value, "needs a unit: %s", units);
    return true;
}

bool config_value_duration(const struct config_value *value, int64_t min, int64_t max, int64_t *ms)
{
    struct slice text = slice_of(value->node->kind == YAML_SCALAR ? value->node->text : NULL);
    char least[24];
    char most[24];
    int64_t given;

    if (refuse_bare_number(value, "50ms, 2s, 5m, 1h or 1d"))
        return false;
    if (text_parse_duration(text, &given) && given >= min && given <= max) {
        *ms = given;
        return true;
    }
    config_value_refuse(value, "must be a time from %s to %s, as 50ms, 2s, 5m, 1h or 1d",
                        min == 0 ? "0s" : text_format_duration(min, least),
                        text_format_duration(max, most));
    return false;
}

static const char *format_size(int64_t bytes, char out[32])
{
    static const char *const units[] = {"B", "KiB", "MiB", "GiB"};
    size_t unit = 0;

    while (unit + 1 < COUNT_OF(units) && bytes >= 1024 && bytes % 1024 == 0) {
        bytes /= 1024;
        unit++;
    }
    (void)snprintf(out, 32, "%" PRId64 "%s", bytes, units[unit]);
    return out;
}

bool config_value_size(
    const struct config_value *value, bool is_zero_none, int64_t min, int64_t max, uint64_t *bytes)
{
    struct slice text = slice_of(value->node->kind == YAML_SCALAR ? value->node->text : NULL);
    char least[32];
    char most[32];
    uint64_t given;

    if (is_zero_none && slice_equal(text, SLICE("0"))) {
        *bytes = 0;
        return true;
    }
    if (refuse_bare_number(value, "512B, 32KiB, 64MiB or 1GiB"))
        return false;
    if (text_parse_size(text, &given) && given >= (uint64_t)min && given <= (uint64_t)max) {
        *bytes = given;
        return true;
    }
    config_value_refuse(value, "must be a size from %s to %s%s, as 32KiB or 1MiB",
                        format_size(min, least), format_size(max, most),
                        is_zero_none ? ", or 0 for none" : "");
    return false;
}

bool config_value_choice(const struct config_value *value, const char *const *names, int *out)
{
    char allowed[300];
    struct text text;

    text_init(&text, allowed, sizeof(allowed));
    for (int i = 0; names[i] != NULL; i++) {
        if (value->node->kind == YAML_SCALAR && strcmp(value->node->text, names[i]) == 0) {
            *out = i;
            return true;
        }
        text_append_format(&text, "%s%s",
                           i == 0                 ? ""
                           : names[i + 1] == NULL ? " or "
                                                  : ", ",
                           names[i]);
    }
    config_value_refuse_name(value, names, "must be %s", text_terminate(&text));
    return false;
}

static bool has_controls(struct slice text)
{
    for (size_t i = 0; i < text.length; i++) {
        if ((unsigned char)text.data[i] < 0x20 || text.data[i] == 0x7f)
            return true;
    }
    return false;
}

bool config_value_accept_any(struct slice text)
{
    (void)text;
    return true;
}

bool config_value_text(const struct config_value *value,
                       config_value_accept_fn *accept,
                       const char *allowed,
                       char **out)
{
    struct slice text = slice_of(value->node->text);

    if (value->node->kind != YAML_SCALAR ||
        (accept != config_value_accept_any && has_controls(text))) {
        config_value_refuse(value, "must be %s", allowed != NULL ? allowed : "a text of one line");
        return false;
    }
    if (accept != NULL && !accept(text)) {
        config_value_refuse(value, "must be %s", allowed);
        return false;
    }
    mem_free(*out);
    *out = mem_copy_string(value->node->text);
    return true;
}

bool config_value_path(const struct config_value *value, char **out)
{
    char *path = NULL;
    char *joined;
    size_t size;

    if (!config_value_text(value, NULL, "a path", &path))
        return false;
    if (path[0] != '/' && path[0] != '\0' && value->directory[0] != '\0') {
        size = strlen(value->directory) + strlen(path) + 2;
        joined = mem_alloc(size);
        (void)snprintf(joined, size, "%s/%s", value->directory, path);
        mem_free(path);
        path = joined;
    }
    mem_free(*out);
    *out = path;
    return true;
}

void config_value_elements(const struct config_value *value, struct config_elements *elements)
{
    const struct yaml_node *node = value->node;

    *elements = (struct config_elements){.node = node};
    if (node->kind == YAML_LIST)
        elements->count = node->count;
    else if (node->kind == YAML_SCALAR && node->origin != NULL)
        elements->count = yaml_expand_split(node, &elements->parts);
    else if (node->kind != YAML_BROKEN && !yaml_tree_is_empty(node))
        elements->count = 1;
}

struct config_value config_value_element(const struct config_value *value,
                                         const struct config_elements *elements,
                                         size_t index,
                                         char key[CONFIG_VALUE_KEY_SIZE])
{
    bool is_list = elements->node->kind == YAML_LIST;
    const struct yaml_node *node = elements->node;
    struct config_value element;

    if (elements->parts != NULL)
        node = elements->parts[index];
    else if (is_list)
        node = node->items[index];
    element = config_value_below(value, node, NULL, index, key);
    if (!is_list)
        element.key = value->key;
    return element;
}

void config_value_elements_clear(struct config_elements *elements)
{
    for (size_t i = 0; elements->parts != NULL && i < elements->count; i++)
        yaml_tree_destroy_node(&elements->parts[i]);
    mem_free(elements->parts);
    *elements = (struct config_elements){.count = 0};
}

bool config_value_texts(const struct config_value *value,
                        config_value_accept_fn *accept,
                        const char *allowed,
                        bool is_path,
                        char ***items,
                        size_t *count)
{
    struct config_elements elements;
    bool is_fine = true;

    config_value_free_texts(items, count);
    config_value_elements(value, &elements);
    for (size_t i = 0; i < elements.count; i++) {
        char key[CONFIG_VALUE_KEY_SIZE];
        struct config_value item = config_value_element(value, &elements, i, key);
        char *text = NULL;

        if (item.node->kind == YAML_SCALAR && item.node->text[0] == '\0')
            config_value_refuse(&item, "must not be empty");
        else if (is_path ? config_value_path(&item, &text)
                         : config_value_text(&item, accept, allowed, &text)) {
            *items = mem_resize(*items, (*count + 1) * sizeof(char *));
            (*items)[(*count)++] = text;
            continue;
        }
        is_fine = false;
    }
    config_value_elements_clear(&elements);
    return is_fine;
}

void config_value_free_texts(char ***items, size_t *count)
{
    for (size_t i = 0; i < *count; i++)
        mem_free((*items)[i]);
    mem_free(*items);
    *items = NULL;
    *count = 0;
}
