/* SPDX-License-Identifier: MIT */
/*
 * A command's question to an admin listener that answers what the test says:
 * what is asked, what is taken for an answer, and what a person is told.
 */
#include <pthread.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include <cmocka.h>

#include "kamiyo/app/admin_client.h"
#include "kamiyo/base/mem.h"
#include "kamiyo/base/text.h"
#include "kamiyo/net/listener.h"

/* Long enough for any machine: nothing waits for it but the test of silence. */
#define PATIENCE_MS 60000

struct server {
    int fd;
    struct addr_endpoint at;
    pthread_t thread;
    struct slice answer;
    char request[4096];
    size_t request_length;
};

/* One connection: the request's head, the answer, then wait for the client's end. */
static void *serve(void *arg)
{
    struct server *server = arg;
    int fd = accept(server->fd, NULL, NULL);
    char rest[64];

    while (fd >= 0 && strstr(server->request, "\r\n\r\n") == NULL) {
        ssize_t got = recv(fd, server->request + server->request_length,
                           sizeof(server->request) - 1 - server->request_length, 0);

        if (got <= 0)
            break;
        server->request_length += (size_t)got;
    }
    for (size_t i = 0; fd >= 0 && i < server->answer.length; i++) /* in the smallest pieces */
        if (send(fd, server->answer.data + i, 1, MSG_NOSIGNAL) != 1)
            break;
    if (fd >= 0 && server->answer.length > 0)
        (void)shutdown(fd, SHUT_WR);
    while (fd >= 0 && recv(fd, rest, sizeof(rest), 0) > 0)
        continue;
    if (fd >= 0)
        close(fd);
    return NULL;
}

static void server_start(struct server *server, const char *answer)
{
    struct addr_endpoint at = {.unix_path = ""};
    struct sockaddr_storage storage;
    socklen_t length;

    memset(server, 0, sizeof(*server));
    server->answer = slice_of(answer);
    assert_true(addr_parse(SLICE("127.0.0.1"), &at.addr));
    length = addr_endpoint_to_sockaddr(&at, &storage);
    server->fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    assert_int_equal(bind(server->fd, (struct sockaddr *)&storage, length), 0);
    assert_int_equal(listen(server->fd, 1), 0);
    listener_local_endpoint(server->fd, &server->at);
    assert_int_equal(pthread_create(&server->thread, NULL, serve, server), 0);
}

static void server_stop(struct server *server)
{
    assert_int_equal(pthread_join(server->thread, NULL), 0);
    close(server->fd);
}

/* What is said on stderr between the two. */
struct hearing {
    int former;
    FILE *file;
    char said[1024];
};

static void hear(struct hearing *hearing)
{
    hearing->file = tmpfile();
    assert_non_null(hearing->file);
    hearing->former = dup(2);
    assert_true(dup2(fileno(hearing->file), 2) == 2);
}

static const char *heard(struct hearing *hearing)
{
    size_t length;

    assert_true(dup2(hearing->former, 2) == 2);
    close(hearing->former);
    rewind(hearing->file);
    length = fread(hearing->said, 1, sizeof(hearing->said) - 1, hearing->file);
    hearing->said[length] = '\0';
    fclose(hearing->file);
    return hearing->said;
}

/* Ask; what was said is in `hearing`. */
static bool
ask(struct config *config, const char *address, int64_t timeout_ms, struct hearing *hearing)
{
    struct admin_client client;
    char *body = NULL;
    size_t length = 0;
    bool is_well;

    hear(hearing);
    is_well = admin_client_init(&client, "explain", address, config) &&
              admin_client_get(&client, "/api/x?y=1", SLICE("X-API-Key: k\r\n"), timeout_ms, &body,
                               &length);
    (void)heard(hearing);
    if (is_well) {
        assert_string_equal(body, "{}");
        assert_int_equal(length, 2);
        assert_string_equal(hearing->said, "");
    } else {
        assert_null(body);
        assert_memory_equal(hearing->said, "kamiyo-gateway explain: ", 24);
        assert_null(strstr(hearing->said, "hunter2"));
    }
    mem_free(body);
    return is_well;
}

static char token[] = "hunter2hunter2hunter2";
static char no_token[] = "";

