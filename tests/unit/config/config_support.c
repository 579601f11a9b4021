/* SPDX-License-Identifier: MIT */
/* Files and environments for the tests of the configuration. */
#include "config/config_support.h"

#include <ftw.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cmocka.h>

static const struct config_support_variable *environment;

void config_support_set_environment(const struct config_support_variable *variables)
{
    environment = variables;
}

const char *config_support_getenv(const char *name)
{
    for (size_t i = 0; environment != NULL && environment[i].name != NULL; i++) {
        if (strcmp(environment[i].name, name) == 0)
            return environment[i].value;
    }
    return NULL;
}

void config_support_write(struct config_support *support, const char *name, const char *text)
{
    char path[160];
    FILE *file;

    (void)snprintf(path, sizeof(path), "%s/%s", support->directory, name);
    file = fopen(path, "wbe");
    assert_non_null(file);
    assert_int_equal(fwrite(text, 1, strlen(text), file), strlen(text));
    assert_int_equal(fclose(file), 0);
}

void config_support_init(struct config_support *support, const char *text)
{
    *support = (struct config_support){.directory = "/tmp/kamiyo-config-XXXXXX"};
    assert_non_null(mkdtemp(support->directory));
    (void)snprintf(support->path, sizeof(support->path), "%s/gateway.yaml", support->directory);
    error_list_init(&support->errors);
    if (text != NULL) {
        config_support_write(support, "gateway.yaml", text);
        support->overrides.path = support->path;
    }
}

void config_support_load(struct config_support *support)
{
    config_destroy(&support->config);
    error_list_clear(&support->errors);
    support->config = config_load(&support->overrides, config_support_getenv, &support->errors);
}

static int remove_one(const char *path, const struct stat *status, int kind, struct FTW *place)
{
    (void)status;
    (void)kind;
    (void)place;
    return remove(path);
}

void config_support_clear(struct config_support *support)
{
    config_destroy(&support->config);
    error_list_clear(&support->errors);
    assert_int_equal(nftw(support->directory, remove_one, 4, FTW_DEPTH | FTW_PHYS), 0);
    environment = NULL;
}

const struct error_item *config_support_find(
    const struct config_support *support, int line, int column, const char *key, const char *part)
{
    for (size_t i = 0; i < support->errors.count; i++) {
        const struct error_item *item = &support->errors.items[i];

        if (item->place.line == line && (line == 0 || item->place.column == column) &&
            strcmp(item->key, key) == 0 && strstr(item->message, part) != NULL)
            return item;
    }
    return NULL;
}

void config_support_show(const struct config_support *support)
{
    for (size_t i = 0; i < support->errors.count; i++) {
        const struct error_item *item = &support->errors.items[i];

        (void)fprintf(stderr, "%s:%d:%d: %s%s: %s\n", item->file, item->place.line,
                      item->place.column, item->severity == ERROR_WARNING ? "warning: " : "",
                      item->key, item->message);
    }
}
