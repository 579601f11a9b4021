/* SPDX-License-Identifier: MIT */
#pragma once

#include "kamiyo/admin/admin.h"

/*
 * An explanation for the admin listener: the question travels to the first
 * worker's loop, which walks with its own identity chain and limiter, and the
 * JSON travels back to the control loop. The functions are those of struct
 * admin_source, with the gateway as `arg`.
 */
void explain_call_start(void *arg,
                        const struct admin_question *question,
                        admin_explain_fn *done,
                        void *done_arg,
                        struct admin_explain_call **call);
void explain_call_cancel(void *arg, struct admin_explain_call **call);
