/* SPDX-License-Identifier: MIT */
/*
 * The table of commands and the step from the first word to its function.
 * Adding a command is a file command_<name>.c and a row here.
 */
#include "kamiyo/app/command.h"

#include <stdio.h>
#include <string.h>

#include "kamiyo/base/attributes.h"
#include "kamiyo/base/text.h"

const struct command command_table[] = {
    {"run", command_run, "run the gateway (also without any word)"},
    {"check", command_check,
     "check the configuration; --online also reaches Redis and the upstream"},
    {"explain", command_explain,
     "what the gateway would make of a request; --live asks the running one"},
    {"replay", command_replay, "run an access log through a policy: who would be refused"},
    {"top", command_top, "what the running gateway does, second by second, in the terminal"},
    {"init", command_init, "print a commented configuration"},
    {"healthcheck", command_healthcheck, "exit 0 when the running gateway is well; for containers"},
    {"version", command_version, "the version"},
    {"help", command_help, "this text; `help check` and `help redis.timeout` say more"},
    {NULL, NULL, NULL},
};

static const struct command *find_command(const char *name)
{
    for (const struct command *command = command_table; command->name != NULL; command++) {
        if (strcmp(command->name, name) == 0)
            return command;
    }
    return NULL;
}

static int complain_unknown(const char *word)
{
    const char *names[COUNT_OF(command_table)];
    const char *nearest;

    for (size_t i = 0; i < COUNT_OF(command_table); i++)
        names[i] = command_table[i].name;
    nearest = text_nearest(slice_of(word), names);
    (void)fprintf(stderr, "kamiyo-gateway: there is no command \"%s\"", word);
    if (nearest != NULL)
        (void)fprintf(stderr, "; did you mean \"%s\"?", nearest);
    (void)fputs("\n`kamiyo-gateway help` lists them\n", stderr);
    return COMMAND_USAGE;
}

int command_main(int argc, char **argv)
{
    static char run[] = "run";
    char *arguments[] = {run, NULL};
    const char *word = argc > 1 ? argv[1] : "run";
    const struct command *command;

    if (strcmp(word, "--help") == 0 || strcmp(word, "-h") == 0)
        word = "help";
    else if (strcmp(word, "--version") == 0 || strcmp(word, "-V") == 0)
        word = "version";
    if (argc <= 1)
        return command_run(1, arguments);
    if (word[0] == '-')
        return command_run(argc, argv); /* options only: argv[0] stands where the word would */
    command = find_command(word);
    if (command == NULL)
        return complain_unknown(word);
    return command->run(argc - 1, argv + 1);
}
