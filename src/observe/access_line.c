/* SPDX-License-Identifier: MIT */
/*
 * One access-log line, as JSON or in the "combined" form of Apache and nginx.
 * Runs for each exchange: no printf, one pass over each text. What a client
 * sent is escaped; keys and tokens in a query are masked, also when the
 * parameter's name is percent-encoded.
 */
#include "observe/access_line.h"

#include <string.h>

#include "kamiyo/base/attributes.h"
#include "kamiyo/base/digits.h"

/* Bytes of a client's text that are kept when a line would be too long; each may take six in JSON
 * ("\u0001"). */
#define CUT_BYTES 180
/* Longest target that is looked at; a longer one is cut in any case. */
#define MAX_TARGET_BYTES 4096

static const struct slice secrets[] = {
    {"token", 5}, {"api_key", 7}, {"key", 3}, {"secret", 6}, {"signature", 9}};

static bool is_secret_word(struct slice word)
{
    for (size_t i = 0; i < COUNT_OF(secrets); i++) {
        if (slice_equal_ignore_case(word, secrets[i]))
            return true;
    }
    return false;
}

/* Whether a query parameter's name, percent-decoded and without case, is one whose value is a
 * secret (contract section 9). */
static bool is_secret_name(struct slice name)
{
    char decoded[16];
    size_t length = 0;

    if (is_secret_word(name))
        return true;
    if (slice_find(name, '%') == name.length)
        return false;
    for (size_t i = 0; i < name.length; i++) {
        bool may_escape = name.data[i] == '%' && i + 2 < name.length;
        int escaped = may_escape ? digits_hex_byte(name.data + i + 1) : -1;

        if (length == sizeof(decoded))
            return false;
        if (escaped >= 0) {
            decoded[length++] = (char)escaped;
            i += 2;
        } else {
            decoded[length++] = name.data[i];
        }
    }
    return is_secret_word((struct slice){decoded, length});
}

static bool is_separator(char byte)
{
    return byte == '&' || byte == ';';
}

/* Whether some parameter's value must be masked. Goes from "=" to "=" and back over the name, so
 * that values cost next to nothing. */
static bool has_secret(struct slice query)
{
    size_t at = 0;

    while (at < query.length) {
        size_t equals = at + slice_find((struct slice){query.data + at, query.length - at}, '=');
        size_t start = equals;

        if (equals == query.length)
            break;
        while (start > at && !is_separator(query.data[start - 1]))
            start--;
        /* What follows a first "=" without a separator between belongs to the value. */
        if ((start > at || at == 0) &&
            is_secret_name((struct slice){query.data + start, equals - start}))
            return true;
        at = equals + 1;
    }
    return false;
}

struct slice access_line_mask(struct slice target, char *out, size_t capacity)
{
    size_t query = slice_find(target, '?');
    struct text text;
    size_t at;

    if (query == target.length ||
        !has_secret((struct slice){target.data + query + 1, target.length - query - 1}))
        return target;
    text_init(&text, out, capacity);
    text_append(&text, (struct slice){target.data, query + 1});
    for (at = query + 1; at < target.length;) {
        size_t end = at;
        size_t equals;
        struct slice parameter;

        while (end < target.length && !is_separator(target.data[end]))
            end++;
        parameter = (struct slice){target.data + at, end - at};
        equals = slice_find(parameter, '=');
        if (equals < parameter.length && is_secret_name((struct slice){parameter.data, equals})) {
            text_append(&text, (struct slice){parameter.data, equals + 1});
            text_append(&text, SLICE("***"));
        } else {
            text_append(&text, parameter);
        }
        if (end < target.length)
            text_append_char(&text, target.data[end]);
        at = end + 1;
    }
    return text_slice(&text);
}

