/* SPDX-License-Identifier: MIT */
/*
 * The table of reasons and the sorting of error replies, for redis_client and
 * for the limiter's breaker. A reply's first word is its code; errors that a
 * script passes on come with the code first (redis.pcall's table returned as
 * it is) or, from redis.call, inside "ERR Error running script ... @user_script: ...: CODE ..."
 * on Redis 6, so a code is also looked for behind ": " and " -".
 */
#include "kamiyo/redis/redis_failure.h"

#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include "kamiyo/base/text.h"

const char *const redis_reason_names[REDIS_REASON_COUNT] = {
    [REDIS_REASON_NONE] = "none",
    [REDIS_REASON_CONNECT_TIMEOUT] = "socket_connect_timeout",
    [REDIS_REASON_TIMEOUT] = "socket_timeout",
    [REDIS_REASON_REFUSED] = "connection refused",
    [REDIS_REASON_CLOSED] = "connection closed",
    [REDIS_REASON_NAME] = "name not resolved",
    [REDIS_REASON_AUTHENTICATION] = "authentication failed",
    [REDIS_REASON_READ_ONLY] = "read only",
    [REDIS_REASON_OUT_OF_MEMORY] = "out of memory",
    [REDIS_REASON_LOADING] = "loading",
    [REDIS_REASON_BUSY] = "busy",
    [REDIS_REASON_BAD_REPLY] = "bad reply",
    [REDIS_REASON_INVALID_URL] = "invalid REDIS_URL",
};

struct reply_code {
    const char *code; /* followed by a space or the end */
    enum redis_reply_error kind;
    enum redis_reason reason;
};

static const struct reply_code reply_codes[] = {
    {"NOSCRIPT", REDIS_REPLY_ERROR_NO_SCRIPT, REDIS_REASON_NONE},
    {"WRONGTYPE", REDIS_REPLY_ERROR_WRONG_TYPE, REDIS_REASON_NONE},
    {"READONLY", REDIS_REPLY_ERROR_READ_ONLY, REDIS_REASON_READ_ONLY},
    {"MASTERDOWN", REDIS_REPLY_ERROR_READ_ONLY, REDIS_REASON_READ_ONLY},
    {"MISCONF", REDIS_REPLY_ERROR_STORE, REDIS_REASON_READ_ONLY},
    {"NOREPLICAS", REDIS_REPLY_ERROR_STORE, REDIS_REASON_READ_ONLY},
    {"OOM", REDIS_REPLY_ERROR_STORE, REDIS_REASON_OUT_OF_MEMORY},
    {"LOADING", REDIS_REPLY_ERROR_STORE, REDIS_REASON_LOADING},
    {"BUSY", REDIS_REPLY_ERROR_STORE, REDIS_REASON_BUSY},
    {"NOAUTH", REDIS_REPLY_ERROR_STORE, REDIS_REASON_AUTHENTICATION},
    {"WRONGPASS", REDIS_REPLY_ERROR_STORE, REDIS_REASON_AUTHENTICATION},
    {"NOPERM", REDIS_REPLY_ERROR_STORE, REDIS_REASON_AUTHENTICATION},
    {"DENIED", REDIS_REPLY_ERROR_STORE, REDIS_REASON_AUTHENTICATION}, /* protected mode */
};

void redis_failure_set(struct redis_failure *failure,
                       enum redis_reason reason,
                       const char *format,
                       ...)
{
    va_list arguments;
    char detail[sizeof(failure->detail)]; /* the arguments may point into *failure */

    va_start(arguments, format);
    (void)vsnprintf(detail, sizeof(detail), format, arguments); /* cut is fine */
    va_end(arguments);
    failure->reason = reason;
    memcpy(failure->detail, detail, sizeof(detail));
}

void redis_failure_from_errno(struct redis_failure *failure, int error, enum redis_reason fallback)
{
    switch (error) {
    case 0:
        redis_failure_set(failure, fallback, "%s", "");
        break;
    case ECONNREFUSED:
        redis_failure_set(failure, REDIS_REASON_REFUSED, "%s", "");
        break;
    case ETIMEDOUT:
        redis_failure_set(failure,
                          fallback == REDIS_REASON_REFUSED ? REDIS_REASON_CONNECT_TIMEOUT
                                                           : REDIS_REASON_TIMEOUT,
                          "%s", "");
        break;
    case ECONNRESET:
    case EPIPE:
        redis_failure_set(failure, REDIS_REASON_CLOSED, "%s", "");
        break;
    default:
        redis_failure_set(failure, fallback, "%s", strerror(error));
        break;
    }
}

void redis_failure_format(const struct redis_failure *failure, char *out, size_t capacity)
{
    const char *name = redis_reason_names[failure->reason];

    if (failure->detail[0] != '\0')
        (void)snprintf(out, capacity, "%s: %s", name, failure->detail); /* cut is fine */
    else
        (void)snprintf(out, capacity, "%s", name); /* cut is fine */
}

static bool begins_with_code(struct slice text, struct slice code)
{
    return slice_starts_with(text, code) &&
           (text.length == code.length || text.data[code.length] == ' ');
}

/* The code at `text`'s beginning or, for what a script passed on, behind ": " or "-". */
static const struct reply_code *find_code(struct slice text)
{
    for (size_t i = 0; i < text.length; i++) {
        bool is_start = i == 0 || text.data[i - 1] == '-' ||
                        (text.data[i - 1] == ' ' && i > 1 && text.data[i - 2] == ':');

        for (size_t j = 0; is_start && j < COUNT_OF(reply_codes); j++) {
            struct slice rest = {text.data + i, text.length - i};

            if (begins_with_code(rest, slice_of(reply_codes[j].code)))
                return &reply_codes[j];
        }
    }
    return NULL;
}

enum redis_reply_error redis_failure_from_reply(struct slice text, struct redis_failure *failure)
{
    const struct reply_code *code = find_code(text);
    enum redis_reason reason = REDIS_REASON_BAD_REPLY;
    char quoted[sizeof(failure->detail)];
    struct text detail;

    if (code != NULL && code->reason == REDIS_REASON_NONE)
        return code->kind;
    if (code != NULL)
        reason = code->reason;
    else if (slice_starts_with(text, SLICE("ERR max number of clients")))
        reason = REDIS_REASON_REFUSED;
    else if (slice_starts_with(text, SLICE("ERR invalid password")) ||
             slice_starts_with(text, SLICE("ERR AUTH")) ||
             slice_starts_with(text, SLICE("ERR Client sent AUTH")) ||
             slice_starts_with(text, SLICE("ERR operation not permitted")))
        reason = REDIS_REASON_AUTHENTICATION; /* before Redis 6 */
    text_init(&detail, quoted, sizeof(quoted));
    /* The code and a few words tell enough; what a server adds beyond may hold a key. */
    if (text.length > 80)
        text.length = 80;
    text_append_quoted(&detail, text);
    redis_failure_set(failure, reason, "%s", text_terminate(&detail));
    return code != NULL ? code->kind : REDIS_REPLY_ERROR_STORE;
}
