/* SPDX-License-Identifier: MIT */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "kamiyo/app/admin_client.h"
#include "kamiyo/base/attributes.h"
#include "kamiyo/base/slice.h"

/*
 * A command's side of /api/events: a connection on which events come, read when
 * there is something to read. Says nothing itself: whoever watches has asked the
 * listener before (admin_client_get), which tells what is wrong with it.
 */
struct admin_stream {
    int fd; /* to poll; -1 = closed */
    char *bytes;
    size_t length;
    size_t taken; /* of them, handed out */
    bool has_head;
};

/* Longest event that is taken. */
#define ADMIN_STREAM_MAX_BYTES ((size_t)1 << 20)

void admin_stream_init(struct admin_stream *stream);
/* False: nobody is there; errno says why. */
bool admin_stream_open(struct admin_stream *stream,
                       const struct admin_client *client,
                       int64_t timeout_ms) MUST_CHECK;
/* Read what has come; waits for it when there is nothing, up to `timeout_ms`. False: the stream has
 * ended, or is none. */
bool admin_stream_receive(struct admin_stream *stream, int64_t timeout_ms) MUST_CHECK;
/* The data of the next whole event without a type, valid until the next receive; false: none is
 * there. Others are passed over. */
bool admin_stream_next(struct admin_stream *stream, struct slice *data) MUST_CHECK;
void admin_stream_close(struct admin_stream *stream);
