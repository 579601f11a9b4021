/* SPDX-License-Identifier: MIT */
/* The keys file: what becomes entries, and mistakes at their own place in their own file. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#include "kamiyo/base/attributes.h"
#include "kamiyo/config/config_key_file.h"

#include "config/config_support.h"

#define DIGEST_1 "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855"
#define DIGEST_2 "0000000000000000000000000000000000000000000000000000000000000001"
#define UPPER_2  "000000000000000000000000000000000000000000000000000000000000000A"
#define LOWER_2  "000000000000000000000000000000000000000000000000000000000000000a"

static const char config_text[] = "identity: {api_key: {keys_file: keys.yaml}}\n";

static void test_entries(void **state)
{
    struct config_support support;
    const struct api_key_options *options;

    (void)state;
    config_support_init(&support, config_text);
    config_support_write(&support, "keys.yaml",
                         "- {sha256: " DIGEST_1 ", user: alice, tier: pro}\n- sha256: " UPPER_2
                         "\n  user: \"b b\"\n");
    config_support_load(&support);
    config_support_show(&support);
    assert_non_null(support.config);
    options = &support.config->identity.api_key;
    assert_int_equal(options->key_count, 2);
    assert_int_equal(options->keys[0].sha256[0], 0xe3);
    assert_int_equal(options->keys[0].sha256[31], 0x55);
    assert_string_equal(options->keys[0].user, "alice");
    assert_string_equal(options->keys[0].tier, "pro");
    assert_int_equal(options->keys[1].sha256[31], 0x0a);
    assert_string_equal(options->keys[1].user, "b b");
    assert_string_equal(options->keys[1].tier, "");
    config_support_clear(&support);
}

struct mistake_case {
    const char *text;
    const char *key;
    const char *part;
    int line;
    int column;
};

static const struct mistake_case cases[] = {
    {"- {sha256: my-secret-key, user: a}", "keys[0].sha256", "64 hexadecimal digits", 1, 12},
    {"- {sha256: " DIGEST_1 "}", "keys[0]", "user is missing", 1, 3},
    {"- {user: a}", "keys[0]", "sha256 is missing", 1, 3},
    {"- {sha256: " DIGEST_1 ", user: a, teir: b}", "keys[0].teir", "did you mean `tier`?", 1, 87},
    {"- {sha256: " DIGEST_1 ", user: \"\"}", "keys[0].user", "must be", 1, 84},
    {"- {sha256: " DIGEST_1 ", user: a, tier: \"a b\"}", "keys[0].tier", "a tier's name", 1, 93},
    {"- {sha256: " UPPER_2 ", user: a}\n- {sha256: " DIGEST_2 ", user: a}\n- {sha256: " LOWER_2
     ", user: b}",
     "sha256", "stands in line 1", 3, 3},
    {"- text", "keys[0]", "must be a map", 1, 3},
    {"sha256: x", "keys", "must be a list", 1, 1},
};

static void test_mistakes(void **state)
{
    (void)state;
    for (size_t i = 0; i < COUNT_OF(cases); i++) {
        struct config_support support;
        const struct error_item *item;

        config_support_init(&support, config_text);
        config_support_write(&support, "keys.yaml", cases[i].text);
        config_support_load(&support);
        assert_null(support.config);
        item = config_support_find(&support, cases[i].line, cases[i].column, cases[i].key,
                                   cases[i].part);
        if (item == NULL || support.errors.total_errors != 1) {
            config_support_show(&support);
            fail_msg("%s", cases[i].text);
        }
        assert_null(strstr(item->message, "my-secret-key"));
        assert_non_null(strstr(item->file, "/keys.yaml"));
        config_support_clear(&support);
    }
}

static void test_file(void **state)
{
    struct config_support support;

    (void)state;
    config_support_init(&support, config_text);
    config_support_load(&support);
    assert_null(support.config);
    assert_non_null(
        config_support_find(&support, 1, 33, "identity.api_key.keys_file", "No such file"));
    assert_null(
        config_support_find(&support, 1, 33, "identity.api_key.keys_file", "holds no keys"));
    config_support_write(&support, "gateway.yaml", "identity: {api_key: {keys_file: /dev/zero}}\n");
    config_support_load(&support);
    assert_null(support.config);
    assert_non_null(
        config_support_find(&support, 1, 33, "identity.api_key.keys_file", "regular file"));
    config_support_write(&support, "gateway.yaml", config_text);
    config_support_write(&support, "keys.yaml", "# none yet\n");
    config_support_load(&support);
    assert_non_null(support.config);
    assert_non_null(
        config_support_find(&support, 1, 33, "identity.api_key.keys_file", "holds no keys"));
    config_support_write(&support, "keys.yaml", "- {sha256: " DIGEST_1 ", user: a, tier: por}\n");
    config_support_load(&support);
    assert_non_null(support.config);
    assert_non_null(
        config_support_find(&support, 1, 33, "identity.api_key.keys_file", "the tier \"por\""));
    config_support_clear(&support);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_entries),
        cmocka_unit_test(test_mistakes),
        cmocka_unit_test(test_file),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
