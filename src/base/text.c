/* SPDX-License-Identifier: MIT */
/*
 * Text of a bounded size: what does not fit is left out and noted, nothing is
 * ever written beyond the capacity. Also the forms of the quantities that the
 * configuration reads and that headers and logs show.
 */
#include "kamiyo/base/text.h"

#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <time.h>

#include "kamiyo/base/digits.h"

void text_init(struct text *text, char *data, size_t capacity)
{
    *text = (struct text){.data = data, .capacity = capacity};
}

struct slice text_slice(const struct text *text)
{
    return (struct slice){text->data, text->length};
}

void text_append_u64(struct text *text, uint64_t value)
{
    size_t room = text->capacity - text->length;
    if (room < DIGITS_MAX && room < digits_count(value))
        text->overflow = true;
    else
        text->length = (size_t)(digits_write(text->data + text->length, value) - text->data);
}

void text_append_i64(struct text *text, int64_t value)
{
    if (value < 0)
        text_append_char(text, '-');
    text_append_u64(text, value < 0 ? 0 - (uint64_t)value : (uint64_t)value);
}

void text_append_format(struct text *text, const char *format, ...)
{
    va_list args;
    size_t room = text->capacity - text->length;
    va_start(args, format);
    int length = vsnprintf(room > 0 ? text->data + text->length : NULL, room, format, args);
    va_end(args);
    /* vsnprintf wants a byte for its terminator, so a text that fits exactly counts as too long. */
    if (length < 0 || (size_t)length >= room)
        text->overflow = true;
    else
        text->length += (size_t)length;
}

/* The length of the UTF-8 sequence at the start of `bytes` (RFC 3629), or 0 if there is none. */
static size_t utf8_length(const unsigned char *bytes, size_t room)
{
    unsigned char first = bytes[0];
    size_t length = first < 0x80 ? 1 : first < 0xc2 ? 0 : first < 0xe0 ? 2 : first < 0xf0 ? 3 : 4;
    if (length == 0 || first > 0xf4 || length > room)
        return 0;
    for (size_t i = 1; i < length; i++)
        if ((bytes[i] & 0xc0) != 0x80)
            return 0;
    if ((first == 0xe0 && bytes[1] < 0xa0) || (first == 0xed && bytes[1] > 0x9f) ||
        (first == 0xf0 && bytes[1] < 0x90) || (first == 0xf4 && bytes[1] > 0x8f))
        return 0;
    return length;
}

void text_append_hex(struct text *text, const void *bytes, size_t length)
{
    static const char digits[] = "0123456789abcdef";
    const unsigned char *from = bytes;

    for (size_t i = 0; i < length; i++) {
        text_append_char(text, digits[from[i] >> 4]);
        text_append_char(text, digits[from[i] & 15]);
    }
}

void text_append_percent(struct text *text, char byte)
{
    static const char digits[] = "0123456789ABCDEF";

    text_append_char(text, '%');
    text_append_char(text, digits[(unsigned char)byte >> 4]);
    text_append_char(text, digits[byte & 15]);
}

static void append_json_escape(struct text *text, unsigned char byte)
{
    switch (byte) {
    case '"':
        text_append(text, SLICE("\\\""));
        break;
    case '\\':
        text_append(text, SLICE("\\\\"));
        break;
    case '\n':
        text_append(text, SLICE("\\n"));
        break;
    case '\r':
        text_append(text, SLICE("\\r"));
        break;
    case '\t':
        text_append(text, SLICE("\\t"));
        break;
    default:
        text_append(text, SLICE("\\u00"));
        text_append_hex(text, &byte, 1);
        break;
    }
}

/* Bytes that stand for themselves in a JSON string: printable ASCII but the quote and the
 * backslash. */
static bool is_plain_json(unsigned char byte)
{
    return byte >= 0x20 && byte < 0x7f && byte != '"' && byte != '\\';
}

/* Some byte of the word is 0 (Mycroft's test). */
static uint64_t zero_bytes(uint64_t word)
{
    const uint64_t ones = 0x0101010101010101u;
    return (word - ones) & ~word & (ones << 7);
}

/* All eight bytes are plain, by arithmetic on the whole word. */
static bool is_plain_json_word(const char *bytes)
{
    const uint64_t ones = 0x0101010101010101u;
    uint64_t word;
    memcpy(&word, bytes, sizeof(word));
    uint64_t is_control = (word - ones * 0x20) & ~word & (ones << 7);
    uint64_t is_special = zero_bytes(word ^ (ones * '"')) | zero_bytes(word ^ (ones * '\\')) |
                          zero_bytes(word ^ (ones * 0x7f));
    return (is_control | is_special | (word & (ones << 7))) == 0;
}

#define STEP 16
typedef int8_t byte_vector __attribute__((vector_size(STEP)));
typedef uint64_t word_vector __attribute__((vector_size(STEP)));

