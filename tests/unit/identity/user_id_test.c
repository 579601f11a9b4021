/* SPDX-License-Identifier: MIT */
/* Ids in keys: what is escaped, and where the digest takes over. */
#include <setjmp.h>
#include <stdarg.h>
#include <string.h>

#include <cmocka.h>

#include "kamiyo/base/attributes.h"
#include "kamiyo/identity/user_id.h"

static void test_rows(void **state)
{
    static const struct {
        const char *id, *text;
    } rows[] = {
        {"", ""},
        {"123", "123"},
        {"AZaz09._@+=-", "AZaz09._@+=-"},
        {"a b", "a%20b"},
        {"auth0|7", "auth0%7C7"},
        {"a:b{c}/\n", "a%3Ab%7Bc%7D%2F%0A"},
        {"100%", "100%25"},
        {"\xc3\xa9\xff\x7f", "%C3%A9%FF%7F"},
        {"%7C", "%257C"},
    };

    (void)state;
    for (size_t i = 0; i < COUNT_OF(rows); i++) {
        char out[USER_ID_MAX_BYTES];
        size_t length = user_id_format(slice_of(rows[i].id), out);

        assert_int_equal(length, strlen(rows[i].text));
        assert_memory_equal(out, rows[i].text, length);
    }
}

/* 128 bytes stand as they are; one more, or one that escapes to more, becomes the digest of the id
 * itself. */
static void test_long(void **state)
{
    static const char of_129[] =
        "sha256-c12cb024a2e5551cca0e08fce8f1c5e314555cc3fef6329ee994a3db752166ae";
    char id[200], out[USER_ID_MAX_BYTES];
    size_t length;

    (void)state;
    memset(id, 'a', sizeof(id));
    assert_int_equal(user_id_format((struct slice){id, 128}, out), 128);
    assert_memory_equal(out, id, 128);
    length = user_id_format((struct slice){id, 129}, out);
    assert_int_equal(length, 71);
    assert_memory_equal(out, of_129, length);
    id[0] = ' ';
    assert_int_equal(user_id_format((struct slice){id, 126}, out), 128);
    assert_int_equal(user_id_format((struct slice){id, 127}, out), 71);
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(test_rows), cmocka_unit_test(test_long)};

    return cmocka_run_group_tests(tests, NULL, NULL);
}
