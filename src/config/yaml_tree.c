/* SPDX-License-Identifier: MIT */
/*
 * YAML to a tree with places, through libyaml's events. libyaml bounds nothing
 * and flags no repeated key, so this file does both; it goes on after whatever
 * it refuses itself, so that one run shows all there is, and stops only where
 * libyaml's own syntax error leaves nothing to go on with.
 * Used by config_load and config_key_file, and by nobody in the data path.
 */
#include "kamiyo/config/yaml_tree.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <yaml.h>

#include "kamiyo/base/mem.h"

const struct yaml_bounds yaml_tree_bounds = {
    .max_bytes = 1024 * 1024,
    .max_nodes = 100000,
    .max_depth = 16,
};

struct reader {
    yaml_parser_t parser;
    const char *file;
    const char *data;
    size_t length;
    const struct yaml_bounds *bounds;
    struct error_list *errors;
    size_t node_count;
    bool is_over; /* a syntax error or a bound: nothing more can be read */
};

static struct error_place place_of(const yaml_mark_t *start, const yaml_mark_t *end)
{
    struct error_place place = {.line = (int)start->line + 1, .column = (int)start->column + 1};

    place.length = 1;
    if (end->line == start->line && end->column > start->column)
        place.length = (int)(end->column - start->column);
    return place;
}

static void stop(struct reader *reader, struct error_place place, const char *message)
{
    if (!reader->is_over)
        error_list_add(reader->errors, ERROR_FATAL, reader->file, place, "", "%s", message);
    reader->is_over = true;
}

/* The byte at a line and column, counted in characters as libyaml does; NULL beyond the end. */
static const char *find_byte(const struct reader *reader, size_t line, size_t column)
{
    const char *at = reader->data;
    const char *end = reader->data + reader->length;

    while (line > 0 && at < end) {
        if (*at++ == '\n')
            line--;
    }
    while (at < end && *at != '\n') {
        if (column == 0)
            return at;
        at++;
        while (at < end && ((unsigned char)*at & 0xC0) == 0x80)
            at++;
        column--;
    }
    return NULL;
}

/* An unquoted ${X} inside [ ] or { }: YAML takes the brace for the start of a map. */
static bool is_unquoted_variable(const struct reader *reader, const yaml_mark_t *mark)
{
    const char *at;

    if (mark->column == 0)
        return false;
    at = find_byte(reader, mark->line, mark->column - 1);
    return at != NULL && at + 1 < reader->data + reader->length && at[0] == '$' && at[1] == '{';
}

static bool is_tab(const struct reader *reader, const yaml_mark_t *mark)
{
    const char *at = find_byte(reader, mark->line, mark->column);

    return at != NULL && *at == '\t';
}

/* Line and column of a byte that libyaml's reader refused before it could count them. */
static struct error_place place_at_offset(const struct reader *reader, size_t offset)
{
    struct error_place place = {.line = 1, .column = 1, .length = 1};

    for (size_t i = 0; i < offset && i < reader->length; i++) {
        if (reader->data[i] == '\n') {
            place.line++;
            place.column = 1;
        } else if (((unsigned char)reader->data[i] & 0xC0) != 0x80) {
            place.column++;
        }
    }
    return place;
}

static void report_syntax(struct reader *reader)
{
    const yaml_parser_t *parser = &reader->parser;
    struct error_place place = place_of(&parser->problem_mark, &parser->problem_mark);
    char message[320];

    if (parser->error == YAML_READER_ERROR) {
        (void)snprintf(message, sizeof(message), "not readable as UTF-8 text: %s", parser->problem);
        stop(reader, place_at_offset(reader, parser->problem_offset), message);
        return;
    }
    if (is_unquoted_variable(reader, &parser->problem_mark)) {
        place.column--;
        place.length = 2;
        stop(reader, place, "inside [ ] and { } a ${...} needs quotes: \"${NAME}\"");
        return;
    }
    if (is_tab(reader, &parser->problem_mark)) {
        stop(reader, place, "broken YAML: lines are indented with spaces, never with a tab");
        return;
    }
    /* At the end of the file there is nothing to point at; what was left open is of more use. */
    if (parser->context != NULL && parser->problem_mark.index >= reader->length &&
        parser->context_mark.index < parser->problem_mark.index)
        place = place_of(&parser->context_mark, &parser->context_mark);
    if (parser->context != NULL && parser->context_mark.line != parser->problem_mark.line)
        (void)snprintf(message, sizeof(message), "broken YAML: %s (%s that begins in line %zu)",
                       parser->problem, parser->context, parser->context_mark.line + 1);
    else
        (void)snprintf(message, sizeof(message), "broken YAML: %s%s%s",
                       parser->problem != NULL ? parser->problem : "out of memory",
                       parser->context != NULL ? ", " : "",
                       parser->context != NULL ? parser->context : "");
    stop(reader, place, message);
}

