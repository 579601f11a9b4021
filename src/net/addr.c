/* SPDX-License-Identifier: MIT */
/*
 * IP addresses and ranges as plain values. Text is read by hand and strictly:
 * what two parsers could take for two different addresses (010.1.1.1, 0x7f.1,
 * 127.1) is no address here, because limits and trust hang on it. Everything
 * that leaves this file is canonical: IPv4-mapped IPv6 is IPv4, and bytes that
 * the family does not use are zero, so values compare with memcmp.
 */
#include "kamiyo/net/addr.h"

#include <assert.h>
#include <netinet/in.h>
#include <stdio.h>
#include <string.h>
#include <sys/un.h>

#include "kamiyo/base/attributes.h"
#include "kamiyo/base/digits.h"
#include "kamiyo/base/text.h"

#define IPV4_BYTES  4
#define IPV6_BYTES  16
#define IPV6_GROUPS 8

static const uint8_t mapped_prefix[12] = {[10] = 0xff, [11] = 0xff};

static size_t family_bytes(enum addr_family family)
{
    switch (family) {
    case ADDR_IPV4:
        return IPV4_BYTES;
    case ADDR_IPV6:
        return IPV6_BYTES;
    case ADDR_NONE:
    case ADDR_UNIX:
        break;
    }
    return 0;
}

/* RFC 4291 2.5.5.2: one host is one value, whichever socket it came through. */
static void unmap(struct addr *addr)
{
    if (addr->family != ADDR_IPV6 || memcmp(addr->bytes, mapped_prefix, sizeof(mapped_prefix)) != 0)
        return;
    addr->family = ADDR_IPV4;
    memmove(addr->bytes, addr->bytes + sizeof(mapped_prefix), IPV4_BYTES);
    memset(addr->bytes + IPV4_BYTES, 0, sizeof(addr->bytes) - IPV4_BYTES);
}

/* One to three digits, at most 255, no leading zero (some readers take that for octal). */
static bool parse_octet(struct slice part, uint8_t *octet)
{
    unsigned value = 0;

    if (part.length < 1 || part.length > 3 || (part.length > 1 && part.data[0] == '0'))
        return false;
    for (size_t i = 0; i < part.length; i++) {
        if (part.data[i] < '0' || part.data[i] > '9')
            return false;
        value = value * 10 + (unsigned)(part.data[i] - '0');
    }
    if (value > 255)
        return false;
    *octet = (uint8_t)value;
    return true;
}

static bool parse_ipv4(struct slice text, uint8_t bytes[IPV4_BYTES])
{
    struct slice rest = text;
    struct slice part;
    size_t count = 0;

    while (slice_cut(&rest, '.', &part)) {
        if (count == IPV4_BYTES || !parse_octet(part, &bytes[count]))
            return false;
        count++;
    }
    return count == IPV4_BYTES;
}

/* One to four hexadecimal digits. */
static bool parse_group(struct slice part, uint8_t bytes[2])
{
    unsigned value = 0;

    if (part.length < 1 || part.length > 4)
        return false;
    for (size_t i = 0; i < part.length; i++) {
        int digit = digits_hex_value(part.data[i]);

        if (digit < 0)
            return false;
        value = value << 4 | (unsigned)digit;
    }
    bytes[0] = (uint8_t)(value >> 8);
    bytes[1] = (uint8_t)(value & 0xff);
    return true;
}

/*
 * Groups between colons, up to `room` bytes of them; the last may be a dotted
 * quad. The empty text is no groups. False on anything else.
 */
static bool parse_groups(struct slice text, uint8_t *bytes, size_t room, size_t *length)
{
    struct slice rest = text;
    struct slice part;

    *length = 0;
    if (text.length == 0)
        return true;
    while (slice_cut(&rest, ':', &part)) {
        bool is_last = rest.data == NULL;

        if (is_last && slice_find(part, '.') < part.length) {
            if (room - *length < IPV4_BYTES || !parse_ipv4(part, bytes + *length))
                return false;
            *length += IPV4_BYTES;
            return true;
        }
        if (room - *length < 2 || !parse_group(part, bytes + *length))
            return false;
        *length += 2;
    }
    return true;
}

