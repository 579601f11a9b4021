/* SPDX-License-Identifier: MIT */
/* A Redis process and the few lines of its protocol that the script's test needs. */
#include "script_support.h"

#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cmocka.h>

#include "bucket_lua.h"

struct server {
    pid_t pid;
    int fd;
    FILE *in;
    char directory[32];
    char sha[41];
};

static struct server server;

static void read_reply(struct script_reply *reply)
{
    char line[512];
    long length;

    assert_non_null(fgets(line, sizeof(line), server.in));
    line[strcspn(line, "\r\n")] = 0;
    switch (line[0]) {
    case '*':
        for (long n = strtol(line + 1, NULL, 10); n > 0; n--)
            read_reply(reply);
        break;
    case ':':
        assert_true(reply->count < SCRIPT_MAX_VALUES);
        reply->values[reply->count++] = strtoll(line + 1, NULL, 10);
        break;
    case '$':
        length = strtol(line + 1, NULL, 10);
        if (length < 0)
            break;
        assert_true((size_t)length + 2 < sizeof(reply->text));
        assert_int_equal(fread(reply->text, 1, (size_t)length + 2, server.in), length + 2);
        reply->text[length] = 0;
        break;
    default:
        snprintf(reply->text, sizeof(reply->text), "%s", line);
    }
}

struct script_reply script_command(const struct script_argument *arguments, size_t count)
{
    struct script_reply reply = {0};
    char head[64];

    assert_true(dprintf(server.fd, "*%zu\r\n", count) > 0);
    for (size_t i = 0; i < count; i++) {
        int length = snprintf(head, sizeof(head), "$%zu\r\n", arguments[i].length);

        assert_int_equal(write(server.fd, head, (size_t)length), length);
        assert_int_equal(write(server.fd, arguments[i].data, arguments[i].length),
                         arguments[i].length);
        assert_int_equal(write(server.fd, "\r\n", 2), 2);
    }
    read_reply(&reply);
    return reply;
}

/* Words separated by spaces. */
struct script_reply script_text(const char *format, ...)
{
    struct script_argument arguments[16];
    char line[512];
    size_t count = 0;
    va_list list;

    va_start(list, format);
    vsnprintf(line, sizeof(line), format, list);
    va_end(list);
    for (char *word = line; word != NULL;) {
        char *end = strchr(word, ' ');

        assert_true(count < COUNT_OF(arguments));
        arguments[count++] =
            (struct script_argument){word, end != NULL ? (size_t)(end - word) : strlen(word)};
        word = end != NULL ? end + 1 : NULL;
    }
    return script_command(arguments, count);
}

static bool connect_server(void)
{
    struct sockaddr_un address = {.sun_family = AF_UNIX};

    snprintf(address.sun_path, sizeof(address.sun_path), "%s/redis", server.directory);
    for (int i = 0; i < 500; i++) {
        server.fd = socket(AF_UNIX, SOCK_STREAM, 0);
        if (connect(server.fd, (const struct sockaddr *)&address, sizeof(address)) == 0)
            return true;
        close(server.fd);
        if (waitpid(server.pid, NULL, WNOHANG) == server.pid) {
            server.pid = 0;
            return false; /* there is no such program */
        }
        usleep(10000);
    }
    return false;
}

bool script_is_running(void)
{
    return server.in != NULL;
}

const char *script_sha(void)
{
    return server.sha;
}

int script_start(void **state)
{
    const char *program = getenv("KAMIYO_TEST_REDIS");

    (void)state;
    snprintf(server.directory, sizeof(server.directory), "/tmp/bucket_script.XXXXXX");
    if (mkdtemp(server.directory) == NULL)
        return -1;
    if (program == NULL || *program == 0)
        program = "redis-server";
    server.pid = fork();
    if (server.pid == 0) {
        if (chdir(server.directory) != 0 || freopen("/dev/null", "w", stdout) == NULL)
            _exit(127);
        execlp(program, program, "--port", "0", "--unixsocket", "redis", "--save", "",
               "--appendonly", "no", (char *)NULL);
        _exit(127);
    }
    if (connect_server()) {
        struct script_argument load[] = {{"SCRIPT", 6}, {"LOAD", 4}, {bucket_lua, bucket_lua_size}};
        struct script_reply reply;

        server.in = fdopen(dup(server.fd), "r");
        reply = script_command(load, 3);
        if (strlen(reply.text) != 40)
            return -1;
        snprintf(server.sha, sizeof(server.sha), "%.40s", reply.text);
    }
    return 0;
}

int script_stop(void **state)
{
    char path[64];

    (void)state;
    if (server.pid != 0) {
        if (server.in != NULL)
            fclose(server.in);
        close(server.fd);
        kill(server.pid, SIGKILL);
        waitpid(server.pid, NULL, 0);
    }
    snprintf(path, sizeof(path), "%s/redis", server.directory);
    unlink(path);
    rmdir(server.directory);
    return 0;
}
