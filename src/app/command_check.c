/* SPDX-License-Identifier: MIT */
/*
 * `check`: what config_load says about the configuration, for people or
 * machines, and with --online whether Redis and the upstream can be reached.
 */
#include <stdio.h>
#include <string.h>

#include "kamiyo/app/command.h"
#include "kamiyo/app/online.h"
#include "kamiyo/app/options.h"
#include "kamiyo/app/snapshot.h"
#include "kamiyo/base/mem.h"
#include "kamiyo/config/config_report.h"

/* `run` goes on without Redis; who asks whether the configuration is right wants to hear that it is
 * not. */
static void promote_redis_url(struct error_list *errors)
{
    for (size_t i = 0; i < errors->count; i++) {
        struct error_item *item = &errors->items[i];

        if (item->severity == ERROR_WARNING && strcmp(item->key, "redis.url") == 0) {
            item->severity = ERROR_FATAL;
            errors->total_warnings--;
            errors->total_errors++;
        }
    }
}

static const char *plural(size_t count)
{
    return count == 1 ? "" : "s";
}

static void print_errors(const struct error_list *errors, bool is_started)
{
    char *report = config_format_errors(errors);

    (void)fputs(report, stdout);
    mem_free(report);
    if (errors->total_errors > 0)
        printf("%zu error%s, %zu warning%s%s\n", errors->total_errors, plural(errors->total_errors),
               errors->total_warnings, plural(errors->total_warnings),
               is_started ? ": the gateway starts nevertheless"
                          : ": the gateway does not start with this");
}

static void
print_text(const struct config *config, const struct error_list *errors, const char *told)
{
    print_errors(errors, config != NULL);
    (void)fputs(told, stdout);
    if (errors->total_errors == 0 && config != NULL)
        printf("%s: fine, %zu warning%s; %zu listener%s, %zu tier%s, %zu route%s\n",
               config->path[0] != '\0' ? config->path : "built-in defaults", errors->total_warnings,
               plural(errors->total_warnings), config->listen_count, plural(config->listen_count),
               config->routes.tier_count, plural(config->routes.tier_count),
               config->routes.route_count, plural(config->routes.route_count));
}

static int check(const struct config_overrides *overrides, bool is_json, bool is_online)
{
    char told[ONLINE_MAX_TOLD] = "";
    struct error_list errors;
    struct snapshot *snapshot;
    int status;

    error_list_init(&errors);
    snapshot = snapshot_load(overrides, &errors); /* all of what run does before it listens */
    promote_redis_url(&errors);
    if (is_online && snapshot != NULL)
        online_check(snapshot->config, &errors, told);
    if (is_json) {
        char *report = config_format_errors_json(&errors);

        (void)fputs(report, stdout);
        mem_free(report);
    } else {
        print_text(snapshot != NULL ? snapshot->config : NULL, &errors, told);
    }
    status = errors.total_errors == 0 ? COMMAND_OK : COMMAND_FAILED;
    snapshot_unref(&snapshot);
    error_list_clear(&errors);
    return status;
}

int command_check(int argc, char **argv)
{
    struct config_overrides overrides = {.path = NULL};
    const char *format = "text";
    bool is_online = false;
    const struct options_item items[] = {
        {"config", 'c', OPTIONS_TEXT, &overrides.path, "FILE", "the configuration to check"},
        {"listen", 'l', OPTIONS_TEXT, &overrides.listen, "ADDRESS", "as of run"},
        {"upstream", 'u', OPTIONS_TEXT, &overrides.upstream, "URL", "as of run"},
        {"redis", 'r', OPTIONS_TEXT, &overrides.redis, "URL", "as of run"},
        {"workers", 'w', OPTIONS_TEXT, &overrides.workers, "N", "as of run"},
        {"log-level", '\0', OPTIONS_TEXT, &overrides.log_level, "LEVEL", "as of run"},
        {"format", 'f', OPTIONS_TEXT, &format, "text|json", "how to say it"},
        {"online", 'o', OPTIONS_SWITCH, &is_online, NULL, "also reach Redis and the upstream"},
        {.name = NULL}};
    const struct options options = {
        .command = "check",
        .usage = "[FILE] [--online] [--format text|json]",
        .doc = "Tells everything that is wrong with the configuration, and what is odd about it.\n"
               "Exits 0 when the gateway would start, 1 on errors, 2 when called wrongly.",
        .items = items,
        .max_words = 1};
    struct options_words words;
    enum options_result result = options_parse(&options, argc, argv, &words);

    if (result != OPTIONS_PROCEED)
        return result == OPTIONS_HELPED ? COMMAND_OK : COMMAND_USAGE;
    if (strcmp(format, "text") != 0 && strcmp(format, "json") != 0) {
        options_complain(&options, "--format is text or json, not \"%s\"", format);
        return COMMAND_USAGE;
    }
    if (words.count == 1)
        overrides.path = words.items[0];
    return check(&overrides, strcmp(format, "json") == 0, is_online);
}
