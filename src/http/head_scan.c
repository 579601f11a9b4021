/* SPDX-License-Identifier: MIT */
/*
 * The usual head in one pass. Nearly every head arrives whole, its names are tokens, its values are
 * printable and its lines end in CRLF; such a head is read here, sixteen bytes at a step, and its
 * fields are classified on the way. Anything else, and be it a tab, is left to llhttp from the
 * first byte on: this reader refuses nothing and accepts nothing that llhttp would not. What fields
 * mean is judged behind both (framing.c), and parser_fuzz and parser_test hold the two readers
 * against each other.
 */
#include <string.h>

#include "http/byte_block.h"
#include "http/field_lookup.h"
#include "http/http_internal.h"

/* What ends a value, or a line. */
static byte_block is_control(byte_block part)
{
    return (byte_block)((part < block_of(' ')) | (part == block_of(0x7f)));
}

/* What ends a name. */
static byte_block is_name_end(byte_block part)
{
    return (byte_block)((part < block_of(' ')) | (part == block_of(':')));
}

/* Letters, digits and "-", as in nearly every name; the few other tchar are for the table. */
static byte_block is_plain(byte_block part)
{
    byte_block letters = (byte_block)((part | block_of(0x20)) - block_of('a') < block_of(26));
    byte_block digits = (byte_block)(part - block_of('0') < block_of(10));

    return letters | digits | (byte_block)(part == block_of('-'));
}

/* scan_printable for what is longer than a block: two at a step. */
static size_t scan_long(const char *bytes, size_t at, size_t end)
{
    unsigned found;

    for (; end - at >= 2 * BLOCK_BYTES; at += 2 * BLOCK_BYTES) {
        byte_block first = is_control(block_load(bytes + at));
        byte_block second = is_control(block_load(bytes + at + BLOCK_BYTES));

        if (block_mask(first | second) != 0)
            break;
    }
    for (; at < end; at += BLOCK_BYTES) {
        found = block_mask(is_control(block_near(bytes, at, end))) >> block_skip(at, end);
        if (found != 0)
            return at + (size_t)__builtin_ctz(found);
    }
    return end;
}

/* The first byte from `at` on that is a control or DEL, or `end`. */
static inline size_t scan_printable(const char *bytes, size_t at, size_t end)
{
    unsigned found;

    if (UNLIKELY(end - at < BLOCK_BYTES))
        return scan_long(bytes, at, end);
    found = block_mask(is_control(block_load(bytes + at)));
    if (LIKELY(found != 0))
        return at + (size_t)__builtin_ctz(found);
    return scan_long(bytes, at + BLOCK_BYTES, end);
}

/* The first byte from `at` on that cannot stand in a target, or `end`; see HTTP_BYTE_TARGET. */
static size_t scan_target(const char *bytes, size_t at, size_t end)
{
    for (; at < end; at += BLOCK_BYTES) {
        byte_block part = block_near(bytes, at, end);
        byte_block stop = (byte_block)((part <= block_of(' ')) | (part >= block_of(0x7f)) |
                                       (part == block_of('#')));
        unsigned found = block_mask(stop) >> block_skip(at, end);

        if (found != 0)
            return at + (size_t)__builtin_ctz(found);
    }
    return end;
}

static bool is_line_end(const char *bytes, size_t at, size_t end)
{
    uint16_t pair;

    if (end - at < sizeof(pair))
        return false;
    memcpy(&pair, bytes + at, sizeof(pair));
    return pair == ('\r' | '\n' << 8);
}

size_t head_scan_line(const char *bytes, size_t end)
{
    size_t at;

    if (end < BLOCK_BYTES)
        return 0;
    at = scan_printable(bytes, 0, end);
    return is_line_end(bytes, at, end) ? at + 2 : 0;
}

size_t head_scan_request_line(const char *bytes,
                              size_t end,
                              struct http_parser_span *method,
                              struct http_parser_span *target)
{
    size_t at = 0, start;

