/* SPDX-License-Identifier: MIT */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <time.h>

#include "kamiyo/redis/redis_client.h"
#include "kamiyo/redis/redis_options.h"

#include "support/fake_redis.h"

/* A client, what it says, and a fake to talk to. */
struct client_fixture {
    struct loop *loop;
    struct resolver *resolver;
    struct redis_options options;
    char url[128];
    struct redis_shared *shared;
    struct redis_client *client;
    struct fake_redis *fake;
    const char *answer;   /* the script's reply to anything but a greeting; NULL = none */
    const char *greeting; /* the script's reply to any command of a greeting; NULL = as Redis */
    bool cuts;            /* after the answer */
    bool is_up;
    bool is_down;
    bool was_returning; /* when it went down */
    unsigned ups;
    unsigned downs;
    unsigned losses;
    unsigned round_trips;
    unsigned reasons; /* a bit for each that was told */
    struct redis_failure failure;
    struct timespec time_delay; /* before the answer to TIME can be read */
};

/* What became of one command. */
struct client_outcome {
    bool is_done;
    enum redis_outcome outcome;
    char text[128];
    int64_t integer;
    struct redis_client *next; /* send another from the callback */
};

/* Options; nothing runs yet, so that a test may change them. */
void client_setup(struct client_fixture *f, void **state);
/* A scripted store, and the URL of it. */
void client_use_fake(struct client_fixture *f);
/* The client, which begins to connect. */
void client_start(struct client_fixture *f);
/* All three. */
void client_start_with_fake(struct client_fixture *f, void **state);
void client_teardown(struct client_fixture *f);
/* Words with blanks between them; NULL = not sent. */
struct redis_call *client_ask(struct client_fixture *f,
                              struct client_outcome *outcome,
                              int64_t timeout_ms,
                              const char *word);
void client_expect_reply(struct client_fixture *f, const char *command, const char *text);
/* Each failure counts, also one that another followed within a turn. */
void client_expect_down(struct client_fixture *f, enum redis_reason reason);
