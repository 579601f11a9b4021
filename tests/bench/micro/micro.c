/* SPDX-License-Identifier: MIT */
/*
 * The stopwatch of the microbenchmarks, and their main: `micro [http | limit | route]`.
 * A run is long enough for the clock (some milliseconds), and repeated, because a
 * machine that is shared is only ever late.
 */
#include "micro.h"

#include <stdio.h>
#include <string.h>
#include <time.h>

#define RUNS        15
#define RUN_NS      4000000
#define FIRST_COUNT 256

static int64_t now_ns(void)
{
    struct timespec now;

    clock_gettime(CLOCK_MONOTONIC, &now);
    return now.tv_sec * 1000000000 + now.tv_nsec;
}

void micro_keep(uint64_t value)
{
    __asm__ volatile("" : : "r"(value)); /* read by an instruction that the compiler cannot see */
}

void micro_keep_bytes(const void *bytes)
{
    __asm__ volatile("" : : "r"(bytes) : "memory"); /* read, all that it points to, as above */
}

void micro_run(const char *name, micro_fn *run, void *arg)
{
    size_t count = FIRST_COUNT;
    size_t first = 0;
    double least = 0;

    for (int i = 0; i < RUNS;) {
        int64_t began = now_ns();
        int64_t taken;

        run(arg, first, count);
        taken = now_ns() - began;
        first += count;
        if (taken < RUN_NS) {
            count *= 2;
            continue;
        }
        if (i == 0 || (double)taken / (double)count < least)
            least = (double)taken / (double)count;
        i++;
    }
    printf("%-52s %8.1f ns\n", name, least);
}

int main(int count, char **arguments)
{
    static const struct {
        const char *name;
        void (*run)(void);
    } groups[] = {{"http", micro_http}, {"limit", micro_limit}, {"route", micro_route}};
    int done = 0;

    for (size_t i = 0; i < sizeof(groups) / sizeof(groups[0]); i++) {
        if (count > 1 && strcmp(arguments[1], groups[i].name) != 0)
            continue;
        groups[i].run();
        done++;
    }
    if (done == 0)
        fprintf(stderr, "usage: %s [http | limit | route]\n", arguments[0]);
    return done > 0 ? 0 : 2;
}
