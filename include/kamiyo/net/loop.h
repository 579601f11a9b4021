/* SPDX-License-Identifier: MIT */
#pragma once

#include <stdbool.h>
#include <stdint.h>
#include <sys/queue.h>

#include "kamiyo/base/attributes.h"
#include "kamiyo/base/clock.h"

/*
 * The event loop of one thread: the only owner of a libevent event_base. One
 * turn = wait, run what is ready, run what was deferred. The clock is read at
 * most once a turn, on the first question.
 *
 * Everything here is for the loop's own thread, except loop_post and loop_stop.
 * The base is made without locks and without precise timers.
 */
struct event_base;
struct loop;

/*
 * Once, before any thread is started: libevent's own messages go to our log,
 * and SIGPIPE is ignored (OpenSSL writes to sockets without MSG_NOSIGNAL).
 */
void loop_library_init(void);

/* NULL only when the kernel refuses an epoll or event descriptor. */
struct loop *loop_create(void) MUST_CHECK;
/* Runs the tasks that are still deferred (frees, as a rule), stops all timers and drops what was
 * posted. */
void loop_destroy(struct loop **loop);
/* Run turns until loop_stop, which may come before. */
void loop_run(struct loop *loop);
/* Run turns for at most `ms` or until loop_stop; for tests and short commands. */
void loop_run_for(struct loop *loop, int64_t ms);
/* Make loop_run return after the present turn. Any thread. */
void loop_stop(struct loop *loop);
struct event_base *loop_event_base(struct loop *loop);
/* This turn's time. */
const struct clock_time *loop_now(struct loop *loop);
/* The same in whole milliseconds. */
int64_t loop_now_ms(struct loop *loop);  /* monotonic */
int64_t loop_wall_ms(struct loop *loop); /* Unix */
/* The monotonic clock itself: ahead of loop_now_ms by what this turn has taken so far, which is
 * long when the thread had to wait for a CPU. With a faked time the same as loop_now_ms. */
int64_t loop_clock_ms(struct loop *loop);
/* Let this turn's time be the clock's again. */
void loop_refresh(struct loop *loop);
/* Tests: freeze both clocks at these values; timers go by them at the next turn. NULL = real again.
 */
void loop_fake_time(struct loop *loop, const struct clock_time *now);

/*
 * Something to be done at the end of this turn (or, when it is queued by such
 * a task, of the next), after all events that are ready: frees, flushes.
 * Embedded and owned by the caller; queueing one that is queued does nothing.
 */
typedef void loop_task_fn(void *arg);
struct loop_task {
    TAILQ_ENTRY(loop_task) entry;
    loop_task_fn *run;
    void *arg;
    bool is_queued;
};
void loop_task_init(struct loop_task *task, loop_task_fn *run, void *arg);
void loop_defer(struct loop *loop, struct loop_task *task);
void loop_task_cancel(struct loop *loop, struct loop_task *task);

/*
 * Run `run(arg)` on the loop's thread, soon. Any thread may call. The record is
 * allocated; posts still queued when the loop is destroyed are dropped unrun.
 */
void loop_post(struct loop *loop, loop_task_fn *run, void *arg);
/* The same for an `arg` that somebody must free: `drop(arg)` runs in loop_destroy if `run` never
 * did. */
void loop_post_or_drop(struct loop *loop, loop_task_fn *run, loop_task_fn *drop, void *arg);

/*
 * Timeouts. Those of one length share a queue (a list in order of expiry
 * behind one libevent timer), so arming and moving one is a few pointer
 * writes; lengths may be arbitrary, as of a jittered back-off: a queue that is
 * empty goes. Resolution is a millisecond on a coarse clock: never early, late by
 * at most some 5 ms; later only when the thread did not run, and then what has
 * arrived on sockets meanwhile goes first. Embedded and owned by the caller;
 * starting one that runs moves it. A timer is stopped when its function is called.
 */
struct loop_timer_queue;
struct loop_timer {
    TAILQ_ENTRY(loop_timer) entry;
    struct loop_timer_queue *queue; /* NULL = not running */
    int64_t deadline_ms;            /* on the monotonic clock, rounded up */
    loop_task_fn *run;
    void *arg;
};
void loop_timer_init(struct loop_timer *timer, loop_task_fn *run, void *arg);
void loop_timer_start(struct loop *loop, struct loop_timer *timer, int64_t delay_ms);
void loop_timer_stop(struct loop_timer *timer);
bool loop_timer_is_running(const struct loop_timer *timer);
