/* SPDX-License-Identifier: MIT */
/*
 * The walk to the client's address over arbitrary field values. The first byte chooses header and
 * hops, the rest are the values of its fields, one a line. What must hold: a peer that is not
 * trusted stays the client, and once the walk ended at an address that is not trusted, nothing that
 * stands left of the fields changes it.
 */
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "kamiyo/identity/client_ip.h"

#define MAX_FIELDS 16

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static const struct {
    enum http_field_id id;
    const char *name;
} kinds[] = {
    [CLIENT_IP_X_FORWARDED_FOR] = {HTTP_FIELD_X_FORWARDED_FOR, "X-Forwarded-For"},
    [CLIENT_IP_FORWARDED] = {HTTP_FIELD_FORWARDED, "Forwarded"},
    [CLIENT_IP_X_REAL_IP] = {HTTP_FIELD_X_REAL_IP, "X-Real-IP"},
    [CLIENT_IP_CF_CONNECTING_IP] = {HTTP_FIELD_CF_CONNECTING_IP, "CF-Connecting-IP"},
    [CLIENT_IP_TRUE_CLIENT_IP] = {HTTP_FIELD_TRUE_CLIENT_IP, "True-Client-IP"},
};

static void check(bool holds)
{
    if (!holds)
        abort();
}

static void add(struct http_head *head, enum client_ip_header kind, struct slice value)
{
    struct http_field *field = &head->fields[head->field_count];

    *field = (struct http_field){
        .name = slice_of(kinds[kind].name), .value = value, .id = kinds[kind].id};
    if (head->first[field->id] < 0)
        head->first[field->id] = (int16_t)head->field_count;
    else
        head->repeated |= HTTP_FIELD_BIT(field->id);
    head->field_count++;
}

static void
fill(struct http_head *head, enum client_ip_header kind, const char *forged, struct slice text)
{
    struct slice line;

    head->field_count = 0;
    head->repeated = 0;
    for (size_t i = 0; i < HTTP_FIELD_COUNT; i++)
        head->first[i] = -1;
    if (forged != NULL)
        add(head, kind, slice_of(forged));
    while (head->field_count < MAX_FIELDS && slice_cut(&text, '\n', &line))
        add(head, kind, slice_trim(line));
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static const char *const forged[] = {"6.6.6.6", "for=\"6.6.6.6", ",",
                                         "\"",      "10.0.0.9",      "for=10.0.0.9"};
    struct addr_range trusted = {.base = {.family = ADDR_IPV4, .bytes = {10}}, .prefix_length = 8};
    struct client_ip_options options = {
        .trusted = &trusted, .trusted_count = 1, .ipv4_prefix = 24, .ipv6_prefix = 64};
    struct addr peer = {.family = ADDR_IPV4, .bytes = {10, 0, 0, 1}};
    struct addr stranger = {.family = ADDR_IPV4, .bytes = {198, 51, 100, 7}};
    struct http_field fields[MAX_FIELDS + 1];
    struct http_head head = {.fields = fields};
    struct client_ip client, again;
    struct slice text;
    char key[64];

    if (size == 0)
        return 0;
    options.header = (enum client_ip_header)(data[0] % 5);
    options.hops = data[0] / 5 % 4;
    text = (struct slice){(const char *)data + 1, size - 1};
    fill(&head, options.header, NULL, text);
    client_ip_find(&options, &stranger, &head, &client);
    check(addr_equal(&client.addr, &stranger) && client.has_untrusted_fields);
    client_ip_find(&options, &peer, &head, &client);
    check(client.addr.family == ADDR_IPV4 || client.addr.family == ADDR_IPV6);
    check(client_ip_format_key(&options, &client.addr, key) < sizeof(key));
    if (options.hops > 0 || client_ip_is_trusted(&options, &client.addr) ||
        head.field_count == MAX_FIELDS)
        return 0;
    for (size_t i = 0; i < COUNT_OF(forged); i++) {
        fill(&head, options.header, forged[i], text);
        client_ip_find(&options, &peer, &head, &again);
        check(addr_equal(&client.addr, &again.addr));
    }
    return 0;
}
