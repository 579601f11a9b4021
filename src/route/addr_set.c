/* SPDX-License-Identifier: MIT */
/*
 * Ranges become spans of numbers from first to last, sorted and merged, so
 * that membership is one binary search: the last span that does not begin
 * after the address either holds it, or none does.
 */
#include "kamiyo/route/addr_set.h"

#include <stdlib.h>

#include "kamiyo/base/mem.h"

static int compare(const uint64_t a[2], const uint64_t b[2])
{
    if (a[0] != b[0])
        return a[0] < b[0] ? -1 : 1;
    return a[1] < b[1] ? -1 : a[1] > b[1];
}

static int compare_spans(const void *a, const void *b)
{
    const struct addr_span *left = a, *right = b;

    return compare(left->first, right->first);
}

static uint64_t read_bytes(const uint8_t *bytes, size_t count)
{
    uint64_t value = 0;

    for (size_t i = 0; i < count; i++)
        value = value << 8 | bytes[i];
    return value;
}

static void read_addr(const struct addr *addr, uint64_t number[2])
{
    if (addr->family == ADDR_IPV4) {
        number[0] = 0;
        number[1] = read_bytes(addr->bytes, 4);
    } else {
        number[0] = read_bytes(addr->bytes, 8);
        number[1] = read_bytes(addr->bytes + 8, 8);
    }
}

/* The bits of a 64-bit half that lie behind the first `prefix` ones. */
static uint64_t host_bits(unsigned prefix)
{
    return prefix == 0 ? UINT64_MAX : prefix >= 64 ? 0 : UINT64_MAX >> prefix;
}

static void read_range(const struct addr_range *range, struct addr_span *span)
{
    unsigned prefix = range->prefix_length;
    uint64_t high = 0, low;

    read_addr(&range->base, span->first);
    if (range->base.family == ADDR_IPV4) {
        low = UINT32_MAX & host_bits(prefix + 32);
    } else {
        high = host_bits(prefix);
        low = prefix <= 64 ? UINT64_MAX : host_bits(prefix - 64);
    }
    span->first[0] &= ~high;
    span->first[1] &= ~low;
    span->last[0] = span->first[0] | high;
    span->last[1] = span->first[1] | low;
}

static void merge(struct addr_spans *spans)
{
    size_t kept = 0;

    if (spans->count == 0)
        return;
    qsort(spans->spans, spans->count, sizeof(*spans->spans), compare_spans);
    for (size_t i = 1; i < spans->count; i++) {
        struct addr_span *top = &spans->spans[kept];

        if (compare(spans->spans[i].first, top->last) > 0)
            spans->spans[++kept] = spans->spans[i];
        else if (compare(spans->spans[i].last, top->last) > 0)
            *top = (struct addr_span){{top->first[0], top->first[1]},
                                      {spans->spans[i].last[0], spans->spans[i].last[1]}};
    }
    spans->count = kept + 1;
}

void addr_set_init(struct addr_set *set, const struct addr_range *ranges, size_t count)
{
    *set = (struct addr_set){.ipv4 = {.count = 0}};
    for (size_t i = 0; i < count; i++) {
        set->ipv4.count += ranges[i].base.family == ADDR_IPV4;
        set->ipv6.count += ranges[i].base.family == ADDR_IPV6;
    }
    set->ipv4.spans = mem_alloc_zero((set->ipv4.count + 1) * sizeof(struct addr_span));
    set->ipv6.spans = mem_alloc_zero((set->ipv6.count + 1) * sizeof(struct addr_span));
    set->ipv4.count = set->ipv6.count = 0;
    for (size_t i = 0; i < count; i++) {
        if (ranges[i].base.family == ADDR_IPV4)
            read_range(&ranges[i], &set->ipv4.spans[set->ipv4.count++]);
        else if (ranges[i].base.family == ADDR_IPV6)
            read_range(&ranges[i], &set->ipv6.spans[set->ipv6.count++]);
    }
    merge(&set->ipv4);
    merge(&set->ipv6);
}

void addr_set_clear(struct addr_set *set)
{
    mem_free(set->ipv4.spans);
    mem_free(set->ipv6.spans);
    *set = (struct addr_set){.ipv4 = {.count = 0}};
}

bool addr_set_has(const struct addr_set *set, const struct addr *addr)
{
    const struct addr_spans *spans = addr->family == ADDR_IPV4 ? &set->ipv4 : &set->ipv6;
    size_t low = 0, high = spans->count;
    uint64_t number[2];

    if (spans->count == 0 || (addr->family != ADDR_IPV4 && addr->family != ADDR_IPV6))
        return false;
    read_addr(addr, number);
    while (low < high) {
        size_t middle = low + (high - low) / 2;

        if (compare(spans->spans[middle].first, number) <= 0)
            low = middle + 1;
        else
            high = middle;
    }
    return low > 0 && compare(number, spans->spans[low - 1].last) <= 0;
}
