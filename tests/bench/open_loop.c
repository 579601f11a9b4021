/* SPDX-License-Identifier: MIT */
/*
 * An open-loop load generator, and the upstream that answers it: requests are due by
 * a plan that was drawn before, whatever the server does, and a latency counts from
 * when its request was due, so a server that stalls pays for everyone who would have
 * come meanwhile.
 *
 *   open_loop CONNECTIONS RATE SECONDS
 *
 * Prints the port of its upstream. Then each line on stdin is the port of 127.0.0.1
 * to ask for one round, and each round prints one line of JSON: sent, done, errors,
 * its own CPU seconds, and latencies in microseconds.
 *
 * Both ends of the proxy share one CPU, so what they cost is measured as somebody's
 * latency. Hence one thread for both, which never spins: it sleeps to the next tick
 * that has a request due, or until something can be read; and an upstream that knows
 * one answer. The plan: arrivals at random (Poisson) on a grid of TICK_US, always
 * from the same seed, so that everyone is asked the same. What one wake-up finds was
 * there at the same instant: one reading of the clock. Connections take turns; a
 * request that finds none idle waits for one, and pays. The first second is asked
 * but not counted.
 */
#include <arpa/inet.h>
#include <errno.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

#include "load.h"

#define TICK_US    50
#define WARM_UP_S  1
#define GIVE_UP_S  10 /* for the last answers, after the last request was due */
#define MOST_READY 64

static const char request[] = "GET / HTTP/1.1\r\nHost: bench\r\n\r\n";
static const char answer[] = "HTTP/1.1 200 OK\r\nServer: bench\r\n"
                             "Date: Mon, 23 Nov 2026 07:25:59 GMT\r\n"
                             "Content-Type: text/plain\r\nContent-Length: 43\r\n\r\n"
                             "hello world, this is the upstream speaking\n";

enum role {
    ROLE_ASKING,
    ROLE_ANSWERING,
    ROLE_LISTENING,
    ROLE_COMMANDS
};

struct connection {
    enum role role;
    int fd;
    bool is_busy; /* asked, and not answered yet */
    int64_t due_ns;
    struct load_message message;
};

/* Idle connections in the order in which they became so. */
struct queue {
    struct connection **items;
    size_t first, count, capacity;
};

struct load {
    int epoll;
    struct connection listener, commands;
    struct connection *connections;
    struct queue idle;
    int64_t *due_ns; /* after the start, ascending */
    int64_t planned, sent, done, errors;
    int64_t start_ns, counted_from_ns;
    double cpu_before;
    uint32_t *latencies_us;
    int64_t latency_count;
};

static double cpu_seconds(void)
{
    struct timespec spent;
    clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &spent);
    return (double)spent.tv_sec + (double)spent.tv_nsec / 1e9;
}

static void put_idle(struct queue *queue, struct connection *connection)
{
    queue->items[(queue->first + queue->count++) % queue->capacity] = connection;
}

static struct connection *take_idle(struct queue *queue)
{
    struct connection *connection = queue->items[queue->first];
    queue->first = (queue->first + 1) % queue->capacity;
    queue->count--;
    return connection;
}

static void open_connections(struct load *load, int port)
{
    load->idle.first = load->idle.count = 0;
    for (size_t i = 0; i < load->idle.capacity; i++) {
        struct connection *connection = &load->connections[i];
        connection->role = ROLE_ASKING;
        connection->is_busy = false;
        connection->fd = load_connect(port);
        load_watch(load->epoll, connection->fd, connection);
        put_idle(&load->idle, connection);
    }
}

static void close_connections(struct load *load)
{
    for (size_t i = 0; i < load->idle.capacity; i++)
        if (load->connections[i].fd >= 0)
            close(load->connections[i].fd);
}

static int listen_somewhere(struct load *load)
{
    struct sockaddr_in at = load_loopback(0);
    socklen_t length = sizeof(at);
    load->listener = (struct connection){.role = ROLE_LISTENING,
                                         .fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0)};
    if (bind(load->listener.fd, (const struct sockaddr *)&at, length) != 0 ||
        listen(load->listener.fd, 4096) != 0 ||
        getsockname(load->listener.fd, (struct sockaddr *)&at, &length) != 0)
        load_fail("listen");
    load_watch(load->epoll, load->listener.fd, &load->listener);
    return ntohs(at.sin_port);
}

