/* SPDX-License-Identifier: MIT */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "kamiyo/net/tls_options.h"

/* The upstream's settings; contract section 2 `upstream`. Strings are owned by the holder. */
struct upstream_options {
    char **urls; /* http://, https://, unix:/path or host:port, each already held valid */
    size_t url_count;
    int64_t connect_timeout_ms;
    int64_t response_timeout_ms;
    int64_t read_timeout_ms;
    int64_t idle_timeout_ms;
    int max_connections; /* per worker */
    int64_t queue_timeout_ms;
    uint64_t max_header_bytes;
    int64_t resolve_interval_ms;
    char *health_path; /* "" = passive only */
    int64_t health_interval_ms;
    int health_eject_after;
    int64_t health_eject_for_ms;
    struct tls_options tls;
};
