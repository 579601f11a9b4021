/* SPDX-License-Identifier: MIT */
/*
 * Token buckets in whole numbers. Nothing is ever rounded away: a bucket that is touched each
 * millisecond gains exactly what one left alone gains. Rounding happens only where a person or a
 * client reads a number, and then to the side that keeps a promise: waits up, remaining tokens
 * down.
 *
 * bucket_table.c and limiter_redis.c call this; bucket.lua is its twin in Redis.
 */
#include "kamiyo/limit/bucket.h"

#include <assert.h>

__extension__ typedef __int128 wide;

const struct slice limit_mode_names[LIMIT_MODE_COUNT] = {
    [LIMIT_MODE_REDIS] = {"redis", 5},
    [LIMIT_MODE_MEMORY] = {"memory", 6},
    [LIMIT_MODE_FALLBACK] = {"fallback", 8},
    [LIMIT_MODE_CACHED] = {"cached", 6},
};

static int64_t divide_up(int64_t dividend, int64_t divisor)
{
    return dividend / divisor + (dividend % divisor != 0);
}

/* Levels never fall below this: a debt as deep as the deepest bucket. */
static int64_t floor_of(const struct limit_window *window)
{
    return window->capacity_units > BUCKET_MAX_UNITS ? -window->capacity_units : -BUCKET_MAX_UNITS;
}

static int64_t clamp_level(const struct limit_window *window, wide level)
{
    if (level > window->capacity_units)
        return window->capacity_units;
    return level < floor_of(window) ? floor_of(window) : (int64_t)level;
}

static wide divide_down(wide dividend, wide divisor)
{
    wide quotient = dividend / divisor;

    return quotient - (dividend % divisor < 0);
}

void bucket_init(struct bucket *bucket, const struct limit_window *window, int64_t now_ms)
{
    bucket->level = window->capacity_units;
    bucket->time_ms = now_ms;
}

void bucket_refill(struct bucket *bucket, const struct limit_window *window, int64_t now_ms)
{
    int64_t missing = window->capacity_units - bucket->level;
    int64_t elapsed = now_ms - bucket->time_ms;
    int64_t gained;

    if (missing < 0) {
        bucket->level = window->capacity_units;
        missing = 0;
    }
    if (elapsed <= 0) {
        if (-elapsed > window->period_ms)
            bucket->time_ms = now_ms;
        return;
    }
    bucket->time_ms = now_ms;
    /* A product beyond 2^63 is more than any bucket lacks. */
    if (__builtin_mul_overflow(elapsed, window->units_per_ms, &gained) || gained >= missing)
        bucket->level = window->capacity_units;
    else
        bucket->level += gained;
}

/* Milliseconds until `units` are there. */
static int64_t wait_for_units(const struct bucket *bucket,
                              const struct limit_window *window,
                              int64_t units,
                              int64_t now_ms)
{
    int64_t ahead = bucket->time_ms - now_ms;

    if (bucket->level >= units)
        return 0;
    return divide_up(units - bucket->level, window->units_per_ms) + (ahead > 0 ? ahead : 0);
}

int64_t bucket_wait(const struct bucket *bucket,
                    const struct limit_window *window,
                    int64_t tokens,
                    int64_t now_ms)
{
    if (tokens > window->burst)
        return BUCKET_NEVER_MS;
    return wait_for_units(bucket, window, tokens * window->units_per_token, now_ms);
}

int64_t bucket_longest_wait(const struct bucket *buckets,
                            const struct limit_policy *policy,
                            int64_t tokens,
                            int64_t now_ms)
{
    int64_t longest_ms = 0;

    for (size_t i = 0; i < policy->window_count; i++) {
        int64_t wait_ms = bucket_wait(&buckets[i], &policy->windows[i], tokens, now_ms);

        if (wait_ms > longest_ms)
            longest_ms = wait_ms;
    }
    return longest_ms;
}

int64_t bucket_level(const struct bucket *bucket, const struct limit_window *window, int64_t now_ms)
{
    return clamp_level(window,
                       bucket->level - (wide)(bucket->time_ms - now_ms) * window->units_per_ms);
}

void bucket_add(struct bucket *bucket, const struct limit_window *window, int64_t tokens)
{
    bucket->level =
        clamp_level(window, (wide)bucket->level - (wide)tokens * window->units_per_token);
}

