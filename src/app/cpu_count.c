/* SPDX-License-Identifier: MIT */
/*
 * Counting the CPUs that may be used. A container with half a CPU sees all of
 * its host's; only its cgroup tells. The process's own cgroup and each one
 * above it may set a bound: the smallest holds.
 */
#include "kamiyo/app/cpu_count.h"

#include <fcntl.h>
#include <sched.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

size_t cpu_count_of_quota(struct slice text)
{
    struct slice quota_text, period_text, rest = text;
    uint64_t quota, period;
    rest.length = slice_find(rest, '\n');
    if (!slice_cut(&rest, ' ', &quota_text) || !slice_cut(&rest, ' ', &period_text))
        return 0;
    if (!slice_parse_u64(quota_text, &quota) || !slice_parse_u64(period_text, &period) ||
        period == 0)
        return 0;
    return quota == 0 ? 1 : (size_t)((quota - 1) / period + 1);
}

static struct slice read_file(const char *path, char *memory, size_t size)
{
    int fd = open(path, O_RDONLY | O_CLOEXEC);
    ssize_t length = fd >= 0 ? read(fd, memory, size) : -1;
    if (fd >= 0)
        close(fd);
    return (struct slice){memory, length > 0 ? (size_t)length : 0};
}

/* The path of the process's group below the cgroup v2 mount: the line "0::/path". */
static size_t find_group(char *path, size_t size)
{
    char memory[4096];
    struct slice line, rest = read_file("/proc/self/cgroup", memory, sizeof(memory));
    while (slice_cut(&rest, '\n', &line)) {
        if (!slice_starts_with(line, SLICE("0::/")) || line.length - 3 >= size)
            continue;
        memcpy(path, line.data + 3, line.length - 3);
        path[line.length - 3] = '\0';
        return line.length - 3;
    }
    path[0] = '\0';
    return 0;
}

static size_t count_by_cgroup(void)
{
    char group[2048], file[2048 + 64], memory[128];
    size_t least = 0;
    size_t length = find_group(group, sizeof(group));
    for (;;) {
        snprintf(file, sizeof(file), "/sys/fs/cgroup%s/cpu.max", group);
        size_t count = cpu_count_of_quota(read_file(file, memory, sizeof(memory)));
        if (count > 0 && (least == 0 || count < least))
            least = count;
        while (length > 0 && group[length - 1] != '/')
            length--;
        if (length == 0)
            return least;
        group[--length] = '\0';
    }
}

size_t cpu_count_available(void)
{
    cpu_set_t set;
    size_t by_affinity = 1;
    if (sched_getaffinity(0, sizeof(set), &set) == 0 && CPU_COUNT(&set) > 0)
        by_affinity = (size_t)CPU_COUNT(&set);
    size_t by_cgroup = count_by_cgroup();
    return by_cgroup > 0 && by_cgroup < by_affinity ? by_cgroup : by_affinity;
}
