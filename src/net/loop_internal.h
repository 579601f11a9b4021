/* SPDX-License-Identifier: MIT */
#pragma once

#include <stdbool.h>

/*
 * Between loop.c and loop_timer.c only: the loop owns its timers and, when
 * tests have faked its clock, runs them itself at the start of each turn.
 */
struct loop;
struct loop_timers;

struct loop_timers *loop_timers_create(struct loop *loop);
void loop_timers_destroy(struct loop_timers **timers);
/* Run all that are due by the loop's clock; true when some are due still (they were started
 * meanwhile). */
bool loop_timers_run_all(struct loop_timers *timers);
/* Go by the real clock again. */
void loop_timers_rearm_all(struct loop_timers *timers);

struct loop_timers *loop_timers(struct loop *loop);
bool loop_is_faked(const struct loop *loop);
/* A queue was late and let the sockets be looked at first, since this was asked last. */
bool loop_timers_take_yielded(struct loop_timers *timers);
