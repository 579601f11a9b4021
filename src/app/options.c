/* SPDX-License-Identifier: MIT */
/*
 * The option parser that all commands share. Not getopt_long: a mistyped option
 * is to be answered with the one that was meant, and the same table is to
 * print the help.
 */
#include "kamiyo/app/options.h"

#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include "kamiyo/base/text.h"

#define MAX_ITEMS 32

static void print_usage(FILE *stream, const struct options *options)
{
    (void)fprintf(stream, "usage: kamiyo-gateway %s%s%s\n", options->command,
                  options->usage[0] != '\0' ? " " : "", options->usage);
}

void options_complain(const struct options *options, const char *format, ...)
{
    va_list args;

    (void)fprintf(stderr, "kamiyo-gateway %s: ", options->command);
    va_start(args, format);
    (void)vfprintf(stderr, format, args);
    va_end(args);
    (void)fputc('\n', stderr);
    print_usage(stderr, options);
}

static void print_help(const struct options *options)
{
    print_usage(stdout, options);
    printf("\n%s\n\n", options->doc);
    for (const struct options_item *item = options->items; item->name != NULL; item++) {
        char left[64];

        (void)snprintf(left, sizeof(left), "--%s%s%s", item->name,
                       item->placeholder != NULL ? " " : "",
                       item->placeholder != NULL ? item->placeholder : "");
        if (item->letter != '\0')
            printf("  -%c, %-24s %s\n", item->letter, left, item->doc);
        else
            printf("      %-24s %s\n", left, item->doc);
    }
    printf("  -h, %-24s %s\n", "--help", "this text");
}

static const struct options_item *find_letter(const struct options *options, char letter)
{
    for (const struct options_item *item = options->items; item->name != NULL; item++) {
        if (item->letter == letter)
            return item;
    }
    return NULL;
}

static const struct options_item *find_name(const struct options *options, struct slice name)
{
    for (const struct options_item *item = options->items; item->name != NULL; item++) {
        if (slice_equal(slice_of(item->name), name))
            return item;
    }
    return NULL;
}

static void complain_unknown(const struct options *options, struct slice name)
{
    const char *names[MAX_ITEMS + 2];
    size_t count = 0;
    const char *nearest;

    for (const struct options_item *item = options->items; item->name != NULL && count < MAX_ITEMS;
         item++)
        names[count++] = item->name;
    names[count++] = "help";
    names[count] = NULL;
    nearest = text_nearest(name, names);
    if (nearest != NULL)
        options_complain(options, "there is no option --%.*s; did you mean --%s?",
                         SLICE_PRINT(name), nearest);
    else
        options_complain(options, "there is no option --%.*s", SLICE_PRINT(name));
}

static bool store(const struct options *options, const struct options_item *item, const char *value)
{
    struct options_words *list = item->target;
    const char **text = item->target;
    bool *flag = item->target;

    if (item->kind == OPTIONS_SWITCH) {
        *flag = true;
    } else if (item->kind == OPTIONS_TEXT) {
        *text = value;
    } else if (list->count == OPTIONS_MAX_WORDS) {
        options_complain(options, "--%s is given more than %d times", item->name,
                         OPTIONS_MAX_WORDS);
        return false;
    } else {
        list->items[list->count++] = value;
    }
    return true;
}

/* The option at argv[*index]; moves *index over its value. */
static enum options_result
parse_option(const struct options *options, int argc, char **argv, int *index)
{
    const char *argument = argv[*index];
    bool is_long = argument[1] == '-';
    struct slice name = slice_of(argument + (is_long ? 2 : 1));
    size_t equals = is_long ? slice_find(name, '=') : name.length > 1 ? 1 : name.length;
    const char *value = NULL;
    const struct options_item *item;

    if (equals < name.length)
        value = name.data + equals + (is_long ? 1 : 0); /* --name=value, or -nvalue */
    name.length = equals;
    item = is_long ? find_name(options, name) : find_letter(options, name.data[0]);
    if (item == NULL && (slice_equal(name, SLICE("help")) || slice_equal(name, SLICE("h")))) {
        print_help(options);
        return OPTIONS_HELPED;
    }
    if (item == NULL && is_long) {
        complain_unknown(options, name);
        return OPTIONS_WRONG;
    }
    if (item == NULL) {
        options_complain(options, "there is no option -%c", name.data[0]);
        return OPTIONS_WRONG;
    }
    if (item->kind == OPTIONS_SWITCH && value != NULL) {
        options_complain(options, "--%s takes no value", item->name);
        return OPTIONS_WRONG;
    }
    if (item->kind != OPTIONS_SWITCH && value == NULL) {
        if (++*index >= argc) {
            options_complain(options, "--%s needs a value: %s", item->name, item->placeholder);
            return OPTIONS_WRONG;
        }
        value = argv[*index];
    }
    return store(options, item, value) ? OPTIONS_PROCEED : OPTIONS_WRONG;
}

enum options_result
options_parse(const struct options *options, int argc, char **argv, struct options_words *words)
{
    bool are_over = false;

    if (words != NULL)
        words->count = 0;
    for (int i = 1; i < argc; i++) {
        if (!are_over && strcmp(argv[i], "--") == 0) {
            are_over = true;
        } else if (!are_over && argv[i][0] == '-' && argv[i][1] != '\0') {
            enum options_result result = parse_option(options, argc, argv, &i);

            if (result != OPTIONS_PROCEED)
                return result;
        } else if (words == NULL || words->count >= options->max_words ||
                   words->count == OPTIONS_MAX_WORDS) {
            options_complain(options, "\"%s\" is one word too many", argv[i]);
            return OPTIONS_WRONG;
        } else {
            words->items[words->count++] = argv[i];
        }
    }
    return OPTIONS_PROCEED;
}
