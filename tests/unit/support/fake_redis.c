/* SPDX-License-Identifier: MIT */
/* Scripted and real stores for tests; see fake_redis.h. Commands are read by a parser of its own,
 * strict and simple. */
#include "fake_redis.h"

#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/queue.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include <cmocka.h>
#include <event2/event.h>
#include <event2/event_struct.h>

#include "kamiyo/base/clock.h"
#include "kamiyo/base/mem.h"

#define INPUT_BYTES 65536

struct fake_redis_connection {
    LIST_ENTRY(fake_redis_connection) entry;
    struct fake_redis *fake;
    int fd;
    struct event event;
    bool is_cut; /* closed at the end of the callback on the stack */
    bool is_busy;
    size_t length;
    char input[INPUT_BYTES + 1]; /* its last byte stays 0: numbers are read as in a string */
};

struct fake_redis {
    struct loop *loop;
    fake_redis_script_fn *script;
    void *arg;
    int fd;
    uint16_t port;
    struct event event;
    unsigned accepted;
    unsigned commands;
    LIST_HEAD(, fake_redis_connection) connections;
};

static void close_connection(struct fake_redis_connection *connection)
{
    (void)event_del(&connection->event);
    (void)close(connection->fd);
    LIST_REMOVE(connection, entry);
    mem_free(connection);
}

/* "<kind><number>\r\n" at *at; -1 = not all there. */
static long read_number(const struct fake_redis_connection *connection, size_t *at, char kind)
{
    const char *start = connection->input + *at;
    const char *end = memchr(start, '\n', connection->length - *at);

    if (end == NULL)
        return -1;
    assert_int_equal(start[0], kind);
    *at += (size_t)(end - start) + 1;
    return strtol(start + 1, NULL, 10);
}

/* Bytes of the first command that is there whole, or 0. Ends its arguments with 0. */
static size_t read_command(struct fake_redis_connection *connection,
                           struct fake_redis_command *command)
{
    size_t at = 0;
    size_t ends[FAKE_REDIS_MAX_ARGUMENTS];
    long count = connection->length > 0 ? read_number(connection, &at, '*') : -1;

    if (count < 0)
        return 0;
    assert_in_range(count, 1, FAKE_REDIS_MAX_ARGUMENTS);
    for (long i = 0; i < count; i++) {
        long length = at < connection->length ? read_number(connection, &at, '$') : -1;

        if (length < 0 || at + (size_t)length + 2 > connection->length)
            return 0;
        command->arguments[i] = connection->input + at;
        ends[i] = at + (size_t)length;
        at += (size_t)length + 2;
    }
    for (long i = 0; i < count; i++)
        connection->input[ends[i]] = '\0';
    command->count = (size_t)count;
    return at;
}

static void on_input(evutil_socket_t fd, short what, void *arg)
{
    struct fake_redis_connection *connection = arg;
    struct fake_redis *fake = connection->fake;
    struct fake_redis_command command;
    ssize_t got =
        read(fd, connection->input + connection->length, INPUT_BYTES - connection->length);
    size_t used;

    (void)what;
    if (got <= 0) {
        close_connection(connection);
        return;
    }
    connection->length += (size_t)got;
    connection->is_busy = true;
    while (!connection->is_cut && (used = read_command(connection, &command)) > 0) {
        fake->commands++;
        fake->script(fake->arg, connection, &command);
        connection->length -= used;
        memmove(connection->input, connection->input + used, connection->length);
    }
    connection->is_busy = false;
    if (connection->is_cut)
        close_connection(connection);
}

