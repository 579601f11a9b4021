/* SPDX-License-Identifier: MIT */
/*
 * The access log as a whole: whole lines from several workers, a reader that
 * does not read, sampling, reopening, reloading.
 */
#include <fcntl.h>
#include <poll.h>
#include <pthread.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#include <cmocka.h>

#include "kamiyo/base/clock.h"
#include "kamiyo/observe/access_log.h"
#include "kamiyo/observe/metrics.h"

static char directory[] = "/tmp/access_log_test.XXXXXX";
static char path[64];
static char moved[80];

static struct access_record record_of(const char *id)
{
    return (struct access_record){
        .request_id = slice_of(id), .upstream_us = -1, .remaining = -1, .status = 200};
}

static struct access_log_options options_of(char *file)
{
    return (struct access_log_options){.is_enabled = true,
                                       .file = file,
                                       .format = ACCESS_LOG_JSON,
                                       .sample = 1,
                                       .denied_always = true};
}

static char *read_file(const char *name)
{
    static char bytes[1 << 20];
    FILE *file = fopen(name, "rb");
    size_t length = 0;

    if (file != NULL) {
        length = fread(bytes, 1, sizeof(bytes) - 1, file);
        fclose(file);
    }
    bytes[length] = '\0';
    return bytes;
}

static size_t count_lines(const char *bytes)
{
    size_t lines = 0;

    for (; (bytes = strchr(bytes, '\n')) != NULL; bytes++)
        lines++;
    return lines;
}

/* Until `lines` lines are in the file; at most 15 s, for a machine that is busy. */
static size_t wait_lines(const char *name, size_t lines)
{
    size_t found = 0;

    for (int i = 0; i < 3000; i++) {
        found = count_lines(read_file(name));
        if (found >= lines)
            break;
        nanosleep(&(struct timespec){0, 5000000}, NULL);
    }
    return found;
}

static int setup(void **state)
{
    (void)state;
    if (mkdtemp(directory) == NULL)
        return -1;
    snprintf(path, sizeof(path), "%s/log", directory);
    snprintf(moved, sizeof(moved), "%s.1", path);
    return 0;
}

static int teardown(void **state)
{
    (void)state;
    unlink(path);
    unlink(moved);
    return rmdir(directory);
}

static void test_file(void **state)
{
    struct access_log_options options = options_of(path);
    struct metrics *metrics = metrics_create(1);
    struct access_log *log = access_log_create(&options, 1, NULL);
    struct access_log_shard *shard = access_log_shard(log, 0);
    struct access_record record = record_of("one");

    (void)state;
    access_log_write(shard, &record, metrics_shard(metrics, 0));
    access_log_flush(shard);
    assert_int_equal(wait_lines(path, 1), 1);
    /* Rotation: the old file keeps what is in it, the next line is in a new one. */
    assert_int_equal(rename(path, moved), 0);
    assert_true(access_log_reopen(log, NULL));
    record = record_of("two");
    access_log_write(shard, &record, metrics_shard(metrics, 0));
    access_log_destroy(&log);
    assert_null(log);
    assert_int_equal(count_lines(read_file(moved)), 1);
    assert_int_equal(count_lines(read_file(path)), 1);
    assert_non_null(strstr(read_file(path), "\"request_id\":\"two\""));
    access_log_destroy(&log);
    metrics_destroy(&metrics);
    unlink(path);
    unlink(moved);
}

static void test_refused_file(void **state)
{
    static char nowhere[] = "/nonexistent/log";
    struct access_log_options options = options_of(nowhere);
    struct access_log_options good = options_of(path);
    struct error error = {0};
    struct access_log *log;

    (void)state;
    assert_null(access_log_create(&options, 1, &error));
    assert_non_null(strstr(error.text, "/nonexistent/log"));
    log = access_log_create(&good, 1, &error);
    assert_non_null(log);
    assert_false(access_log_configure(log, &options, &error));
    access_log_destroy(&log);
    unlink(path);
}

static void test_sample(void **state)
{
    struct access_log_options options = options_of(path);
    struct metrics *metrics = metrics_create(1);
    struct access_log *log;
    struct access_log_shard *shard;
    struct access_record record = record_of("x");
    size_t lines;

    (void)state;
    options.sample = 0.25;
    log = access_log_create(&options, 1, NULL);
    shard = access_log_shard(log, 0);
    for (int i = 0; i < 1000; i++) {
        access_log_write(shard, &record, metrics_shard(metrics, 0));
    }
    access_log_flush(shard);
    access_log_destroy(&log);
    lines = count_lines(read_file(path));
    assert_true(lines > 180 && lines < 320);
    unlink(path);

    options.sample = 0;
    log = access_log_create(&options, 1, NULL);
    shard = access_log_shard(log, 0);
    access_log_write(shard, &record, metrics_shard(metrics, 0));
    record.is_denied = true;
    access_log_write(shard, &record, metrics_shard(metrics, 0));
    options.denied_always = false;
    assert_true(access_log_configure(log, &options, NULL));
    access_log_write(shard, &record, metrics_shard(metrics, 0));
    assert_true(access_log_is_enabled(shard));
    options.is_enabled = false;
    options.sample = 1;
    assert_true(access_log_configure(log, &options, NULL));
    assert_false(access_log_is_enabled(shard));
    access_log_write(shard, &record, metrics_shard(metrics, 0));
    access_log_destroy(&log);
    assert_int_equal(count_lines(read_file(path)), 1);
    unlink(path);
    assert_int_equal(metrics_sum(metrics, METRICS_ACCESS_LOG_DROPPED), 0);
    metrics_destroy(&metrics);
}

