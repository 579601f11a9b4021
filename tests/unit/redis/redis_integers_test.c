/* SPDX-License-Identifier: MIT */
/* What redis_integers takes, what it leaves, cut at every byte; a fuzzer compares it with hiredis.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

#include "kamiyo/base/attributes.h"
#include "kamiyo/redis/redis_reply.h"

#include "redis/redis_integers.h"

struct row {
    const char *bytes;
    enum redis_integers_result result;
    size_t used;
    size_t count;
    int64_t values[4];
};

static const struct row rows[] = {
    {.bytes = "*0\r\n", .used = 4},
    {.bytes = "*1\r\n:0\r\n", .used = 8, .count = 1},
    {.bytes = "*2\r\n:-5\r\n:77\r\n", .used = 14, .count = 2, .values = {-5, 77}},
    {.bytes = "*4\r\n:1\r\n:1763912345678\r\n:999999999999999999\r\n:-999999999999999999\r\n*",
     .used = 67,
     .count = 4,
     .values = {1, 1763912345678, 999999999999999999, -999999999999999999}},
    {.bytes = "*3\r\n:12345678\r\n:-8765432109876543\r\n:90909090909090909\r\n",
     .used = 55,
     .count = 3,
     .values = {12345678, -8765432109876543, 90909090909090909}},
    {.bytes = "*1\r\n:1234567/\r\n", .result = REDIS_INTEGERS_OTHER},
    {.bytes = "*1\r\n:1234:678\r\n", .result = REDIS_INTEGERS_OTHER},
    {.bytes = "*1\r\n:\xb1\xb2\xb3\xb4\xb5\xb6\xb7\xb8\r\n", .result = REDIS_INTEGERS_OTHER},
    {.bytes = "*1\r\n:01234567\r\n", .result = REDIS_INTEGERS_OTHER},
    {.bytes = "", .result = REDIS_INTEGERS_CUT},
    {.bytes = "*", .result = REDIS_INTEGERS_CUT},
    {.bytes = "*2\r", .result = REDIS_INTEGERS_CUT},
    {.bytes = "*2\r\n:1\r\n", .result = REDIS_INTEGERS_CUT},
    {.bytes = "*2\r\n:1\r\n:", .result = REDIS_INTEGERS_CUT},
    {.bytes = "*2\r\n:1\r\n:-", .result = REDIS_INTEGERS_CUT},
    {.bytes = "*2\r\n:1\r\n:17", .result = REDIS_INTEGERS_CUT},
    {.bytes = "-ERR no\r\n", .result = REDIS_INTEGERS_OTHER},
    {.bytes = "+OK\r\n", .result = REDIS_INTEGERS_OTHER},
    {.bytes = ":1\r\n", .result = REDIS_INTEGERS_OTHER},
    {.bytes = "$1\r\n1\r\n", .result = REDIS_INTEGERS_OTHER},
    {.bytes = "*-1\r\n", .result = REDIS_INTEGERS_OTHER},
    {.bytes = "*25\r\n:1\r\n", .result = REDIS_INTEGERS_OTHER},
    {.bytes = "*01\r\n:1\r\n", .result = REDIS_INTEGERS_OTHER},
    {.bytes = "*\r\n", .result = REDIS_INTEGERS_OTHER},
    {.bytes = "*1\n:1\n", .result = REDIS_INTEGERS_OTHER},
    {.bytes = "*1\r\n:\r\n", .result = REDIS_INTEGERS_OTHER},
    {.bytes = "*1\r\n:-\r\n", .result = REDIS_INTEGERS_OTHER},
    {.bytes = "*1\r\n:-0\r\n", .result = REDIS_INTEGERS_OTHER},
    {.bytes = "*1\r\n:00\r\n", .result = REDIS_INTEGERS_OTHER},
    {.bytes = "*1\r\n:+1\r\n", .result = REDIS_INTEGERS_OTHER},
    {.bytes = "*1\r\n:1 \r\n", .result = REDIS_INTEGERS_OTHER},
    {.bytes = "*1\r\n:1\rx", .result = REDIS_INTEGERS_OTHER},
    {.bytes = "*1\r\n:1000000000000000000\r\n", .result = REDIS_INTEGERS_OTHER},
    {.bytes = "*1\r\n*0\r\n", .result = REDIS_INTEGERS_OTHER},
    {.bytes = "*1\r\n$1\r\n1\r\n", .result = REDIS_INTEGERS_OTHER},
    {.bytes = "*1\r\n", .result = REDIS_INTEGERS_CUT},
};

static void test_rows(void **state)
{
    struct redis_integers integers;

    (void)state;
    redis_integers_init(&integers);
    for (size_t i = 0; i < COUNT_OF(rows); i++) {
        const struct row *row = &rows[i];
        int64_t values[4];
        size_t used = 0;
        size_t count;

        if (redis_integers_parse(&integers, row->bytes, strlen(row->bytes), &used) != row->result)
            fail_msg("row %zu: %s", i, row->bytes);
        if (row->result != REDIS_INTEGERS_WHOLE)
            continue;
        assert_int_equal(used, row->used);
        assert_true(redis_reply_is_integers(redis_integers_reply(&integers), values, 4, &count));
        assert_int_equal(count, row->count);
        assert_memory_equal(values, row->values, count * sizeof(values[0]));
    }
}

/* A whole reply is cut before its last byte, wherever that is; and no cut one is longer than said.
 */
static void test_cut_anywhere(void **state)
{
    char bytes[REDIS_INTEGERS_MAX_BYTES + 1];
    char part[sizeof(bytes)];
    struct redis_integers integers;
    int length = snprintf(bytes, sizeof(bytes), "*%d\r\n", REDIS_INTEGERS_MAX);
    size_t used;

    (void)state;
    redis_integers_init(&integers);
    for (int i = 0; i < REDIS_INTEGERS_MAX; i++)
        length += snprintf(bytes + length, sizeof(bytes) - (size_t)length, ":-%018d\r\n", i);
    assert_int_equal(length, REDIS_INTEGERS_MAX_BYTES);
    for (char *sign = bytes; (sign = strchr(sign, '-')) != NULL; sign++)
        sign[1] = '9'; /* a zero there would be another spelling */
    for (size_t cut = 0; cut < (size_t)length; cut++) {
        memcpy(part, bytes, cut);
        part[cut] = '\0';
        assert_int_equal(redis_integers_parse(&integers, part, cut, &used), REDIS_INTEGERS_CUT);
    }
    assert_int_equal(redis_integers_parse(&integers, bytes, (size_t)length, &used),
                     REDIS_INTEGERS_WHOLE);
    assert_int_equal(used, length);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_rows),
        cmocka_unit_test(test_cut_anywhere),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
