/* SPDX-License-Identifier: MIT */
#pragma once

#include <stddef.h>

#include "kamiyo/base/slice.h"

/* A command as Redis reads it (RESP2): "*2\r\n$3\r\nGET\r\n$1\r\nx\r\n". */

/* Bytes that redis_wire_write may need, its terminator included. */
size_t redis_wire_size(const struct slice *arguments, size_t count);
/* The length. */
size_t redis_wire_write(const struct slice *arguments, size_t count, char *out);
