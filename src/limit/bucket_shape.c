/* SPDX-License-Identifier: MIT */
/*
 * The registry of policies that the bucket table's entries count in. There are a few dozen in a
 * configuration and some more while entries of an older one are still there, so a plain array is
 * searched. A shape without references stays until its place is wanted: an entry or a worker that
 * takes a reference always holds one already or comes through the lock.
 */
#include "kamiyo/limit/bucket_shape.h"

#include <assert.h>
#include <pthread.h>
#include <string.h>

#include "kamiyo/base/mem.h"
#include "kamiyo/limit/limit_policy.h"

#define SHAPE_COUNT 65536

struct bucket_shapes {
    pthread_mutex_t lock;
    size_t count; /* places ever used; under the lock */
    /* Places are filled once and then only reused, so readers of a shape they hold need no lock. */
    struct bucket_shape *_Atomic shapes[SHAPE_COUNT];
};

struct bucket_shapes *bucket_shapes_create(void)
{
    struct bucket_shapes *shapes = mem_alloc_zero(sizeof(*shapes));

    pthread_mutex_init(&shapes->lock, NULL);
    return shapes;
}

void bucket_shapes_destroy(struct bucket_shapes **shapes)
{
    if (*shapes == NULL)
        return;
    for (size_t i = 0; i < (*shapes)->count; i++)
        mem_free((*shapes)->shapes[i]);
    pthread_mutex_destroy(&(*shapes)->lock);
    mem_free(*shapes);
    *shapes = NULL;
}

bool bucket_shape_is(const struct bucket_shape *shape,
                     const struct limit_policy *policy,
                     int64_t share,
                     int64_t largest_cost)
{
    const struct limit_policy *own = &shape->base->policy;

    if (shape->share != share || (share != 1 && shape->largest_cost != largest_cost) ||
        own->window_count != policy->window_count)
        return false;
    for (size_t i = 0; i < policy->window_count; i++) {
        const struct limit_window *a = &own->windows[i];
        const struct limit_window *b = &policy->windows[i];

        if (a->limit != b->limit || a->burst != b->burst || a->period_ms != b->period_ms)
            return false;
    }
    return true;
}

/* The shape if it is there, else a place for it: one that nobody needs, or a new one. Lock held. */
static struct bucket_shape *find_place(struct bucket_shapes *shapes,
                                       const struct limit_policy *policy,
                                       int64_t share,
                                       int64_t largest_cost,
                                       bool *found)
{
    struct bucket_shape *spare = NULL;

    *found = true;
    for (size_t i = 0; i < shapes->count; i++) {
        struct bucket_shape *shape = shapes->shapes[i];

        if (bucket_shape_is(shape, policy, share, largest_cost))
            return shape;
        if (spare == NULL &&
            atomic_load_explicit(&shape->reference_count, memory_order_acquire) == 0)
            spare = shape;
    }
    *found = false;
    if (spare != NULL)
        return spare;
    /* Each is a policy of some configuration that still has entries: they cannot be so many. */
    assert(shapes->count < SHAPE_COUNT);
    spare = mem_alloc_zero_lines(sizeof(*spare));
    spare->index = (uint16_t)shapes->count;
    spare->base = spare;
    shapes->shapes[shapes->count++] = spare;
    return spare;
}

/* Lock held. The result has a reference more. */
static struct bucket_shape *find_or_fill(struct bucket_shapes *shapes,
                                         const struct limit_policy *policy,
                                         int64_t share,
                                         int64_t largest_cost)
{
    bool found;
    struct bucket_shape *shape = find_place(shapes, policy, share, largest_cost, &found);

    bucket_shape_ref(shape);
    if (found)
        return shape;
    if (shape->base != shape)
        bucket_shape_unref(shape->base);
    shape->base = shape;
    shape->policy = *policy;
    shape->share = share;
    shape->largest_cost = share == 1 ? 0 : largest_cost;
    if (share != 1) {
        limit_policy_share(policy, share, largest_cost, &shape->policy);
        shape->base = find_or_fill(shapes, policy, 1, 0);
    }
    return shape;
}

struct bucket_shape *bucket_shapes_ref(struct bucket_shapes *shapes,
                                       const struct limit_policy *policy,
                                       int64_t share,
                                       int64_t largest_cost)
{
    struct bucket_shape *shape;

    pthread_mutex_lock(&shapes->lock);
    shape = find_or_fill(shapes, policy, share, largest_cost);
    pthread_mutex_unlock(&shapes->lock);
    return shape;
}

void bucket_shape_ref(struct bucket_shape *shape)
{
    atomic_fetch_add_explicit(&shape->reference_count, 1, memory_order_relaxed);
}

void bucket_shape_unref(struct bucket_shape *shape)
{
    unsigned long before =
        atomic_fetch_sub_explicit(&shape->reference_count, 1, memory_order_release);

    assert(before > 0);
    (void)before;
}

struct bucket_shape *bucket_shapes_at(struct bucket_shapes *shapes, uint16_t index)
{
    return atomic_load_explicit(&shapes->shapes[index], memory_order_relaxed);
}
