/* SPDX-License-Identifier: MIT */
/* What is kept, what makes room, and that nothing is lost while the table widens. */
#include <setjmp.h>
#include <stdarg.h>
#include <string.h>

#include <cmocka.h>

#include "kamiyo/identity/credential_cache.h"

static const uint8_t *digest_of(size_t number)
{
    static uint8_t digest[KEY_SOURCE_DIGEST_BYTES];

    memcpy(digest, &number, sizeof(number));
    return digest;
}

static struct key_record record_of(const char *user, const char *tier)
{
    struct key_record record;

    key_source_fill_record(&record, slice_of(user), slice_of(tier));
    return record;
}

static void test_put_and_find(void **state)
{
    struct credential_cache *cache = credential_cache_create(10);
    struct key_record alice = record_of("alice", "pro"), bob = record_of("bob", "");
    struct credential *found;

    (void)state;
    assert_null(credential_cache_find(cache, digest_of(1)));
    credential_cache_put(cache, digest_of(1), &alice, 50);
    credential_cache_put(cache, digest_of(2), NULL, 60);
    found = credential_cache_find(cache, digest_of(1));
    assert_true(slice_equal(found->user, SLICE("alice")));
    assert_true(slice_equal(found->tier, SLICE("pro")));
    assert_int_equal(found->expires_ms, 50);
    assert_int_equal(credential_cache_find(cache, digest_of(2))->user.length, 0);
    credential_cache_put(cache, digest_of(1), &bob, 70); /* replaces */
    assert_true(slice_equal(credential_cache_find(cache, digest_of(1))->user, SLICE("bob")));
    assert_int_equal(credential_cache_count(cache), 2);
    credential_cache_remove(cache, digest_of(1));
    credential_cache_remove(cache, digest_of(1));
    assert_null(credential_cache_find(cache, digest_of(1)));
    assert_non_null(credential_cache_find(cache, digest_of(2)));
    credential_cache_clear(cache);
    assert_int_equal(credential_cache_count(cache), 0);
    assert_null(credential_cache_find(cache, digest_of(2)));
    credential_cache_put(cache, digest_of(2), &alice, 1);
    credential_cache_destroy(&cache);
    credential_cache_destroy(&cache);
}

/* The bound holds, and what was asked for longest ago goes. */
static void test_bound(void **state)
{
    struct credential_cache *cache = credential_cache_create(1000);
    struct key_record record = record_of("u", "");

    (void)state;
    for (size_t i = 0; i < 1000; i++)
        credential_cache_put(cache, digest_of(i), &record, (int64_t)i);
    assert_non_null(credential_cache_find(cache, digest_of(0)));
    for (size_t i = 1000; i < 1500; i++) {
        credential_cache_put(cache, digest_of(i), &record, (int64_t)i);
        assert_int_equal(credential_cache_count(cache), 1000);
    }
    for (size_t i = 0; i < 1500; i++) {
        const struct credential *found = credential_cache_find(cache, digest_of(i));

        assert_int_equal(found != NULL, i == 0 || i > 500);
        if (found != NULL)
            assert_int_equal(found->expires_ms, i);
    }
    credential_cache_destroy(&cache);
}

static void test_one_entry(void **state)
{
    struct credential_cache *cache = credential_cache_create(1);

    (void)state;
    credential_cache_put(cache, digest_of(1), NULL, 1);
    credential_cache_put(cache, digest_of(1), NULL, 2);
    credential_cache_put(cache, digest_of(2), NULL, 3);
    assert_null(credential_cache_find(cache, digest_of(1)));
    assert_int_equal(credential_cache_find(cache, digest_of(2))->expires_ms, 3);
    credential_cache_destroy(&cache);
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(test_put_and_find),
                                       cmocka_unit_test(test_bound),
                                       cmocka_unit_test(test_one_entry)};

    return cmocka_run_group_tests(tests, NULL, NULL);
}
