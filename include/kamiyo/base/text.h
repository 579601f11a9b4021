/* SPDX-License-Identifier: MIT */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include "kamiyo/base/attributes.h"
#include "kamiyo/base/slice.h"

/*
 * Writing text into memory of a fixed size, and reading the quantities that
 * the configuration knows.
 *
 * A text never writes beyond its capacity and never allocates: what does not
 * fit sets `overflow`, and the caller looks once at the end. It is not
 * terminated unless text_terminate says so.
 */
struct text {
    char *data;
    size_t capacity;
    size_t length;
    bool overflow;
};

void text_init(struct text *text, char *data, size_t capacity);
struct slice text_slice(const struct text *text);
/* Inline, so that the many literals become plain stores. */
static inline void text_append(struct text *text, struct slice bytes)
{
    if (UNLIKELY(bytes.length > text->capacity - text->length)) {
        text->overflow = true;
    } else if (bytes.length > 0) {
        memcpy(text->data + text->length, bytes.data, bytes.length);
        text->length += bytes.length;
    }
}
static inline void text_append_char(struct text *text, char byte)
{
    if (UNLIKELY(text->length == text->capacity))
        text->overflow = true;
    else
        text->data[text->length++] = byte;
}
void text_append_u64(struct text *text, uint64_t value);
void text_append_i64(struct text *text, int64_t value);
/* The bytes as hexadecimal digits, two each, in lower case. */
void text_append_hex(struct text *text, const void *bytes, size_t length);
/* The byte as an escape of URLs (RFC 3986 2.1): "%2F". */
void text_append_percent(struct text *text, char byte);
/* For places off the hot path. */
void text_append_format(struct text *text, const char *format, ...) PRINTF_LIKE(2, 3);
/*
 * The bytes as the inside of a JSON string (RFC 8259 7): quotes, backslashes
 * and controls escaped, bytes that are not UTF-8 as U+FFFD.
 */
void text_append_json(struct text *text, struct slice bytes);
/* The bytes with everything but printable ASCII as \xNN, for a log line; quotes and backslashes
 * escaped. */
void text_append_quoted(struct text *text, struct slice bytes);
/* Write a 0 after the text, cutting its last byte if it is full; capacity must not be 0. */
const char *text_terminate(struct text *text);

/* "50ms" "2s" "5m" "1h" "1d", or a bare "0"; at most 366 days. *ms in milliseconds. */
bool text_parse_duration(struct slice text, int64_t *ms) MUST_CHECK;
/* "512B" "32KiB" "64MiB" "1GiB" (and KB, MB, GB in powers of ten), or a bare "0". */
bool text_parse_size(struct slice text, uint64_t *bytes) MUST_CHECK;
/* The shortest exact form: 1500 -> "1500ms", 60000 -> "1m". At least 24 bytes at `out`. */
const char *text_format_duration(int64_t ms, char out[24]);

/* The number of single-byte edits and swaps of neighbours between two names of up to 64 bytes;
 * SIZE_MAX beyond. */
size_t text_distance(struct slice a, struct slice b);
/* The one of `names` (ended by NULL) that is nearest to `given` and near enough to be meant, or
 * NULL. */
const char *text_nearest(struct slice given, const char *const *names);

/* RFC 9110 5.6.7 "Sun, 06 Nov 1994 08:49:37 GMT"; 30 bytes with the terminator. */
#define TEXT_HTTP_DATE_SIZE 30
void text_format_http_date(int64_t unix_seconds, char out[TEXT_HTTP_DATE_SIZE]);
/* RFC 3339 UTC with milliseconds "2026-11-23T07:25:59.123Z"; 25 bytes with the terminator. */
#define TEXT_TIMESTAMP_SIZE 25
void text_format_timestamp(int64_t unix_ms, char out[TEXT_TIMESTAMP_SIZE]);
