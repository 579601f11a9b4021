/* SPDX-License-Identifier: MIT */
/* The table: the same decisions as plain buckets, its bound, what it drops, and its memory for
 * other rooms. */
#include <pthread.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <time.h>

#include <cmocka.h>

#include "kamiyo/base/mem.h"
#include "kamiyo/limit/bucket_table.h"
#include "kamiyo/limit/limit_policy.h"

#define START  1000000
#define MEMORY ((uint64_t)16 << 20)

struct fixture {
    struct bucket_table *table;
    struct limit_policy policy;
    struct bucket_shape *shape;
};

static void policy_of(struct limit_policy *policy, int64_t minute, int64_t hour)
{
    struct limit_window window;

    *policy = (struct limit_policy){0};
    assert_true(limit_window_init(&window, minute, 0, 60000, NULL));
    assert_true(limit_policy_add(policy, &window, NULL));
    if (hour == 0)
        return;
    assert_true(limit_window_init(&window, hour, 0, 3600000, NULL));
    assert_true(limit_policy_add(policy, &window, NULL));
}

static void setup(struct fixture *f, uint64_t memory_bytes)
{
    f->table = bucket_table_create(memory_bytes);
    assert_non_null(f->table);
    policy_of(&f->policy, 10, 100);
    f->shape = bucket_shapes_ref(bucket_table_shapes(f->table), &f->policy, 1, 0);
}

static void teardown(struct fixture *f)
{
    bucket_shape_unref(f->shape);
    bucket_table_destroy(&f->table);
}

static struct bucket_key key_of(struct fixture *f, const char *text)
{
    struct bucket_key key;

    bucket_table_key(f->table, slice_of(text), (struct slice){NULL, 0}, &key);
    return key;
}

static bool take(struct fixture *f, const char *text, int64_t cost, int64_t now_ms)
{
    struct limit_decision decision;
    struct bucket_key key = key_of(f, text);

    return bucket_table_take(f->table, &key, f->shape, cost, now_ms, BUCKET_LEDGER_NONE, &decision);
}

static int64_t remaining(struct fixture *f, const char *text, int64_t now_ms)
{
    struct limit_decision decision;
    struct bucket_key key = key_of(f, text);

    (void)bucket_table_peek(f->table, &key, f->shape, 1, now_ms, &decision);
    return decision.levels[0].remaining;
}

static struct bucket_table_stats stats_of(struct fixture *f)
{
    struct bucket_table_stats stats;

    bucket_table_stats(f->table, &stats);
    return stats;
}

static uint64_t next_random(uint64_t *random)
{
    *random = *random * 6364136223846793005u + 1442695040888963407u;
    return *random >> 33;
}

static bool is_full(const struct bucket *buckets, const struct bucket_shape *shape, int64_t now_ms)
{
    for (size_t i = 0; i < shape->policy.window_count; i++) {
        struct bucket bucket = buckets[i];

        bucket_refill(&bucket, &shape->policy.windows[i], now_ms);
        if (bucket.level < shape->policy.windows[i].capacity_units)
            return false;
    }
    return true;
}

/* Keys of all lengths with and without routes, and policies that change, against arrays of buckets.
 */
