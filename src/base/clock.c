/* SPDX-License-Identifier: MIT */
/*
 * Reading the kernel's clocks through the vdso: no system call. Loops cache
 * what is read here for a turn; nothing else reads time on the data path.
 */
#include "kamiyo/base/clock.h"

#include <time.h>

static int64_t read_us(clockid_t clock)
{
    struct timespec now;
    clock_gettime(clock, &now);
    return (int64_t)now.tv_sec * 1000000 + now.tv_nsec / 1000;
}

void clock_read(struct clock_time *now)
{
    now->monotonic_us = read_us(CLOCK_MONOTONIC);
    now->wall_us = read_us(CLOCK_REALTIME);
}

int64_t clock_monotonic_ms(void)
{
    return read_us(CLOCK_MONOTONIC) / 1000;
}

int64_t clock_wall_ms(void)
{
    return read_us(CLOCK_REALTIME) / 1000;
}