/* RFC 4291 2.2. A zone ("%eth0") says nothing outside its host and is dropped. */
static bool parse_ipv6(struct slice text, uint8_t bytes[IPV6_BYTES])
{
    size_t zone = slice_find(text, '%');
    size_t gap = 0;
    size_t head_length;
    size_t tail_length;
    uint8_t tail[IPV6_BYTES];

    if (zone < text.length && zone + 1 == text.length)
        return false; /* an empty zone */
    text.length = zone;
    while (gap + 1 < text.length && (text.data[gap] != ':' || text.data[gap + 1] != ':'))
        gap++;
    if (gap + 1 >= text.length) /* no "::", so all eight groups */
        return parse_groups(text, bytes, IPV6_BYTES, &head_length) && head_length == IPV6_BYTES;

    /* "::" stands for at least one group, and only once: a second one is an empty group in the
     * tail. */
    if (!parse_groups((struct slice){text.data, gap}, bytes, IPV6_BYTES - 2, &head_length))
        return false;
    if (head_length % 2 != 0 ||
        slice_find((struct slice){text.data, gap}, '.') < gap) /* a quad stands at the end only */
        return false;
    if (!parse_groups((struct slice){text.data + gap + 2, text.length - gap - 2}, tail,
                      IPV6_BYTES - 2 - head_length, &tail_length))
        return false;
    memset(bytes + head_length, 0, IPV6_BYTES - head_length);
    memcpy(bytes + IPV6_BYTES - tail_length, tail, tail_length);
    return true;
}

bool addr_parse(struct slice text, struct addr *addr)
{
    struct addr parsed = {.family = ADDR_NONE};

    if (text.length == 0 || text.length > 128)
        return false;
    if (slice_find(text, ':') < text.length) {
        parsed.family = ADDR_IPV6;
        if (!parse_ipv6(text, parsed.bytes))
            return false;
        unmap(&parsed);
    } else {
        parsed.family = ADDR_IPV4;
        if (!parse_ipv4(text, parsed.bytes))
            return false;
    }
    *addr = parsed;
    return true;
}

static bool parse_port(struct slice text, uint16_t *port)
{
    uint64_t value;

    if (text.length > 5 || !slice_parse_u64(text, &value) || value > UINT16_MAX)
        return false;
    *port = (uint16_t)value;
    return true;
}

bool addr_parse_with_port(struct slice text, struct addr *addr)
{
    struct addr parsed;
    struct slice host = text;
    struct slice port = {NULL, 0};
    uint16_t number = 0;
    bool has_port = false;
    bool is_bracketed = text.length > 0 && text.data[0] == '[';

    if (is_bracketed) {
        size_t end = slice_find(text, ']');

        if (end == text.length)
            return false;
        host = (struct slice){text.data + 1, end - 1};
        port = (struct slice){text.data + end + 1, text.length - end - 1};
        if (port.length > 0) {
            if (port.data[0] != ':')
                return false;
            port.data++;
            port.length--;
            has_port = true;
        }
        if (slice_find(host, ':') == host.length)
            return false; /* brackets are for IPv6 (RFC 3986 3.2.2) */
    } else {
        size_t colon = slice_find(text, ':');
        struct slice after = {text.data + colon, text.length - colon};

        if (colon < text.length) {
            after.data++;
            after.length--;
            if (slice_find(after, ':') == after.length) { /* one colon: a port; more: bare IPv6 */
                host.length = colon;
                port = after;
                has_port = true;
            }
        }
    }
    if (has_port && !parse_port(port, &number))
        return false;
    if (!addr_parse(host, &parsed))
        return false;
    parsed.port = number;
    *addr = parsed;
    return true;
}

bool addr_range_parse(struct slice text, struct addr_range *range)
{
    struct addr_range parsed;
    struct addr masked;
    size_t slash = slice_find(text, '/');
    struct slice host = {text.data, slash};
    bool was_mapped;
    uint64_t length;

    if (!addr_parse(host, &parsed.base))
        return false;
    was_mapped = parsed.base.family == ADDR_IPV4 && slice_find(host, ':') < host.length;
    length = family_bytes(parsed.base.family) * 8;
    if (slash < text.length) {
        struct slice digits = {text.data + slash + 1, text.length - slash - 1};
        uint64_t given;

        if (digits.length > 3 || !slice_parse_u64(digits, &given))
            return false;
        if (digits.length > 1 && digits.data[0] == '0')
            return false;
        if (was_mapped) { /* "::ffff:10.0.0.0/104" is 10.0.0.0/8 */
            if (given < 96)
                return false;
            given -= 96;
        }
        if (given > length)
            return false;
        length = given;
    }
    masked = parsed.base;
    addr_mask(&masked, (unsigned)length);
    if (!addr_equal(&masked, &parsed.base))
        return false;
    parsed.prefix_length = (uint8_t)length;
    *range = parsed;
    return true;
}