#define THREADS 3
#define LINES   3000

struct worker {
    struct access_log_shard *shard;
    struct metrics_shard *metrics;
    char name;
    pthread_t thread;
};

static void *write_lines(void *arg)
{
    struct worker *worker = arg;
    char id[100];

    for (int i = 0; i < LINES; i++) {
        struct access_record record;

        memset(id, worker->name, sizeof(id));
        snprintf(id, sizeof(id), "%c%d", worker->name, i);
        id[strlen(id)] = worker->name;
        record = record_of("");
        record.request_id = (struct slice){id, sizeof(id)};
        access_log_write(worker->shard, &record, worker->metrics);
        if (i % 50 == 0)
            access_log_flush(worker->shard);
    }
    access_log_flush(worker->shard);
    return NULL;
}

/* A pipe with a slow reader: each line that arrives is whole, and what does not arrive was counted.
 */
static void test_pipe(void **state)
{
    static char seen[16 << 20];
    struct access_log_options options = options_of(path);
    struct metrics *metrics = metrics_create(THREADS);
    struct worker workers[THREADS];
    struct access_log *log;
    size_t length = 0;
    int reader;

    (void)state;
    assert_int_equal(mkfifo(path, 0600), 0);
    reader = open(path, O_RDONLY | O_NONBLOCK);
    log = access_log_create(&options, THREADS, NULL);
    assert_non_null(log);
    for (size_t i = 0; i < THREADS; i++) {
        workers[i] = (struct worker){access_log_shard(log, i), metrics_shard(metrics, i),
                                     (char)('a' + i), 0};
        assert_int_equal(pthread_create(&workers[i].thread, NULL, write_lines, &workers[i]), 0);
    }
    for (size_t i = 0; i < THREADS; i++)
        assert_int_equal(pthread_join(workers[i].thread, NULL),
                         0); /* nobody reads, and nobody waits for it */
    for (int quiet = 0; quiet < 4;) {
        struct pollfd ready = {.fd = reader, .events = POLLIN};
        ssize_t got =
            poll(&ready, 1, 100) > 0 ? read(reader, seen + length, sizeof(seen) - length - 1) : 0;

        for (size_t i = 0; i < THREADS; i++)
            access_log_flush(workers[i].shard); /* the threads have ended */
        quiet = got > 0 ? 0 : quiet + 1;
        length += got > 0 ? (size_t)got : 0;
    }
    seen[length] = '\0';
    for (char *line = seen, *end; (end = strchr(line, '\n')) != NULL; line = end + 1) {
        assert_memory_equal(line, "{\"time\":\"", 9);
        assert_memory_equal(end - 2, "l}", 2);
        assert_int_equal(end - line, strchr(seen, '\n') - seen);
    }
    assert_int_equal(seen[length - 1], '\n');
    assert_int_equal(count_lines(seen) + (size_t)metrics_sum(metrics, METRICS_ACCESS_LOG_DROPPED),
                     THREADS * LINES);
    assert_true(metrics_sum(metrics, METRICS_ACCESS_LOG_DROPPED) > 0);
    close(reader);
    access_log_destroy(&log);
    metrics_destroy(&metrics);
    unlink(path);
}

/* At the end a reader that does not read is waited for a second, not for ever. */
static void test_stuck_end(void **state)
{
    struct access_log_options options = options_of(path);
    struct metrics *metrics = metrics_create(1);
    struct access_log *log;
    struct access_record record = record_of("x");
    int64_t before;
    int reader;

    (void)state;
    assert_int_equal(mkfifo(path, 0600), 0);
    reader = open(path, O_RDONLY | O_NONBLOCK);
    log = access_log_create(&options, 1, NULL);
    for (int i = 0; i < 2000; i++) {
        access_log_write(access_log_shard(log, 0), &record, metrics_shard(metrics, 0));
    }
    before = clock_monotonic_ms();
    access_log_destroy(&log);
    assert_true(clock_monotonic_ms() - before < 15000); /* a busy machine, and not for ever */
    close(reader);
    metrics_destroy(&metrics);
    unlink(path);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_file),      cmocka_unit_test(test_refused_file),
        cmocka_unit_test(test_sample),    cmocka_unit_test(test_pipe),
        cmocka_unit_test(test_stuck_end),
    };

    return cmocka_run_group_tests(tests, setup, teardown);
}
