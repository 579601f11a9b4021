/* SPDX-License-Identifier: MIT */
/*
 * `healthcheck`: asks the running gateway on its first listener, as a container
 * without a shell or curl needs it.
 */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "kamiyo/app/command.h"
#include "kamiyo/app/dial.h"
#include "kamiyo/app/options.h"
#include "kamiyo/base/clock.h"
#include "kamiyo/base/mem.h"
#include "kamiyo/config/config_load.h"
#include "kamiyo/config/config_report.h"
#include "kamiyo/net/addr.h"

#define DEADLINE_MS 2000

static const char *environment(const char *name)
{
    return getenv(name);
}

/* Send the request and read until the status line is whole; its status, or -1 with errno. */
static int ask(int fd, bool has_proxy_header, int64_t deadline_ms)
{
    char request[256];
    char answer[64];
    size_t got = 0;
    int length = snprintf(request, sizeof(request),
                          "%sGET /_gateway/health HTTP/1.1\r\nHost: localhost\r\n"
                          "User-Agent: kamiyo-gateway-healthcheck\r\nConnection: close\r\n\r\n",
                          has_proxy_header ? "PROXY UNKNOWN\r\n" : "");

    if (!dial_send(fd, request, (size_t)length, deadline_ms))
        return -1;
    while (got < 12) { /* "HTTP/1.1 200" */
        ssize_t count = dial_receive(fd, answer + got, sizeof(answer) - 1 - got, deadline_ms);

        if (count < 0)
            return -1;
        if (count == 0) {
            errno = ECONNRESET;
            return -1;
        }
        got += (size_t)count;
    }
    answer[got] = '\0';
    if (strncmp(answer, "HTTP/1.1 ", 9) != 0) {
        errno = EPROTO;
        return -1;
    }
    return (int)strtol(answer + 9, NULL, 10);
}

static int check_listener(const struct config_listen *listen, bool is_quiet)
{
    int64_t deadline_ms = clock_monotonic_ms() + DEADLINE_MS;
    struct addr_endpoint endpoint = listen->endpoint;
    int fd = dial_open(&endpoint, deadline_ms);
    char name[128];
    int status = -1;

    (void)addr_endpoint_format(&endpoint, name);
    if (fd >= 0)
        status = ask(fd, listen->proxy_protocol, deadline_ms);
    if (status < 0)
        (void)fprintf(stderr, "kamiyo-gateway healthcheck: %s: %s\n", name, strerror(errno));
    else if (status != 200)
        (void)fprintf(stderr, "kamiyo-gateway healthcheck: %s answers %d\n", name, status);
    else if (!is_quiet)
        printf("%s is well\n", name);
    if (fd >= 0)
        (void)close(fd); /* nothing is lost */
    return status == 200 ? COMMAND_OK : COMMAND_FAILED;
}

int command_healthcheck(int argc, char **argv)
{
    struct config_overrides overrides = {.path = NULL};
    bool is_quiet = false;
    const struct options_item items[] = {
        {"config", 'c', OPTIONS_TEXT, &overrides.path, "FILE",
         "the configuration that names the listener"},
        {"listen", 'l', OPTIONS_TEXT, &overrides.listen, "ADDRESS", "ask there instead"},
        {"quiet", 'q', OPTIONS_SWITCH, &is_quiet, NULL, "say nothing when all is well"},
        {.name = NULL}};
    const struct options options = {
        .command = "healthcheck",
        .usage = "[--config FILE] [--listen ADDRESS]",
        .doc = "Exits 0 when the running gateway answers /_gateway/health on its first listener\n"
               "within two seconds, else 1.",
        .items = items};
    enum options_result result = options_parse(&options, argc, argv, NULL);
    struct error_list errors;
    struct config *config;
    int status = COMMAND_FAILED;

    if (result != OPTIONS_PROCEED)
        return result == OPTIONS_HELPED ? COMMAND_OK : COMMAND_USAGE;
    error_list_init(&errors);
    config = config_load(&overrides, environment, &errors);
    if (config == NULL) {
        char *report = config_format_errors(&errors);

        (void)fputs(report, stderr);
        mem_free(report);
    } else {
        status = check_listener(&config->listen[0], is_quiet);
    }
    config_destroy(&config);
    error_list_clear(&errors);
    return status;
}
