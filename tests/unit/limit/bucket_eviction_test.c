/* SPDX-License-Identifier: MIT */
/*
 * What goes when a shard is at its bound, asked of the shard itself: records with levels that the
 * test chose, by a generator with a fixed seed and a fixed hash key, so each run meets the same
 * samples. Whoever is left must be found under his own key with what he had.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

#include "kamiyo/base/hash.h"

#include "limit/bucket_eviction.h"
#include "random_support.h"
#include "table_support.h"

#define MOST_RECORDS 4000
#define SEEDS        12
#define SHORT        8   /* bytes of a key, so that 64 records share a chunk */
#define LONG         100 /* and here 25 */
#define HALF_HOUR_MS ((int64_t)30 * 60 * 1000)

struct owner {
    char key[LONG + 1];
    double spent; /* of both windows */
    bool is_gone;
};

struct fixture {
    struct bucket_shard shard;
    struct bucket_shapes *shapes;
    struct bucket_shape *shape;
    struct hash_key hash_key;
    struct random_source random;
    struct owner owners[MOST_RECORDS];
    size_t count;
};

static void setup(struct fixture *f, uint64_t seed)
{
    struct limit_policy policy;

    *f = (struct fixture){.hash_key = {1, seed}, .random = {seed}};
    table_policy(&policy, 10, 100);
    f->shapes = bucket_shapes_create();
    f->shape = bucket_shapes_ref(f->shapes, &policy, 1, 0);
    assert_true(
        bucket_shard_init(&f->shard, f->shapes, &f->hash_key, (size_t)64 << 20, seed * 977));
}

static void teardown(struct fixture *f)
{
    bucket_shard_clear(&f->shard);
    bucket_shape_unref(f->shape);
    bucket_shapes_destroy(&f->shapes);
}

static struct bucket_key key_of(const struct fixture *f, const struct owner *owner)
{
    struct bucket_key key = {.data = owner->key, .length = strlen(owner->key)};

    key.hash = hash_bytes(&f->hash_key, key.data, key.length);
    return key;
}

static int64_t level_of(const struct fixture *f, size_t window, double spent)
{
    return (int64_t)((double)f->shape->policy.windows[window].capacity_units * (1 - spent));
}

/* A record that has spent this part of its limits at `time_ms`, above 0: a full one need not be
 * kept. */
static struct owner *add(struct fixture *f, int key_length, double spent, int64_t time_ms)
{
    struct owner *owner = &f->owners[f->count];
    struct bucket_key key;
    struct bucket_record *record;

    assert_true(f->count < MOST_RECORDS);
    owner->spent = spent;
    snprintf(owner->key, sizeof(owner->key), "%0*zu", key_length, f->count++);
    key = key_of(f, owner);
    record = bucket_shard_put(&f->shard, &key, NULL, f->shape, time_ms);
    assert_non_null(record);
    record->time_ms = time_ms;
    for (size_t i = 0; i < 2; i++)
        record->levels[i] = level_of(f, i, spent);
    return owner;
}

static double random_spent(struct fixture *f, double least, double most)
{
    return least + (most - least) * (double)random_below(&f->random, 10001) / 10000;
}

static size_t units_of(int key_length)
{
    size_t size = sizeof(struct bucket_record) + 2 * sizeof(int64_t) + (size_t)key_length;

    return (size + BUCKET_SLAB_UNIT - 1) / BUCKET_SLAB_UNIT;
}

