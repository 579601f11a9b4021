/* SPDX-License-Identifier: MIT */
/*
 * The process's diagnostics. A line is made on the caller's stack and leaves in
 * one write, so lines of several threads do not mix. The descriptor, level and
 * format are the only process-wide state of the project: logging must work
 * before the first object exists and after the last is gone.
 */
#include "kamiyo/base/log.h"

#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "kamiyo/base/clock.h"
#include "kamiyo/base/mem.h"
#include "kamiyo/base/text.h"

enum {
    MAX_MESSAGE = 2048,               /* what is longer is cut */
    MAX_LINE = 6 * MAX_MESSAGE + 128, /* each of its bytes may become a \u00XX, or a U+FFFD */
};

static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER; /* guards fd and path */
static int log_fd = STDERR_FILENO;
static char *log_path;
static atomic_int log_level = LOG_LEVEL_INFO;
static atomic_int log_format = LOG_FORMAT_TEXT;

static const char *const level_names[] = {
    [LOG_LEVEL_DEBUG] = "DEBUG",
    [LOG_LEVEL_INFO] = "INFO",
    [LOG_LEVEL_WARNING] = "WARNING",
    [LOG_LEVEL_ERROR] = "ERROR",
};

static int open_file(const char *path, struct error *error)
{
    int fd = open(path, O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0640);
    if (fd < 0)
        error_set(error, "cannot open log file \"%s\": %s", path, strerror(errno));
    return fd;
}

bool log_open(const char *path, enum log_level level, enum log_format format, struct error *error)
{
    int fd = STDERR_FILENO;
    if (path != NULL && path[0] != '\0') {
        fd = open_file(path, error);
        if (fd < 0)
            return false;
    }
    pthread_mutex_lock(&lock);
    if (log_fd != STDERR_FILENO)
        close(log_fd);
    log_fd = fd;
    mem_free(log_path);
    log_path = fd == STDERR_FILENO ? NULL : mem_copy_string(path);
    pthread_mutex_unlock(&lock);
    atomic_store(&log_level, (int)level);
    atomic_store(&log_format, (int)format);
    return true;
}

bool log_reopen(struct error *error)
{
    pthread_mutex_lock(&lock);
    int fd = log_path != NULL ? open_file(log_path, error) : log_fd;
    if (fd >= 0 && fd != log_fd) {
        close(log_fd);
        log_fd = fd;
    }
    pthread_mutex_unlock(&lock);
    return fd >= 0;
}

bool log_enabled(enum log_level level)
{
    return (int)level >= atomic_load_explicit(&log_level, memory_order_relaxed);
}

void log_write(enum log_level level, const char *format, ...)
{
    if (!log_enabled(level))
        return;
    char message[MAX_MESSAGE];
    va_list args;
    va_start(args, format);
    (void)vsnprintf(message, sizeof(message), format, args); /* a cut line is still a line */
    va_end(args);

    char time[TEXT_TIMESTAMP_SIZE];
    text_format_timestamp(clock_wall_ms(), time);
    char bytes[MAX_LINE];
    struct text line;
    text_init(&line, bytes, sizeof(bytes) - 1);
    if (atomic_load_explicit(&log_format, memory_order_relaxed) == LOG_FORMAT_JSON) {
        text_append_format(&line, "{\"time\": \"%s\", \"level\": \"%s\", \"message\": \"", time,
                           level_names[level]);
        text_append_json(&line, slice_of(message));
        text_append(&line, SLICE("\"}"));
    } else {
        text_append_format(&line, "%s %s - %s", time, level_names[level], message);
    }
    bytes[line.length] = '\n';

    pthread_mutex_lock(&lock);
    ssize_t written = write(log_fd, bytes, line.length + 1);
    (void)written; /* a diagnostic that cannot be written has nowhere else to go */
    pthread_mutex_unlock(&lock);
}

bool log_gate_open(struct log_gate *gate,
                   long long now_ms,
                   long long interval_ms,
                   unsigned long *left_out)
{
    long long next = atomic_load(&gate->next_ms);
    if (now_ms < next ||
        !atomic_compare_exchange_strong(&gate->next_ms, &next, now_ms + interval_ms)) {
        atomic_fetch_add(&gate->suppressed, 1);
        return false;
    }
    *left_out = atomic_exchange(&gate->suppressed, 0);
    return true;
}
