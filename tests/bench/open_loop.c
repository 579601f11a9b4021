/* SPDX-License-Identifier: MIT */
/*
 * An open-loop load generator: requests are due at a fixed rate whatever the
 * server does, and a latency counts from when its request was due, so a server
 * that stalls pays for everyone who would have come meanwhile. One thread,
 * epoll, keep-alive connections; answers must have a Content-Length.
 *
 *   open_loop HOST PORT PATH CONNECTIONS RATE SECONDS
 *
 * Prints one JSON object: sent, done, errors, and latencies in microseconds.
 */
#include <arpa/inet.h>
#include <errno.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

struct connection {
    int fd;
    bool is_busy;
    int64_t due_ns;
    size_t received;
    size_t expected; /* 0 = head not whole yet */
    char bytes[4096];
};

static int64_t now_ns(void)
{
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return (int64_t)now.tv_sec * 1000000000 + now.tv_nsec;
}

static int connect_to(const char *host, int port)
{
    struct sockaddr_in to = {.sin_family = AF_INET, .sin_port = htons((uint16_t)port)};
    int on = 1;
    int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    inet_pton(AF_INET, host, &to.sin_addr);
    if (fd < 0 || connect(fd, (const struct sockaddr *)&to, sizeof(to)) != 0) {
        perror("connect");
        exit(1);
    }
    setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof(on));
    return fd;
}

/* True when the answer is whole. False and *failed when it is none. */
static bool receive(struct connection *connection, bool *failed)
{
    ssize_t got = recv(connection->fd, connection->bytes + connection->received,
                       sizeof(connection->bytes) - 1 - connection->received, MSG_DONTWAIT);
    if (got <= 0) {
        *failed = got == 0 || errno != EAGAIN;
        return false;
    }
    connection->received += (size_t)got;
    connection->bytes[connection->received] = '\0';
    if (connection->expected == 0) {
        const char *end = strstr(connection->bytes, "\r\n\r\n");
        const char *length = strcasestr(connection->bytes, "\r\ncontent-length:");
        if (end == NULL)
            return false;
        if (length == NULL || length > end) {
            *failed = true;
            return false;
        }
        connection->expected =
            (size_t)(end - connection->bytes) + 4 + strtoul(length + 17, NULL, 10);
    }
    return connection->received >= connection->expected;
}

static int by_value(const void *a, const void *b)
{
    const uint32_t *x = a, *y = b;
    return (*x > *y) - (*x < *y);
}

/* The number that `text` is, from 1 to `most`; anything else ends the program. */
static int64_t number_from(const char *text, int64_t most)
{
    char *end = NULL;
    errno = 0;
    long long number = strtoll(text, &end, 10);
    if (errno != 0 || end == text || *end != '\0' || number < 1 || number > most) {
        fprintf(stderr, "open_loop: \"%s\" is no number from 1 to %lld\n", text, (long long)most);
        exit(2);
    }
    return number;
}

int main(int argc, char **argv)
{
    if (argc != 7) {
        fprintf(stderr, "open_loop HOST PORT PATH CONNECTIONS RATE SECONDS\n");
        return 2;
    }
    int port = (int)number_from(argv[2], UINT16_MAX);
    int count = (int)number_from(argv[4], 4096);
    int64_t rate = number_from(argv[5], 1000000), duration = number_from(argv[6], 3600);
    int64_t total = rate * duration;
    if (total > 50000000) {
        fprintf(stderr, "open_loop: more than 50000000 requests\n");
        return 2;
    }
    char request[512];
    int request_length =
        snprintf(request, sizeof(request), "GET %s HTTP/1.1\r\nHost: bench\r\n\r\n", argv[3]);
    struct connection *connections = calloc((size_t)count, sizeof(*connections));
    uint32_t *latencies = calloc((size_t)total, sizeof(*latencies));
    int *idle = calloc((size_t)count, sizeof(*idle));
    int epoll = epoll_create1(EPOLL_CLOEXEC);
    for (int i = 0; i < count; i++) {
        struct epoll_event event = {.events = EPOLLIN, .data.u32 = (uint32_t)i};
        connections[i].fd = connect_to(argv[1], port);
        epoll_ctl(epoll, EPOLL_CTL_ADD, connections[i].fd, &event);
        idle[i] = i;
    }
    int64_t sent = 0, done = 0, errors = 0, start = now_ns();
    int idle_count = count;
    int64_t give_up = start + (duration + 10) * 1000000000;
    while (done + errors < total && now_ns() < give_up) {
        int64_t now = now_ns();
        while (sent < total && idle_count > 0 && start + sent * 1000000000 / rate <= now) {
            struct connection *connection = &connections[idle[--idle_count]];
            connection->due_ns = start + sent * 1000000000 / rate;
            connection->is_busy = true;
            connection->received = connection->expected = 0;
            if (send(connection->fd, request, (size_t)request_length, MSG_NOSIGNAL) !=
                request_length)
                errors++;
            sent++;
        }
        struct epoll_event events[256];
        int ready =
            epoll_wait(epoll, events, 256, 0); /* spins: the due times are microseconds apart */
        for (int i = 0; i < ready; i++) {
            struct connection *connection = &connections[events[i].data.u32];
            bool failed = false;
            if (receive(connection, &failed) && connection->is_busy) {
                latencies[done++] = (uint32_t)((now_ns() - connection->due_ns) / 1000);
                connection->is_busy = false;
                idle[idle_count++] = (int)events[i].data.u32;
            } else if (failed) {
                errors += connection->is_busy;
                epoll_ctl(epoll, EPOLL_CTL_DEL, connection->fd, NULL);
            }
        }
    }
    double seconds = (double)(now_ns() - start) / 1e9;
    qsort(latencies, (size_t)done, sizeof(*latencies), by_value);
#define AT(share) (done > 0 ? latencies[(size_t)((double)(done - 1) * (share))] : 0)
    printf("{\"sent\": %lld, \"done\": %lld, \"errors\": %lld, \"seconds\": %.2f, \"p50\": %u, "
           "\"p99\": %u, "
           "\"p999\": %u, \"max\": %u}\n",
           (long long)sent, (long long)done, (long long)errors, seconds, AT(0.5), AT(0.99),
           AT(0.999), AT(1.0));
    return errors > 0;
}
