/* SPDX-License-Identifier: MIT */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

#include "kamiyo/base/attributes.h"
#include "kamiyo/net/addr.h"

/*
 * A connection of a command that does one thing and ends: blocking, but never
 * beyond its deadline (clock_monotonic_ms). Never for the gateway itself.
 * Failures are -1 or false with errno; ETIMEDOUT = the deadline.
 */

/* Connect. A listener on every address is reached through loopback: `endpoint` is changed to that.
 */
int dial_open(struct addr_endpoint *endpoint, int64_t deadline_ms) MUST_CHECK;
/* All of it. */
bool dial_send(int fd, const char *bytes, size_t length, int64_t deadline_ms) MUST_CHECK;
/* At least one byte; 0 = the other side has closed. */
ssize_t dial_receive(int fd, char *bytes, size_t size, int64_t deadline_ms) MUST_CHECK;
