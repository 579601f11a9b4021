/* SPDX-License-Identifier: MIT */
/*
 * Addresses and ranges from any bytes. What is taken must be written in a form
 * that is read back as the same value, and whatever the strict reader takes,
 * inet_pton takes, too, with the same bytes (it knows no zones).
 */
#include <arpa/inet.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "kamiyo/net/addr.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void check(bool is_right, const char *what)
{
    if (is_right)
        return;
    fprintf(stderr, "%s\n", what);
    abort();
}

static void check_round_trip(const struct addr *addr)
{
    char text[ADDR_TEXT_SIZE];
    struct addr back;
    size_t length = addr_format(addr, text);

    check(length == strlen(text) && length < ADDR_TEXT_SIZE, "length of the text");
    check(addr_parse(slice_of(text), &back), "the text is not read back");
    check(addr_equal(addr, &back), "the text is read back as another address");
}

static void check_against_libc(struct slice text, const struct addr *addr)
{
    char terminated[160];
    uint8_t bytes[16];
    size_t zone = slice_find(text, '%');

    if (memchr(text.data, '\0', text.length) != NULL)
        check(zone < text.length, "a NUL outside a zone");
    memcpy(terminated, text.data, zone);
    terminated[zone] = '\0';
    if (strchr(terminated, ':') == NULL) {
        check(inet_pton(AF_INET, terminated, bytes) == 1, "libc refuses the IPv4 address");
        check(memcmp(bytes, addr->bytes, 4) == 0, "libc reads another IPv4 address");
        return;
    }
    check(inet_pton(AF_INET6, terminated, bytes) == 1, "libc refuses the IPv6 address");
    if (addr->family == ADDR_IPV4)
        check(memcmp(bytes + 12, addr->bytes, 4) == 0, "libc reads another mapped address");
    else
        check(memcmp(bytes, addr->bytes, 16) == 0, "libc reads another IPv6 address");
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct slice text = {(const char *)data, size};
    struct addr_range range;
    struct addr addr;

    if (addr_parse(text, &addr)) {
        check(addr.port == 0, "a port without a port");
        check_round_trip(&addr);
        check_against_libc(text, &addr);
    }
    if (addr_parse_with_port(text, &addr)) {
        struct addr_endpoint endpoint = {.addr = addr};
        char written[128];
        struct addr back;

        check_round_trip(&addr);
        (void)addr_endpoint_format(&endpoint, written); /* its length is checked by reading it */
        check(addr_parse_with_port(slice_of(written), &back), "the endpoint is not read back");
        check(addr_equal(&addr, &back) && addr.port == back.port, "another endpoint is read back");
    }
    if (addr_range_parse(text, &range)) {
        struct addr masked = range.base;

        addr_mask(&masked, range.prefix_length);
        check(addr_equal(&masked, &range.base), "bits below the prefix");
        check(addr_range_contains(&range, &range.base), "a range without its base");
    }
    return 0;
}
