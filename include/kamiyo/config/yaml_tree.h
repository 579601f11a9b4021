/* SPDX-License-Identifier: MIT */
#pragma once

#include <stdbool.h>
#include <stddef.h>

#include "kamiyo/base/attributes.h"
#include "kamiyo/base/error.h"

/*
 * A YAML file as a tree of nodes that remember their place. Less than YAML on
 * purpose: one document of maps, lists and strings. Every scalar stays the text
 * that was written (no, 1e3 and null are strings), and what could surprise is
 * refused with its place: anchors, aliases, tags, keys that repeat, a second document,
 * depth and size beyond the bounds.
 */
enum yaml_kind {
    YAML_SCALAR,
    YAML_LIST,
    YAML_MAP,
    YAML_BROKEN, /* was refused and reported; readers pass over it */
};

struct yaml_key {
    char *text;
    struct error_place place;
};

struct yaml_node {
    enum yaml_kind kind;
    struct error_place place; /* columns count characters */
    bool is_quoted;           /* SCALAR: "", '' or a block */
    char *text;               /* SCALAR: never NULL */
    char *origin;             /* SCALAR: the text before ${...} was expanded; NULL = nothing was */
    struct yaml_key *keys;    /* MAP: `count` of them, in the file's order */
    struct yaml_node **items; /* LIST: elements; MAP: the value of each key */
    size_t count;
};

struct yaml_tree {
    char *file;             /* as given, for messages */
    struct yaml_node *root; /* NULL = the file holds nothing */
};

struct yaml_bounds {
    size_t max_bytes;
    size_t max_nodes;
    int max_depth;
};

/* For a configuration: 1 MiB, 100,000 nodes, 16 levels. */
extern const struct yaml_bounds yaml_tree_bounds;

/*
 * Parse `length` bytes that came from `file`. What is wrong goes to `errors`. NULL when the syntax
 * is broken (the parser cannot go on); otherwise a tree, in which refused parts are YAML_BROKEN.
 */
struct yaml_tree *yaml_tree_parse(const char *file,
                                  const char *data,
                                  size_t length,
                                  const struct yaml_bounds *bounds,
                                  struct error_list *errors) MUST_CHECK;
/* The same for the file at `path`; one that cannot be read is an error without a line. */
struct yaml_tree *yaml_tree_read(const char *path,
                                 const struct yaml_bounds *bounds,
                                 struct error_list *errors) MUST_CHECK;
void yaml_tree_destroy(struct yaml_tree **tree);

/* A scalar outside of any file, with a place of line 0. The caller's, ended by
 * yaml_tree_destroy_node. */
struct yaml_node *yaml_tree_make_scalar(const char *text) MUST_CHECK;
void yaml_tree_destroy_node(struct yaml_node **node);

/* The value below `path`, keys separated by dots ("redis.tls"), or NULL. `node` may be NULL. */
const struct yaml_node *yaml_tree_find(const struct yaml_node *node, const char *path);
/* `key:` with nothing after it. */
bool yaml_tree_is_empty(const struct yaml_node *node);
/* "a list", "a map", "a text": for messages. */
const char *yaml_tree_kind_name(const struct yaml_node *node);
