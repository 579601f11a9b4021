/* SPDX-License-Identifier: MIT */
/*
 * Addresses in the configuration. A listener is an address and never a name: a
 * name that resolves elsewhere tomorrow must not move a port. An upstream may
 * be a name, which the upstream room looks up as it runs.
 */
#include "kamiyo/config/config_address.h"

#include <stdio.h>
#include <string.h>

#include "kamiyo/base/mem.h"
#include "kamiyo/config/config.h"
#include "kamiyo/config/config_table.h"
#include "kamiyo/identity/user_id.h"
#include "kamiyo/upstream/upstream_url.h"

static bool parse_unix(struct slice text, struct addr_endpoint *endpoint, struct error *error)
{
    struct slice path = {text.data + 5, text.length - 5};

    if (path.length == 0 || path.data[0] != '/') {
        error_set(error, "unix: needs an absolute path, as unix:/run/gateway.sock");
        return false;
    }
    if (path.length >= sizeof(endpoint->unix_path)) {
        error_set(error, "the path of a unix socket has at most %zu bytes",
                  sizeof(endpoint->unix_path) - 1);
        return false;
    }
    *endpoint = (struct addr_endpoint){.addr = {.family = ADDR_UNIX}};
    memcpy(endpoint->unix_path, path.data, path.length);
    return true;
}

/* Index of the colon before the port, or text.length: the last one, and not one inside brackets. */
static size_t find_port(struct slice text)
{
    for (size_t i = text.length; i > 0; i--) {
        if (text.data[i - 1] == ':')
            return i - 1;
        if (text.data[i - 1] == ']')
            break;
    }
    return text.length;
}

bool config_address_parse_endpoint(struct slice text,
                                   struct addr_endpoint *endpoint,
                                   struct error *error)
{
    struct addr_endpoint parsed = {.addr = {.family = ADDR_NONE}};
    size_t colon = find_port(text);
    struct slice host = {text.data, colon};
    uint64_t port;

    if (slice_starts_with(text, SLICE("unix:")))
        return parse_unix(text, endpoint, error);
    if (colon == text.length) {
        error_set(error, "the port is missing: host:port, [ipv6]:port or unix:/path");
        return false;
    }
    if (!slice_parse_u64((struct slice){text.data + colon + 1, text.length - colon - 1}, &port) ||
        port > 65535) {
        error_set(error, "the port must be a number from 0 to 65535");
        return false;
    }
    if (host.length >= 2 && host.data[0] == '[' && host.data[host.length - 1] == ']')
        host = (struct slice){host.data + 1, host.length - 2};
    else if (slice_find(host, ':') < host.length) {
        error_set(error, "an IPv6 address needs brackets, as [::1]:8080");
        return false;
    }
    if (host.length == 0 || slice_equal(host, SLICE("*")))
        host = SLICE("0.0.0.0");
    else if (slice_equal(host, SLICE("localhost")))
        host = SLICE("127.0.0.1");
    if (!addr_parse(host, &parsed.addr)) {
        error_set(
            error,
            "must be an IP address with a port, as 0.0.0.0:10000 or [::]:10000, or unix:/path");
        return false;
    }
    parsed.addr.port = (uint16_t)port;
    *endpoint = parsed;
    return true;
}

/* An item of `listen` that is a map. */
struct listen_item {
    char *address;
    bool proxy_protocol;
};

static const struct config_key listen_keys[] = {
    {.path = "address",
     .type = CONFIG_TEXT,
     .offset = offsetof(struct listen_item, address),
     .doc = "host:port, [ipv6]:port or unix:/path."},
    {.path = "proxy_protocol",
     .type = CONFIG_BOOL,
     .offset = offsetof(struct listen_item, proxy_protocol),
     .doc = "Whether each connection begins with a PROXY header."},
};
static const struct config_table listen_table = {listen_keys, COUNT_OF(listen_keys)};

static void read_listen_item(const struct config_value *value, struct config *config)
{
    struct listen_item item = {.address = NULL};
    struct config_listen listen = {.proxy_protocol = false};
    struct error error;

    if (value->node->kind == YAML_MAP) {
        config_table_store_map(&listen_table, value, &item);
        if (item.address == NULL && yaml_tree_find(value->node, "address") == NULL)
            config_value_refuse(value, "needs the key address");
    } else if (config_value_is_scalar(value, "host:port, [ipv6]:port or unix:/path")) {
        item.address = mem_copy_string(value->node->text);
    }
    if (item.address == NULL)
        return;
    if (!config_address_parse_endpoint(slice_of(item.address), &listen.endpoint, &error)) {
        config_value_refuse(value, "%s", error.text);
        config_table_clear(&listen_table, &item);
        return;
    }
    listen.proxy_protocol = item.proxy_protocol;
    listen.text = item.address;
    config->listen =
        mem_resize(config->listen, (config->listen_count + 1) * sizeof(*config->listen));
    config->listen[config->listen_count++] = listen;
}

