/* SPDX-License-Identifier: MIT */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/queue.h>

#include "kamiyo/base/mem.h"
#include "kamiyo/base/text.h"
#include "kamiyo/http/body.h"
#include "kamiyo/http/message.h"
#include "kamiyo/http/parser.h"
#include "kamiyo/identity/client_ip.h"
#include "kamiyo/identity/identity.h"
#include "kamiyo/limit/concurrency.h"
#include "kamiyo/limit/limiter.h"
#include "kamiyo/net/loop.h"
#include "kamiyo/net/stream.h"
#include "kamiyo/proxy/proxy.h"
#include "kamiyo/proxy/reply.h"
#include "kamiyo/proxy/request_id.h"
#include "kamiyo/route/route_lease.h"
#include "kamiyo/route/route_table.h"
#include "kamiyo/upstream/upstream_pool.h"

#include "proxy/lane.h"

/*
 * What the modules of this room share: the worker's proxy, one client
 * connection, one exchange (a request and its answer), and who may call what.
 *
 *   proxy ── owns ──> client ── owns at most one ──> exchange ── leases ──> upstream_connection
 *
 * client.c    bytes of a connection into request heads; keep-alive, pipelining, closing
 * exchange.c  the states of one request, from its head to its log line
 * admission.c who asks, and may they: route, lists, identity, limit
 * answer.c    the gateway's own answers to an exchange
 * lane.c      what the requests of one route and tier have in common, ready for each
 * relay.c     bodies in both directions, back-pressure, tunnels
 * record.c    what an exchange leaves behind: log line, metrics
 */

#define PROXY_READ_BYTES \
    81920 /* one read, and so what a direction may hold back: an answer of 64 KiB with its head */
#define PROXY_MEMO_BYTES   4096 /* what is kept of a usual request, its rewritten head included */
#define PROXY_MAX_INTERIM  32   /* 1xx answers to one request before it is nonsense */
#define PROXY_LINGER_MS    2000 /* how long an answered client may still send before the close */
#define PROXY_LINGER_BYTES (16u << 20)
#define PROXY_HALF_CLOSE_MS \
    1000 /* how long an answer may stand still once the client has ended its side */
#define PROXY_DRAIN_IDLE_MS \
    30 /* for what an idle client may have sent just before the drain to arrive */
#define PROXY_SMALL_REST 65536 /* of a declared body: read and dropped to keep the connection */

struct proxy {
    struct proxy_parts parts;
    struct proxy_settings settings;
    struct loop *loop;
    struct route_lease *routes;
    struct http_limits request_limits;
    struct http_limits response_limits;
    struct http_parser parser; /* for heads that arrive whole */
    struct http_parser_field *parser_fields;
    struct http_field *head_fields;
    struct slice *removed_names; /* identity.header's fields */
    size_t removed_count;
    char *read_buffer; /* PROXY_READ_BYTES; valid during one read's handling */
    char *scratch;     /* a head or reply on its way out */
    char nothing[1];   /* where an empty input stands */
    size_t scratch_size;
    struct mem_pool clients;
    struct mem_pool exchanges;
    struct mem_pool memos;
    struct request_id_source ids;
    struct lane_table lanes; /* of `routes` and settings.reply */
    int64_t date_second;     /* of `date` */
    char date[TEXT_HTTP_DATE_SIZE];
    LIST_HEAD(client_list, client) open_clients;
    size_t client_count;
    struct loop_timer log_timer;
    bool is_draining;
};

/* Bytes that were read and not consumed yet; and the parser of a head that arrives in pieces. */
struct input {
    char *data;
    size_t start;
    size_t length; /* from start */
    size_t capacity;
    struct http_parser *parser; /* with its spans behind it; NULL = none */
};

void input_clear(struct input *input);
/* Copy bytes to the end. */
void input_append(struct input *input, const char *bytes, size_t length);
/* At least `room` bytes of space at the end; returns where it begins. */
char *input_reserve(struct input *input, size_t room);

enum client_phase {
    CLIENT_WAITING,      /* for the first byte of a request */
    CLIENT_READING_HEAD, /* part of a head is here; the header deadline runs */
    CLIENT_EXCHANGING,   /* `exchange` is set */
    CLIENT_LINGERING,    /* answered; what still comes is dropped until the close */
    CLIENT_CLOSED,       /* freed at the end of the turn */
};

