/* SPDX-License-Identifier: MIT */
/*
 * The parts of one write as one system call. stream.c calls it for what has to
 * leave at once; what the socket does not take is its caller's to keep.
 */
#include <string.h>
#include <sys/socket.h>

#include "stream_internal.h"

/* Up to here copying parts together costs less than the kernel's look at each of them. */
#define LARGEST_TOGETHER 2048

void stream_gather(char *to, const struct iovec *parts, int count)
{
    for (int i = 0; i < count; i++) {
        if (parts[i].iov_len > 0)
            memcpy(to, parts[i].iov_base, parts[i].iov_len);
        to += parts[i].iov_len;
    }
}

ssize_t stream_send(int fd, const struct iovec *parts, int count, size_t total)
{
    char together[LARGEST_TOGETHER];

    if (count == 1)
        return send(fd, parts[0].iov_base, total, MSG_NOSIGNAL);
    if (total > sizeof(together)) {
        /* sendmsg does not write through msg_iov; its type only lacks the const. */
        const struct msghdr message = {.msg_iov = (struct iovec *)(uintptr_t)parts,
                                       .msg_iovlen = (size_t)count};

        return sendmsg(fd, &message, MSG_NOSIGNAL);
    }
    stream_gather(together, parts, count);
    return send(fd, together, total, MSG_NOSIGNAL);
}