static bool next_event(struct reader *reader, yaml_event_t *event)
{
    if (reader->is_over)
        return false;
    if (yaml_parser_parse(&reader->parser, event) != 0)
        return true;
    report_syntax(reader);
    return false;
}

static void refuse(struct reader *reader, const yaml_event_t *event, const char *message)
{
    error_list_add(reader->errors, ERROR_FATAL, reader->file,
                   place_of(&event->start_mark, &event->end_mark), "", "%s", message);
}

static struct yaml_node *
make_node(struct reader *reader, const yaml_event_t *event, enum yaml_kind kind)
{
    struct yaml_node *node = mem_alloc_zero(sizeof(*node));

    node->kind = kind;
    node->place = place_of(&event->start_mark, &event->end_mark);
    if (++reader->node_count > reader->bounds->max_nodes)
        stop(reader, node->place, "too many values in one file");
    return node;
}

/* Anchors and tags change what a value means without showing it; true when there was one. */
static bool refuse_decoration(struct reader *reader,
                              const yaml_event_t *event,
                              const yaml_char_t *anchor,
                              const yaml_char_t *tag)
{
    if (anchor != NULL)
        refuse(reader, event,
               "anchors (&name) are not supported: write the value out where it is used");
    if (tag != NULL)
        refuse(reader, event,
               "tags (!name) are not supported: every value is read by what its key needs");
    return anchor != NULL || tag != NULL;
}

static struct yaml_node *read_scalar(struct reader *reader, const yaml_event_t *event)
{
    struct yaml_node *node = make_node(reader, event, YAML_SCALAR);
    const char *text = (const char *)event->data.scalar.value;

    node->is_quoted = event->data.scalar.style != YAML_PLAIN_SCALAR_STYLE;
    node->text = mem_copy_bytes(text, event->data.scalar.length);
    if (strlen(node->text) != event->data.scalar.length) {
        refuse(reader, event, "a value cannot hold a NUL byte");
        node->kind = YAML_BROKEN;
    }
    if (refuse_decoration(reader, event, event->data.scalar.anchor, event->data.scalar.tag))
        node->kind = YAML_BROKEN;
    return node;
}

static struct yaml_node *read_node(struct reader *reader, const yaml_event_t *event, int depth);

/* Arrays grow by doubling; `count` is a power of two exactly when they are full. */
static void append(struct yaml_node *node, struct yaml_node *item, const struct yaml_key *key)
{
    if ((node->count & (node->count - 1)) == 0) {
        size_t capacity = node->count == 0 ? 1 : node->count * 2;

        node->items = mem_resize(node->items, capacity * sizeof(struct yaml_node *));
        if (key != NULL)
            node->keys = mem_resize(node->keys, capacity * sizeof(*node->keys));
    }
    if (key != NULL)
        node->keys[node->count] = *key;
    node->items[node->count++] = item;
}

static void read_list(struct reader *reader, struct yaml_node *list, int depth)
{
    yaml_event_t event;

    while (next_event(reader, &event)) {
        bool is_end = event.type == YAML_SEQUENCE_END_EVENT;

        if (!is_end)
            append(list, read_node(reader, &event, depth), NULL);
        yaml_event_delete(&event);
        if (is_end)
            return;
    }
}

static int compare_keys(const void *a, const void *b)
{
    const struct yaml_key *left = *(const struct yaml_key *const *)a;
    const struct yaml_key *right = *(const struct yaml_key *const *)b;
    int order = strcmp(left->text, right->text);

    if (order != 0)
        return order;
    return left < right ? -1 : left > right; /* places in one array: the file's order */
}