static void on_accept(evutil_socket_t listener, short what, void *arg)
{
    struct fake_redis *fake = arg;
    int fd = accept4(listener, NULL, NULL, SOCK_NONBLOCK | SOCK_CLOEXEC);
    struct fake_redis_connection *connection;
    int on = 1;

    (void)what;
    if (fd < 0)
        return;
    (void)setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof(on)); /* as Redis does */
    fake->accepted++;
    connection = mem_alloc_zero(sizeof(*connection));
    connection->fake = fake;
    connection->fd = fd;
    LIST_INSERT_HEAD(&fake->connections, connection, entry);
    (void)event_assign(&connection->event, loop_event_base(fake->loop), fd, EV_READ | EV_PERSIST,
                       on_input, connection);
    (void)event_add(&connection->event, NULL);
}

static int listen_on(uint16_t *port)
{
    struct sockaddr_in address = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    socklen_t length = sizeof(address);
    int fd = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);

    assert_true(fd >= 0);
    assert_int_equal(bind(fd, (const struct sockaddr *)&address, length), 0);
    assert_int_equal(listen(fd, 64), 0);
    assert_int_equal(getsockname(fd, (struct sockaddr *)&address, &length), 0);
    *port = ntohs(address.sin_port);
    return fd;
}

struct fake_redis *fake_redis_create(struct loop *loop, fake_redis_script_fn *script, void *arg)
{
    struct fake_redis *fake = mem_alloc_zero(sizeof(*fake));

    fake->loop = loop;
    fake->script = script;
    fake->arg = arg;
    fake->fd = listen_on(&fake->port);
    (void)event_assign(&fake->event, loop_event_base(loop), fake->fd, EV_READ | EV_PERSIST,
                       on_accept, fake);
    (void)event_add(&fake->event, NULL);
    return fake;
}

void fake_redis_destroy(struct fake_redis **fake)
{
    if (*fake == NULL)
        return;
    fake_redis_cut_all(*fake);
    (void)event_del(&(*fake)->event);
    (void)close((*fake)->fd);
    mem_free(*fake);
    *fake = NULL;
}

uint16_t fake_redis_port(const struct fake_redis *fake)
{
    return fake->port;
}

unsigned fake_redis_accepted(const struct fake_redis *fake)
{
    return fake->accepted;
}

unsigned fake_redis_commands(const struct fake_redis *fake)
{
    return fake->commands;
}

void fake_redis_reply(struct fake_redis_connection *connection, const char *bytes)
{
    if (!connection->is_cut)
        (void)send(connection->fd, bytes, strlen(bytes),
                   MSG_NOSIGNAL); /* small enough for the socket */
}

void fake_redis_cut(struct fake_redis_connection *connection)
{
    connection->is_cut = true;
    if (!connection->is_busy)
        close_connection(connection);
}

void fake_redis_cut_all(struct fake_redis *fake)
{
    struct fake_redis_connection *connection = LIST_FIRST(&fake->connections);

    while (connection != NULL) {
        struct fake_redis_connection *next = LIST_NEXT(connection, entry);

        fake_redis_cut(connection);
        connection = next;
    }
}

void fake_redis_push(struct fake_redis *fake, const char *bytes)
{
    struct fake_redis_connection *connection;

    LIST_FOREACH (connection, &fake->connections, entry)
        fake_redis_reply(connection, bytes);
}

bool fake_redis_greet(struct fake_redis_connection *connection,
                      const struct fake_redis_command *command)
{
    const char *name = command->arguments[0];
    char reply[128];
    int64_t now_ms = clock_wall_ms();

    if (strcmp(name, "AUTH") == 0 || strcmp(name, "SELECT") == 0 || strcmp(name, "CLIENT") == 0) {
        fake_redis_reply(connection, "+OK\r\n");
    } else if (strcmp(name, "SCRIPT") == 0) {
        fake_redis_reply(connection, "$40\r\n0123456789012345678901234567890123456789\r\n");
    } else if (strcmp(name, "TIME") == 0) {
        (void)snprintf(reply, sizeof(reply), "*2\r\n$10\r\n%lld\r\n$6\r\n%06lld\r\n",
                       (long long)(now_ms / 1000), (long long)(now_ms % 1000 * 1000));
        fake_redis_reply(connection, reply);
    } else {
        return false;
    }
    return true;
}

