/* SPDX-License-Identifier: MIT */
/*
 * A closed-loop load generator that gives two workers the same share: each of its
 * connections asks again as soon as it has its answer, and of the connections that
 * it keeps as many are served by one CPU as by the other.
 *
 *   closed_loop EACH MILLISECONDS FIRST_CPU SECOND_CPU PORT [PORT]
 *
 * The ports are asked in turn for connections. Which worker has taken one is not to be
 * seen from here where two share a port, but where it runs is: a segment over loopback
 * is received on the CPU that sent it, and SO_INCOMING_CPU tells which that was for the
 * answer to a first request. Connections are opened until EACH are served by either CPU,
 * and those beyond are closed. So the workers are to be pinned to these two CPUs, and
 * whether they share a port or not makes no difference to anything that happens here.
 *
 * Prints "ready", then for each line on stdin the answers of one round of so long, as
 * one line. Users are drawn at random from always the same seed; the requests have some
 * 700 bytes.
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

#define USERS       100000
#define MOST_READY  64
#define MOST_TRIES  64 /* connections opened for each that is kept */
#define GIVE_UP_MS  5000
#define PAD_BYTES   560
#define MOST_KEPT   1024
#define SERVER_CPUS 2

struct connection {
    int fd;
    size_t received;
    size_t expected; /* of an answer; 0 = head not whole yet */
    char bytes[4096];
};

struct load {
    int epoll;
    uint64_t random;
    char pad[PAD_BYTES + 1];
    struct connection *connections;
    size_t kept, busy;
    long answers;
};

static int64_t now_ms(void)
{
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return (int64_t)now.tv_sec * 1000 + now.tv_nsec / 1000000;
}

static void fail(const char *what)
{
    perror(what);
    exit(1);
}

static uint64_t draw(struct load *load)
{
    load->random ^= load->random << 13;
    load->random ^= load->random >> 7;
    load->random ^= load->random << 17;
    return load->random;
}

static void ask(struct load *load, struct connection *connection)
{
    char request[1024];
    int length = snprintf(request, sizeof(request),
                          "GET /exploits?page=1&page_size=10 HTTP/1.1\r\nHost: bench\r\n"
                          "X-User: %u\r\nCookie: %s\r\nAccept: application/json\r\n"
                          "User-Agent: bench/1.0\r\n\r\n",
                          (unsigned)(draw(load) % USERS), load->pad);
    connection->received = connection->expected = 0;
    if (send(connection->fd, request, (size_t)length, MSG_NOSIGNAL) != length)
        fail("send");
    load->busy++;
}

/* Take what is there; true when the answer is whole. Anything but an answer ends the program. */
static bool take(struct load *load, struct connection *connection)
{
    ssize_t got = recv(connection->fd, connection->bytes + connection->received,
                       sizeof(connection->bytes) - 1 - connection->received, 0);
    if (got <= 0)
        fail("recv");
    connection->received += (size_t)got;
    connection->bytes[connection->received] = '\0';
    if (connection->expected == 0) {
        const char *end = strstr(connection->bytes, "\r\n\r\n");
        const char *length = strcasestr(connection->bytes, "\r\ncontent-length:");
        if (end == NULL)
            return false;
        if (length == NULL || length > end || strncmp(connection->bytes, "HTTP/1.1 200", 12) != 0) {
            fprintf(stderr, "closed_loop: answered %.40s\n", connection->bytes);
            exit(1);
        }
        connection->expected =
            (size_t)(end - connection->bytes) + 4 + strtoul(length + 17, NULL, 10);
    }
    if (connection->received < connection->expected)
        return false;
    load->busy--;
    return true;
}

