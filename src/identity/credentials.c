/* SPDX-License-Identifier: MIT */
/*
 * Finding keys and tokens in a head. The usual request has none or one, in a
 * field that the parser has already indexed, so that this costs a few compares.
 */
#include "kamiyo/identity/credentials.h"

#include "identity/identity_internal.h"

static void add(struct slice *list, size_t *count, struct slice value)
{
    if (value.length == 0 || *count == CREDENTIALS_MAX)
        return;
    for (size_t i = 0; i < *count; i++)
        if (slice_equal(list[i], value))
            return;
    list[(*count)++] = value;
}

/* RFC 9110 11.4: scheme, one or more spaces, credentials. False when it is another scheme. */
static bool cut_bearer(struct slice *value)
{
    size_t end = slice_find(*value, ' ');

    if (end == value->length ||
        !slice_equal_ignore_case((struct slice){value->data, end}, SLICE("Bearer")))
        return false;
    *value = slice_trim((struct slice){value->data + end, value->length - end});
    return true;
}

/* A Bearer value, to where its form says; `takes_keys` when Authorization is a place for keys. */
static void add_bearer(const struct identity_config *config,
                       struct slice value,
                       bool takes_keys,
                       struct credentials *found)
{
    if (!cut_bearer(&value))
        return;
    if (!jwt_has_form(value)) {
        if (takes_keys)
            add(found->keys, &found->key_count, value);
    } else if (jwt_keys_any(config->jwt)) {
        add(found->tokens, &found->token_count, value);
    }
}

static void add_key_field(const struct identity_config *config,
                          const struct identity_header *header,
                          const struct http_field *field,
                          struct credentials *found)
{
    struct slice value = slice_trim(field->value);

    if (header->is_bearer)
        add_bearer(config, value, true, found);
    else
        add(found->keys, &found->key_count, value);
}

static void gather_keys(const struct identity_config *config,
                        const struct identity_header *header,
                        const struct http_head *head,
                        struct credentials *found)
{
    if (header->id == HTTP_FIELD_OTHER) {
        for (size_t i = 0; i < head->field_count; i++)
            if (slice_equal_ignore_case(head->fields[i].name, header->name))
                add_key_field(config, header, &head->fields[i], found);
        return;
    }
    for (const struct http_field *field = http_head_next(head, header->id, NULL); field != NULL;
         field = http_head_next(head, header->id, field))
        add_key_field(config, header, field, found);
}

void credentials_gather(const struct identity_config *config,
                        const struct http_head *head,
                        struct credentials *found)
{
    bool has_seen_bearer = false;

    found->key_count = found->token_count = 0;
    for (size_t i = 0; i < config->key_header_count; i++) {
        gather_keys(config, &config->key_headers[i], head, found);
        has_seen_bearer |= config->key_headers[i].is_bearer;
    }
    if (has_seen_bearer || !jwt_keys_any(config->jwt))
        return;
    for (const struct http_field *field = http_head_next(head, HTTP_FIELD_AUTHORIZATION, NULL);
         field != NULL; field = http_head_next(head, HTTP_FIELD_AUTHORIZATION, field))
        add_bearer(config, slice_trim(field->value), false, found);
}
