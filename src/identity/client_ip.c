/* SPDX-License-Identifier: MIT */
/*
 * The walk to the client's address, from the right: the peer, then what the
 * peer wrote into the field, then what that one's peer wrote, for as long as
 * each is trusted. Only trusted writers are believed, so everything that a
 * client forges stands left of where the walk ends.
 *
 * All fields of the configured name are one list, in the order of arrival
 * (RFC 9110 5.3). An empty element is malformed: skipping it would believe what
 * stands left of a proxy that did not know its peer.
 */
#include "kamiyo/identity/client_ip.h"

#include <string.h>

#include "kamiyo/base/digits.h"
#include "kamiyo/identity/forwarded.h"

/* The longest entry that is looked at: an address in brackets with a zone and a port, or a rich
 * Forwarded element. */
#define MAX_ENTRY_BYTES 512
/* Trusted proxies in a row before the walk ends: nobody has more, and a head could hold 16,000. */
#define MAX_WALK 100

enum entry_kind {
    ENTRY_ADDRESS,
    ENTRY_MALFORMED,
    ENTRY_NONE, /* the list is spent */
};

/* Where in the list of fields the walk stands: rest of the field at `index`, then the fields before
 * it. */
struct walk {
    const struct http_head *head;
    enum http_field_id id;
    size_t index;
    struct slice rest;
    bool has_rest;
};

static const enum http_field_id field_ids[] = {
    [CLIENT_IP_X_FORWARDED_FOR] = HTTP_FIELD_X_FORWARDED_FOR,
    [CLIENT_IP_FORWARDED] = HTTP_FIELD_FORWARDED,
    [CLIENT_IP_X_REAL_IP] = HTTP_FIELD_X_REAL_IP,
    [CLIENT_IP_CF_CONNECTING_IP] = HTTP_FIELD_CF_CONNECTING_IP,
    [CLIENT_IP_TRUE_CLIENT_IP] = HTTP_FIELD_TRUE_CLIENT_IP,
};

bool client_ip_is_trusted(const struct client_ip_options *options, const struct addr *peer)
{
    if (peer->family == ADDR_UNIX)
        return options->trust_unix;
    for (size_t i = 0; i < options->trusted_count; i++)
        if (addr_range_contains(&options->trusted[i], peer))
            return true;
    return false;
}

bool client_ip_has_fields(const struct http_head *head)
{
    for (size_t i = 0; i < COUNT_OF(field_ids); i++)
        if (head->first[field_ids[i]] >= 0)
            return true;
    return false;
}

/* Go to the next field of the name to the left that has any text. */
static bool walk_to_field(struct walk *walk)
{
    while (walk->index > 0) {
        const struct http_field *field = &walk->head->fields[--walk->index];

        if (field->id != walk->id)
            continue;
        walk->rest = slice_trim(field->value);
        if (walk->rest.length > 0) {
            walk->has_rest = true;
            return true;
        }
    }
    return false;
}

static void cut_last(struct slice *rest, struct slice *entry, bool *is_last)
{
    const char *comma = memrchr(rest->data, ',', rest->length);
    size_t start = comma != NULL ? (size_t)(comma - rest->data) + 1 : 0;

    *entry = slice_trim((struct slice){rest->data + start, rest->length - start});
    *is_last = comma == NULL;
    rest->length = comma != NULL ? start - 1 : 0;
}

static enum entry_kind walk_next(struct walk *walk, struct addr *addr)
{
    struct slice entry;
    bool is_last = true, is_valid;

    if (!walk->has_rest && !walk_to_field(walk))
        return ENTRY_NONE;
    if (walk->id == HTTP_FIELD_FORWARDED) {
        is_valid = forwarded_cut_last(&walk->rest, &entry, &is_last) &&
                   entry.length <= MAX_ENTRY_BYTES && forwarded_parse_for(entry, addr);
    } else {
        cut_last(&walk->rest, &entry, &is_last);
        is_valid = entry.length > 0 && entry.length <= MAX_ENTRY_BYTES &&
                   addr_parse_with_port(entry, addr);
    }
    walk->has_rest = !is_last;
    if (!is_valid)
        return ENTRY_MALFORMED;
    addr->port = 0;
    return ENTRY_ADDRESS;
}

/* The n-th entry from the right; what is malformed on the way ends at the entry before it. */
static void find_by_hops(const struct client_ip_options *options,
                         struct walk *walk,
                         const struct addr *peer,
                         struct client_ip *client)
{
    struct addr entry;

    for (int i = 0; i < options->hops; i++) {
        enum entry_kind kind = walk_next(walk, &entry);

        if (kind == ENTRY_MALFORMED)
            return;
        if (kind == ENTRY_NONE) {
            client->is_chain_short = true;
            client->addr = *peer;
            return;
        }
        client->addr = entry;
    }
}

static void
find_by_trust(const struct client_ip_options *options, struct walk *walk, struct client_ip *client)
{
    struct addr entry;

    for (int i = 0; i < MAX_WALK; i++) {
        if (walk_next(walk, &entry) != ENTRY_ADDRESS)
            return;
        client->addr = entry;
        if (!client_ip_is_trusted(options, &entry))
            return;
    }
}

void client_ip_find(const struct client_ip_options *options,
                    const struct addr *peer,
                    const struct http_head *head,
                    struct client_ip *client)
{
    struct walk walk = {.head = head, .id = field_ids[options->header], .index = head->field_count};

    memset(client, 0, sizeof(*client));
    client->addr = *peer;
    client->is_peer_trusted = client_ip_is_trusted(options, peer);
    if (!client->is_peer_trusted) {
        client->has_untrusted_fields = client_ip_has_fields(head);
        return;
    }
    if (head->first[walk.id] < 0) {
        client->is_chain_short = options->hops > 0;
        return;
    }
    if (options->hops > 0)
        find_by_hops(options, &walk, peer, client);
    else
        find_by_trust(options, &walk, client);
}

size_t
client_ip_format_key(const struct client_ip_options *options, const struct addr *addr, char out[64])
{
    const struct addr *shown = addr;
    struct addr masked;
    int prefix = -1;

    if (addr->family == ADDR_IPV4 && options->ipv4_prefix < 32)
        prefix = options->ipv4_prefix;
    else if (addr->family == ADDR_IPV6 && options->ipv6_prefix < 128)
        prefix = options->ipv6_prefix;
    if (prefix >= 0) {
        masked = *addr;
        addr_mask(&masked, (unsigned)prefix);
        shown = &masked;
    }
    memcpy(out, "ip:", 3);
    char *end = out + 3 + addr_format(shown, out + 3);
    if (prefix >= 0) {
        *end++ = '/';
        end = digits_write(end, (uint64_t)prefix);
    }
    return (size_t)(end - out);
}
