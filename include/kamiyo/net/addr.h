/* SPDX-License-Identifier: MIT */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/socket.h>

#include "kamiyo/base/slice.h"

/*
 * IP addresses, ports, unix paths and CIDR ranges as plain values. IPv4-mapped
 * IPv6 addresses become IPv4 when they are made; zones are dropped.
 */
enum addr_family {
    ADDR_NONE,
    ADDR_IPV4,
    ADDR_IPV6,
    ADDR_UNIX
};

struct addr {
    enum addr_family family;
    uint16_t port;     /* host order; 0 = none */
    uint8_t bytes[16]; /* network order; IPv4 uses the first four */
};

/* A place to connect to or listen on: an address, or a unix path. */
struct addr_endpoint {
    struct addr addr; /* family ADDR_UNIX: `unix_path` counts */
    char unix_path[108];
};

struct addr_range {
    struct addr base;
    uint8_t prefix_length; /* of the family's own 32 or 128 bits */
};

/* Longest text of an address: RFC 5952 IPv6, brackets, port, terminator. */
#define ADDR_TEXT_SIZE 56

/* "192.0.2.1" or "2001:db8::1" (no brackets, no port; a zone is dropped). Strict: no 010.1, no hex,
 * no short forms. */
bool addr_parse(struct slice text, struct addr *addr) MUST_CHECK;
/* As above, or in brackets, with or without ":port": "1.2.3.4:80", "[::1]:80", "[::1]", "::1". */
bool addr_parse_with_port(struct slice text, struct addr *addr) MUST_CHECK;
/* "10.0.0.0/8", "2001:db8::/32", or a bare address (a full-length prefix). Bits below the prefix
 * must be 0. */
bool addr_range_parse(struct slice text, struct addr_range *range) MUST_CHECK;
bool addr_range_contains(const struct addr_range *range, const struct addr *addr);
bool addr_equal(const struct addr *a, const struct addr *b); /* without the port */
bool addr_is_loopback(const struct addr *addr);              /* 127/8, ::1, unix peers */
/* Keep the first `prefix_length` bits. */
void addr_mask(struct addr *addr, unsigned prefix_length);
/* Family ADDR_NONE for a kind of address that is none of these. */
void addr_from_sockaddr(const struct sockaddr *sockaddr, socklen_t length, struct addr *addr);
/* Fill a sockaddr for the endpoint; returns its length. */
socklen_t addr_endpoint_to_sockaddr(const struct addr_endpoint *endpoint,
                                    struct sockaddr_storage *storage);
/* RFC 5952 text without port, terminated; "unix" for a unix peer. Returns the length. */
size_t addr_format(const struct addr *addr, char out[ADDR_TEXT_SIZE]);
/* "1.2.3.4:80", "[::1]:80" or "unix:/path"; for people. `out` holds at least 128 bytes. */
size_t addr_endpoint_format(const struct addr_endpoint *endpoint, char out[128]);
