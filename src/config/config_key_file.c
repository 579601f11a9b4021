/* SPDX-License-Identifier: MIT */
/*
 * The keys file becomes plain entries while the configuration is read, so that
 * a mistake in it stops a start (and keeps the old configuration on a reload)
 * as any other does. It holds digests only; a text that is no digest may be a
 * key that was put there by mistake, and is therefore never shown.
 */
#include "kamiyo/config/config_key_file.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include "kamiyo/base/digits.h"
#include "kamiyo/base/mem.h"
#include "kamiyo/config/config.h"
#include "kamiyo/config/config_accept.h"
#include "kamiyo/config/config_table.h"

#define MAX_USER_BYTES 1024

/* Half a million keys, each a map of three. */
static const struct yaml_bounds bounds = {
    .max_bytes = 64 * 1024 * 1024, .max_nodes = 2000000, .max_depth = 4};

struct key_item {
    char *sha256;
    char *user;
    char *tier;
};

static bool accept_digest(struct slice text)
{
    for (size_t i = 0; i < text.length; i++) {
        if (digits_hex_value(text.data[i]) < 0)
            return false;
    }
    return text.length == 64;
}

static bool accept_user(struct slice text)
{
    return text.length >= 1 && text.length <= MAX_USER_BYTES;
}

static bool accept_tier(struct slice text)
{
    return text.length == 0 || config_accept_tier_name(text);
}

static const struct config_key keys[] = {
    {.path = "sha256",
     .type = CONFIG_TEXT,
     .is_secret = true,
     .offset = offsetof(struct key_item, sha256),
     .accept = accept_digest,
     .allowed = "the 64 hexadecimal digits of the key's SHA-256",
     .doc = "Of the key."},
    {.path = "user",
     .type = CONFIG_TEXT,
     .offset = offsetof(struct key_item, user),
     .accept = accept_user,
     .allowed = "a user's id of 1 to 1024 bytes",
     .doc = "Whose key it is."},
    {.path = "tier",
     .type = CONFIG_TEXT,
     .offset = offsetof(struct key_item, tier),
     .accept = accept_tier,
     .allowed = "a tier's name",
     .doc = "The user's tier; none = free."},
};
static const struct config_table table = {keys, COUNT_OF(keys)};

static void read_entry(const struct config_value *value, struct api_key_options *options)
{
    struct key_item item = {.sha256 = NULL};
    struct api_key_entry *entry;

    if (value->node->kind != YAML_MAP) {
        config_value_refuse(value, "must be a map, as {sha256: ..., user: alice, tier: pro}");
        return;
    }
    config_table_store_map(&table, value, &item);
    for (size_t i = 0; i < 2; i++) {
        if (yaml_tree_find(value->node, keys[i].path) == NULL)
            error_list_add(value->errors, ERROR_FATAL, value->file, value->node->place, value->key,
                           "the key %s is missing", keys[i].path);
    }
    entry = &options->keys[options->key_count]; /* one for each item of the list was allocated */
    if (item.sha256 != NULL && item.user != NULL) {
        for (size_t i = 0; i < sizeof(entry->sha256); i++)
            entry->sha256[i] = (uint8_t)digits_hex_byte(item.sha256 + 2 * i); /* it was accepted */
        entry->user = item.user;
        entry->tier = item.tier != NULL ? item.tier : mem_copy_string("");
        item.user = NULL;
        item.tier = NULL;
        options->key_count++;
    }
    config_table_clear(&table, &item);
}

/* An entry's digest beside its place in the file, for finding those that repeat. */
struct digest {
    const uint8_t *bytes;
    const struct yaml_node *node;
};

static int compare_digests(const void *a, const void *b)
{
    const struct digest *left = a;
    const struct digest *right = b;
    int order = memcmp(left->bytes, right->bytes, 32);

    if (order != 0)
        return order;
    return (left->node->place.line > right->node->place.line) -
           (left->node->place.line < right->node->place.line);
}

static void
refuse_repeats(const struct config_value *value, const struct digest *digests, size_t count)
{
    for (size_t i = 1; i < count; i++) {
        if (memcmp(digests[i - 1].bytes, digests[i].bytes, 32) == 0)
            error_list_add(value->errors, ERROR_FATAL, value->file, digests[i].node->place,
                           "sha256", "the same sha256 stands in line %d",
                           digests[i - 1].node->place.line);
    }
}

static void read_entries(const struct config_value *value, struct api_key_options *options)
{
    const struct yaml_node *list = value->node;
    struct digest *digests;

    if (list->kind != YAML_LIST) {
        config_value_refuse(value, "must be a list of {sha256, user, tier}");
        return;
    }
    if (list->count == 0)
        return;
    options->keys = mem_alloc_zero(list->count * sizeof(*options->keys));
    digests = mem_alloc_zero(list->count * sizeof(*digests));
    for (size_t i = 0; i < list->count; i++) {
        char key[CONFIG_VALUE_KEY_SIZE];
        struct config_value item = config_value_below(value, list->items[i], NULL, i, key);
        size_t before = options->key_count;

        read_entry(&item, options);
        if (options->key_count > before)
            digests[before] = (struct digest){options->keys[before].sha256, item.node};
    }
    qsort(digests, options->key_count, sizeof(*digests), compare_digests);
    refuse_repeats(value, digests, options->key_count);
    mem_free(digests);
}

void config_key_file_read(const struct config_value *value, void *target)
{
    struct api_key_options *options = &((struct config *)target)->identity.api_key;
    struct yaml_tree *tree;
    struct stat info;

    config_key_file_clear(target);
    if (!config_value_path(value, &options->keys_file) || options->keys_file[0] == '\0')
        return;
    if (stat(options->keys_file, &info) != 0) {
        config_value_refuse(value, "cannot be read: %s", strerror(errno));
        return;
    }
    if (!S_ISREG(info.st_mode)) { /* a pipe or a terminal could keep a start waiting for ever */
        config_value_refuse(value, "must be a regular file");
        return;
    }
    tree = yaml_tree_read(options->keys_file, &bounds, value->errors);
    if (tree != NULL && (tree->root == NULL || tree->root->count == 0))
        error_list_add(value->errors, ERROR_WARNING, value->file, value->node->place, value->key,
                       "holds no keys");
    if (tree != NULL && tree->root != NULL) {
        struct config_value root = *value;

        root.node = tree->root;
        root.file = options->keys_file;
        root.key = "keys";
        read_entries(&root, options);
    }
    yaml_tree_destroy(&tree);
}

void config_key_file_clear(void *target)
{
    struct api_key_options *options = &((struct config *)target)->identity.api_key;

    for (size_t i = 0; i < options->key_count; i++) {
        mem_free(options->keys[i].user);
        mem_free(options->keys[i].tier);
    }
    mem_free(options->keys);
    mem_free(options->keys_file);
    options->keys = NULL;
    options->keys_file = NULL;
    options->key_count = 0;
}