/* Sorted, because comparing each with each lets a large map cost minutes. */
static void refuse_repeated_keys(struct reader *reader, const struct yaml_node *map)
{
    const struct yaml_key **sorted;

    if (map->count < 2)
        return;
    sorted = mem_alloc(map->count * sizeof(struct yaml_key *));
    for (size_t i = 0; i < map->count; i++)
        sorted[i] = &map->keys[i];
    qsort(sorted, map->count, sizeof(struct yaml_key *), compare_keys);
    for (size_t i = 1; i < map->count; i++) {
        if (strcmp(sorted[i - 1]->text, sorted[i]->text) == 0) {
            map->items[sorted[i] - map->keys]->kind = YAML_BROKEN; /* one mistake, told once */
            error_list_add(reader->errors, ERROR_FATAL, reader->file, sorted[i]->place,
                           sorted[i]->text, "stands here twice, first in line %d",
                           sorted[i - 1]->place.line);
        }
    }
    mem_free(sorted);
}

/* False when the key is no plain text: its value is then read and dropped. */
static bool
read_key(struct reader *reader, const yaml_event_t *event, int depth, struct yaml_key *key)
{
    struct yaml_node *node = read_node(reader, event, depth);
    bool is_fine = node->kind == YAML_SCALAR;

    if (node->kind == YAML_LIST || node->kind == YAML_MAP)
        refuse(reader, event, "a key must be a text");
    if (is_fine) {
        *key = (struct yaml_key){.text = node->text, .place = node->place};
        node->text = NULL;
    }
    yaml_tree_destroy_node(&node);
    return is_fine;
}

static void read_map(struct reader *reader, struct yaml_node *map, int depth)
{
    yaml_event_t event;

    while (next_event(reader, &event)) {
        struct yaml_key key = {.text = NULL};
        bool is_end = event.type == YAML_MAPPING_END_EVENT;
        bool has_key = !is_end && read_key(reader, &event, depth, &key);

        yaml_event_delete(&event);
        if (is_end)
            break;
        if (next_event(reader, &event)) {
            struct yaml_node *value = read_node(reader, &event, depth);

            yaml_event_delete(&event);
            if (has_key)
                append(map, value, &key);
            else
                yaml_tree_destroy_node(&value);
        } else {
            mem_free(key.text);
        }
    }
    refuse_repeated_keys(reader, map);
}

/* Never NULL. Recursion is bounded by max_depth, which stops the reader. */
static struct yaml_node *read_node(struct reader *reader, const yaml_event_t *event, int depth)
{
    struct yaml_node *node;
    bool is_map = event->type == YAML_MAPPING_START_EVENT;

    if (event->type == YAML_SCALAR_EVENT)
        return read_scalar(reader, event);
    node = make_node(reader, event, is_map ? YAML_MAP : YAML_LIST);
    if (!is_map && event->type != YAML_SEQUENCE_START_EVENT) {
        node->kind = YAML_BROKEN;
        refuse(reader, event, "aliases (*name) are not supported: write the value out");
        return node;
    }
    if (depth >= reader->bounds->max_depth) {
        stop(reader, node->place, "nested too deeply");
        return node;
    }
    if (is_map)
        read_map(reader, node, depth + 1);
    else
        read_list(reader, node, depth + 1);
    if (is_map ? refuse_decoration(reader, event, event->data.mapping_start.anchor,
                                   event->data.mapping_start.tag)
               : refuse_decoration(reader, event, event->data.sequence_start.anchor,
                                   event->data.sequence_start.tag))
        node->kind = YAML_BROKEN;
    return node;
}

/* The stream around the one document. */
static struct yaml_node *read_stream(struct reader *reader)
{
    struct yaml_node *root = NULL;
    yaml_event_t event;

    while (next_event(reader, &event)) {
        yaml_event_type_t type = event.type;

        if (type == YAML_DOCUMENT_START_EVENT && root != NULL)
            stop(reader, place_of(&event.start_mark, &event.end_mark),
                 "a second document begins here: one file is one document");
        else if (type == YAML_SCALAR_EVENT || type == YAML_ALIAS_EVENT ||
                 type == YAML_SEQUENCE_START_EVENT || type == YAML_MAPPING_START_EVENT)
            root = read_node(reader, &event, 0);
        yaml_event_delete(&event);
        if (type == YAML_STREAM_END_EVENT)
            break;
    }
    return root;
}

