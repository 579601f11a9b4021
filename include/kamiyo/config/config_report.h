/* SPDX-License-Identifier: MIT */
#pragma once

#include "kamiyo/base/attributes.h"
#include "kamiyo/base/error.h"

/*
 * What config_load found, as `check` and a refused start show it. The text is allocated
 * with mem and ends with a line break (an empty list gives ""). Files are read again for their
 * lines; values of secret keys are masked.
 */

/* For each item `file:line:column: key.path: message`, then the source line and a caret. */
char *config_format_errors(const struct error_list *errors) MUST_CHECK;
/* {"ok", "errors", "warnings", "items": [{"severity", "file", "line", "column", "length", "key",
 * "message"}]} */
char *config_format_errors_json(const struct error_list *errors) MUST_CHECK;
