/* SPDX-License-Identifier: MIT */
#pragma once

#include "kamiyo/config/config_value.h"
#include "kamiyo/net/addr.h"

/*
 * Readers of the keys that hold addresses: listeners, upstreams, trusted proxies, the lists
 * of who is allowed and denied. `target` is a struct config; each replaces what was there.
 */

/* "1.2.3.4:80", "[::1]:80", "localhost:80", ":80", "*:80" or "unix:/path". Names are not looked up.
 */
bool config_address_parse_endpoint(struct slice text,
                                   struct addr_endpoint *endpoint,
                                   struct error *error) MUST_CHECK;

void config_address_read_listen(const struct config_value *value, void *target);
void config_address_clear_listen(void *target);
void config_address_read_upstream(const struct config_value *value, void *target);
void config_address_clear_upstream(void *target);
void config_address_read_trusted(const struct config_value *value, void *target);
void config_address_clear_trusted(void *target);
void config_address_read_allow(const struct config_value *value, void *target);
void config_address_clear_allow(void *target);
void config_address_read_deny(const struct config_value *value, void *target);
void config_address_clear_deny(void *target);
void config_address_read_admin(const struct config_value *value, void *target);
