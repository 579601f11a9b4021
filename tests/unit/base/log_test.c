/* SPDX-License-Identifier: MIT */
/*
 * Diagnostics: the lines byte for byte but for their time, levels, rotation, a
 * file that cannot be opened, lines of several threads, and the gate.
 */
#include <fcntl.h>
#include <pthread.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cmocka.h>
#include <jansson.h>

#include "kamiyo/base/attributes.h"
#include "kamiyo/base/log.h"

#define TIME_LENGTH 24 /* 2026-11-23T07:25:59.123Z */

struct place {
    char folder[64];
    char path[96];
    char moved[96];
    char bytes[1 << 20];
};

static int setup(void **state)
{
    struct place *place = calloc(1, sizeof(*place));
    *state = place;
    snprintf(place->folder, sizeof(place->folder), "/tmp/log_test.XXXXXX");
    if (mkdtemp(place->folder) == NULL)
        return -1;
    snprintf(place->path, sizeof(place->path), "%s/log", place->folder);
    snprintf(place->moved, sizeof(place->moved), "%s/log.1", place->folder);
    return 0;
}

static int teardown(void **state)
{
    struct place *place = *state;
    bool is_open = log_open(NULL, LOG_LEVEL_INFO, LOG_FORMAT_TEXT, NULL);
    unlink(place->path);
    unlink(place->moved);
    rmdir(place->folder);
    free(place);
    return is_open ? 0 : -1;
}

static const char *contents(struct place *place, const char *path)
{
    int fd = open(path, O_RDONLY | O_CLOEXEC);
    assert_true(fd >= 0);
    ssize_t length = read(fd, place->bytes, sizeof(place->bytes) - 1);
    assert_true(length >= 0);
    close(fd);
    place->bytes[length] = '\0';
    return place->bytes;
}

/* Replaces each digit of the times at the lines' beginnings by a 0. */
static const char *without_times(struct place *place, const char *before)
{
    for (char *at = place->bytes; *at != '\0'; at = strchr(at, '\n') + 1) {
        assert_memory_equal(at, before, strlen(before));
        at += strlen(before);
        for (int i = 0; i < TIME_LENGTH; i++)
            if (at[i] >= '0' && at[i] <= '9')
                at[i] = '0';
    }
    return place->bytes;
}

static void test_text_lines(void **state)
{
    struct place *place = *state;
    assert_true(log_open(place->path, LOG_LEVEL_DEBUG, LOG_FORMAT_TEXT, NULL));
    log_debug("a %d", 1);
    log_info("Rate limiter using Redis backend");
    log_warning("Redis unavailable, falling back to in-memory: %s", "connection refused");
    log_error("%s", "");
    contents(place, place->path);
    assert_string_equal(without_times(place, ""),
                        "0000-00-00T00:00:00.000Z DEBUG - a 1\n"
                        "0000-00-00T00:00:00.000Z INFO - Rate limiter using Redis backend\n"
                        "0000-00-00T00:00:00.000Z WARNING - Redis unavailable, falling back to "
                        "in-memory: connection refused\n"
                        "0000-00-00T00:00:00.000Z ERROR - \n");
}

static void test_json_lines(void **state)
{
    struct place *place = *state;
    assert_true(log_open(place->path, LOG_LEVEL_INFO, LOG_FORMAT_JSON, NULL));
    log_info("it says \"%s\"\t", "a\\b");
    log_error("x");
    contents(place, place->path);
    assert_string_equal(
        without_times(place, "{\"time\": \""),
        "{\"time\": \"0000-00-00T00:00:00.000Z\", \"level\": \"INFO\", \"message\": "
        "\"it says \\\"a\\\\b\\\"\\t\"}\n"
        "{\"time\": \"0000-00-00T00:00:00.000Z\", \"level\": \"ERROR\", \"message\": \"x\"}\n");
}

/* The longest message of the bytes that grow most is still one whole JSON object. */
static void test_long_messages(void **state)
{
    struct place *place = *state;
    static const char fillers[] = {'a', '\x01', '"', '\xff'};
    for (size_t i = 0; i < COUNT_OF(fillers); i++) {
        char message[9000];
        json_error_t error;
        memset(message, fillers[i], sizeof(message) - 1);
        message[sizeof(message) - 1] = '\0';
        unlink(place->path);
        assert_true(log_open(place->path, LOG_LEVEL_INFO, LOG_FORMAT_JSON, NULL));
        log_info("%s", message);
        const char *line = contents(place, place->path);
        json_t *object = json_loads(line, 0, &error);
        assert_non_null(object);
        assert_in_range(json_string_length(json_object_get(object, "message")), 1000, 9000);
        json_decref(object);
        assert_ptr_equal(strchr(line, '\n'), line + strlen(line) - 1);

        unlink(place->path);
        assert_true(log_open(place->path, LOG_LEVEL_INFO, LOG_FORMAT_TEXT, NULL));
        log_info("%s", message);
        line = contents(place, place->path);
        assert_in_range(strlen(line), 1000, 9000);
        assert_ptr_equal(strchr(line, '\n'), line + strlen(line) - 1);
    }
}