/* All sixteen bytes are plain. As signed numbers, those that are not ASCII lie below the space. */
static bool is_plain_json_part(const char *bytes)
{
    const byte_vector zeroes = {0};
    byte_vector part;
    memcpy(&part, bytes, STEP);
    word_vector found = (word_vector)((part < zeroes + ' ') | (part == zeroes + '"') |
                                      (part == zeroes + '\\') | (part == zeroes + 0x7f));
    return (found[0] | found[1]) == 0;
}

/* The last step overlaps the one before it, so that few bytes are looked at alone. */
static bool is_plain_json_text(struct slice bytes)
{
    const char *end = bytes.data + bytes.length;
    size_t at = 0;
    if (bytes.length >= STEP) {
        for (; at + STEP < bytes.length; at += STEP)
            if (!is_plain_json_part(bytes.data + at))
                return false;
        return is_plain_json_part(end - STEP);
    }
    if (bytes.length >= 8)
        return is_plain_json_word(bytes.data) && is_plain_json_word(end - 8);
    while (at < bytes.length && is_plain_json((unsigned char)bytes.data[at]))
        at++;
    return at == bytes.length;
}

static size_t plain_json_length(struct slice bytes)
{
    size_t at = 0;
    while (bytes.length - at >= 8 && is_plain_json_word(bytes.data + at))
        at += 8;
    while (at < bytes.length && is_plain_json((unsigned char)bytes.data[at]))
        at++;
    return at;
}

void text_append_json(struct text *text, struct slice bytes)
{
    const unsigned char *data = (const unsigned char *)bytes.data;
    size_t at = 0;
    if (LIKELY(is_plain_json_text(bytes))) {
        text_append(text, bytes);
        return;
    }
    while (at < bytes.length) {
        size_t start = at;
        at += plain_json_length((struct slice){bytes.data + at, bytes.length - at});
        text_append(text, (struct slice){bytes.data + start, at - start});
        if (at == bytes.length)
            break;
        size_t length = data[at] < 0x80 ? 1 : utf8_length(data + at, bytes.length - at);
        if (data[at] < 0x80) {
            append_json_escape(text, data[at]);
        } else if (length == 0) {
            text_append(text, SLICE("\\ufffd"));
            length = 1;
        } else {
            text_append(text, (struct slice){bytes.data + at, length});
        }
        at += length;
    }
}

void text_append_quoted(struct text *text, struct slice bytes)
{
    for (size_t i = 0; i < bytes.length; i++) {
        unsigned char byte = (unsigned char)bytes.data[i];
        if (byte == '"' || byte == '\\') {
            text_append_char(text, '\\');
            text_append_char(text, (char)byte);
        } else if (byte >= 0x20 && byte < 0x7f) {
            text_append_char(text, (char)byte);
        } else {
            text_append(text, SLICE("\\x"));
            text_append_hex(text, &byte, 1);
        }
    }
}

const char *text_terminate(struct text *text)
{
    if (text->length == text->capacity) {
        text->overflow = true;
        text->length--;
    }
    text->data[text->length] = '\0';
    return text->data;
}

/* A quantity is digits and a unit of the table; the value is digits * factor, at most `max`. */
struct unit {
    const char *name;
    uint64_t factor;
};

static bool parse_quantity(
    struct slice text, const struct unit *units, size_t unit_count, uint64_t max, uint64_t *value)
{
    size_t digits = 0;
    uint64_t number;
    while (digits < text.length && text.data[digits] >= '0' && text.data[digits] <= '9')
        digits++;
    if (!slice_parse_u64((struct slice){text.data, digits}, &number))
        return false;
    struct slice name = {text.data + digits, text.length - digits};
    if (name.length == 0 && number == 0) {
        *value = 0;
        return true;
    }
    for (size_t i = 0; i < unit_count; i++) {
        uint64_t product;
        if (!slice_equal(name, slice_of(units[i].name)))
            continue;
        if (__builtin_mul_overflow(number, units[i].factor, &product) || product > max)
            return false;
        *value = product;
        return true;
    }
    return false;
}

bool text_parse_duration(struct slice text, int64_t *ms)
{
    static const struct unit units[] = {
        {"ms", 1}, {"s", 1000}, {"m", 60000}, {"h", 3600000}, {"d", 86400000},
    };
    uint64_t value;
    if (!parse_quantity(text, units, COUNT_OF(units), 366ull * 86400000, &value))
        return false;
    *ms = (int64_t)value;
    return true;
}

bool text_parse_size(struct slice text, uint64_t *bytes)
{
    static const struct unit units[] = {
        {"B", 1},
        {"KiB", 1ull << 10},
        {"MiB", 1ull << 20},
        {"GiB", 1ull << 30},
        {"TiB", 1ull << 40},
        {"KB", 1000},
        {"kB", 1000},
        {"MB", 1000000},
        {"GB", 1000000000},
        {"TB", 1000000000000},
    };
    return parse_quantity(text, units, COUNT_OF(units), 1ull << 60, bytes);
}

