/* SPDX-License-Identifier: MIT */
#pragma once

#include <stdbool.h>
#include <stddef.h>

#include "kamiyo/base/slice.h"
#include "kamiyo/http/message.h"
#include "kamiyo/identity/identity_options.h"
#include "kamiyo/net/addr.h"

/*
 * Which address is the client's? Pure: the peer, the request's fields and the
 * options decide. Fields are believed from trusted peers only; the walk goes
 * from the right and ends at the last trustworthy address at anything
 * malformed (contract sections 2 and 3).
 */
struct client_ip {
    struct addr addr;
    bool is_peer_trusted;
    bool has_untrusted_fields; /* forwarding fields came from a peer that is not trusted; for the
                                  doctor */
    bool is_chain_short;       /* fewer entries than hops */
};

void client_ip_find(const struct client_ip_options *options,
                    const struct addr *peer,
                    const struct http_head *head,
                    struct client_ip *client);
/* Whether the address is one of trusted_proxies. */
bool client_ip_is_trusted(const struct client_ip_options *options, const struct addr *peer);
/* Whether any forwarding field that names an address is there, of whatever header. */
bool client_ip_has_fields(const struct http_head *head);
/* The bucket key "ip:..." with prefixes applied; at least 64 bytes at `out`. Returns its length. */
size_t client_ip_format_key(const struct client_ip_options *options,
                            const struct addr *addr,
                            char out[64]);
