/* SPDX-License-Identifier: MIT */
/*
 * The parser behind redis_url.h. It is strict where a guess would hide a
 * mistake: a missing host, an unknown parameter and a '/' or '#' inside a
 * password that is not percent-encoded are errors with the way out in words.
 * No message quotes text from before the last '@' or a port that is no number,
 * because either may be a secret at the wrong place.
 */
#include "kamiyo/redis/redis_url.h"

#include <arpa/inet.h>
#include <netinet/in.h>
#include <string.h>

#include "kamiyo/base/attributes.h"
#include "kamiyo/base/digits.h"
#include "kamiyo/base/mem.h"
#include "kamiyo/base/text.h"

struct redis_scheme {
    const char *name; /* with "://" */
    bool is_tls;
    bool is_unix;
};

static const struct redis_scheme schemes[] = {
    {.name = "redis://"},
    {.name = "rediss://", .is_tls = true},
    {.name = "valkey://"},
    {.name = "valkeys://", .is_tls = true},
    {.name = "unix://", .is_unix = true},
};

static struct slice slice_from(struct slice text, size_t start)
{
    if (text.length == 0)
        return text;
    return (struct slice){text.data + start, text.length - start};
}

static struct slice slice_until(struct slice text, size_t end)
{
    return (struct slice){text.data, end};
}

/* Index of the last `byte`, or text.length. */
static size_t find_last(struct slice text, char byte)
{
    for (size_t i = text.length; i > 0; i--) {
        if (text.data[i - 1] == byte)
            return i - 1;
    }
    return text.length;
}

static const struct redis_scheme *scheme_of(struct slice text, struct slice *rest)
{
    for (size_t i = 0; i < COUNT_OF(schemes); i++) {
        struct slice name = slice_of(schemes[i].name);

        if (text.length >= name.length &&
            slice_equal_ignore_case(slice_until(text, name.length), name)) {
            *rest = slice_from(text, name.length);
            return &schemes[i];
        }
    }
    return NULL;
}

/* Percent-decode into `out` of text.length + 1 bytes. A NUL could not be passed on as text. */
static bool decode(struct slice text, char *out, const char *what, struct error *error)
{
    size_t length = 0;

    for (size_t i = 0; i < text.length; i++) {
        char byte = text.data[i];

        if (byte == '%') {
            int escaped = i + 2 < text.length ? digits_hex_byte(text.data + i + 1) : -1;

            if (escaped < 0) {
                error_set(error,
                          "a %% in the %s is not followed by two hexadecimal digits (write %%25 "
                          "for itself)",
                          what);
                return false;
            }
            byte = (char)escaped;
            i += 2;
        }
        if (byte == '\0') {
            error_set(error, "the %s holds a NUL byte", what);
            return false;
        }
        out[length++] = byte;
    }
    out[length] = '\0';
    return true;
}

static char *decode_copy(struct slice text, const char *what, struct error *error)
{
    char *out = mem_alloc(text.length + 1);

    if (!decode(text, out, what, error)) {
        mem_wipe(out, text.length + 1);
        mem_free(out);
        return NULL;
    }
    return out;
}

static bool parse_userinfo(struct slice text, struct redis_url *url, struct error *error)
{
    size_t colon = slice_find(text, ':');

    if (colon == text.length) {
        error_set(error, "what stands before the @ has no colon: a password is written as "
                         ":password@, with a user as user:password@");
        return false;
    }
    if (colon > 0) {
        url->user = decode_copy(slice_until(text, colon), "user", error);
        if (url->user == NULL)
            return false;
    }
    /* "user:@host" is a user whom the server lets in with any password; ":@host" is nothing at all.
     */
    if (colon > 0 || colon + 1 < text.length) {
        url->password = decode_copy(slice_from(text, colon + 1), "password", error);
        if (url->password == NULL)
            return false;
    }
    return true;
}

static bool parse_port(struct slice text, struct redis_url *url, struct error *error)
{
    uint64_t port;

    if (!slice_parse_u64(text, &port) || port < 1 || port > UINT16_MAX) {
        error_set(error, "the port is not a number from 1 to 65535");
        return false;
    }
    url->port = (uint16_t)port;
    return true;
}

static bool host_byte_is_sound(char byte)
{
    return byte > ' ' && byte < 0x7f && strchr("\"'<>\\^`{|}[]@/?#:", byte) == NULL;
}

