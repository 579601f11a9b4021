/* SPDX-License-Identifier: MIT */
/*
 * Forwarded (RFC 7239) for the walk of client_ip, from the right.
 *
 *   Forwarded   = 1#( [ pair ] *( ";" [ pair ] ) )
 *   pair        = token "=" ( token / quoted-string )
 *   node        = ( IPv4 / "[" IPv6 "]" / "unknown" / obfnode ) [ ":" ( port / obfport ) ]
 *
 * Only `for` is looked at, but an element that is malformed anywhere is not
 * believed: whoever wrote it did not mean what we would read.
 */
#include "kamiyo/identity/forwarded.h"

#include "kamiyo/http/message.h"

/* The index of the quote that opens the string whose closing quote is at `end`; `end` itself if
 * there is none. */
static size_t opening_quote(struct slice text, size_t end)
{
    for (size_t i = end; i-- > 0;) {
        size_t backslashes = 0;

        if (text.data[i] != '"')
            continue;
        while (backslashes < i && text.data[i - 1 - backslashes] == '\\')
            backslashes++;
        if (backslashes % 2 == 0)
            return i;
    }
    return end;
}

bool forwarded_cut_last(struct slice *rest, struct slice *element, bool *is_last)
{
    size_t start = rest->length;

    while (start > 0 && rest->data[start - 1] != ',') {
        size_t at = start - 1;

        if (rest->data[at] == '"') {
            size_t open = opening_quote(*rest, at);

            if (open == at)
                return false;
            at = open;
        }
        start = at;
    }
    *element = slice_trim((struct slice){rest->data + start, rest->length - start});
    *is_last = start == 0;
    rest->length = start > 0 ? start - 1 : 0;
    return true;
}

/* The content of a quoted string without escapes, which no node needs. */
static bool unquote(struct slice *value)
{
    if (value->length < 2 || value->data[value->length - 1] != '"')
        return false;
    value->data++;
    value->length -= 2;
    return slice_find(*value, '"') == value->length && slice_find(*value, '\\') == value->length;
}

/* Cut the next ";"-separated pair off; quotes are honoured, an open one runs to the end and fails
 * later. */
static bool cut_pair(struct slice *rest, struct slice *pair)
{
    bool is_quoted = false;
    size_t end = 0;

    if (rest->data == NULL)
        return false;
    for (; end < rest->length && (is_quoted || rest->data[end] != ';'); end++) {
        if (is_quoted && rest->data[end] == '\\' && end + 1 < rest->length)
            end++;
        else if (rest->data[end] == '"')
            is_quoted = !is_quoted;
    }
    *pair = slice_trim((struct slice){rest->data, end});
    if (end < rest->length)
        *rest = (struct slice){rest->data + end + 1, rest->length - end - 1};
    else
        *rest = (struct slice){NULL, 0};
    return true;
}

static bool is_quoted_string(struct slice value)
{
    size_t i = 1;

    for (; i < value.length && value.data[i] != '"'; i++)
        if (value.data[i] == '\\')
            i++;
    return i + 1 == value.length;
}

/* A value is a quoted string, or token characters; ":" and brackets too, which sloppy proxies leave
 * unquoted. */
static bool is_value(struct slice value)
{
    if (value.length > 0 && value.data[0] == '"')
        return is_quoted_string(value);
    for (size_t i = 0; i < value.length; i++) {
        unsigned char byte = (unsigned char)value.data[i];

        if (byte <= ' ' || byte >= 0x7f || byte == '"' || byte == '\\')
            return false;
    }
    return value.length > 0;
}

static bool parse_node(struct slice node, struct addr *addr)
{
    struct addr found;
    size_t colon;

    if (node.length > 0 && node.data[0] == '"' && !unquote(&node))
        return false;
    colon = node.length;
    while (colon > 0 && node.data[colon - 1] != ':' && node.data[colon - 1] != ']')
        colon--;
    if (colon > 1 && colon < node.length && node.data[colon - 1] == ':' &&
        node.data[colon] == '_') {
        struct slice port = {node.data + colon, node.length - colon};

        if (!http_is_token(port))
            return false;
        node.length = colon - 1;
    }
    if (!addr_parse_with_port(node, &found))
        return false;
    /* IPv6 without brackets could hide a port: "2001:db8::1:80". */
    if (node.data[0] != '[' && slice_find(node, ':') < node.length && found.family == ADDR_IPV6)
        return false;
    *addr = found;
    return true;
}

bool forwarded_parse_for(struct slice element, struct addr *addr)
{
    struct slice node = {NULL, 0}, pair;

    while (cut_pair(&element, &pair)) {
        size_t equals = slice_find(pair, '=');
        struct slice name = {pair.data, equals}, value;

        if (pair.length == 0)
            continue;
        if (equals == pair.length || !http_is_token(name))
            return false;
        value = (struct slice){pair.data + equals + 1, pair.length - equals - 1};
        if (!is_value(value))
            return false;
        if (!slice_equal_ignore_case(name, SLICE("for")))
            continue;
        if (node.data != NULL)
            return false;
        node = value;
    }
    return node.data != NULL && parse_node(node, addr);
}
