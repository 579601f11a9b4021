/* SPDX-License-Identifier: MIT */
#pragma once

#include <stdbool.h>
#include <stdint.h>

#include "kamiyo/net/loop.h"

/*
 * A loop for a test: it runs until the test's condition holds, and fails the
 * test when that takes longer than the cap. Made and checked anew by each
 * test, so that nothing leaks from one into the next.
 */
#define LOOP_FIXTURE_CAP_MS 15000

/* cmocka's setup and teardown: *state is the struct loop. */
int loop_fixture_setup(void **state);
int loop_fixture_teardown(void **state);
/* Run turns until *condition, or fail after the cap. */
void loop_fixture_run_until(struct loop *loop, const bool *condition);
