/* SPDX-License-Identifier: MIT */
#pragma once

#include <stdint.h>

/*
 * The two clocks. A loop reads them once a turn (loop_now); arithmetic takes
 * the time as an argument, so tests bring their own.
 */
struct clock_time {
    int64_t monotonic_us; /* for durations and deadlines; never goes back */
    int64_t wall_us;      /* Unix time, for people, headers and logs; may jump */
};

void clock_read(struct clock_time *now);
int64_t clock_monotonic_ms(void);
int64_t clock_wall_ms(void);
