/* SPDX-License-Identifier: MIT */
/*
 * Names: field names, tokens, status codes, and the look-ups in a parsed head.
 *
 * A field name is told by its length and first letter, then compared once, eight bytes at a time
 * with the case bit set. That is exact because names are tokens: among tchar,
 * setting the bit maps only a capital to its small letter.
 */
#include "kamiyo/http/message.h"

#include <string.h>

#include "kamiyo/base/attributes.h"

#include "http/http_internal.h"

_Static_assert(HTTP_FIELD_COUNT < 64, "sets of fields are bits of a uint64_t");

/* Sums of enum http_byte_class; message_test holds the table against the grammar. */
const uint8_t http_byte_classes[256] = {
    0,  0,  0,  0,  0,  0,  0,  0,  0,  4,  0,  0,  0,  0,  0,  0,  0,  0,  0,  0,  0,  0,  0,  0,
    0,  0,  0,  0,  0,  0,  0,  0,  4,  15, 6,  5,  15, 15, 15, 15, 14, 14, 15, 15, 6,  15, 15, 6,
    31, 31, 31, 31, 31, 31, 31, 31, 31, 31, 6,  14, 6,  14, 6,  6,  6,  31, 31, 31, 31, 31, 31, 15,
    15, 15, 15, 15, 15, 15, 15, 15, 15, 15, 15, 15, 15, 15, 15, 15, 15, 15, 15, 6,  6,  6,  7,  15,
    7,  31, 31, 31, 31, 31, 31, 15, 15, 15, 15, 15, 15, 15, 15, 15, 15, 15, 15, 15, 15, 15, 15, 15,
    15, 15, 15, 6,  7,  6,  15, 0,  4,  4,  4,  4,  4,  4,  4,  4,  4,  4,  4,  4,  4,  4,  4,  4,
    4,  4,  4,  4,  4,  4,  4,  4,  4,  4,  4,  4,  4,  4,  4,  4,  4,  4,  4,  4,  4,  4,  4,  4,
    4,  4,  4,  4,  4,  4,  4,  4,  4,  4,  4,  4,  4,  4,  4,  4,  4,  4,  4,  4,  4,  4,  4,  4,
    4,  4,  4,  4,  4,  4,  4,  4,  4,  4,  4,  4,  4,  4,  4,  4,  4,  4,  4,  4,  4,  4,  4,  4,
    4,  4,  4,  4,  4,  4,  4,  4,  4,  4,  4,  4,  4,  4,  4,  4,  4,  4,  4,  4,  4,  4,  4,  4,
    4,  4,  4,  4,  4,  4,  4,  4,  4,  4,  4,  4,  4,  4,  4,  4,
};

#define NAME(text)               \
    {                            \
        (text), sizeof(text) - 1 \
    }
static const struct slice field_names[HTTP_FIELD_COUNT] = {
    [HTTP_FIELD_OTHER] = NAME(""),
    [HTTP_FIELD_ACCEPT] = NAME("Accept"),
    [HTTP_FIELD_AUTHORIZATION] = NAME("Authorization"),
    [HTTP_FIELD_CF_CONNECTING_IP] = NAME("CF-Connecting-IP"),
    [HTTP_FIELD_CONNECTION] = NAME("Connection"),
    [HTTP_FIELD_CONTENT_LENGTH] = NAME("Content-Length"),
    [HTTP_FIELD_CONTENT_TYPE] = NAME("Content-Type"),
    [HTTP_FIELD_DATE] = NAME("Date"),
    [HTTP_FIELD_EXPECT] = NAME("Expect"),
    [HTTP_FIELD_FORWARDED] = NAME("Forwarded"),
    [HTTP_FIELD_HOST] = NAME("Host"),
    [HTTP_FIELD_KEEP_ALIVE] = NAME("Keep-Alive"),
    [HTTP_FIELD_MAX_FORWARDS] = NAME("Max-Forwards"),
    [HTTP_FIELD_ORIGIN] = NAME("Origin"),
    [HTTP_FIELD_PROXY_AUTHENTICATE] = NAME("Proxy-Authenticate"),
    [HTTP_FIELD_PROXY_AUTHORIZATION] = NAME("Proxy-Authorization"),
    [HTTP_FIELD_PROXY_CONNECTION] = NAME("Proxy-Connection"),
    [HTTP_FIELD_RATELIMIT] = NAME("RateLimit"),
    [HTTP_FIELD_RATELIMIT_POLICY] = NAME("RateLimit-Policy"),
    [HTTP_FIELD_RETRY_AFTER] = NAME("Retry-After"),
    [HTTP_FIELD_TE] = NAME("TE"),
    [HTTP_FIELD_TRAILER] = NAME("Trailer"),
    [HTTP_FIELD_TRANSFER_ENCODING] = NAME("Transfer-Encoding"),
    [HTTP_FIELD_TRUE_CLIENT_IP] = NAME("True-Client-IP"),
    [HTTP_FIELD_UPGRADE] = NAME("Upgrade"),
    [HTTP_FIELD_USER_AGENT] = NAME("User-Agent"),
    [HTTP_FIELD_VIA] = NAME("Via"),
    [HTTP_FIELD_X_API_KEY] = NAME("X-API-Key"),
    [HTTP_FIELD_X_FORWARDED_FOR] = NAME("X-Forwarded-For"),
    [HTTP_FIELD_X_FORWARDED_HOST] = NAME("X-Forwarded-Host"),
    [HTTP_FIELD_X_FORWARDED_PORT] = NAME("X-Forwarded-Port"),
    [HTTP_FIELD_X_FORWARDED_PROTO] = NAME("X-Forwarded-Proto"),
    [HTTP_FIELD_X_RATELIMIT_LIMIT] = NAME("X-RateLimit-Limit"),
    [HTTP_FIELD_X_RATELIMIT_REMAINING] = NAME("X-RateLimit-Remaining"),
    [HTTP_FIELD_X_RATELIMIT_RESET] = NAME("X-RateLimit-Reset"),
    [HTTP_FIELD_X_RATELIMIT_TIER] = NAME("X-RateLimit-Tier"),
    [HTTP_FIELD_X_REAL_IP] = NAME("X-Real-IP"),
    [HTTP_FIELD_X_REQUEST_ID] = NAME("X-Request-Id"),
};
#undef NAME