void bucket_lack(struct bucket *bucket,
                 const struct limit_window *window,
                 int64_t tokens,
                 int64_t elapsed_ms,
                 int64_t others)
{
    wide lacking = (wide)window->capacity_units - bucket->level;
    wide needed = (wide)tokens * window->units_per_token - (wide)elapsed_ms * window->units_per_ms;
    wide beside = (wide)others * window->units_per_token;

    if (needed <= 0)
        return;
    if (beside > 0)
        needed += beside < lacking ? beside : lacking;
    if (lacking < needed)
        bucket->level = clamp_level(window, window->capacity_units - needed);
}

void bucket_change(struct bucket *bucket,
                   const struct limit_window *from,
                   const struct limit_window *to)
{
    wide level = bucket->level;

    if (from->units_per_token != to->units_per_token)
        level = divide_down(2 * level * to->units_per_token + from->units_per_token,
                            2 * (wide)from->units_per_token);
    bucket->level = clamp_level(to, level + (wide)(to->burst - from->burst) * to->units_per_token);
}

void bucket_rescale(struct bucket *bucket,
                    const struct limit_window *from,
                    const struct limit_window *to)
{
    wide level = (wide)bucket->level * to->units_per_token;

    bucket->level = clamp_level(to, divide_down(level, from->units_per_token));
}

bool bucket_decide(struct bucket *buckets,
                   const struct limit_policy *policy,
                   int64_t cost,
                   int64_t now_ms,
                   struct limit_decision *decision)
{
    bool allowed = true;

    for (size_t i = 0; i < policy->window_count; i++) {
        const struct limit_window *window = &policy->windows[i];

        bucket_refill(&buckets[i], window, now_ms);
        if (cost > window->burst || buckets[i].level < cost * window->units_per_token)
            allowed = false;
    }
    if (allowed)
        for (size_t i = 0; i < policy->window_count; i++)
            buckets[i].level -= cost * policy->windows[i].units_per_token;
    bucket_describe(buckets, policy, cost, now_ms, allowed, decision);
    return allowed;
}

static void describe_window(const struct bucket *bucket,
                            const struct limit_window *window,
                            int64_t cost,
                            int64_t now_ms,
                            bool allowed,
                            struct limit_level *level)
{
    level->capacity = window->burst;
    level->remaining = bucket->level > 0 ? bucket->level / window->units_per_token : 0;
    level->refill_ms = window->refill_ms;
    level->full_ms = wait_for_units(bucket, window, window->capacity_units, now_ms);
    level->wait_ms = allowed ? 0 : bucket_wait(bucket, window, cost, now_ms);
}

/* Whether bucket a has a smaller part of its capacity left than b. */
static bool is_emptier(const struct bucket *a,
                       const struct limit_window *a_window,
                       const struct bucket *b,
                       const struct limit_window *b_window)
{
    return (wide)a->level * b_window->capacity_units < (wide)b->level * a_window->capacity_units;
}

void bucket_describe(const struct bucket *buckets,
                     const struct limit_policy *policy,
                     int64_t cost,
                     int64_t now_ms,
                     bool allowed,
                     struct limit_decision *decision)
{
    size_t binding = 0;

    assert(policy->window_count >= 1 && policy->window_count <= LIMIT_MAX_WINDOWS);
    for (size_t i = 0; i < policy->window_count; i++) {
        const struct limit_window *windows = policy->windows;

        describe_window(&buckets[i], &windows[i], cost, now_ms, allowed, &decision->levels[i]);
        /* Windows stand shortest first: a tie goes to the longer one on a denial, else to the
         * shorter. */
        if (allowed ? is_emptier(&buckets[i], &windows[i], &buckets[binding], &windows[binding])
                    : decision->levels[i].wait_ms >= decision->levels[binding].wait_ms)
            binding = i;
    }
    decision->outcome = allowed ? LIMIT_ALLOWED : LIMIT_DENIED;
    decision->window_count = policy->window_count;
    decision->binding = binding;
    decision->wait_ms = allowed ? 0 : decision->levels[binding].wait_ms;
    /* A clock that moved between decision and description must not promise an immediate retry. */
    if (!allowed && decision->wait_ms < 1)
        decision->wait_ms = 1;
}
