/* SPDX-License-Identifier: MIT */
/* The loop of a test, with a cap on how long it may run; see loop_fixture.h. */
#include "loop_fixture.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "kamiyo/base/clock.h"

int loop_fixture_setup(void **state)
{
    struct loop *loop;

    loop_library_init();
    loop = loop_create();
    assert_non_null(loop);
    *state = loop;
    return 0;
}

int loop_fixture_teardown(void **state)
{
    struct loop *loop = *state;

    loop_destroy(&loop);
    return 0;
}

void loop_fixture_run_until(struct loop *loop, const bool *condition)
{
    int64_t end_ms = clock_monotonic_ms() + LOOP_FIXTURE_CAP_MS;

    while (!*condition) {
        if (clock_monotonic_ms() > end_ms)
            fail_msg("nothing happened for %d ms", LOOP_FIXTURE_CAP_MS);
        loop_run_for(loop, 1);
    }
}
