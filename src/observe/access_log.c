/* SPDX-License-Identifier: MIT */
/*
 * Where access-log lines go. A worker appends to a buffer of its own; when it
 * is full or a flush is due, the buffer changes hands: onto a queue, an empty
 * one back, under a lock that is held for two pointer writes. One writer thread
 * empties the queue. It alone touches the descriptor, so lines never
 * interleave, and a reader that does not read stops that thread and nobody
 * else: when no empty buffer is left, workers drop whole lines and count them.
 *
 *   worker: shard->buffer ──flush──► log->full ──► writer thread ──► file
 *                         ◄───────── log->empty ◄──
 *
 * Into a pipe go pieces of whole lines of at most PIPE_BUF bytes, which the
 * kernel keeps together even if another process, or our diagnostics, write to
 * the same pipe.
 */
#include "kamiyo/observe/access_log.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <poll.h>
#include <pthread.h>
#include <signal.h>
#include <stdatomic.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#include "kamiyo/base/mem.h"
#include "kamiyo/observe/metrics.h"

#include "observe/access_line.h"

/* Lines of some 300 bytes: 200 of them between two flushes. */
#define BUFFER_BYTES 65536
/* Buffers beyond one for each shard: what a reader may lag behind, 1 MiB. */
#define SPARE_BUFFERS 16
/* How long the end waits for a reader. */
#define END_WAIT_SECONDS 1

_Static_assert(ACCESS_LINE_MAX_BYTES <= PIPE_BUF, "a line is written to a pipe in one piece");

struct buffer {
    struct buffer *next;
    size_t length;
    char bytes[BUFFER_BYTES];
};

/* Each on cache lines of its own: its worker writes to it for each line. */
struct access_log_shard {
    _Alignas(MEM_LINE_BYTES) struct access_log *log;
    struct buffer *buffer; /* never NULL */
    uint64_t random;       /* for sampling */
    struct access_line_clock clock;
};

/* What workers look at for each line, changed by a reload: one word, so that it is seen whole. */
struct settings {
    _Atomic bool is_enabled;
    _Atomic bool denied_always;
    _Atomic int format;
    _Atomic uint64_t sample; /* of 2^32 */
};

struct access_log {
    struct settings settings;
    struct access_log_shard *shards;
    size_t shard_count;
    _Atomic bool has_ended; /* no reader is waited for any more */
    _Atomic uint64_t lost;  /* lines the writer could not write and no shard has counted yet */

    pthread_mutex_t lock; /* guards what follows */
    pthread_cond_t changed;
    struct buffer *full; /* oldest first */
    struct buffer **full_end;
    struct buffer *empty;
    char *path;  /* NULL = stdout */
    int next_fd; /* to go on with, or -1 */
    bool is_ending;

    pthread_t thread;
    /* The writer's own. */
    int fd;
    mode_t kind; /* of the file, S_IFMT's bits */
};

static int open_file(const char *path, struct error *error)
{
    int fd;

    if (path == NULL)
        fd = fcntl(STDOUT_FILENO, F_DUPFD_CLOEXEC, 3);
    else
        fd = open(path, O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0640);
    if (fd < 0)
        error_set(error, "access log %s: %s", path != NULL ? path : "stdout", strerror(errno));
    return fd;
}

/* Lines that are lost here are counted by whichever worker logs next: a shard of the metrics has
 * one writer. */
static void lose(struct access_log *log, const char *bytes, size_t length)
{
    uint64_t lines = 0;

    for (const char *at = bytes; (at = memchr(at, '\n', length - (size_t)(at - bytes))) != NULL;
         at++) {
        lines++;
        if (at + 1 == bytes + length)
            break;
    }
    atomic_fetch_add_explicit(&log->lost, lines, memory_order_relaxed);
}

/* One piece of whole lines. A reader that is slow is waited for; one that is gone costs the lines.
 */
static void write_piece(struct access_log *log, const char *bytes, size_t length)
{
    size_t written = 0;

    while (written < length) {
        struct pollfd ready = {.fd = log->fd, .events = POLLOUT};
        ssize_t result;

        bool may_wait = !atomic_load_explicit(&log->has_ended, memory_order_relaxed);

        /* A file is always ready. */
        if (!S_ISREG(log->kind) && poll(&ready, 1, may_wait ? 50 : 0) <= 0) {
            if (may_wait)
                continue;
            lose(log, bytes + written, length - written);
            return;
        }
        result = write(log->fd, bytes + written, length - written);
        if (result >= 0) {
            written += (size_t)result;
        } else if (errno != EINTR && errno != EAGAIN) {
            lose(log, bytes + written, length - written);
            return;
        }
    }
}

/* The longest run of whole lines from the start that is at most `bound`; one line is never longer.
 */
static size_t whole_lines(const char *bytes, size_t length, size_t bound)
{
    const char *end;

    if (length <= bound)
        return length;
    end = memrchr(bytes, '\n', bound);
    return end != NULL ? (size_t)(end - bytes) + 1 : length;
}