struct client {
    struct stream stream;
    struct proxy *proxy;
    struct exchange *exchange;
    struct input input;
    struct slice ahead; /* what was read behind the present head; only while exchange_begin runs */
    struct loop_timer timer;     /* idle, header, body, half-close or linger, by the phase */
    struct loop_task later_task; /* goes on with pipelined requests; frees a closed client */
    LIST_ENTRY(client) entry;
    struct addr peer;
    char peer_text[sizeof("255.255.255.255")]; /* not terminated; see client_peer_text */
    uint8_t peer_text_length;
    uint64_t written_at_check; /* after the client's end: what it had taken when last looked at */
    uint32_t linger_bytes;
    enum client_phase phase;
    bool awaits_proxy_header; /* PROXY protocol: before the first request */
    bool is_processing;       /* client_process is on the stack */
    bool has_ended;           /* the client has closed its sending side */
};

/* What becomes of a client connection after an exchange. */
enum client_fate {
    CLIENT_KEEP,
    CLIENT_CLOSE,
    CLIENT_ABORT
};

/* proxy.c */
/* A line was written: hand it to the log's writer within its time. An idle worker wakes for
 * nothing. */
void proxy_flush_log_soon(struct proxy *proxy);

/* client.c */
struct client *
client_create(struct proxy *proxy, int fd, const struct addr *peer, bool awaits_proxy_header);
void client_close(struct client *client); /* at once; ends an exchange under way */
/* The exchange is over (it has detached itself). `has_unread` = part of its request is still to
 * come. */
void client_exchange_done(struct client *client, enum client_fate fate, bool has_unread);
/* The exchange can take bytes again: give it what waits, and read on. */
void client_feed(struct client *client);
/* The peer's address. Of IPv4 the client keeps the text; any other is written to `memory`. */
struct slice client_peer_text(const struct client *client, char memory[ADDR_TEXT_SIZE]);
/* What has been read of the client and not consumed: the present request's body, or part of it. */
struct slice client_unread(const struct client *client);
/* The client has ended its side: it stays as long as it takes what is sent. */
void client_watch_half_close(struct client *client);
/* No more than one request is served from here on; one that has been sent already still is. */
void client_drain(struct client *client);
/* The limits of heads have changed: one that is under way is read again, from its first byte. */
void client_reread_head(struct client *client);

enum exchange_state {
    EXCHANGE_HEAD,     /* the request's head is looked at */
    EXCHANGE_IDENTITY, /* who asks: waiting for the answer */
    EXCHANGE_LIMIT,    /* may they: waiting for the answer */
    EXCHANGE_UPSTREAM, /* waiting for a connection */
    EXCHANGE_REQUEST,  /* the request goes upstream; no final answer yet */
    EXCHANGE_RESPONSE, /* the answer's head is passed on, its body follows */
    EXCHANGE_TUNNEL,   /* 101: bytes both ways until both sides have ended */
    EXCHANGE_REPLY,    /* answered in full; the rest of the request is dropped, the answer leaves */
    EXCHANGE_DONE,     /* detached; freed at the end of the turn */
    EXCHANGE_STATE_COUNT,
};

struct exchange {
    struct client *client;
    struct proxy *proxy;
    enum exchange_state state;
    const struct http_request_head *request; /* only until exchange_begin returns */
    struct loop_task free_task;
    struct loop_timer timer;       /* the upstream's deadlines, or the tunnel's */
    struct loop_timer write_timer; /* runs while the client does not take what is pending for it */
    int64_t began_us;              /* monotonic */
    int64_t began_wall_us;
    int64_t waited_us; /* for who it is, where that had to be looked up */
    int64_t limit_began_us;
    int64_t sent_us; /* request given to the upstream; 0 = not */
    int64_t limit_us;
    int64_t upstream_us; /* -1 = none */
    int64_t bytes_in;
    int64_t bytes_out;

    /* What is kept of the request: `memo` holds all of it. */
    char *memo;
    size_t memo_size;
    struct slice method, target, user_agent, referer, request_id, origin;
    struct slice upgrade;      /* what a tunnel was asked for; empty = none */
    struct text upstream_head; /* the rewritten head, in `memo`; length 0 = not written yet */
    struct http_body request_body;
    struct http_body response_body;
    int minor_version;
    bool is_head_method;
    bool can_retry; /* idempotent and without a body */
    bool wants_problem_json;
    bool wants_keep_alive; /* the client's wish */
    bool keep_alive;       /* what the answer's head says */
    bool expects_continue;
    bool is_refused; /* could not be parsed: what follows on the connection is noise */
    bool is_head_unsent;
    bool is_upload_broken;  /* the upstream takes no more of the request */
    bool has_answer;        /* a final head has gone to the client */
    bool is_chunked_answer; /* towards the client */
    bool is_close_delimited;
    bool was_decided; /* the limiter was asked and has answered, by a bucket or by on_failure */
    bool is_limited;  /* charged or denied: carries limit fields */
    bool was_charged;
    bool holds_concurrency;
    bool client_has_ended, upstream_has_ended; /* of a tunnel */
    bool keeps_upstream;                       /* as far as the response's head says */