/* "2026-11-23T07:25:59.123Z", or "23/Nov/2026:07:25:59 +0000". */
static struct slice
format_time(struct access_line_clock *clock, enum access_log_format format, int64_t wall_us)
{
    int64_t second = wall_us / 1000000;
    int64_t ms = wall_us / 1000 % 1000;

    if (clock->length == 0 || clock->second != second || clock->format != format) {
        char date[TEXT_HTTP_DATE_SIZE];
        struct text text;

        clock->second = second;
        clock->format = format;
        text_init(&text, clock->text, sizeof(clock->text));
        if (format == ACCESS_LOG_JSON) {
            char stamp[TEXT_TIMESTAMP_SIZE];

            text_format_timestamp(second * 1000, stamp);
            text_append(&text, slice_of(stamp));
        } else { /* "Mon, 23 Nov 2026 07:25:59 GMT" has the same parts */
            text_format_http_date(second, date);
            text_append(&text, (struct slice){date + 5, 2});
            text_append_char(&text, '/');
            text_append(&text, (struct slice){date + 8, 3});
            text_append_char(&text, '/');
            text_append(&text, (struct slice){date + 12, 4});
            text_append_char(&text, ':');
            text_append(&text, (struct slice){date + 17, 8});
            text_append(&text, SLICE(" +0000"));
        }
        clock->length = text.length;
    }
    if (format == ACCESS_LOG_JSON) {
        clock->text[20] = (char)('0' + ms / 100);
        clock->text[21] = (char)('0' + ms / 10 % 10);
        clock->text[22] = (char)('0' + ms % 10);
    }
    return (struct slice){clock->text, clock->length};
}

/*
 * JSON is written without a look at the room but for what has no bound of its own: the literals,
 * numbers and the time take less than ACCESS_LINE_SLACK together, and each text is held against
 * `limit`. Where one does not fit, and from there on, the line ends up beyond `limit`.
 */

/* Microseconds as milliseconds, "12.345"; below 0 is null. */
static char *put_ms(char *at, int64_t us)
{
    if (us < 0)
        return slice_put(at, SLICE("null"));
    uint64_t whole = (uint64_t)us / 1000;
    unsigned rest = (unsigned)((uint64_t)us - whole * 1000);
    const char fraction[4] = {'.', (char)('0' + rest / 100), (char)('0' + rest / 10 % 10),
                              (char)('0' + rest % 10)};

    return slice_put(digits_write(at, whole), (struct slice){fraction, sizeof(fraction)});
}

/* A word of the gateway's, which needs no escaping. Empty is null. */
static inline char *put_word(char *at, char *limit, struct slice word)
{
    if (word.length == 0)
        return slice_put(at, SLICE("null"));
    if (UNLIKELY(at > limit || (size_t)(limit - at) < word.length))
        return at > limit ? at : limit + 1;
    *at = '"';
    at = slice_put(at + 1, word);
    *at = '"';
    return at + 1;
}

/* What a client may have written. Empty is null. */
static char *put_string(char *at, char *limit, struct slice value)
{
    struct text text;

    if (value.length == 0)
        return slice_put(at, SLICE("null"));
    if (UNLIKELY(at > limit))
        return at;
    *at = '"';
    text_init(&text, at + 1, (size_t)(limit - at));
    text_append_json(&text, value);
    at += 1 + text.length;
    if (UNLIKELY(text.overflow))
        return limit + 1;
    *at = '"';
    return at + 1;
}

static uint64_t not_negative(int64_t value)
{
    return value > 0 ? (uint64_t)value : 0;
}

/* Returns the line's end; beyond out + ACCESS_LINE_MAX_BYTES: it does not fit. */
static char *
put_json(char *out, const struct access_record *record, struct access_line_clock *clock)
{
    char *limit = out + ACCESS_LINE_MAX_BYTES;
    char *at = slice_put(out, SLICE("{\"time\":\""));

    at = slice_put(at, format_time(clock, ACCESS_LOG_JSON, record->wall_us));
    at = put_word(slice_put(at, SLICE("\",\"request_id\":")), limit, record->request_id);
    at = put_word(slice_put(at, SLICE(",\"client_ip\":")), limit, record->client_ip);
    at = put_string(slice_put(at, SLICE(",\"method\":")), limit, record->method);
    at = put_string(slice_put(at, SLICE(",\"path\":")), limit, record->target);
    at = digits_write(slice_put(at, SLICE(",\"status\":")), not_negative(record->status));
    at = digits_write(slice_put(at, SLICE(",\"bytes_in\":")), record->bytes_in);
    at = digits_write(slice_put(at, SLICE(",\"bytes_out\":")), record->bytes_out);
    at = put_ms(slice_put(at, SLICE(",\"duration_ms\":")), record->duration_us);
    at = put_ms(slice_put(at, SLICE(",\"upstream_ms\":")), record->upstream_us);
    at = digits_write(slice_put(at, SLICE(",\"retries\":")), not_negative(record->retries));
    at = put_ms(slice_put(at, SLICE(",\"limit_ms\":")), record->limit_us);
    at = put_word(slice_put(at, SLICE(",\"tier\":")), limit, record->tier);
    at = put_string(slice_put(at, SLICE(",\"user\":")), limit, record->user);
    at = put_word(slice_put(at, SLICE(",\"route\":")), limit, record->route);
    at = put_word(slice_put(at, SLICE(",\"decision\":")), limit, record->decision);
    at = put_word(slice_put(at, SLICE(",\"mode\":")), limit, record->mode);
    at = slice_put(at, SLICE(",\"remaining\":"));
    at = record->remaining < 0 ? slice_put(at, SLICE("null"))
                               : digits_write(at, (uint64_t)record->remaining);
    at = put_string(slice_put(at, SLICE(",\"user_agent\":")), limit, record->user_agent);
    at = put_string(slice_put(at, SLICE(",\"reason\":")), limit, record->reason);
    return slice_put(at, SLICE("}\n"));
}