static void test_decides_as_plain_buckets_do(void **state)
{
    enum {
        KEYS = 300
    };
    static struct bucket model[KEYS][2];
    static const struct bucket_shape *last[KEYS];
    struct fixture f;
    struct limit_policy other;
    struct bucket_shape *shapes[2];
    uint64_t random = 1;
    int64_t now_ms = START;

    (void)state;
    setup(&f, MEMORY);
    policy_of(&other, 20, 300);
    shapes[0] = f.shape;
    shapes[1] = bucket_shapes_ref(bucket_table_shapes(f.table), &other, 1, 0);
    for (size_t i = 0; i < KEYS; i++)
        last[i] = NULL;
    for (int step = 0; step < 60000; step++) {
        size_t n = next_random(&random) % KEYS;
        struct bucket_shape *shape = shapes[next_random(&random) % 16 == 0];
        int64_t cost = 1 + (int64_t)(next_random(&random) % 4);
        struct bucket before[2];
        bool is_changed;
        struct limit_decision expected = {0};
        struct limit_decision decision = {0};
        char text[160];
        struct bucket_key key;

        now_ms += (int64_t)(next_random(&random) % 40);
        snprintf(text, sizeof(text), "user:%0*zu", (int)(1 + n % 138), n);
        bucket_table_key(
            f.table, slice_of(text),
            n % 3 == 0 ? SLICE("a-route-of-the-longest-name-0123") : (struct slice){NULL, 0}, &key);
        /* Full under the old limits: it may have been dropped, or not yet. Either is right, so do
         * not change there. */
        if (last[n] != NULL && last[n] != shape && is_full(model[n], last[n], now_ms))
            shape = shapes[last[n] == shapes[1]];
        for (size_t i = 0; i < 2; i++) {
            if (last[n] == NULL)
                bucket_init(&model[n][i], &shape->policy.windows[i], now_ms);
            else if (last[n] != shape)
                bucket_change(&model[n][i], &last[n]->policy.windows[i], &shape->policy.windows[i]);
        }
        is_changed = last[n] != shape;
        last[n] = shape;
        if (next_random(&random) % 8 == 0) {
            int64_t tokens = (int64_t)(next_random(&random) % 20) - 8;

            bucket_table_adjust(f.table, &key, shape, tokens, now_ms, BUCKET_LEDGER_NONE);
            for (size_t i = 0; i < 2; i++) {
                bucket_refill(&model[n][i], &shape->policy.windows[i], now_ms);
                bucket_add(&model[n][i], &shape->policy.windows[i], tokens);
            }
            continue;
        }
        memcpy(before, model[n], sizeof(before));
        if (!bucket_decide(model[n], &shape->policy, cost, now_ms, &expected) && !is_changed)
            memcpy(model[n], before, sizeof(before)); /* a denial is not written down */
        (void)bucket_table_take(f.table, &key, shape, cost, now_ms, BUCKET_LEDGER_NONE, &decision);
        assert_memory_equal(&decision, &expected, sizeof(decision));
    }
    bucket_shape_unref(shapes[1]);
    teardown(&f);
}

static void test_full_buckets_are_dropped(void **state)
{
    struct fixture f;
    size_t dropped = 0;
    size_t idle;

    (void)state;
    setup(&f, MEMORY);
    idle = stats_of(&f).bytes;
    for (int i = 0; i < 50000; i++) {
        char text[32];

        snprintf(text, sizeof(text), "user:%d", i);
        assert_true(take(&f, text, 1, START));
    }
    assert_int_equal(stats_of(&f).entries, 50000);
    assert_int_equal(stats_of(&f).buckets, 100000);
    assert_true(remaining(&f, "user:77", START) == 9);
    for (size_t shard = 0; shard < bucket_table_shard_count(f.table); shard++) {
        size_t cursor = 0;

        /* the minute is full after 6 s, the hour after 36 s */
        assert_int_equal(bucket_table_sweep(f.table, shard, &cursor, 1 << 20, START + 35999), 0);
        do
            dropped += bucket_table_sweep(f.table, shard, &cursor, 512, START + 36000);
        while (cursor != 0);
        for (int i = 0; i < 200; i++) /* and the arrays shrink */
            (void)bucket_table_sweep(f.table, shard, &cursor, 512, START + 36000);
    }
    assert_int_equal(dropped, 50000);
    assert_int_equal(stats_of(&f).entries, 0);
    assert_int_equal(stats_of(&f).buckets, 0);
    assert_true(stats_of(&f).bytes < idle + bucket_table_shard_count(f.table) * 4096);
    teardown(&f);
}

static void test_a_hundred_thousand_users_take_little(void **state)
{
    struct fixture f;

    (void)state;
    setup(&f, (uint64_t)64 << 20);
    for (int i = 0; i < 100000; i++) {
        char text[32];

        snprintf(text, sizeof(text), "ip:10.1.%d.%d", i >> 8, i & 255);
        assert_true(strlen(text) <= 16);
        assert_true(take(&f, text, 1, START));
    }
    assert_int_equal(stats_of(&f).entries, 100000);
    print_message("%.1f bytes a bucket of two windows\n", (double)stats_of(&f).bytes / 100000);
    assert_true(stats_of(&f).bytes <= 88 * 100000);
    teardown(&f);
}

