/* SPDX-License-Identifier: MIT */
/*
 * The loop of one thread over a libevent base without locks. A turn is one
 * event_base_loop(EVLOOP_ONCE) and then the tasks that were deferred; it waits
 * in the kernel only when no task is left. The clock is read on the first
 * question after the wait and kept for the rest of the turn.
 *
 * Other threads reach in through one list behind a mutex and an eventfd, which
 * is written only when the list was empty. Timeouts are in loop_timer.c.
 */
#include "kamiyo/net/loop.h"

#include <assert.h>
#include <errno.h>
#include <pthread.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <unistd.h>

#include <event2/event.h>
#include <event2/event_struct.h>

#include "kamiyo/base/log.h"
#include "kamiyo/base/mem.h"

#include "loop_internal.h"

struct loop_post {
    STAILQ_ENTRY(loop_post) entry;
    loop_task_fn *run;
    loop_task_fn *drop; /* NULL = nothing to free */
    void *arg;
};

STAILQ_HEAD(loop_post_list, loop_post);
TAILQ_HEAD(loop_task_list, loop_task);

struct loop {
    struct event_base *base;
    struct loop_timers *timers;
    struct loop_task_list tasks;
    struct clock_time now; /* valid while is_now_read */
    bool is_now_read;
    bool is_faked;
    atomic_bool is_stopping;
    int wake_fd;
    struct event wake_event;
    pthread_mutex_t posts_lock;
    struct loop_post_list posts; /* under posts_lock */
};

static void on_library_log(int severity, const char *message)
{
    switch (severity) {
    case EVENT_LOG_DEBUG:
    case EVENT_LOG_MSG:
        log_debug("libevent: %s", message);
        break;
    case EVENT_LOG_WARN:
        log_warning("libevent: %s", message);
        break;
    default:
        log_error("libevent: %s", message);
        break;
    }
}

static void on_library_fatal(int code)
{
    log_error("libevent cannot go on (code %d)", code);
    abort();
}

void loop_library_init(void)
{
    event_set_log_callback(on_library_log);
    event_set_fatal_callback(on_library_fatal);
    (void)signal(SIGPIPE, SIG_IGN); /* fails for a bad signal number only */
}

static void wake(struct loop *loop)
{
    const uint64_t one = 1;

    /* The only failure of this write is a full counter, and then the loop wakes anyway. */
    while (write(loop->wake_fd, &one, sizeof(one)) < 0 && errno == EINTR)
        ;
}

static void on_wake(int fd, short what, void *arg)
{
    struct loop *loop = arg;
    struct loop_post_list taken = STAILQ_HEAD_INITIALIZER(taken);
    struct loop_post *post;
    uint64_t count;

    (void)what;
    while (read(fd, &count, sizeof(count)) < 0 && errno == EINTR)
        ;
    (void)pthread_mutex_lock(&loop->posts_lock); /* cannot fail for a plain mutex */
    STAILQ_CONCAT(&taken, &loop->posts);
    (void)pthread_mutex_unlock(&loop->posts_lock);
    while ((post = STAILQ_FIRST(&taken)) != NULL) {
        STAILQ_REMOVE_HEAD(&taken, entry);
        post->run(post->arg);
        mem_free(post);
    }
}

static struct event_base *create_base(void)
{
    struct event_config *config = event_config_new();
    struct event_base *base = NULL;

    if (config != NULL && event_config_set_flag(config, EVENT_BASE_FLAG_NOLOCK) == 0)
        base = event_base_new_with_config(config);
    if (config != NULL)
        event_config_free(config);
    return base;
}

struct loop *loop_create(void)
{
    struct loop *loop = mem_alloc_zero(sizeof(*loop));

    TAILQ_INIT(&loop->tasks);
    STAILQ_INIT(&loop->posts);
    atomic_init(&loop->is_stopping, false);
    loop->wake_fd = eventfd(0, EFD_NONBLOCK | EFD_CLOEXEC);
    loop->base = create_base();
    if (loop->wake_fd < 0 || loop->base == NULL)
        goto fail;
    if (event_assign(&loop->wake_event, loop->base, loop->wake_fd, EV_READ | EV_PERSIST, on_wake,
                     loop) != 0 ||
        event_add(&loop->wake_event, NULL) != 0)
        goto fail;
    (void)pthread_mutex_init(&loop->posts_lock, NULL); /* cannot fail for a plain mutex */
    loop->timers = loop_timers_create(loop);
    return loop;

fail:
    if (loop->base != NULL)
        event_base_free(loop->base);
    if (loop->wake_fd >= 0)
        (void)close(loop->wake_fd); /* nothing was written */
    mem_free(loop);
    return NULL;
}

static void run_tasks(struct loop *loop)
{
    struct loop_task last; /* what is queued behind it waits for the next turn */
    struct loop_task *task;

    if (TAILQ_EMPTY(&loop->tasks))
        return;
    TAILQ_INSERT_TAIL(&loop->tasks, &last, entry);
    while ((task = TAILQ_FIRST(&loop->tasks)) != &last) {
        TAILQ_REMOVE(&loop->tasks, task, entry);
        task->is_queued = false;
        task->run(task->arg);
    }
    TAILQ_REMOVE(&loop->tasks, &last, entry);
}

