/* SPDX-License-Identifier: MIT */
/*
 * From limits to integers. A window of `limit` tokens in period_ms adds limit / period_ms tokens a
 * millisecond; cancelled by their greatest common divisor g that is L / P, so a level counted in
 * units of 1/P token grows by exactly L a millisecond. What the limiter multiplies later is bounded
 * here, once: burst * P and L up to 2^50 fit an int64 with room and a Lua double exactly.
 */
#include "kamiyo/limit/limit_policy.h"

#include <assert.h>
#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#define MAX_TOKENS 1000000000000
#define MAX_UNITS  ((int64_t)1 << 50)

static int64_t greatest_common_divisor(int64_t a, int64_t b)
{
    while (b != 0) {
        int64_t rest = a % b;

        a = b;
        b = rest;
    }
    return a;
}

static void name_window(char name[LIMIT_WINDOW_NAME_SIZE], int64_t period_ms)
{
    static const struct {
        int64_t period_ms;
        const char *name;
    } words[] = {{1000, "second"}, {60000, "minute"}, {3600000, "hour"}, {86400000, "day"}};

    for (size_t i = 0; i < COUNT_OF(words); i++) {
        if (words[i].period_ms == period_ms) {
            snprintf(name, LIMIT_WINDOW_NAME_SIZE, "%s", words[i].name);
            return;
        }
    }
    snprintf(name, LIMIT_WINDOW_NAME_SIZE, "%" PRId64 "s", period_ms / 1000 % 1000000000);
}

/* burst 0 = as the limit. The order of the checks keeps the product from overflowing. */
static bool fits(int64_t limit, int64_t burst, int64_t period_ms)
{
    int64_t units_per_token;

    if (limit < 1 || limit > MAX_TOKENS)
        return false;
    units_per_token = period_ms / greatest_common_divisor(limit, period_ms);
    return (burst == 0 ? limit : burst) <= MAX_UNITS / units_per_token;
}

/*
 * The largest limit below and the smallest above `limit` that fit, 0 = none. A limit fits because
 * of the divisor that it shares with the period, so only multiples of the period's divisors are
 * tried.
 */
static void
nearest_fits(int64_t limit, int64_t burst, int64_t period_ms, int64_t *below, int64_t *above)
{
    *below = 0;
    *above = 0;
    for (int64_t d = 1; d * d <= period_ms; d++) {
        int64_t divisors[2] = {d, period_ms / d};

        if (period_ms % d != 0)
            continue;
        for (size_t i = 0; i < 2; i++) {
            int64_t divisor = divisors[i];
            int64_t highest = MAX_UNITS / (period_ms / divisor); /* when the burst is the limit */
            int64_t low = limit / divisor * divisor;
            int64_t high = low + divisor;

            if (burst == 0 && low > highest)
                low = highest / divisor * divisor;
            if (low < limit && low > *below && fits(low, burst, period_ms))
                *below = low;
            if ((*above == 0 || high < *above) && fits(high, burst, period_ms))
                *above = high;
        }
    }
}

static void explain_too_large(int64_t limit, int64_t burst, int64_t period_ms, struct error *error)
{
    char near_text[96] = "no limit near it fits";
    int64_t below;
    int64_t above;

    nearest_fits(limit, burst, period_ms, &below, &above);
    if (below != 0 && above != 0)
        snprintf(near_text, sizeof(near_text),
                 "the nearest limits that fit are %" PRId64 " and %" PRId64, below, above);
    else if (below != 0 || above != 0)
        snprintf(near_text, sizeof(near_text), "the nearest limit that fits is %" PRId64,
                 below != 0 ? below : above);
    error_set(error,
              "limit %" PRId64 " with burst %" PRId64 " in %" PRId64
              " s cannot be counted exactly: %s",
              limit, burst == 0 ? limit : burst, period_ms / 1000, near_text);
}

static void derive(struct limit_window *window)
{
    int64_t divisor = greatest_common_divisor(window->limit, window->period_ms);

    window->units_per_token = window->period_ms / divisor;
    window->units_per_ms = window->limit / divisor;
    window->capacity_units = window->burst * window->units_per_token;
    window->refill_ms = (window->capacity_units - 1) / window->units_per_ms + 1;
}

bool limit_window_init(struct limit_window *window,
                       int64_t limit,
                       int64_t burst,
                       int64_t period_ms,
                       struct error *error)
{
    assert(period_ms >= 1000);
    if (limit < 1 || limit > MAX_TOKENS) {
        error_set(error, "limit %" PRId64 " is out of 1 to 1000000000000", limit);
        return false;
    }
    if (burst < 0 || burst > MAX_TOKENS) {
        error_set(error, "burst %" PRId64 " is out of 1 to 1000000000000", burst);
        return false;
    }
    if (!fits(limit, burst, period_ms)) {
        explain_too_large(limit, burst, period_ms, error);
        return false;
    }
    *window = (struct limit_window){
        .period_ms = period_ms, .limit = limit, .burst = burst == 0 ? limit : burst};
    name_window(window->name, period_ms);
    derive(window);
    return true;
}

bool limit_policy_add(struct limit_policy *policy,
                      const struct limit_window *window,
                      struct error *error)
{
    size_t place = 0;

    while (place < policy->window_count && policy->windows[place].period_ms < window->period_ms)
        place++;
    if (place < policy->window_count && policy->windows[place].period_ms == window->period_ms) {
        error_set(error, "two windows of %" PRId64 " s (\"%s\")", window->period_ms / 1000,
                  window->name);
        return false;
    }
    if (policy->window_count == LIMIT_MAX_WINDOWS) {
        error_set(error, "more than %d windows", LIMIT_MAX_WINDOWS);
        return false;
    }
    memmove(&policy->windows[place + 1], &policy->windows[place],
            (policy->window_count - place) * sizeof(policy->windows[0]));
    policy->windows[place] = *window;
    policy->window_count++;
    return true;
}

int64_t limit_policy_max_cost(const struct limit_policy *policy)
{
    int64_t smallest = MAX_TOKENS;

    for (size_t i = 0; i < policy->window_count; i++)
        if (policy->windows[i].burst < smallest)
            smallest = policy->windows[i].burst;
    return smallest;
}

void limit_policy_share(const struct limit_policy *policy,
                        int64_t n,
                        int64_t largest_cost,
                        struct limit_policy *share)
{
    assert(n >= 1 && n <= 1000);
    *share = *policy;
    for (size_t i = 0; i < share->window_count; i++) {
        struct limit_window *window = &share->windows[i];

        window->burst = (window->burst + n - 1) / n;
        if (window->burst < largest_cost)
            window->burst = largest_cost;
        window->period_ms *= n;
        derive(window);
    }
}
