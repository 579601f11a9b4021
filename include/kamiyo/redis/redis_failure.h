/* SPDX-License-Identifier: MIT */
#pragma once

#include <stdbool.h>
#include <stddef.h>

#include "kamiyo/base/attributes.h"
#include "kamiyo/base/slice.h"

/*
 * Why Redis cannot be used, in the words that the log and the metrics know
 * (contract section 9), and what an error reply says about it.
 */
enum redis_reason {
    REDIS_REASON_NONE,
    REDIS_REASON_CONNECT_TIMEOUT,
    REDIS_REASON_TIMEOUT,
    REDIS_REASON_REFUSED,
    REDIS_REASON_CLOSED,
    REDIS_REASON_NAME,
    REDIS_REASON_AUTHENTICATION,
    REDIS_REASON_READ_ONLY,
    REDIS_REASON_OUT_OF_MEMORY,
    REDIS_REASON_LOADING,
    REDIS_REASON_BUSY,
    REDIS_REASON_BAD_REPLY,
    REDIS_REASON_INVALID_URL,
    REDIS_REASON_COUNT
};
/* "socket_connect_timeout", "connection refused": the beginning of a log line's reason, and a
 * metric's label. */
extern const char *const redis_reason_names[REDIS_REASON_COUNT];

/* A reason with what was seen. Plain data; reason NONE = no failure. */
struct redis_failure {
    enum redis_reason reason;
    char detail[160]; /* printable, "" = nothing to add; never a key, a password or an argument */
};

/* Set both; the detail is cut if it is too long. */
void redis_failure_set(struct redis_failure *failure,
                       enum redis_reason reason,
                       const char *format,
                       ...) PRINTF_LIKE(3, 4);
/* From an errno of connect, read or write; `fallback` is for those that say nothing of their own.
 */
void redis_failure_from_errno(struct redis_failure *failure, int error, enum redis_reason fallback);
/* "connection refused: No route to host", terminated and cut at `capacity`. */
void redis_failure_format(const struct redis_failure *failure, char *out, size_t capacity);

/* What an error reply means for those who sent the command. */
enum redis_reply_error {
    REDIS_REPLY_ERROR_STORE,      /* the store cannot be used now: *failure says why */
    REDIS_REPLY_ERROR_READ_ONLY,  /* as STORE, and the connection leads to the wrong server */
    REDIS_REPLY_ERROR_NO_SCRIPT,  /* NOSCRIPT: send it whole */
    REDIS_REPLY_ERROR_WRONG_TYPE, /* WRONGTYPE: concerns that key only */
};
/*
 * Sort the text of an error reply ("READONLY You can't write ...", also as a script passes one on:
 * "ERR ... OOM ..."). *failure is filled for STORE and READ_ONLY.
 */
enum redis_reply_error redis_failure_from_reply(struct slice text, struct redis_failure *failure);