/* Whoever has spent the limits keeps standing while strangers pass by in millions. */
static void test_a_flood_displaces_itself(void **state)
{
    enum {
        VICTIMS = 200,
        FLOOD = 400000
    };
    struct fixture f;
    uint64_t memory_bytes = (uint64_t)1 << 20;
    int kept = 0;
    char text[64];

    (void)state;
    setup(&f, memory_bytes);
    for (int i = 0; i < VICTIMS; i++) {
        snprintf(text, sizeof(text), "ip:192.0.2.%d", i);
        assert_true(take(&f, text, 10, START));
    }
    for (int i = 0; i < FLOOD; i++) {
        snprintf(text, sizeof(text), "ip:2001:db8::%x:%x%s", i >> 16, i & 0xffff,
                 i % 3 == 0 ? "/64" : "");
        assert_true(take(&f, text, 1, START));
        if (i % 1000 == 0)
            assert_true(stats_of(&f).bytes <= memory_bytes + 4096);
    }
    for (int i = 0; i < VICTIMS; i++) {
        snprintf(text, sizeof(text), "ip:192.0.2.%d", i);
        kept += remaining(&f, text, START) == 0;
    }
    print_message("%d of %d kept, %zu entries, %zu evicted\n", kept, VICTIMS,
                  (size_t)stats_of(&f).entries, (size_t)stats_of(&f).evicted);
    assert_true(kept >= VICTIMS * 97 / 100);
    assert_true(stats_of(&f).entries > memory_bytes / 128);
    assert_true(stats_of(&f).bytes <= memory_bytes + 4096);
    teardown(&f);
}

static void test_a_smaller_bound_is_reached_by_sweeping(void **state)
{
    struct fixture f;
    size_t cursor = 0;

    (void)state;
    setup(&f, MEMORY);
    for (int i = 0; i < 100000; i++) {
        char text[32];

        snprintf(text, sizeof(text), "user:%d", i);
        (void)take(&f, text, 1, START);
    }
    assert_true(stats_of(&f).bytes > 6 << 20);
    bucket_table_set_memory(f.table, 2 << 20);
    for (size_t shard = 0; shard < bucket_table_shard_count(f.table); shard++)
        for (int i = 0; i < 1000; i++)
            (void)bucket_table_sweep(f.table, shard, &cursor, 64, START);
    assert_true(stats_of(&f).bytes <= 2 << 20);
    assert_true(stats_of(&f).entries > 1000);
    teardown(&f);
}

static int64_t thread_ns(void)
{
    struct timespec now;

    clock_gettime(CLOCK_THREAD_CPUTIME_ID, &now);
    return now.tv_sec * 1000000000 + now.tv_nsec;
}

/* The sanitizers' own pauses are not ours. */
#if defined(__SANITIZE_ADDRESS__) || defined(__SANITIZE_THREAD__)
#define IS_SANITIZED true
#else
#define IS_SANITIZED false
#endif

/* The longest insert of a million, in this thread's own time. */
static int64_t longest_insert(void)
{
    struct fixture f;
    int64_t longest = 0;
    int64_t before;

    setup(&f, (uint64_t)128 << 20);
    before = thread_ns();
    for (int i = 0; i < 1000000; i++) {
        char text[32];
        int64_t after;

        snprintf(text, sizeof(text), "user:%d", i);
        (void)take(&f, text, 1, START);
        after = thread_ns();
        if (after - before > longest)
            longest = after - before;
        before = after;
    }
    assert_int_equal(stats_of(&f).entries, 1000000);
    teardown(&f);
    return longest;
}

/* A busy machine adds pauses of its own: one quiet run of three shows that none are ours. */
static void test_grows_without_a_pause(void **state)
{
    int64_t longest = longest_insert();

    (void)state;
    for (int i = 0; i < 2 && longest >= 1000000 && !IS_SANITIZED; i++)
        longest = longest_insert();
    print_message("longest insert of a million %.0f us\n", (double)longest / 1000);
    assert_true(IS_SANITIZED || longest < 1000000);
}

static struct bucket_mirror
mirror_of(struct fixture *f, const struct bucket_key *key, int64_t minute, int64_t hour)
{
    return (struct bucket_mirror){.generation = bucket_table_generation(f->table, key),
                                  .levels = {minute * f->policy.windows[0].units_per_token,
                                             hour * f->policy.windows[1].units_per_token}};
}

