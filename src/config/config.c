/* SPDX-License-Identifier: MIT */
/*
 * The end of a struct config: what the schema's rows fill, the schema's rows free.
 */
#include "kamiyo/config/config.h"

#include "kamiyo/base/mem.h"
#include "kamiyo/config/config_schema.h"

void config_destroy(struct config **config)
{
    if (*config == NULL)
        return;
    config_table_clear(&config_schema, *config);
    mem_free((*config)->path);
    mem_free(*config);
    *config = NULL;
}
