/* SPDX-License-Identifier: MIT */
#pragma once

#include "kamiyo/app/snapshot.h"
#include "kamiyo/config/config_load.h"

/*
 * The running gateway: workers on their threads, and on the calling thread the
 * control loop with signals, the admin listener and reloads.
 *
 * Takes over `snapshot` (a reference) and keeps `overrides` (borrowed) for
 * reloads. Returns the exit status: 0 after an orderly drain, 1 when it could
 * not start. Logs the lines of the contract's section 9.
 */
int gateway_run(struct snapshot *snapshot, const struct config_overrides *overrides);
