/* SPDX-License-Identifier: MIT */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "kamiyo/base/attributes.h"
#include "kamiyo/base/slice.h"
#include "kamiyo/config/config.h"
#include "kamiyo/net/addr.h"

/*
 * What the commands that speak with a running gateway ask of its admin
 * listener: one GET on a connection of its own, waiting for the answer. What
 * goes wrong is told on stderr as "kamiyo-gateway <command>: ...", with what to
 * do about it.
 */
struct admin_client {
    const char *command; /* for messages; borrowed */
    const char *token;   /* "" = none; borrowed */
    struct addr_endpoint at;
    char name[128]; /* of `at` */
};

/* Longest answer that is taken. */
#define ADMIN_CLIENT_MAX_BYTES ((size_t)4 << 20)

/*
 * Where: `address` (--admin; NULL = not given), else the configuration's admin.listen. With which
 * token: the configuration's admin.token, which ADMIN_TOKEN sets; the configuration outlives the
 * client. False: told.
 */
bool admin_client_init(struct admin_client *client,
                       const char *command,
                       const char *address,
                       const struct config *config) MUST_CHECK;
/*
 * GET `target` with `fields` (whole lines with their CRLF; may be empty). True: the answer was 200,
 * *body is terminated and for mem_free, *length without the terminator. False: told.
 */
bool admin_client_get(const struct admin_client *client,
                      const char *target,
                      struct slice fields,
                      int64_t timeout_ms,
                      char **body,
                      size_t *length) MUST_CHECK;
