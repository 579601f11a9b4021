/* SPDX-License-Identifier: MIT */
#pragma once

#include <stddef.h>

#include "kamiyo/base/slice.h"

/*
 * How many workers `auto` means: the share of CPUs that the container may use
 * (cgroup v2 cpu.max: quota / period, rounded up), else the CPUs that the
 * process may run on; at least 1.
 */
size_t cpu_count_available(void);
/* The text of a cpu.max file: "max 100000" = 0 (no bound), "150000 100000" = 2. 0 for anything
 * malformed. */
size_t cpu_count_of_quota(struct slice text);