/* Gaps of exponential length (one seed), each arrival moved back to its tick. */
static void plan_arrivals(struct load *load, int64_t rate, int64_t seconds)
{
    uint64_t random = LOAD_SEED;
    double at_ns = 0, end_ns = (double)seconds * 1e9, mean_ns = 1e9 / (double)rate;
    int64_t room = rate * seconds + 1000 + rate * seconds / 10;
    load->due_ns = load_array(room, sizeof(*load->due_ns));
    load->latencies_us = load_array(room, sizeof(*load->latencies_us));
    while (load->planned < room) {
        at_ns -= mean_ns * log((double)((load_draw(&random) >> 11) + 1) / 9007199254740993.0);
        if (at_ns >= end_ns)
            return;
        load->due_ns[load->planned++] = (int64_t)at_ns / (TICK_US * 1000) * (TICK_US * 1000);
    }
}

static void take_answer(struct load *load, struct connection *connection, int64_t now)
{
    bool is_sound = load_receive(connection->fd, &connection->message, MSG_DONTWAIT);
    enum load_state state = is_sound ? load_answer(&connection->message) : LOAD_REFUSED;
    if (state == LOAD_WHOLE && connection->is_busy) {
        if (connection->due_ns >= load->counted_from_ns)
            load->latencies_us[load->latency_count++] =
                (uint32_t)((now - connection->due_ns) / 1000);
        load->done++;
        connection->is_busy = false;
        put_idle(&load->idle, connection);
    } else if (state == LOAD_REFUSED) {
        load->errors += connection->is_busy;
        close(connection->fd); /* and it is never idle again */
        connection->fd = -1;
    }
}

static void accept_all(const struct load *load)
{
    int fd = accept4(load->listener.fd, NULL, NULL, SOCK_CLOEXEC);
    if (fd < 0)
        load_fail("accept");
    struct connection *connection = load_array(1, sizeof(*connection));
    connection->role = ROLE_ANSWERING;
    connection->fd = fd;
    load_set_nodelay(fd);
    load_watch(load->epoll, fd, connection);
}

/* Proxies have one request in flight on a connection, and these have no body. */
static void give_answer(struct connection *connection)
{
    struct load_message *message = &connection->message;
    if (!load_receive(connection->fd, message, MSG_DONTWAIT) ||
        message->received == sizeof(message->bytes) - 1) {
        close(connection->fd);
        free(connection);
        return;
    }
    if (message->received >= 4 &&
        memcmp(message->bytes + message->received - 4, "\r\n\r\n", 4) == 0) {
        load_message_clear(message);
        (void)send(connection->fd, answer, sizeof(answer) - 1, MSG_NOSIGNAL);
    }
}

static void send_due(struct load *load, int64_t now)
{
    while (load->sent < load->planned && load->idle.count > 0 &&
           load->start_ns + load->due_ns[load->sent] <= now) {
        struct connection *connection = take_idle(&load->idle);
        connection->due_ns = load->start_ns + load->due_ns[load->sent++];
        connection->is_busy = true;
        load_message_clear(&connection->message);
        if (send(connection->fd, request, sizeof(request) - 1, MSG_NOSIGNAL) < 0)
            load->errors++;
    }
}

/* Handle what is there within `wait_ns`. False when there is something on stdin. */
static bool turn(struct load *load, int64_t wait_ns)
{
    struct epoll_event events[MOST_READY];
    struct timespec wait = {.tv_sec = wait_ns / 1000000000, .tv_nsec = wait_ns % 1000000000};
    int ready = epoll_pwait2(load->epoll, events, MOST_READY, &wait, NULL);
    int64_t now = load_now_ns();
    bool is_commanded = false;
    if (ready < 0 && errno != EINTR)
        load_fail("epoll_pwait2");
    for (int i = 0; i < ready; i++) {
        struct connection *connection = events[i].data.ptr;
        if (connection->role == ROLE_ASKING)
            take_answer(load, connection, now);
        else if (connection->role == ROLE_ANSWERING)
            give_answer(connection);
        else if (connection->role == ROLE_LISTENING)
            accept_all(load);
        else
            is_commanded = true;
    }
    return !is_commanded;
}

