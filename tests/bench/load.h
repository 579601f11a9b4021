/* SPDX-License-Identifier: MIT */
#pragma once

#include <netinet/in.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/*
 * What the load generators of this folder share: connections to 127.0.0.1, answers
 * taken in pieces, a clock, and numbers drawn from one seed. A generator that cannot
 * go on says why on stderr and ends, so nothing here returns a failure of the system.
 */
#define LOAD_SEED UINT64_C(0x9e3779b97f4a7c15)

/* One message as it arrives, of up to 4095 bytes. */
struct load_message {
    size_t received;
    size_t expected; /* of an answer; 0 = head not whole yet */
    char bytes[4096];
};

enum load_state {
    LOAD_PARTIAL,
    LOAD_WHOLE,
    LOAD_REFUSED /* not 200, or without Content-Length */
};

/* perror() and exit 1. */
void load_fail(const char *what) __attribute__((noreturn));
/* Of CLOCK_MONOTONIC. */
int64_t load_now_ns(void);
/* xorshift64; *state is LOAD_SEED at first. */
uint64_t load_draw(uint64_t *state);
/* Zeroed; never freed. */
void *load_array(int64_t count, size_t size) __attribute__((returns_nonnull));
/* The number that `text` is; exit 2 when it is none from `least` to `most`. */
int64_t load_number(const char *text, int64_t least, int64_t most);

struct sockaddr_in load_loopback(int port);
/* A blocking socket, connected. */
int load_connect(int port);
/* What is written leaves at once. */
void load_set_nodelay(int fd);
/* `ptr` comes with each event of the descriptor: it can be read. */
void load_watch(int epoll, int fd, void *ptr);

/* Forget what has arrived. */
void load_message_clear(struct load_message *message);
/* Read once with these flags of recv(). False at the end of the connection; true also when nothing
 * is there under MSG_DONTWAIT. */
bool load_receive(int fd, struct load_message *message, int flags);
/* How far the answer is that has arrived. */
enum load_state load_answer(struct load_message *message);