static bool parse_host(struct slice text, struct redis_url *url, struct error *error)
{
    struct slice host;
    size_t end;

    url->port = REDIS_URL_DEFAULT_PORT;
    if (text.length > 0 && text.data[0] == '[') {
        end = slice_find(text, ']');
        if (end == text.length) {
            error_set(error, "an IPv6 address without its closing bracket");
            return false;
        }
        host = (struct slice){text.data + 1, end - 1};
        text = slice_from(text, end + 1);
        if (text.length > 0 && text.data[0] != ':') {
            error_set(error, "only a port may follow the bracket of an IPv6 address");
            return false;
        }
        end = 0;
    } else {
        end = slice_find(text, ':');
        if (end < text.length &&
            slice_find(slice_from(text, end + 1), ':') < text.length - end - 1) {
            error_set(error, "more than one colon after the @: an IPv6 address stands in brackets, "
                             "as in redis://[::1]:6379");
            return false;
        }
        host = slice_until(text, end);
    }
    if (host.length == 0) {
        error_set(error, "no host is named (redis://host:port/database)");
        return false;
    }
    if (host.length > REDIS_URL_MAX_HOST) {
        error_set(error, "the host is longer than %d bytes", REDIS_URL_MAX_HOST);
        return false;
    }
    if (end < text.length && end + 1 < text.length &&
        !parse_port(slice_from(text, end + 1), url, error))
        return false;
    return decode(host, url->host, "host", error);
}

/* An IPv6 address, perhaps with a zone: fe80::1%eth0. */
static bool is_ipv6(const char *host)
{
    struct slice address = slice_until(slice_of(host), slice_find(slice_of(host), '%'));
    struct in6_addr bytes;
    char text[INET6_ADDRSTRLEN];

    if (address.length >= sizeof(text))
        return false;
    memcpy(text, address.data, address.length);
    text[address.length] = '\0';
    return inet_pton(AF_INET6, text, &bytes) == 1;
}

/* What the decoder let through must still be a name or an address: no blank, no second URL. */
static bool check_host(const struct redis_url *url, bool is_bracketed, struct error *error)
{
    if (is_bracketed && !is_ipv6(url->host)) {
        error_set(error, "what stands in the brackets is no IPv6 address");
        return false;
    }
    for (const char *at = url->host; *at != '\0'; at++) {
        if (!host_byte_is_sound(*at) && !(is_bracketed && *at == ':')) {
            error_set(error, "the host has a character that no name has");
            return false;
        }
    }
    return true;
}

static bool parse_database(struct slice text, struct redis_url *url, struct error *error)
{
    uint64_t database;

    if (!slice_parse_u64(text, &database) || database > REDIS_URL_MAX_DATABASE) {
        error_set(error, "the database is not a number from 0 to %d", REDIS_URL_MAX_DATABASE);
        return false;
    }
    url->database = (int)database;
    return true;
}

static bool parse_query(struct slice rest, struct redis_url *url, struct error *error)
{
    struct slice part;

    while (slice_cut(&rest, '&', &part)) {
        if (slice_starts_with(part, SLICE("db="))) {
            if (!parse_database(slice_from(part, 3), url, error))
                return false;
        } else if (slice_starts_with(part, SLICE("ssl_"))) {
            error_set(
                error,
                "TLS is set under redis.tls, not by parameters of the URL; only db is known here");
            return false;
        } else if (part.length > 0) {
            error_set(error, "a parameter that is not known; only db is");
            return false;
        }
    }
    return true;
}

/* unix:///run/redis.sock; `rest` has neither user nor query any more. */
static bool parse_path(struct slice rest, struct redis_url *url, struct error *error)
{
    char path[REDIS_URL_MAX_BYTES + 1];

    if (rest.length == 0 || rest.data[0] != '/') {
        error_set(error, "unix: needs an absolute path, as in unix:///run/redis.sock");
        return false;
    }
    if (!decode(rest, path, "path", error))
        return false;
    if (strlen(path) >= sizeof(url->path)) {
        error_set(error, "the path is longer than %zu bytes", sizeof(url->path) - 1);
        return false;
    }
    memcpy(url->path, path, strlen(path) + 1);
    return true;
}

