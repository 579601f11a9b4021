/* SPDX-License-Identifier: MIT */
/*
 * `init`: the sample configuration that the build carries, to stdout or into a
 * new file. An existing file is never written to.
 */
#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "kamiyo/app/command.h"
#include "kamiyo/app/options.h"

#include "gateway_yaml.h"

static int write_file(const char *path)
{
    FILE *file = fopen(path, "wxe");
    bool is_written;

    if (file == NULL) {
        (void)fprintf(stderr, "kamiyo-gateway init: \"%s\" cannot be made: %s\n", path,
                      strerror(errno));
        return COMMAND_FAILED;
    }
    is_written = fwrite(gateway_yaml, 1, gateway_yaml_size, file) == gateway_yaml_size;
    if (fclose(file) != 0 || !is_written) {
        (void)fprintf(stderr, "kamiyo-gateway init: \"%s\" cannot be written: %s\n", path,
                      strerror(errno));
        return COMMAND_FAILED;
    }
    printf("%s is written; `kamiyo-gateway check --config %s` checks what you make of it\n", path,
           path);
    return COMMAND_OK;
}

int command_init(int argc, char **argv)
{
    static const struct options_item items[] = {{.name = NULL}};
    static const struct options options = {.command = "init",
                                           .usage = "[FILE]",
                                           .doc = "Prints a commented configuration with every key "
                                                  "and its default, or writes it to FILE,\n"
                                                  "which must not be there yet.",
                                           .items = items,
                                           .max_words = 1};
    struct options_words words;
    enum options_result result = options_parse(&options, argc, argv, &words);

    if (result != OPTIONS_PROCEED)
        return result == OPTIONS_HELPED ? COMMAND_OK : COMMAND_USAGE;
    if (words.count == 1)
        return write_file(words.items[0]);
    return fwrite(gateway_yaml, 1, gateway_yaml_size, stdout) == gateway_yaml_size ? COMMAND_OK
                                                                                   : COMMAND_FAILED;
}