/* Calls `read` for each element, with its key; an empty list is refused when `least` says what must
 * be there. */
static void read_each(const struct config_value *value,
                      struct config *config,
                      void (*read)(const struct config_value *, struct config *),
                      const char *least)
{
    struct config_elements elements;

    config_value_elements(value, &elements);
    for (size_t i = 0; i < elements.count; i++) {
        char key[CONFIG_VALUE_KEY_SIZE];
        struct config_value item = config_value_element(value, &elements, i, key);

        read(&item, config);
    }
    if (elements.count == 0 && least != NULL)
        config_value_refuse(value, "must be %s", least);
    config_value_elements_clear(&elements);
}

void config_address_read_listen(const struct config_value *value, void *target)
{
    config_address_clear_listen(target);
    read_each(value, target, read_listen_item, "at least one host:port, [ipv6]:port or unix:/path");
}

void config_address_clear_listen(void *target)
{
    struct config *config = target;

    for (size_t i = 0; i < config->listen_count; i++)
        mem_free(config->listen[i].text);
    mem_free(config->listen);
    config->listen = NULL;
    config->listen_count = 0;
}

/* upstream_url decides; what people write most is told in words that help. */
static bool check_upstream(struct slice text, struct error *error)
{
    struct slice rest = text;
    struct upstream_url url;
    bool is_unix = slice_starts_with(text, SLICE("unix:"));

    if (slice_starts_with(text, SLICE("http://")))
        rest = (struct slice){text.data + 7, text.length - 7};
    else if (slice_starts_with(text, SLICE("https://")))
        rest = (struct slice){text.data + 8, text.length - 8};
    if (!is_unix && memmem(rest.data, rest.length, "://", 3) != NULL) {
        error_set(error,
                  "must be http://host[:port], https://host[:port], unix:/path or host:port");
        return false;
    }
    if (!is_unix && slice_find(rest, '@') < rest.length) {
        error_set(error, "a user or password in the URL is not supported");
        return false;
    }
    if (!is_unix && rest.data != text.data && slice_find(rest, '/') + 1 < rest.length) {
        error_set(error, "a path after the host is not supported: targets go on as they came");
        return false;
    }
    return upstream_url_parse(text, &url, error);
}

static void read_upstream_item(const struct config_value *value, struct config *config)
{
    struct upstream_options *upstream = &config->upstream;
    struct config_value shown = *value;
    struct error error;

    if (!config_value_is_scalar(value,
                                "http://host[:port], https://host[:port], unix:/path or host:port"))
        return;
    if (!check_upstream(slice_of(value->node->text), &error)) {
        shown.is_secret = strchr(value->node->text, '@') != NULL; /* it may be a password */
        config_value_refuse(&shown, "%s", error.text);
        return;
    }
    upstream->urls = mem_resize(upstream->urls, (upstream->url_count + 1) * sizeof(char *));
    upstream->urls[upstream->url_count++] = mem_copy_string(value->node->text);
}

void config_address_read_upstream(const struct config_value *value, void *target)
{
    config_address_clear_upstream(target);
    read_each(value, target, read_upstream_item,
              "at least one of http://host[:port], https://host[:port], unix:/path or host:port");
}

void config_address_clear_upstream(void *target)
{
    struct config *config = target;

    config_value_free_texts(&config->upstream.urls, &config->upstream.url_count);
}

static void add_range(struct addr_range **ranges, size_t *count, const struct addr_range *range)
{
    *ranges = mem_resize(*ranges, (*count + 1) * sizeof(**ranges));
    (*ranges)[(*count)++] = *range;
}

/* "10.1.2.3/8" has bits after its prefix: the nearest that is a network. */
static bool suggest_network(struct slice text, char *out, size_t size)
{
    size_t slash = slice_find(text, '/');
    char address[ADDR_TEXT_SIZE];
    struct addr addr;
    uint64_t prefix;

    if (slash == text.length || !addr_parse((struct slice){text.data, slash}, &addr) ||
        !slice_parse_u64((struct slice){text.data + slash + 1, text.length - slash - 1}, &prefix) ||
        prefix > (addr.family == ADDR_IPV4 ? 32 : 128))
        return false;
    addr_mask(&addr, (unsigned)prefix);
    (void)addr_format(&addr, address);
    (void)snprintf(out, size, "%s/%u", address, (unsigned)prefix);
    return true;
}

