/* SPDX-License-Identifier: MIT */
/*
 * The usual head in one pass. Nearly every head arrives whole, its names are tokens, its values are
 * printable and its lines end in CRLF; such a head is read here, sixteen bytes of a value at a
 * step. Anything else, and be it a tab, is left to llhttp from the first byte on: this reader
 * refuses nothing and accepts nothing that llhttp would not. What fields mean is judged behind both
 * (framing.c), and parser_fuzz and parser_test hold the two readers against each other.
 */
#include <string.h>

#include "http/http_internal.h"

#define STEP 16
typedef uint8_t byte_vector __attribute__((vector_size(STEP)));
typedef uint64_t word_vector __attribute__((vector_size(STEP)));

_Static_assert(__BYTE_ORDER__ == __ORDER_LITTLE_ENDIAN__, "the first byte is the lowest");

/* The first byte from `at` on that is a control or DEL, or `end`. */
static size_t scan_printable(const char *bytes, size_t at, size_t end)
{
    const byte_vector spaces = {32, 32, 32, 32, 32, 32, 32, 32, 32, 32, 32, 32, 32, 32, 32, 32};
    const byte_vector deletes = spaces * 4 - 1;

    for (; end - at >= STEP; at += STEP) {
        byte_vector part;
        word_vector found;

        memcpy(&part, bytes + at, STEP);
        found = (word_vector)((part < spaces) | (part == deletes));
        if (found[0] != 0)
            return at + (size_t)__builtin_ctzll(found[0]) / 8;
        if (found[1] != 0)
            return at + 8 + (size_t)__builtin_ctzll(found[1]) / 8;
    }
    while (at < end && (unsigned char)bytes[at] >= ' ' && bytes[at] != 0x7f)
        at++;
    return at;
}

static bool is_line_end(const char *bytes, size_t at, size_t end)
{
    return end - at >= 2 && bytes[at] == '\r' && bytes[at + 1] == '\n';
}

size_t head_scan_line(const char *bytes, size_t end)
{
    size_t at = scan_printable(bytes, 0, end);

    return is_line_end(bytes, at, end) ? at + 2 : 0;
}

size_t head_scan_fields(
    const char *bytes, size_t at, size_t end, struct http_head *head, size_t max_fields)
{
    size_t count = 0;

    while (!is_line_end(bytes, at, end)) {
        struct http_field *field = &head->fields[count];
        size_t start = at;

        while (at < end && http_byte_is(bytes[at], HTTP_BYTE_TOKEN))
            at++;
        if (at == end || bytes[at] != ':' || at == start || count == max_fields)
            return 0;
        field->name = (struct slice){bytes + start, at - start};
        do
            at++;
        while (at < end && bytes[at] == ' ');
        start = at;
        at = scan_printable(bytes, at, end);
        if (!is_line_end(bytes, at, end))
            return 0;
        field->value = (struct slice){bytes + start, at - start};
        at += 2;
        count++;
    }
    head->field_count = count;
    return at + 2;
}
