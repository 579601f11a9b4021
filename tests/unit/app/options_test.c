/* SPDX-License-Identifier: MIT */
/* The option parser: every form of an option, and what is refused. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#include "kamiyo/app/options.h"
#include "kamiyo/base/attributes.h"

#define MAX_ARGUMENTS 8

struct parsed {
    const char *config;
    bool is_online;
    struct options_words headers;
    struct options_words words;
};

static enum options_result parse(const char *const *arguments, struct parsed *parsed)
{
    const struct options_item items[] = {
        {"config", 'c', OPTIONS_TEXT, &parsed->config, "FILE", "the file"},
        {"online", '\0', OPTIONS_SWITCH, &parsed->is_online, NULL, "reach them"},
        {"header", 'H', OPTIONS_LIST, &parsed->headers, "FIELD", "a field"},
        {.name = NULL}};
    const struct options options = {
        .command = "test", .usage = "", .doc = "", .items = items, .max_words = 2};
    char copies[MAX_ARGUMENTS][64];
    char *argv[MAX_ARGUMENTS + 1] = {copies[0]};
    int argc = 1;

    *parsed = (struct parsed){.config = NULL};
    copies[0][0] = '\0';
    for (; arguments[argc - 1] != NULL; argc++)
        argv[argc] = (char *)(uintptr_t)arguments[argc - 1]; /* main's argv is not const either */
    return options_parse(&options, argc, argv, &parsed->words);
}

struct option_case {
    const char *arguments[MAX_ARGUMENTS];
    enum options_result result;
    const char *config;
    bool is_online;
    size_t header_count;
    size_t word_count;
};

static const struct option_case cases[] = {
    {{NULL}, OPTIONS_PROCEED, NULL, false, 0, 0},
    {{"--config", "a", NULL}, OPTIONS_PROCEED, "a", false, 0, 0},
    {{"--config=a", NULL}, OPTIONS_PROCEED, "a", false, 0, 0},
    {{"--config=a=b", NULL}, OPTIONS_PROCEED, "a=b", false, 0, 0},
    {{"--config=", NULL}, OPTIONS_PROCEED, "", false, 0, 0},
    {{"-c", "a", NULL}, OPTIONS_PROCEED, "a", false, 0, 0},
    {{"-ca", NULL}, OPTIONS_PROCEED, "a", false, 0, 0},
    {{"-c", "a", "-c", "b", NULL}, OPTIONS_PROCEED, "b", false, 0, 0},
    {{"--online", "x", "-H", "a: b", "--header=c: d", "y", NULL},
     OPTIONS_PROCEED,
     NULL,
     true,
     2,
     2},
    {{"--", "--online", NULL}, OPTIONS_PROCEED, NULL, false, 0, 1},
    {{"-", NULL}, OPTIONS_PROCEED, NULL, false, 0, 1},
    {{"-h", NULL}, OPTIONS_HELPED, NULL, false, 0, 0},
    {{"--help", NULL}, OPTIONS_HELPED, NULL, false, 0, 0},
    {{"--onlin", NULL}, OPTIONS_WRONG, NULL, false, 0, 0},
    {{"-x", NULL}, OPTIONS_WRONG, NULL, false, 0, 0},
    {{"--config", NULL}, OPTIONS_WRONG, NULL, false, 0, 0},
    {{"--online=yes", NULL}, OPTIONS_WRONG, NULL, false, 0, 0},
    {{"a", "b", "c", NULL}, OPTIONS_WRONG, NULL, false, 0, 0},
};

static void test_options(void **state)
{
    (void)state;
    for (size_t i = 0; i < COUNT_OF(cases); i++) {
        struct parsed parsed;

        assert_int_equal(parse(cases[i].arguments, &parsed), cases[i].result);
        if (cases[i].result != OPTIONS_PROCEED)
            continue;
        assert_int_equal(parsed.config == NULL, cases[i].config == NULL);
        if (cases[i].config != NULL)
            assert_string_equal(parsed.config, cases[i].config);
        assert_int_equal(parsed.is_online, cases[i].is_online);
        assert_int_equal(parsed.headers.count, cases[i].header_count);
        assert_int_equal(parsed.words.count, cases[i].word_count);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(test_options)};

    return cmocka_run_group_tests(tests, NULL, NULL);
}