/* Note who has gone since the last look; everybody else is untouched. Returns how many went. */
static size_t look(struct fixture *f)
{
    size_t gone = 0;
    size_t left = 0;

    for (size_t i = 0; i < f->count; i++) {
        struct owner *owner = &f->owners[i];
        struct bucket_key key = key_of(f, owner);
        const struct bucket_record *record = bucket_shard_find(&f->shard, &key);

        if (record == NULL) {
            gone += !owner->is_gone;
            owner->is_gone = true;
            continue;
        }
        left++;
        assert_false(owner->is_gone);
        assert_memory_equal(bucket_record_key(record), owner->key, key.length);
        for (size_t j = 0; j < 2; j++)
            assert_int_equal(record->levels[j], level_of(f, j, owner->spent));
    }
    assert_int_equal(atomic_load(&f->shard.entries), left);
    assert_int_equal(atomic_load(&f->shard.buckets), 2 * left);
    assert_int_equal(atomic_load(&f->shard.evicted), f->count - left);
    return gone;
}

/* How many of those that have spent at least `spent` are gone. */
static size_t gone_of(const struct fixture *f, double spent)
{
    size_t gone = 0;

    for (size_t i = 0; i < f->count; i++)
        gone += f->owners[i].is_gone && f->owners[i].spent >= spent;
    return gone;
}

static void test_nothing_to_drop(void **state)
{
    static struct fixture f;

    (void)state;
    setup(&f, 1);
    assert_false(bucket_eviction_run(&f.shard, units_of(SHORT), TABLE_START));
    assert_false(bucket_eviction_run(&f.shard, BUCKET_EVICTION_ANY, TABLE_START));
    assert_false(bucket_eviction_run(&f.shard, BUCKET_EVICTION_CHUNK, TABLE_START));
    assert_int_equal(look(&f), 0);
    teardown(&f);
}

/* Of records of one size one goes at a time, and it is among the least spent. */
static void test_what_matters_least_goes_first(void **state)
{
    static struct fixture f;

    (void)state;
    for (uint64_t seed = 1; seed <= SEEDS; seed++) {
        double sum = 0;

        setup(&f, seed);
        for (int i = 0; i < 1000; i++)
            (void)add(&f, SHORT, random_spent(&f, 0.01, 1), TABLE_START);
        for (int i = 0; i < 250; i++) {
            size_t units = i % 2 == 0 ? units_of(SHORT) : BUCKET_EVICTION_ANY;

            assert_true(bucket_eviction_run(&f.shard, units, TABLE_START));
        }
        assert_int_equal(look(&f), 250);
        for (size_t i = 0; i < f.count; i++)
            sum += f.owners[i].is_gone ? f.owners[i].spent : 0;
        /* The least of eight is 1/9 on average at first, and more as the least are gone. */
        assert_true(sum / 250 < 0.25);
        assert_int_equal(gone_of(&f, 0.8), 0);
        teardown(&f);
    }
}

/* Time gives back: who spent all long ago matters less than who has just begun. */
static void test_what_has_refilled_matters_no_more(void **state)
{
    static struct fixture f;
    size_t recent = 0;

    (void)state;
    setup(&f, 7);
    for (int i = 0; i < 600; i++) {
        (void)add(&f, SHORT, 0.9, TABLE_START);
        (void)add(&f, SHORT, 0.5, TABLE_START + HALF_HOUR_MS); /* those of 0.9 have 0.4 by then */
    }
    for (int i = 0; i < 300; i++)
        assert_true(bucket_eviction_run(&f.shard, BUCKET_EVICTION_ANY, TABLE_START + HALF_HOUR_MS));
    assert_int_equal(look(&f), 300);
    for (size_t i = 1; i < f.count; i += 2)
        recent += f.owners[i].is_gone;
    print_message("%zu of 300 were recent\n", recent);
    assert_true(recent <= 15);
    teardown(&f);
}

/* A rare size whose records matter is not made to pay for a flood of another: a chunk of the flood
 * goes, and whoever matters in that chunk changes places with somebody who does not. */
