/* SPDX-License-Identifier: MIT */
/* A snapshot is whole or not at all, and lives exactly as long as somebody holds it. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

#include "kamiyo/app/snapshot.h"

struct fixture {
    char path[64];
    struct error_list errors;
};

static int setup(void **state)
{
    struct fixture *fixture = calloc(1, sizeof(*fixture));
    *state = fixture;
    error_list_init(&fixture->errors);
    snprintf(fixture->path, sizeof(fixture->path), "/tmp/snapshot_test.XXXXXX");
    int fd = mkstemp(fixture->path);
    return fd < 0 ? -1 : close(fd);
}

static int teardown(void **state)
{
    struct fixture *fixture = *state;
    unlink(fixture->path);
    error_list_clear(&fixture->errors);
    free(fixture);
    return 0;
}

static struct snapshot *load(struct fixture *fixture, const char *yaml)
{
    const struct config_overrides overrides = {
        .path = fixture->path, .listen = "127.0.0.1:1", .upstream = "127.0.0.1:2", .redis = ""};
    FILE *file = fopen(fixture->path, "w");
    assert_non_null(file);
    fputs(yaml, file);
    assert_int_equal(fclose(file), 0);
    return snapshot_load(&overrides, &fixture->errors);
}

static void test_whole(void **state)
{
    struct fixture *fixture = *state;
    struct snapshot *snapshot = load(fixture, "drain_timeout: 3s\n");
    assert_non_null(snapshot);
    assert_int_equal(fixture->errors.total_errors, 0);
    assert_non_null(snapshot->config);
    assert_non_null(snapshot->routes);
    assert_non_null(snapshot->identity);
    snapshot_unref(&snapshot);
    assert_null(snapshot);
    snapshot_unref(&snapshot);
}

/* The leak checker of the asan build sees a reference too many, the address checker one too few. */
static void test_references(void **state)
{
    struct fixture *fixture = *state;
    struct snapshot *snapshot = load(fixture, "drain_timeout: 3s\n");
    assert_non_null(snapshot);
    struct snapshot *second = snapshot_ref(snapshot), *third = snapshot_ref(second);
    assert_ptr_equal(second, snapshot);
    snapshot_unref(&snapshot);
    snapshot_unref(&third);
    assert_non_null(second->config);
    assert_non_null(second->routes);
    snapshot_unref(&second);
}

static void test_wrong_configuration(void **state)
{
    struct fixture *fixture = *state;
    assert_null(load(fixture, "drain_timeot: 3s\nlimiter: {memory: 5}\n"));
    assert_int_equal(fixture->errors.total_errors, 2);
}

/* What only building the identity chain finds out: the file with the keys is not there. */
static void test_wrong_identity(void **state)
{
    struct fixture *fixture = *state;
    assert_null(load(fixture, "identity: {api_key: {keys_file: /nowhere/keys.yaml}}\n"));
    assert_in_range(fixture->errors.total_errors, 1, 2);
    assert_non_null(strstr(fixture->errors.items[0].message, "/nowhere/keys.yaml"));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(test_whole, setup, teardown),
        cmocka_unit_test_setup_teardown(test_references, setup, teardown),
        cmocka_unit_test_setup_teardown(test_wrong_configuration, setup, teardown),
        cmocka_unit_test_setup_teardown(test_wrong_identity, setup, teardown),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