/* While no connection is idle only an answer helps. */
static int64_t wait_for_next(const struct load *load, int64_t now)
{
    int64_t wait = 1000000000;
    if (load->sent < load->planned && load->idle.count > 0)
        wait = load->start_ns + load->due_ns[load->sent] - now;
    return wait > 0 ? wait : 0;
}

static void run_round(struct load *load, int64_t seconds)
{
    int64_t now = load_now_ns();
    int64_t give_up = now + (seconds + GIVE_UP_S) * 1000000000;
    load->start_ns = now;
    load->counted_from_ns = now + WARM_UP_S * (int64_t)1000000000;
    load->sent = load->done = load->errors = load->latency_count = 0;
    load->cpu_before = cpu_seconds();
    while (load->done + load->errors < load->planned && now < give_up) {
        send_due(load, now);
        (void)turn(load, wait_for_next(load, now));
        now = load_now_ns();
    }
}

static int by_value(const void *a, const void *b)
{
    const uint32_t *x = a, *y = b;
    return (*x > *y) - (*x < *y);
}

static uint32_t latency_at(const struct load *load, double share)
{
    if (load->latency_count == 0)
        return 0;
    return load->latencies_us[(size_t)((double)(load->latency_count - 1) * share)];
}

static void print_figures(struct load *load)
{
    double seconds = (double)(load_now_ns() - load->start_ns) / 1e9;
    double cpu = cpu_seconds() - load->cpu_before;
    qsort(load->latencies_us, (size_t)load->latency_count, sizeof(*load->latencies_us), by_value);
    printf("{\"sent\": %lld, \"done\": %lld, \"errors\": %lld, \"seconds\": %.2f, \"cpu\": %.3f, "
           "\"p50\": %u, \"p99\": %u, \"p999\": %u, \"max\": %u}\n",
           (long long)load->sent, (long long)load->done, (long long)(load->planned - load->done),
           seconds, cpu, latency_at(load, 0.5), latency_at(load, 0.99), latency_at(load, 0.999),
           latency_at(load, 1.0));
    fflush(stdout);
}

int main(int argc, char **argv)
{
    static struct load load;
    char line[32];
    if (argc != 4) {
        fprintf(stderr, "open_loop CONNECTIONS RATE SECONDS\n");
        return 2;
    }
    int64_t count = load_number(argv[1], 1, 4096);
    int64_t rate = load_number(argv[2], 1, 1000000),
            seconds = load_number(argv[3], 1, 600) + WARM_UP_S;
    if (rate * seconds > 50000000) {
        fprintf(stderr, "open_loop: more than 50000000 requests\n");
        return 2;
    }
    plan_arrivals(&load, rate, seconds);
    load.connections = load_array(count, sizeof(*load.connections));
    load.idle.items = load_array(count, sizeof(*load.idle.items));
    load.idle.capacity = (size_t)count;
    load.epoll = epoll_create1(EPOLL_CLOEXEC);
    load.commands = (struct connection){.role = ROLE_COMMANDS, .fd = STDIN_FILENO};
    load_watch(load.epoll, load.commands.fd, &load.commands);
    setvbuf(stdin, NULL, _IONBF, 0);
    prctl(PR_SET_TIMERSLACK, 1); /* wakes at the tick and not up to 50 microseconds later */
    printf("%d\n", listen_somewhere(&load));
    fflush(stdout);
    for (;;) {
        while (turn(&load, 1000000000))
            continue;
        if (fgets(line, sizeof(line), stdin) == NULL)
            return 0;
        line[strcspn(line, "\n")] = '\0';
        open_connections(&load, (int)load_number(line, 1, UINT16_MAX));
        run_round(&load, seconds);
        close_connections(&load);
        print_figures(&load);
    }
}
