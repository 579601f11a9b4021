/* SPDX-License-Identifier: MIT */
/*
 * What texts of the configuration must look like. Only the shape is judged
 * here, byte by byte and without a locale; whether a file is there or a name
 * resolves is another matter.
 */
#include "kamiyo/config/config_accept.h"

#include <stddef.h>
#include <string.h>

static bool is_lower(char byte)
{
    return byte >= 'a' && byte <= 'z';
}

static bool is_upper(char byte)
{
    return byte >= 'A' && byte <= 'Z';
}

static bool is_digit(char byte)
{
    return byte >= '0' && byte <= '9';
}

static bool is_alphanumeric(char byte)
{
    return is_lower(byte) || is_upper(byte) || is_digit(byte);
}

static bool is_one_of(char byte, const char *set)
{
    return byte != '\0' && strchr(set, byte) != NULL;
}

/* 1 to `max` bytes, each a letter, a digit or one of `others`. */
static bool is_word(struct slice text, size_t max, const char *others)
{
    for (size_t i = 0; i < text.length; i++) {
        if (!is_alphanumeric(text.data[i]) && !is_one_of(text.data[i], others))
            return false;
    }
    return text.length >= 1 && text.length <= max;
}

/* Printable ASCII without spaces. */
static bool is_visible(struct slice text)
{
    for (size_t i = 0; i < text.length; i++) {
        if (text.data[i] <= 0x20 || text.data[i] >= 0x7f)
            return false;
    }
    return true;
}

bool config_accept_field(struct slice text)
{
    return is_word(text, 128, "!#$%&'*+-.^_`|~");
}

bool config_accept_field_or_empty(struct slice text)
{
    return text.length == 0 || config_accept_field(text);
}

bool config_accept_method(struct slice text)
{
    for (size_t i = 0; i < text.length; i++) {
        if (!is_upper(text.data[i]) && !is_one_of(text.data[i], "-_"))
            return false;
    }
    return text.length >= 1 && text.length <= 32;
}

bool config_accept_key_prefix(struct slice text)
{
    return is_word(text, 64,
                   "._:/@+=-"); /* no braces: Redis Cluster would take them for a hash tag */
}

bool config_accept_claim(struct slice text)
{
    return text.length >= 1 && text.length <= 128;
}

bool config_accept_token_or_empty(struct slice text)
{
    return is_visible(text) && text.length <= 1024;
}

static bool is_host(struct slice text)
{
    return is_word(text, 253, "._-") && text.data[0] != '.' && text.data[0] != '-';
}

bool config_accept_host_or_empty(struct slice text)
{
    return text.length == 0 || is_host(text);
}

bool config_accept_route_host(struct slice text)
{
    return is_word(text, 260, "._-:[]");
}

bool config_accept_health_path(struct slice text)
{
    return text.length == 0 || (text.data[0] == '/' && text.length <= 1024 && is_visible(text));
}

bool config_accept_url_or_empty(struct slice text)
{
    bool has_scheme =
        slice_starts_with(text, SLICE("https://")) || slice_starts_with(text, SLICE("http://"));

    return text.length == 0 ||
           (has_scheme && text.length <= 1024 && is_visible(text) &&
            slice_find(text, '"') == text.length && slice_find(text, '\\') == text.length);
}

bool config_accept_origin(struct slice text)
{
    size_t colon = slice_find(text, ':');
    struct slice scheme = {text.data, colon};
    struct slice rest = {text.data + colon, text.length - colon};

    if (slice_equal(text, SLICE("*")) || slice_equal(text, SLICE("null")))
        return true;
    if (!is_word(scheme, 32, "+-.") || !slice_starts_with(rest, SLICE("://")))
        return false;
    rest = (struct slice){rest.data + 3, rest.length - 3};
    return is_word(rest, 260, "._-:[]");
}

bool config_accept_path(struct slice text)
{
    if (slice_equal(text, SLICE("*")))
        return true;
    if (text.length == 0 || text.data[0] != '/' || text.length > 1024 ||
        slice_find(text, '?') < text.length)
        return false;
    return slice_find(text, '*') + 1 >= text.length; /* none, or the last byte */
}

bool config_accept_route_name(struct slice text)
{
    for (size_t i = 0; i < text.length; i++) {
        if (is_upper(text.data[i]))
            return false;
    }
    return is_word(text, 32, "_-");
}

bool config_accept_tier_name(struct slice text)
{
    return is_word(text, 32, "_-");
}