static void test_mirrors_and_remembers_denials(void **state)
{
    struct fixture f;
    struct limit_policy larger;
    struct bucket_shape *other;
    struct bucket_mirror mirror;
    struct limit_decision decision;
    struct bucket_key key;

    (void)state;
    setup(&f, MEMORY);
    key = key_of(&f, "user:123");
    mirror = mirror_of(&f, &key, 3, 50);
    bucket_table_mirror(f.table, &key, f.shape, &mirror, START);
    assert_int_equal(remaining(&f, "user:123", START), 3);
    assert_false(bucket_table_is_denied(f.table, &key, f.shape, 4, START, &decision));

    mirror.denied_cost = 4;
    mirror.denied_until_ms = START + 990;
    bucket_table_mirror(f.table, &key, f.shape, &mirror, START + 10);
    assert_false(bucket_table_is_denied(f.table, &key, f.shape, 3, START + 20, &decision));
    assert_true(bucket_table_is_denied(f.table, &key, f.shape, 4, START + 20, &decision));
    assert_int_equal(decision.outcome, LIMIT_DENIED);
    assert_int_equal(decision.wait_ms, 5990);
    assert_int_equal(decision.levels[0].remaining, 3);
    assert_true(bucket_table_is_denied(f.table, &key, f.shape, 5, START + 989, &decision));
    assert_false(bucket_table_is_denied(f.table, &key, f.shape, 5, START + 990, &decision));

    /* one that refuses less for less long does not replace it */
    mirror.denied_until_ms = START + 2000;
    bucket_table_mirror(f.table, &key, f.shape, &mirror, START + 1000);
    mirror.denied_cost = 5;
    mirror.denied_until_ms = START + 1900;
    bucket_table_mirror(f.table, &key, f.shape, &mirror, START + 1000);
    assert_true(bucket_table_is_denied(f.table, &key, f.shape, 4, START + 1950, &decision));

    /* another tier, a refund, a reset */
    policy_of(&larger, 20, 200);
    other = bucket_shapes_ref(bucket_table_shapes(f.table), &larger, 1, 0);
    assert_false(bucket_table_is_denied(f.table, &key, other, 4, START + 1100, &decision));
    assert_false(bucket_table_is_denied(f.table, &key, f.shape, 4, START + 1100, &decision));
    bucket_shape_unref(other);
    bucket_table_mirror(f.table, &key, f.shape, &mirror, START + 1100);
    assert_true(bucket_table_is_denied(f.table, &key, f.shape, 5, START + 1110, &decision));
    bucket_table_forget_denial(f.table, &key);
    assert_false(bucket_table_is_denied(f.table, &key, f.shape, 5, START + 1110, &decision));
    bucket_table_mirror(f.table, &key, f.shape, &mirror, START + 1100);
    assert_int_equal(bucket_table_reset(f.table, &key), 2);
    assert_int_equal(bucket_table_reset(f.table, &key), 0);
    assert_false(bucket_table_is_denied(f.table, &key, f.shape, 5, START + 1110, &decision));
    assert_int_equal(remaining(&f, "user:123", START + 1110), 10);

    /* a reply from before the reset is too late */
    bucket_table_mirror(f.table, &key, f.shape, &mirror, START + 1120);
    assert_int_equal(remaining(&f, "user:123", START + 1120), 10);

    /* full again: nothing to remember */
    mirror = mirror_of(&f, &key, 3, 50);
    bucket_table_mirror(f.table, &key, f.shape, &mirror, START + 1130);
    assert_int_equal(stats_of(&f).entries, 1);
    mirror = mirror_of(&f, &key, 10, 100);
    bucket_table_mirror(f.table, &key, f.shape, &mirror, START + 1140);
    assert_int_equal(stats_of(&f).entries, 0);
    teardown(&f);
}

static size_t collect_all(struct fixture *f, struct bucket_debt *debts, size_t most)
{
    size_t count = 0;

    for (size_t shard = 0; shard < bucket_table_shard_count(f->table); shard++) {
        size_t cursor = 0;

        do
            count +=
                bucket_table_collect(f->table, shard, &cursor, 100, debts + count, most - count);
        while (cursor != 0);
        assert_false(bucket_table_has_debt(f->table, shard));
    }
    return count;
}

