/* SPDX-License-Identifier: MIT */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <sys/queue.h>

#include "kamiyo/admin/admin.h"
#include "kamiyo/http/parser.h"
#include "kamiyo/net/listener.h"
#include "kamiyo/net/stream.h"

#include "admin/admin_sample.h"

/*
 * The room's shared structs: the server (admin.c), its connections
 * (admin_connection.c), who may ask (admin_access.c), how a request is read
 * (admin_query.c) and what is answered: admin_routes.c has the table of paths,
 * a file for each noun in it the answers.
 */
#define ADMIN_MAX_FIELDS 64

/* The secrets that open the door. */
struct admin_access {
    char *token;           /* NULL = none is asked for */
    char session[33];      /* the cookie's value, made anew for each process and token */
    char listen_host[128]; /* the host part of the listen address */
    bool is_unix;          /* reached by a path, which no name can be rebound to */
};

void admin_access_init(struct admin_access *access, const struct addr_endpoint *listen);
/* Whether it is another than before. */
bool admin_access_set_token(struct admin_access *access, const char *token);
void admin_access_clear(struct admin_access *access);
/* Host against DNS rebinding, a foreign Origin against cross-site deletes. */
bool admin_access_is_own_host(const struct admin_access *access,
                              const struct http_request_head *request);
/* The token as Bearer, or the session in the cookie; compared in constant time. */
bool admin_access_is_known(const struct admin_access *access,
                           const struct http_request_head *request);
bool admin_access_is_token(const struct admin_access *access, struct slice given);

/* What those who watch /api/events share. */
#define ADMIN_EVENTS_SAMPLES 11 /* ten seconds */
struct admin_events {
    struct loop_timer timer; /* runs while there are streams */
    struct admin_survey_call *survey_call;
    size_t stream_count;
    size_t sample_count; /* taken since the first stream; the last ADMIN_EVENTS_SAMPLES are kept */
    struct admin_sample samples[ADMIN_EVENTS_SAMPLES];
};

struct admin {
    struct loop *loop;
    struct listener *listener;
    struct listener_limit limit;
    struct admin_source source;
    struct admin_access access;
    struct admin_events events;
    TAILQ_HEAD(admin_connections, admin_connection) connections;
};

struct admin_connection {
    TAILQ_ENTRY(admin_connection) entry;
    struct admin *admin;
    struct stream stream;
    struct loop_timer timer; /* until the head is whole, idle, or written */
    struct loop_task free_task;
    struct http_parser parser;
    struct http_parser_field spans[ADMIN_MAX_FIELDS];
    struct http_field fields[ADMIN_MAX_FIELDS];
    struct http_request_head request;
    char input[ADMIN_MAX_HEAD_BYTES + 1]; /* from the head's start */
    size_t input_length;
    size_t head_length;      /* of the request that is being answered: the input's first bytes */
    struct admin_call *call; /* what the answer waits for: one of them */
    struct admin_survey_call *survey_call;
    struct admin_explain_call *explain_call;
    char key[ADMIN_MAX_TARGET_BYTES]; /* of the bucket it is about */
    size_t key_length;
    size_t client_limit; /* how many of the most limited are asked for */
    int64_t deleted;     /* how many of its buckets were */
    bool has_begun;      /* a byte of the next request has come */
    bool is_answering;   /* between a request and its answer's last byte */
    bool is_streaming;   /* counted in events.stream_count; its answer has no end of its own */
    bool is_closing;     /* answered for the last time; what still comes is dropped */
    bool is_head;
    bool keep_alive;
    bool is_closed;
};

/* Take over an accepted descriptor. */
void admin_connection_create(struct admin *admin, int fd);
void admin_connection_close(struct admin_connection *connection);

/* An answer; body is borrowed during the call. `fields` = further lines, each with its CRLF. */
struct admin_answer {
    int status;
    struct slice content_type;
    struct slice fields;
    struct slice body;
};
void admin_connection_answer(struct admin_connection *connection,
                             const struct admin_answer *answer);
/* {"error": ..., "message": ...} */
void admin_connection_refuse(struct admin_connection *connection, int status, const char *message);
void admin_connection_answer_text(struct admin_connection *connection,
                                  int status,
                                  struct slice body);
/* Writes one JSON body; called again with more memory when it overflows. */
typedef void admin_body_fn(struct text *out, const void *arg);
/* 200 with what `write` writes. */
void admin_connection_answer_json(struct admin_connection *connection,
                                  admin_body_fn *write,
                                  const void *arg);

/*
 * A head for events and `first`, in place of an answer; the caller writes what follows to the
 * stream, of which the kernel holds some `kernel_bytes`. False: only the head was asked for, or the
 * connection is gone.
 */
bool admin_connection_begin_stream(struct admin_connection *connection,
                                   int kernel_bytes,
                                   struct slice first);
/* What was written leaves, then the connection ends. */
void admin_connection_end_stream(struct admin_connection *connection);

/* After an answer that came later than its request: on to what has come meanwhile. */
void admin_connection_proceed(struct admin_connection *connection);

/* Answer connection->request now, or later by one of the above. */
void admin_routes_serve(struct admin_connection *connection);

/* Percent-decoded into `out` of `capacity` bytes; false: a broken escape, a control byte, or too
 * long. */
bool admin_query_decode(struct slice text, char *out, size_t capacity, size_t *length);
/* The raw value of a query parameter; data NULL = absent. */
struct slice admin_query_find(const struct http_request_head *request, struct slice name);

/* `"clients": [...]`, at most `max`; `"endpoints": [...]`: members of JSON objects. */
void admin_top_put_clients(struct text *out, const struct admin_survey *survey, size_t max);
void admin_top_put_endpoints(struct text *out, const struct admin_survey *survey);

void admin_events_init(struct admin_events *events, struct admin *admin);
/* A stream has ended; what only streams need ends with the last. */
void admin_events_leave(struct admin *admin);
/* All streams end, with an event that says why, in one word. */
void admin_events_end(struct admin *admin, struct slice reason);

/* One for each row of the table in admin_routes.c. */
void admin_page_serve(struct admin_connection *connection);
void admin_status_serve_health(struct admin_connection *connection);
void admin_status_serve_ready(struct admin_connection *connection);
void admin_status_serve_metrics(struct admin_connection *connection);
void admin_status_serve(struct admin_connection *connection);
void admin_events_serve(struct admin_connection *connection);
void admin_buckets_serve(struct admin_connection *connection);
void admin_top_serve(struct admin_connection *connection);
void admin_explain_serve(struct admin_connection *connection);
