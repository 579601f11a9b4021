/* SPDX-License-Identifier: MIT */
/* How long a leased table lives: what outlives it or is left over, the address sanitizer tells. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>

#include "kamiyo/route/route_lease.h"
#include "kamiyo/route/route_options.h"
#include "kamiyo/route/route_table.h"

static struct route_table *make_table(void)
{
    static char anonymous[] = "anonymous";
    struct route_tier_options tier = {.name = anonymous, .is_unlimited = true};
    const struct route_table_options options = {.tiers = &tier, .tier_count = 1};

    return route_table_create(&options);
}

static void test_outlives_the_table(void **state)
{
    struct route_table *table = make_table();
    struct route_lease *proxy = route_lease_create(table);
    struct route_lease *exchange = route_lease_ref(proxy);

    (void)state;
    assert_ptr_equal(exchange, proxy);
    assert_ptr_equal(exchange->table, table);
    route_table_unref(&table); /* a reload: the snapshot's reference goes */
    route_lease_unref(&proxy);
    assert_null(proxy);
    assert_int_equal(route_table_count(exchange->table), 1); /* still there for this exchange */
    route_lease_unref(&exchange);
    assert_null(exchange);
}

static void test_goes_before_the_table(void **state)
{
    struct route_table *table = make_table();
    struct route_lease *one = route_lease_create(table), *other = route_lease_create(table);

    (void)state;
    assert_ptr_not_equal(one, other); /* each thread counts its own holders */
    route_lease_unref(&one);
    route_lease_unref(&other);
    assert_int_equal(route_table_count(table), 1);
    route_table_unref(&table);
}

static void test_unref_takes_nothing(void **state)
{
    struct route_lease *lease = NULL;

    (void)state;
    route_lease_unref(&lease);
    assert_null(lease);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_outlives_the_table),
        cmocka_unit_test(test_goes_before_the_table),
        cmocka_unit_test(test_unref_takes_nothing),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
