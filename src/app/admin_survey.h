/* SPDX-License-Identifier: MIT */
#pragma once

#include "kamiyo/admin/admin.h"

/*
 * What only the workers know, gathered for the admin listener: who is refused
 * most, and how the upstream's endpoints are. The question goes from worker to
 * worker, each adds its part on its own thread, and the sum comes back to the
 * control loop. The functions are those of struct admin_source, with the
 * gateway as `arg`.
 */
void admin_survey_start(void *arg,
                        admin_survey_fn *done,
                        void *done_arg,
                        struct admin_survey_call **call);
void admin_survey_cancel(void *arg, struct admin_survey_call **call);
