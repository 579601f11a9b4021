/* SPDX-License-Identifier: MIT */
/*
 * The part of the configuration that says how users prove who they are, as the
 * chains read it: one for all workers, replaced as a whole on a reload, freed
 * (and its secrets wiped) when the last chain lets go.
 */
#include <string.h>

#include "kamiyo/base/mem.h"
#include "kamiyo/identity/identity.h"

#include "identity/identity_internal.h"

static bool has_text(const char *text)
{
    return text != NULL && text[0] != '\0';
}

static void set_header(struct identity_header *header, const char *name)
{
    if (!has_text(name))
        return;
    header->text = mem_copy_string(name);
    header->name = slice_of(header->text);
    header->id = http_field_id_of(header->name);
    header->is_bearer = header->id == HTTP_FIELD_AUTHORIZATION;
}

struct identity_config *identity_config_create(const struct identity_options *options,
                                               const struct client_ip_options *client_ip,
                                               struct error *error)
{
    const struct api_key_options *api_key = &options->api_key;
    struct identity_config *config = mem_alloc_zero(sizeof(*config));

    atomic_init(&config->references, 1);
    atomic_init(&config->has_warned, false);
    config->prefixes.ipv4_prefix = client_ip->ipv4_prefix;
    config->prefixes.ipv6_prefix = client_ip->ipv6_prefix;
    set_header(&config->user_header, options->user_header);
    set_header(&config->tier_header, options->tier_header);
    config->key_headers =
        mem_alloc_zero((api_key->header_count + 1) * sizeof(*config->key_headers));
    for (size_t i = 0; i < api_key->header_count; i++)
        set_header(&config->key_headers[config->key_header_count++], api_key->headers[i]);
    config->keys = api_key_table_create(api_key->keys, api_key->key_count);
    config->has_lookup = api_key->redis_lookup;
    config->has_keys =
        has_text(api_key->keys_file) || api_key->key_count > 0 || api_key->redis_lookup;
    config->cache_ms = api_key->cache_ms;
    config->jwt = jwt_keys_create(&options->jwt, error);
    if (config->jwt == NULL)
        identity_config_unref(&config);
    return config;
}

struct identity_config *identity_config_ref(struct identity_config *config)
{
    (void)atomic_fetch_add_explicit(&config->references, 1, memory_order_relaxed);
    return config;
}

void identity_config_unref(struct identity_config **handle)
{
    struct identity_config *config = *handle;

    *handle = NULL;
    if (config == NULL ||
        atomic_fetch_sub_explicit(&config->references, 1, memory_order_acq_rel) > 1)
        return;
    mem_free(config->user_header.text);
    mem_free(config->tier_header.text);
    for (size_t i = 0; i < config->key_header_count; i++)
        mem_free(config->key_headers[i].text);
    mem_free(config->key_headers);
    api_key_table_destroy(&config->keys);
    jwt_keys_destroy(&config->jwt);
    mem_free(config);
}