struct slice http_field_name(enum http_field_id id)
{
    return field_names[id];
}

bool http_bytes_are(struct slice bytes, enum http_byte_class class)
{
    uint8_t common = (uint8_t) class;

    for (size_t i = 0; i < bytes.length; i++)
        common &= http_byte_classes[(unsigned char)bytes.data[i]];
    return common == (uint8_t) class;
}

bool http_is_token(struct slice text)
{
    return text.length > 0 && http_bytes_are(text, HTTP_BYTE_TOKEN);
}

static uint64_t load_folded(const char *bytes)
{
    uint64_t word;

    memcpy(&word, bytes, sizeof(word));
    return word | 0x2020202020202020U;
}

/* Two tokens of the same length, letters without case. */
static bool equal_tokens(const char *a, const char *b, size_t length)
{
    if (length < sizeof(uint64_t)) {
        for (size_t i = 0; i < length; i++) {
            if ((a[i] | 0x20) != (b[i] | 0x20))
                return false;
        }
        return true;
    }
    for (size_t i = 0; i + sizeof(uint64_t) < length; i += sizeof(uint64_t)) {
        if (load_folded(a + i) != load_folded(b + i))
            return false;
    }
    return load_folded(a + length - sizeof(uint64_t)) == load_folded(b + length - sizeof(uint64_t));
}

/* guess_field for names of up to 11 letters. */
static enum http_field_id guess_short(const char *name, size_t length, char first)
{
    switch (length) {
    case 2:
        return HTTP_FIELD_TE;
    case 3:
        return HTTP_FIELD_VIA;
    case 4:
        return first == 'h' ? HTTP_FIELD_HOST : HTTP_FIELD_DATE;
    case 6:
        if (first == 'a')
            return HTTP_FIELD_ACCEPT;
        return first == 'o' ? HTTP_FIELD_ORIGIN : HTTP_FIELD_EXPECT;
    case 7:
        return first == 'u' ? HTTP_FIELD_UPGRADE : HTTP_FIELD_TRAILER;
    case 9:
        if (first == 'f')
            return HTTP_FIELD_FORWARDED;
        if (first == 'r')
            return HTTP_FIELD_RATELIMIT;
        return (name[8] | 0x20) == 'y' ? HTTP_FIELD_X_API_KEY : HTTP_FIELD_X_REAL_IP;
    case 10:
        if (first == 'c')
            return HTTP_FIELD_CONNECTION;
        return first == 'u' ? HTTP_FIELD_USER_AGENT : HTTP_FIELD_KEEP_ALIVE;
    case 11:
        return HTTP_FIELD_RETRY_AFTER;
    default:
        return HTTP_FIELD_OTHER;
    }
}

/* The only kind a name of this length and with these letters can be; the length is that kind's. */
static enum http_field_id guess_field(const char *name, size_t length)
{
    char first = (char)(name[0] | 0x20);