static void write_buffer(struct access_log *log, const struct buffer *buffer)
{
    size_t bound = S_ISFIFO(log->kind) || S_ISSOCK(log->kind) ? PIPE_BUF : BUFFER_BYTES;

    for (size_t at = 0; at < buffer->length;) {
        size_t piece = whole_lines(buffer->bytes + at, buffer->length - at, bound);

        write_piece(log, buffer->bytes + at, piece);
        at += piece;
    }
}

static void take_fd(struct access_log *log, int fd)
{
    struct stat info;

    log->fd = fd;
    log->kind = fstat(fd, &info) == 0 ? info.st_mode & S_IFMT : S_IFIFO;
}

static void *write_buffers(void *arg)
{
    struct access_log *log = arg;

    pthread_mutex_lock(&log->lock);
    for (;;) {
        struct buffer *buffer = log->full;

        if (log->next_fd >= 0) {
            (void)close(log->fd); /* nothing can be done about a failure, and the lines are out */
            take_fd(log, log->next_fd);
            log->next_fd = -1;
        }
        if (buffer == NULL) {
            if (log->is_ending)
                break;
            pthread_cond_wait(&log->changed, &log->lock);
            continue;
        }
        log->full = buffer->next;
        if (log->full == NULL)
            log->full_end = &log->full;
        pthread_mutex_unlock(&log->lock);
        write_buffer(log, buffer);
        pthread_mutex_lock(&log->lock);
        buffer->length = 0;
        buffer->next = log->empty;
        log->empty = buffer;
    }
    pthread_mutex_unlock(&log->lock);
    return NULL;
}

/* Signals are for the control thread; a reader that is gone is an error code. */
static bool start_thread(struct access_log *log)
{
    sigset_t all;
    sigset_t before;
    int result;

    sigfillset(&all);
    pthread_sigmask(SIG_SETMASK, &all, &before);
    result = pthread_create(&log->thread, NULL, write_buffers, log);
    pthread_sigmask(SIG_SETMASK, &before, NULL);
    return result == 0;
}

static void apply(struct settings *settings, const struct access_log_options *options)
{
    double sample = options->sample < 0 ? 0 : options->sample > 1 ? 1 : options->sample;

    atomic_store_explicit(&settings->format, options->format, memory_order_relaxed);
    atomic_store_explicit(&settings->sample, (uint64_t)(sample * 4294967296.0),
                          memory_order_relaxed);
    atomic_store_explicit(&settings->denied_always, options->denied_always, memory_order_relaxed);
    atomic_store_explicit(&settings->is_enabled, options->is_enabled, memory_order_relaxed);
}

static const char *path_of(const struct access_log_options *options)
{
    return options->file != NULL && options->file[0] != '\0' ? options->file : NULL;
}

static void add_buffers(struct access_log *log, size_t count)
{
    for (size_t i = 0; i < count; i++) {
        struct buffer *buffer = mem_alloc(sizeof(*buffer));

        buffer->length = 0;
        buffer->next = log->empty;
        log->empty = buffer;
    }
}

static struct buffer *take_empty(struct access_log *log)
{
    struct buffer *buffer = log->empty;

    if (buffer != NULL)
        log->empty = buffer->next;
    return buffer;
}

static void free_all(struct access_log *log)
{
    struct buffer *lists[] = {log->full, log->empty};

    for (size_t i = 0; i < COUNT_OF(lists); i++) {
        while (lists[i] != NULL) {
            struct buffer *next = lists[i]->next;

            mem_free(lists[i]);
            lists[i] = next;
        }
    }
    for (size_t i = 0; i < log->shard_count; i++)
        mem_free(log->shards[i].buffer);
    if (log->fd >= 0)
        (void)close(log->fd); /* as above */
    if (log->next_fd >= 0)
        (void)close(log->next_fd); /* as above */
    pthread_cond_destroy(&log->changed);
    pthread_mutex_destroy(&log->lock);
    mem_free(log->path);
    mem_free(log->shards);
    mem_free(log);
}

struct access_log *
access_log_create(const struct access_log_options *options, size_t shard_count, struct error *error)
{
    struct access_log *log;
    pthread_condattr_t attributes;
    int fd = open_file(options->is_enabled ? path_of(options) : NULL, error);

    if (fd < 0)
        return NULL;
    log = mem_alloc_zero(sizeof(*log));
    take_fd(log, fd);
    log->next_fd = -1;
    log->path = mem_copy_string(path_of(options));
    log->full_end = &log->full;
    apply(&log->settings, options);
    pthread_mutex_init(&log->lock, NULL);
    pthread_condattr_init(&attributes);
    pthread_condattr_setclock(&attributes, CLOCK_MONOTONIC);
    pthread_cond_init(&log->changed, &attributes);
    pthread_condattr_destroy(&attributes);
    add_buffers(log, shard_count + SPARE_BUFFERS);
    log->shards = mem_alloc_zero_lines(shard_count * sizeof(*log->shards));
    log->shard_count = shard_count;
    for (size_t i = 0; i < shard_count; i++) {
        log->shards[i].log = log;
        log->shards[i].buffer = take_empty(log);
        log->shards[i].random = 0x9e3779b97f4a7c15U * (i + 1);
    }
    if (!start_thread(log)) {
        error_set(error, "access log: no thread to write it");
        free_all(log);
        return NULL;
    }
    return log;
}