struct yaml_tree *yaml_tree_parse(const char *file,
                                  const char *data,
                                  size_t length,
                                  const struct yaml_bounds *bounds,
                                  struct error_list *errors)
{
    struct reader reader = {
        .file = file, .data = data, .length = length, .bounds = bounds, .errors = errors};
    struct yaml_tree *tree = mem_alloc_zero(sizeof(*tree));

    tree->file = mem_copy_string(file);
    if (yaml_parser_initialize(&reader.parser) == 0)
        abort(); /* out of memory, as in mem_alloc */
    yaml_parser_set_encoding(&reader.parser, YAML_UTF8_ENCODING);
    yaml_parser_set_input_string(&reader.parser, (const unsigned char *)data, length);
    if (length > bounds->max_bytes)
        stop(&reader, (struct error_place){.line = 0, .column = 1, .length = 1},
             "the file is too large");
    else
        tree->root = read_stream(&reader);
    yaml_parser_delete(&reader.parser);
    if (reader.is_over)
        yaml_tree_destroy(&tree);
    return tree;
}

struct yaml_tree *
yaml_tree_read(const char *path, const struct yaml_bounds *bounds, struct error_list *errors)
{
    struct error_place nowhere = {.line = 0, .column = 1, .length = 1};
    struct yaml_tree *tree = NULL;
    FILE *file = fopen(path, "rbe");
    char *data = NULL;
    size_t length = 0;

    if (file != NULL) {
        size_t got;

        do { /* one byte beyond the bound tells that there is more */
            data = mem_resize(data, length + 65536);
            got = fread(data + length, 1, 65536, file);
            length += got;
        } while (got > 0 && length <= bounds->max_bytes);
    }
    if (file == NULL || ferror(file) != 0)
        error_list_add(errors, ERROR_FATAL, path, nowhere, "", "cannot be read: %s",
                       strerror(errno));
    else
        tree = yaml_tree_parse(path, data, length, bounds, errors);
    if (file != NULL)
        (void)fclose(file); /* nothing was written to it */
    mem_free(data);
    return tree;
}

void yaml_tree_destroy(struct yaml_tree **tree)
{
    if (*tree == NULL)
        return;
    yaml_tree_destroy_node(&(*tree)->root);
    mem_free((*tree)->file);
    mem_free(*tree);
    *tree = NULL;
}

struct yaml_node *yaml_tree_make_scalar(const char *text)
{
    struct yaml_node *node = mem_alloc_zero(sizeof(*node));

    node->kind = YAML_SCALAR;
    node->place = (struct error_place){.line = 0, .column = 1, .length = 1};
    node->text = mem_copy_string(text);
    return node;
}

void yaml_tree_destroy_node(struct yaml_node **node)
{
    struct yaml_node *gone = *node;

    if (gone == NULL)
        return;
    *node = NULL;
    for (size_t i = 0; i < gone->count; i++) {
        if (gone->keys != NULL)
            mem_free(gone->keys[i].text);
        yaml_tree_destroy_node(&gone->items[i]);
    }
    mem_free(gone->keys);
    mem_free(gone->items);
    mem_free(gone->origin);
    mem_free(gone->text);
    mem_free(gone);
}

const struct yaml_node *yaml_tree_find(const struct yaml_node *node, const char *path)
{
    while (node != NULL && *path != '\0') {
        size_t length = strcspn(path, ".");
        const struct yaml_node *found = NULL;

        for (size_t i = 0; node->kind == YAML_MAP && found == NULL && i < node->count; i++) {
            if (strncmp(node->keys[i].text, path, length) == 0 &&
                node->keys[i].text[length] == '\0')
                found = node->items[i];
        }
        node = found;
        path += length;
        path += *path == '.';
    }
    return node;
}

bool yaml_tree_is_empty(const struct yaml_node *node)
{
    return node->kind == YAML_SCALAR && !node->is_quoted && node->origin == NULL &&
           node->text[0] == '\0';
}

const char *yaml_tree_kind_name(const struct yaml_node *node)
{
    switch (node->kind) {
    case YAML_LIST:
        return "a list";
    case YAML_MAP:
        return "a map";
    case YAML_SCALAR:
    case YAML_BROKEN:
        break;
    }
    return yaml_tree_is_empty(node) ? "nothing" : "a text";
}
