/* SPDX-License-Identifier: MIT */
/*
 * The radix tree of route prefixes. Invariants: but for the root no label is
 * empty; the children of a node begin with different bytes and stand sorted by
 * them; `least` is the minimum over the subtree, which lets a walk stop early.
 */
#include "kamiyo/route/prefix_tree.h"

#include <string.h>

#include "kamiyo/base/mem.h"

void route_numbers_add(struct route_numbers *list, uint32_t number)
{
    if (list->count > 0 && list->items[list->count - 1] == number)
        return;
    if ((list->count & (list->count - 1)) == 0) /* full at each power of two */
        list->items =
            mem_resize(list->items, (list->count > 0 ? list->count * 2 : 1) * sizeof(*list->items));
    list->items[list->count++] = number;
}

void route_numbers_clear(struct route_numbers *list)
{
    mem_free(list->items);
    *list = (struct route_numbers){.items = NULL};
}

void prefix_tree_init(struct prefix_node *root)
{
    *root = (struct prefix_node){.least = UINT32_MAX};
}

void prefix_tree_clear(struct prefix_node *root)
{
    for (size_t i = 0; i < root->child_count; i++)
        prefix_tree_clear(&root->children[i]);
    mem_free(root->children);
    route_numbers_clear(&root->rules);
    prefix_tree_init(root);
}

/* The index of the child that begins with `byte`, or where it would stand. */
static size_t child_index(const struct prefix_node *node, char byte)
{
    size_t low = 0, high = node->child_count;

    while (low < high) {
        size_t middle = low + (high - low) / 2;

        if ((unsigned char)node->children[middle].label.data[0] < (unsigned char)byte)
            low = middle + 1;
        else
            high = middle;
    }
    return low;
}

static struct slice skip(struct slice text, size_t count)
{
    return (struct slice){text.data + count, text.length - count};
}

/* A new child without rules for `label`, at its place. */
static struct prefix_node *insert_child(struct prefix_node *node, size_t index, struct slice label)
{
    node->children = mem_resize(node->children, (node->child_count + 1) * sizeof(*node->children));
    memmove(&node->children[index + 1], &node->children[index],
            (node->child_count - index) * sizeof(*node->children));
    node->child_count++;
    prefix_tree_init(&node->children[index]);
    node->children[index].label = label;
    return &node->children[index];
}

/* Cut the node's label after `length` bytes: the rest becomes its only child, with all that the
 * node had. */
static void split(struct prefix_node *node, size_t length)
{
    struct prefix_node *child = mem_alloc(sizeof(*child));

    *child = *node;
    child->label = skip(node->label, length);
    *node = (struct prefix_node){.label = {node->label.data, length},
                                 .least = child->least,
                                 .children = child,
                                 .child_count = 1};
}

void prefix_tree_add(struct prefix_node *root, struct slice prefix, uint32_t number)
{
    struct prefix_node *node = root;

    while (prefix.length > 0) {
        size_t index = child_index(node, prefix.data[0]), common = 0;

        if (number < node->least)
            node->least = number;
        if (index == node->child_count || node->children[index].label.data[0] != prefix.data[0]) {
            node = insert_child(node, index, prefix);
            break;
        }
        node = &node->children[index];
        while (common < node->label.length && common < prefix.length &&
               node->label.data[common] == prefix.data[common])
            common++;
        if (common < node->label.length)
            split(node, common);
        prefix = skip(prefix, common);
    }
    if (number < node->least)
        node->least = number;
    route_numbers_add(&node->rules, number);
}

const struct prefix_node *prefix_tree_step(const struct prefix_node *node, struct slice *rest)
{
    const struct prefix_node *child;
    size_t index;

    if (rest->length == 0)
        return NULL;
    index = child_index(node, rest->data[0]);
    if (index == node->child_count)
        return NULL;
    child = &node->children[index];
    if (!slice_starts_with(*rest, child->label))
        return NULL;
    *rest = skip(*rest, child->label.length);
    return child;
}
