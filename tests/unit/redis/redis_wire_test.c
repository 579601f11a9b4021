/* SPDX-License-Identifier: MIT */
/* Commands in Redis's protocol, and that they fit where they are said to. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#include "kamiyo/base/attributes.h"

#include "redis/redis_wire.h"

struct row {
    struct slice arguments[3];
    size_t count;
    const char *text;
};

static void test_commands(void **state)
{
    const struct row rows[] = {
        {{SLICE("PING")}, 1, "*1\r\n$4\r\nPING\r\n"},
        {{SLICE("SET"), SLICE("k"), SLICE("")}, 3, "*3\r\n$3\r\nSET\r\n$1\r\nk\r\n$0\r\n\r\n"},
        {{SLICE("GET"), SLICE("a\r\nb c d")}, 2, "*2\r\n$3\r\nGET\r\n$8\r\na\r\nb c d\r\n"},
    };

    (void)state;
    for (size_t i = 0; i < COUNT_OF(rows); i++) {
        char out[128];
        size_t length = redis_wire_write(rows[i].arguments, rows[i].count, out);

        assert_string_equal(out, rows[i].text);
        assert_int_equal(length, strlen(rows[i].text));
        assert_true(length < redis_wire_size(rows[i].arguments, rows[i].count));
    }
}

static void test_size(void **state)
{
    static char data[100000];
    static char out[sizeof(data) + 256];
    struct slice arguments[2] = {SLICE("X"), {data, 0}};

    (void)state;
    memset(data, 'x', sizeof(data));
    for (size_t length = 1; length <= sizeof(data); length *= 10) {
        arguments[1].length = length;
        assert_true(redis_wire_write(arguments, 2, out) < redis_wire_size(arguments, 2));
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_commands),
        cmocka_unit_test(test_size),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