static void put_quoted(struct text *out, struct slice value)
{
    if (value.length == 0)
        text_append_char(out, '-');
    else
        text_append_quoted(out, value);
}

static void
put_combined(struct text *out, const struct access_record *record, struct access_line_clock *clock)
{
    put_quoted(out, record->client_ip);
    text_append(out, SLICE(" - "));
    put_quoted(out, record->user);
    text_append(out, SLICE(" ["));
    text_append(out, format_time(clock, ACCESS_LOG_COMBINED, record->wall_us));
    text_append(out, SLICE("] \""));
    if (record->method.length > 0) {
        put_quoted(out, record->method);
        text_append_char(out, ' ');
        put_quoted(out, record->target);
        text_append(out, record->minor_version == 0 ? SLICE(" HTTP/1.0") : SLICE(" HTTP/1.1"));
    } else {
        text_append_char(out, '-');
    }
    text_append(out, SLICE("\" "));
    text_append_u64(out, not_negative(record->status));
    text_append_char(out, ' ');
    text_append_u64(out, record->bytes_out);
    text_append(out, SLICE(" \""));
    put_quoted(out, record->referer);
    text_append(out, SLICE("\" \""));
    put_quoted(out, record->user_agent);
    text_append(out, SLICE("\"\n"));
}

static struct slice cut(struct slice value, char out[CUT_BYTES + 3])
{
    if (value.length <= CUT_BYTES)
        return value;
    memcpy(out, value.data, CUT_BYTES);
    memcpy(out + CUT_BYTES, "...", 3);
    return (struct slice){out, CUT_BYTES + 3};
}

/* The line's length; 0 = it does not fit. */
static size_t put_line(char *out,
                       enum access_log_format format,
                       const struct access_record *record,
                       struct access_line_clock *clock)
{
    struct text text;

    if (format == ACCESS_LOG_JSON) {
        size_t length = (size_t)(put_json(out, record, clock) - out);

        return length <= ACCESS_LINE_MAX_BYTES ? length : 0;
    }
    text_init(&text, out, ACCESS_LINE_MAX_BYTES);
    put_combined(&text, record, clock);
    return text.overflow ? 0 : text.length;
}

/* The line with what a client sent cut short; an overlong id is cut too. */
static size_t put_cut_line(char *out,
                           enum access_log_format format,
                           const struct access_record *record,
                           struct access_line_clock *clock)
{
    char cuts[4][CUT_BYTES + 3];
    struct access_record line = *record;
    size_t length;

    line.target = cut(line.target, cuts[0]);
    line.user_agent = cut(line.user_agent, cuts[1]);
    line.referer = cut(line.referer, cuts[2]);
    length = put_line(out, format, &line, clock);
    if (length > 0)
        return length;
    line.user = cut(line.user, cuts[3]);
    line.target = SLICE("...");
    length = put_line(out, format, &line, clock);
    if (length > 0)
        return length;
    line.method = line.user = SLICE("");
    return put_line(out, format, &line, clock);
}

size_t access_line_format(enum access_log_format format,
                          const struct access_record *record,
                          struct access_line_clock *clock,
                          char *out)
{
    char masked[MAX_TARGET_BYTES];
    struct slice target = record->target;
    bool is_long = target.length > sizeof(masked) / 2;
    size_t length = 0;

    if (is_long) /* "key=" becomes "key=***": at most twice as long */
        target.length = sizeof(masked) / 2;
    target = access_line_mask(target, masked, sizeof(masked));
    if (LIKELY(target.data == record->target.data && !is_long))
        length = put_line(out, format, record, clock);
    if (LIKELY(length > 0))
        return length;
    struct access_record line = *record;

    line.target = target;
    if (!is_long && target.data == masked)
        length = put_line(out, format, &line, clock);
    return length > 0 ? length : put_cut_line(out, format, &line, clock);
}