static void test_the_ledger_is_collected_once(void **state)
{
    struct fixture f;
    struct bucket_debt debts[8];
    struct bucket_key key;
    struct bucket_mirror mirror;
    struct bucket_shape *share;
    struct limit_decision decision;

    (void)state;
    setup(&f, MEMORY);
    bucket_table_key(f.table, SLICE("user:123"), SLICE("webhooks"), &key);
    assert_int_equal(collect_all(&f, debts, 8), 0);
    share = bucket_shapes_ref(bucket_table_shapes(f.table), &f.policy, 2, 1);
    assert_true(bucket_table_take(f.table, &key, share, 3, START, BUCKET_LEDGER_ADD, &decision));
    assert_int_equal(decision.levels[0].capacity, 5);
    assert_int_equal(decision.levels[0].remaining, 2);
    assert_false(bucket_table_take(f.table, &key, share, 3, START, BUCKET_LEDGER_ADD, &decision));
    bucket_table_adjust(f.table, &key, share, 4, START, BUCKET_LEDGER_ADD);
    bucket_table_adjust(f.table, &key, share, -1, START, BUCKET_LEDGER_ADD);
    bucket_table_add_debt(f.table, &key, f.shape, 2, START);

    /* what Redis says lacks the ledger: it is taken off here */
    mirror = mirror_of(&f, &key, 10, 60);
    bucket_table_mirror(f.table, &key, f.shape, &mirror, START + 10);
    (void)bucket_table_peek(f.table, &key, f.shape, 1, START + 10, &decision);
    assert_int_equal(decision.levels[0].remaining, 2);
    assert_int_equal(decision.levels[1].remaining, 52);

    /* full again, but owing: it stays until it was collected */
    for (size_t shard = 0; shard < bucket_table_shard_count(f.table); shard++) {
        size_t cursor = 0;

        assert_int_equal(bucket_table_sweep(f.table, shard, &cursor, 1000, START + 10000000), 0);
    }
    assert_int_equal(collect_all(&f, debts, 8), 1);
    assert_int_equal(debts[0].tokens, 8);
    assert_ptr_equal(debts[0].shape, f.shape);
    assert_int_equal(debts[0].key_length, 8);
    assert_memory_equal(debts[0].key, "user:123", 8);
    assert_int_equal(debts[0].route_length, 8);
    assert_memory_equal(debts[0].route, "webhooks", 8);
    bucket_shape_unref(debts[0].shape);
    assert_int_equal(collect_all(&f, debts, 8), 0);

    /* a debt alone makes an entry */
    key = key_of(&f, "ip:192.0.2.1");
    bucket_table_add_debt(f.table, &key, f.shape, 1, START);
    assert_int_equal(collect_all(&f, debts, 8), 1);
    assert_int_equal(debts[0].route_length, 0);
    bucket_shape_unref(debts[0].shape);
    bucket_shape_unref(share);
    teardown(&f);
}

static void test_other_windows_carry_over_what_they_share(void **state)
{
    struct fixture f;
    struct limit_policy minute_only;
    struct bucket_shape *shape;
    struct limit_decision decision;
    struct bucket_key key;

    (void)state;
    setup(&f, MEMORY);
    policy_of(&minute_only, 30, 0);
    shape = bucket_shapes_ref(bucket_table_shapes(f.table), &minute_only, 1, 0);
    key = key_of(&f, "user:123");
    assert_true(take(&f, "user:123", 4, START));
    assert_true(bucket_table_take(f.table, &key, shape, 1, START, BUCKET_LEDGER_NONE, &decision));
    assert_int_equal(decision.levels[0].remaining, 25);
    assert_int_equal(stats_of(&f).buckets, 1);
    assert_true(take(&f, "user:123", 1, START));
    assert_int_equal(remaining(&f, "user:123", START), 4);
    assert_int_equal(stats_of(&f).buckets, 2);
    bucket_shape_unref(shape);
    teardown(&f);
}

static void test_shapes_are_used_again(void **state)
{
    struct bucket_shapes *shapes = bucket_shapes_create();
    struct limit_policy policy;
    struct bucket_shape *first;
    struct bucket_shape *share;
    uint16_t index;

    (void)state;
    policy_of(&policy, 10, 100);
    first = bucket_shapes_ref(shapes, &policy, 1, 0);
    assert_ptr_equal(bucket_shapes_ref(shapes, &policy, 1, 0), first);
    bucket_shape_unref(first);
    share = bucket_shapes_ref(shapes, &policy, 3, 1);
    assert_ptr_not_equal(share, first);
    assert_ptr_equal(share->base, first);
    assert_true(bucket_shape_is(share, &policy, 3, 1));
    assert_false(bucket_shape_is(share, &policy, 3, 2));
    assert_false(bucket_shape_is(share, &policy, 1, 0));
    bucket_shape_unref(first);
    index = share->index;
    bucket_shape_unref(share);
    for (int64_t i = 0; i < 100000; i++) { /* many reloads, each with limits of its own */
        policy_of(&policy, 20 + i % 1000, 0);
        share = bucket_shapes_ref(shapes, &policy, 2 + i % 7, 1);
        assert_true(share->index <= index + 3);
        bucket_shape_unref(share);
    }
    bucket_shapes_destroy(&shapes);
    assert_null(shapes);
}

