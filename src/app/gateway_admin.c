/* SPDX-License-Identifier: MIT */
/*
 * What the admin listener asks of the running gateway.
 */
#include "app/app_internal.h"

bool gateway_open_admin(struct gateway *gateway)
{
    (void)gateway;
    return true;
}

void gateway_close_admin(struct gateway *gateway)
{
    (void)gateway;
}
