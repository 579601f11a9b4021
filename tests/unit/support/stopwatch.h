/* SPDX-License-Identifier: MIT */
#pragma once

#include <stdint.h>

/*
 * What something took, less what the machine took: the time in which this
 * thread was ready and had no CPU, and the time that a virtual machine's host
 * kept from its CPUs. For bounds that a busy machine is not to break; a lower
 * bound is one of the plain time.
 */
struct stopwatch {
    int64_t began_ms;
    int64_t machine_ms;
};

void stopwatch_start(struct stopwatch *watch);
/* Milliseconds since the start that are the tested code's own; for the thread that started it. */
int64_t stopwatch_own_ms(const struct stopwatch *watch);