/* host[:port][/database] */
static bool parse_place(struct slice rest, struct redis_url *url, struct error *error)
{
    size_t slash = slice_find(rest, '/');
    struct slice host = slice_until(rest, slash);

    if (!parse_host(host, url, error) || !check_host(url, host.data[0] == '[', error))
        return false;
    if (slash + 1 < rest.length)
        return parse_database(slice_from(rest, slash + 1), url, error);
    return true;
}

/*
 * Where the userinfo ends: at the last '@' of the authority. A later one means
 * that a '/', '?' or '#' of the password was not encoded.
 */
static bool
split_userinfo(struct slice text, struct slice *userinfo, struct slice *rest, struct error *error)
{
    size_t at = find_last(text, '@');
    struct slice before = slice_until(text, at);

    *userinfo = (struct slice){NULL, 0};
    *rest = text;
    if (at == text.length)
        return true;
    for (size_t i = 0; i < before.length; i++) {
        if (before.data[i] == '/' || before.data[i] == '?' || before.data[i] == '#') {
            error_set(error, "a / ? or # before the @: in a user or password they are written "
                             "%%2F, %%3F and %%23");
            return false;
        }
    }
    *userinfo = before;
    *rest = slice_from(text, at + 1);
    return true;
}

static bool parse_parts(const struct redis_scheme *scheme,
                        struct slice rest,
                        struct redis_url *url,
                        struct error *error)
{
    struct slice userinfo;
    size_t query;

    if (!split_userinfo(rest, &userinfo, &rest, error))
        return false;
    if (userinfo.data != NULL && !parse_userinfo(userinfo, url, error))
        return false;
    if (slice_find(rest, '#') < rest.length) {
        error_set(error, "a # has no meaning here (in a password it is written %%23)");
        return false;
    }
    query = slice_find(rest, '?');
    if (query < rest.length && !parse_query(slice_from(rest, query + 1), url, error))
        return false;
    rest = slice_until(rest, query);
    return scheme->is_unix ? parse_path(rest, url, error) : parse_place(rest, url, error);
}

bool redis_url_parse(struct slice text, struct redis_url *url, struct error *error)
{
    const struct redis_scheme *scheme;
    struct redis_url parsed;
    struct slice rest;

    if (text.length > REDIS_URL_MAX_BYTES) {
        error_set(error, "longer than %d bytes", REDIS_URL_MAX_BYTES);
        return false;
    }
    for (size_t i = 0; i < text.length; i++) {
        if ((unsigned char)text.data[i] < 0x20 || text.data[i] == 0x7f) {
            error_set(error, "it holds a control character, perhaps the end of a line");
            return false;
        }
    }
    scheme = scheme_of(text, &rest);
    if (scheme == NULL) {
        error_set(error,
                  "it does not begin with redis://, rediss://, valkey://, valkeys:// or unix://");
        return false;
    }
    memset(&parsed, 0, sizeof(parsed));
    parsed.is_tls = scheme->is_tls;
    parsed.is_unix = scheme->is_unix;
    if (!parse_parts(scheme, rest, &parsed, error)) {
        redis_url_clear(&parsed);
        return false;
    }
    *url = parsed;
    return true;
}

void redis_url_clear(struct redis_url *url)
{
    if (url->password != NULL)
        mem_wipe(url->password, strlen(url->password));
    mem_free(url->password);
    mem_free(url->user);
    url->password = NULL;
    url->user = NULL;
}

size_t redis_url_mask(struct slice text, char *out, size_t capacity)
{
    const struct redis_scheme *scheme;
    struct slice rest = {NULL, 0};
    struct redis_url url;
    struct text masked;
    size_t at;
    size_t colon;

    text_init(&masked, out, capacity);
    scheme = scheme_of(text, &rest);
    if (scheme == NULL || !redis_url_parse(text, &url, NULL)) {
        /* Nobody can say which part of it is the secret. */
        if (scheme != NULL)
            text_append(&masked, slice_of(scheme->name));
        text_append(&masked, SLICE("***"));
        (void)text_terminate(&masked); /* for the 0 alone */
        return masked.length;
    }
    redis_url_clear(&url);
    text_append(&masked, slice_of(scheme->name));
    at = find_last(rest, '@');
    if (at < rest.length) {
        colon = slice_find(rest, ':');
        text_append_quoted(&masked, slice_until(rest, colon));
        text_append(&masked, SLICE(":***"));
        rest = slice_from(rest, at);
    }
    text_append_quoted(&masked, rest);
    (void)text_terminate(&masked); /* for the 0 alone */
    return masked.length;
}
