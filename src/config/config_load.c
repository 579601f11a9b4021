/* SPDX-License-Identifier: MIT */
/*
 * The layers: built-in defaults, the file, the environment, the flags. Each row
 * of the schema takes the highest layer that has it. A value of the file that
 * the environment hides is still read first, so that its mistakes are told,
 * unless it was itself made from variables (${PORT}), which would tell one
 * mistake twice.
 */
#include "kamiyo/config/config_load.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "kamiyo/base/mem.h"
#include "kamiyo/config/config_check.h"
#include "kamiyo/config/config_schema.h"
#include "kamiyo/config/yaml_expand.h"
#include "kamiyo/redis/redis_url.h"

static const char default_path[] = "config/gateway.yaml";

struct loader {
    const struct config_overrides *overrides;
    config_getenv_fn *getenv_fn;
    struct error_list *errors;
    struct config *config;
    struct yaml_tree *tree;      /* NULL = no file, or a broken one */
    char *directory;             /* of the file */
    struct config_value *values; /* in effect, one for each row */
    char (*names)[64];           /* "environment variable X", one for each row */
    struct yaml_node **scalars;  /* owned; what the environment and flags say */
};

/* A variable's value; set to nothing counts as not set. */
static const char *variable(const struct loader *loader, const char *name)
{
    const char *value = loader->getenv_fn(name);

    return value != NULL && *value != '\0' ? value : NULL;
}

static char *find_path(const struct loader *loader)
{
    const char *path = loader->overrides->path;

    if (path == NULL)
        path = variable(loader, "KAMIYO_GATEWAY_CONFIG");
    if (path == NULL && access(default_path, F_OK) == 0)
        path = default_path;
    return mem_copy_string(path != NULL ? path : "");
}

static char *directory_of(const char *path)
{
    const char *slash = strrchr(path, '/');

    if (slash == NULL)
        return mem_copy_string("");
    return mem_copy_bytes(path, slash == path ? 1 : (size_t)(slash - path));
}

static void read_file(struct loader *loader)
{
    struct config_value root = {.file = loader->config->path,
                                .directory = loader->directory,
                                .key = "",
                                .errors = loader->errors};

    if (loader->config->path[0] == '\0')
        return;
    loader->tree = yaml_tree_read(loader->config->path, &yaml_tree_bounds, loader->errors);
    if (loader->tree == NULL || loader->tree->root == NULL)
        return;
    yaml_expand(loader->tree, loader->getenv_fn, loader->errors);
    root.node = loader->tree->root;
    if (root.node->kind == YAML_MAP)
        config_table_check_names(&config_schema, &root);
    else if (!yaml_tree_is_empty(root.node))
        config_value_refuse(&root, "the file must be a map of keys, as `listen: 0.0.0.0:10000`");
}

static const char *flag_value(const struct config_overrides *overrides, const char *flag)
{
    const struct {
        const char *flag;
        const char *value;
    } flags[] = {{"--listen", overrides->listen},
                 {"--upstream", overrides->upstream},
                 {"--redis", overrides->redis},
                 {"--workers", overrides->workers},
                 {"--log-level", overrides->log_level}};

    for (size_t i = 0; flag != NULL && i < COUNT_OF(flags); i++) {
        if (strcmp(flags[i].flag, flag) == 0)
            return flags[i].value;
    }
    return NULL;
}

/* The row's value from above the file, as a scalar; false when neither flag nor variable is set. */
static bool find_override(struct loader *loader, size_t row, struct config_value *value)
{
    const struct config_key *key = &config_schema.keys[row];
    const char *flag = flag_value(loader->overrides, key->flag);
    const char *text = flag;
    char port[64];

    if (text == NULL && key->variable != NULL)
        text = variable(loader, key->variable);
    if (text == NULL)
        return false;
    if (flag != NULL)
        (void)snprintf(loader->names[row], sizeof(loader->names[row]), "flag %s", key->flag);
    else
        (void)snprintf(loader->names[row], sizeof(loader->names[row]), "environment variable %s",
                       key->variable);
    if (flag == NULL && strcmp(key->variable, "PORT") == 0) {
        (void)snprintf(port, sizeof(port), "0.0.0.0:%.48s", text);
        text = port;
    }
    loader->scalars[row] = yaml_tree_make_scalar(text);
    loader->scalars[row]->origin = mem_copy_string(text); /* so that commas make a list of it */
    *value = (struct config_value){.node = loader->scalars[row],
                                   .file = loader->names[row],
                                   .directory = "",
                                   .key = key->path,
                                   .errors = loader->errors};
    return true;
}

