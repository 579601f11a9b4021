/* SPDX-License-Identifier: MIT */
/*
 * The address of an upstream from its text. What would have to be dropped
 * silently (a path, a query, a user) is refused: targets go on as they came.
 */
#include "kamiyo/upstream/upstream_url.h"

#include <stdio.h>
#include <string.h>

static bool is_host_byte(char c)
{
    return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') || c == '-' ||
           c == '.' || c == '_';
}

static bool parse_unix(struct slice path, struct upstream_url *url, struct error *error)
{
    if (path.length == 0 || path.data[0] != '/') {
        error_set(error, "unix: needs an absolute path, as in unix:/run/api.sock");
        return false;
    }
    if (path.length >= sizeof(url->unix_path) || memchr(path.data, '\0', path.length) != NULL) {
        error_set(error, "a unix path has at most %zu bytes", sizeof(url->unix_path) - 1);
        return false;
    }
    memcpy(url->unix_path, path.data, path.length);
    (void)snprintf(url->authority, sizeof(url->authority), "localhost"); /* it fits */
    return true;
}

/* Cut "host", "[ipv6]" or "host:port" in two; `port` without data = none given. */
static bool split(struct slice text, struct slice *host, struct slice *port)
{
    size_t end;

    *port = (struct slice){NULL, 0};
    if (text.length > 0 && text.data[0] == '[') {
        end = slice_find(text, ']');
        if (end == text.length)
            return false;
        *host = (struct slice){text.data + 1, end - 1};
        end++;
        if (end < text.length && text.data[end] != ':')
            return false;
    } else {
        end = slice_find(text, ':');
        *host = (struct slice){text.data, end};
    }
    if (end < text.length)
        *port = (struct slice){text.data + end + 1, text.length - end - 1};
    return true;
}

static bool check_host(struct slice host, bool is_bracketed)
{
    if (host.length == 0)
        return false;
    for (size_t i = 0; i < host.length; i++) {
        bool is_address_byte = host.data[i] == ':' || is_host_byte(host.data[i]);

        if (is_bracketed ? !is_address_byte : !is_host_byte(host.data[i]))
            return false;
    }
    return true;
}

static bool
parse_authority(struct slice text, bool needs_port, struct upstream_url *url, struct error *error)
{
    bool is_bracketed = text.length > 0 && text.data[0] == '[';
    uint16_t default_port = url->is_tls ? 443 : 80;
    struct slice host;
    struct slice port;
    uint64_t number = default_port;

    if (!split(text, &host, &port) || !check_host(host, is_bracketed)) {
        error_set(error, "the host must be a name, an IPv4 address or an [IPv6] address");
        return false;
    }
    if (host.length >= sizeof(url->host)) {
        error_set(error, "a host has at most %zu bytes", sizeof(url->host) - 1);
        return false;
    }
    if (port.data == NULL && needs_port) {
        error_set(error, "no port: write host:port, or http://host");
        return false;
    }
    if (port.data != NULL &&
        (!slice_parse_u64(port, &number) || number == 0 || number > UINT16_MAX)) {
        error_set(error, "the port must be a number from 1 to 65535");
        return false;
    }
    memcpy(url->host, host.data, host.length);
    url->port = (uint16_t)number;
    (void)snprintf(url->authority, sizeof(url->authority), "%s%s%s", is_bracketed ? "[" : "",
                   url->host,
                   is_bracketed ? "]" : ""); /* it fits: brackets and a port are what is larger */
    if (url->port != default_port) {
        size_t length = strlen(url->authority);

        (void)snprintf(url->authority + length, sizeof(url->authority) - length, ":%u", url->port);
    }
    return true;
}

bool upstream_url_parse(struct slice text, struct upstream_url *url, struct error *error)
{
    struct upstream_url parsed = {.port = 0};
    bool has_scheme = false;
    bool is_right;

    if (slice_starts_with(text, SLICE("unix:"))) {
        is_right = parse_unix((struct slice){text.data + 5, text.length - 5}, &parsed, error);
    } else {
        if (slice_starts_with(text, SLICE("http://"))) {
            has_scheme = true;
            text = (struct slice){text.data + 7, text.length - 7};
        } else if (slice_starts_with(text, SLICE("https://"))) {
            has_scheme = true;
            parsed.is_tls = true;
            text = (struct slice){text.data + 8, text.length - 8};
        }
        if (has_scheme && text.length > 0 && slice_find(text, '/') == text.length - 1)
            text.length--;
        is_right = parse_authority(text, !has_scheme, &parsed, error);
    }
    if (is_right)
        *url = parsed;
    return is_right;
}

bool upstream_url_equal(const struct upstream_url *a, const struct upstream_url *b)
{
    return a->is_tls == b->is_tls && a->port == b->port && strcmp(a->host, b->host) == 0 &&
           strcmp(a->unix_path, b->unix_path) == 0;
}
