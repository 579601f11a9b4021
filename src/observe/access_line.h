/* SPDX-License-Identifier: MIT */
#pragma once

#include <stddef.h>
#include <stdint.h>

#include "kamiyo/base/text.h"
#include "kamiyo/observe/access_log.h"

/*
 * The text of one access-log line. Pure: a record in, bytes out.
 */

/* Room that a line may need, its end included: PIPE_BUF, so that a pipe takes it whole. */
#define ACCESS_LINE_MAX_BYTES 4096

/* The text of the second that was formatted last: most lines fall into the same. Zero-initialised.
 */
struct access_line_clock {
    int64_t second;
    enum access_log_format format;
    size_t length;
    char text[40];
};

/*
 * Write the line at `out` (ACCESS_LINE_MAX_BYTES of room) and return its length. If it does not
 * fit, the target, the user agent and the referer are cut so that it does, and end in "...".
 */
size_t access_line_format(enum access_log_format format,
                          const struct access_record *record,
                          struct access_line_clock *clock,
                          char *out);
/* The target with the values of query parameters that hold secrets replaced by "***". At most
 * `capacity` bytes of `out`. */
struct slice access_line_mask(struct slice target, char *out, size_t capacity);
