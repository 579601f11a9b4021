/* SPDX-License-Identifier: MIT */
#pragma once

#include <stdbool.h>

enum access_log_format {
    ACCESS_LOG_JSON,
    ACCESS_LOG_COMBINED
};

/* Contract section 2 `log.access`. `file` is owned by the holder; "" = stdout. */
struct access_log_options {
    bool is_enabled;
    char *file;
    enum access_log_format format;
    double sample;      /* share of the lines that are written, 0 to 1 */
    bool denied_always; /* a denied request is written whatever `sample` says */
};
