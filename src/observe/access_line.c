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

/* Bytes of a client's text that are kept when a line would be too long; each may take six in JSON
 * ("\u0001"). */
#define CUT_BYTES 180
/* Longest target that is looked at; a longer one is cut in any case. */
#define MAX_TARGET_BYTES 4096

static int hex_value(char byte)
{
    if (byte >= '0' && byte <= '9')
        return byte - '0';
    byte |= 0x20;
    return byte >= 'a' && byte <= 'f' ? byte - 'a' + 10 : -1;
}

/* Whether a query parameter's name, percent-decoded and without case, is one whose value is a
 * secret (contract section 9). */
static bool is_secret_name(struct slice name)
{
    static const struct slice secrets[] = {
        {"token", 5}, {"api_key", 7}, {"key", 3}, {"secret", 6}, {"signature", 9}};
    char decoded[16];
    size_t length = 0;

    for (size_t i = 0; i < name.length; i++) {
        char byte = name.data[i];

        if (length == sizeof(decoded))
            return false;
        if (byte == '%' && i + 2 < name.length && hex_value(name.data[i + 1]) >= 0 &&
            hex_value(name.data[i + 2]) >= 0) {
            byte = (char)(hex_value(name.data[i + 1]) << 4 | hex_value(name.data[i + 2]));
            i += 2;
        }
        decoded[length++] = byte;
    }
    for (size_t i = 0; i < COUNT_OF(secrets); i++) {
        if (slice_equal_ignore_case((struct slice){decoded, length}, secrets[i]))
            return true;
    }
    return false;
}

struct slice access_line_mask(struct slice target, char *out, size_t capacity)
{
    size_t query = slice_find(target, '?');
    struct text text;
    size_t at;

    if (query == target.length)
        return target;
    text_init(&text, out, capacity);
    text_append(&text, (struct slice){target.data, query + 1});
    for (at = query + 1; at < target.length;) {
        size_t end = at;
        size_t equals;
        struct slice parameter;

        while (end < target.length && target.data[end] != '&' && target.data[end] != ';')
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

/* Microseconds as milliseconds, "12.345"; below 0 is null. */
static void put_ms(struct text *out, int64_t us)
{
    if (us < 0) {
        text_append(out, SLICE("null"));
        return;
    }
    const char fraction[4] = {'.', (char)('0' + us / 100 % 10), (char)('0' + us / 10 % 10),
                              (char)('0' + us % 10)};

    text_append_u64(out, (uint64_t)us / 1000);
    text_append(out, (struct slice){fraction, sizeof(fraction)});
}

/* As put_string, for what is never anything but letters, digits and the like. */
static void put_word(struct text *out, struct slice prefix, struct slice value)
{
    text_append(out, prefix);
    if (value.length == 0) {
        text_append(out, SLICE("null"));
        return;
    }
    text_append_char(out, '"');
    text_append(out, value);
    text_append_char(out, '"');
}

/* `prefix` ends in the field's name and colon. Empty is null. */
static void put_string(struct text *out, struct slice prefix, struct slice value)
{
    text_append(out, prefix);
    if (value.length == 0) {
        text_append(out, SLICE("null"));
        return;
    }
    text_append_char(out, '"');
    text_append_json(out, value);
    text_append_char(out, '"');
}

static void put_number(struct text *out, struct slice prefix, uint64_t value)
{
    text_append(out, prefix);
    text_append_u64(out, value);
}

static void
put_json(struct text *out, const struct access_record *record, struct access_line_clock *clock)
{
    put_word(out, SLICE("{\"time\":"), format_time(clock, ACCESS_LOG_JSON, record->wall_us));
    put_word(out, SLICE(",\"request_id\":"), record->request_id);
    put_word(out, SLICE(",\"client_ip\":"), record->client_ip);
    put_string(out, SLICE(",\"method\":"), record->method);
    put_string(out, SLICE(",\"path\":"), record->target);
    put_number(out, SLICE(",\"status\":"), record->status > 0 ? (uint64_t)record->status : 0);
    put_number(out, SLICE(",\"bytes_in\":"), record->bytes_in);
    put_number(out, SLICE(",\"bytes_out\":"), record->bytes_out);
    text_append(out, SLICE(",\"duration_ms\":"));
    put_ms(out, record->duration_us);
    text_append(out, SLICE(",\"upstream_ms\":"));
    put_ms(out, record->upstream_us);
    put_number(out, SLICE(",\"retries\":"), record->retries > 0 ? (uint64_t)record->retries : 0);
    text_append(out, SLICE(",\"limit_ms\":"));
    put_ms(out, record->limit_us);
    put_word(out, SLICE(",\"tier\":"), record->tier);
    put_string(out, SLICE(",\"user\":"), record->user);
    put_word(out, SLICE(",\"route\":"), record->route);
    put_word(out, SLICE(",\"decision\":"), record->decision);
    put_word(out, SLICE(",\"mode\":"), record->mode);
    text_append(out, SLICE(",\"remaining\":"));
    if (record->remaining < 0)
        text_append(out, SLICE("null"));
    else
        text_append_i64(out, record->remaining);
    put_string(out, SLICE(",\"user_agent\":"), record->user_agent);
    put_string(out, SLICE(",\"reason\":"), record->reason);
    text_append(out, SLICE("}\n"));
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
    put_number(out, SLICE("\" "), record->status > 0 ? (uint64_t)record->status : 0);
    put_number(out, SLICE(" "), record->bytes_out);
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

static bool put_line(struct text *out,
                     enum access_log_format format,
                     const struct access_record *record,
                     struct access_line_clock *clock,
                     char *memory)
{
    text_init(out, memory, ACCESS_LINE_MAX_BYTES);
    if (format == ACCESS_LOG_JSON)
        put_json(out, record, clock);
    else
        put_combined(out, record, clock);
    return !out->overflow;
}

size_t access_line_format(enum access_log_format format,
                          const struct access_record *record,
                          struct access_line_clock *clock,
                          char *out)
{
    char masked[MAX_TARGET_BYTES];
    char cuts[3][CUT_BYTES + 3];
    struct access_record line = *record;
    struct text text;

    if (line.target.length >
        sizeof(masked) / 2) /* "key=" becomes "key=***": at most twice as long */
        line.target.length = sizeof(masked) / 2;
    line.target = access_line_mask(line.target, masked, sizeof(masked));
    if (record->target.length <= sizeof(masked) / 2 && put_line(&text, format, &line, clock, out))
        return text.length;
    line.target = cut(line.target, cuts[0]);
    line.user_agent = cut(line.user_agent, cuts[1]);
    line.referer = cut(line.referer, cuts[2]);
    if (!put_line(&text, format, &line, clock, out)) { /* an overlong id; the line stays one line */
        line.user = cut(line.user, cuts[0]);
        line.target = SLICE("...");
        if (!put_line(&text, format, &line, clock, out))
            out[text.length - 1] = '\n';
    }
    return text.length;
}
