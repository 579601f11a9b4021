/* SPDX-License-Identifier: MIT */
/*
 * `help`: the commands; `help COMMAND`: what it takes; `help KEY`: a key of the
 * configuration, or all below it, from the schema's rows.
 */
#include <stdio.h>
#include <string.h>

#include "kamiyo/app/command.h"
#include "kamiyo/base/attributes.h"
#include "kamiyo/base/mem.h"
#include "kamiyo/base/text.h"
#include "kamiyo/config/config_route.h"
#include "kamiyo/config/config_schema.h"

static void print_commands(void)
{
    puts("kamiyo-gateway limits and forwards HTTP requests.\n\n"
         "  kamiyo-gateway --upstream localhost:8000      serves port 10000, no Redis needed\n"
         "  kamiyo-gateway --config gateway.yaml          with a configuration (see init)\n\n"
         "Commands:");
    for (const struct command *command = command_table; command->name != NULL; command++)
        printf("  %-12s %s\n", command->name, command->summary);
    puts("\n`kamiyo-gateway COMMAND --help` tells what a command takes, `help keys` lists the keys "
         "of the configuration.");
}

static void print_key(const struct config_key *key, const char *prefix)
{
    char allowed[300];

    printf("%s%s\n    %s\n    takes %s%s%s", prefix, key->path, key->doc,
           config_table_describe(key, allowed, sizeof(allowed)),
           key->fallback != NULL ? "; default " : "", "");
    if (key->fallback != NULL && strchr(key->fallback, '\n') == NULL)
        printf("%s", key->fallback);
    else if (key->fallback != NULL)
        printf("in `kamiyo-gateway init`");
    if (key->variable != NULL)
        printf("; environment %s", key->variable);
    if (key->flag != NULL)
        printf("; flag %s", key->flag);
    putchar('\n');
}

/* The key itself and all below it; "keys" means every one. */
static bool print_keys(const struct config_table *table, const char *path, const char *prefix)
{
    size_t length = strlen(path);
    bool is_all = strcmp(path, "keys") == 0;
    bool is_found = false;

    for (size_t i = 0; i < table->count; i++) {
        const char *name = table->keys[i].path;

        if (is_all ||
            (strncmp(name, path, length) == 0 && (name[length] == '\0' || name[length] == '.'))) {
            print_key(&table->keys[i], prefix);
            is_found = true;
        }
    }
    return is_found;
}

static int complain_unknown(const char *word)
{
    const char **names = mem_alloc_zero((config_schema.count + 16) * sizeof(*names));
    size_t count = 0;
    const char *nearest;

    for (const struct command *command = command_table; command->name != NULL; command++)
        names[count++] = command->name;
    for (size_t i = 0; i < config_schema.count; i++)
        names[count++] = config_schema.keys[i].path;
    nearest = text_nearest(slice_of(word), names);
    (void)fprintf(stderr, "kamiyo-gateway help: \"%s\" is neither a command nor a key", word);
    if (nearest != NULL)
        (void)fprintf(stderr, "; did you mean \"%s\"?", nearest);
    (void)fputs("\n`kamiyo-gateway help` lists the commands, `kamiyo-gateway help keys` the keys\n",
                stderr);
    mem_free(names);
    return COMMAND_USAGE;
}

int command_help(int argc, char **argv)
{
    static char help_option[] = "--help";

    if (argc < 2 || argv[1][0] == '-') {
        print_commands();
        return COMMAND_OK;
    }
    for (const struct command *command = command_table; command->name != NULL; command++) {
        char *arguments[] = {argv[1], help_option, NULL};

        if (strcmp(command->name, argv[1]) == 0 && command->run != command_help)
            return command->run(2, arguments);
    }
    if (strcmp(argv[1], "help") == 0) {
        print_commands();
        return COMMAND_OK;
    }
    if (!print_keys(&config_schema, argv[1], ""))
        return complain_unknown(argv[1]);
    if (strcmp(argv[1], "routes") == 0 || strcmp(argv[1], "keys") == 0)
        (void)print_keys(&config_route_table, "keys", "routes[].");
    return COMMAND_OK;
}
