/* SPDX-License-Identifier: MIT */
#pragma once

#include "kamiyo/admin/admin.h"
#include "kamiyo/base/progress.h"
#include "kamiyo/base/slice.h"

/*
 * One identity's buckets, looked at or reset for the admin listener: the
 * question travels to the first worker's loop, whose limiter asks Redis or the
 * table, and the answer travels back to the control loop. The functions are
 * those of struct admin_source, with the gateway as `arg`.
 */
enum progress admin_lookup_look(void *arg,
                                struct slice key,
                                struct slice tier,
                                struct admin_buckets *buckets,
                                admin_look_fn *done,
                                void *done_arg,
                                struct admin_call **call);
enum progress admin_lookup_reset(void *arg,
                                 struct slice key,
                                 int64_t *deleted,
                                 admin_reset_fn *done,
                                 void *done_arg,
                                 struct admin_call **call);
void admin_lookup_cancel(void *arg, struct admin_call **call);