struct worker {
    struct fixture *fixture;
    struct fixture *shared; /* a table large enough to keep what it has */
    pthread_t thread;
    uint64_t random;
    int64_t admitted;
};

/* All operations on a small table at its bound; and one bucket that all share. */
static void *run_worker(void *arg)
{
    struct worker *worker = arg;
    struct fixture *f = worker->fixture;
    struct limit_decision decision;
    struct limit_policy policy;
    struct bucket_shape *large;
    struct bucket_shape *shared;
    struct bucket_key key;
    struct bucket_debt debts[4];

    policy_of(&policy, 1000, 5000);
    large = bucket_shapes_ref(bucket_table_shapes(f->table), &policy, 1, 0);
    shared = bucket_shapes_ref(bucket_table_shapes(worker->shared->table), &policy, 1, 0);
    for (int i = 0; i < 12000; i++) {
        uint64_t number = next_random(&worker->random);
        char text[64];
        size_t cursor = number % 64;
        size_t shard = number % bucket_table_shard_count(f->table);

        if (i % 10 == 0) {
            key = key_of(worker->shared, "user:shared");
            worker->admitted += bucket_table_take(worker->shared->table, &key, shared, 1, START,
                                                  BUCKET_LEDGER_NONE, &decision);
        }
        snprintf(text, sizeof(text), "user:%0*u", (int)(number % 30), (unsigned)(number % 4000));
        key = key_of(f, text);
        switch (number >> 16 & 7) {
        case 0: {
            struct bucket_mirror mirror = mirror_of(f, &key, 1, 5);

            mirror.denied_cost = 2;
            mirror.denied_until_ms = START + 100;
            bucket_table_mirror(f->table, &key, f->shape, &mirror, START);
            break;
        }
        case 1:
            (void)bucket_table_is_denied(f->table, &key, f->shape, 2, START, &decision);
            break;
        case 2:
            (void)bucket_table_reset(f->table, &key);
            break;
        case 3:
            bucket_table_adjust(f->table, &key, f->shape, 2, START, BUCKET_LEDGER_ADD);
            break;
        case 4:
            for (size_t n = bucket_table_collect(f->table, shard, &cursor, 50, debts, 4); n > 0;
                 n--)
                bucket_shape_unref(debts[n - 1].shape);
            break;
        case 5:
            (void)bucket_table_sweep(f->table, shard, &cursor, 20, START + i);
            break;
        default:
            (void)bucket_table_take(f->table, &key, number % 5 == 0 ? large : f->shape, 1, START,
                                    BUCKET_LEDGER_NONE, &decision);
        }
    }
    bucket_shape_unref(large);
    bucket_shape_unref(shared);
    return NULL;
}

static void test_threads_share_it(void **state)
{
    struct worker workers[4];
    struct fixture f;
    struct fixture shared;
    int64_t admitted = 0;

    (void)state;
    setup(&f, 256 * 1024);
    setup(&shared, MEMORY);
    for (size_t i = 0; i < 4; i++) {
        workers[i] = (struct worker){.fixture = &f, .shared = &shared, .random = i + 1};
        assert_int_equal(pthread_create(&workers[i].thread, NULL, run_worker, &workers[i]), 0);
    }
    for (size_t i = 0; i < 4; i++) {
        assert_int_equal(pthread_join(workers[i].thread, NULL), 0);
        admitted += workers[i].admitted;
    }
    assert_int_equal(admitted, 1000);
    assert_true(stats_of(&f).bytes <= 256 * 1024 + 2 * 4096);
    teardown(&f);
    teardown(&shared);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_decides_as_plain_buckets_do),
        cmocka_unit_test(test_full_buckets_are_dropped),
        cmocka_unit_test(test_a_hundred_thousand_users_take_little),
        cmocka_unit_test(test_a_flood_displaces_itself),
        cmocka_unit_test(test_a_smaller_bound_is_reached_by_sweeping),
        cmocka_unit_test(test_grows_without_a_pause),
        cmocka_unit_test(test_mirrors_and_remembers_denials),
        cmocka_unit_test(test_the_ledger_is_collected_once),
        cmocka_unit_test(test_other_windows_carry_over_what_they_share),
        cmocka_unit_test(test_shapes_are_used_again),
        cmocka_unit_test(test_threads_share_it),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
