/* SPDX-License-Identifier: MIT */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "kamiyo/base/attributes.h"
#include "kamiyo/base/error.h"
#include "kamiyo/base/slice.h"

/*
 * A Redis URL as its parts:
 *
 *   redis://[[user]:password@]host[:port][/database][?db=n]
 *   rediss:// likewise over TLS; valkey:// and valkeys:// mean the same
 *   unix://[[user]:password@]/path[?db=n]
 *
 * User, password, host and path are percent-decoded; an IPv6 address stands in
 * brackets. Pure; no name is looked up.
 */
#define REDIS_URL_DEFAULT_PORT 6379
#define REDIS_URL_MAX_BYTES    4096
#define REDIS_URL_MAX_HOST     255
/* Highest database number that is taken; the server may know fewer. */
#define REDIS_URL_MAX_DATABASE 1000000

struct redis_url {
    bool is_tls;
    bool is_unix;
    char host[REDIS_URL_MAX_HOST + 1]; /* name or address, without brackets; "" with is_unix */
    uint16_t port;
    char path[108]; /* with is_unix: of the socket */
    char *user;     /* owned; NULL = none; never without a password */
    char *password; /* owned; NULL = none */
    int database;
};

/*
 * Read `text`; *url needs no initialisation. False and *error when it cannot be used, with *url
 * untouched: the words say what is wrong and never quote what may be part of a password.
 */
bool redis_url_parse(struct slice text, struct redis_url *url, struct error *error) MUST_CHECK;
/* Wipe and free what redis_url_parse allocated. */
void redis_url_clear(struct redis_url *url);
/*
 * The text for people: the password as "***", and of a text that does not parse whatever might be
 * one. Terminated, printable ASCII only, cut at `capacity` (at least 16). Returns its length.
 */
size_t redis_url_mask(struct slice text, char *out, size_t capacity);
