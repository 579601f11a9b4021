/* SPDX-License-Identifier: MIT */
#pragma once

#include <stddef.h>

#include "kamiyo/base/attributes.h"
#include "kamiyo/base/slice.h"
#include "kamiyo/limit/bucket_script.h"
#include "kamiyo/limit/limit_options.h"

/*
 * What the script's commands for one policy have in common, written once: most
 * of the argument, and how long the windows' names are. For limiter_redis.
 */
struct script_form {
    struct limit_policy policy;
    enum limit_layout layout;
    struct slice names[LIMIT_MAX_WINDOWS]; /* the windows' */
    size_t argument_length;
    char argument[BUCKET_SCRIPT_ARGUMENT_BYTES]; /* its first BUCKET_SCRIPT_CALL_BYTES are a call's
                                                  */
};

/* The forms in use, for one thread. */
struct script_forms;

struct script_forms *script_forms_create(void) MUST_CHECK;
/* NULL-safe. */
void script_forms_destroy(struct script_forms **forms);
/* Made when it is not there. Valid until the next call. */
const struct script_form *script_forms_find(struct script_forms *forms,
                                            const struct limit_policy *policy,
                                            enum limit_layout layout);
