/* SPDX-License-Identifier: MIT */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "kamiyo/admin/admin_options.h"
#include "kamiyo/base/log.h"
#include "kamiyo/identity/identity_options.h"
#include "kamiyo/limit/limit_options.h"
#include "kamiyo/net/addr.h"
#include "kamiyo/observe/access_log_options.h"
#include "kamiyo/proxy/proxy_options.h"
#include "kamiyo/redis/redis_options.h"
#include "kamiyo/route/route_options.h"
#include "kamiyo/upstream/upstream_options.h"

/*
 * The whole configuration as plain data: each room's options side by side.
 * Made by config_load, immutable afterwards, freed by config_destroy.
 */
struct config_listen {
    struct addr_endpoint endpoint;
    bool proxy_protocol;
    char *text; /* as given, for messages */
};

struct config {
    char *path; /* of the file, "" = built-in defaults */
    struct config_listen *listen;
    size_t listen_count;
    int workers; /* 0 = auto */
    struct upstream_options upstream;
    struct client_options client;
    struct redis_options redis;
    struct limiter_options limiter;
    struct client_ip_options client_ip;
    struct identity_options identity;
    struct route_table_options routes;
    struct reply_options responses;
    struct admin_options admin;
    enum log_level log_level;
    enum log_format log_format;
    char *log_file;
    struct access_log_options access_log;
    int64_t drain_timeout_ms;
};

void config_destroy(struct config **config);