static void test_a_rare_size_displaces_strangers(void **state)
{
    static struct fixture f;

    (void)state;
    for (uint64_t seed = 1; seed <= SEEDS; seed++) {
        size_t bytes;
        size_t gone;

        setup(&f, seed);
        for (int i = 0; i < 3000; i++)
            (void)add(&f, SHORT, i % 20 == 0 ? 1 : random_spent(&f, 0.05, 0.1), TABLE_START);
        for (int i = 0; i < 40; i++)
            (void)add(&f, LONG, 1, TABLE_START);
        for (int i = 0; i < 15; i++) {
            bytes = f.shard.slab.bytes;
            assert_true(bucket_eviction_run(&f.shard, units_of(LONG), TABLE_START));
            gone = look(&f);
            assert_true(gone >= 1 && gone <= 64);
            assert_int_equal(f.shard.slab.bytes,
                             bytes - BUCKET_SLAB_CHUNK_BYTES - BUCKET_SLAB_OVERHEAD);
        }
        assert_int_equal(gone_of(&f, 1), 0);
        teardown(&f);
    }
}

/* But a rare size whose own records do not matter pays itself, one by one. */
static void test_a_rare_size_that_matters_less_pays_itself(void **state)
{
    static struct fixture f;

    (void)state;
    setup(&f, 3);
    for (int i = 0; i < 1500; i++)
        (void)add(&f, SHORT, random_spent(&f, 0.5, 1), TABLE_START);
    for (int i = 0; i < 700; i++)
        (void)add(&f, LONG, 0.1, TABLE_START);
    for (int i = 0; i < 100; i++)
        assert_true(bucket_eviction_run(&f.shard, units_of(LONG), TABLE_START));
    assert_int_equal(look(&f), 100);
    assert_int_equal(gone_of(&f, 0.5), 0);
    teardown(&f);
}

/* Memory goes back a chunk at a time, those who matter last, until nothing is left, the ledger and
 * the policy's references included. */
static void test_chunks_go_until_nothing_is_left(void **state)
{
    static struct fixture f;
    size_t runs = 0;

    (void)state;
    setup(&f, 5);
    for (int i = 0; i < 2000; i++) {
        const struct owner *owner = add(&f, i % 3 == 0 ? LONG : SHORT,
                                        i % 10 == 0 ? 1 : random_spent(&f, 0.05, 0.2), TABLE_START);
        struct bucket_key key = key_of(&f, owner);

        bucket_shard_owe(&f.shard, bucket_shard_find(&f.shard, &key), 1);
    }
    while (atomic_load(&f.shard.entries) > 1000)
        assert_true(bucket_eviction_run(&f.shard, BUCKET_EVICTION_CHUNK, TABLE_START));
    (void)look(&f);
    assert_int_equal(atomic_load(&f.shard.debts), atomic_load(&f.shard.entries));
    /* What is typical is judged by a few: among so many who matter, some are taken for it. */
    print_message("%zu of 200 who spent all are gone, with half of everybody\n", gone_of(&f, 1));
    assert_true(gone_of(&f, 1) <= 20);
    /* A run may meet none of a few records among many slots: the index is to shrink first. */
    for (; atomic_load(&f.shard.entries) > 0 && runs < 10000; runs++) {
        (void)bucket_eviction_run(&f.shard, BUCKET_EVICTION_CHUNK, TABLE_START);
        bucket_index_step(&f.shard.index, 64);
    }
    (void)look(&f);
    assert_int_equal(gone_of(&f, 0), f.count);
    assert_int_equal(atomic_load(&f.shard.debts), 0);
    assert_int_equal(f.shard.slab.bytes,
                     f.shard.slab.chunk_capacity * sizeof(*f.shard.slab.chunks));
    teardown(&f);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_nothing_to_drop),
        cmocka_unit_test(test_what_matters_least_goes_first),
        cmocka_unit_test(test_what_has_refilled_matters_no_more),
        cmocka_unit_test(test_a_rare_size_displaces_strangers),
        cmocka_unit_test(test_a_rare_size_that_matters_less_pays_itself),
        cmocka_unit_test(test_chunks_go_until_nothing_is_left),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
