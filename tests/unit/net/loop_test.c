/* SPDX-License-Identifier: MIT */
/* Turns, deferred tasks, posts from other threads, and timeouts on a real and on a faked clock. */
#include <pthread.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>
#include <sys/time.h>
#include <time.h>
#include <unistd.h>

#include <cmocka.h>
#include <event2/event.h>

#include "kamiyo/net/loop.h"

#include "loop_fixture.h"
#include "support/stopwatch.h"

struct counter {
    struct loop *loop;
    struct loop_task task;
    struct loop_timer timer;
    int count;
    int repeats;
    int64_t delay_ms;
    bool is_done;
};

static void count_task(void *arg)
{
    struct counter *counter = arg;

    counter->count++;
    if (counter->count < counter->repeats)
        loop_defer(counter->loop, &counter->task);
    else
        counter->is_done = true;
}

static void count_timer(void *arg)
{
    struct counter *counter = arg;

    assert_false(loop_timer_is_running(&counter->timer));
    counter->count++;
    if (counter->count < counter->repeats)
        loop_timer_start(counter->loop, &counter->timer, counter->delay_ms);
    else
        counter->is_done = true;
}

static void counter_init(struct counter *counter, struct loop *loop, int repeats)
{
    *counter = (struct counter){.loop = loop, .repeats = repeats};
    loop_task_init(&counter->task, count_task, counter);
    loop_timer_init(&counter->timer, count_timer, counter);
}

static void test_task_runs_once(void **state)
{
    struct loop *loop = *state;
    struct counter counter;

    counter_init(&counter, loop, 1);
    loop_defer(loop, &counter.task);
    loop_defer(loop, &counter.task);
    assert_int_equal(counter.count, 0);
    loop_fixture_run_until(loop, &counter.is_done);
    loop_run_for(loop, 2);
    assert_int_equal(counter.count, 1);
    assert_false(counter.task.is_queued);
}

/* A task that a task queues runs in the next turn, which does not wait. */
static void test_task_queued_by_task(void **state)
{
    struct loop *loop = *state;
    struct counter counter;

    counter_init(&counter, loop, 1000);
    loop_defer(loop, &counter.task);
    loop_fixture_run_until(loop, &counter.is_done);
    assert_int_equal(counter.count, 1000);
}

static void cancel_other(void *arg)
{
    struct counter *other = arg;

    loop_task_cancel(other->loop, &other->task);
}

static void test_task_cancelled_by_task(void **state)
{
    struct loop *loop = *state;
    struct counter counter;
    struct loop_task canceller;

    counter_init(&counter, loop, 1);
    loop_task_init(&canceller, cancel_other, &counter);
    loop_defer(loop, &canceller);
    loop_defer(loop, &counter.task);
    loop_run_for(loop, 2);
    assert_int_equal(counter.count, 0);
    loop_task_cancel(loop, &counter.task);
}

static void test_destroy_runs_tasks_and_drops_posts(void **state)
{
    struct loop *loop = loop_create();
    struct counter task;
    struct counter dropped;
    struct counter timer;

    (void)state;
    assert_non_null(loop);
    counter_init(&task, loop, 2);
    counter_init(&dropped, loop, 1);
    counter_init(&timer, loop, 1);
    loop_defer(loop, &task.task);
    loop_post_or_drop(loop, cancel_other, count_task, &dropped);
    loop_post(loop, count_task, &timer);
    loop_timer_start(loop, &timer.timer, 1);
    loop_destroy(&loop);
    assert_null(loop);
    assert_int_equal(task.count, 2);
    assert_int_equal(dropped.count, 1);
    assert_int_equal(timer.count, 0);
    assert_false(loop_timer_is_running(&timer.timer));
    loop_destroy(&loop);
}

#define POSTS_PER_THREAD 5000

struct poster {
    struct loop *loop;
    int received; /* loop's thread only */
    int expected;
};

