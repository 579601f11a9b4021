/* SPDX-License-Identifier: MIT */
#pragma once

#include <stddef.h>

#include "kamiyo/base/attributes.h"
#include "kamiyo/net/addr.h"

/*
 * The PROXY protocol, versions 1 and 2 (haproxy.org, proxy-protocol.txt): the
 * first bytes of a connection name the address it truly comes from. Pure.
 */
enum proxy_protocol_status {
    PROXY_PROTOCOL_MORE,  /* not whole yet */
    PROXY_PROTOCOL_DONE,  /* *consumed bytes are the header; *peer is replaced unless it says LOCAL
                             or UNKNOWN */
    PROXY_PROTOCOL_ERROR, /* anything else: close */
};

enum proxy_protocol_status proxy_protocol_parse(const char *bytes,
                                                size_t length,
                                                struct addr *peer,
                                                size_t *consumed) MUST_CHECK;
