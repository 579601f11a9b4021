/* SPDX-License-Identifier: MIT */
#pragma once

#include <stdbool.h>

#include "kamiyo/base/slice.h"

/* What texts must look like: the `accept` functions of the schema's rows. All pure. */

bool config_accept_field(struct slice text); /* a field name, RFC 9110 5.6.2 token */
bool config_accept_field_or_empty(struct slice text);
bool config_accept_method(struct slice text);         /* a token in capitals */
bool config_accept_key_prefix(struct slice text);     /* of a key in Redis */
bool config_accept_claim(struct slice text);          /* not empty, at most 128 bytes */
bool config_accept_token_or_empty(struct slice text); /* printable ASCII without spaces */
bool config_accept_host_or_empty(struct slice text);  /* a name or an IPv4 address, no port */
bool config_accept_route_host(struct slice text);   /* a host, with or without a port, [ipv6] too */
bool config_accept_health_path(struct slice text);  /* begins with "/", or empty */
bool config_accept_url_or_empty(struct slice text); /* http:// or https:// without spaces */
bool config_accept_origin(struct slice text);       /* scheme://host[:port], "*" or "null" */
bool config_accept_path(struct slice text); /* begins with "/", a "*" at its end only; or "*" */
bool config_accept_route_name(struct slice text); /* [a-z0-9_-]{1,32} */
bool config_accept_tier_name(struct slice text);  /* [A-Za-z0-9_-]{1,32} */
