/* SPDX-License-Identifier: MIT */
#pragma once

#include <stdbool.h>
#include <stddef.h>

#include "kamiyo/base/slice.h"
#include "kamiyo/http/message.h"

/*
 * What a request shows of keys and tokens: borrowed from its head, in the order
 * in which they are to be tried, each once. Pure.
 */

/* Of each kind; what a request shows beyond is not looked at. */
#define CREDENTIALS_MAX 4

struct credentials {
    struct slice keys[CREDENTIALS_MAX];
    size_t key_count;
    struct slice tokens[CREDENTIALS_MAX];
    size_t token_count;
};

struct identity_config;

/*
 * Keys from the configured fields in their order, tokens from Authorization. A Bearer value of
 * three base64url parts is only ever a token, any other only ever a key (contract section 3).
 */
void credentials_gather(const struct identity_config *config,
                        const struct http_head *head,
                        struct credentials *found);