/* --- the real one --- */

static int connect_to(const struct real_redis *redis)
{
    struct sockaddr_in address = {.sin_family = AF_INET, .sin_port = htons(REAL_REDIS_PORT)};
    struct timeval patience = {.tv_sec = 5};
    int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);

    assert_int_equal(inet_pton(AF_INET, redis->host, &address.sin_addr), 1);
    if (fd >= 0 && connect(fd, (const struct sockaddr *)&address, sizeof(address)) != 0) {
        (void)close(fd);
        return -1;
    }
    (void)setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &patience, sizeof(patience));
    return fd;
}

/* Whether it answers at all, with an error for one. */
static bool answers(const struct real_redis *redis)
{
    static const char command[] = "PING\r\n";
    char reply[64];
    int fd = connect_to(redis);
    bool is_there = fd >= 0 &&
                    send(fd, command, sizeof(command) - 1, MSG_NOSIGNAL) == sizeof(command) - 1 &&
                    recv(fd, reply, sizeof(reply), 0) > 0;

    if (fd >= 0)
        (void)close(fd);
    return is_there;
}

static void exec_redis(const struct real_redis *redis, const char *const *arguments)
{
    char port[8];
    char *list[24];
    size_t count = 0;
    const char *program = getenv("KAMIYO_TEST_REDIS"); /* another server of the same protocol */
    const char *const fixed[] = {program != NULL ? program : "redis-server",
                                 "--port",
                                 port,
                                 "--bind",
                                 redis->host,
                                 "--dir",
                                 redis->directory,
                                 "--save",
                                 "",
                                 "--appendonly",
                                 "no",
                                 "--logfile",
                                 "/dev/null"};
    int null = open("/dev/null", O_RDWR);

    (void)snprintf(port, sizeof(port), "%u", REAL_REDIS_PORT);
    for (size_t i = 0; i < sizeof(fixed) / sizeof(fixed[0]); i++)
        list[count++] = strdup(fixed[i]);
    for (size_t i = 0; arguments != NULL && arguments[i] != NULL && count < 23; i++)
        list[count++] = strdup(arguments[i]);
    list[count] = NULL;
    (void)dup2(null, STDOUT_FILENO);
    (void)dup2(null, STDERR_FILENO);
    (void)prctl(PR_SET_PDEATHSIG, SIGKILL);
    (void)execvp(list[0], list);
    _exit(127);
}

bool real_redis_restart(struct real_redis *redis, const char *const *arguments)
{
    (void)mkdir(redis->directory, 0700); /* it may be there */
    redis->pid = fork();
    assert_true(redis->pid >= 0);
    if (redis->pid == 0)
        exec_redis(redis, arguments);
    for (int i = 0; i < 500; i++) {
        struct timespec pause = {.tv_nsec = 10000000};

        if (answers(redis))
            return true;
        if (waitpid(redis->pid, NULL, WNOHANG) == redis->pid)
            break;
        (void)nanosleep(&pause, NULL);
    }
    redis->pid = 0;
    return false;
}

bool real_redis_start(struct real_redis *redis, const char *const *arguments)
{
    unsigned pid = (unsigned)getpid();

    (void)snprintf(redis->host, sizeof(redis->host), "127.%u.%u.%u", 1 + (pid >> 16 & 63),
                   pid >> 8 & 255, pid & 255);
    (void)snprintf(redis->directory, sizeof(redis->directory), "/tmp/kamiyo-redis-XXXXXX");
    assert_non_null(mkdtemp(redis->directory));
    if (real_redis_restart(redis, arguments))
        return true;
    (void)rmdir(redis->directory);
    return false;
}

void real_redis_stop(struct real_redis *redis)
{
    if (redis->pid == 0)
        return;
    (void)kill(redis->pid, SIGKILL);
    (void)waitpid(redis->pid, NULL, 0);
    redis->pid = 0;
    (void)rmdir(redis->directory); /* nothing is saved there */
}
