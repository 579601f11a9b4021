/* SPDX-License-Identifier: MIT */
/*
 * What a head's fields say together: which of them end at this hop, whether
 * the connection persists, and where the body ends (RFC 9110 7.6.1, RFC 9112
 * 6 and 9.3). Runs once over a complete head; the parser calls it.
 *
 * A length that could be read in two ways is refused, never repaired: a
 * recipient behind us might repair it differently.
 */
#include <string.h>

#include "http/http_internal.h"

/* Most options beyond close, keep-alive and the like that all Connection fields together may name:
 * each is compared with every field. */
#define MAX_CONNECTION_OPTIONS 32

/* Fields that say who asks and for what: a peer may not have them taken away on the way (contract
 * section 6). */
#define FORWARDING_FIELDS                                                                         \
    (HTTP_FIELD_BIT(HTTP_FIELD_HOST) | HTTP_FIELD_BIT(HTTP_FIELD_CONTENT_LENGTH) |                \
     HTTP_FIELD_BIT(HTTP_FIELD_TRANSFER_ENCODING) | HTTP_FIELD_BIT(HTTP_FIELD_FORWARDED) |        \
     HTTP_FIELD_BIT(HTTP_FIELD_X_FORWARDED_FOR) | HTTP_FIELD_BIT(HTTP_FIELD_X_FORWARDED_HOST) |   \
     HTTP_FIELD_BIT(HTTP_FIELD_X_FORWARDED_PORT) | HTTP_FIELD_BIT(HTTP_FIELD_X_FORWARDED_PROTO) | \
     HTTP_FIELD_BIT(HTTP_FIELD_X_REAL_IP) | HTTP_FIELD_BIT(HTTP_FIELD_CF_CONNECTING_IP) |         \
     HTTP_FIELD_BIT(HTTP_FIELD_TRUE_CLIENT_IP) | HTTP_FIELD_BIT(HTTP_FIELD_X_REQUEST_ID) |        \
     HTTP_FIELD_BIT(HTTP_FIELD_VIA))
#define PROTECTED_FIELDS                                            \
    (FORWARDING_FIELDS | HTTP_FIELD_BIT(HTTP_FIELD_AUTHORIZATION) | \
     HTTP_FIELD_BIT(HTTP_FIELD_X_API_KEY) | HTTP_FIELD_BIT(HTTP_FIELD_EXPECT))

static struct http_verdict refuse(int status, const char *reason)
{
    return (struct http_verdict){status, reason};
}

/* "Proxy-Anything" is for the next proxy alone, but Proxy-Status (RFC 9209) is for everyone. */
static bool is_proxy_field(struct slice name)
{
    return name.length > 6 && (name.data[0] | 0x20) == 'p' &&
           slice_equal_ignore_case((struct slice){name.data, 6}, SLICE("proxy-")) &&
           !slice_equal_ignore_case(name, SLICE("proxy-status"));
}

/*
 * "X_Forwarded_For" and its kind: some application servers fold "_" and "-" into one, so that such
 * a field would pass for one that only we may write.
 */
static bool is_disguised(struct slice name)
{
    char folded[24];

    if (name.length > sizeof(folded) || memchr(name.data, '_', name.length) == NULL)
        return false;
    for (size_t i = 0; i < name.length; i++)
        folded[i] = name.data[i] == '_' ? '-' : name.data[i];
    return (HTTP_FIELD_BIT(http_field_id_of((struct slice){folded, name.length})) &
            FORWARDING_FIELDS) != 0;
}

struct connection_options {
    size_t count;
    bool has_close, has_keep_alive, has_upgrade;
};

static void nominate(struct http_head *head, struct slice option)
{
    for (size_t i = 0; i < head->field_count; i++) {
        struct http_field *field = &head->fields[i];

        if (field->name.length == option.length &&
            (HTTP_FIELD_BIT(field->id) & PROTECTED_FIELDS) == 0 &&
            slice_equal_ignore_case(field->name, option))
            field->is_hop = true;
    }
}

static bool
read_connection(struct http_head *head, struct slice list, struct connection_options *options)
{
    struct slice part;

    if (slice_equal_ignore_case(list, SLICE("keep-alive"))) { /* alone, as nearly always */
        options->has_keep_alive = true;
        return true;
    }
    while (slice_cut(&list, ',', &part)) {
        struct slice option = slice_trim(part);

        if (option.length == 0)
            continue;
        if (slice_equal_ignore_case(option, SLICE("close")))
            options->has_close = true;
        else if (slice_equal_ignore_case(option, SLICE("keep-alive")))
            options->has_keep_alive = true;
        else if (slice_equal_ignore_case(option, SLICE("upgrade")))
            options->has_upgrade = true;
        else if (++options->count > MAX_CONNECTION_OPTIONS)
            return false;
        else
            nominate(head, option);
    }
    return true;
}

static struct http_verdict resolve_connection(struct http_head *head)
{
    struct connection_options options = {0};

