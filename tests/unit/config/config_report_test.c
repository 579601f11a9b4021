/* SPDX-License-Identifier: MIT */
/* What a person sees of an error, byte for byte, and that secrets are not in it. */
#include <setjmp.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>
#include <jansson.h>

#include "kamiyo/base/attributes.h"
#include "kamiyo/base/mem.h"
#include "kamiyo/config/config_report.h"

#include "config/config_support.h"

/* The report of a file, without the file's name. */
static char *report_of(const char *text)
{
    struct config_support support;
    size_t skip;
    char *report;
    char *copy;

    config_support_init(&support, text);
    config_support_load(&support);
    skip = strlen(support.path);
    report = config_format_errors(&support.errors);
    copy = mem_copy_string(strncmp(report, support.path, skip) == 0 ? report + skip : report);
    mem_free(report);
    config_support_clear(&support);
    return copy;
}

struct report_case {
    const char *text;
    const char *report;
};

static const struct report_case cases[] = {
    {"workers: 1\ndrain_timeout: 25\n",
     ":2:16: drain_timeout: needs a unit: 50ms, 2s, 5m, 1h or 1d; given \"25\"\n"
     "     2 | drain_timeout: 25\n"
     "       |                ^~\n"},
    {"log:\t{level: inf}\t# \xc3\xa4\n", /* a tab is one column */
     ":1:14: log.level: must be debug, info, warn or error; given \"inf\"; did you mean `info`?\n"
     "     1 | log: {level: inf} # \xc3\xa4\n"
     "       |              ^~~\n"},
    {"log: {file: \xc3\xa4\xc3\xa4, level: x}\n", /* columns count characters */
     ":1:24: log.level: must be debug, info, warn or error; given \"x\"\n"
     "     1 | log: {file: \xc3\xa4\xc3\xa4, level: x}\n"
     "       |                        ^\n"},
    {"client_ip: {hops: 3}\r\n",
     ":1:19: warning: client_ip.hops: has no effect: client_ip.trusted_proxies names nobody\n"
     "     1 | client_ip: {hops: 3}\n"
     "       |                   ^\n"},
};

static void test_text(void **state)
{
    (void)state;
    for (size_t i = 0; i < COUNT_OF(cases); i++) {
        char *report = report_of(cases[i].text);

        assert_string_equal(report, cases[i].report);
        mem_free(report);
    }
}

/* A long line is cut on both sides of the caret, which still stands below its character. */
static void test_long_line(void **state)
{
    char text[2000] = "log: {file: ";
    char *report;
    char *source;
    char *caret;

    (void)state;
    memset(text + 12, 'f', 600);
    memcpy(text + 612, ", level: wrong, format: json, access: {file: ", 46);
    memset(text + 657, 'g', 600);
    memcpy(text + 1257, "}}\n", 4);
    report = report_of(text);
    source = strstr(report, "     1 | ...");
    assert_non_null(source);
    caret = strstr(source, "\n       | ");
    assert_non_null(caret);
    assert_true(caret - source < 140);
    assert_true(caret[-1] == '.' && caret[-2] == '.');
    source += strlen("     1 | ");
    caret += strlen("\n       | ");
    assert_int_equal(strncmp(source + strspn(caret, " "), "wrong", 5), 0);
    assert_int_equal(strncmp(caret + strspn(caret, " "), "^~~~~\n", 6), 0);
    mem_free(report);
}

/* Mistakes in, beside and below secrets. */
static void test_secrets(void **state)
{
    static const char *const texts[] = {
        "admin: {token: hunter2, lisen: x}\n",
        "admin: {token: \"hunter2, {x\", lisen: x}\n",
        "admin: {token: \"hun ter2 hunter2\"}\n",
        "admin:\n  token: hunter2 hunter2\n",
        "redis: {url: \"redis://:hunter2@h:x\"}\n",
        "redis: {url: \"redis://:hunter2@h\", timeot: 1s}\n",
        "redis: {url: [hunter2]}\n",
        "upstream: {url: \"http://me:hunter2@h\"}\n",
        "upstream: {url: \"h:1\", timeot: 1} # http://me:hunter2@h\n",
        "identity: {jwt: {secrets: [hunter2, {a: b}], leway: 1s}}\n",
        "identity:\n  jwt:\n    secrets:\n      - hunter2\n",
        "identity:\n  jwt:\n    secrets:\n      - \"hunter2\\n\"\n",
        "identity:\n  jwt:\n    secrets: hunter2\n    leway: 1s\n",
        "identity: {api_key: {headers: [\"a b\"]}, jwt: {secrets: [\"hunter2\"]}}\n",
        "admin: {token: &x hunter2}\n",
        "admin: {token: 'hunter2\n",
        "admin: {\"token\" : hunter2, x: 1}\n",
    };

    (void)state;
    for (size_t i = 0; i < COUNT_OF(texts); i++) {
        char *report = report_of(texts[i]);

        assert_true(report[0] != '\0');
        if (strstr(report, "hunter2") != NULL)
            fail_msg("%s gives %s", texts[i], report);
        mem_free(report);
    }
}

static void test_json(void **state)
{
    struct config_support support;
    json_error_t failure;
    json_t *root;
    json_t *item;
    char *report;

    (void)state;
    config_support_init(&support, "workers: \"\\\"\\u00e4\"\nclient_ip: {hops: 3}\n");
    config_support_load(&support);
    report = config_format_errors_json(&support.errors);
    root = json_loads(report, 0, &failure);
    assert_non_null(root);
    assert_true(json_is_false(json_object_get(root, "ok")));
    assert_int_equal(json_integer_value(json_object_get(root, "errors")), 1);
    assert_int_equal(json_integer_value(json_object_get(root, "warnings")), 1);
    assert_int_equal(json_array_size(json_object_get(root, "items")), 2);
    item = json_array_get(json_object_get(root, "items"), 0);
    assert_string_equal(json_string_value(json_object_get(item, "severity")), "error");
    assert_string_equal(json_string_value(json_object_get(item, "file")), support.path);
    assert_string_equal(json_string_value(json_object_get(item, "key")), "workers");
    assert_int_equal(json_integer_value(json_object_get(item, "line")), 1);
    assert_int_equal(json_integer_value(json_object_get(item, "column")), 10);
    json_decref(root);
    mem_free(report);
    config_support_clear(&support);

    config_support_init(&support, "");
    config_support_load(&support);
    report = config_format_errors_json(&support.errors);
    assert_string_equal(report, "{\"ok\": true, \"errors\": 0, \"warnings\": 0, \"items\": []}\n");
    mem_free(report);
    report = config_format_errors(&support.errors);
    assert_string_equal(report, "");
    mem_free(report);
    config_support_clear(&support);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_text),
        cmocka_unit_test(test_long_line),
        cmocka_unit_test(test_secrets),
        cmocka_unit_test(test_json),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