static void test_answers(void **state)
{
    static const struct {
        const char *answer;
        const char *said; /* NULL = all is well */
        bool is_without_token;
    } rows[] = {
        {"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\n{}", NULL, false},
        {"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\n{}", NULL, true},
        {"HTTP/1.1 401 Unauthorized\r\nContent-Length: 2\r\n\r\n{}", "refuses the admin token",
         false},
        {"HTTP/1.1 401 Unauthorized\r\nContent-Length: 2\r\n\r\n{}", "needs the admin token", true},
        {"HTTP/1.1 404 Not Found\r\nContent-Length: 17\r\n\r\n{\"message\": \"no\"}",
         "of another version", false},
        {"HTTP/1.1 400 Bad Request\r\nContent-Length: 19\r\n\r\n{\"message\": \"this\"}",
         "400: this", false},
        {"HTTP/1.1 404 Not Found\r\nContent-Length: 5\r\n\r\nhello", "no admin listener", false},
        {"HTTP/1.1 200 OK\r\n\r\n{}", "no admin listener", false},
        {"HTTP/1.1 200 OK\r\nContent-Length: 3\r\n\r\n{}", "no admin listener", false},
        {"HTTP/1.1 200 OK\r\nContent-Length: 99999999999\r\n\r\n{}", "no admin listener", false},
        {"SSH-2.0-x\r\n", "no admin listener", false},
    };

    (void)state;
    for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
        struct config config = {.admin = {.is_enabled = true}};
        struct hearing hearing;
        struct server server;
        bool is_well;

        server_start(&server, rows[i].answer);
        config.admin.listen = server.at;
        config.admin.token = rows[i].is_without_token ? no_token : token;
        is_well = ask(&config, NULL, PATIENCE_MS, &hearing);
        server_stop(&server);
        if (is_well != (rows[i].said == NULL) ||
            (rows[i].said != NULL && strstr(hearing.said, rows[i].said) == NULL))
            fail_msg("%s: %s", rows[i].answer, hearing.said);
        assert_memory_equal(server.request, "GET /api/x?y=1 HTTP/1.1\r\nHost: localhost\r\n", 42);
        assert_non_null(strstr(server.request, "\r\nX-API-Key: k\r\n"));
        assert_int_equal(strstr(server.request, "\r\nAuthorization: Bearer hunter2") == NULL,
                         rows[i].is_without_token);
    }
}

static void test_silence(void **state)
{
    struct config config = {.admin = {.is_enabled = true, .token = no_token}};
    struct hearing hearing;
    struct server server;

    (void)state;
    server_start(&server, "");
    config.admin.listen = server.at;
    assert_false(ask(&config, NULL, 20, &hearing));
    server_stop(&server);
    assert_non_null(strstr(hearing.said, "timed out"));
}

static void test_nobody(void **state)
{
    struct config config = {.admin = {.is_enabled = true, .token = no_token}};
    struct sockaddr_storage storage;
    struct addr_endpoint at = {.unix_path = ""};
    struct hearing hearing;
    char name[128];
    int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);

    (void)state;
    /* Bound and not listening: nobody else gets the port meanwhile. */
    assert_true(addr_parse(SLICE("127.0.0.1"), &at.addr));
    assert_int_equal(
        bind(fd, (struct sockaddr *)&storage, addr_endpoint_to_sockaddr(&at, &storage)), 0);
    listener_local_endpoint(fd, &config.admin.listen);
    assert_false(ask(&config, NULL, PATIENCE_MS, &hearing));
    assert_non_null(strstr(hearing.said, "nothing listens on 127.0.0.1:"));
    (void)addr_endpoint_format(&config.admin.listen, name);
    config.admin.is_enabled = false;
    assert_false(ask(&config, NULL, PATIENCE_MS, &hearing));
    assert_non_null(strstr(hearing.said, "admin.listen is off"));
    assert_false(ask(&config, name, PATIENCE_MS, &hearing)); /* --admin, all the same */
    assert_non_null(strstr(hearing.said, "nothing listens on 127.0.0.1:"));
    assert_false(ask(&config, "unix:/nowhere/at/all", PATIENCE_MS, &hearing));
    assert_non_null(strstr(hearing.said, "nothing listens on unix:/nowhere/at/all"));
    assert_false(ask(&config, "nowhere", PATIENCE_MS, &hearing));
    assert_non_null(strstr(hearing.said, "--admin \"nowhere\": "));
    close(fd);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_answers),
        cmocka_unit_test(test_silence),
        cmocka_unit_test(test_nobody),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
