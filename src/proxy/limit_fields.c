/* SPDX-License-Identifier: MIT */
/*
 * Rate-limit fields: X-RateLimit-* speak of one window (the binding one) and of
 * Unix seconds, as KAMIYO's and GitHub's clients expect; RateLimit and
 * RateLimit-Policy are structured-field lists over all windows in seconds from
 * now. Levels come from the bucket that decided, names and periods from the policy.
 */
#include "kamiyo/proxy/limit_fields.h"

static int64_t ceil_seconds(int64_t ms)
{
    return ms > 0 ? (ms + 999) / 1000 : 0;
}

int64_t limit_fields_retry_after(const struct limit_decision *decision)
{
    int64_t seconds = ceil_seconds(decision->wait_ms);
    return seconds > 0 ? seconds : 1;
}

static void append_number_field(struct text *out, struct slice name, int64_t value)
{
    text_append(out, name);
    text_append_i64(out, value);
    text_append(out, SLICE("\r\n"));
}

static void append_binding(struct text *out,
                           const struct limit_decision *decision,
                           struct slice tier,
                           int64_t wall_ms)
{
    const struct limit_level *level = &decision->levels[decision->binding];
    int64_t until_ms = decision->outcome == LIMIT_DENIED ? decision->wait_ms : level->full_ms;
    append_number_field(out, SLICE("X-RateLimit-Limit: "), level->capacity);
    append_number_field(out, SLICE("X-RateLimit-Remaining: "), level->remaining);
    append_number_field(out, SLICE("X-RateLimit-Reset: "), ceil_seconds(wall_ms + until_ms));
    text_append(out, SLICE("X-RateLimit-Tier: "));
    text_append(out, tier);
    text_append(out, SLICE("\r\n"));
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
        text_append_i64(out, ceil_seconds(decision->levels[i].refill_ms));
    }
    text_append(out, SLICE("\r\n"));
}

static void append_levels(struct text *out,
                          const struct limit_policy *policy,
                          const struct limit_decision *decision)
{
    text_append(out, SLICE("RateLimit: "));
    for (size_t i = 0; i < decision->window_count; i++) {
        const struct limit_level *level = &decision->levels[i];
        append_name(out, &policy->windows[i], i);
        text_append(out, SLICE(";r="));
        text_append_i64(out, level->remaining);
        text_append(out, SLICE(";t="));
        text_append_i64(
            out, ceil_seconds(decision->outcome == LIMIT_DENIED ? level->wait_ms : level->full_ms));
    }
    text_append(out, SLICE("\r\n"));
}

void limit_fields_write(struct text *out,
                        const struct limit_policy *policy,
                        const struct limit_decision *decision,
                        struct slice tier,
                        const struct reply_options *options,
                        int64_t wall_ms)
{
    if (decision->outcome != LIMIT_ALLOWED && decision->outcome != LIMIT_DENIED)
        return;
    if (decision->window_count == 0)
        return;
    if (options->has_x_ratelimit)
        append_binding(out, decision, tier, wall_ms);
    if (options->has_ratelimit) {
        append_policy(out, policy, decision);
        append_levels(out, policy, decision);
    }
}