    if (end < BLOCK_BYTES)
        return 0;
    while (at < BLOCK_BYTES && http_byte_is(bytes[at], HTTP_BYTE_TOKEN))
        at++;
    if (at == 0 || at == BLOCK_BYTES || bytes[at] != ' ')
        return 0;
    *method = (struct http_parser_span){0, (uint32_t)at};
    start = at + 1;
    at = scan_target(bytes, start, end);
    *target = (struct http_parser_span){(uint32_t)start, (uint32_t)(at - start)};
    if (at == start || end - at < sizeof(" HTTP/1.1\r\n") - 1 ||
        (memcmp(bytes + at, " HTTP/1.1\r\n", 11) != 0 &&
         memcmp(bytes + at, " HTTP/1.0\r\n", 11) != 0))
        return 0;
    return at + 11;
}

/*
 * Each reads the name at `at` into the field, with its kind and, where that is unknown, whether it
 * ends here; returns where the ":" stands, or 0. This one for a name longer than a block, or within
 * the last block before `end`.
 */
static size_t read_any_name(struct http_field *field, const char *bytes, size_t at, size_t end)
{
    size_t start = at;

    while (at < end && http_byte_is(bytes[at], HTTP_BYTE_TOKEN))
        at++;
    if (at == end || bytes[at] != ':' || at == start)
        return 0;
    field->name = (struct slice){bytes + start, at - start};
    field->id = http_field_id_of(field->name);
    field->is_hop = field->id == HTTP_FIELD_OTHER && http_is_hop_name(field->name);
    return at;
}

static size_t read_name(struct http_field *field, const char *bytes, size_t at, size_t end)
{
    byte_block block, known;
    unsigned stops, within;
    size_t length;

    if (UNLIKELY(end - at < BLOCK_BYTES))
        return read_any_name(field, bytes, at, end);
    block = block_load(bytes + at);
    stops = block_mask(is_name_end(block));
    if (UNLIKELY(stops == 0))
        return read_any_name(field, bytes, at, end);
    length = (size_t)__builtin_ctz(stops);
    if (length == 0 || bytes[at + length] != ':')
        return 0;
    within = (1U << length) - 1;
    field->name = (struct slice){bytes + at, length};
    field->id = field_candidate(field->name);
    known = block_load(http_field_names[field->id].text);
    if (field->id != HTTP_FIELD_OTHER &&
        (block_mask((byte_block)(((block ^ known) & ~block_of(0x20)) != block_of(0))) & within) ==
            0)
        return at + length;
    field->id = HTTP_FIELD_OTHER;
    field->is_hop = false;
    if (UNLIKELY((~block_mask(is_plain(block)) & within) != 0 || (bytes[at] | 0x20) == 'p')) {
        field->is_hop = http_is_hop_name(field->name);
        if (!http_bytes_are(field->name, HTTP_BYTE_TOKEN))
            return 0;
    }
    return at + length;
}

/* The value behind the ":" at `at`, without the spaces around it; returns where its line ends. */
static size_t read_value(struct http_field *field, const char *bytes, size_t at, size_t end)
{
    size_t start = at + 1, value_end, line_end;

    for (; start < end && bytes[start] == ' '; start++)
        ;
    line_end = scan_printable(bytes, start, end);
    for (value_end = line_end; value_end > start && bytes[value_end - 1] == ' ';)
        value_end--;
    field->value = (struct slice){bytes + start, value_end - start};
    field->is_plain_line = start == at + 2 && value_end == line_end;
    return line_end;
}

size_t head_scan_fields(
    const char *bytes, size_t at, size_t end, struct http_head *head, size_t max_fields)
{
    if (end < BLOCK_BYTES)
        return 0;
    http_fields_begin(head);
    while (!is_line_end(bytes, at, end)) {
        struct http_field *field = &head->fields[head->field_count];

        if (head->field_count == max_fields)
            return 0;
        at = read_name(field, bytes, at, end);
        if (at == 0)
            return 0;
        at = read_value(field, bytes, at, end);
        if (!is_line_end(bytes, at, end))
            return 0;
        at += 2;
        http_fields_note(head);
    }
    return at + 2;
}
