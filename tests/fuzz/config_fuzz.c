/* SPDX-License-Identifier: MIT */
/*
 * Any bytes as a configuration file: parsed, expanded, loaded, judged and
 * reported. It must end, leak nothing, and refuse exactly when it says why.
 */
#include <fcntl.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "kamiyo/base/mem.h"
#include "kamiyo/config/config_load.h"
#include "kamiyo/config/config_report.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static const char *environment(const char *name)
{
    if (strcmp(name, "LIST") == 0)
        return "a,b, 10.0.0.0/8";
    return strcmp(name, "ONE") == 0 ? "1" : NULL;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct config_overrides overrides = {.path = NULL};
    struct error_list errors;
    struct config *config;
    char path[64];
    char *report;
    int fd = memfd_create("config", MFD_CLOEXEC);

    if (fd < 0 || write(fd, data, size) != (ssize_t)size)
        abort();
    (void)snprintf(path, sizeof(path), "/proc/self/fd/%d", fd);
    overrides.path = path;
    error_list_init(&errors);
    config = config_load(&overrides, environment, &errors);
    if ((config == NULL) != (errors.total_errors > 0))
        abort();
    report = config_format_errors(&errors);
    mem_free(report);
    report = config_format_errors_json(&errors);
    mem_free(report);
    config_destroy(&config);
    error_list_clear(&errors);
    (void)close(fd); /* it was memory only */
    return 0;
}
