/* SPDX-License-Identifier: MIT */
#pragma once

#include <stdbool.h>
#include <stddef.h>

#include "kamiyo/base/attributes.h"

/*
 * The arguments of a command: --name value, --name=value, -n value, switches, and words. `--` ends
 * the options. --help and -h are known to every command and print what it takes.
 */
enum options_kind {
    OPTIONS_SWITCH, /* bool */
    OPTIONS_TEXT,   /* const char *; the last one counts */
    OPTIONS_LIST,   /* struct options_words; each one is kept */
};

#define OPTIONS_MAX_WORDS 64

struct options_words {
    const char *items[OPTIONS_MAX_WORDS];
    size_t count;
};

struct options_item {
    const char *name; /* without "--" */
    char letter;      /* '\0' = none */
    enum options_kind kind;
    void *target;            /* as `kind` says; borrowed from argv */
    const char *placeholder; /* "FILE" */
    const char *doc;
};

struct options {
    const char *command;              /* "check" */
    const char *usage;                /* what stands after the command: "[--config FILE]" */
    const char *doc;                  /* a few lines */
    const struct options_item *items; /* ended by a NULL name */
    size_t max_words;                 /* 0 = takes none */
};

enum options_result {
    OPTIONS_PROCEED,
    OPTIONS_HELPED,
    OPTIONS_WRONG
};

/*
 * Fill the targets and `words` (may be NULL when max_words is 0) from argv[1] on. HELPED: help was
 * printed to stdout, status 0. WRONG: what is wrong was printed to stderr, with the nearest option;
 * status 2.
 */
enum options_result options_parse(const struct options *options,
                                  int argc,
                                  char **argv,
                                  struct options_words *words) MUST_CHECK;
/* "kamiyo-gateway check: <what>" to stderr, as for a wrong option. */
void options_complain(const struct options *options, const char *format, ...) PRINTF_LIKE(2, 3);
