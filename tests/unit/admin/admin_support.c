/* SPDX-License-Identifier: MIT */
/*
 * The source that the tests of the admin listener set, and their client.
 */
#include "admin_support.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include <cmocka.h>

#include "kamiyo/base/clock.h"
#include "kamiyo/net/listener.h"

struct fixture fixture; /* large */

static bool is_ready(void *arg)
{
    return ((struct fixture *)arg)->is_ready;
}

static void read_gauges(void *arg, struct metrics_gauges *gauges)
{
    (void)arg;
    gauges->store_keys = 42;
}

static void write_status(void *arg, struct text *out)
{
    const struct fixture *self = arg;

    text_append(out, SLICE("\"store\": {\"mode\": \"memory\"}, \"filler\": \""));
    for (size_t i = 0; i < self->status_bytes; i++)
        text_append_char(out, 'x');
    text_append_char(out, '"');
}

static enum progress look(void *arg,
                          struct slice key,
                          struct slice tier,
                          struct admin_buckets *buckets,
                          admin_look_fn *done,
                          void *done_arg,
                          struct admin_call **call)
{
    struct fixture *self = arg;

    snprintf(self->key, sizeof(self->key), "%.*s", SLICE_PRINT(key));
    snprintf(self->tier, sizeof(self->tier), "%.*s", SLICE_PRINT(tier));
    if (self->is_late) {
        self->look_done = done;
        self->done_arg = done_arg;
        *call = (struct admin_call *)(void *)self;
        return PROGRESS_PENDING;
    }
    *buckets = self->buckets;
    return PROGRESS_DONE;
}

static enum progress reset(void *arg,
                           struct slice key,
                           int64_t *deleted,
                           admin_reset_fn *done,
                           void *done_arg,
                           struct admin_call **call)
{
    struct fixture *self = arg;

    snprintf(self->key, sizeof(self->key), "%.*s", SLICE_PRINT(key));
    if (self->is_late) {
        self->reset_done = done;
        self->done_arg = done_arg;
        *call = (struct admin_call *)(void *)self;
        return PROGRESS_PENDING;
    }
    *deleted = self->deleted;
    return PROGRESS_DONE;
}

static void cancel(void *arg, struct admin_call **call)
{
    ((struct fixture *)arg)->cancelled++;
    *call = NULL;
}

void admin_support_end_survey(void)
{
    admin_survey_fn *done = fixture.survey_done;

    fixture.survey_done = NULL;
    if (done != NULL)
        done(fixture.survey_arg, &fixture.survey);
}

static void run_survey(void *arg)
{
    (void)arg;
    if (!fixture.holds_survey)
        admin_support_end_survey();
}

static void
survey(void *arg, admin_survey_fn *done, void *done_arg, struct admin_survey_call **call)
{
    struct fixture *self = arg;

    assert_null(self->survey_done);
    self->survey_done = done;
    self->survey_arg = done_arg;
    self->surveys++;
    *call = (struct admin_survey_call *)(void *)self;
    loop_post(self->loop, run_survey, self);
}

static void survey_cancel(void *arg, struct admin_survey_call **call)
{
    ((struct fixture *)arg)->survey_done = NULL;
    ((struct fixture *)arg)->cancelled++;
    *call = NULL;
}

static void run_explain(void *arg)
{
    struct fixture *self = arg;
    admin_explain_fn *done = self->explain_done;

    if (self->holds_explanation || done == NULL)
        return;
    self->explain_done = NULL;
    done(self->explain_arg, SLICE("{\"allowed\": true}\n"));
}

static void explain(void *arg,
                    const struct admin_question *question,
                    admin_explain_fn *done,
                    void *done_arg,
                    struct admin_explain_call **call)
{
    struct fixture *self = arg;
    char peer[ADDR_TEXT_SIZE];

    (void)addr_format(&question->peer, peer);
    snprintf(self->question, sizeof(self->question), "%.*s %.*s %.*s %s",
             SLICE_PRINT(question->method), SLICE_PRINT(question->target),
             SLICE_PRINT(question->key), peer);
    self->explain_done = done;
    self->explain_arg = done_arg;
    *call = (struct admin_explain_call *)(void *)self;
    loop_post(self->loop, run_explain, self);
}

static void explain_cancel(void *arg, struct admin_explain_call **call)
{
    struct fixture *self = arg;

    self->cancelled++;
    self->explain_done = NULL;
    *call = NULL;
}

static const struct admin_window windows[] = {
    {{"minute", 6}, 35, 40, 34, 2},
    {{"hour", 4}, 2083, 2083, 2000, 144},
};
static const struct admin_route_windows routes[] = {
    {{"", 0}, windows, 2},
    {{"webhooks", 8}, windows, 1},
};

