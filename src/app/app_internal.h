/* SPDX-License-Identifier: MIT */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "kamiyo/app/snapshot.h"
#include "kamiyo/app/worker.h"
#include "kamiyo/config/config.h"
#include "kamiyo/net/addr.h"
#include "kamiyo/net/loop.h"

/*
 * The running gateway's one struct, shared by what starts, reloads and ends it
 * (gateway.c), what the admin listener asks of it (gateway_admin.c) and what
 * it knows of the store and of a reload's bounds (gateway_state.c).
 */
#define GATEWAY_MAX_LISTEN   16
#define GATEWAY_SIGNAL_COUNT 4

enum gateway_state {
    GATEWAY_STARTING, /* not listening yet */
    GATEWAY_SERVING,
    GATEWAY_DRAINING,
};

struct admin;
struct event;

struct gateway {
    enum gateway_state state;
    struct loop *loop;
    struct snapshot *snapshot;
    const struct config_overrides *overrides;
    struct worker_shared shared;
    struct worker **workers;
    size_t worker_count;
    size_t draining_workers;
    long descriptor_limit;           /* of the process; 0 = not known */
    int *fds;                        /* [listen][worker]; -1 once a worker has it */
    struct addr_endpoint *endpoints; /* with the ports that were chosen */
    size_t listen_count;
    struct loop_timer timer; /* the store's first word, or the drain's deadline */
    int64_t store_deadline_ms;
    int64_t started_ms; /* Unix */
    struct event *signals[GATEWAY_SIGNAL_COUNT];
    struct admin *admin;     /* NULL = off */
    char admin_address[128]; /* where it listens, whatever a reload says */
    size_t lookup_count;     /* admin_lookup, admin_survey, explain_call: under way */
};

/* gateway_state.c */
/* Whether a Redis decides at present, for all workers. */
bool gateway_has_redis(const struct gateway *gateway);
/* Redis has answered or failed for the first time, or there is none. */
bool gateway_store_is_known(const struct gateway *gateway);
/* How many client connections may be open: max_connections, or what the process's descriptors leave
 * when the upstream has its share. */
long gateway_client_room(const struct gateway *gateway, const struct config *config);
/* One warning for each setting that a reload cannot change. */
void gateway_warn_of_restart(const struct config *present, const struct config *next);

/* gateway_admin.c */
bool gateway_open_admin(struct gateway *gateway);
/* What a reload may change of it: the token. */
void gateway_configure_admin(struct gateway *gateway, const struct admin_options *options);
void gateway_close_admin(struct gateway *gateway);
