/* SPDX-License-Identifier: MIT */
/*
 * Sockets of the commands that ask a running gateway: `healthcheck` on its
 * listener, and those that ask its admin listener. Non-blocking descriptors and
 * poll, so that a peer that says nothing costs the deadline and no more.
 */
#include "kamiyo/app/dial.h"

#include <errno.h>
#include <limits.h>
#include <poll.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "kamiyo/base/clock.h"

static void make_reachable(struct addr_endpoint *endpoint)
{
    static const uint8_t any[16] = {0};
    struct addr *addr = &endpoint->addr;

    if (addr->family == ADDR_IPV4 && memcmp(addr->bytes, any, 4) == 0) {
        addr->bytes[0] = 127;
        addr->bytes[3] = 1;
    } else if (addr->family == ADDR_IPV6 && memcmp(addr->bytes, any, 16) == 0) {
        addr->bytes[15] = 1;
    }
}

/* Wait until the socket is ready for `events`; false at the deadline. */
static bool wait_for(int fd, short events, int64_t deadline_ms)
{
    struct pollfd ready = {.fd = fd, .events = events};
    int64_t left_ms;

    while ((left_ms = deadline_ms - clock_monotonic_ms()) > 0) {
        if (poll(&ready, 1, left_ms < INT_MAX ? (int)left_ms : INT_MAX) == 1)
            return true; /* else a signal, or the time is over */
    }
    errno = ETIMEDOUT;
    return false;
}

static bool connect_to(int fd, const struct addr_endpoint *endpoint, int64_t deadline_ms)
{
    struct sockaddr_storage storage;
    socklen_t length = addr_endpoint_to_sockaddr(endpoint, &storage);
    int failure = 0;
    socklen_t size = sizeof(failure);

    if (connect(fd, (const struct sockaddr *)&storage, length) == 0)
        return true;
    if (errno != EINPROGRESS || !wait_for(fd, POLLOUT, deadline_ms) ||
        getsockopt(fd, SOL_SOCKET, SO_ERROR, &failure, &size) != 0)
        return false;
    errno = failure;
    return failure == 0;
}

int dial_open(struct addr_endpoint *endpoint, int64_t deadline_ms)
{
    int family = endpoint->addr.family == ADDR_UNIX   ? AF_UNIX
                 : endpoint->addr.family == ADDR_IPV6 ? AF_INET6
                                                      : AF_INET;
    int fd = socket(family, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);

    make_reachable(endpoint);
    if (fd >= 0 && !connect_to(fd, endpoint, deadline_ms)) {
        int failure = errno;

        (void)close(fd); /* nothing was sent */
        errno = failure;
        fd = -1;
    }
    return fd;
}

bool dial_send(int fd, const char *bytes, size_t length, int64_t deadline_ms)
{
    while (length > 0) {
        ssize_t sent;

        if (!wait_for(fd, POLLOUT, deadline_ms))
            return false;
        sent = send(fd, bytes, length, MSG_NOSIGNAL);
        if (sent < 0 && errno != EAGAIN && errno != EINTR)
            return false;
        if (sent > 0) {
            bytes += sent;
            length -= (size_t)sent;
        }
    }
    return true;
}

ssize_t dial_receive(int fd, char *bytes, size_t size, int64_t deadline_ms)
{
    while (wait_for(fd, POLLIN, deadline_ms)) {
        ssize_t count = recv(fd, bytes, size, 0);

        if (count >= 0 || (errno != EAGAIN && errno != EINTR))
            return count;
    }
    return -1;
}
