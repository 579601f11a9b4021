/* SPDX-License-Identifier: MIT */
#pragma once

#include <stdbool.h>

#include "kamiyo/base/attributes.h"
#include "kamiyo/base/slice.h"
#include "kamiyo/net/addr.h"

/*
 * The Forwarded field (RFC 7239), read from the right: what stands rightmost
 * was written by the nearest proxy, so nothing that a client puts before it,
 * an open quote included, changes how it reads. Pure; nothing is copied.
 */

/*
 * Cut the last element off *rest, at a comma outside quotes; *is_last when it was the only one.
 * False when a quote has no partner: the element cannot be told from what stands before it.
 */
bool forwarded_cut_last(struct slice *rest, struct slice *element, bool *is_last) MUST_CHECK;

/*
 * The address that the element's "for" names. False when the element is malformed, names none or
 * two, or hides it
 * ("unknown", "_secret"). Section 6 of the RFC: IPv6 stands in brackets, a port may be obfuscated.
 * An address with a port is taken without the quotes that it should have, as several proxies write
 * it.
 */
bool forwarded_parse_for(struct slice element, struct addr *addr) MUST_CHECK;
