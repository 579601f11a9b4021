/* SPDX-License-Identifier: MIT */
/*
 * Request ids: what is made is well formed, lower-case hexadecimal, and not
 * made twice; what is taken from a client is bounded in length and bytes.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "kamiyo/proxy/request_id.h"

static int compare(const void *a, const void *b)
{
    return memcmp(a, b, REQUEST_ID_MADE_BYTES);
}

static void test_made_ids(void **state)
{
    (void)state;
    enum {
        COUNT = 20000
    };
    struct request_id_source source;
    char(*ids)[REQUEST_ID_MADE_BYTES] = malloc(COUNT * sizeof(*ids));
    size_t seen[16] = {0};
    request_id_init(&source);
    for (size_t i = 0; i < COUNT; i++) {
        request_id_make(&source, ids[i]);
        assert_true(request_id_is_valid((struct slice){ids[i], REQUEST_ID_MADE_BYTES}));
        for (size_t j = 0; j < REQUEST_ID_MADE_BYTES; j++) {
            const char *digit = memchr("0123456789abcdef", ids[i][j], 16);
            assert_non_null(digit);
            seen[strcspn("0123456789abcdef", (char[]){*digit, '\0'})]++;
        }
    }
    for (size_t i = 0; i < 16; i++) /* 40,000 expected, standard deviation 194 */
        assert_in_range(seen[i], 38000, 42000);
    qsort(ids, COUNT, sizeof(*ids), compare);
    for (size_t i = 1; i < COUNT; i++)
        assert_true(compare(ids[i - 1], ids[i]) != 0);
    free(ids);
}

static void test_given_ids(void **state)
{
    (void)state;
    char longest[REQUEST_ID_MAX_BYTES + 1];
    memset(longest, 'a', sizeof(longest));
    assert_true(request_id_is_valid((struct slice){longest, REQUEST_ID_MAX_BYTES}));
    assert_false(request_id_is_valid((struct slice){longest, REQUEST_ID_MAX_BYTES + 1}));
    assert_false(request_id_is_valid(SLICE("")));
    assert_true(request_id_is_valid(SLICE("aZ09._-")));
    for (int byte = 0; byte < 256; byte++) {
        char one = (char)byte;
        bool is_good = byte != 0 && byte < 128 &&
                       strchr("abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789._-",
                              byte) != NULL;
        assert_int_equal(request_id_is_valid((struct slice){&one, 1}), is_good);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_made_ids),
        cmocka_unit_test(test_given_ids),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