static void test_levels(void **state)
{
    struct place *place = *state;
    assert_true(log_open(place->path, LOG_LEVEL_WARNING, LOG_FORMAT_TEXT, NULL));
    assert_false(log_enabled(LOG_LEVEL_DEBUG));
    assert_false(log_enabled(LOG_LEVEL_INFO));
    assert_true(log_enabled(LOG_LEVEL_WARNING));
    assert_true(log_enabled(LOG_LEVEL_ERROR));
    log_debug("no");
    log_info("no");
    log_warning("yes");
    contents(place, place->path);
    assert_string_equal(without_times(place, ""), "0000-00-00T00:00:00.000Z WARNING - yes\n");
}

static void test_reopen_after_rotation(void **state)
{
    struct place *place = *state;
    assert_true(log_open(place->path, LOG_LEVEL_INFO, LOG_FORMAT_TEXT, NULL));
    log_info("one");
    assert_int_equal(rename(place->path, place->moved), 0);
    log_info("two");
    assert_true(log_reopen(NULL));
    log_info("three");
    contents(place, place->moved);
    assert_string_equal(without_times(place, ""), "0000-00-00T00:00:00.000Z INFO - one\n"
                                                  "0000-00-00T00:00:00.000Z INFO - two\n");
    contents(place, place->path);
    assert_string_equal(without_times(place, ""), "0000-00-00T00:00:00.000Z INFO - three\n");
}

static void test_reopen_that_fails_keeps_the_file(void **state)
{
    struct place *place = *state;
    struct error error = {{0}};
    assert_true(log_open(place->path, LOG_LEVEL_INFO, LOG_FORMAT_TEXT, NULL));
    assert_int_equal(rename(place->path, place->moved), 0);
    assert_int_equal(mkdir(place->path, 0700), 0); /* nobody can write to it, not even root */
    assert_false(log_reopen(&error));
    assert_non_null(strstr(error.text, ": Is a directory"));
    log_info("kept");
    assert_int_equal(rmdir(place->path), 0);
    contents(place, place->moved);
    assert_string_equal(without_times(place, ""), "0000-00-00T00:00:00.000Z INFO - kept\n");
}

static void test_open_that_fails_changes_nothing(void **state)
{
    struct place *place = *state;
    struct error error = {{0}};
    assert_true(log_open(place->path, LOG_LEVEL_INFO, LOG_FORMAT_TEXT, NULL));
    assert_false(log_open("/nowhere/at/all", LOG_LEVEL_ERROR, LOG_FORMAT_JSON, &error));
    assert_string_equal(error.text,
                        "cannot open log file \"/nowhere/at/all\": No such file or directory");
    log_info("kept");
    contents(place, place->path);
    assert_string_equal(without_times(place, ""), "0000-00-00T00:00:00.000Z INFO - kept\n");
}

#define THREADS 4
#define LINES   200

static void *write_lines(void *arg)
{
    const char *letter = arg;
    char message[301] = {0};
    memset(message, *letter, 300);
    for (int i = 0; i < LINES; i++)
        log_info("%s", message);
    return NULL;
}

static void test_lines_of_threads_do_not_mix(void **state)
{
    struct place *place = *state;
    static char letters[] = "abcd";
    pthread_t threads[THREADS];
    int counts[THREADS] = {0};
    assert_true(log_open(place->path, LOG_LEVEL_INFO, LOG_FORMAT_TEXT, NULL));
    for (int i = 0; i < THREADS; i++)
        assert_int_equal(pthread_create(&threads[i], NULL, write_lines, &letters[i]), 0);
    for (int i = 0; i < THREADS; i++)
        assert_int_equal(pthread_join(threads[i], NULL), 0);
    char *at = (char *)(uintptr_t)contents(place, place->path);
    for (char *line = strtok_r(at, "\n", &at); line != NULL; line = strtok_r(NULL, "\n", &at)) {
        const char *text = line + TIME_LENGTH + strlen(" INFO - ");
        char accepted[2] = {*text, '\0'};
        assert_int_equal(strlen(text), 300);
        assert_int_equal(strspn(text, accepted), 300);
        counts[*text - 'a']++;
    }
    for (int i = 0; i < THREADS; i++)
        assert_int_equal(counts[i], LINES);
}

static void test_gate(void **state)
{
    (void)state;
    struct log_gate gate = {0};
    unsigned long left_out = 99;
    assert_true(log_gate_open(&gate, 1000, 500, &left_out));
    assert_int_equal(left_out, 0);
    left_out = 99;
    assert_false(log_gate_open(&gate, 1000, 500, &left_out));
    assert_false(log_gate_open(&gate, 1499, 500, &left_out));
    assert_int_equal(left_out, 99); /* untouched */
    assert_true(log_gate_open(&gate, 1500, 500, &left_out));
    assert_int_equal(left_out, 2);
    assert_true(log_gate_open(&gate, 2500, 500, &left_out));
    assert_int_equal(left_out, 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(test_text_lines, setup, teardown),
        cmocka_unit_test_setup_teardown(test_json_lines, setup, teardown),
        cmocka_unit_test_setup_teardown(test_long_messages, setup, teardown),
        cmocka_unit_test_setup_teardown(test_levels, setup, teardown),
        cmocka_unit_test_setup_teardown(test_reopen_after_rotation, setup, teardown),
        cmocka_unit_test_setup_teardown(test_reopen_that_fails_keeps_the_file, setup, teardown),
        cmocka_unit_test_setup_teardown(test_open_that_fails_changes_nothing, setup, teardown),
        cmocka_unit_test_setup_teardown(test_lines_of_threads_do_not_mix, setup, teardown),
        cmocka_unit_test(test_gate),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
