/* SPDX-License-Identifier: MIT */
#pragma once

#include <stddef.h>

/*
 * The words of the command line. Each command is a function of its own file
 * that takes its arguments as main does (argv[0] is the command's own name),
 * prints what it has to say and returns the exit status: 0 fine, 1 the answer
 * is no, 2 it was called wrongly.
 */
enum command_status {
    COMMAND_OK = 0,
    COMMAND_FAILED = 1,
    COMMAND_USAGE = 2
};

typedef int command_fn(int argc, char **argv);

struct command {
    const char *name;
    command_fn *run;
    const char *summary; /* one line for `help` */
};

/* Every command, in the order of `help`; ended by a NULL name. */
extern const struct command command_table[];

/*
 * What main does: find the command that argv[1] names and run it. No word, or
 * one that begins with "-", means `run`; an unknown word is answered with the
 * nearest command and status 2.
 */
int command_main(int argc, char **argv);

int command_run(int argc, char **argv);
int command_check(int argc, char **argv);
int command_explain(int argc, char **argv);
int command_replay(int argc, char **argv);
int command_top(int argc, char **argv);
int command_init(int argc, char **argv);
int command_healthcheck(int argc, char **argv);
int command_version(int argc, char **argv);
int command_help(int argc, char **argv);
