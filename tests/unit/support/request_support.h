/* SPDX-License-Identifier: MIT */
#pragma once

#include "kamiyo/http/message.h"

#define REQUEST_MAX_FIELDS 64

/* A request head made by hand, for modules that read heads and do not care where they come from. */
struct request_fixture {
    struct http_request_head request;
    struct http_field fields[REQUEST_MAX_FIELDS];
};

/* "GET", "/path?query"; `lines` are "Name: value", ended by NULL, and may be NULL. Borrows all
 * texts. */
void request_make(struct request_fixture *fixture,
                  const char *method,
                  const char *target,
                  const char *const *lines);
void request_add(struct request_fixture *fixture, struct slice name, struct slice value);
