/* SPDX-License-Identifier: MIT */
/*
 * Replays stored fuzzer inputs with any compiler: what libFuzzer does with
 * -runs=0, for builds that have no libFuzzer. Each argument is a file or a
 * directory of files; one that does not exist is passed over, because a fuzzer
 * may not have met a regression yet. The empty input always runs first.
 */
#include <dirent.h>
#include <errno.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

/* The copy has exactly the input's size, so that asan sees a read past its end. */
static bool replay_file(const char *path)
{
    FILE *file = fopen(path, "rb");
    struct stat info;
    uint8_t *data;
    size_t size;

    if (file == NULL || fstat(fileno(file), &info) != 0) {
        fprintf(stderr, "%s: %s\n", path, strerror(errno));
        if (file != NULL)
            (void)fclose(file); /* nothing was written to it */
        return false;
    }
    size = (size_t)info.st_size;
    data = malloc(size > 0 ? size : 1);
    if (data == NULL || fread(data, 1, size, file) != size) {
        fprintf(stderr, "%s: cannot be read\n", path);
        free(data);
        (void)fclose(file); /* nothing was written to it */
        return false;
    }
    (void)fclose(file);                       /* nothing was written to it */
    (void)LLVMFuzzerTestOneInput(data, size); /* its result only steers libFuzzer's corpus */
    free(data);
    return true;
}

static bool replay_path(const char *path, size_t *count)
{
    struct stat info;
    DIR *directory;
    const struct dirent *entry;
    bool ok = true;

    if (stat(path, &info) != 0)
        return errno == ENOENT;
    if (!S_ISDIR(info.st_mode)) {
        (*count)++;
        return replay_file(path);
    }
    directory = opendir(path);
    if (directory == NULL)
        return false;
    while ((entry = readdir(directory)) != NULL) {
        char child[4096];

        if (entry->d_name[0] == '.')
            continue;
        if (snprintf(child, sizeof(child), "%s/%s", path, entry->d_name) >= (int)sizeof(child))
            ok = false;
        else if (!replay_path(child, count))
            ok = false;
    }
    (void)closedir(directory); /* nothing depends on it */
    return ok;
}

int main(int argc, char **argv)
{
    size_t count = 1;
    bool ok = true;
    uint8_t nothing = 0;

    (void)LLVMFuzzerTestOneInput(&nothing, 0); /* its result only steers libFuzzer's corpus */
    for (int i = 1; i < argc; i++) {
        if (!replay_path(argv[i], &count))
            ok = false;
    }
    printf("replayed %zu inputs\n", count);
    return ok ? EXIT_SUCCESS : EXIT_FAILURE;
}
