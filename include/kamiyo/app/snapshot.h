/* SPDX-License-Identifier: MIT */
#pragma once

#include "kamiyo/base/attributes.h"
#include "kamiyo/base/error.h"
#include "kamiyo/config/config_load.h"
#include "kamiyo/identity/identity.h"
#include "kamiyo/route/route_table.h"

/*
 * One configuration and what is built from it: the thing that a reload swaps.
 * Immutable, counted by references from any thread; the last one frees all.
 */
struct snapshot {
    _Atomic int references;
    struct config *config;
    struct route_table *routes;
    struct identity_config *identity;
};

/* NULL when anything is wrong; `errors` says what, and holds warnings in any case. */
struct snapshot *snapshot_load(const struct config_overrides *overrides,
                               struct error_list *errors) MUST_CHECK;
struct snapshot *snapshot_ref(struct snapshot *snapshot);
void snapshot_unref(struct snapshot **snapshot);
