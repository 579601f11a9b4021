/* SPDX-License-Identifier: MIT */
/*
 * First match in file order, without looking at every route. A request's path
 * yields three kinds of lists of route numbers, each ascending: that of the
 * exact path, those of its prefixes, and that of the routes without a path.
 * `best` is the smallest number so far whose other conditions hold; a list is
 * read only up to it.
 *
 * Paths are compared after one percent-decoding (contract section 3). A route
 * that exempts is stricter: the raw path must be plain, because an upstream
 * may resolve "%2e", "//" and ".." to another resource than the one named here.
 */
#include "kamiyo/route/route_matcher.h"

#include <assert.h>
#include <string.h>

#include "kamiyo/base/digits.h"
#include "kamiyo/base/mem.h"
#include "kamiyo/route/name_map.h"
#include "kamiyo/route/prefix_tree.h"

#define ANY_METHOD   0u
#define OTHER_METHOD (1u << 31)

struct header_rule {
    struct slice name;
    enum http_field_id id; /* HTTP_FIELD_OTHER: compare names */
};

/* What a route asks for but its path. Slices point into `texts`. */
struct rule {
    unsigned methods; /* bits of method_names; OTHER_METHOD = those in other_methods too */
    bool is_exempt;
    struct slice *other_methods;
    size_t other_method_count;
    struct slice *hosts;
    size_t host_count;
    struct header_rule *headers;
    size_t header_count;
};

struct route_matcher {
    size_t count;
    struct rule *rules;
    struct name_map exact; /* path -> index in exact_lists */
    struct route_numbers *exact_lists;
    size_t exact_count;
    struct prefix_node prefixes; /* the root's rules: "*", and routes without a path */
    char **texts;                /* owned copies of all strings */
    size_t text_count;
};

/* What is found out about a request at most once, when the first rule asks. */
struct subject {
    const struct http_request_head *request;
    unsigned method; /* its bit, 0 = not looked up yet */
    enum {
        PLAIN_UNKNOWN,
        PLAIN_YES,
        PLAIN_NO
    } plain;
};

static const char *const method_names[] = {"GET",    "HEAD",    "POST",  "PUT",
                                           "DELETE", "OPTIONS", "PATCH", "TRACE"};

static unsigned method_bit(struct slice method)
{
    for (size_t i = 0; i < COUNT_OF(method_names); i++)
        if (slice_equal(method, slice_of(method_names[i])))
            return 1u << i;
    return OTHER_METHOD;
}

static struct slice keep_text(struct route_matcher *matcher, const char *text)
{
    char *copy = mem_copy_string(text);

    matcher->texts =
        mem_resize(matcher->texts, (matcher->text_count + 1) * sizeof(*matcher->texts));
    matcher->texts[matcher->text_count++] = copy;
    return slice_of(copy);
}

static void add_exact(struct route_matcher *matcher, struct slice path, uint32_t number)
{
    uint32_t index = name_map_add(&matcher->exact, path, (uint32_t)matcher->exact_count);

    if (index == matcher->exact_count) {
        matcher->exact_lists = mem_resize(matcher->exact_lists, (matcher->exact_count + 1) *
                                                                    sizeof(*matcher->exact_lists));
        matcher->exact_lists[matcher->exact_count++] = (struct route_numbers){.items = NULL};
    }
    route_numbers_add(&matcher->exact_lists[index], number);
}

static void
add_paths(struct route_matcher *matcher, const struct route_options *route, uint32_t number)
{
    if (route->path_count == 0)
        prefix_tree_add(&matcher->prefixes, SLICE(""), number);
    for (size_t i = 0; i < route->path_count; i++) {
        struct slice path = slice_of(route->paths[i]);

        if (path.length > ROUTE_MAX_PATH_BYTES)
            continue;
        path = keep_text(matcher, route->paths[i]);
        if (path.length > 0 && path.data[path.length - 1] == '*')
            prefix_tree_add(&matcher->prefixes, (struct slice){path.data, path.length - 1}, number);
        else
            add_exact(matcher, path, number);
    }
}

static void
add_rule(struct route_matcher *matcher, const struct route_options *route, struct rule *rule)
{
    rule->is_exempt = route->is_exempt;
    rule->other_methods = mem_alloc_zero((route->method_count + 1) * sizeof(struct slice));
    for (size_t i = 0; i < route->method_count; i++) {
        unsigned bit = method_bit(slice_of(route->methods[i]));

        rule->methods |= bit;
        if (bit == OTHER_METHOD)
            rule->other_methods[rule->other_method_count++] = keep_text(matcher, route->methods[i]);
    }
    rule->hosts = mem_alloc_zero((route->host_count + 1) * sizeof(struct slice));
    for (size_t i = 0; i < route->host_count; i++)
        rule->hosts[rule->host_count++] = keep_text(matcher, route->hosts[i]);
    rule->headers = mem_alloc_zero((route->header_count + 1) * sizeof(struct header_rule));
    for (size_t i = 0; i < route->header_count; i++) {
        struct slice name = keep_text(matcher, route->headers[i]);

        rule->headers[rule->header_count++] =
            (struct header_rule){.name = name, .id = http_field_id_of(name)};
    }
}

struct route_matcher *route_matcher_create(const struct route_options *routes, size_t count)
{
    struct route_matcher *matcher = mem_alloc_zero(sizeof(*matcher));

    assert(count < UINT32_MAX);
    matcher->count = count;
    matcher->rules = mem_alloc_zero((count + 1) * sizeof(*matcher->rules));
    name_map_init(&matcher->exact);
    prefix_tree_init(&matcher->prefixes);
    for (size_t i = 0; i < count; i++) {
        add_rule(matcher, &routes[i], &matcher->rules[i]);
        add_paths(matcher, &routes[i], (uint32_t)i);
    }
    return matcher;
}