const char *text_format_duration(int64_t ms, char out[24])
{
    static const struct unit units[] = {
        {"d", 86400000},
        {"h", 3600000},
        {"m", 60000},
        {"s", 1000},
    };
    for (size_t i = 0; i < COUNT_OF(units); i++) {
        int64_t factor = (int64_t)units[i].factor;
        if (ms != 0 && ms % factor == 0) {
            snprintf(out, 24, "%lld%s", (long long)(ms / factor), units[i].name);
            return out;
        }
    }
    snprintf(out, 24, ms == 0 ? "0" : "%lldms", (long long)ms);
    return out;
}

static size_t smallest(size_t a, size_t b, size_t c)
{
    size_t least = a < b ? a : b;
    return least < c ? least : c;
}

size_t text_distance(struct slice a, struct slice b)
{
    enum {
        MAX_LENGTH = 64
    };
    size_t rows[3][MAX_LENGTH + 1];
    if (a.length > MAX_LENGTH || b.length > MAX_LENGTH)
        return SIZE_MAX;
    for (size_t j = 0; j <= b.length; j++)
        rows[0][j] = j;
    for (size_t i = 1; i <= a.length; i++) {
        size_t *row = rows[i % 3];
        const size_t *above = rows[(i + 2) % 3];
        const size_t *two_above = rows[(i + 1) % 3];
        row[0] = i;
        for (size_t j = 1; j <= b.length; j++) {
            size_t cost = a.data[i - 1] != b.data[j - 1];
            row[j] = smallest(above[j] + 1, row[j - 1] + 1, above[j - 1] + cost);
            if (i > 1 && j > 1 && a.data[i - 1] == b.data[j - 2] &&
                a.data[i - 2] == b.data[j - 1] && two_above[j - 2] + 1 < row[j])
                row[j] = two_above[j - 2] + 1;
        }
    }
    return rows[a.length % 3][b.length];
}

const char *text_nearest(struct slice given, const char *const *names)
{
    const char *nearest = NULL;
    size_t least = given.length / 3 + 1; /* a third of the letters wrong is still a slip */
    for (; *names != NULL; names++) {
        size_t distance = text_distance(given, slice_of(*names));
        if (distance < least || (distance == least && nearest == NULL)) {
            least = distance;
            nearest = *names;
        }
    }
    return nearest;
}

/* The last `count` decimal digits of `value`, without a terminator. */
static char *put_digits(char *out, int value, int count)
{
    for (int i = count - 1; i >= 0; i--) {
        out[i] = (char)('0' + value % 10);
        value /= 10;
    }
    return out + count;
}

static char *put_text(char *out, const char *text)
{
    size_t length = strlen(text);
    memcpy(out, text, length);
    return out + length;
}

static char *put_time_of_day(char *out, const struct tm *tm)
{
    out = put_digits(out, tm->tm_hour, 2);
    *out++ = ':';
    out = put_digits(out, tm->tm_min, 2);
    *out++ = ':';
    return put_digits(out, tm->tm_sec, 2);
}

void text_format_http_date(int64_t unix_seconds, char out[TEXT_HTTP_DATE_SIZE])
{
    static const char days[7][6] = {"Sun, ", "Mon, ", "Tue, ", "Wed, ", "Thu, ", "Fri, ", "Sat, "};
    static const char months[12][6] = {" Jan ", " Feb ", " Mar ", " Apr ", " May ", " Jun ",
                                       " Jul ", " Aug ", " Sep ", " Oct ", " Nov ", " Dec "};
    struct tm tm;
    time_t seconds = (time_t)unix_seconds;
    if (gmtime_r(&seconds, &tm) == NULL)
        tm = (struct tm){.tm_mday = 1, .tm_year = 70, .tm_wday = 4};
    out = put_text(out, days[tm.tm_wday % 7]);
    out = put_digits(out, tm.tm_mday, 2);
    out = put_text(out, months[tm.tm_mon % 12]);
    out = put_digits(out, tm.tm_year + 1900, 4);
    *out++ = ' ';
    out = put_text(put_time_of_day(out, &tm), " GMT");
    *out = '\0';
}

void text_format_timestamp(int64_t unix_ms, char out[TEXT_TIMESTAMP_SIZE])
{
    struct tm tm;
    time_t seconds = (time_t)(unix_ms / 1000);
    if (unix_ms < 0 || gmtime_r(&seconds, &tm) == NULL)
        tm = (struct tm){.tm_mday = 1, .tm_year = 70};
    out = put_digits(out, tm.tm_year + 1900, 4);
    *out++ = '-';
    out = put_digits(out, tm.tm_mon + 1, 2);
    *out++ = '-';
    out = put_digits(out, tm.tm_mday, 2);
    *out++ = 'T';
    out = put_time_of_day(out, &tm);
    *out++ = '.';
    out = put_digits(out, unix_ms < 0 ? 0 : (int)(unix_ms % 1000), 3);
    *out++ = 'Z';
    *out = '\0';
}
