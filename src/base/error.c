/* SPDX-License-Identifier: MIT */
/*
 * Failures as values: one sentence, or a list of everything that is wrong with
 * a file. Lists are bounded, so that a hostile file cannot fill the memory
 * with complaints; what is beyond the bound is only counted.
 */
#include "kamiyo/base/error.h"

#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include "kamiyo/base/mem.h"

enum {
    MAX_ITEMS = 200
};

void error_clear(struct error *error)
{
    error->text[0] = '\0';
}

void error_set(struct error *error, const char *format, ...)
{
    if (error == NULL)
        return;
    va_list args;
    va_start(args, format);
    (void)vsnprintf(error->text, sizeof(error->text), format,
                    args); /* cut is fine: it is for people */
    va_end(args);
}

void error_prefix(struct error *error, const char *format, ...)
{
    if (error == NULL)
        return;
    char prefix[sizeof(error->text)];
    va_list args;
    va_start(args, format);
    (void)vsnprintf(prefix, sizeof(prefix), format, args);
    va_end(args);
    size_t length = strlen(prefix);
    if (length + 3 > sizeof(prefix))
        length = sizeof(prefix) - 3;
    memcpy(prefix + length, ": ", 3);
    length += 2;
    size_t kept = strnlen(error->text, sizeof(error->text) - 1 - length);
    memmove(error->text + length, error->text, kept);
    error->text[length + kept] = '\0';
    memcpy(error->text, prefix, length);
}

void error_list_init(struct error_list *list)
{
    *list = (struct error_list){0};
}

void error_list_clear(struct error_list *list)
{
    for (size_t i = 0; i < list->count; i++) {
        mem_free(list->items[i].file);
        mem_free(list->items[i].key);
        mem_free(list->items[i].message);
    }
    mem_free(list->items);
    error_list_init(list);
}

void error_list_add(struct error_list *list,
                    enum error_severity severity,
                    const char *file,
                    struct error_place place,
                    const char *key,
                    const char *format,
                    ...)
{
    if (severity == ERROR_FATAL)
        list->total_errors++;
    else
        list->total_warnings++;
    if (list->count == MAX_ITEMS)
        return;

    char message[1024];
    va_list args;
    va_start(args, format);
    (void)vsnprintf(message, sizeof(message), format, args);
    va_end(args);

    list->items = mem_resize(list->items, (list->count + 1) * sizeof(list->items[0]));
    list->items[list->count++] = (struct error_item){
        .severity = severity,
        .place = place,
        .file = mem_copy_string(file != NULL ? file : ""),
        .key = mem_copy_string(key != NULL ? key : ""),
        .message = mem_copy_string(message),
    };
}
