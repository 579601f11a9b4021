/* SPDX-License-Identifier: MIT */
/*
 * The sketch of denials beside a model that forgets nothing: exact while there
 * is room, within its bounds under a flood, and only of the last minute.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "kamiyo/base/mem.h"
#include "kamiyo/observe/denials.h"

#include "support/random_support.h"

#define LIST 100

static struct denials_client list[DENIALS_MAX_CLIENTS];

static const char lane[1];
static const char window[1];

/* As the data path does: told whole only when it is not known. */
static void deny(struct denials *denials, const char *key, int64_t now_ms)
{
    const struct denial denial = {
        .key = slice_of(key),
        .tier = SLICE("free"),
        .route = SLICE("default"),
        .window = SLICE("minute"),
        .lane = lane,
        .window_id = window,
    };

    if (!denials_recount(denials, denial.key, lane, window, now_ms * 1000))
        denials_count(denials, &denial, now_ms * 1000);
}

static size_t top(const struct denials *denials, int64_t now_ms, size_t max)
{
    return denials_top(denials, now_ms * 1000, list, max);
}

static void assert_text(const char *bytes, size_t length, const char *text)
{
    assert_int_equal(length, strlen(text));
    assert_memory_equal(bytes, text, length);
}

static const struct denials_client *find(size_t count, const char *key)
{
    for (size_t i = 0; i < count; i++) {
        if (slice_equal((struct slice){list[i].key, list[i].key_length}, slice_of(key)))
            return &list[i];
    }
    return NULL;
}

static void test_few_clients_are_exact(void **state)
{
    struct denials *denials = denials_create();
    size_t count;

    (void)state;
    assert_int_equal(top(denials, 5000, LIST), 0);
    for (int i = 0; i < 7; i++)
        deny(denials, "user:b", 5000);
    for (int i = 0; i < 9; i++)
        deny(denials, "ip:192.0.2.1", 5100);
    for (int i = 0; i < 7; i++)
        deny(denials, "user:a", 5200);
    count = top(denials, 5300, LIST);
    assert_int_equal(count, 3);
    assert_text(list[0].key, list[0].key_length, "ip:192.0.2.1");
    assert_int_equal(list[0].denied, 9);
    assert_int_equal(list[0].denied_at_most, 9);
    assert_text(list[0].tier, list[0].tier_length, "free");
    assert_text(list[0].route, list[0].route_length, "default");
    assert_text(list[0].window, list[0].window_length, "minute");
    assert_text(list[1].key, list[1].key_length, "user:a");
    assert_text(list[2].key, list[2].key_length, "user:b");
    assert_int_equal(top(denials, 5300, 1), 1);
    assert_text(list[0].key, list[0].key_length, "ip:192.0.2.1");
    denials_destroy(&denials);
    assert_null(denials);
    denials_destroy(&denials);
}

/* Keys of every length are told apart, the longest by what is hashed of them. */
static void test_keys_of_every_length(void **state)
{
    struct denials *denials = denials_create();
    char key[DENIALS_KEY_BYTES + 40];
    size_t count;

    (void)state;
    memset(key, 'k', sizeof(key));
    for (size_t length = 1; length <= sizeof(key); length += 9) {
        const struct denial denial = {.key = {key, length}};

        denials_count(denials, &denial, 1);
        denials_count(denials, &denial, 1);
    }
    count = top(denials, 2, LIST);
    assert_int_equal(count, (sizeof(key) - 1) / 9 + 1);
    for (size_t i = 0; i < count; i++)
        assert_int_equal(list[i].denied, 2);
    denials_destroy(&denials);
}

static void test_only_the_last_minute(void **state)
{
    struct denials *denials = denials_create();
    const int64_t begin = 77 * DENIALS_SLOT_MS;
    size_t count;

    (void)state;
    deny(denials, "user:early", begin);
    deny(denials, "user:both", begin + DENIALS_SLOT_MS - 1);
    deny(denials, "user:both", begin + 3 * DENIALS_SLOT_MS);
    count = top(denials, begin + 6 * DENIALS_SLOT_MS - 1, LIST);
    assert_int_equal(count, 2);
    assert_int_equal(find(count, "user:both")->denied, 2);
    count = top(denials, begin + 6 * DENIALS_SLOT_MS, LIST);
    assert_int_equal(count, 1);
    assert_int_equal(find(count, "user:both")->denied, 1);
    assert_int_equal(top(denials, begin + 9 * DENIALS_SLOT_MS, LIST), 0);
    /* What comes after a long silence does not bring back what was before. */
    deny(denials, "user:late", begin + 1000 * DENIALS_SLOT_MS);
    count = top(denials, begin + 1000 * DENIALS_SLOT_MS, LIST);
    assert_int_equal(count, 1);
    assert_text(list[0].key, list[0].key_length, "user:late");
    denials_destroy(&denials);
}