struct access_log_shard *access_log_shard(struct access_log *log, size_t index)
{
    return &log->shards[index];
}

/* With the lock held; the writer is told once it is not: else it wakes to wait for the lock. */
static void enqueue(struct access_log *log, struct buffer *buffer)
{
    buffer->next = NULL;
    *log->full_end = buffer;
    log->full_end = &buffer->next;
}

void access_log_flush(struct access_log_shard *shard)
{
    struct access_log *log = shard->log;
    struct buffer *empty;

    if (shard->buffer->length == 0)
        return;
    pthread_mutex_lock(&log->lock);
    empty = take_empty(log);
    if (empty != NULL) {
        enqueue(log, shard->buffer);
        shard->buffer = empty;
    }
    pthread_mutex_unlock(&log->lock);
    if (empty != NULL)
        pthread_cond_signal(&log->changed);
}

/* xorshift64: which lines a sample takes need not be hard to guess. */
static bool is_sampled(struct access_log_shard *shard, uint64_t share)
{
    shard->random ^= shard->random << 13;
    shard->random ^= shard->random >> 7;
    shard->random ^= shard->random << 17;
    return shard->random >> 32 < share;
}

bool access_log_is_enabled(const struct access_log_shard *shard)
{
    return atomic_load_explicit(&shard->log->settings.is_enabled, memory_order_relaxed);
}

void access_log_write(struct access_log_shard *shard,
                      const struct access_record *record,
                      struct metrics_shard *metrics)
{
    struct settings *settings = &shard->log->settings;
    uint64_t lost = 0;

    if (!atomic_load_explicit(&settings->is_enabled, memory_order_relaxed))
        return;
    if (!(record->is_denied &&
          atomic_load_explicit(&settings->denied_always, memory_order_relaxed)) &&
        !is_sampled(shard, atomic_load_explicit(&settings->sample, memory_order_relaxed)))
        return;
    if (atomic_load_explicit(&shard->log->lost, memory_order_relaxed) > 0)
        lost = atomic_exchange_explicit(&shard->log->lost, 0, memory_order_relaxed);
    if (BUFFER_BYTES - shard->buffer->length < ACCESS_LINE_ROOM)
        access_log_flush(shard);
    if (BUFFER_BYTES - shard->buffer->length >= ACCESS_LINE_ROOM)
        shard->buffer->length += access_line_format(
            (enum access_log_format)atomic_load_explicit(&settings->format, memory_order_relaxed),
            record, &shard->clock, shard->buffer->bytes + shard->buffer->length);
    else
        lost++;
    if (lost > 0)
        metrics_add(metrics, METRICS_ACCESS_LOG_DROPPED, (int64_t)lost);
}

/* Have the writer go on with this descriptor. */
static void switch_to(struct access_log *log, int fd)
{
    pthread_mutex_lock(&log->lock);
    if (log->next_fd >= 0)
        (void)close(log->next_fd); /* it was never written to */
    log->next_fd = fd;
    pthread_cond_signal(&log->changed);
    pthread_mutex_unlock(&log->lock);
}

bool access_log_reopen(struct access_log *log, struct error *error)
{
    int fd;

    if (log->path == NULL)
        return true;
    fd = open_file(log->path, error);
    if (fd < 0)
        return false;
    switch_to(log, fd);
    return true;
}

bool access_log_configure(struct access_log *log,
                          const struct access_log_options *options,
                          struct error *error)
{
    const char *path = path_of(options);

    if (options->is_enabled) {
        int fd = open_file(path, error);

        if (fd < 0)
            return false;
        switch_to(log, fd);
        mem_free(log->path);
        log->path = mem_copy_string(path);
    }
    apply(&log->settings, options);
    return true;
}

void access_log_destroy(struct access_log **log)
{
    struct timespec deadline;

    if (*log == NULL)
        return;
    clock_gettime(CLOCK_REALTIME, &deadline);
    deadline.tv_sec += END_WAIT_SECONDS;
    pthread_mutex_lock(&(*log)->lock);
    for (size_t i = 0; i < (*log)->shard_count; i++) {
        enqueue(*log, (*log)->shards[i].buffer);
        (*log)->shards[i].buffer = NULL;
    }
    (*log)->is_ending = true;
    pthread_cond_signal(&(*log)->changed);
    pthread_mutex_unlock(&(*log)->lock);
    if (pthread_timedjoin_np((*log)->thread, NULL, &deadline) != 0) {
        /* A reader that does not read: the writer notices at its next poll that its time is up. */
        atomic_store_explicit(&(*log)->has_ended, true, memory_order_relaxed);
        pthread_join((*log)->thread, NULL);
    }
    free_all(*log);
    *log = NULL;
}