bool addr_range_contains(const struct addr_range *range, const struct addr *addr)
{
    unsigned whole = range->prefix_length / 8;
    unsigned rest = range->prefix_length % 8;

    if (range->base.family != addr->family || family_bytes(addr->family) == 0)
        return false;
    if (memcmp(range->base.bytes, addr->bytes, whole) != 0)
        return false;
    return rest == 0 || (range->base.bytes[whole] ^ addr->bytes[whole]) >> (8 - rest) == 0;
}

bool addr_equal(const struct addr *a, const struct addr *b)
{
    return a->family == b->family && memcmp(a->bytes, b->bytes, family_bytes(a->family)) == 0;
}

bool addr_is_loopback(const struct addr *addr)
{
    static const uint8_t ipv6_loopback[IPV6_BYTES] = {[15] = 1};

    switch (addr->family) {
    case ADDR_IPV4:
        return addr->bytes[0] == 127;
    case ADDR_IPV6:
        return memcmp(addr->bytes, ipv6_loopback, IPV6_BYTES) == 0;
    case ADDR_UNIX:
        return true;
    case ADDR_NONE:
        break;
    }
    return false;
}

void addr_mask(struct addr *addr, unsigned prefix_length)
{
    size_t size = family_bytes(addr->family);
    size_t whole = prefix_length / 8;

    if (whole >= size)
        return;
    addr->bytes[whole] &= (uint8_t)(0xff00u >> (prefix_length % 8));
    memset(addr->bytes + whole + 1, 0, size - whole - 1);
}

void addr_from_sockaddr(const struct sockaddr *sockaddr, socklen_t length, struct addr *addr)
{
    struct addr made = {.family = ADDR_NONE};
    sa_family_t family = AF_UNSPEC;

    if (length >= sizeof(family))
        memcpy(&family, &sockaddr->sa_family, sizeof(family));
    if (family == AF_INET && length >= sizeof(struct sockaddr_in)) {
        struct sockaddr_in in;

        memcpy(&in, sockaddr, sizeof(in)); /* the caller's may be a storage of another type */
        made.family = ADDR_IPV4;
        made.port = ntohs(in.sin_port);
        memcpy(made.bytes, &in.sin_addr, IPV4_BYTES);
    } else if (family == AF_INET6 && length >= sizeof(struct sockaddr_in6)) {
        struct sockaddr_in6 in6;

        memcpy(&in6, sockaddr, sizeof(in6));
        made.family = ADDR_IPV6;
        made.port = ntohs(in6.sin6_port);
        memcpy(made.bytes, &in6.sin6_addr, IPV6_BYTES);
        unmap(&made);
    } else if (family == AF_UNIX) {
        made.family = ADDR_UNIX;
    }
    *addr = made;
}

socklen_t addr_endpoint_to_sockaddr(const struct addr_endpoint *endpoint,
                                    struct sockaddr_storage *storage)
{
    memset(storage, 0, sizeof(*storage));
    switch (endpoint->addr.family) {
    case ADDR_IPV4: {
        struct sockaddr_in in = {.sin_family = AF_INET, .sin_port = htons(endpoint->addr.port)};

        memcpy(&in.sin_addr, endpoint->addr.bytes, IPV4_BYTES);
        memcpy(storage, &in, sizeof(in));
        return sizeof(in);
    }
    case ADDR_IPV6: {
        struct sockaddr_in6 in6 = {.sin6_family = AF_INET6,
                                   .sin6_port = htons(endpoint->addr.port)};

        memcpy(&in6.sin6_addr, endpoint->addr.bytes, IPV6_BYTES);
        memcpy(storage, &in6, sizeof(in6));
        return sizeof(in6);
    }
    case ADDR_UNIX: {
        struct sockaddr_un un = {.sun_family = AF_UNIX};
        size_t length = strnlen(endpoint->unix_path, sizeof(un.sun_path) - 1);

        memcpy(un.sun_path, endpoint->unix_path, length);
        memcpy(storage, &un, sizeof(un));
        return (socklen_t)(offsetof(struct sockaddr_un, sun_path) + length + 1);
    }
    case ADDR_NONE:
        break;
    }
    return 0;
}

