/* SPDX-License-Identifier: MIT */
#pragma once

#include <stdbool.h>

#include "kamiyo/identity/digest.h"
#include "kamiyo/identity/identity.h"

/* A chain under test with a source and a budget that do as they are told, and a clock that stands
 * still. */

#define CHAIN_SECRET "a-secret-for-tokens-of-32-bytes!" /* of the tokens that verify */

/* A source that knows the keys "alice" and "bob", and does as it is told. */
struct fake_source {
    struct key_source source;
    bool is_pending;
    bool is_away;
    unsigned asked;
    unsigned cancelled;
    uint8_t known[2][DIGEST_BYTES];
    struct key_record answer;
    key_source_done_fn *done;
    void *arg;
};

/* A budget of `left` failures. */
struct fake_budget {
    int left;
    int charged;
    char key[64];
};

struct chain_fixture {
    struct fake_source source;
    struct fake_budget budget;
    struct identity_options options;
    struct client_ip_options client_ip;
    struct api_key_entry entry;
    struct identity_config *config;
    struct identity_chain *chain;
    struct clock_time now;
    struct addr client;
    bool is_peer_trusted;
    bool is_rehearsal;
    struct identity identity; /* what came, now or later */
    unsigned done_count;
    struct identity_call *call;
};

/* Options with a file of one key, a look-up and one secret; to be changed before chain_make. */
void chain_set_up(struct chain_fixture *f);
void chain_make(struct chain_fixture *f);
void chain_tear_down(struct chain_fixture *f);
void chain_advance(struct chain_fixture *f, int64_t ms);
void chain_digest(const char *text, uint8_t out[DIGEST_BYTES]);
/* What comes, now or later, stands in f->identity. */
enum progress chain_resolve(struct chain_fixture *f, const char *const *lines);
/* The reply that the source owes; it may ask for the next key at once. */
void chain_answer(struct chain_fixture *f);
void chain_expect_key(const struct chain_fixture *f, const char *key, const char *tier_name);
/* One header line (NULL = none) resolves at once to `key`, with `charged` failures. */
void chain_expect(
    struct chain_fixture *f, const char *line, const char *key, const char *tier_name, int charged);
void chain_expect_spent(struct chain_fixture *f, const char *line);
