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
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

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
    size_t received;
    size_t expected; /* of an answer; 0 = head not whole yet */
    char bytes[4096];
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

static int64_t now_ns(void)
{
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return (int64_t)now.tv_sec * 1000000000 + now.tv_nsec;
}

static void fail(const char *what)
{
    perror(what);
    exit(1);
}

static double cpu_seconds(void)
{
    struct timespec spent;
    clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &spent);
    return (double)spent.tv_sec + (double)spent.tv_nsec / 1e9;
}

static void *array_of(int64_t count, size_t size)
{
    void *memory = calloc((size_t)count, size);
    if (memory == NULL)
        fail("calloc");
    return memory;
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

static void watch(const struct load *load, struct connection *connection)
{
    struct epoll_event event = {.events = EPOLLIN, .data.ptr = connection};
    int on = 1;
    if (connection->role == ROLE_ASKING || connection->role == ROLE_ANSWERING)
        setsockopt(connection->fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof(on));
    if (epoll_ctl(load->epoll, EPOLL_CTL_ADD, connection->fd, &event) != 0)
        fail("epoll_ctl");
}

static struct sockaddr_in loopback(int port)
{
    return (struct sockaddr_in){.sin_family = AF_INET,
                                .sin_port = htons((uint16_t)port),
                                .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
}

static void open_connections(struct load *load, int port)
{
    struct sockaddr_in to = loopback(port);
    load->idle.first = load->idle.count = 0;
    for (size_t i = 0; i < load->idle.capacity; i++) {
        struct connection *connection = &load->connections[i];
        connection->role = ROLE_ASKING;
        connection->is_busy = false;
        connection->fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
        if (connect(connection->fd, (const struct sockaddr *)&to, sizeof(to)) != 0)
            fail("connect");
        watch(load, connection);
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
    struct sockaddr_in at = loopback(0);
    socklen_t length = sizeof(at);
    load->listener = (struct connection){.role = ROLE_LISTENING,
                                         .fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0)};
    if (bind(load->listener.fd, (const struct sockaddr *)&at, length) != 0 ||
        listen(load->listener.fd, 4096) != 0 ||
        getsockname(load->listener.fd, (struct sockaddr *)&at, &length) != 0)
        fail("listen");
    watch(load, &load->listener);
    return ntohs(at.sin_port);
}

/* Gaps of exponential length (xorshift64, one seed), each arrival moved back to its tick. */
static void plan_arrivals(struct load *load, int64_t rate, int64_t seconds)
{
    uint64_t random = 0x9e3779b97f4a7c15;
    double at_ns = 0, end_ns = (double)seconds * 1e9, mean_ns = 1e9 / (double)rate;
    int64_t room = rate * seconds + 1000 + rate * seconds / 10;
    load->due_ns = array_of(room, sizeof(*load->due_ns));
    load->latencies_us = array_of(room, sizeof(*load->latencies_us));
    while (load->planned < room) {
        random ^= random << 13;
        random ^= random >> 7;
        random ^= random << 17;
        at_ns -= mean_ns * log((double)((random >> 11) + 1) / 9007199254740993.0);
        if (at_ns >= end_ns)
            return;
        load->due_ns[load->planned++] = (int64_t)at_ns / (TICK_US * 1000) * (TICK_US * 1000);
    }
}

/* Read what is there; false at the end of the connection. */
static bool receive(struct connection *connection)
{
    ssize_t got = recv(connection->fd, connection->bytes + connection->received,
                       sizeof(connection->bytes) - 1 - connection->received, MSG_DONTWAIT);
    if (got <= 0)
        return got < 0 && errno == EAGAIN;
    connection->received += (size_t)got;
    connection->bytes[connection->received] = '\0';
    return true;
}

/* Whether the answer is whole; false in *is_sound when it is none. */
static bool is_answered(struct connection *connection, bool *is_sound)
{
    if (connection->expected == 0) {
        const char *end = strstr(connection->bytes, "\r\n\r\n");
        const char *length = strcasestr(connection->bytes, "\r\ncontent-length:");
        if (end == NULL)
            return false;
        *is_sound =
            length != NULL && length < end && strncmp(connection->bytes, "HTTP/1.1 200", 12) == 0;
        if (!*is_sound)
            return false;
        connection->expected =
            (size_t)(end - connection->bytes) + 4 + strtoul(length + 17, NULL, 10);
    }
    return connection->received >= connection->expected;
}

static void take_answer(struct load *load, struct connection *connection, int64_t now)
{
    bool is_sound = receive(connection);
    if (is_sound && is_answered(connection, &is_sound) && connection->is_busy) {
        if (connection->due_ns >= load->counted_from_ns)
            load->latencies_us[load->latency_count++] =
                (uint32_t)((now - connection->due_ns) / 1000);
        load->done++;
        connection->is_busy = false;
        put_idle(&load->idle, connection);
    } else if (!is_sound) {
        load->errors += connection->is_busy;
        close(connection->fd); /* and it is never idle again */
        connection->fd = -1;
    }
}

static void accept_all(const struct load *load)
{
    int fd = accept4(load->listener.fd, NULL, NULL, SOCK_CLOEXEC);
    if (fd < 0)
        fail("accept");
    struct connection *connection = array_of(1, sizeof(*connection));
    connection->role = ROLE_ANSWERING;
    connection->fd = fd;
    watch(load, connection);
}

/* Proxies have one request in flight on a connection, and these have no body. */
static void give_answer(struct connection *connection)
{
    if (!receive(connection) || connection->received == sizeof(connection->bytes) - 1) {
        close(connection->fd);
        free(connection);
        return;
    }
    if (connection->received >= 4 &&
        memcmp(connection->bytes + connection->received - 4, "\r\n\r\n", 4) == 0) {
        connection->received = 0;
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
        connection->received = connection->expected = 0;
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
    int64_t now = now_ns();
    bool is_commanded = false;
    if (ready < 0 && errno != EINTR)
        fail("epoll_pwait2");
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
    int64_t now = now_ns();
    int64_t give_up = now + (seconds + GIVE_UP_S) * 1000000000;
    load->start_ns = now;
    load->counted_from_ns = now + WARM_UP_S * (int64_t)1000000000;
    load->sent = load->done = load->errors = load->latency_count = 0;
    load->cpu_before = cpu_seconds();
    while (load->done + load->errors < load->planned && now < give_up) {
        send_due(load, now);
        (void)turn(load, wait_for_next(load, now));
        now = now_ns();
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
    double seconds = (double)(now_ns() - load->start_ns) / 1e9;
    double cpu = cpu_seconds() - load->cpu_before;
    qsort(load->latencies_us, (size_t)load->latency_count, sizeof(*load->latencies_us), by_value);
    printf("{\"sent\": %lld, \"done\": %lld, \"errors\": %lld, \"seconds\": %.2f, \"cpu\": %.3f, "
           "\"p50\": %u, \"p99\": %u, \"p999\": %u, \"max\": %u}\n",
           (long long)load->sent, (long long)load->done, (long long)(load->planned - load->done),
           seconds, cpu, latency_at(load, 0.5), latency_at(load, 0.99), latency_at(load, 0.999),
           latency_at(load, 1.0));
    fflush(stdout);
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
    static struct load load;
    char line[32];
    if (argc != 4) {
        fprintf(stderr, "open_loop CONNECTIONS RATE SECONDS\n");
        return 2;
    }
    int64_t count = number_from(argv[1], 4096);
    int64_t rate = number_from(argv[2], 1000000), seconds = number_from(argv[3], 600) + WARM_UP_S;
    if (rate * seconds > 50000000) {
        fprintf(stderr, "open_loop: more than 50000000 requests\n");
        return 2;
    }
    plan_arrivals(&load, rate, seconds);
    load.connections = array_of(count, sizeof(*load.connections));
    load.idle.items = array_of(count, sizeof(*load.idle.items));
    load.idle.capacity = (size_t)count;
    load.epoll = epoll_create1(EPOLL_CLOEXEC);
    load.commands = (struct connection){.role = ROLE_COMMANDS, .fd = STDIN_FILENO};
    watch(&load, &load.commands);
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
        open_connections(&load, (int)number_from(line, UINT16_MAX));
        run_round(&load, seconds);
        close_connections(&load);
        print_figures(&load);
    }
}