    struct route_lease *routes; /* those that it began with */
    const struct route *route;
    const struct route_tier *tier;
    const struct limit_policy *policy;
    enum lane_verdict verdict;
    struct lane *lane; /* set with `tier`; read by exchange_lane */
    struct identity_call *identity_call;
    struct limiter_call *limit_call;
    struct upstream_pool_call *pool_call;
    struct upstream_connection *upstream;
    struct input response_input; /* part of a response head */
    int64_t cost_after;          /* of cost_from */
    int status;
    int retries;
    int interim_count;
    const char *reason; /* why it ended, when not in order */
    /* Filled by their own calls; not zeroed for each request. */
    struct client_ip client_ip;
    struct identity identity;
    struct limit_decision decision;
};

/* exchange.c */
void exchange_begin(struct client *client, const struct http_request_head *request);
/* A request that could not be parsed: answer `status` and close. `method` and `target` may be
 * empty. */
void exchange_refuse(struct client *client,
                     int status,
                     const char *reason,
                     struct slice method,
                     struct slice target);
void exchange_enter(struct exchange *exchange, enum exchange_state state);
/*
 * Request bytes from the client. Returns how many were consumed; the rest is the client's to
 * hold. Must be called once with whatever there is, also nothing, when a connection is there.
 */
size_t exchange_take(struct exchange *exchange, char *bytes, size_t length);
/* The limit has let it pass, or nothing limits it: go upstream. */
void exchange_forward(struct exchange *exchange);
/* The client has ended its side, or is gone. */
void exchange_on_client_end(struct exchange *exchange);
void exchange_on_client_lost(struct exchange *exchange, const char *reason);
/* All that was pending for the client has left. */
void exchange_on_client_drained(struct exchange *exchange);
/* The body's deadline has passed. */
void exchange_on_body_timeout(struct exchange *exchange);
/* Whether reading more from the client would only pile up. */
bool exchange_is_blocked(const struct exchange *exchange);
/* Count, log, give everything back, and tell the client. */
void exchange_finish(struct exchange *exchange, enum client_fate fate, const char *reason);
/* The upstream failed before any byte of an answer: once more, or answer `kind`. */
void exchange_upstream_failed(struct exchange *exchange, enum reply_kind kind, const char *reason);
/* The reused connection has died: once more, on a fresh one. */
void exchange_send_again(struct exchange *exchange);
/* The answer is complete towards the client: wait for what is pending and for the rest of the
 * request. */
void exchange_complete(struct exchange *exchange);
void exchange_release_upstream(struct exchange *exchange, enum upstream_release release);
/* Write the upstream's head into the memo while the request's head is still there. */
void exchange_keep_head(struct exchange *exchange);

/* The exchange's lane; NULL = none: refused before its tier was known, or begun before a reload. */
static inline struct lane *exchange_lane(const struct exchange *exchange)
{
    return exchange->routes == exchange->proxy->routes ? exchange->lane : NULL;
}

/* admission.c */
void admission_begin(struct exchange *exchange);
void admission_cancel(struct exchange *exchange);
/* After the final status: cost_from, refund. */
void admission_settle(struct exchange *exchange);

/* answer.c */
void answer_send(struct exchange *exchange, enum reply_kind kind, const char *reason);
void answer_send_limited(struct exchange *exchange,
                         struct slice window,
                         int64_t limit,
                         int64_t wait_ms);
/* The limit's fields, as they go with any final answer; empty when there are none. */
struct slice answer_limit_fields(struct exchange *exchange, char memory[LIMIT_FIELDS_SIZE]);
struct slice answer_date(struct proxy *proxy);

/* response.c */
extern const struct stream_handler
    response_handler; /* of a leased upstream stream; arg = exchange */

/* relay.c */
size_t relay_upload(struct exchange *exchange, char *bytes, size_t length);
/* The upstream takes no more: drop the rest of the request, wait for what it has to say. */
void relay_stop_upload(struct exchange *exchange);
size_t relay_discard(struct exchange *exchange, char *bytes, size_t length);
/* Response body bytes, behind `head` (may be empty). */
void relay_download(struct exchange *exchange, struct slice head, char *bytes, size_t length);
/* The upstream has closed while its body was read. */
void relay_download_end(struct exchange *exchange);
void relay_tunnel_begin(struct exchange *exchange, struct slice head, char *bytes, size_t length);
size_t relay_tunnel_up(struct exchange *exchange, char *bytes, size_t length);
void relay_tunnel_down(struct exchange *exchange, char *bytes, size_t length);
void relay_tunnel_end(struct exchange *exchange, bool is_client);
/* Keep the client's write deadline in step with what is pending for it. */
void relay_watch_client(struct exchange *exchange);

/* record.c */
void record_write(struct exchange *exchange);