    head->keep_alive = head->minor_version >= 1;
    head->has_upgrade = false;
    if (head->first[HTTP_FIELD_CONNECTION] < 0)
        return HTTP_VERDICT_OK;
    for (const struct http_field *field = http_head_next(head, HTTP_FIELD_CONNECTION, NULL);
         field != NULL; field = http_head_next(head, HTTP_FIELD_CONNECTION, field)) {
        if (!read_connection(head, field->value, &options))
            return refuse(400, "too many options in Connection");
    }
    if (options.has_close)
        head->keep_alive = false;
    else if (options.has_keep_alive)
        head->keep_alive = true;
    /* An HTTP/1.0 message cannot upgrade, RFC 9110 7.8. */
    head->has_upgrade =
        options.has_upgrade && head->minor_version >= 1 && head->first[HTTP_FIELD_UPGRADE] >= 0;
    return HTTP_VERDICT_OK;
}

static struct slice trim_end(struct slice value)
{
    while (value.length > 0 &&
           (value.data[value.length - 1] == ' ' || value.data[value.length - 1] == '\t'))
        value.length--;
    return value;
}

bool http_is_hop_name(struct slice name)
{
    return is_proxy_field(name) || is_disguised(name);
}

void http_fields_add(struct http_head *head, struct slice name, struct slice value)
{
    struct http_field *field = &head->fields[head->field_count];

    field->name = name;
    field->value = trim_end(value);
    field->id = http_field_id_of(name);
    field->is_hop = field->id == HTTP_FIELD_OTHER && http_is_hop_name(name);
    field->is_plain_line = false;
    http_fields_note(head);
}

struct http_verdict http_fields_resolve(struct http_head *head)
{
    head->has_te_trailers = false;
    for (const struct http_field *field = http_head_next(head, HTTP_FIELD_TE, NULL); field != NULL;
         field = http_head_next(head, HTTP_FIELD_TE, field)) {
        if (http_list_has(field->value, SLICE("trailers")))
            head->has_te_trailers = true;
    }
    return resolve_connection(head);
}

/* At most 2^63 - 1: some readers count in signed numbers. */
static bool parse_length(struct slice text, uint64_t *length)
{
    return slice_parse_u64(text, length) && *length <= INT64_MAX;
}

static struct http_verdict resolve_length(struct http_head *head)
{
    if (head->first[HTTP_FIELD_CONTENT_LENGTH] < 0)
        return HTTP_VERDICT_OK;
    if ((head->repeated & HTTP_FIELD_BIT(HTTP_FIELD_CONTENT_LENGTH)) != 0)
        return refuse(400, "Content-Length is repeated");
    if (!parse_length(http_head_find(head, HTTP_FIELD_CONTENT_LENGTH), &head->content_length))
        return refuse(400, "Content-Length is not a number that fits");
    head->has_content_length = true;
    head->framing = HTTP_FRAMING_LENGTH;
    return HTTP_VERDICT_OK;
}

/*
 * Anything but one plain "chunked" is refused. A list of codings that ends in chunked is well
 * framed but not implemented here (501, RFC 9112 6.1); any other has no end that both sides agree
 * on (400, 6.3).
 */
static struct http_verdict judge_coding(const struct http_head *head)
{
    struct slice list = http_head_find(head, HTTP_FIELD_TRANSFER_ENCODING);
    struct slice part;
    size_t codings = 0;
    size_t chunked = 0;
    bool ends_chunked = false;

    if ((head->repeated & HTTP_FIELD_BIT(HTTP_FIELD_TRANSFER_ENCODING)) != 0)
        return refuse(400, "Transfer-Encoding is repeated");
    if (slice_equal_ignore_case(list, SLICE("chunked")))
        return HTTP_VERDICT_OK;
    while (slice_cut(&list, ',', &part)) {
        part = slice_trim(part);
        if (!http_is_token(part))
            return refuse(400, "Transfer-Encoding is malformed");
        ends_chunked = slice_equal_ignore_case(part, SLICE("chunked"));
        chunked += ends_chunked ? 1 : 0;
        codings++;
    }
    if (codings > 1 && chunked == 1 && ends_chunked)
        return refuse(501, "a transfer coding other than chunked");
    return refuse(400, "Transfer-Encoding does not end in one chunked");
}

static struct http_verdict resolve_framing(struct http_head *head)
{
    struct http_verdict verdict;

    head->framing = HTTP_FRAMING_NONE;
    head->content_length = 0;
    head->has_content_length = false;
    if (head->first[HTTP_FIELD_TRANSFER_ENCODING] < 0)
        return resolve_length(head);
    if (head->first[HTTP_FIELD_CONTENT_LENGTH] >= 0)
        return refuse(400, "both Transfer-Encoding and Content-Length");
    if (head->minor_version == 0)
        return refuse(400, "Transfer-Encoding in HTTP/1.0");
    verdict = judge_coding(head);
    if (verdict.status == 0)
        head->framing = HTTP_FRAMING_CHUNKED;
    return verdict;
}

struct http_verdict http_framing_of_request(struct http_head *head)
{
    return resolve_framing(head);
}

struct http_verdict http_framing_of_response(struct http_head *head, bool has_no_body)
{
    struct http_verdict verdict = resolve_framing(head);

    if (verdict.status != 0)
        return verdict;
    if (has_no_body) {
        head->framing = HTTP_FRAMING_NONE;
    } else if (head->framing == HTTP_FRAMING_NONE) {
        head->framing = HTTP_FRAMING_UNTIL_CLOSE;
        head->keep_alive = false;
    }
    return HTTP_VERDICT_OK;
}