static void on_post(void *arg)
{
    struct poster *poster = arg;

    if (++poster->received == poster->expected)
        loop_stop(poster->loop);
}

static void *post_many(void *arg)
{
    struct poster *poster = arg;

    for (int i = 0; i < POSTS_PER_THREAD; i++)
        loop_post(poster->loop, on_post, poster);
    return NULL;
}

static void test_posts_from_threads(void **state)
{
    struct poster poster = {.loop = *state, .expected = 3 * POSTS_PER_THREAD};
    pthread_t threads[3];

    for (size_t i = 0; i < 3; i++)
        assert_int_equal(pthread_create(&threads[i], NULL, post_many, &poster), 0);
    loop_run(poster.loop);
    for (size_t i = 0; i < 3; i++)
        assert_int_equal(pthread_join(threads[i], NULL), 0);
    assert_int_equal(poster.received, poster.expected);
}

static void *stop_loop(void *arg)
{
    loop_stop(arg);
    return NULL;
}

static void test_stop_from_thread_and_before_run(void **state)
{
    struct loop *loop = *state;
    pthread_t thread;

    assert_int_equal(pthread_create(&thread, NULL, stop_loop, loop), 0);
    loop_run(loop);
    assert_int_equal(pthread_join(thread, NULL), 0);
    loop_stop(loop);
    loop_run(loop);
}

static void test_clock_stands_still_within_a_turn(void **state)
{
    struct loop *loop = *state;
    const struct clock_time first = *loop_now(loop);

    assert_int_equal(loop_now(loop)->monotonic_us, first.monotonic_us);
    loop_run_for(loop, 5);
    assert_true(loop_now(loop)->monotonic_us > first.monotonic_us);
    assert_int_equal(loop_now_ms(loop), loop_now(loop)->monotonic_us / 1000);
    assert_int_equal(loop_wall_ms(loop), loop_now(loop)->wall_us / 1000);
}

static void test_timer_is_never_early(void **state)
{
    struct loop *loop = *state;

    for (int64_t delay_ms = 0; delay_ms <= 30; delay_ms += 3) {
        struct counter counter;
        int64_t start_us;
        struct clock_time now;

        counter_init(&counter, loop, 1);
        loop_run_for(loop, 1); /* so that the loop's clock is fresh */
        clock_read(&now);
        start_us = now.monotonic_us;
        loop_timer_start(loop, &counter.timer, delay_ms);
        loop_fixture_run_until(loop, &counter.is_done);
        clock_read(&now);
        assert_true(now.monotonic_us - start_us >=
                    delay_ms * 1000 - 2000); /* the turn's clock may be older */
    }
}

static void test_timer_moves_and_stops(void **state)
{
    struct loop *loop = *state;
    struct clock_time now = {.monotonic_us = 5000000, .wall_us = 1000};
    struct counter a;
    struct counter b;

    loop_fake_time(loop, &now);
    counter_init(&a, loop, 1);
    counter_init(&b, loop, 1);
    loop_timer_start(loop, &a.timer, 100);
    loop_timer_start(loop, &b.timer, 100);
    now.monotonic_us += 60000;
    loop_fake_time(loop, &now);
    loop_timer_start(loop, &a.timer, 100); /* moves behind b */
    now.monotonic_us += 39000;
    loop_fake_time(loop, &now);
    loop_run_for(loop, 0);
    assert_int_equal(b.count, 0);
    now.monotonic_us += 1000;
    loop_fake_time(loop, &now);
    loop_run_for(loop, 0);
    assert_int_equal(a.count, 0);
    assert_int_equal(b.count, 1);
    loop_timer_stop(&a.timer);
    loop_timer_stop(&a.timer);
    now.monotonic_us += 1000000;
    loop_fake_time(loop, &now);
    loop_run_for(loop, 0);
    assert_int_equal(a.count, 0);
    loop_timer_start(loop, &a.timer, 7);
    loop_timer_start(loop, &a.timer, 8); /* another queue */
    now.monotonic_us += 7000;
    loop_fake_time(loop, &now);
    loop_run_for(loop, 0);
    assert_int_equal(a.count, 0);
    loop_fake_time(loop, NULL); /* a deadline of long ago by the real clock, or far ahead */
    loop_timer_stop(&a.timer);
}

