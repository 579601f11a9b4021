/* SPDX-License-Identifier: MIT */
/* Probes against a server that answers well, badly, late or not at all. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include <cmocka.h>

#include "kamiyo/base/clock.h"
#include "kamiyo/upstream/upstream_health.h"

#include "loop_fixture.h"
#include "upstream_support.h"

struct scene {
    struct upstream_support support;
    struct upstream_support_server good;
    struct upstream_support_server tested;
    char path[8];
    char request[512];
};

static void scene_init(struct scene *scene, struct loop *loop)
{
    memset(scene, 0, sizeof(*scene));
    memcpy(scene->path, "/ping", 6);
    upstream_support_server_start(&scene->good, loop);
    upstream_support_server_start(&scene->tested, loop);
    upstream_support_init(&scene->support, loop);
    scene->support.options.health_path = scene->path;
    scene->support.options.health_eject_after = 2;
    upstream_support_add_url(&scene->support, scene->good.url);
    upstream_support_add_url(&scene->support, scene->tested.url);
    upstream_support_open(&scene->support);
}

static void scene_clear(struct scene *scene)
{
    upstream_support_clear(&scene->support);
    upstream_support_server_stop(&scene->good);
    upstream_support_server_stop(&scene->tested);
}

/* Wait until so many probes in a row have failed; how many failed so far is known, so each step
 * away from it is seen. */
static const struct upstream_endpoint *
wait_for_failures(struct scene *scene, const struct upstream_support_server *server, int count)
{
    const struct upstream_endpoint *endpoint = upstream_support_endpoint(&scene->support, server);
    int64_t end_ms = clock_monotonic_ms() + LOOP_FIXTURE_CAP_MS;

    while (endpoint->failures_in_row != count) {
        if (clock_monotonic_ms() > end_ms)
            fail_msg("%d failures in a row, not %d", endpoint->failures_in_row, count);
        loop_run_for(scene->support.loop, 1);
    }
    return endpoint;
}

/* Wait for the probe of this round on `server`, and answer it. */
static void answer(struct scene *scene, struct upstream_support_server *server, const char *text)
{
    int64_t end_ms = clock_monotonic_ms() + LOOP_FIXTURE_CAP_MS;
    size_t index = server->count;
    ssize_t length = -1;

    while (length <= 0) {
        if (clock_monotonic_ms() > end_ms)
            fail_msg("no probe came");
        loop_run_for(scene->support.loop, 1);
        if (server->count > index)
            length = recv(server->fds[index], scene->request, sizeof(scene->request) - 1, 0);
    }
    scene->request[length] = '\0';
    if (text != NULL)
        assert_int_equal(send(server->fds[index], text, strlen(text), 0), strlen(text));
    close(server->fds[index]);
    server->fds[index] = -1;
}

static void start_round(struct scene *scene)
{
    scene->support.now.monotonic_us += 5000 * 1000;
    loop_fake_time(scene->support.loop, &scene->support.now);
}

static void test_bad_answers_eject_and_good_ones_bring_back(void **state)
{
    static const char *const bad[] = {"HTTP/1.1 500 Oops\r\n\r\n", NULL,
                                      "nonsense, and long enough", "HTTP"};
    const struct upstream_endpoint *endpoint;
    struct scene scene;

    scene_init(&scene, *state);
    for (int i = 0; i < (int)COUNT_OF(bad); i++) {
        start_round(&scene);
        answer(&scene, &scene.tested, bad[i]);
        endpoint = wait_for_failures(&scene, &scene.tested, i + 1);
        assert_int_equal(upstream_endpoint_is_ejected(endpoint), i >= 1);
    }
    assert_non_null(strstr(scene.request, "GET /ping HTTP/1.1\r\nHost: 127.0.0.1:"));
    start_round(&scene);
    answer(&scene, &scene.tested, "HTTP/1.1 204 No Content\r\n\r\n");
    endpoint = wait_for_failures(&scene, &scene.tested, 0);
    assert_false(upstream_endpoint_is_ejected(endpoint));
    scene_clear(&scene);
}

static void test_silence_is_a_failure(void **state)
{
    const struct upstream_endpoint *endpoint;
    struct scene scene;

    scene_init(&scene, *state);
    endpoint = upstream_support_endpoint(&scene.support, &scene.tested);
    start_round(&scene);
    while (scene.tested.count == 0)
        loop_run_for(*state, 1);
    upstream_support_pass_ms(&scene.support, 4999);
    assert_int_equal(endpoint->failures_in_row, 0);
    upstream_support_pass_ms(&scene.support, 1);
    assert_int_equal(endpoint->failures_in_row, 1);
    scene_clear(&scene);
}

static void test_ends_with_probes_under_way(void **state)
{
    struct scene scene;
    struct error error;

    scene_init(&scene, *state);
    start_round(&scene);
    while (scene.tested.count == 0)
        loop_run_for(*state, 1);
    scene.support.options.url_count = 1; /* a reload takes the probed endpoint away */
    assert_true(upstream_pool_configure(scene.support.pool, &scene.support.options, &error));
    loop_run_for(*state, 2);
    start_round(&scene);
    loop_run_for(*state, 2);
    scene_clear(&scene);
}

#define TEST(function) \
    cmocka_unit_test_setup_teardown(function, loop_fixture_setup, loop_fixture_teardown)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(test_bad_answers_eject_and_good_ones_bring_back),
        TEST(test_silence_is_a_failure),
        TEST(test_ends_with_probes_under_way),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
