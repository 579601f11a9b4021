/* SPDX-License-Identifier: MIT */
/*
 * Resets: rare, asked for by an operator. One command for each set of
 * buckets (the default ones, then each route's): DEL of its windows' keys, or
 * in layout identity HLEN and DEL of its one key, whose fields are counted
 * three a window. The answers are added up; the last one tells the caller.
 *
 * One that is asked for while Redis is away is kept, and sent when it is back;
 * if that fails, when it is back the next time.
 */
#include "limiter_reset.h"

#include <string.h>
#include <sys/queue.h>

#include "kamiyo/base/mem.h"
#include "kamiyo/net/loop.h"

#include "limiter_redis.h"

/* An operator waits this long. */
#define RESET_TIMEOUT_MS 1000
#define FIELDS_A_WINDOW  3
#define MAX_KEPT         256

struct reset_step {
    struct job *job;
    struct redis_call *command;
    bool is_length; /* HLEN: fields of windows, not keys */
    bool is_silent; /* the DEL that goes with it */
};

struct job {
    LIST_ENTRY(job) entry;
    struct limiter_reset *reset;
    limiter_reset_fn *done;
    void *arg;
    int64_t deleted; /* -1 = a step failed */
    size_t pending;
    struct loop_task failed_task; /* nothing could be sent */
    size_t step_count;
    struct reset_step steps[];
};

/* Asked for while Redis is away. */
struct kept {
    LIST_ENTRY(kept) entry;
    struct limiter_reset *reset;
    struct limit_buckets buckets; /* what it points to follows, in the same allocation */
    bool is_under_way;
    struct slice names[];
};

struct limiter_reset {
    struct loop *loop;
    struct limiter_redis *redis;
    LIST_HEAD(, job) jobs;
    LIST_HEAD(, kept) kept;
    size_t kept_count;
};

struct limiter_reset *limiter_reset_create(struct loop *loop, struct limiter_redis *redis)
{
    struct limiter_reset *reset = mem_alloc_zero(sizeof(*reset));

    reset->loop = loop;
    reset->redis = redis;
    return reset;
}

static void free_job(struct job *job)
{
    for (size_t i = 0; i < job->step_count; i++)
        redis_client_cancel(&job->steps[i].command);
    loop_task_cancel(job->reset->loop, &job->failed_task);
    LIST_REMOVE(job, entry);
    mem_free(job);
}

static void free_kept(struct kept *kept)
{
    LIST_REMOVE(kept, entry);
    kept->reset->kept_count--;
    mem_free(kept);
}

void limiter_reset_destroy(struct limiter_reset **reset)
{
    struct job *job;
    struct kept *kept;

    if (*reset == NULL)
        return;
    while ((job = LIST_FIRST(&(*reset)->jobs)) != NULL)
        free_job(job);
    while ((kept = LIST_FIRST(&(*reset)->kept)) != NULL)
        free_kept(kept);
    mem_free(*reset);
    *reset = NULL;
}

static void finish(void *arg)
{
    struct job *job = arg;
    limiter_reset_fn *done = job->done;
    void *done_arg = job->arg;
    int64_t deleted = job->deleted;

    free_job(job);
    done(done_arg, deleted);
}

/* How many buckets the step deleted, -1 = it failed. */
static int64_t count_deleted(const struct reset_step *step, const struct redis_reply *reply)
{
    int64_t count;
    struct slice text;

    /* Something else under that key has no fields to count; DEL takes it all the same. */
    if (step->is_length && redis_reply_is_error(reply, &text) &&
        slice_starts_with(text, SLICE("WRONGTYPE")))
        return 1;
    if (!redis_reply_is_integer(reply, &count) || count < 0)
        return -1;
    if (step->is_silent)
        return 0;
    return step->is_length ? (count + FIELDS_A_WINDOW - 1) / FIELDS_A_WINDOW : count;
}

static void on_step(void *arg, const struct redis_result *result)
{
    struct reset_step *step = arg;
    struct job *job = step->job;
    int64_t deleted = count_deleted(step, result->reply);

    step->command = NULL;
    if (deleted < 0)
        job->deleted = -1;
    else if (job->deleted >= 0)
        job->deleted += deleted;
    if (--job->pending == 0)
        finish(job);
}

static void send_step(
    struct job *job, const struct slice *arguments, size_t count, bool is_length, bool is_silent)
{
    struct reset_step *step = &job->steps[job->step_count++];
    struct redis_client *client = limiter_redis_client(job->reset->redis);

