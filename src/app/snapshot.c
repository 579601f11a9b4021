/* SPDX-License-Identifier: MIT */
/*
 * From a configuration to what the workers run on. Everything that can fail
 * fails here, before a listener opens or a running gateway is touched.
 */
#include "kamiyo/app/snapshot.h"

#include <stdatomic.h>
#include <stdlib.h>

#include "kamiyo/base/mem.h"

static const char *get_environment(const char *name)
{
    return getenv(name);
}

struct snapshot *snapshot_load(const struct config_overrides *overrides, struct error_list *errors)
{
    struct config *config = config_load(overrides, get_environment, errors);
    if (config == NULL)
        return NULL;
    struct error error = {{0}};
    struct snapshot *snapshot = mem_alloc_zero(sizeof(*snapshot));
    snapshot->references = 1;
    snapshot->config = config;
    snapshot->routes = route_table_create(&config->routes);
    snapshot->identity = identity_config_create(&config->identity, &config->client_ip, &error);
    if (snapshot->identity == NULL) {
        const struct error_place nowhere = {0};
        error_list_add(errors, ERROR_FATAL, config->path, nowhere, "identity", "%s", error.text);
        snapshot_unref(&snapshot);
    }
    return snapshot;
}

struct snapshot *snapshot_ref(struct snapshot *snapshot)
{
    atomic_fetch_add_explicit(&snapshot->references, 1, memory_order_relaxed);
    return snapshot;
}

void snapshot_unref(struct snapshot **snapshot)
{
    struct snapshot *s = *snapshot;
    *snapshot = NULL;
    if (s == NULL || atomic_fetch_sub_explicit(&s->references, 1, memory_order_acq_rel) > 1)
        return;
    route_table_unref(&s->routes);
    if (s->identity != NULL)
        identity_config_unref(&s->identity);
    config_destroy(&s->config);
    mem_free(s);
}
