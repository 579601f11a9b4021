/* SPDX-License-Identifier: MIT */
/*
 * A list of errors as text for people and as JSON for machines. The source is
 * read again for its lines, so the list itself stays small; columns count
 * characters, as libyaml's do. A line may hold a secret beside the mistake, so
 * values of secret keys, and passwords in URLs, are painted over.
 */
#include "kamiyo/config/config_report.h"

#include <ctype.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "kamiyo/base/mem.h"
#include "kamiyo/base/text.h"

#define MAX_SHOWN      110 /* characters of a source line */
#define MAX_FILE_BYTES (1024 * 1024)
#define MAX_LINE       4096

/* One file, kept from one item of the list to the next. */
struct source {
    char *name;
    char *data;
    size_t length;
};

static void source_open(struct source *source, const char *name)
{
    FILE *file;

    if (source->name != NULL && strcmp(source->name, name) == 0)
        return;
    mem_free(source->name);
    mem_free(source->data);
    *source = (struct source){.name = mem_copy_string(name)};
    file = fopen(name, "rbe");
    if (file == NULL)
        return;
    source->data = mem_alloc(MAX_FILE_BYTES);
    source->length = fread(source->data, 1, MAX_FILE_BYTES, file);
    (void)fclose(file); /* nothing was written to it */
}

/* Line `number`, copied and terminated; false when there is none. */
static bool source_line(const struct source *source, int number, char out[MAX_LINE])
{
    struct slice rest = {source->data, source->length};
    struct slice line = {NULL, 0};

    while (number-- > 0) {
        if (!slice_cut(&rest, '\n', &line))
            return false;
    }
    if (line.length > 0 && line.data[line.length - 1] == '\r')
        line.length--;
    if (line.length >= MAX_LINE)
        line.length = MAX_LINE - 1;
    if (line.length > 0)
        memcpy(out, line.data, line.length);
    out[line.length] = '\0';
    return true;
}

static void paint(char *from, const char *to)
{
    for (; from < to; from++) {
        if (*from != ' ' && *from != '\t')
            *from = '*';
    }
}

/* The password of every user:password@host. */
static void paint_urls(char *line)
{
    char *at = line;

    while ((at = strstr(at, "://")) != NULL) {
        char *end;
        char *last;
        char *colon;

        at += 3;
        end = at + strcspn(at, " \t\"',]}");
        last = memrchr(at, '@', (size_t)(end - at));
        colon = last != NULL ? memchr(at, ':', (size_t)(last - at)) : NULL;
        if (colon != NULL)
            paint(colon + 1, last);
    }
}

static bool is_word_byte(char byte)
{
    return isalnum((unsigned char)byte) != 0 || byte == '_' || byte == '-';
}

/* The end of the value at `value`: of its quotes, its brackets, its place in { }, or the line. */
static char *find_value_end(const char *line, char *value)
{
    char closing = *value == '[' ? ']' : *value;
    char *end = NULL;

    if (closing == ']' || closing == '"' || closing == '\'')
        end = strchr(value + 1, closing);
    else if (memchr(line, '{', (size_t)(value - line)) != NULL)
        end = value + strcspn(value, ",}");
    return end != NULL ? end : value + strlen(value);
}

/* What follows `name:`. */
static void paint_key(char *line, const char *name)
{
    size_t length = strlen(name);
    char *at = line;

    while ((at = strstr(at, name)) != NULL) {
        char *value = at + length;
        char *end;
        bool is_whole = (at == line || !is_word_byte(at[-1])) && !is_word_byte(*value);

        at += length;
        value += strspn(value, "\"' \t");
        if (!is_whole || *value != ':')
            continue;
        value++;
        value += strspn(value, " \t");
        end = find_value_end(line, value);
        value += strspn(value, "\"'[");
        if (value < end)
            paint(value, end);
    }
}

static bool ends_with(const char *text, const char *end)
{
    size_t length = strlen(text);

    return length >= strlen(end) && strcmp(text + length - strlen(end), end) == 0;
}

/* Whether the item is about a secret, so that the whole value on its line is one. */
static bool is_secret_key(const char *key)
{
    return ends_with(key, "token") || ends_with(key, "sha256") ||
           strstr(key, "jwt.secrets") != NULL || ends_with(key, "redis.url");
}

static void hide_secrets(char *line, const struct error_item *item)
{
    static const char *const names[] = {"token", "secrets", "sha256"};
    size_t skip = strspn(line, " \t-");

    paint_urls(line);
    for (size_t i = 0; i < COUNT_OF(names); i++)
        paint_key(line, names[i]);
    if (is_secret_key(item->key) && item->place.column > 0 && strchr(line, ':') == NULL)
        paint(line + skip, line + strlen(line)); /* an item of a list, or the rest of a block */
    else if (is_secret_key(item->key))
        paint_key(line, "url");
}

