/* SPDX-License-Identifier: MIT */
#pragma once

#include <stdint.h>

#include "kamiyo/net/tls_options.h"

/* How Redis is reached. Strings are owned by the holder. */
struct redis_options {
    char *url;                  /* as given; "" or NULL = no Redis */
    int64_t connect_timeout_ms; /* TCP, TLS, AUTH, SELECT and the first answer together */
    int64_t backoff_min_ms;
    int64_t backoff_max_ms;
    struct tls_options tls;
};
