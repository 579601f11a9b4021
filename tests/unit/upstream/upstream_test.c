/* SPDX-License-Identifier: MIT */
/* Which endpoint is next: balance, rotation, ejection, what a reload keeps. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

#include "kamiyo/upstream/upstream.h"

#include "loop_fixture.h"
#include "upstream_support.h"

struct watcher {
    int changes;
    int gone;
};

static void on_change(void *arg)
{
    ((struct watcher *)arg)->changes++;
}

static void on_gone(struct upstream_endpoint *endpoint, void *arg)
{
    assert_null(endpoint->source);
    ((struct watcher *)arg)->gone++;
}

static const struct upstream_handler handler = {on_change, on_gone};

struct scene {
    struct upstream_support support; /* without its pool */
    struct upstream *upstream;
    struct watcher watcher;
    char a[32];
    char b[32];
    char c[32];
};

static void scene_init(struct scene *scene, struct loop *loop, int endpoints)
{
    struct error error;
    char *const urls[] = {scene->a, scene->b, scene->c};

    memset(scene, 0, sizeof(*scene));
    upstream_support_init(&scene->support, loop);
    scene->support.options.health_eject_after = 3;
    for (int i = 0; i < endpoints; i++) {
        (void)snprintf(urls[i], sizeof(scene->a), "127.0.0.%d:80", i + 1);
        upstream_support_add_url(&scene->support, urls[i]);
    }
    scene->upstream = upstream_create(loop, scene->support.resolver, &scene->support.options,
                                      &handler, &scene->watcher, &error);
    assert_non_null(scene->upstream);
}

static void scene_clear(struct scene *scene)
{
    upstream_destroy(&scene->upstream);
    upstream_destroy(&scene->upstream);
    upstream_support_clear(&scene->support);
}

/* The last byte of the chosen endpoint's address: 1, 2, 3; 0 = none. */
static int choose(struct scene *scene)
{
    const struct upstream_endpoint *endpoint = upstream_choose(scene->upstream, NULL, 0);

    return endpoint == NULL ? 0 : endpoint->at.addr.bytes[3];
}

static struct upstream_endpoint *find(struct scene *scene, int number)
{
    struct upstream_endpoint *endpoint;

    TAILQ_FOREACH (endpoint, upstream_endpoints(scene->upstream), entry) {
        if (endpoint->at.addr.bytes[3] == number)
            return endpoint;
    }
    return NULL;
}

static void report_failures(struct scene *scene, int number, int count)
{
    for (int i = 0; i < count; i++)
        upstream_endpoint_report(find(scene, number), false);
}

static void test_equals_take_turns(void **state)
{
    struct scene scene;
    int seen[4] = {0};
    int last = 0;

    scene_init(&scene, *state, 3);
    for (int i = 0; i < 30; i++) {
        int chosen = choose(&scene);

        assert_int_not_equal(chosen, last);
        seen[chosen]++;
        last = chosen;
    }
    for (int i = 1; i <= 3; i++)
        assert_int_equal(seen[i], 10);
    scene_clear(&scene);
}

static void test_the_least_busy_is_next(void **state)
{
    struct scene scene;

    scene_init(&scene, *state, 3);
    find(&scene, 1)->active_count = 5;
    find(&scene, 2)->active_count = 2;
    find(&scene, 3)->active_count = 4;
    for (int i = 0; i < 2; i++) {
        assert_int_equal(choose(&scene), 2);
        find(&scene, 2)->active_count++;
    }
    for (int i = 0; i < 30; i++) { /* from here on all are filled evenly */
        struct upstream_endpoint *endpoint = upstream_choose(scene.upstream, NULL, 0);

        endpoint->active_count++;
    }
    for (int i = 1; i <= 3; i++)
        assert_in_range(find(&scene, i)->active_count, 14, 15);
    scene_clear(&scene);
}

static void test_tried_ones_are_left_out(void **state)
{
    struct upstream_endpoint *tried[3];
    struct scene scene;

    scene_init(&scene, *state, 3);
    for (size_t i = 0; i < 3; i++) {
        tried[i] = upstream_choose(scene.upstream, tried, i);
        assert_non_null(tried[i]);
        for (size_t j = 0; j < i; j++)
            assert_ptr_not_equal(tried[i], tried[j]);
    }
    assert_null(upstream_choose(scene.upstream, tried, 3));
    scene_clear(&scene);
}

