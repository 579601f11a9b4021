/* SPDX-License-Identifier: MIT */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "kamiyo/admin/admin.h"
#include "kamiyo/net/addr.h"
#include "kamiyo/net/loop.h"
#include "kamiyo/observe/metrics.h"

/*
 * An admin listener on a loopback port before a source of the test's own, and
 * a client that speaks to it byte by byte while the test's loop runs.
 */
/* A source whose answers the test chooses, and an admin listener before it. */
struct fixture {
    struct loop *loop;
    struct admin *admin;
    struct metrics *metrics;
    struct addr_endpoint at;
    bool is_ready;
    bool is_late; /* look and reset answer when the test says so */
    size_t status_bytes;
    struct admin_buckets buckets;
    int64_t deleted;
    char key[256];
    char tier[64];
    int cancelled;
    admin_look_fn *look_done;
    admin_reset_fn *reset_done;
    void *done_arg;
    char question[4096]; /* what is to be explained: "method target key peer" */
    bool holds_explanation;
    admin_explain_fn *explain_done; /* NULL = none under way */
    void *explain_arg;
    struct admin_survey survey; /* what a survey answers, at the next turn or when it is not held */
    admin_survey_fn *survey_done; /* NULL = none under way */
    void *survey_arg;
    bool holds_survey;
    int surveys;
    char response[200000];
    size_t response_length;
    int client;
    bool is_ended;
};

extern struct fixture fixture; /* large */

/* On the test's loop; an empty token = none. */
void admin_support_start(struct loop *loop, const char *token);
void admin_support_stop(void);
/* A new connection of the client; what came on the last one is forgotten. */
void admin_support_dial(void);
void admin_support_hang_up(void);
void admin_support_say(const char *bytes, size_t length);
/* Forget what came so far. */
void admin_support_forget(void);
/* So many turns of the loop, or until the end of the connection. */
void admin_support_listen_for(int turns);
void admin_support_await_response(void);
/* One request on a connection of its own ("GET /x", "Name: value\r\n"...); the status of its
 * answer. */
int admin_support_ask(const char *line, const char *fields);
/* Answer the survey that was held. */
void admin_support_end_survey(void);
/* Of the response that came. */
const char *admin_support_body(void);
void admin_support_assert_field(const char *line);
