/* SPDX-License-Identifier: MIT */
/* Reading and writing heads: a small one, a browser's, and one that llhttp has to read. */
#include <stdlib.h>
#include <string.h>

#include "kamiyo/http/parser.h"
#include "kamiyo/http/writer.h"

#include "micro.h"

#define MAX_FIELDS 100

static const char small_head[] = "GET / HTTP/1.1\r\nHost: api.kamiyo.ai\r\nAccept: */*\r\n\r\n";
static const char browser_head[] =
    "GET /exploits?page=1&page_size=10 HTTP/1.1\r\n"
    "Host: api.kamiyo.ai\r\n"
    "User-Agent: Mozilla/5.0 (X11; Linux x86_64; rv:128.0) Gecko/20100101 Firefox/128.0\r\n"
    "Accept: text/html,application/xhtml+xml,application/xml;q=0.9,image/webp,*/*;q=0.8\r\n"
    "Accept-Language: en-US,en;q=0.5\r\n"
    "Accept-Encoding: gzip, deflate, br\r\n"
    "Authorization: Bearer kamiyo_0123456789abcdef0123456789abcdef\r\n"
    "Cookie: session=0123456789abcdef0123456789abcdef; csrftoken=fedcba9876543210fedcba98765432\r\n"
    "Referer: https://kamiyo.ai/dashboard\r\n"
    "Upgrade-Insecure-Requests: 1\r\n"
    "Sec-Fetch-Dest: document\r\nSec-Fetch-Mode: navigate\r\nSec-Fetch-Site: same-site\r\n"
    "\r\n";
static const char tab_head[] = "GET / HTTP/1.1\r\nHost: api.kamiyo.ai\r\nAccept:\t*/*\r\n\r\n";
static const char response_head[] = "HTTP/1.1 200 OK\r\n"
                                    "date: Mon, 23 Nov 2026 07:25:59 GMT\r\n"
                                    "server: uvicorn\r\n"
                                    "content-length: 1543\r\n"
                                    "content-type: application/json\r\n"
                                    "\r\n";
static const struct http_limits limits = {
    .max_head_bytes = 32768, .max_target_bytes = 8192, .max_fields = MAX_FIELDS};

struct message {
    const char *bytes;
    size_t length;
    struct http_parser parser;
    struct http_parser_field spans[MAX_FIELDS];
    struct http_field fields[MAX_FIELDS];
    struct http_request_head request;
    struct http_response_head response;
};

static void parse_request(struct message *message)
{
    size_t consumed;

    message->request.head.fields = message->fields;
    http_parser_init_request(&message->parser, &limits, message->spans);
    if (http_parser_request(&message->parser, message->bytes, message->length, &message->request,
                            &consumed) != HTTP_PARSER_HEAD)
        abort();
}

static void parse_response(struct message *message)
{
    size_t consumed;

    message->response.head.fields = message->fields;
    http_parser_init_response(&message->parser, &limits, message->spans);
    if (http_parser_response(&message->parser, message->bytes, message->length, false,
                             &message->response, &consumed) != HTTP_PARSER_HEAD)
        abort();
}

static void parse_requests(void *arg, size_t first, size_t count)
{
    for (size_t i = first; i < first + count; i++) {
        parse_request(arg);
        micro_keep_bytes(arg);
    }
}

static void parse_responses(void *arg, size_t first, size_t count)
{
    for (size_t i = first; i < first + count; i++) {
        parse_response(arg);
        micro_keep_bytes(arg);
    }
}

static void write_requests(void *arg, size_t first, size_t count)
{
    const struct message *message = arg;
    const struct http_forwarding forwarding = {.peer = SLICE("203.0.113.7"),
                                               .scheme = SLICE("http"),
                                               .request_id =
                                                   SLICE("0123456789abcdef0123456789abcdef"),
                                               .upstream_host = SLICE("localhost:8000")};
    const size_t least = message->length; /* what is added is more than what is left out */
    char memory[8192];

    for (size_t i = first; i < first + count; i++) {
        struct text out;

        text_init(&out, memory, sizeof(memory));
        http_writer_request(&out, &message->request, &forwarding);
        if (out.overflow || out.length < least)
            abort();
        micro_keep_bytes(memory);
    }
}

static void write_responses(void *arg, size_t first, size_t count)
{
    const struct message *message = arg;
    const struct http_delivery delivery = {
        .client_minor_version = 1,
        .framing = HTTP_FRAMING_LENGTH,
        .content_length = 1543,
        .keep_alive = true,
        .replaces_limit_fields = true,
        .request_id = SLICE("0123456789abcdef0123456789abcdef"),
        .extra = SLICE("X-RateLimit-Limit: 10\r\nX-RateLimit-Remaining: 9\r\n")};
    const size_t least = message->length; /* what is added is more than what is left out */
    char memory[8192];

    for (size_t i = first; i < first + count; i++) {
        struct text out;

        text_init(&out, memory, sizeof(memory));
        http_writer_response(&out, &message->response, &delivery);
        if (out.overflow || out.length < least)
            abort();
        micro_keep_bytes(memory);
    }
}

void micro_http(void)
{
    static struct message message;

    message.bytes = small_head;
    message.length = sizeof(small_head) - 1;
    micro_run("parse a request's head, small", parse_requests, &message);
    message.bytes = tab_head;
    message.length = sizeof(tab_head) - 1;
    micro_run("parse a request's head, small, by llhttp", parse_requests, &message);
    message.bytes = browser_head;
    message.length = sizeof(browser_head) - 1;
    micro_run("parse a request's head, a browser's", parse_requests, &message);
    micro_run("write it for the upstream", write_requests, &message);
    message.bytes = response_head;
    message.length = sizeof(response_head) - 1;
    micro_run("parse a response's head", parse_responses, &message);
    micro_run("write it for the client", write_responses, &message);
}
