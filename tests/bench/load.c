/* SPDX-License-Identifier: MIT */
/*
 * What open_loop.c and closed_loop.c share. An answer is found by its Content-Length
 * and nothing else is understood: a generator that parsed more would be the slower side.
 */
#include "load.h"

#include <arpa/inet.h>
#include <errno.h>
#include <netinet/tcp.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <time.h>

void load_fail(const char *what)
{
    perror(what);
    exit(1);
}

int64_t load_now_ns(void)
{
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return (int64_t)now.tv_sec * 1000000000 + now.tv_nsec;
}

uint64_t load_draw(uint64_t *state)
{
    *state ^= *state << 13;
    *state ^= *state >> 7;
    *state ^= *state << 17;
    return *state;
}

void *load_array(int64_t count, size_t size)
{
    void *memory = calloc((size_t)count, size);
    if (memory == NULL)
        load_fail("calloc");
    return memory;
}

int64_t load_number(const char *text, int64_t least, int64_t most)
{
    char *end = NULL;
    errno = 0;
    long long number = strtoll(text, &end, 10);
    if (errno != 0 || end == text || *end != '\0' || number < least || number > most) {
        fprintf(stderr, "%s: \"%s\" is no number from %lld to %lld\n",
                program_invocation_short_name, text, (long long)least, (long long)most);
        exit(2);
    }
    return number;
}

struct sockaddr_in load_loopback(int port)
{
    return (struct sockaddr_in){.sin_family = AF_INET,
                                .sin_port = htons((uint16_t)port),
                                .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
}

int load_connect(int port)
{
    struct sockaddr_in to = load_loopback(port);
    int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    if (connect(fd, (const struct sockaddr *)&to, sizeof(to)) != 0)
        load_fail("connect");
    load_set_nodelay(fd);
    return fd;
}

void load_set_nodelay(int fd)
{
    int on = 1;
    setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof(on));
}

void load_watch(int epoll, int fd, void *ptr)
{
    struct epoll_event event = {.events = EPOLLIN, .data.ptr = ptr};
    if (epoll_ctl(epoll, EPOLL_CTL_ADD, fd, &event) != 0)
        load_fail("epoll_ctl");
}

void load_message_clear(struct load_message *message)
{
    message->received = message->expected = 0;
}

bool load_receive(int fd, struct load_message *message, int flags)
{
    ssize_t got = recv(fd, message->bytes + message->received,
                       sizeof(message->bytes) - 1 - message->received, flags);
    if (got <= 0)
        return got < 0 && errno == EAGAIN && (flags & MSG_DONTWAIT) != 0;
    message->received += (size_t)got;
    message->bytes[message->received] = '\0';
    return true;
}

enum load_state load_answer(struct load_message *message)
{
    if (message->expected == 0) {
        const char *end = strstr(message->bytes, "\r\n\r\n");
        const char *length = strcasestr(message->bytes, "\r\ncontent-length:");
        if (end == NULL)
            return LOAD_PARTIAL;
        if (length == NULL || length > end || strncmp(message->bytes, "HTTP/1.1 200", 12) != 0)
            return LOAD_REFUSED;
        message->expected = (size_t)(end - message->bytes) + 4 + strtoul(length + 17, NULL, 10);
    }
    return message->received >= message->expected ? LOAD_WHOLE : LOAD_PARTIAL;
}