/* RFC 5952 4.2: the longest run of two or more zero groups, the first of equals. */
static void find_zero_run(const uint16_t groups[IPV6_GROUPS], int *start, int *length)
{
    *start = -1;
    *length = 1;
    for (int i = 0; i < IPV6_GROUPS;) {
        int end = i;

        while (end < IPV6_GROUPS && groups[end] == 0)
            end++;
        if (end - i > *length) {
            *start = i;
            *length = end - i;
        }
        i = end + 1;
    }
}

static void append_hex(struct text *text, unsigned value)
{
    static const char digits[] = "0123456789abcdef";
    int shift = 12;

    while (shift > 0 && value >> shift == 0)
        shift -= 4;
    for (; shift >= 0; shift -= 4)
        text_append_char(text, digits[value >> shift & 0xf]);
}

static void append_ipv6(struct text *text, const uint8_t bytes[IPV6_BYTES])
{
    uint16_t groups[IPV6_GROUPS];
    int start;
    int length;

    for (int i = 0; i < IPV6_GROUPS; i++)
        groups[i] = (uint16_t)(bytes[2 * i] << 8 | bytes[2 * i + 1]);
    find_zero_run(groups, &start, &length);
    for (int i = 0; i < IPV6_GROUPS; i++) {
        if (i == start) {
            text_append(text, SLICE("::"));
            i += length - 1;
            continue;
        }
        if (i > 0 && i != start + length)
            text_append_char(text, ':');
        append_hex(text, groups[i]);
    }
}

static char *put_ipv4(char *at, const uint8_t *bytes)
{
    for (int i = 0; i < IPV4_BYTES; i++) {
        at = digits_write(at, bytes[i]);
        *at++ = '.';
    }
    return at - 1;
}

static void append_ipv4(struct text *text, const uint8_t *bytes)
{
    char out[sizeof("255.255.255.255")];

    text_append(text, (struct slice){out, (size_t)(put_ipv4(out, bytes) - out)});
}

static void append_addr(struct text *text, const struct addr *addr)
{
    switch (addr->family) {
    case ADDR_IPV4:
        append_ipv4(text, addr->bytes);
        break;
    case ADDR_IPV6:
        append_ipv6(text, addr->bytes);
        break;
    case ADDR_UNIX:
        text_append(text, SLICE("unix"));
        break;
    case ADDR_NONE:
        text_append(text, SLICE("none"));
        break;
    }
}

size_t addr_format(const struct addr *addr, char out[ADDR_TEXT_SIZE])
{
    struct text text;

    if (LIKELY(addr->family == ADDR_IPV4)) { /* for each request */
        char *end = put_ipv4(out, addr->bytes);

        *end = '\0';
        return (size_t)(end - out);
    }
    text_init(&text, out, ADDR_TEXT_SIZE);
    append_addr(&text, addr);
    (void)text_terminate(&text); /* it fits: the size is that of the longest */
    return text.length;
}

size_t addr_endpoint_format(const struct addr_endpoint *endpoint, char out[128])
{
    struct text text;

    text_init(&text, out, 128);
    if (endpoint->addr.family == ADDR_UNIX) {
        text_append(&text, SLICE("unix:"));
        text_append(&text,
                    (struct slice){endpoint->unix_path,
                                   strnlen(endpoint->unix_path, sizeof(endpoint->unix_path))});
    } else {
        bool is_ipv6 = endpoint->addr.family == ADDR_IPV6;

        if (is_ipv6)
            text_append_char(&text, '[');
        append_addr(&text, &endpoint->addr);
        if (is_ipv6)
            text_append_char(&text, ']');
        text_append_char(&text, ':');
        text_append_u64(&text, endpoint->addr.port);
    }
    (void)text_terminate(&text); /* it fits: 5 + 108 bytes at most */
    return text.length;
}
