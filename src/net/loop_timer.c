/* SPDX-License-Identifier: MIT */
/*
 * Timeouts in queues, one for each length that is in use. All timers of a
 * queue have the same delay, so each new one belongs at its tail, and only the
 * head needs libevent: one struct event a queue, armed for the head's deadline
 * when nothing else is armed, and not touched when timers come, go or move.
 * When it fires it runs what is due and is armed for the new head. That makes
 * start and stop a few pointer writes and a look into a small hash table.
 *
 * A queue whose event fires on an empty list is given up. While more than
 * QUEUES_KEPT exist an empty one goes at once, so that a thousand jittered
 * back-offs leave nothing behind.
 *
 * A thread that did not run (no CPU for it, the process stopped) may find a
 * timer due and, unread, what the timer was to wait for: libevent collects what
 * is readable before it looks at the time, and a signal makes it collect nothing.
 * So a queue that is late lets the sockets be looked at once more.
 */
#include <assert.h>
#include <stdlib.h>
#include <sys/queue.h>

#include <event2/event.h>
#include <event2/event_struct.h>

#include "kamiyo/base/clock.h"
#include "kamiyo/base/mem.h"
#include "kamiyo/net/loop.h"

#include "loop_internal.h"

#define BUCKETS     64 /* a power of two; a gateway uses some 15 lengths at a time */
#define QUEUES_KEPT 48
#define LATE_MS     10 /* beyond what a coarse clock explains */

TAILQ_HEAD(loop_timer_list, loop_timer);

struct loop_timer_queue {
    LIST_ENTRY(loop_timer_queue) entry; /* in its bucket */
    struct loop_timers *timers;
    int64_t delay_ms;
    struct loop_timer_list list; /* by deadline */
    struct event event;
    bool is_armed;
    bool is_running;  /* its timers' functions are being called */
    bool has_yielded; /* it was late, and sockets have been looked at since */
};

LIST_HEAD(loop_timer_bucket, loop_timer_queue);

struct loop_timers {
    struct loop *loop;
    size_t queue_count;
    bool has_yielded; /* a queue has, and may not have run since */
    struct loop_timer_bucket buckets[BUCKETS];
};

static struct loop_timer_bucket *bucket_of(struct loop_timers *timers, int64_t delay_ms)
{
    /* Fibonacci hashing: lengths in use are round numbers, which differ in few low bits. */
    uint64_t hash = (uint64_t)delay_ms * UINT64_C(0x9e3779b97f4a7c15);

    return &timers->buckets[hash >> 58];
}

static_assert(BUCKETS == 1 << (64 - 58), "bucket_of takes the upper six bits");

static void arm(struct loop_timer_queue *queue)
{
    const struct loop_timer *head = TAILQ_FIRST(&queue->list);
    /* By the clock itself: libevent counts from its own reading, and the turn's may be old when the
     * thread had to wait for a CPU meanwhile. Whoever waits is not to wait for that twice. */
    int64_t delay_ms = head->deadline_ms - clock_monotonic_ms();
    struct timeval delay;

    if (delay_ms < 0)
        delay_ms = 0;
    delay = (struct timeval){.tv_sec = delay_ms / 1000, .tv_usec = delay_ms % 1000 * 1000};
    queue->is_armed = true;
    if (event_add(&queue->event, &delay) != 0)
        abort(); /* only memory for libevent's heap can be short here */
}

static void give_up(struct loop_timer_queue *queue)
{
    LIST_REMOVE(queue, entry);
    queue->timers->queue_count--;
    (void)event_del(&queue->event); /* need not be armed */
    mem_free(queue);
}

static bool is_due(const struct loop_timer_queue *queue)
{
    const struct loop_timer *head = TAILQ_FIRST(&queue->list);

    return head != NULL && head->deadline_ms <= loop_now_ms(queue->timers->loop);
}

/* A timer that is started again by one of these functions waits behind `last` for another turn. */
static void run_due(struct loop_timer_queue *queue)
{
    struct loop_timer last = {.queue = queue};
    struct loop_timer *before;

    if (!is_due(queue))
        return;
    last.deadline_ms = loop_now_ms(queue->timers->loop);
    TAILQ_FOREACH (before, &queue->list, entry) {
        if (before->deadline_ms > last.deadline_ms)
            break;
    }
    if (before != NULL)
        TAILQ_INSERT_BEFORE(before, &last, entry);
    else
        TAILQ_INSERT_TAIL(&queue->list, &last, entry);
    queue->is_running = true;
    while ((before = TAILQ_FIRST(&queue->list)) != &last) {
        TAILQ_REMOVE(&queue->list, before, entry);
        before->queue = NULL;
        before->run(before->arg);
    }
    TAILQ_REMOVE(&queue->list, &last, entry);
    queue->is_running = false;
}

static bool is_late(const struct loop_timer_queue *queue)
{
    const struct loop_timer *head = TAILQ_FIRST(&queue->list);

    return head != NULL && head->deadline_ms + LATE_MS < loop_now_ms(queue->timers->loop);
}

static void on_time(int fd, short what, void *arg)
{
    struct loop_timer_queue *queue = arg;

    (void)fd;
    (void)what;
    queue->is_armed = false;
    if (loop_is_faked(queue->timers->loop))
        return; /* loop_timers_run_all sees to it */
    if (!queue->has_yielded && is_late(queue)) {
        queue->has_yielded = true;
        queue->timers->has_yielded = true;
        arm(queue); /* at once: in the next turn, behind what is readable by then */
        return;
    }
    queue->has_yielded = false;
    run_due(queue);
    if (TAILQ_EMPTY(&queue->list))
        give_up(queue);
    else
        arm(queue);
}

