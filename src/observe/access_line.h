/* SPDX-License-Identifier: MIT */
#pragma once

#include <stddef.h>
#include <stdint.h>

#include "kamiyo/base/text.h"
#include "kamiyo/observe/access_log.h"

/*
 * The text of one access-log line. Pure: a record in, bytes out.
 */

/* The longest line, its end included: PIPE_BUF, so that a pipe takes it whole. */
#define ACCESS_LINE_MAX_BYTES 4096
/* Room that writing one may need beyond, before it is known that it does not fit. */
#define ACCESS_LINE_SLACK 1024
#define ACCESS_LINE_ROOM  (ACCESS_LINE_MAX_BYTES + ACCESS_LINE_SLACK)

/* The text of the second that was formatted last: most lines fall into the same. Zero-initialised.
 */
struct access_line_clock {
    int64_t second;
    enum access_log_format format;
    size_t length;
    char text[40];
};

/*
 * Write the line at `out` (ACCESS_LINE_ROOM of room) and return its length. If it is longer than
 * ACCESS_LINE_MAX_BYTES, the target, the user agent and the referer are cut, and end in "...".
 */
size_t access_line_format(enum access_log_format format,
                          const struct access_record *record,
                          struct access_line_clock *clock,
                          char *out);
/* The target with the values of query parameters that hold secrets replaced by "***". At most
 * `capacity` bytes of `out`. */
struct slice access_line_mask(struct slice target, char *out, size_t capacity);
