/* SPDX-License-Identifier: MIT */
#pragma once

#include <stdbool.h>

#include "kamiyo/base/attributes.h"
#include "kamiyo/base/error.h"
#include "kamiyo/net/tls_options.h"

/*
 * TLS as a client, for an https upstream and a rediss store: one context for
 * each, made from its options; one SSL for each connection, with the server's
 * name sent and verified, and the last session offered again.
 */
struct ssl_st;
struct tls_client;

/* Options are copied. NULL and *error when a file cannot be read or does not fit the others. A
 * client may be used from any thread. */
struct tls_client *tls_client_create(const struct tls_options *options,
                                     struct error *error) MUST_CHECK;
/* A new SSL for a connection to `host` (options->server_name goes first). NULL and *error on
 * failure. */
struct ssl_st *
tls_client_new(struct tls_client *client, const char *host, struct error *error) MUST_CHECK;
/* What was made from it goes on: an SSL holds what it needs. */
void tls_client_destroy(struct tls_client **client);