/* The byte where character `index` (from 0) begins. */
static size_t byte_of(const char *line, size_t index)
{
    size_t at = 0;

    while (index > 0 && line[at] != '\0') {
        at++;
        while (((unsigned char)line[at] & 0xC0) == 0x80)
            at++;
        index--;
    }
    return at;
}

static size_t characters(const char *line)
{
    size_t count = 0;

    for (; *line != '\0'; line++)
        count += ((unsigned char)*line & 0xC0) != 0x80;
    return count;
}

/*
 *   12 |   tiemout: 50ms
 *      |   ^~~~~~~
 */
static void write_source(FILE *out, const struct error_item *item, char *line)
{
    size_t total = characters(line);
    size_t column = (size_t)item->place.column - 1 < total ? (size_t)item->place.column - 1 : total;
    size_t length = item->place.length > 0 ? (size_t)item->place.length : 1;
    size_t start = column > MAX_SHOWN - 40 ? column - (MAX_SHOWN - 40) : 0;
    size_t end = start + MAX_SHOWN < total ? start + MAX_SHOWN : total;
    const char *cut_before = start > 0 ? "..." : "";
    size_t from = byte_of(line, start);

    for (char *at = line; *at != '\0'; at++) {
        if ((unsigned char)*at < 0x20 || *at == 0x7f)
            *at = ' '; /* a tab is one column here, so that the caret stands below its character */
    }
    (void)fprintf(out, "%6d | %s%.*s%s\n", item->place.line, cut_before,
                  (int)(byte_of(line, end) - from), line + from, end < total ? "..." : "");
    (void)fprintf(out, "       | %*s^", (int)(strlen(cut_before) + column - start), "");
    for (size_t i = column + 1; i < column + length && i < end; i++)
        (void)fputc('~', out);
    (void)fputc('\n', out);
}

static void write_item(FILE *out, struct source *source, const struct error_item *item)
{
    char line[MAX_LINE];

    (void)fputs(item->file[0] != '\0' ? item->file : "configuration", out);
    if (item->place.line > 0)
        (void)fprintf(out, ":%d:%d", item->place.line, item->place.column);
    (void)fprintf(out, ": %s%s%s%s\n", item->severity == ERROR_WARNING ? "warning: " : "",
                  item->key, item->key[0] != '\0' ? ": " : "", item->message);
    if (item->place.line == 0)
        return;
    source_open(source, item->file);
    if (!source_line(source, item->place.line, line))
        return;
    hide_secrets(line, item);
    write_source(out, item, line);
}

/* The stream's text as memory of mem's; the stream is closed. */
static char *finish(FILE *out, char **data, const size_t *length)
{
    char *text;

    if (fclose(out) != 0)
        abort(); /* out of memory, as in mem_alloc */
    text = mem_copy_bytes(*data, *length);
    free(*data);
    return text;
}

char *config_format_errors(const struct error_list *errors)
{
    struct source source = {.name = NULL};
    char *data = NULL;
    size_t length = 0;
    size_t total = errors->total_errors + errors->total_warnings;
    FILE *out = open_memstream(&data, &length);

    if (out == NULL)
        abort(); /* out of memory, as in mem_alloc */
    for (size_t i = 0; i < errors->count; i++)
        write_item(out, &source, &errors->items[i]);
    if (total > errors->count)
        (void)fprintf(out, "and %zu more\n", total - errors->count);
    mem_free(source.name);
    mem_free(source.data);
    return finish(out, &data, &length);
}

static void write_json_text(FILE *out, const char *name, const char *value)
{
    size_t capacity = strlen(value) * 6 + 1; /* \u00XX for each byte at worst */
    char *escaped = mem_alloc(capacity);
    struct text text;

    text_init(&text, escaped, capacity);
    text_append_json(&text, slice_of(value));
    (void)fprintf(out, ", \"%s\": \"%.*s\"", name, (int)text.length, escaped);
    mem_free(escaped);
}

char *config_format_errors_json(const struct error_list *errors)
{
    char *data = NULL;
    size_t length = 0;
    FILE *out = open_memstream(&data, &length);

    if (out == NULL)
        abort(); /* out of memory, as in mem_alloc */
    (void)fprintf(out, "{\"ok\": %s, \"errors\": %zu, \"warnings\": %zu, \"items\": [",
                  errors->total_errors == 0 ? "true" : "false", errors->total_errors,
                  errors->total_warnings);
    for (size_t i = 0; i < errors->count; i++) {
        const struct error_item *item = &errors->items[i];

        (void)fprintf(out, "%s\n  {\"severity\": \"%s\"", i == 0 ? "" : ",",
                      item->severity == ERROR_WARNING ? "warning" : "error");
        write_json_text(out, "file", item->file);
        (void)fprintf(out, ", \"line\": %d, \"column\": %d, \"length\": %d", item->place.line,
                      item->place.column, item->place.length);
        write_json_text(out, "key", item->key);
        write_json_text(out, "message", item->message);
        (void)fputc('}', out);
    }
    (void)fputs(errors->count > 0 ? "\n]}\n" : "]}\n", out);
    return finish(out, &data, &length);
}
