/* SPDX-License-Identifier: MIT */
/* script_forms: what is kept is what bucket_script would write, for this policy and no other. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#include "kamiyo/limit/limit_policy.h"

#include "limit/script_forms.h"

static struct limit_policy policy_of(int64_t minute, int64_t hour)
{
    struct limit_policy policy;
    struct limit_window window;
    struct error error;

    memset(&policy, 0, sizeof(policy));
    memset(&window, 0, sizeof(window));
    assert_true(limit_window_init(&window, minute, 0, 60000, &error));
    assert_true(limit_policy_add(&policy, &window, &error));
    if (hour > 0) {
        assert_true(limit_window_init(&window, hour, 0, 3600000, &error));
        assert_true(limit_policy_add(&policy, &window, &error));
    }
    return policy;
}

static void
expect_form(struct script_forms *forms, const struct limit_policy *policy, enum limit_layout layout)
{
    const struct script_form *form = script_forms_find(forms, policy, layout);
    char expected[BUCKET_SCRIPT_ARGUMENT_BYTES];
    char given[BUCKET_SCRIPT_ARGUMENT_BYTES];
    size_t length =
        bucket_script_argument(policy, layout, BUCKET_SCRIPT_ADD, -7, 1763912345678, expected);

    assert_int_equal(form->argument_length, length);
    memcpy(given, form->argument, length);
    bucket_script_set_call(given, BUCKET_SCRIPT_ADD, -7, 1763912345678);
    assert_memory_equal(given, expected, length);
    for (size_t i = 0; i < policy->window_count; i++) {
        assert_int_equal(form->names[i].length, strlen(policy->windows[i].name));
        assert_memory_equal(form->names[i].data, policy->windows[i].name, form->names[i].length);
    }
}

static void test_forms(void **state)
{
    struct script_forms *forms = script_forms_create();
    struct limit_policy policy = policy_of(10, 100);
    const struct script_form *form;

    (void)state;
    expect_form(forms, &policy, LIMIT_LAYOUT_WINDOW);
    form = script_forms_find(forms, &policy, LIMIT_LAYOUT_WINDOW);
    assert_ptr_equal(script_forms_find(forms, &policy, LIMIT_LAYOUT_WINDOW), form);
    expect_form(forms, &policy, LIMIT_LAYOUT_IDENTITY);
    expect_form(forms, &policy, LIMIT_LAYOUT_WINDOW);
    /* Others at the same address. */
    policy = policy_of(10, 101);
    expect_form(forms, &policy, LIMIT_LAYOUT_WINDOW);
    policy = policy_of(10, 0);
    expect_form(forms, &policy, LIMIT_LAYOUT_WINDOW);
    policy = policy_of(10, 100);
    expect_form(forms, &policy, LIMIT_LAYOUT_WINDOW);
    script_forms_destroy(&forms);
    assert_null(forms);
    script_forms_destroy(&forms);
}

/* More policies than places. */
static void test_many(void **state)
{
    static struct limit_policy policies[300];
    struct script_forms *forms = script_forms_create();

    (void)state;
    for (int64_t i = 0; i < 300; i++)
        policies[i] = policy_of(1 + i, 1000 + i);
    for (size_t round = 0; round < 2; round++) {
        for (size_t i = 0; i < 300; i++)
            expect_form(forms, &policies[i], LIMIT_LAYOUT_WINDOW);
    }
    script_forms_destroy(&forms);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_forms),
        cmocka_unit_test(test_many),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
