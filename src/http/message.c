/* SPDX-License-Identifier: MIT */
/*
 * Names: field names, tokens, status codes, and the look-ups in a parsed head.
 *
 * A field name is told by its length and two letters, then compared once (field_lookup.h).
 */
#include "kamiyo/http/message.h"

#include <string.h>

#include "kamiyo/base/attributes.h"

#include "http/field_lookup.h"
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

#define NAME(literal)                \
    {                                \
        literal, sizeof(literal) - 1 \
    }
const struct field_name http_field_names[HTTP_FIELD_COUNT] = {
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
    [HTTP_FIELD_REFERER] = NAME("Referer"),
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

/*
 * A place for each known name and no two names in one place; a name that is added and collides
 * (the compiler says "initialized field overwritten") wants other factors in FIELD_HASH.
 */
const uint8_t http_field_places[FIELD_PLACES] = {
    [FIELD_HASH(6, 'a', 'p')] = HTTP_FIELD_ACCEPT,
    [FIELD_HASH(13, 'a', 't')] = HTTP_FIELD_AUTHORIZATION,
    [FIELD_HASH(16, 'c', 'g')] = HTTP_FIELD_CF_CONNECTING_IP,
    [FIELD_HASH(10, 'c', 'i')] = HTTP_FIELD_CONNECTION,
    [FIELD_HASH(14, 'c', 'n')] = HTTP_FIELD_CONTENT_LENGTH,
    [FIELD_HASH(12, 'c', 'y')] = HTTP_FIELD_CONTENT_TYPE,
    [FIELD_HASH(4, 'd', 'e')] = HTTP_FIELD_DATE,
    [FIELD_HASH(6, 'e', 'c')] = HTTP_FIELD_EXPECT,
    [FIELD_HASH(9, 'f', 'd')] = HTTP_FIELD_FORWARDED,
    [FIELD_HASH(4, 'h', 't')] = HTTP_FIELD_HOST,
    [FIELD_HASH(10, 'k', 'i')] = HTTP_FIELD_KEEP_ALIVE,
    [FIELD_HASH(12, 'm', 'r')] = HTTP_FIELD_MAX_FORWARDS,
    [FIELD_HASH(6, 'o', 'i')] = HTTP_FIELD_ORIGIN,
    [FIELD_HASH(18, 'p', 'i')] = HTTP_FIELD_PROXY_AUTHENTICATE,
    [FIELD_HASH(19, 'p', 'a')] = HTTP_FIELD_PROXY_AUTHORIZATION,
    [FIELD_HASH(16, 'p', 't')] = HTTP_FIELD_PROXY_CONNECTION,
    [FIELD_HASH(9, 'r', 'm')] = HTTP_FIELD_RATELIMIT,
    [FIELD_HASH(16, 'r', 'l')] = HTTP_FIELD_RATELIMIT_POLICY,
    [FIELD_HASH(7, 'r', 'e')] = HTTP_FIELD_REFERER,
    [FIELD_HASH(11, 'r', 't')] = HTTP_FIELD_RETRY_AFTER,
    [FIELD_HASH(2, 't', 'e')] = HTTP_FIELD_TE,
    [FIELD_HASH(7, 't', 'e')] = HTTP_FIELD_TRAILER,
    [FIELD_HASH(17, 't', 'o')] = HTTP_FIELD_TRANSFER_ENCODING,
    [FIELD_HASH(14, 't', 't')] = HTTP_FIELD_TRUE_CLIENT_IP,
    [FIELD_HASH(7, 'u', 'd')] = HTTP_FIELD_UPGRADE,
    [FIELD_HASH(10, 'u', 'e')] = HTTP_FIELD_USER_AGENT,
    [FIELD_HASH(3, 'v', 'a')] = HTTP_FIELD_VIA,
    [FIELD_HASH(9, 'x', 'k')] = HTTP_FIELD_X_API_KEY,
    [FIELD_HASH(15, 'x', '-')] = HTTP_FIELD_X_FORWARDED_FOR,
    [FIELD_HASH(16, 'x', 'h')] = HTTP_FIELD_X_FORWARDED_HOST,
    [FIELD_HASH(16, 'x', 'p')] = HTTP_FIELD_X_FORWARDED_PORT,
    [FIELD_HASH(17, 'x', 'p')] = HTTP_FIELD_X_FORWARDED_PROTO,
    [FIELD_HASH(17, 'x', 'l')] = HTTP_FIELD_X_RATELIMIT_LIMIT,
    [FIELD_HASH(21, 'x', 'a')] = HTTP_FIELD_X_RATELIMIT_REMAINING,
    [FIELD_HASH(17, 'x', 'r')] = HTTP_FIELD_X_RATELIMIT_RESET,
    [FIELD_HASH(16, 'x', 't')] = HTTP_FIELD_X_RATELIMIT_TIER,
    [FIELD_HASH(9, 'x', '-')] = HTTP_FIELD_X_REAL_IP,
    [FIELD_HASH(12, 'x', '-')] = HTTP_FIELD_X_REQUEST_ID,
};

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

enum http_field_id http_field_id_of(struct slice name)
{
    enum http_field_id id = field_candidate(name);

    if (id != HTTP_FIELD_OTHER && !equal_tokens(name.data, http_field_names[id].text, name.length))
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