    switch (length) {
    case 12:
        if (first == 'c')
            return HTTP_FIELD_CONTENT_TYPE;
        return first == 'm' ? HTTP_FIELD_MAX_FORWARDS : HTTP_FIELD_X_REQUEST_ID;
    case 13:
        return HTTP_FIELD_AUTHORIZATION;
    case 14:
        return first == 'c' ? HTTP_FIELD_CONTENT_LENGTH : HTTP_FIELD_TRUE_CLIENT_IP;
    case 15:
        return HTTP_FIELD_X_FORWARDED_FOR;
    case 16:
        if (first == 'c')
            return HTTP_FIELD_CF_CONNECTING_IP;
        if (first == 'p')
            return HTTP_FIELD_PROXY_CONNECTION;
        if (first == 'r')
            return HTTP_FIELD_RATELIMIT_POLICY;
        if ((name[15] | 0x20) == 'r')
            return HTTP_FIELD_X_RATELIMIT_TIER;
        return (name[12] | 0x20) == 'h' ? HTTP_FIELD_X_FORWARDED_HOST : HTTP_FIELD_X_FORWARDED_PORT;
    case 17:
        if (first == 't')
            return HTTP_FIELD_TRANSFER_ENCODING;
        if ((name[16] | 0x20) == 'o')
            return HTTP_FIELD_X_FORWARDED_PROTO;
        return (name[12] | 0x20) == 'l' ? HTTP_FIELD_X_RATELIMIT_LIMIT
                                        : HTTP_FIELD_X_RATELIMIT_RESET;
    case 18:
        return HTTP_FIELD_PROXY_AUTHENTICATE;
    case 19:
        return HTTP_FIELD_PROXY_AUTHORIZATION;
    case 21:
        return HTTP_FIELD_X_RATELIMIT_REMAINING;
    default:
        return guess_short(name, length, first);
    }
}

enum http_field_id http_field_id_of(struct slice name)
{
    enum http_field_id id;

    if (name.length == 0)
        return HTTP_FIELD_OTHER;
    id = guess_field(name.data, name.length);
    if (id == HTTP_FIELD_OTHER || !equal_tokens(name.data, field_names[id].data, name.length))
        return HTTP_FIELD_OTHER;
    return id;
}

struct slice http_head_find(const struct http_head *head, enum http_field_id id)
{
    if (head->first[id] < 0)
        return (struct slice){NULL, 0};
    return head->fields[head->first[id]].value;
}

const struct http_field *http_head_next(const struct http_head *head,
                                        enum http_field_id id,
                                        const struct http_field *previous)
{
    if (previous == NULL)
        return head->first[id] < 0 ? NULL : &head->fields[head->first[id]];
    if ((head->repeated & HTTP_FIELD_BIT(id)) == 0)
        return NULL;
    for (const struct http_field *field = previous + 1; field < head->fields + head->field_count;
         field++) {
        if (field->id == id)
            return field;
    }
    return NULL;
}

const struct http_field *http_head_find_name(const struct http_head *head, struct slice name)
{
    enum http_field_id id = http_field_id_of(name);

    if (id != HTTP_FIELD_OTHER)
        return http_head_next(head, id, NULL);
    for (size_t i = 0; i < head->field_count; i++) {
        if (slice_equal_ignore_case(head->fields[i].name, name))
            return &head->fields[i];
    }
    return NULL;
}

bool http_list_has(struct slice list, struct slice token)
{
    struct slice part;

    while (slice_cut(&list, ',', &part)) {
        if (slice_equal_ignore_case(slice_trim(part), token))
            return true;
    }
    return false;
}

/* IANA's registry of status codes. */
static const char *const reasons[512] = {
    [100] = "Continue",
    [101] = "Switching Protocols",
    [102] = "Processing",
    [103] = "Early Hints",
    [200] = "OK",
    [201] = "Created",
    [202] = "Accepted",
    [203] = "Non-Authoritative Information",
    [204] = "No Content",
    [205] = "Reset Content",
    [206] = "Partial Content",
    [207] = "Multi-Status",
    [208] = "Already Reported",
    [226] = "IM Used",
    [300] = "Multiple Choices",
    [301] = "Moved Permanently",
    [302] = "Found",
    [303] = "See Other",
    [304] = "Not Modified",
    [305] = "Use Proxy",
    [307] = "Temporary Redirect",
    [308] = "Permanent Redirect",
    [400] = "Bad Request",
    [401] = "Unauthorized",
    [402] = "Payment Required",
    [403] = "Forbidden",
    [404] = "Not Found",
    [405] = "Method Not Allowed",
    [406] = "Not Acceptable",
    [407] = "Proxy Authentication Required",
    [408] = "Request Timeout",
    [409] = "Conflict",
    [410] = "Gone",
    [411] = "Length Required",
    [412] = "Precondition Failed",
    [413] = "Content Too Large",
    [414] = "URI Too Long",
    [415] = "Unsupported Media Type",
    [416] = "Range Not Satisfiable",
    [417] = "Expectation Failed",
    [421] = "Misdirected Request",
    [422] = "Unprocessable Content",
    [423] = "Locked",
    [424] = "Failed Dependency",
    [425] = "Too Early",
    [426] = "Upgrade Required",
    [428] = "Precondition Required",
    [429] = "Too Many Requests",
    [431] = "Request Header Fields Too Large",
    [451] = "Unavailable For Legal Reasons",
    [500] = "Internal Server Error",
    [501] = "Not Implemented",
    [502] = "Bad Gateway",
    [503] = "Service Unavailable",
    [504] = "Gateway Timeout",
    [505] = "HTTP Version Not Supported",
    [506] = "Variant Also Negotiates",
    [507] = "Insufficient Storage",
    [508] = "Loop Detected",
    [511] = "Network Authentication Required",
};

const char *http_status_reason(int status)
{
    if (status < 0 || (size_t)status >= COUNT_OF(reasons) || reasons[status] == NULL)
        return "";
    return reasons[status];
}
