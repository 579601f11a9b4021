/* SPDX-License-Identifier: MIT */
/*
 * Keys that are almost a plain type, each with the one word or form that a
 * plain type lacks. Rows of config_schema name these functions.
 */
#include "kamiyo/config/config_read.h"

#include <strings.h>

#include "kamiyo/base/slice.h"
#include "kamiyo/config/config.h"

#define MAX_WORKERS 256
#define MAX_SHARE   1000

static struct slice text_of(const struct config_value *value)
{
    return slice_of(value->node->kind == YAML_SCALAR ? value->node->text : NULL);
}

void config_read_workers(const struct config_value *value, void *target)
{
    struct config *config = target;
    uint64_t number;

    if (slice_equal(text_of(value), SLICE("auto")))
        config->workers = 0;
    else if (slice_parse_u64(text_of(value), &number) && number >= 1 && number <= MAX_WORKERS)
        config->workers = (int)number;
    else
        config_value_refuse(value, "must be auto, or a whole number from 1 to %d", MAX_WORKERS);
}

void config_read_fallback_share(const struct config_value *value, void *target)
{
    struct config *config = target;
    struct slice text = text_of(value);
    uint64_t number = 0;

    if (slice_equal(text, SLICE("auto"))) {
        config->limiter.fallback_share = 0;
        return;
    }
    if (slice_starts_with(text, SLICE("1/")))
        text = (struct slice){text.data + 2, text.length - 2};
    else if (!slice_equal(text, SLICE("1")))
        text = slice_of(NULL);
    if (slice_parse_u64(text, &number) && number >= 1 && number <= MAX_SHARE)
        config->limiter.fallback_share = (int)number;
    else
        config_value_refuse(value, "must be 1, 1/n with n up to %d, or auto", MAX_SHARE);
}

void config_read_algorithms(const struct config_value *value, void *target)
{
    /* In the order of the bits of enum jwt_algorithm. */
    static const char *const names[] = {"HS256", "HS384", "HS512", "RS256", "ES256", "EdDSA", NULL};
    struct config *config = target;
    struct config_elements elements;
    unsigned algorithms = 0;

    config_value_elements(value, &elements);
    for (size_t i = 0; i < elements.count; i++) {
        char key[CONFIG_VALUE_KEY_SIZE];
        struct config_value item = config_value_element(value, &elements, i, key);
        int index;

        if (config_value_choice(&item, names, &index))
            algorithms |= 1u << (unsigned)index;
    }
    if (elements.count == 0 && value->node->kind != YAML_BROKEN)
        config_value_refuse(
            value, "must name at least one of HS256, HS384, HS512, RS256, ES256 and EdDSA");
    config_value_elements_clear(&elements);
    config->identity.jwt.algorithms = algorithms;
}

/* LOG_LEVEL is shared with programs that write INFO or WARNING, so case does not count and both
 * words do. */
void config_read_log_level(const struct config_value *value, void *target)
{
    static const char *const names[] = {"debug", "info", "warn", "error", NULL};
    struct config *config = target;
    int level;

    if (value->node->kind == YAML_SCALAR) {
        if (strcasecmp(value->node->text, "warning") == 0) {
            config->log_level = LOG_LEVEL_WARNING;
            return;
        }
        for (level = 0; names[level] != NULL; level++) {
            if (strcasecmp(value->node->text, names[level]) == 0) {
                config->log_level = (enum log_level)level;
                return;
            }
        }
    }
    if (config_value_choice(value, names, &level))
        config->log_level = (enum log_level)level;
}

void config_read_denied(const struct config_value *value, void *target)
{
    static const char *const names[] = {"sample", "always", NULL};
    struct config *config = target;
    int index;

    if (config_value_choice(value, names, &index))
        config->access_log.denied_always = index == 1;
}
