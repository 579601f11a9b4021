/* SPDX-License-Identifier: MIT */
/* Both shares are read from /proc; where a kernel does not count them they are none. */
#include "support/stopwatch.h"

#include <inttypes.h>
#include <stdio.h>
#include <unistd.h>

#include "kamiyo/base/clock.h"

static int64_t machine_ms(void)
{
    int64_t ready_ns = 0;
    int64_t stolen_ticks = 0;
    FILE *file = fopen("/proc/thread-self/schedstat", "re");

    if (file != NULL) {
        if (fscanf(file, "%*d %" SCNd64, &ready_ns) != 1)
            ready_ns = 0;
        (void)fclose(file);
    }
    file = fopen("/proc/stat", "re");
    if (file != NULL) {
        if (fscanf(file, "cpu %*d %*d %*d %*d %*d %*d %*d %" SCNd64, &stolen_ticks) != 1)
            stolen_ticks = 0;
        (void)fclose(file);
    }
    return ready_ns / 1000000 + stolen_ticks * 1000 / sysconf(_SC_CLK_TCK);
}

void stopwatch_start(struct stopwatch *watch)
{
    watch->machine_ms = machine_ms();
    watch->began_ms = clock_monotonic_ms();
}

int64_t stopwatch_own_ms(const struct stopwatch *watch)
{
    int64_t took_ms = clock_monotonic_ms() - watch->began_ms;
    int64_t own_ms = took_ms - (machine_ms() - watch->machine_ms);

    return own_ms > 0 ? own_ms : 0;
}
