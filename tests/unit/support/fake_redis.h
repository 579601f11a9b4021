/* SPDX-License-Identifier: MIT */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

#include "kamiyo/net/loop.h"

/*
 * Two stores for tests: a scripted one on the test's own loop, which answers
 * each command with whatever bytes the script likes, and a real redis-server
 * as a child process.
 */
struct fake_redis;
struct fake_redis_connection;

#define FAKE_REDIS_MAX_ARGUMENTS 64

/* One command; arguments are terminated. The script answers with fake_redis_reply, now or later, or
 * not. */
struct fake_redis_command {
    size_t count;
    const char *arguments[FAKE_REDIS_MAX_ARGUMENTS];
};
typedef void fake_redis_script_fn(void *arg,
                                  struct fake_redis_connection *connection,
                                  const struct fake_redis_command *command);

/* Listens on 127.0.0.1. */
struct fake_redis *fake_redis_create(struct loop *loop, fake_redis_script_fn *script, void *arg);
void fake_redis_destroy(struct fake_redis **fake);
uint16_t fake_redis_port(const struct fake_redis *fake);
unsigned fake_redis_accepted(const struct fake_redis *fake);
/* Commands seen, the greeting's included. */
unsigned fake_redis_commands(const struct fake_redis *fake);
void fake_redis_reply(struct fake_redis_connection *connection, const char *bytes);
void fake_redis_cut(struct fake_redis_connection *connection);
/* Close every connection. */
void fake_redis_cut_all(struct fake_redis *fake);
/* Say something to every connection, asked or not. */
void fake_redis_push(struct fake_redis *fake, const char *bytes);
/* Answer a greeting as Redis would; false: the command is none of a greeting. */
bool fake_redis_greet(struct fake_redis_connection *connection,
                      const struct fake_redis_command *command);

#define REAL_REDIS_PORT 6379

/* A child process, at an address of 127.0.0.0/8 that is this process's own: no other takes its port
 * while it is down, and no connection to it ends at itself. */
struct real_redis {
    pid_t pid;
    char host[16];
    char directory[64];
};
/* Up to ten more arguments, ended by NULL. Waits until it answers. False: there is none here. */
bool real_redis_start(struct real_redis *redis, const char *const *arguments);
/* The same address again, after a stop. */
bool real_redis_restart(struct real_redis *redis, const char *const *arguments);
/* SIGKILL, and wait for its end. May be repeated. */
void real_redis_stop(struct real_redis *redis);