static void open_connection(struct connection *connection, int port)
{
    struct sockaddr_in to = {.sin_family = AF_INET,
                             .sin_port = htons((uint16_t)port),
                             .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    struct timeval most = {.tv_sec = GIVE_UP_MS / 1000};
    int on = 1;
    connection->fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    setsockopt(connection->fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof(on));
    setsockopt(connection->fd, SOL_SOCKET, SO_RCVTIMEO, &most, sizeof(most));
    if (connect(connection->fd, (const struct sockaddr *)&to, sizeof(to)) != 0)
        fail("connect");
}

/* The CPU of the worker that answers on this connection. */
static int serving_cpu(struct load *load, struct connection *connection)
{
    int cpu = -1;
    socklen_t length = sizeof(cpu);
    ask(load, connection);
    while (!take(load, connection))
        continue;
    if (getsockopt(connection->fd, SOL_SOCKET, SO_INCOMING_CPU, &cpu, &length) != 0)
        fail("SO_INCOMING_CPU");
    return cpu;
}

/* The kernel chooses the worker by a hash of the ports, so each try may meet either. */
static void
open_balanced(struct load *load, size_t each, const int *cpus, const int *ports, size_t port_count)
{
    size_t count[SERVER_CPUS] = {0};
    for (size_t tries = 0; load->kept < each * SERVER_CPUS; tries++) {
        struct connection *connection = &load->connections[load->kept];
        struct epoll_event event = {.events = EPOLLIN, .data.ptr = connection};
        if (tries == each * MOST_TRIES) {
            fprintf(stderr, "closed_loop: %zu and %zu connections on the two CPUs\n", count[0],
                    count[1]);
            exit(1);
        }
        open_connection(connection, ports[tries % port_count]);
        int cpu = serving_cpu(load, connection);
        size_t place = cpu == cpus[0] ? 0 : 1;
        if ((cpu != cpus[0] && cpu != cpus[1]) || count[place] == each) {
            close(connection->fd);
            continue;
        }
        count[place]++;
        load->kept++;
        if (epoll_ctl(load->epoll, EPOLL_CTL_ADD, connection->fd, &event) != 0)
            fail("epoll_ctl");
    }
}

/* Take the answers that are there; ask again where `is_asking`. */
static void turn(struct load *load, bool is_asking)
{
    struct epoll_event events[MOST_READY];
    int ready = epoll_wait(load->epoll, events, MOST_READY, GIVE_UP_MS);
    if (ready <= 0)
        fail("no answer");
    for (int i = 0; i < ready; i++) {
        struct connection *connection = events[i].data.ptr;
        if (!take(load, connection))
            continue;
        load->answers++;
        if (is_asking)
            ask(load, connection);
    }
}

static void run_round(struct load *load, int64_t milliseconds)
{
    int64_t end = now_ms() + milliseconds;
    load->answers = 0;
    for (size_t i = 0; i < load->kept; i++)
        ask(load, &load->connections[i]);
    while (now_ms() < end)
        turn(load, true);
    while (load->busy > 0)
        turn(load, false);
}

static int number_from(const char *text, long most)
{
    char *end = NULL;
    long number = strtol(text, &end, 10);
    if (end == text || *end != '\0' || number < 0 || number > most) {
        fprintf(stderr, "closed_loop: \"%s\" is no number up to %ld\n", text, most);
        exit(2);
    }
    return (int)number;
}

int main(int argc, char **argv)
{
    static struct load load = {.random = 0x9e3779b97f4a7c15};
    char line[8];
    if (argc < 6 || argc > 7) {
        fprintf(stderr, "closed_loop EACH MILLISECONDS FIRST_CPU SECOND_CPU PORT [PORT]\n");
        return 2;
    }
    size_t each = (size_t)number_from(argv[1], MOST_KEPT);
    int64_t milliseconds = number_from(argv[2], 600000);
    int cpus[SERVER_CPUS] = {number_from(argv[3], 4096), number_from(argv[4], 4096)};
    int ports[2] = {number_from(argv[5], UINT16_MAX), number_from(argv[argc - 1], UINT16_MAX)};
    memset(load.pad, 'x', PAD_BYTES);
    load.epoll = epoll_create1(EPOLL_CLOEXEC);
    load.connections = calloc(each * SERVER_CPUS + 1, sizeof(*load.connections));
    if (load.connections == NULL)
        fail("calloc");
    open_balanced(&load, each, cpus, ports, (size_t)argc - 5);
    puts("ready");
    fflush(stdout);
    while (fgets(line, sizeof(line), stdin) != NULL) {
        run_round(&load, milliseconds);
        printf("%ld\n", load.answers);
        fflush(stdout);
    }
    return 0;
}
