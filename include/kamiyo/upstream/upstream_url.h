/* SPDX-License-Identifier: MIT */
#pragma once

#include <stdbool.h>
#include <stdint.h>

#include "kamiyo/base/attributes.h"
#include "kamiyo/base/error.h"
#include "kamiyo/base/slice.h"

/*
 * Where an upstream is, as the configuration names it: http://host[:port],
 * https://host[:port], unix:/path, or a bare host:port (http). Plain data.
 */
struct upstream_url {
    bool is_tls;
    uint16_t port;       /* 80 or 443 where none is given; 0 with a unix path */
    char host[256];      /* without brackets; "" with a unix path */
    char unix_path[108]; /* "" = host and port count */
    char authority[272]; /* for Host: as given, without a default port; "localhost" for a unix path
                          */
};

/* False and *error (a phrase, "no port") when it is none of these forms; *url is untouched then. */
bool upstream_url_parse(struct slice text,
                        struct upstream_url *url,
                        struct error *error) MUST_CHECK;
bool upstream_url_equal(const struct upstream_url *a, const struct upstream_url *b);