static struct loop_timer_queue *find_queue(struct loop_timers *timers, int64_t delay_ms)
{
    struct loop_timer_bucket *bucket = bucket_of(timers, delay_ms);
    struct loop_timer_queue *queue;

    LIST_FOREACH (queue, bucket, entry) {
        if (queue->delay_ms == delay_ms)
            return queue;
    }
    queue = mem_alloc_zero(sizeof(*queue));
    queue->timers = timers;
    queue->delay_ms = delay_ms;
    TAILQ_INIT(&queue->list);
    if (event_assign(&queue->event, loop_event_base(timers->loop), -1, 0, on_time, queue) != 0)
        abort(); /* constant arguments: only a bug gets here */
    LIST_INSERT_HEAD(bucket, queue, entry);
    timers->queue_count++;
    return queue;
}

/* At the tail as a rule; before it only after a faked clock went back. */
static void insert(struct loop_timer_queue *queue, struct loop_timer *timer)
{
    struct loop_timer *after = TAILQ_LAST(&queue->list, loop_timer_list);

    while (after != NULL && after->deadline_ms > timer->deadline_ms)
        after = TAILQ_PREV(after, loop_timer_list, entry);
    if (after != NULL)
        TAILQ_INSERT_AFTER(&queue->list, after, timer, entry);
    else
        TAILQ_INSERT_HEAD(&queue->list, timer, entry);
}

void loop_timer_init(struct loop_timer *timer, loop_task_fn *run, void *arg)
{
    *timer = (struct loop_timer){.run = run, .arg = arg};
}

void loop_timer_start(struct loop *loop, struct loop_timer *timer, int64_t delay_ms)
{
    struct loop_timer_queue *queue = timer->queue;

    if (delay_ms < 0)
        delay_ms = 0;
    if (queue != NULL && queue->delay_ms == delay_ms) {
        TAILQ_REMOVE(&queue->list, timer, entry); /* the queue stays: it is used again at once */
    } else {
        loop_timer_stop(timer);
        queue = find_queue(loop_timers(loop), delay_ms);
    }
    timer->queue = queue;
    timer->deadline_ms = (loop_now(loop)->monotonic_us + 999) / 1000 + delay_ms;
    insert(queue, timer);
    if (!queue->is_armed && !queue->is_running && !loop_is_faked(loop))
        arm(queue);
}

void loop_timer_stop(struct loop_timer *timer)
{
    struct loop_timer_queue *queue = timer->queue;

    if (queue == NULL)
        return;
    TAILQ_REMOVE(&queue->list, timer, entry);
    timer->queue = NULL;
    if (TAILQ_EMPTY(&queue->list) && queue->timers->queue_count > QUEUES_KEPT)
        give_up(queue); /* never while it runs: then its marker is in the list */
}

bool loop_timer_is_running(const struct loop_timer *timer)
{
    return timer->queue != NULL;
}

struct loop_timers *loop_timers_create(struct loop *loop)
{
    struct loop_timers *timers = mem_alloc_zero(sizeof(*timers));

    timers->loop = loop;
    for (size_t i = 0; i < BUCKETS; i++)
        LIST_INIT(&timers->buckets[i]);
    return timers;
}

void loop_timers_destroy(struct loop_timers **timers_pointer)
{
    struct loop_timers *timers = *timers_pointer;
    struct loop_timer_queue *queue;
    struct loop_timer *timer;

    if (timers == NULL)
        return;
    *timers_pointer = NULL;
    for (size_t i = 0; i < BUCKETS; i++) {
        while ((queue = LIST_FIRST(&timers->buckets[i])) != NULL) {
            while ((timer = TAILQ_FIRST(&queue->list)) != NULL) {
                TAILQ_REMOVE(&queue->list, timer, entry);
                timer->queue = NULL;
            }
            give_up(queue);
        }
    }
    mem_free(timers);
}

bool loop_timers_take_yielded(struct loop_timers *timers)
{
    bool has_yielded = timers->has_yielded;

    timers->has_yielded = false;
    return has_yielded;
}

bool loop_timers_run_all(struct loop_timers *timers)
{
    struct loop_timer_queue *due;
    bool is_any_due = false;

    /* A function may add and remove queues, so the search starts again after each. */
    for (size_t rounds = 0; rounds < 1000; rounds++) {
        due = NULL;
        for (size_t i = 0; i < BUCKETS && due == NULL; i++) {
            LIST_FOREACH (due, &timers->buckets[i], entry) {
                if (is_due(due))
                    break;
            }
        }
        if (due == NULL)
            return false;
        is_any_due = due->delay_ms == 0;
        run_due(due);
        if (is_any_due) /* one that starts itself again would never let the turn begin */
            return true;
    }
    return is_any_due;
}

void loop_timers_rearm_all(struct loop_timers *timers)
{
    struct loop_timer_queue *queue;

    for (size_t i = 0; i < BUCKETS; i++) {
        LIST_FOREACH (queue, &timers->buckets[i], entry) {
            if (!TAILQ_EMPTY(&queue->list))
                arm(queue);
        }
    }
}