/* One that starts itself again without a delay must not keep the turn for itself. */
static void test_timer_without_delay_lets_others_run(void **state)
{
    struct loop *loop = *state;
    struct counter timer;
    struct counter task;

    counter_init(&timer, loop, 1000000000);
    counter_init(&task, loop, 50);
    loop_timer_start(loop, &timer.timer, 0);
    loop_defer(loop, &task.task);
    loop_fixture_run_until(loop, &task.is_done);
    assert_true(timer.count < 1000);
    loop_timer_stop(&timer.timer);
}

struct stopper {
    struct loop_timer timer;
    struct counter *victim;
};

static void stop_victim(void *arg)
{
    struct stopper *stopper = arg;

    loop_timer_stop(&stopper->victim->timer);
}

static void test_timer_stopped_by_its_neighbour(void **state)
{
    struct loop *loop = *state;
    struct counter victim;
    struct stopper stopper = {.victim = &victim};

    counter_init(&victim, loop, 1);
    loop_timer_init(&stopper.timer, stop_victim, &stopper);
    loop_timer_start(loop, &stopper.timer, 5);
    loop_timer_start(loop, &victim.timer, 5);
    loop_run_for(loop, 20);
    assert_false(loop_timer_is_running(&stopper.timer));
    assert_int_equal(victim.count, 0);
}

/* Thousands of lengths, as of jittered back-offs: all fire, on queues that come and go. */
static void test_many_lengths(void **state)
{
    enum {
        COUNT = 3000
    };
    static struct counter counters[COUNT];
    struct loop *loop = *state;

    for (int i = 0; i < COUNT; i++) {
        counter_init(&counters[i], loop, 1);
        loop_timer_start(loop, &counters[i].timer, (i * 7919) % COUNT + 1);
    }
    for (int i = 0; i < COUNT; i++) {
        if ((i * 7919) % COUNT >= 40)
            loop_timer_stop(&counters[i].timer);
    }
    /* The longest need not be the last: on a busy machine it may have been started long before. */
    for (int i = 0; i < COUNT; i++) {
        if ((i * 7919) % COUNT < 40)
            loop_fixture_run_until(loop, &counters[i].is_done);
    }
    for (int i = 0; i < COUNT; i++)
        assert_int_equal(counters[i].count, (i * 7919) % COUNT < 40 ? 1 : 0);
}

/* Armed once for the first; later starts and stops of the same length do not touch libevent, yet
 * nothing is lost. */
static void test_queue_is_armed_lazily(void **state)
{
    struct loop *loop = *state;
    struct counter counter;
    bool was_held_up = false; /* by a busy machine, so that it rightly fired */

    counter_init(&counter, loop, 1);
    for (int i = 0; i < 20; i++) {
        int64_t start_ms = clock_monotonic_ms();

        loop_timer_start(loop, &counter.timer, 60);
        loop_run_for(loop, 5);
        was_held_up = was_held_up || clock_monotonic_ms() - start_ms > 50;
    }
    assert_true(counter.count == 0 || was_held_up);
    loop_timer_stop(&counter.timer);
    counter.count = 0;
    loop_run_for(loop, 100);
    assert_int_equal(counter.count, 0);
    counter.is_done = false;
    loop_timer_start(loop, &counter.timer, 10);
    loop_fixture_run_until(loop, &counter.is_done);
}

struct late_start {
    struct loop *loop;
    struct counter *counter;
    struct stopwatch started;
};

