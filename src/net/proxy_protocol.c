/* SPDX-License-Identifier: MIT */
/*
 * PROXY protocol headers, text (v1, at most 107 bytes) and binary (v2, at most
 * 536 bytes here: the fixed part, addresses, and TLVs, which are skipped).
 * A connection on a listener that asks for it must begin with one.
 */
#include "kamiyo/net/proxy_protocol.h"

#include <netinet/in.h>
#include <string.h>

enum {
    V1_MAX = 107,
    V2_FIXED = 16,
    V2_MAX_REST = 520
};

static const char v2_signature[12] = "\r\n\r\n\0\r\nQUIT\n";

/* One end of the connection; its family is the one that the line announced. */
static bool parse_end(struct slice text, struct slice port_text, bool is_ipv4, struct addr *addr)
{
    uint64_t port;
    bool looks_ipv4 = slice_find(text, ':') == text.length;
    if (looks_ipv4 != is_ipv4 || slice_find(text, '%') < text.length || !addr_parse(text, addr))
        return false;
    if (!slice_parse_u64(port_text, &port) || port > UINT16_MAX)
        return false;
    addr->port = (uint16_t)port;
    return true;
}

static enum proxy_protocol_status parse_v1(struct slice line, struct addr *peer)
{
    struct slice rest = line, word, source, target, source_port, target_port;
    struct addr from, to;
    if (!slice_cut(&rest, ' ', &word) || !slice_equal(word, SLICE("PROXY")))
        return PROXY_PROTOCOL_ERROR;
    if (!slice_cut(&rest, ' ', &word))
        return PROXY_PROTOCOL_ERROR;
    if (slice_equal(word, SLICE("UNKNOWN")))
        return PROXY_PROTOCOL_DONE;
    bool is_ipv4 = slice_equal(word, SLICE("TCP4"));
    if (!is_ipv4 && !slice_equal(word, SLICE("TCP6")))
        return PROXY_PROTOCOL_ERROR;
    if (!slice_cut(&rest, ' ', &source) || !slice_cut(&rest, ' ', &target) ||
        !slice_cut(&rest, ' ', &source_port) || !slice_cut(&rest, ' ', &target_port) ||
        rest.data != NULL)
        return PROXY_PROTOCOL_ERROR;
    if (!parse_end(source, source_port, is_ipv4, &from) ||
        !parse_end(target, target_port, is_ipv4, &to))
        return PROXY_PROTOCOL_ERROR;
    *peer = from;
    return PROXY_PROTOCOL_DONE;
}

static enum proxy_protocol_status
parse_v2(const unsigned char *bytes, size_t rest, struct addr *peer)
{
    enum {
        LOCAL = 0x20,
        PROXY = 0x21,
        TCP4 = 0x11,
        TCP6 = 0x21
    };
    const unsigned char *data = bytes + V2_FIXED;
    struct sockaddr_in6 six = {.sin6_family = AF_INET6};
    struct sockaddr_in four = {.sin_family = AF_INET};
    if (bytes[12] == LOCAL)
        return PROXY_PROTOCOL_DONE;
    if (bytes[12] != PROXY)
        return PROXY_PROTOCOL_ERROR;
    if (bytes[13] == TCP4 && rest >= 12) {
        memcpy(&four.sin_addr, data, 4);
        memcpy(&four.sin_port, data + 8, 2);
        addr_from_sockaddr((const struct sockaddr *)(const void *)&four, sizeof(four), peer);
        return PROXY_PROTOCOL_DONE;
    }
    if (bytes[13] == TCP6 && rest >= 36) {
        memcpy(&six.sin6_addr, data, 16);
        memcpy(&six.sin6_port, data + 32, 2);
        addr_from_sockaddr((const struct sockaddr *)(const void *)&six, sizeof(six), peer);
        return PROXY_PROTOCOL_DONE;
    }
    /* Families that name no IP address (AF_UNSPEC, AF_UNIX) keep the peer. */
    return bytes[13] == 0x00 || (bytes[13] >> 4) == 3 ? PROXY_PROTOCOL_DONE : PROXY_PROTOCOL_ERROR;
}

enum proxy_protocol_status
proxy_protocol_parse(const char *bytes, size_t length, struct addr *peer, size_t *consumed)
{
    size_t signature = length < sizeof(v2_signature) ? length : sizeof(v2_signature);
    if (memcmp(bytes, v2_signature, signature) == 0) {
        if (length < V2_FIXED)
            return PROXY_PROTOCOL_MORE;
        const unsigned char *header = (const unsigned char *)bytes;
        size_t rest = (size_t)header[14] << 8 | header[15];
        if (rest > V2_MAX_REST)
            return PROXY_PROTOCOL_ERROR;
        if (length < V2_FIXED + rest)
            return PROXY_PROTOCOL_MORE;
        enum proxy_protocol_status status = parse_v2(header, rest, peer);
        if (status == PROXY_PROTOCOL_DONE)
            *consumed = V2_FIXED + rest;
        return status;
    }
    size_t prefix = length < 6 ? length : 6;
    if (memcmp(bytes, "PROXY ", prefix) != 0)
        return PROXY_PROTOCOL_ERROR;
    size_t window = length < V1_MAX ? length : V1_MAX;
    const char *end = memchr(bytes, '\n', window);
    if (end == NULL)
        return length < V1_MAX ? PROXY_PROTOCOL_MORE : PROXY_PROTOCOL_ERROR;
    if (end == bytes || end[-1] != '\r')
        return PROXY_PROTOCOL_ERROR;
    size_t line_length = (size_t)(end - bytes) - 1;
    enum proxy_protocol_status status = parse_v1((struct slice){bytes, line_length}, peer);
    if (status == PROXY_PROTOCOL_DONE)
        *consumed = line_length + 2;
    return status;
}
