/* SPDX-License-Identifier: MIT */
/*
 * Arguments and replies of bucket.lua, apart from all sending. Numbers travel as little-endian
 * doubles in one argument: every argument costs Redis about 100 ns, and every conversion of a
 * decimal in Lua as much again. All of them are integers below 2^53, so a double holds them
 * exactly.
 */
#include "kamiyo/limit/bucket_script.h"

#include <endian.h>
#include <string.h>

#include "kamiyo/base/text.h"

static size_t put_double(char *out, int64_t value)
{
    double number = (double)value;
    uint64_t bits;

    memcpy(&bits, &number, sizeof(bits));
    bits = htole64(bits);
    memcpy(out, &bits, sizeof(bits));
    return sizeof(bits);
}

size_t bucket_script_numbers(const struct limit_policy *policy,
                             enum bucket_script_action action,
                             int64_t tokens,
                             int64_t deadline_ms,
                             char out[BUCKET_SCRIPT_NUMBERS_BYTES])
{
    size_t length = 0;

    length += put_double(out + length, deadline_ms);
    length += put_double(out + length, (int64_t)action);
    length += put_double(out + length, tokens);
    for (size_t i = 0; i < policy->window_count; i++) {
        const struct limit_window *window = &policy->windows[i];

        length += put_double(out + length, window->units_per_token);
        length += put_double(out + length, window->units_per_ms);
        length += put_double(out + length, window->burst);
        length += put_double(out + length, window->period_ms);
    }
    return length;
}

size_t bucket_script_burst(const struct limit_window *window, char out[BUCKET_SCRIPT_BURST_BYTES])
{
    struct text text;

    text_init(&text, out, BUCKET_SCRIPT_BURST_BYTES);
    text_append_i64(&text, window->burst);
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
