/* SPDX-License-Identifier: MIT */
/*
 * SipHash-1-3 against vectors of others: with a key of zeroes as CPython 3.11
 * (PYTHONHASHSEED=0) and the reference implementation give them, with the key
 * 00 01 .. 0f as the paper's authors and Rust do. Inputs are 00 01 02 ...
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#include "kamiyo/base/attributes.h"
#include "kamiyo/base/hash.h"

struct vector {
    size_t length;
    uint64_t with_zeroes;
    uint64_t with_key;
};

static const struct vector vectors[] = {
    {0, 0xd1fba762150c532cu, 0xabac0158050fc4dcu},  {1, 0x68a914128e01e473u, 0xc9f49bf37d57ca93u},
    {2, 0x010bac45c41e3669u, 0x82cb9b024dc7d44du},  {3, 0x4d4c9a4a8ef6e0adu, 0x8bf80ab8e7ddf7fbu},
    {4, 0x7cc43f98813e4dbdu, 0xcf75576088d38328u},  {5, 0x5abe2169dff36275u, 0xdef9d52f49533b67u},
    {6, 0xe3c25f87624f1cdbu, 0xc50d2b50c59f22a7u},  {7, 0x2f098ab0c751325au, 0xd3927d989bb11140u},
    {8, 0xead411e67ebe2eeau, 0x369095118d299a8eu},  {9, 0x75927f9d95124362u, 0x25a48eb36c063de4u},
    {15, 0xf30eb725bb91c9eau, 0xd320d86d2a519956u}, {16, 0x8972188433a5c5b7u, 0xcc4fdd1a7d908b66u},
    {63, 0x385d3e39e5f37359u, 0x9d199062b7bbb3a8u},
};

static const struct hash_key zeroes = {0, 0};
static const struct hash_key counting = {0x0706050403020100u, 0x0f0e0d0c0b0a0908u};

static void test_vectors(void **state)
{
    (void)state;
    unsigned char bytes[64 + 1];
    for (size_t shift = 0; shift < 2; shift++) { /* a word need not be aligned */
        for (size_t i = 0; i < 64; i++)
            bytes[i + shift] = (unsigned char)i;
        for (size_t i = 0; i < COUNT_OF(vectors); i++) {
            const struct vector *v = &vectors[i];
            assert_true(hash_bytes(&zeroes, bytes + shift, v->length) == v->with_zeroes);
            assert_true(hash_bytes(&counting, bytes + shift, v->length) == v->with_key);
        }
    }
    assert_true(hash_bytes(&zeroes, NULL, 0) == vectors[0].with_zeroes);
}

/* Not that it is random, only that neither call returns what the other did. */
static void test_keys_differ(void **state)
{
    (void)state;
    struct hash_key a, b;
    hash_key_generate(&a);
    hash_key_generate(&b);
    assert_memory_not_equal(&a, &b, sizeof(a));
    assert_true(hash_bytes(&a, "x", 1) != hash_bytes(&b, "x", 1));
}

static void test_random_fills_all_and_no_more(void **state)
{
    (void)state;
    unsigned char bytes[600 + 1] = {0}, seen[600] = {0};
    size_t untouched = 0;
    hash_random(bytes, 0);
    assert_int_equal(bytes[0], 0);
    for (int turn = 0; turn < 8; turn++) { /* a byte stays 0 in all turns with one chance in 2^64 */
        hash_random(bytes, 600);
        for (size_t i = 0; i < 600; i++)
            seen[i] |= bytes[i];
    }
    for (size_t i = 0; i < 600; i++)
        untouched += seen[i] == 0;
    assert_int_equal(untouched, 0);
    assert_int_equal(bytes[600], 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_vectors),
        cmocka_unit_test(test_keys_differ),
        cmocka_unit_test(test_random_fills_all_and_no_more),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
