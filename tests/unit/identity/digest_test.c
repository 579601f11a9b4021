/* SPDX-License-Identifier: MIT */
/* FIPS 180-2's vectors, one after another on one context. */
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>

#include <cmocka.h>

#include "kamiyo/base/attributes.h"
#include "kamiyo/identity/digest.h"

static void test_vectors(void **state)
{
    static const struct {
        const char *text, *hex;
    } rows[] = {
        {"", "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855"},
        {"abc", "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad"},
        {"abcdbcdecdefdefgefghfghighijhijkijkljklmklmnlmnomnopnopq",
         "248d6a61d20638b8e5c026930c3e6039a33ce45964ff2167f6ecedd419db06c1"},
        {"abc", "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad"},
    };
    struct digest digest;

    (void)state;
    digest_init(&digest);
    for (size_t i = 0; i < COUNT_OF(rows); i++) {
        uint8_t out[DIGEST_BYTES];
        char hex[2 * DIGEST_BYTES + 1];

        digest_sha256(&digest, slice_of(rows[i].text), out);
        for (size_t j = 0; j < DIGEST_BYTES; j++)
            (void)snprintf(hex + 2 * j, 3, "%02x", out[j]);
        assert_string_equal(hex, rows[i].hex);
    }
    digest_clear(&digest);
    digest_clear(&digest);
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(test_vectors)};

    return cmocka_run_group_tests(tests, NULL, NULL);
}
