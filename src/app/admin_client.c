/* SPDX-License-Identifier: MIT */
/*
 * The commands' side of the admin listener: connects, sends one request, reads
 * the answer whole. Whoever runs a command wants to hear what to do, so each
 * way to fail has words of its own. The token goes out in its field and nowhere
 * else.
 */
#include "kamiyo/app/admin_client.h"

#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include <jansson.h>

#include "kamiyo/app/dial.h"
#include "kamiyo/base/clock.h"
#include "kamiyo/base/mem.h"
#include "kamiyo/base/text.h"
#include "kamiyo/config/config_address.h"
#include "kamiyo/http/parser.h"

#define MAX_REQUEST_BYTES 16384
#define MAX_HEAD_BYTES    8192
#define MAX_FIELDS        64

static void complain(const struct admin_client *client, const char *format, ...) PRINTF_LIKE(2, 3);

static void complain(const struct admin_client *client, const char *format, ...)
{
    va_list args;

    (void)fprintf(stderr, "kamiyo-gateway %s: ", client->command);
    va_start(args, format);
    (void)vfprintf(stderr, format, args);
    va_end(args);
    (void)fputc('\n', stderr);
}

bool admin_client_init(struct admin_client *client,
                       const char *command,
                       const char *address,
                       const struct config *config)
{
    struct error error = {{0}};

    *client = (struct admin_client){
        .command = command, .token = config->admin.token, .at = config->admin.listen};
    if (address != NULL) {
        if (!config_address_parse_endpoint(slice_of(address), &client->at, &error)) {
            complain(client, "--admin \"%s\": %s", address, error.text);
            return false;
        }
    } else if (!config->admin.is_enabled) {
        complain(client, "admin.listen is off in the configuration; --admin names an address");
        return false;
    }
    (void)addr_endpoint_format(&client->at, client->name);
    return true;
}

/* An answer as far as it has come. */
struct answer {
    char *bytes;
    size_t length;
    size_t capacity;
    struct http_field fields[MAX_FIELDS];
    struct http_response_head head;
    size_t head_length; /* 0 = not whole */
};

/* False: it is none. */
static bool look_at_head(struct answer *answer)
{
    static const struct http_limits limits = {.max_head_bytes = MAX_HEAD_BYTES,
                                              .max_fields = MAX_FIELDS};
    struct http_parser_field spans[MAX_FIELDS];
    struct http_parser parser;

    http_parser_init_response(&parser, &limits, spans);
    answer->head.head.fields = answer->fields;
    switch (http_parser_response(&parser, answer->bytes, answer->length, false, &answer->head,
                                 &answer->head_length)) {
    case HTTP_PARSER_MORE:
        answer->head_length = 0;
        return true;
    case HTTP_PARSER_HEAD:
        return answer->head.head.framing == HTTP_FRAMING_LENGTH &&
               answer->head.head.content_length <= ADMIN_CLIENT_MAX_BYTES;
    case HTTP_PARSER_ERROR:
        break;
    }
    return false;
}

static bool is_whole(const struct answer *answer)
{
    return answer->head_length > 0 &&
           answer->length - answer->head_length >= answer->head.head.content_length;
}

/* False with errno: EPROTO = whoever is there does not speak as the admin listener does. */
static bool receive(int fd, struct answer *answer, int64_t deadline_ms)
{
    while (!is_whole(answer)) {
        ssize_t count;

        if (answer->capacity - answer->length < 4096) {
            answer->capacity = answer->capacity * 2 + 16384;
            answer->bytes = mem_resize(answer->bytes, answer->capacity);
        }
        count = dial_receive(fd, answer->bytes + answer->length,
                             answer->capacity - answer->length - 1, deadline_ms);
        if (count < 0)
            return false;
        errno = EPROTO;
        if (count == 0)
            return false;
        answer->length += (size_t)count;
        if (answer->head_length == 0 && !look_at_head(answer))
            return false;
    }
    return true;
}

/* `request` is wiped: it holds the token, and perhaps a key. */
static bool
ask(const struct admin_client *client, struct text *request, int64_t timeout_ms, struct answer *to)
{
    int64_t deadline_ms = clock_monotonic_ms() + timeout_ms;
    struct addr_endpoint at = client->at;
    int fd = dial_open(&at, deadline_ms);
    bool is_connected = fd >= 0;
    bool is_answered = is_connected && dial_send(fd, request->data, request->length, deadline_ms) &&
                       receive(fd, to, deadline_ms);

    mem_wipe(request->data, request->length);
    if (!is_connected && (errno == ECONNREFUSED || errno == ENOENT))
        complain(client,
                 "nothing listens on %s: the gateway does not run, or its admin.listen is another "
                 "(--config, --admin)",
                 client->name);
    else if (!is_answered && errno == EPROTO)
        complain(client, "%s is no admin listener of kamiyo-gateway", client->name);
    else if (!is_answered)
        complain(client, "%s: %s", client->name, strerror(errno));
    if (fd >= 0)
        (void)close(fd); /* nothing is lost */
    return is_answered;
}

/* What the listener says about a refusal, in its own words if it has any. */
static void tell_refusal(const struct admin_client *client, int status, const char *body)
{
    json_t *json = json_loads(body, 0, NULL);
    const char *message = json_string_value(json_object_get(json, "message"));

    if (status == 401)
        complain(client,
                 client->token[0] != '\0'
                     ? "%s refuses the admin token: the gateway has another ADMIN_TOKEN or "
                       "admin.token than this command"
                     : "%s needs the admin token: set ADMIN_TOKEN, or give the gateway's --config",
                 client->name);
    else if (status == 404 && message != NULL)
        complain(client, "the gateway on %s is of another version, which does not know this",
                 client->name);
    else if (message != NULL)
        complain(client, "%s answers %d: %s", client->name, status, message);
    else
        complain(client, "%s answers %d: no admin listener of kamiyo-gateway?", client->name,
                 status);
    json_decref(json);
}

bool admin_client_get(const struct admin_client *client,
                      const char *target,
                      struct slice fields,
                      int64_t timeout_ms,
                      char **body,
                      size_t *length)
{
    char memory[MAX_REQUEST_BYTES];
    struct answer answer = {.length = 0};
    bool is_well = false;
    struct text request;

    text_init(&request, memory, sizeof(memory));
    text_append_format(&request, "GET %s HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n",
                       target);
    if (client->token[0] != '\0')
        text_append_format(&request, "Authorization: Bearer %s\r\n", client->token);
    text_append(&request, fields);
    text_append(&request, SLICE("\r\n"));
    if (request.overflow) {
        mem_wipe(memory, sizeof(memory));
        complain(client, "the request is too long for the admin listener");
        return false;
    }
    if (ask(client, &request, timeout_ms, &answer)) {
        size_t count = answer.head.head.content_length;

        memmove(answer.bytes, answer.bytes + answer.head_length, count);
        answer.bytes[count] = '\0';
        is_well = answer.head.status == 200;
        if (is_well) {
            *length = count;
            *body = answer.bytes;
        } else {
            tell_refusal(client, answer.head.status, answer.bytes);
        }
    }
    if (!is_well)
        mem_free(answer.bytes);
    return is_well;
}
