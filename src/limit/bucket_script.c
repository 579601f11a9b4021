/* SPDX-License-Identifier: MIT */
/*
 * Arguments and replies of bucket.lua, apart from all sending. Whatever is not a key travels in one
 * argument, as MessagePack, which Redis's Lua unpacks at once: another argument costs Redis 150 ns,
 * and a number as text as much again in Lua. All numbers are integers within 2^53, so a double,
 * which is what Lua has, holds them exactly.
 */
#include "kamiyo/limit/bucket_script.h"

#include <assert.h>
#include <endian.h>
#include <string.h>

#include "kamiyo/base/text.h"

/* "int 64", "uint 16", "uint 32", "nil", "fixstr" and "str 16" of the MessagePack specification;
 * "positive fixint" is the number itself. */
#define PACKED_INT64     0xd3
#define PACKED_BYTES     9
#define PACKED_UINT16    0xcd
#define PACKED_UINT32    0xce
#define PACKED_NIL       0xc0
#define PACKED_TEXT      0xa0
#define MOST_IN_A_TEXT   31
#define PACKED_LONG_TEXT 0xda

static_assert(LIMIT_WINDOW_NAME_SIZE + sizeof("last_refill") <= MOST_IN_A_TEXT, "room for a field");

static void pack_number(char out[PACKED_BYTES], int64_t value)
{
    uint64_t bits = htobe64((uint64_t)value);

    out[0] = (char)PACKED_INT64;
    memcpy(out + 1, &bits, sizeof(bits));
}

/* Of `count` bytes, the most significant first. */
static void append_bytes(struct text *out, uint64_t value, unsigned count)
{
    while (count > 0)
        text_append_char(out, (char)(value >> 8 * --count));
}

/* Not below zero. The shortest form: each byte costs Redis several times on its way into Lua. */
static void append_number(struct text *out, int64_t value)
{
    char packed[PACKED_BYTES];

    assert(value >= 0);
    if (value <= INT8_MAX) {
        text_append_char(out, (char)value);
    } else if (value <= UINT16_MAX) {
        text_append_char(out, (char)PACKED_UINT16);
        append_bytes(out, (uint64_t)value, 2);
    } else if (value <= UINT32_MAX) {
        text_append_char(out, (char)PACKED_UINT32);
        append_bytes(out, (uint64_t)value, 4);
    } else {
        pack_number(packed, value);
        text_append(out, (struct slice){packed, sizeof(packed)});
    }
}

static void append_burst(struct text *out, const struct limit_window *window)
{
    size_t start = out->length;

    text_append_char(out, 0);
    text_append_i64(out, window->burst);
    out->data[start] = (char)(PACKED_TEXT | (out->length - start - 1));
}

static void append_field(struct text *out, struct slice window, struct slice field)
{
    text_append_char(out, (char)(PACKED_TEXT | (window.length + 1 + field.length)));
    text_append(out, window);
    text_append_char(out, ':');
    text_append(out, field);
}

/* A text that holds the packed names, so that the script can unpack these alone. */
static void append_names(struct text *out, const struct limit_policy *policy)
{
    size_t start = out->length, length;

    text_append_char(out, (char)PACKED_LONG_TEXT);
    append_bytes(out, 0, 2);
    for (size_t i = 0; i < policy->window_count; i++) {
        struct slice name = slice_of(policy->windows[i].name);

        append_field(out, name, SLICE("tokens"));
        append_field(out, name, SLICE("last_refill"));
        append_field(out, name, SLICE("capacity"));
    }
    length = out->length - start - 3;
    out->data[start + 1] = (char)(length >> 8);
    out->data[start + 2] = (char)length;
}

void bucket_script_set_call(char argument[BUCKET_SCRIPT_CALL_BYTES],
                            enum bucket_script_action action,
                            int64_t tokens,
                            int64_t deadline_ms)
{
    pack_number(argument, deadline_ms);
    argument[PACKED_BYTES] = (char)action;
    pack_number(argument + PACKED_BYTES + 1, tokens);
}

size_t bucket_script_argument(const struct limit_policy *policy,
                              enum limit_layout layout,
                              enum bucket_script_action action,
                              int64_t tokens,
                              int64_t deadline_ms,
                              char out[BUCKET_SCRIPT_ARGUMENT_BYTES])
{
    struct text text;

    text_init(&text, out, BUCKET_SCRIPT_ARGUMENT_BYTES);
    bucket_script_set_call(out, action, tokens, deadline_ms);
    text.length = BUCKET_SCRIPT_CALL_BYTES;
    if (layout == LIMIT_LAYOUT_IDENTITY)
        append_names(&text, policy);
    else
        text_append_char(&text, (char)PACKED_NIL);
    for (size_t i = 0; i < policy->window_count; i++) {
        const struct limit_window *window = &policy->windows[i];

        append_number(&text, window->units_per_token);
        append_number(&text, window->units_per_ms);
        append_number(&text, window->capacity_units);
        append_number(&text, window->period_ms);
        append_burst(&text, window);
    }
    assert(!text.overflow);
    return text.length;
}

/* Levels, and how far ahead each bucket's time is where that is told. */
static bool read_levels(const struct limit_policy *policy,
                        const int64_t *values,
                        size_t count,
                        int64_t now_ms,
                        struct bucket *buckets)
{
    bool has_ahead = count == 2 * policy->window_count;

    if (count != policy->window_count && !has_ahead)
        return false;
    for (size_t i = 0; i < policy->window_count; i++) {
        const struct limit_window *window = &policy->windows[i];
        int64_t level = values[i];
        int64_t ahead = has_ahead ? values[policy->window_count + i] : 0;

        if (level > window->capacity_units || level < -BUCKET_MAX_UNITS || ahead < 0 ||
            ahead > window->period_ms)
            return false;
    }
    for (size_t i = 0; i < policy->window_count; i++)
        buckets[i] =
            (struct bucket){.level = values[i],
                            .time_ms = now_ms + (has_ahead ? values[policy->window_count + i] : 0)};
    return true;
}

enum bucket_script_status bucket_script_read(const struct limit_policy *policy,
                                             const int64_t *values,
                                             size_t count,
                                             int64_t *now_ms,
                                             struct bucket *buckets)
{
    /* In the order of the statuses' numbers. */
    static const enum bucket_script_status statuses[] = {BUCKET_SCRIPT_DENIED, BUCKET_SCRIPT_DONE,
                                                         BUCKET_SCRIPT_LATE, BUCKET_SCRIPT_ODD};
    enum bucket_script_status status;
    int64_t now;

    /* Beyond 2^53 the script's numbers are not exact. */
    if (count < 1 || values[0] < 4 || values[0] >= (int64_t)1 << 53)
        return BUCKET_SCRIPT_GARBAGE;
    now = values[0] / 4;
    status = statuses[values[0] % 4];
    if ((status == BUCKET_SCRIPT_LATE && count != 1) || (status == BUCKET_SCRIPT_ODD && count != 2))
        return BUCKET_SCRIPT_GARBAGE;
    if ((status == BUCKET_SCRIPT_DENIED || status == BUCKET_SCRIPT_DONE) &&
        !read_levels(policy, values + 1, count - 1, now, buckets))
        return BUCKET_SCRIPT_GARBAGE;
    *now_ms = now;
    return status;
}