static const struct yaml_node *find_in_file(const struct loader *loader,
                                            const struct config_key *key)
{
    const struct yaml_node *node =
        loader->tree != NULL ? yaml_tree_find(loader->tree->root, key->path) : NULL;

    /* `log.access` is a key and a section: as a map it is read key by key. */
    if (node != NULL && node->kind == YAML_MAP &&
        config_table_is_section(&config_schema, key->path))
        return NULL;
    /* `redis:` with nothing after it, or `workers:`, sets nothing. */
    return node != NULL && yaml_tree_is_empty(node) ? NULL : node;
}

static void load_row(struct loader *loader, size_t row)
{
    const struct config_key *key = &config_schema.keys[row];
    struct config_value *value = &loader->values[row];
    struct config_value override;
    bool is_overridden = find_override(loader, row, &override);

    *value = (struct config_value){.file = loader->config->path,
                                   .directory = loader->directory,
                                   .key = key->path,
                                   .is_secret = key->is_secret,
                                   .errors = loader->errors};
    value->node = find_in_file(loader, key);
    if (value->node != NULL && !(is_overridden && value->node->origin != NULL))
        (void)config_table_store(key, value, loader->config); /* what is wrong is in `errors` */
    if (is_overridden) {
        *value = override;
        value->is_secret = key->is_secret;
        (void)config_table_store(key, value, loader->config); /* likewise */
    }
}

/* Not an error for `run`: it says so once and decides in this process (contract section 2). */
static void check_redis_url(const struct loader *loader)
{
    const char *url = loader->config->redis.url;
    struct config_value nobody = {.node = NULL};
    const struct config_value *value = &nobody;
    struct redis_url parsed;
    struct error error;

    if (url == NULL || url[0] == '\0')
        return;
    if (redis_url_parse(slice_of(url), &parsed, &error)) {
        redis_url_clear(&parsed);
        return;
    }
    for (size_t i = 0; i < config_schema.count; i++) {
        if (strcmp(config_schema.keys[i].path, "redis.url") == 0)
            value = &loader->values[i];
    }
    if (value->node != NULL)
        error_list_add(loader->errors, ERROR_WARNING, value->file, value->node->place, "redis.url",
                       "%s", error.text);
}

static int compare_items(const void *a, const void *b)
{
    const struct error_item *left = a;
    const struct error_item *right = b;
    int order = strcmp(left->file, right->file);

    if (order != 0)
        return order;
    if (left->place.line != right->place.line)
        return left->place.line < right->place.line ? -1 : 1;
    return (left->place.column > right->place.column) - (left->place.column < right->place.column);
}

static void load_layers(struct loader *loader)
{
    config_table_store_defaults(&config_schema, loader->config, loader->errors);
    read_file(loader);
    for (size_t row = 0; row < config_schema.count; row++)
        load_row(loader, row);
    check_redis_url(loader);
    config_check(loader->config, loader->values, loader->errors);
    /* By place, as a reader goes through the file; rows and lints come in another order. */
    if (loader->errors->count > 1)
        qsort(loader->errors->items, loader->errors->count, sizeof(*loader->errors->items),
              compare_items);
}

struct config *config_load(const struct config_overrides *overrides,
                           config_getenv_fn *getenv_fn,
                           struct error_list *errors)
{
    struct loader loader = {.overrides = overrides, .getenv_fn = getenv_fn, .errors = errors};
    size_t before = errors->total_errors;

    loader.config = mem_alloc_zero(sizeof(*loader.config));
    loader.config->path = find_path(&loader);
    loader.directory = directory_of(loader.config->path);
    loader.values = mem_alloc_zero(config_schema.count * sizeof(*loader.values));
    loader.names = mem_alloc_zero(config_schema.count * sizeof(*loader.names));
    loader.scalars = mem_alloc_zero(config_schema.count * sizeof(struct yaml_node *));
    loader.config->upstream.tls.verify = true;
    loader.config->redis.tls.verify = true; /* rediss:// is always verified */
    load_layers(&loader);
    for (size_t row = 0; row < config_schema.count; row++)
        yaml_tree_destroy_node(&loader.scalars[row]);
    yaml_tree_destroy(&loader.tree);
    mem_free(loader.scalars);
    mem_free(loader.names);
    mem_free(loader.values);
    mem_free(loader.directory);
    if (errors->total_errors > before)
        config_destroy(&loader.config);
    return loader.config;
}
