/* SPDX-License-Identifier: MIT */
#pragma once

#include "kamiyo/base/error.h"
#include "kamiyo/config/config.h"

/*
 * Whether what a configuration names can be reached from here: Redis (connected, authenticated,
 * answering PING), and each upstream (connected, TLS if it has it, an HTTP answer). What cannot is
 * added to `errors` under its key; what can is described in `told`, a line each. Takes at most the
 * connect timeouts and some seconds.
 */
#define ONLINE_MAX_TOLD 2048
void online_check(const struct config *config,
                  struct error_list *errors,
                  char told[ONLINE_MAX_TOLD]);
