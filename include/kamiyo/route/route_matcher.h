/* SPDX-License-Identifier: MIT */
#pragma once

#include <stddef.h>

#include "kamiyo/base/attributes.h"
#include "kamiyo/base/slice.h"
#include "kamiyo/http/message.h"
#include "kamiyo/route/route_options.h"

/*
 * Which of the configured routes a request meets first: exact paths in a hash,
 * prefixes in a tree, the other conditions only for the few routes whose path
 * fits. Immutable once made; any thread.
 */
struct route_matcher;

/* Copies what it needs. A path longer than ROUTE_MAX_PATH_BYTES never matches. */
struct route_matcher *route_matcher_create(const struct route_options *routes,
                                           size_t count) MUST_CHECK;
void route_matcher_destroy(struct route_matcher **matcher);
/* The index of the first route that matches, or `count` of the creation. */
size_t route_matcher_find(const struct route_matcher *matcher,
                          const struct http_request_head *request);
