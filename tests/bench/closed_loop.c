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
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <sys/time.h>
#include <unistd.h>

#include "load.h"

#define USERS       100000
#define MOST_READY  64
#define MOST_TRIES  64 /* connections opened for each that is kept */
#define GIVE_UP_MS  5000
#define PAD_BYTES   560
#define MOST_KEPT   1024
#define SERVER_CPUS 2
#define MOST_CPU    4095

struct connection {
    int fd;
    struct load_message answer;
};

struct load {
    int epoll;
    uint64_t random;
    char pad[PAD_BYTES + 1];
    struct connection *connections;
    size_t kept, busy;
    long answers;
};

static void ask(struct load *load, struct connection *connection)
{
    char request[1024];
    int length = snprintf(request, sizeof(request),
                          "GET /exploits?page=1&page_size=10 HTTP/1.1\r\nHost: bench\r\n"
                          "X-User: %u\r\nCookie: %s\r\nAccept: application/json\r\n"
                          "User-Agent: bench/1.0\r\n\r\n",
                          (unsigned)(load_draw(&load->random) % USERS), load->pad);
    load_message_clear(&connection->answer);
    if (send(connection->fd, request, (size_t)length, MSG_NOSIGNAL) != length)
        load_fail("send");
    load->busy++;
}

/* Take what is there; true when the answer is whole. Anything but an answer ends the program. */
static bool take(struct load *load, struct connection *connection)
{
    if (!load_receive(connection->fd, &connection->answer, 0))
        load_fail("recv");
    switch (load_answer(&connection->answer)) {
    case LOAD_PARTIAL:
        return false;
    case LOAD_WHOLE:
        break;
    case LOAD_REFUSED:
        fprintf(stderr, "closed_loop: answered %.40s\n", connection->answer.bytes);
        exit(1);
    }
    load->busy--;
    return true;
}

static void open_connection(struct connection *connection, int port)
{
    struct timeval most = {.tv_sec = GIVE_UP_MS / 1000};
    connection->fd = load_connect(port);
    setsockopt(connection->fd, SOL_SOCKET, SO_RCVTIMEO, &most, sizeof(most));
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
        load_fail("SO_INCOMING_CPU");
    return cpu;
}

/* The kernel chooses the worker by a hash of the ports, so each try may meet either. */
static void
open_balanced(struct load *load, size_t each, const int *cpus, const int *ports, size_t port_count)
{
    size_t count[SERVER_CPUS] = {0};
    for (size_t tries = 0; load->kept < each * SERVER_CPUS; tries++) {
        struct connection *connection = &load->connections[load->kept];
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
        load_watch(load->epoll, connection->fd, connection);
    }
}

/* Take the answers that are there; ask again where `is_asking`. */
static void turn(struct load *load, bool is_asking)
{
    struct epoll_event events[MOST_READY];
    int ready = epoll_wait(load->epoll, events, MOST_READY, GIVE_UP_MS);
    if (ready <= 0)
        load_fail("no answer");
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
    int64_t end_ns = load_now_ns() + milliseconds * 1000000;
    load->answers = 0;
    for (size_t i = 0; i < load->kept; i++)
        ask(load, &load->connections[i]);
    while (load_now_ns() < end_ns)
        turn(load, true);
    while (load->busy > 0)
        turn(load, false);
}

int main(int argc, char **argv)
{
    static struct load load = {.random = LOAD_SEED};
    char line[8];
    if (argc < 6 || argc > 7) {
        fprintf(stderr, "closed_loop EACH MILLISECONDS FIRST_CPU SECOND_CPU PORT [PORT]\n");
        return 2;
    }
    size_t each = (size_t)load_number(argv[1], 1, MOST_KEPT);
    int64_t milliseconds = load_number(argv[2], 1, 600000);
    int cpus[SERVER_CPUS] = {(int)load_number(argv[3], 0, MOST_CPU),
                             (int)load_number(argv[4], 0, MOST_CPU)};
    int ports[2] = {(int)load_number(argv[5], 1, UINT16_MAX),
                    (int)load_number(argv[argc - 1], 1, UINT16_MAX)};
    memset(load.pad, 'x', PAD_BYTES);
    load.epoll = epoll_create1(EPOLL_CLOEXEC);
    load.connections = load_array((int64_t)each * SERVER_CPUS + 1, sizeof(*load.connections));
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