static void test_ejected_after_failures_in_a_row(void **state)
{
    struct scene scene;

    scene_init(&scene, *state, 2);
    report_failures(&scene, 1, 2);
    upstream_endpoint_report(find(&scene, 1), true); /* the row is broken */
    report_failures(&scene, 1, 2);
    assert_false(upstream_endpoint_is_ejected(find(&scene, 1)));
    report_failures(&scene, 1, 1);
    assert_true(upstream_endpoint_is_ejected(find(&scene, 1)));
    for (int i = 0; i < 10; i++)
        assert_int_equal(choose(&scene), 2);
    upstream_support_pass_ms(&scene.support, 9999);
    assert_true(upstream_endpoint_is_ejected(find(&scene, 1)));
    upstream_support_pass_ms(&scene.support, 1);
    assert_false(upstream_endpoint_is_ejected(find(&scene, 1)));
    assert_int_equal(choose(&scene), 1);
    report_failures(&scene, 1, 1); /* no better than before: once is enough */
    assert_true(upstream_endpoint_is_ejected(find(&scene, 1)));
    upstream_endpoint_report(find(&scene, 1), true);
    assert_false(upstream_endpoint_is_ejected(find(&scene, 1)));
    assert_int_equal(find(&scene, 1)->failure_count, 6);
    scene_clear(&scene);
}

static void test_the_last_usable_one_stays(void **state)
{
    struct upstream_endpoint *tried[1];
    struct scene scene;

    scene_init(&scene, *state, 2);
    report_failures(&scene, 1, 3);
    report_failures(&scene, 2, 10);
    assert_true(upstream_endpoint_is_ejected(find(&scene, 1)));
    assert_false(upstream_endpoint_is_ejected(find(&scene, 2)));
    tried[0] = find(&scene, 2); /* where nothing else is left, an ejected one is tried after all */
    assert_ptr_equal(upstream_choose(scene.upstream, tried, 1), find(&scene, 1));
    scene_clear(&scene);
}

static void test_reload_keeps_what_stays(void **state)
{
    struct upstream_endpoint *kept;
    struct upstream_endpoint *gone;
    char bad[] = "http://a/b";
    struct error error;
    struct scene scene;

    scene_init(&scene, *state, 2);
    kept = find(&scene, 2);
    kept->request_count = 77;
    gone = upstream_endpoint_ref(find(&scene, 1));
    (void)snprintf(scene.c, sizeof(scene.c), "127.0.0.3:80");
    scene.support.urls[0] = scene.c;
    assert_true(upstream_configure(scene.upstream, &scene.support.options, &error));
    assert_int_equal(scene.watcher.gone, 1);
    assert_null(find(&scene, 1));
    assert_ptr_equal(find(&scene, 2), kept);
    assert_int_equal(kept->request_count, 77);
    assert_non_null(find(&scene, 3));
    upstream_endpoint_report(gone, false); /* somebody still has a connection to it */
    upstream_endpoint_unref(&gone);
    assert_null(gone);
    assert_true(slice_equal(upstream_authority(scene.upstream), SLICE("127.0.0.3")));

    scene.support.urls[1] = bad;
    assert_false(upstream_configure(scene.upstream, &scene.support.options, &error));
    assert_non_null(strstr(error.text, "http://a/b"));
    assert_ptr_equal(find(&scene, 2), kept);
    assert_non_null(find(&scene, 3));
    assert_int_equal(scene.watcher.gone, 1);
    scene.support.options.url_count = 0;
    assert_false(upstream_configure(scene.upstream, &scene.support.options, &error));
    scene_clear(&scene);
}

static void test_names_are_asked_again(void **state)
{
    char url[] = "localhost:80";
    struct scene scene;
    struct error error;
    int changes;

    scene_init(&scene, *state, 1);
    scene.support.urls[0] = url;
    assert_true(upstream_configure(scene.upstream, &scene.support.options, &error));
    assert_true(upstream_is_resolving(scene.upstream));
    while (upstream_is_resolving(scene.upstream))
        loop_run_for(*state, 1);
    assert_false(TAILQ_EMPTY(upstream_endpoints(scene.upstream)));
    changes = scene.watcher.changes;
    upstream_support_pass_ms(&scene.support, 1000); /* the first round's, while it was not known */
    upstream_support_pass_ms(&scene.support, 10000);
    while (scene.watcher.changes == changes)
        loop_run_for(*state, 1);
    assert_int_equal(scene.watcher.gone, 1); /* the literal; the same answer takes nobody away */
    scene_clear(&scene);
}

#define TEST(function) \
    cmocka_unit_test_setup_teardown(function, loop_fixture_setup, loop_fixture_teardown)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(test_equals_take_turns),         TEST(test_the_least_busy_is_next),
        TEST(test_tried_ones_are_left_out),   TEST(test_ejected_after_failures_in_a_row),
        TEST(test_the_last_usable_one_stays), TEST(test_reload_keeps_what_stays),
        TEST(test_names_are_asked_again),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