static void start_in_an_old_turn(void *arg)
{
    struct late_start *late = arg;
    const struct timespec pause = {.tv_nsec = 400000000};

    (void)loop_now(late->loop);
    (void)nanosleep(&pause, NULL);
    stopwatch_start(&late->started);
    loop_timer_start(late->loop, &late->counter->timer, 300);
}

/* What a thread waited for a CPU within a turn is not waited for again. */
static void test_timer_counts_from_the_turn(void **state)
{
    struct loop *loop = *state;
    struct counter counter;
    struct late_start late = {.loop = loop, .counter = &counter};
    struct loop_task task;

    counter_init(&counter, loop, 1);
    loop_task_init(&task, start_in_an_old_turn, &late);
    loop_defer(loop, &task);
    loop_fixture_run_until(loop, &counter.is_done);
    assert_in_range(stopwatch_own_ms(&late.started), 0, 200);
}

static int sleeper_fd;

/* The thread stands still for as long as this sleeps, and meanwhile something arrives. */
static void stand_still(int number)
{
    const struct timespec pause = {.tv_nsec = 60000000};

    (void)number;
    (void)nanosleep(&pause, NULL);
    (void)!write(sleeper_fd, "x", 1);
}

struct reader {
    struct counter *timer;
    bool was_first;
};

static void on_arrived(int fd, short what, void *arg)
{
    struct reader *reader = arg;
    char byte;

    (void)what;
    assert_int_equal(read(fd, &byte, 1), 1);
    reader->was_first = reader->timer->count == 0;
    loop_timer_stop(&reader->timer->timer);
    reader->timer->is_done = true;
}

/* A signal ends the wait without a look at any socket, and by then the timer is due. */
static void test_what_has_arrived_is_before_a_late_timer(void **state)
{
    struct loop *loop = *state;
    struct counter counter;
    struct reader reader = {.timer = &counter};
    struct sigaction action = {.sa_handler = stand_still};
    struct sigaction before;
    const struct itimerval soon = {.it_value.tv_usec = 10000};
    struct event *arrival;
    int fds[2];

    assert_int_equal(pipe(fds), 0);
    sleeper_fd = fds[1];
    arrival = event_new(loop_event_base(loop), fds[0], EV_READ, on_arrived, &reader);
    assert_int_equal(event_add(arrival, NULL), 0);
    counter_init(&counter, loop, 1);
    assert_int_equal(sigaction(SIGALRM, &action, &before), 0);
    /* First, so that the signal is always before the timer, however long this takes. */
    assert_int_equal(setitimer(ITIMER_REAL, &soon, NULL), 0);
    loop_timer_start(loop, &counter.timer, 30);
    loop_fixture_run_until(loop, &counter.is_done);
    loop_timer_stop(&counter.timer);
    assert_true(reader.was_first);
    assert_int_equal(counter.count, 0);
    assert_int_equal(sigaction(SIGALRM, &before, NULL), 0);
    event_free(arrival);
    (void)close(fds[0]);
    (void)close(fds[1]);
}

#define TEST(function) \
    cmocka_unit_test_setup_teardown(function, loop_fixture_setup, loop_fixture_teardown)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(test_task_runs_once),
        TEST(test_task_queued_by_task),
        TEST(test_task_cancelled_by_task),
        cmocka_unit_test(test_destroy_runs_tasks_and_drops_posts),
        TEST(test_posts_from_threads),
        TEST(test_stop_from_thread_and_before_run),
        TEST(test_clock_stands_still_within_a_turn),
        TEST(test_timer_is_never_early),
        TEST(test_timer_moves_and_stops),
        TEST(test_timer_without_delay_lets_others_run),
        TEST(test_timer_stopped_by_its_neighbour),
        TEST(test_many_lengths),
        TEST(test_queue_is_armed_lazily),
        TEST(test_timer_counts_from_the_turn),
        TEST(test_what_has_arrived_is_before_a_late_timer),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