void loop_destroy(struct loop **loop_pointer)
{
    struct loop *loop = *loop_pointer;
    struct loop_post *post;

    if (loop == NULL)
        return;
    *loop_pointer = NULL;
    while ((post = STAILQ_FIRST(&loop->posts)) != NULL) {
        STAILQ_REMOVE_HEAD(&loop->posts, entry);
        if (post->drop != NULL)
            post->drop(post->arg);
        mem_free(post);
    }
    while (!TAILQ_EMPTY(&loop->tasks)) /* a free may defer another */
        run_tasks(loop);
    loop_timers_destroy(&loop->timers);
    (void)event_del(&loop->wake_event); /* it was added */
    event_base_free(loop->base);
    (void)close(loop->wake_fd); /* nothing is buffered */
    (void)pthread_mutex_destroy(&loop->posts_lock);
    mem_free(loop);
}

/* One turn; waits for something to do unless `flags` says EVLOOP_NONBLOCK. */
static void turn(struct loop *loop, int flags)
{
    if (!loop->is_faked)
        loop->is_now_read = false;
    else if (loop_timers_run_all(loop->timers))
        flags |= EVLOOP_NONBLOCK;
    if (!TAILQ_EMPTY(&loop->tasks))
        flags |= EVLOOP_NONBLOCK;
    if (event_base_loop(loop->base, EVLOOP_ONCE | flags) < 0) {
        log_error("event loop failed: %s", strerrordesc_np(errno));
        abort(); /* the kernel's epoll is gone: nothing here can serve any more */
    }
    run_tasks(loop);
}

void loop_run(struct loop *loop)
{
    while (!atomic_load_explicit(&loop->is_stopping, memory_order_acquire))
        turn(loop, 0);
    atomic_store(&loop->is_stopping, false);
}

static void on_time_over(int fd, short what, void *arg)
{
    (void)fd;
    (void)what;
    *(bool *)arg = true;
}

void loop_run_for(struct loop *loop, int64_t ms)
{
    struct timeval delay = {.tv_sec = ms / 1000, .tv_usec = ms % 1000 * 1000};
    struct event end;
    bool is_over = false;

    if (event_assign(&end, loop->base, -1, 0, on_time_over, &is_over) != 0 ||
        event_add(&end, &delay) != 0)
        abort(); /* arguments are constant: only a bug gets here */
    while (!is_over && !atomic_load_explicit(&loop->is_stopping, memory_order_acquire))
        turn(loop, 0);
    if (is_over && loop_timers_take_yielded(loop->timers))
        turn(loop, EVLOOP_NONBLOCK); /* timers that were due by then */
    atomic_store(&loop->is_stopping, false);
    (void)event_del(&end); /* may have fired already */
}

void loop_stop(struct loop *loop)
{
    atomic_store_explicit(&loop->is_stopping, true, memory_order_release);
    wake(loop);
}

struct event_base *loop_event_base(struct loop *loop)
{
    return loop->base;
}

const struct clock_time *loop_now(struct loop *loop)
{
    if (!loop->is_now_read) {
        clock_read(&loop->now);
        loop->is_now_read = true;
    }
    return &loop->now;
}

int64_t loop_now_ms(struct loop *loop)
{
    return loop_now(loop)->monotonic_us / 1000;
}

int64_t loop_wall_ms(struct loop *loop)
{
    return loop_now(loop)->wall_us / 1000;
}

int64_t loop_clock_ms(struct loop *loop)
{
    return loop->is_faked ? loop_now_ms(loop) : clock_monotonic_ms();
}

void loop_refresh(struct loop *loop)
{
    if (!loop->is_faked)
        loop->is_now_read = false;
}

void loop_fake_time(struct loop *loop, const struct clock_time *now)
{
    loop->is_faked = now != NULL;
    loop->is_now_read = now != NULL;
    if (now != NULL)
        loop->now = *now;
    else
        loop_timers_rearm_all(loop->timers);
}

void loop_task_init(struct loop_task *task, loop_task_fn *run, void *arg)
{
    *task = (struct loop_task){.run = run, .arg = arg};
}

void loop_defer(struct loop *loop, struct loop_task *task)
{
    if (task->is_queued)
        return;
    task->is_queued = true;
    TAILQ_INSERT_TAIL(&loop->tasks, task, entry);
}

void loop_task_cancel(struct loop *loop, struct loop_task *task)
{
    if (!task->is_queued)
        return;
    task->is_queued = false;
    TAILQ_REMOVE(&loop->tasks, task, entry);
}

void loop_post_or_drop(struct loop *loop, loop_task_fn *run, loop_task_fn *drop, void *arg)
{
    struct loop_post *post = mem_alloc_zero(sizeof(*post));
    bool was_empty;

    post->run = run;
    post->drop = drop;
    post->arg = arg;
    (void)pthread_mutex_lock(&loop->posts_lock); /* cannot fail for a plain mutex */
    was_empty = STAILQ_EMPTY(&loop->posts);
    STAILQ_INSERT_TAIL(&loop->posts, post, entry);
    if (was_empty) /* inside the lock, so that whoever sees the post run may destroy the loop */
        wake(loop);
    (void)pthread_mutex_unlock(&loop->posts_lock);
}

void loop_post(struct loop *loop, loop_task_fn *run, void *arg)
{
    loop_post_or_drop(loop, run, NULL, arg);
}

struct loop_timers *loop_timers(struct loop *loop)
{
    return loop->timers;
}

bool loop_is_faked(const struct loop *loop)
{
    return loop->is_faked;
}
