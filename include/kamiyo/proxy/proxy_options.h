/* SPDX-License-Identifier: MIT */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* Contract section 2 `client` and `responses`. Strings are owned by the holder. */

struct client_options {
    int64_t header_timeout_ms;
    int64_t body_timeout_ms;
    int64_t idle_timeout_ms;
    int64_t write_timeout_ms;
    int64_t tunnel_idle_timeout_ms;
    uint64_t max_header_bytes;
    uint64_t max_target_bytes;
    int max_headers;
    uint64_t max_body;   /* 0 = no limit */
    int max_connections; /* in all workers */
};

enum reply_problem_json {
    REPLY_PROBLEM_AUTO,
    REPLY_PROBLEM_ALWAYS,
    REPLY_PROBLEM_NEVER
};

struct reply_options {
    bool has_x_ratelimit;
    bool has_ratelimit;
    enum reply_problem_json problem_json;
    char *upgrade_url;
    char **cors_origins;
    size_t cors_origin_count;
};
