/* SPDX-License-Identifier: MIT */
/*
 * `run`: load, complain about everything that is wrong at once, else run until
 * a signal ends it.
 */
#include <stdio.h>

#include "kamiyo/app/command.h"
#include "kamiyo/app/gateway.h"
#include "kamiyo/app/options.h"
#include "kamiyo/base/log.h"
#include "kamiyo/base/mem.h"
#include "kamiyo/config/config_report.h"

/* Redis's URL has a line of its own in the log: it only means that the table decides. */
static bool is_about_redis(const struct error_item *item)
{
    return item->severity == ERROR_WARNING && slice_equal(slice_of(item->key), SLICE("redis.url"));
}

static void tell(const struct error_list *errors)
{
    for (size_t i = 0; i < errors->count; i++) {
        if (!is_about_redis(&errors->items[i])) {
            char *report = config_format_errors(errors);
            (void)fputs(report, stderr); /* nowhere else to complain */
            mem_free(report);
            break;
        }
    }
    if (errors->total_errors > 0)
        (void)fprintf(stderr, "%zu error%s: not started; `kamiyo-gateway check` says the same\n",
                      errors->total_errors, errors->total_errors == 1 ? "" : "s");
}

static int run(const struct config_overrides *overrides)
{
    struct error_list errors;
    struct error error = {{0}};
    error_list_init(&errors);
    struct snapshot *snapshot = snapshot_load(overrides, &errors);
    tell(&errors);
    error_list_clear(&errors);
    if (snapshot == NULL)
        return COMMAND_FAILED;
    const struct config *config = snapshot->config;
    if (!log_open(config->log_file, config->log_level, config->log_format, &error)) {
        log_error("Cannot start: %s", error.text);
        snapshot_unref(&snapshot);
        return COMMAND_FAILED;
    }
    return gateway_run(snapshot, overrides);
}

int command_run(int argc, char **argv)
{
    struct config_overrides overrides = {.path = NULL};
    const struct options_item items[] = {
        {"config", 'c', OPTIONS_TEXT, &overrides.path, "FILE", "the configuration"},
        {"listen", 'l', OPTIONS_TEXT, &overrides.listen, "ADDRESS", "host:port or unix:/path"},
        {"upstream", 'u', OPTIONS_TEXT, &overrides.upstream, "URL", "the API: http://host:port"},
        {"redis", 'r', OPTIONS_TEXT, &overrides.redis, "URL", "redis://host:6379"},
        {"workers", 'w', OPTIONS_TEXT, &overrides.workers, "N", "threads, or auto"},
        {"log-level", '\0', OPTIONS_TEXT, &overrides.log_level, "LEVEL",
         "debug, info, warn, error"},
        {.name = NULL}};
    const struct options options = {
        .command = "run",
        .usage = "[--config FILE] [--listen ADDRESS] [--upstream URL] [--redis URL]",
        .doc =
            "Runs the gateway. Without a file: config/gateway.yaml if it is there, else built-in\n"
            "defaults. SIGTERM drains, SIGHUP reloads, SIGUSR1 reopens log files.",
        .items = items};
    switch (options_parse(&options, argc, argv, NULL)) {
    case OPTIONS_HELPED:
        return COMMAND_OK;
    case OPTIONS_WRONG:
        return COMMAND_USAGE;
    case OPTIONS_PROCEED:
        break;
    }
    return run(&overrides);
}
