/* SPDX-License-Identifier: MIT */
#pragma once

#include <stdbool.h>

/*
 * An explanation (explain_json.h) for people: printed on stdout, a line for each step of the walk.
 * Members that are missing or of another type are passed over: another version of the gateway may
 * have written it. `from` = whom was asked, NULL = nobody. False: it is no explanation at all, and
 * nothing was printed.
 */
bool explain_text_print(const char *json, const char *from);