static void test_names_are_of_the_last_denial(void **state)
{
    struct denials *denials = denials_create();
    const char other[1] = {0};
    struct denial denial = {.key = SLICE("user:a"),
                            .tier = SLICE("pro"),
                            .route = SLICE("search"),
                            .window = SLICE("hour"),
                            .lane = lane,
                            .window_id = window};

    (void)state;
    assert_false(denials_recount(denials, denial.key, lane, window, 1));
    denials_count(denials, &denial, 1);
    assert_true(denials_recount(denials, denial.key, lane, window, 2));
    assert_false(denials_recount(denials, denial.key, other, window, 3));
    assert_false(denials_recount(denials, denial.key, lane, other, 3));
    denial.window = SLICE("minute");
    denial.window_id = other;
    denials_count(denials, &denial, 3);
    assert_true(denials_recount(denials, denial.key, lane, other, 4));
    assert_int_equal(top(denials, 1, LIST), 1);
    assert_text(list[0].window, list[0].window_length, "minute");
    assert_int_equal(list[0].denied, 4);
    /* After a reload the same ids may stand for something else. */
    denials_forget_names(denials);
    assert_false(denials_recount(denials, denial.key, lane, other, 5));
    /* What has no lane is told whole each time. */
    denial.lane = NULL;
    denial.tier = SLICE("a name that is longer than what is kept of it");
    denials_count(denials, &denial, 6);
    assert_int_equal(top(denials, 1, LIST), 1);
    assert_text(list[0].tier, list[0].tier_length, "a name that is longer than what ");
    assert_int_equal(list[0].denied, 5);
    denials_destroy(&denials);
}

/* ---- beside a model that counts every key in every slot */

#define MODEL_KEYS  4000
#define MODEL_SLOTS 20

static uint32_t model[MODEL_KEYS][MODEL_SLOTS];

static uint64_t model_recent(size_t key, size_t slot)
{
    uint64_t sum = 0;

    for (size_t i = 0; i < DENIALS_SLOTS && i <= slot; i++)
        sum += model[key][slot - i];
    return sum;
}

/* Many keys, few of them often: key k about as often as 1/(k+1). */
static size_t skewed(struct random_source *random)
{
    size_t bound = 1 + random_below(random, MODEL_KEYS);

    return random_below(random, 1 + random_below(random, bound));
}

static void check_bounds(struct denials *denials, size_t slot, int64_t now_ms)
{
    size_t count = top(denials, now_ms, DENIALS_MAX_CLIENTS);
    char key[32];
    uint64_t all = 0;

    for (size_t k = 0; k < MODEL_KEYS; k++)
        all += model_recent(k, slot);
    for (size_t k = 0; k < MODEL_KEYS; k++) {
        uint64_t truth = model_recent(k, slot);
        const struct denials_client *client;

        snprintf(key, sizeof(key), "user:%zu", k);
        client = find(count, key);
        if (client == NULL) {
            /* A set has at most all of the denials. */
            assert_true(truth <= all / DENIALS_SET_CLIENTS);
            continue;
        }
        assert_true(client->denied <= truth);
        assert_true(truth <= client->denied_at_most);
        assert_true(client->denied_at_most - client->denied <= all / DENIALS_SET_CLIENTS);
    }
    for (size_t i = 1; i < count; i++)
        assert_true(list[i - 1].denied >= list[i].denied);
}

static void test_bounds_beside_a_model(void **state)
{
    struct random_source random = {20261123};
    struct denials *denials = denials_create();
    char key[32];

    (void)state;
    for (size_t slot = 0; slot < MODEL_SLOTS; slot++) {
        int64_t now_ms = (int64_t)slot * DENIALS_SLOT_MS;

        if (slot == 9 || slot == 10) /* nobody is refused for a while */
            continue;
        for (size_t i = 0; i < 3000; i++) {
            size_t k = skewed(&random);

            model[k][slot]++;
            snprintf(key, sizeof(key), "user:%zu", k);
            deny(denials, key, now_ms++);
        }
        check_bounds(denials, slot, now_ms);
    }
    denials_destroy(&denials);
}

/* A flood of keys that come once each does not hide the one that comes often. */
static void test_flood_hides_nobody(void **state)
{
    struct denials *denials = denials_create();
    char key[32];
    size_t count;

    (void)state;
    for (size_t i = 0; i < 100000; i++) {
        snprintf(key, sizeof(key), "ip:10.%zu.%zu.%zu", i >> 16, (i >> 8) & 255, i & 255);
        deny(denials, key, (int64_t)i / 20);
        if (i % 50 == 0) /* 2000 of them: more than an eighth of what any set of 16 sees */
            deny(denials, "user:busy", (int64_t)i / 20);
    }
    count = top(denials, 5000, 1);
    assert_int_equal(count, 1);
    assert_text(list[0].key, list[0].key_length, "user:busy");
    assert_true(list[0].denied_at_most >= 2000 && list[0].denied <= 2000);
    denials_destroy(&denials);
}

static void test_merge_of_workers(void **state)
{
    struct denials *first = denials_create();
    struct denials *second = denials_create();
    struct denials_client others[LIST];
    size_t count;
    size_t other_count;

    (void)state;
    for (int i = 0; i < 3; i++)
        deny(first, "user:a", 1);
    deny(first, "user:b", 1);
    for (int i = 0; i < 4; i++)
        deny(second, "user:b", 1);
    deny(second, "user:c", 1);
    count = top(first, 2, LIST);
    other_count = denials_top(second, 2000, others, LIST);
    count = denials_merge(list, count, 2, others, other_count);
    assert_int_equal(count, 2);
    assert_text(list[0].key, list[0].key_length, "user:b");
    assert_int_equal(list[0].denied, 5);
    assert_int_equal(list[0].denied_at_most, 5);
    assert_text(list[1].key, list[1].key_length, "user:a");
    denials_destroy(&first);
    denials_destroy(&second);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_few_clients_are_exact),
        cmocka_unit_test(test_keys_of_every_length),
        cmocka_unit_test(test_only_the_last_minute),
        cmocka_unit_test(test_names_are_of_the_last_denial),
        cmocka_unit_test(test_bounds_beside_a_model),
        cmocka_unit_test(test_flood_hides_nobody),
        cmocka_unit_test(test_merge_of_workers),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
