/* SPDX-License-Identifier: MIT */
#pragma once

#include "kamiyo/base/error.h"
#include "kamiyo/config/yaml_tree.h"

/* Looks up a variable: getenv, or a test's own. */
typedef const char *yaml_expand_getenv_fn(const char *name);

/*
 * Replace ${VAR} and ${VAR:-default} in every scalar of the tree (not in keys), and $$ by a dollar.
 * A default may hold variables itself. A variable that is set to the empty string counts as not
 * set; one that is not set and has no default is an error, and its node becomes YAML_BROKEN. In a
 * list, an item that expands to nothing is dropped, and one that expands to a text with commas
 * becomes several.
 */
void yaml_expand(struct yaml_tree *tree,
                 yaml_expand_getenv_fn *getenv_fn,
                 struct error_list *errors);

/* The parts of a text between commas, without the spaces around them, each as a node with `model`'s
 * place; empty parts are left out. Their number; nodes (yaml_tree_destroy_node) and array
 * (mem_free) are the caller's. */
size_t yaml_expand_split(const struct yaml_node *model, struct yaml_node ***parts);
