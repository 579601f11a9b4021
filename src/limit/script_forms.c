/* SPDX-License-Identifier: MIT */
/*
 * A small cache: the policy's address finds the place, its contents confirm,
 * for after a reload another policy may live there.
 */
#include "script_forms.h"

#include <string.h>

#include "kamiyo/base/mem.h"

/* A configuration has some ten policies at a time; two in one place only take turns. */
#define PLACES 64

struct script_forms {
    struct script_form *places[PLACES];
};

struct script_forms *script_forms_create(void)
{
    return mem_alloc_zero(sizeof(struct script_forms));
}

void script_forms_destroy(struct script_forms **forms)
{
    if (*forms == NULL)
        return;
    for (size_t i = 0; i < PLACES; i++)
        mem_free((*forms)->places[i]);
    mem_free(*forms);
    *forms = NULL;
}

/* Byte by byte: equal bytes are equal policies, and different ones are only made anew. */
static bool
is_for(const struct script_form *form, const struct limit_policy *policy, enum limit_layout layout)
{
    return form->layout == layout && form->policy.window_count == policy->window_count &&
           memcmp(form->policy.windows, policy->windows,
                  policy->window_count * sizeof(policy->windows[0])) == 0;
}

static void
make(struct script_form *form, const struct limit_policy *policy, enum limit_layout layout)
{
    form->policy = *policy;
    form->layout = layout;
    for (size_t i = 0; i < policy->window_count; i++)
        form->names[i] = slice_of(form->policy.windows[i].name);
    form->argument_length =
        bucket_script_argument(policy, layout, BUCKET_SCRIPT_PEEK, 0, 0, form->argument);
}

const struct script_form *script_forms_find(struct script_forms *forms,
                                            const struct limit_policy *policy,
                                            enum limit_layout layout)
{
    struct script_form **place = &forms->places[((uintptr_t)policy >> 4) % PLACES];

    if (LIKELY(*place != NULL && is_for(*place, policy, layout)))
        return *place;
    if (*place == NULL)
        *place = mem_alloc(sizeof(**place));
    make(*place, policy, layout);
    return *place;
}