void admin_support_start(struct loop *loop, const char *token)
{
    struct admin_options options = {.is_enabled = true};
    struct admin_source source = {.arg = &fixture,
                                  .is_ready = is_ready,
                                  .read_gauges = read_gauges,
                                  .write_status = write_status,
                                  .look = look,
                                  .reset = reset,
                                  .cancel = cancel,
                                  .survey = survey,
                                  .survey_cancel = survey_cancel,
                                  .explain = explain,
                                  .explain_cancel = explain_cancel};
    char copy[64];
    int fd;

    memset(&fixture, 0, sizeof(fixture));
    fixture.loop = loop;
    fixture.client = -1;
    fixture.is_ready = true;
    fixture.buckets =
        (struct admin_buckets){ADMIN_BUCKETS_FOUND, SLICE("pro"), SLICE("redis"), routes, 2};
    fixture.metrics = metrics_create(1);
    source.metrics = fixture.metrics;
    source.started_ms = clock_wall_ms() - 5000;
    assert_true(addr_parse(SLICE("127.0.0.1"), &options.listen.addr));
    fd = listener_open(&options.listen, NULL);
    assert_true(fd >= 0);
    listener_local_endpoint(fd, &fixture.at);
    snprintf(copy, sizeof(copy), "%s", token);
    options.listen = fixture.at;
    options.token = copy;
    fixture.admin = admin_create(loop, fd, &options, &source);
}

void admin_support_hang_up(void)
{
    if (fixture.client >= 0)
        close(fixture.client);
    fixture.client = -1;
}

void admin_support_stop(void)
{
    admin_support_hang_up();
    admin_destroy(&fixture.admin);
    assert_null(fixture.admin);
    admin_destroy(&fixture.admin);
    loop_run_for(fixture.loop, 1);
    metrics_destroy(&fixture.metrics);
}

void admin_support_forget(void)
{
    fixture.response_length = 0;
    fixture.response[0] = '\0';
}

void admin_support_dial(void)
{
    struct sockaddr_storage storage;
    socklen_t length = addr_endpoint_to_sockaddr(&fixture.at, &storage);

    admin_support_hang_up();
    fixture.client = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    assert_int_equal(connect(fixture.client, (struct sockaddr *)&storage, length), 0);
    fixture.response_length = 0;
    fixture.response[0] = '\0';
    fixture.is_ended = false;
}

void admin_support_say(const char *bytes, size_t length)
{
    assert_int_equal(send(fixture.client, bytes, length, MSG_NOSIGNAL), length);
}

/* Let the loop run and take what comes. */
void admin_support_listen_for(int turns)
{
    for (int i = 0; i < turns && !fixture.is_ended; i++) {
        ssize_t got;

        loop_run_for(fixture.loop, 1);
        got = recv(fixture.client, fixture.response + fixture.response_length,
                   sizeof(fixture.response) - fixture.response_length - 1, MSG_DONTWAIT);
        if (got > 0)
            fixture.response_length += (size_t)got;
        if (got == 0)
            fixture.is_ended = true;
        fixture.response[fixture.response_length] = '\0';
    }
}

static bool has_whole_response(void)
{
    const char *length = strstr(fixture.response, "Content-Length: ");
    const char *end = strstr(fixture.response, "\r\n\r\n");

    return length != NULL && end != NULL && strlen(end + 4) >= strtoul(length + 16, NULL, 10);
}

void admin_support_await_response(void)
{
    for (int i = 0; i < 2000 && !has_whole_response() && !fixture.is_ended; i++)
        admin_support_listen_for(1);
    if (!has_whole_response())
        fail_msg("no whole response: \"%s\"", fixture.response);
}

/* One request on a connection of its own; the status of its answer. */
int admin_support_ask(const char *line, const char *fields)
{
    char request[4096];
    int length = snprintf(request, sizeof(request), "%s HTTP/1.1\r\n%s%s\r\n", line,
                          strstr(fields, "Host:") != NULL ? "" : "Host: localhost\r\n", fields);

    admin_support_dial();
    admin_support_say(request, (size_t)length);
    admin_support_await_response();
    assert_memory_equal(fixture.response, "HTTP/1.1 ", 9);
    return (int)strtol(fixture.response + 9, NULL, 10);
}

const char *admin_support_body(void)
{
    return strstr(fixture.response, "\r\n\r\n") + 4;
}

void admin_support_assert_field(const char *line)
{
    if (strstr(fixture.response, line) == NULL)
        fail_msg("\"%s\" is missing in %s", line, fixture.response);
}
