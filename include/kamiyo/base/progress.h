/* SPDX-License-Identifier: MIT */
#pragma once

/*
 * The answer of everything that may take time: now or later, never both.
 *
 *   enum progress x_start(self, query, *result, done_fn, arg, struct x_call **call);
 *
 * DONE: the result is filled and `done` never runs. PENDING: *call is set and
 * `done` runs exactly once, later, on the loop's thread, never inside the
 * starting call. x_cancel(struct x_call **) accepts NULL, nulls the handle,
 * and afterwards `done` cannot run. The handle is null in effect once `done`
 * begins: the callee forgets it first.
 */
enum progress {
    PROGRESS_DONE,
    PROGRESS_PENDING
};
