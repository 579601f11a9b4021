/* SPDX-License-Identifier: MIT */
/*
 * The daemon's entry: everything is a command.
 */
#include "kamiyo/app/command.h"
#include "kamiyo/net/loop.h"

int main(int argc, char **argv)
{
    loop_library_init();
    return command_main(argc, argv);
}
