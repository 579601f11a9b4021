/* SPDX-License-Identifier: MIT */
/*
 * Rate-limit fields: X-RateLimit-* speak of one window (the binding one) and of
 * Unix seconds, as KAMIYO's and GitHub's clients expect; RateLimit and
 * RateLimit-Policy are structured-field lists over all windows in seconds from
 * now. Levels come from the bucket that decided, names and periods from the policy.
 *
 * A line of them, with what is ready between the numbers:
 *
 *   [X-RateLimit-Limit: 10 X-RateLimit-Remaining: ]9[ X-RateLimit-Reset: ]1006[ X-RateLimit-Tier:
 *   free RateLimit-Policy: "minute";q=10;w=60, ... RateLimit: "minute";r=]9[;t=]6[, "hour";r=]99...
 *   windows[binding].limit, then middle, then each further window's level
 */
#include "kamiyo/proxy/limit_fields.h"

#include <assert.h>

#include "kamiyo/base/digits.h"

static uint64_t ceil_seconds(int64_t ms)
{
    return ms > 0 ? ((uint64_t)ms + 999) / 1000 : 0;
}

int64_t limit_fields_retry_after(const struct limit_decision *decision)
{
    uint64_t seconds = ceil_seconds(decision->wait_ms);
    return seconds > 0 ? (int64_t)seconds : 1;
}

/* What `text` has grown by since it was `start` long. */
static struct slice since(const struct text *text, size_t start)
{
    return (struct slice){text->data + start, text->length - start};
}

static void append_name(struct text *out, const struct limit_window *window, size_t index)
{
    text_append(out, index > 0 ? SLICE(", \"") : SLICE("\""));
    text_append(out, slice_of(window->name));
    text_append_char(out, '"');
}

static void append_policy(struct text *out,
                          const struct limit_policy *policy,
                          const struct limit_decision *decision)
{
    text_append(out, SLICE("RateLimit-Policy: "));
    for (size_t i = 0; i < decision->window_count; i++) {
        append_name(out, &policy->windows[i], i);
        text_append(out, SLICE(";q="));
        text_append_i64(out, decision->levels[i].capacity);
        text_append(out, SLICE(";w="));
        text_append_u64(out, ceil_seconds(decision->levels[i].refill_ms));
    }
    text_append(out, SLICE("\r\n"));
}

void limit_fields_prepare(struct limit_fields *fields,
                          const struct limit_policy *policy,
                          const struct limit_decision *decision,
                          struct slice tier,
                          const struct reply_options *options)
{
    struct text text;
    text_init(&text, fields->bytes, sizeof(fields->bytes));
    fields->window_count = decision->window_count;
    fields->has_x_ratelimit = options->has_x_ratelimit;
    fields->has_ratelimit = options->has_ratelimit;
    for (size_t i = 0; i < decision->window_count; i++) {
        struct limit_fields_window *window = &fields->windows[i];
        size_t start = text.length;
        window->capacity = decision->levels[i].capacity;
        window->refill_ms = decision->levels[i].refill_ms;
        text_append(&text, SLICE("X-RateLimit-Limit: "));
        text_append_i64(&text, window->capacity);
        text_append(&text, SLICE("\r\nX-RateLimit-Remaining: "));
        window->limit = since(&text, start);
        start = text.length;
        append_name(&text, &policy->windows[i], i);
        text_append(&text, SLICE(";r="));
        window->level = since(&text, start);
    }
    size_t start = text.length;
    if (options->has_x_ratelimit) {
        text_append(&text, SLICE("\r\nX-RateLimit-Tier: "));
        text_append(&text, tier);
        text_append(&text, SLICE("\r\n"));
    }
    if (options->has_ratelimit) {
        append_policy(&text, policy, decision);
        text_append(&text, SLICE("RateLimit: "));
        append_name(&text, &policy->windows[0], 0);
        text_append(&text, SLICE(";r="));
    }
    fields->middle = since(&text, start);
    assert(!text.overflow);
}

bool limit_fields_fit(const struct limit_fields *fields, const struct limit_decision *decision)
{
    if (fields->window_count != decision->window_count)
        return false;
    for (size_t i = 0; i < fields->window_count; i++)
        if (fields->windows[i].capacity != decision->levels[i].capacity ||
            fields->windows[i].refill_ms != decision->levels[i].refill_ms)
            return false;
    return true;
}

static uint64_t remaining_of(const struct limit_level *level)
{
    return level->remaining > 0 ? (uint64_t)level->remaining : 0;
}

static char *put_level(char *at, const struct limit_level *level, bool is_denied)
{
    at = digits_write(at, remaining_of(level));
    at = slice_put(at, SLICE(";t="));
    return digits_write(at, ceil_seconds(is_denied ? level->wait_ms : level->full_ms));
}

char *limit_fields_put(char *out,
                       const struct limit_fields *fields,
                       const struct limit_decision *decision,
                       int64_t wall_ms)
{
    const struct limit_level *binding = &decision->levels[decision->binding];
    bool is_denied = decision->outcome == LIMIT_DENIED;
    char *at = out;
    if (fields->has_x_ratelimit) {
        int64_t until_ms = is_denied ? decision->wait_ms : binding->full_ms;
        at = slice_put(at, fields->windows[decision->binding].limit);
        at = digits_write(at, remaining_of(binding));
        at = slice_put(at, SLICE("\r\nX-RateLimit-Reset: "));
        at = digits_write(at, ceil_seconds(wall_ms + until_ms));
    }
    at = slice_put(at, fields->middle);
    if (!fields->has_ratelimit)
        return at;
    at = put_level(at, &decision->levels[0], is_denied);
    for (size_t i = 1; i < fields->window_count; i++) {
        at = slice_put(at, fields->windows[i].level);
        at = put_level(at, &decision->levels[i], is_denied);
    }
    return slice_put(at, SLICE("\r\n"));
}

void limit_fields_write(struct text *out,
                        const struct limit_policy *policy,
                        const struct limit_decision *decision,
                        struct slice tier,
                        const struct reply_options *options,
                        int64_t wall_ms)
{
    struct limit_fields fields;
    char memory[LIMIT_FIELDS_SIZE];
    if (decision->outcome != LIMIT_ALLOWED && decision->outcome != LIMIT_DENIED)
        return;
    if (decision->window_count == 0)
        return;
    limit_fields_prepare(&fields, policy, decision, tier, options);
    char *end = limit_fields_put(memory, &fields, decision, wall_ms);
    text_append(out, (struct slice){memory, (size_t)(end - memory)});
}
