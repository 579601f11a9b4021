/* SPDX-License-Identifier: MIT */
/*
 * `version`: one line, the first word of which is the version for scripts that cut it.
 */
#include <stdio.h>

#include "kamiyo/app/command.h"
#include "kamiyo/app/options.h"
#include "kamiyo/version.h"

int command_version(int argc, char **argv)
{
    static const struct options_item items[] = {{.name = NULL}};
    static const struct options options = {
        .command = "version",
        .usage = "",
        .doc = "Prints the version and the commit it was built from.",
        .items = items};

    /* Called as --version too, where what follows is no argument of this command. */
    if (argv[0][0] != '-') {
        enum options_result result = options_parse(&options, argc, argv, NULL);

        if (result != OPTIONS_PROCEED)
            return result == OPTIONS_HELPED ? COMMAND_OK : COMMAND_USAGE;
    }
    printf("kamiyo-gateway %s (%s)\n", KAMIYO_VERSION, KAMIYO_COMMIT);
    return COMMAND_OK;
}
