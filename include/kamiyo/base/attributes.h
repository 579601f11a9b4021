/* SPDX-License-Identifier: MIT */
#pragma once

/*
 * Compiler attributes that the public headers use. One place, so that a
 * header reads as prose and a compiler without one of them loses only a check.
 */

/* The caller must look at the result. */
#define MUST_CHECK __attribute__((warn_unused_result))
/* Argument `format_index` is a printf format for the arguments from `first_index` on. */
#define PRINTF_LIKE(format_index, first_index) \
    __attribute__((format(printf, format_index, first_index)))
/* The function does not return. */
#define NO_RETURN __attribute__((noreturn))
/* Branch hints for the data path. */
#define LIKELY(condition)   __builtin_expect(!!(condition), 1)
#define UNLIKELY(condition) __builtin_expect(!!(condition), 0)
/* Inline also where the compiler thinks it long: with constant arguments little is left of it. */
#define ALWAYS_INLINE inline __attribute__((always_inline))
/* Number of elements of an array (not of a pointer). */
#define COUNT_OF(array) (sizeof(array) / sizeof((array)[0]))
/* The struct of type `type` whose member `member` is at `pointer`. */
#define CONTAINER_OF(pointer, type, member) \
    ((type *)(void *)((char *)(pointer)-offsetof(type, member)))