static void
refuse_range(const struct config_value *value, const char *const *names, const char *allowed)
{
    char network[ADDR_TEXT_SIZE + 8];

    if (value->node->kind == YAML_SCALAR &&
        suggest_network(slice_of(value->node->text), network, sizeof(network)))
        config_value_refuse_hint(value, network, "has bits after its prefix");
    else
        config_value_refuse_name(value, names, "must be %s", allowed);
}

static void read_trusted_item(const struct config_value *value, struct config *config)
{
    static const char *const words[] = {"private", "loopback", NULL};
    static const char *const networks[][4] = {
        {"10.0.0.0/8", "172.16.0.0/12", "192.168.0.0/16", "fc00::/7"},
        {"127.0.0.0/8", "::1", NULL, NULL}};
    struct client_ip_options *options = &config->client_ip;
    struct slice text = slice_of(value->node->kind == YAML_SCALAR ? value->node->text : NULL);
    struct addr_range range;

    for (size_t i = 0; words[i] != NULL; i++) {
        if (!slice_equal(text, slice_of(words[i])))
            continue;
        for (size_t j = 0; j < COUNT_OF(networks[i]) && networks[i][j] != NULL; j++) {
            if (addr_range_parse(slice_of(networks[i][j]), &range))
                add_range(&options->trusted, &options->trusted_count, &range);
        }
        options->trust_unix = options->trust_unix || i == 1;
        return;
    }
    if (addr_range_parse(text, &range))
        add_range(&options->trusted, &options->trusted_count, &range);
    else
        refuse_range(value, words, "an address, a CIDR as 10.0.0.0/8, private or loopback");
}

void config_address_read_trusted(const struct config_value *value, void *target)
{
    config_address_clear_trusted(target);
    read_each(value, target, read_trusted_item, NULL);
}

void config_address_clear_trusted(void *target)
{
    struct config *config = target;

    mem_free(config->client_ip.trusted);
    config->client_ip.trusted = NULL;
    config->client_ip.trusted_count = 0;
    config->client_ip.trust_unix = false;
}

static void read_list_item(const struct config_value *value, struct route_list_options *list)
{
    struct slice text = slice_of(value->node->kind == YAML_SCALAR ? value->node->text : NULL);
    char user[USER_ID_MAX_BYTES];
    struct addr_range range;

    if (slice_starts_with(text, SLICE("user:"))) {
        text = (struct slice){text.data + 5, text.length - 5};
        if (text.length == 0) {
            config_value_refuse(value, "needs an id after user:");
            return;
        }
        list->users = mem_resize(list->users, (list->user_count + 1) * sizeof(char *));
        list->users[list->user_count++] =
            mem_copy_bytes(user, user_id_format(text, user)); /* as in bucket keys */
    } else if (addr_range_parse(text, &range)) {
        add_range(&list->ranges, &list->range_count, &range);
    } else {
        refuse_range(value, NULL, "an address, a CIDR as 10.0.0.0/8, or user:<id>");
    }
}

static void clear_list(struct route_list_options *list)
{
    config_value_free_texts(&list->users, &list->user_count);
    mem_free(list->ranges);
    list->ranges = NULL;
    list->range_count = 0;
}

static void read_allow_item(const struct config_value *value, struct config *config)
{
    read_list_item(value, &config->routes.allow);
}

static void read_deny_item(const struct config_value *value, struct config *config)
{
    read_list_item(value, &config->routes.deny);
}

void config_address_read_allow(const struct config_value *value, void *target)
{
    config_address_clear_allow(target);
    read_each(value, target, read_allow_item, NULL);
}

void config_address_clear_allow(void *target)
{
    clear_list(&((struct config *)target)->routes.allow);
}

void config_address_read_deny(const struct config_value *value, void *target)
{
    config_address_clear_deny(target);
    read_each(value, target, read_deny_item, NULL);
}

void config_address_clear_deny(void *target)
{
    clear_list(&((struct config *)target)->routes.deny);
}

void config_address_read_admin(const struct config_value *value, void *target)
{
    struct admin_options *admin = &((struct config *)target)->admin;
    struct error error;

    if (value->node->kind == YAML_SCALAR && value->node->text[0] == '\0') {
        *admin = (struct admin_options){.token = admin->token};
        return;
    }
    if (!config_value_is_scalar(value, "host:port, [ipv6]:port or unix:/path, or \"\" for none"))
        return;
    if (!config_address_parse_endpoint(slice_of(value->node->text), &admin->listen, &error)) {
        config_value_refuse(value, "%s", error.text);
        return;
    }
    admin->is_enabled = true;
    admin->is_default_address = strcmp(value->file, config_table_default_file) == 0;
}
