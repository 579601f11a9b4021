/* SPDX-License-Identifier: MIT */
/*
 * Arguments and replies of bucket.lua, apart from all sending. Whatever is not a key travels in one
 * argument, as MessagePack, which Redis's Lua unpacks at once: another argument costs Redis 150 ns,
 * and a number as text as much again in Lua. All numbers are integers below 2^53, so a double holds
 * them exactly.
 */
#include "kamiyo/limit/bucket_script.h"

#include <assert.h>
#include <endian.h>
#include <string.h>

#include "kamiyo/base/text.h"

/* "float 64" and "fixstr" of the MessagePack specification. */
#define PACKED_DOUBLE  0xcb
#define PACKED_BYTES   9
#define PACKED_TEXT    0xa0
#define MOST_IN_A_TEXT 31

static_assert(LIMIT_WINDOW_NAME_SIZE + sizeof("last_refill") <= MOST_IN_A_TEXT, "room for a field");

static void pack_number(char out[PACKED_BYTES], int64_t value)
{
    double number = (double)value;
    uint64_t bits;

    memcpy(&bits, &number, sizeof(bits));
    bits = htobe64(bits);
    out[0] = (char)PACKED_DOUBLE;
    memcpy(out + 1, &bits, sizeof(bits));
}

static void append_number(struct text *out, int64_t value)
{
    char packed[PACKED_BYTES];

    pack_number(packed, value);
    text_append(out, (struct slice){packed, sizeof(packed)});
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

void bucket_script_set_call(char argument[BUCKET_SCRIPT_CALL_BYTES],
                            enum bucket_script_action action,
                            int64_t tokens,
                            int64_t deadline_ms)
{
    pack_number(argument, deadline_ms);
    pack_number(argument + PACKED_BYTES, (int64_t)action);
    pack_number(argument + (ptrdiff_t)2 * PACKED_BYTES, tokens);
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
    for (size_t i = 0; i < policy->window_count; i++) {
        const struct limit_window *window = &policy->windows[i];

        append_number(&text, window->units_per_token);
        append_number(&text, window->units_per_ms);
        append_number(&text, window->capacity_units);
        append_number(&text, window->period_ms);
        append_burst(&text, window);
    }
    for (size_t i = 0; layout == LIMIT_LAYOUT_IDENTITY && i < policy->window_count; i++) {
        struct slice name = slice_of(policy->windows[i].name);

        append_field(&text, name, SLICE("tokens"));
        append_field(&text, name, SLICE("last_refill"));
        append_field(&text, name, SLICE("capacity"));
    }
    assert(!text.overflow);
    return text.length;
}

static enum bucket_script_status read_levels(const struct limit_policy *policy,
                                             const int64_t *values,
                                             size_t count,
                                             struct bucket *buckets)
{
    bool has_ahead = count == 2 + 2 * policy->window_count;

    if (count != 2 + policy->window_count && !has_ahead)
        return BUCKET_SCRIPT_GARBAGE;
    for (size_t i = 0; i < policy->window_count; i++) {
        const struct limit_window *window = &policy->windows[i];
        int64_t level = values[2 + i];
        int64_t ahead = has_ahead ? values[2 + policy->window_count + i] : 0;

        if (level > window->capacity_units || level < -BUCKET_MAX_UNITS || ahead < 0 ||
            ahead > window->period_ms)
            return BUCKET_SCRIPT_GARBAGE;
    }
    for (size_t i = 0; i < policy->window_count; i++)
        buckets[i] = (struct bucket){
            .level = values[2 + i],
            .time_ms = values[1] + (has_ahead ? values[2 + policy->window_count + i] : 0)};
    return values[0] == 1 ? BUCKET_SCRIPT_DONE : BUCKET_SCRIPT_DENIED;
}

enum bucket_script_status bucket_script_read(const struct limit_policy *policy,
                                             const int64_t *values,
                                             size_t count,
                                             int64_t *now_ms,
                                             struct bucket *buckets)
{
    enum bucket_script_status status = BUCKET_SCRIPT_GARBAGE;

    if (count < 2 || values[1] <= 0 || values[1] >= BUCKET_SCRIPT_NO_DEADLINE)
        return BUCKET_SCRIPT_GARBAGE;
    if (values[0] == 0 || values[0] == 1)
        status = read_levels(policy, values, count, buckets);
    else if (values[0] == 2 && count == 2)
        status = BUCKET_SCRIPT_LATE;
    else if (values[0] == 3 && count == 3)
        status = BUCKET_SCRIPT_ODD;
    if (status != BUCKET_SCRIPT_GARBAGE)
        *now_ms = values[1];
    return status;
}