    *step = (struct reset_step){.job = job, .is_length = is_length, .is_silent = is_silent};
    if (redis_client_command(client, arguments, count, RESET_TIMEOUT_MS, on_step, step,
                             &step->command) == PROGRESS_DONE) {
        job->deleted = -1;
        return;
    }
    limiter_redis_count_command(job->reset->redis);
    job->pending++;
}

static void delete_set(struct job *job, const struct limit_buckets *buckets, struct slice route)
{
    struct limiter_redis *redis = job->reset->redis;
    bool is_together = limiter_redis_layout(redis) == LIMIT_LAYOUT_IDENTITY;
    size_t count = is_together ? 1 : buckets->window_name_count;
    size_t size = limiter_redis_key_size(redis);
    char *keys = mem_alloc(size * (count + 1));
    struct slice *arguments = mem_alloc((count + 1) * sizeof(*arguments));

    for (size_t i = 0; i < count; i++)
        arguments[i + 1] =
            limiter_redis_key(redis, buckets->key, route,
                              is_together ? (struct slice){NULL, 0} : buckets->window_names[i],
                              keys + i * size, size);
    if (is_together) {
        arguments[0] = SLICE("HLEN");
        send_step(job, arguments, 2, true, false);
    }
    arguments[0] = SLICE("DEL");
    if (count > 0)
        send_step(job, arguments, count + 1, false, is_together);
    mem_free(arguments);
    mem_free(keys);
}

void limiter_reset_start(struct limiter_reset *reset,
                         const struct limit_buckets *buckets,
                         limiter_reset_fn *done,
                         void *arg)
{
    size_t steps = 2 * (buckets->route_count + 1);
    struct job *job = mem_alloc_zero(sizeof(*job) + steps * sizeof(job->steps[0]));

    job->reset = reset;
    job->done = done;
    job->arg = arg;
    loop_task_init(&job->failed_task, finish, job);
    LIST_INSERT_HEAD(&reset->jobs, job, entry);
    delete_set(job, buckets, (struct slice){NULL, 0});
    for (size_t i = 0; i < buckets->route_count; i++)
        delete_set(job, buckets, buckets->routes[i]);
    if (job->pending == 0)
        loop_defer(reset->loop, &job->failed_task);
}

/* --- while Redis is away --- */

static struct slice copy_to(char **end, struct slice from)
{
    struct slice copy = {*end, from.length};

    if (from.length > 0)
        memcpy(*end, from.data, from.length);
    *end += from.length;
    return copy;
}

bool limiter_reset_keep(struct limiter_reset *reset, const struct limit_buckets *buckets)
{
    size_t name_count = buckets->route_count + buckets->window_name_count;
    size_t length = buckets->key.length;
    struct kept *kept;
    char *end;

    if (reset->kept_count == MAX_KEPT)
        return false;
    for (size_t i = 0; i < buckets->route_count; i++)
        length += buckets->routes[i].length;
    for (size_t i = 0; i < buckets->window_name_count; i++)
        length += buckets->window_names[i].length;
    kept = mem_alloc(sizeof(*kept) + name_count * sizeof(kept->names[0]) + length);
    end = (char *)&kept->names[name_count];
    *kept = (struct kept){.reset = reset, .buckets = *buckets};
    kept->buckets.key = copy_to(&end, buckets->key);
    for (size_t i = 0; i < buckets->route_count; i++)
        kept->names[i] = copy_to(&end, buckets->routes[i]);
    for (size_t i = 0; i < buckets->window_name_count; i++)
        kept->names[buckets->route_count + i] = copy_to(&end, buckets->window_names[i]);
    kept->buckets.routes = kept->names;
    kept->buckets.window_names = kept->names + buckets->route_count;
    LIST_INSERT_HEAD(&reset->kept, kept, entry);
    reset->kept_count++;
    return true;
}

static void on_kept_done(void *arg, int64_t deleted)
{
    struct kept *kept = arg;

    kept->is_under_way = false;
    if (deleted >= 0)
        free_kept(kept);
}

void limiter_reset_send_kept(struct limiter_reset *reset)
{
    struct kept *kept;

    LIST_FOREACH (kept, &reset->kept, entry) {
        if (kept->is_under_way)
            continue;
        kept->is_under_way = true;
        limiter_reset_start(reset, &kept->buckets, on_kept_done, kept);
    }
}