void route_matcher_destroy(struct route_matcher **handle)
{
    struct route_matcher *matcher = *handle;

    if (matcher == NULL)
        return;
    *handle = NULL;
    for (size_t i = 0; i < matcher->count; i++) {
        mem_free(matcher->rules[i].other_methods);
        mem_free(matcher->rules[i].hosts);
        mem_free(matcher->rules[i].headers);
    }
    mem_free(matcher->rules);
    for (size_t i = 0; i < matcher->exact_count; i++)
        route_numbers_clear(&matcher->exact_lists[i]);
    mem_free(matcher->exact_lists);
    name_map_clear(&matcher->exact);
    prefix_tree_clear(&matcher->prefixes);
    for (size_t i = 0; i < matcher->text_count; i++)
        mem_free(matcher->texts[i]);
    mem_free(matcher->texts);
    mem_free(matcher);
}

/* No "%", no "//", no segment "." or "..". */
static bool is_plain_path(struct slice path)
{
    for (size_t i = 0; i < path.length; i++) {
        size_t end = i + 1;

        if (path.data[i] == '%')
            return false;
        if (path.data[i] != '/')
            continue;
        while (end < path.length && end - i <= 3 && path.data[end] != '/')
            end++;
        if (end == i + 1 ? end < path.length
                         : end - i <= 3 && path.data[i + 1] == '.' && path.data[end - 1] == '.')
            return false;
    }
    return true;
}

static bool has_method(const struct rule *rule, struct subject *subject)
{
    if (subject->method == 0)
        subject->method = method_bit(subject->request->method);
    if ((rule->methods & subject->method) == 0)
        return false;
    if (subject->method != OTHER_METHOD)
        return true;
    for (size_t i = 0; i < rule->other_method_count; i++)
        if (slice_equal(rule->other_methods[i], subject->request->method))
            return true;
    return false;
}

/* Without port and without the dot of a fully qualified name, both of which name the same host. */
static struct slice bare_host(struct slice host)
{
    size_t colon = host.length;

    while (colon > 0 && host.data[colon - 1] != ':' && host.data[colon - 1] != ']')
        colon--;
    if (colon > 0 && host.data[colon - 1] == ':')
        host.length = colon - 1;
    if (host.length > 1 && host.data[host.length - 1] == '.')
        host.length--;
    return host;
}

static bool has_host(const struct rule *rule, const struct http_request_head *request)
{
    struct slice bare = bare_host(request->host);

    for (size_t i = 0; i < rule->host_count; i++)
        if (slice_equal_ignore_case(rule->hosts[i], bare) ||
            slice_equal_ignore_case(rule->hosts[i], request->host))
            return true;
    return false;
}

static bool has_headers(const struct rule *rule, const struct http_head *head)
{
    for (size_t i = 0; i < rule->header_count; i++) {
        const struct header_rule *header = &rule->headers[i];

        if (header->id != HTTP_FIELD_OTHER ? head->first[header->id] < 0
                                           : http_head_find_name(head, header->name) == NULL)
            return false;
    }
    return true;
}

static bool rule_matches(const struct rule *rule, struct subject *subject)
{
    if (rule->methods != ANY_METHOD && !has_method(rule, subject))
        return false;
    if (rule->host_count > 0 && !has_host(rule, subject->request))
        return false;
    if (rule->header_count > 0 && !has_headers(rule, &subject->request->head))
        return false;
    if (!rule->is_exempt)
        return true;
    if (subject->plain == PLAIN_UNKNOWN)
        subject->plain = is_plain_path(subject->request->path) ? PLAIN_YES : PLAIN_NO;
    return subject->plain == PLAIN_YES;
}

/* The first number in `list` below `best` whose rule matches, else `best`. */
static size_t first_in(const struct route_matcher *matcher,
                       const struct route_numbers *list,
                       struct subject *subject,
                       size_t best)
{
    for (size_t i = 0; i < list->count && list->items[i] < best; i++)
        if (rule_matches(&matcher->rules[list->items[i]], subject))
            return list->items[i];
    return best;
}

/* Decode once; what is no escape stays as it is. At most `capacity` bytes: no configured path is
 * that long. */
static struct slice decode(struct slice path, char *out, size_t capacity)
{
    size_t length = 0;

    for (size_t i = 0; i < path.length && length < capacity; i++) {
        bool may_escape = path.data[i] == '%' && i + 2 < path.length;
        int escaped = may_escape ? digits_hex_byte(path.data + i + 1) : -1;

        if (escaped >= 0) {
            out[length++] = (char)escaped;
            i += 2;
        } else {
            out[length++] = path.data[i];
        }
    }
    return (struct slice){out, length};
}

size_t route_matcher_find(const struct route_matcher *matcher,
                          const struct http_request_head *request)
{
    struct subject subject = {.request = request};
    const struct prefix_node *node = &matcher->prefixes;
    struct slice path = request->path.length > 0 ? request->path : SLICE("/"), rest;
    char decoded[ROUTE_MAX_PATH_BYTES + 1];
    size_t best = matcher->count;
    uint32_t list;

    if (slice_find(path, '%') < path.length)
        path = decode(path, decoded, sizeof(decoded));
    if (name_map_find(&matcher->exact, path, &list))
        best = first_in(matcher, &matcher->exact_lists[list], &subject, best);
    for (rest = path; node != NULL && node->least < best; node = prefix_tree_step(node, &rest))
        best = first_in(matcher, &node->rules, &subject, best);
    return best;
}
