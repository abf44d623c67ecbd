/* SPDX-License-Identifier: MIT */
/*
 * builder.c - what the helper will be asked for, and the command line that says so
 *
 * Does:     copies what the parent names; turns it into argv.
 * Trusts:   the caller for the meaning of specs and options: the helper judges them and says what
 *           is wrong.
 * Owns:     all strings. Borrows the fds of a guest until sallyport_spawn() returns.
 * Not here: the report pipe and the search for the program (spawn.c).
 */
#include "config.h"

#include "sallyport.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "parent.h"

#define DEFAULT_HELPER "sallyport"

int sallyport__strv_push(SallyportStrv *strv, const char *item)
{
    char **items = realloc(strv->items, (strv->count + 2) * sizeof(*items));
    char *copy;

    if (items == NULL) {
        return -ENOMEM;
    }
    strv->items = items;
    copy = strdup(item);
    items[strv->count] = copy;
    if (copy == NULL) {
        return -ENOMEM;
    }
    items[++strv->count] = NULL;
    return 0;
}

void sallyport__strv_clear(SallyportStrv *strv)
{
    for (size_t i = 0; i < strv->count; i++) {
        free(strv->items[i]);
    }
    free(strv->items);
    *strv = (SallyportStrv){0};
}

SallyportBuilder *sallyport_builder_new(void)
{
    SallyportBuilder *builder = calloc(1, sizeof(*builder));

    if (builder == NULL) {
        return NULL;
    }
    builder->netns_fd = -1;
    builder->userns_fd = -1;
    builder->helper = strdup(DEFAULT_HELPER);
    if (builder->helper == NULL) {
        free(builder);
        return NULL;
    }
    return builder;
}

void sallyport_builder_free(SallyportBuilder *builder)
{
    if (builder == NULL) {
        return;
    }
    free(builder->helper);
    free(builder->netns);
    free(builder->userns);
    sallyport__strv_clear(&builder->command);
    sallyport__strv_clear(&builder->publish);
    sallyport__strv_clear(&builder->options);
    free(builder);
}

/* A builder has one guest; naming the same kind again replaces it, so that a builder can be used
 * for many. */
static bool other_guest(const SallyportBuilder *builder, SallyportGuest guest)
{
    return builder->guest != SALLYPORT__GUEST_NONE && builder->guest != guest;
}

int sallyport_builder_set_helper(SallyportBuilder *builder, const char *path)
{
    char *copy;

    if (path == NULL || *path == '\0') {
        return -EINVAL;
    }
    copy = strdup(path);
    if (copy == NULL) {
        return -ENOMEM;
    }
    free(builder->helper);
    builder->helper = copy;
    return 0;
}

int sallyport_builder_set_pid(SallyportBuilder *builder, pid_t pid)
{
    if (pid <= 0 || other_guest(builder, SALLYPORT__GUEST_PID)) {
        return -EINVAL;
    }
    builder->guest = SALLYPORT__GUEST_PID;
    builder->pid = pid;
    return 0;
}

int sallyport_builder_set_netns_path(SallyportBuilder *builder, const char *netns,
                                     const char *userns_or_null)
{
    char *netns_copy, *userns_copy = NULL;

    if (netns == NULL || *netns == '\0' || (userns_or_null != NULL && *userns_or_null == '\0') ||
        other_guest(builder, SALLYPORT__GUEST_NETNS_PATH)) {
        return -EINVAL;
    }
    netns_copy = strdup(netns);
    if (netns_copy == NULL) {
        return -ENOMEM;
    }
    if (userns_or_null != NULL) {
        userns_copy = strdup(userns_or_null);
        if (userns_copy == NULL) {
            free(netns_copy);
            return -ENOMEM;
        }
    }
    free(builder->netns);
    free(builder->userns);
    builder->guest = SALLYPORT__GUEST_NETNS_PATH;
    builder->netns = netns_copy;
    builder->userns = userns_copy;
    return 0;
}

int sallyport_builder_set_netns_fd(SallyportBuilder *builder, int netns_fd, int userns_fd)
{
    if (netns_fd < 0 || userns_fd < -1 || other_guest(builder, SALLYPORT__GUEST_NETNS_FD)) {
        return -EINVAL;
    }
    builder->guest = SALLYPORT__GUEST_NETNS_FD;
    builder->netns_fd = netns_fd;
    builder->userns_fd = userns_fd;
    return 0;
}

int sallyport_builder_set_command(SallyportBuilder *builder, const char *const *argv)
{
    SallyportStrv command = {0};

    if (argv == NULL || argv[0] == NULL || other_guest(builder, SALLYPORT__GUEST_COMMAND)) {
        return -EINVAL;
    }
    for (size_t i = 0; argv[i] != NULL; i++) {
        int r = sallyport__strv_push(&command, argv[i]);

        if (r < 0) {
            sallyport__strv_clear(&command);
            return r;
        }
    }
    sallyport__strv_clear(&builder->command);
    builder->guest = SALLYPORT__GUEST_COMMAND;
    builder->command = command;
    return 0;
}

int sallyport_builder_publish(SallyportBuilder *builder, const char *spec)
{
    if (spec == NULL || *spec == '\0') {
        return -EINVAL;
    }
    return sallyport__strv_push(&builder->publish, spec);
}

int sallyport_builder_option(SallyportBuilder *builder, const char *option)
{
    /* A bare word would be taken for the guest, "--" would end the options, and the report pipe and
     * the control socket are ours. */
    if (option == NULL || option[0] != '-' || option[1] == '\0' || strcmp(option, "--") == 0 ||
        strncmp(option, "--report-fd", strlen("--report-fd")) == 0 ||
        strncmp(option, "--control-fd", strlen("--control-fd")) == 0) {
        return -EINVAL;
    }
    return sallyport__strv_push(&builder->options, option);
}

int sallyport_builder_set_control(SallyportBuilder *builder, bool control)
{
    builder->control = control;
    return 0;
}

static int push_pair(SallyportStrv *argv, const char *option, const char *value)
{
    int r = sallyport__strv_push(argv, option);

    return r < 0 ? r : sallyport__strv_push(argv, value);
}

static int push_number(SallyportStrv *argv, const char *option_or_null, intmax_t number)
{
    char text[32];

    (void)snprintf(text, sizeof(text), "%jd", number);
    if (option_or_null == NULL) {
        return sallyport__strv_push(argv, text);
    }
    return push_pair(argv, option_or_null, text);
}

static int push_all(SallyportStrv *argv, const char *option_or_null, const SallyportStrv *values)
{
    int r = 0;

    for (size_t i = 0; i < values->count && r == 0; i++) {
        if (option_or_null != NULL) {
            r = push_pair(argv, option_or_null, values->items[i]);
        } else {
            r = sallyport__strv_push(argv, values->items[i]);
        }
    }
    return r;
}

static int push_guest_options(SallyportStrv *argv, const SallyportBuilder *builder)
{
    int r = 0;

    if (builder->guest == SALLYPORT__GUEST_NETNS_PATH) {
        r = push_pair(argv, "--netns", builder->netns);
        if (r == 0 && builder->userns != NULL) {
            r = push_pair(argv, "--userns", builder->userns);
        }
    } else if (builder->guest == SALLYPORT__GUEST_NETNS_FD) {
        r = push_number(argv, "--netns-fd", builder->netns_fd);
        if (r == 0 && builder->userns_fd >= 0) {
            r = push_number(argv, "--userns-fd", builder->userns_fd);
        }
    }
    return r;
}

static int push_guest_words(SallyportStrv *argv, const SallyportBuilder *builder)
{
    int r = 0;

    if (builder->guest == SALLYPORT__GUEST_PID) {
        r = push_number(argv, NULL, builder->pid);
    } else if (builder->guest == SALLYPORT__GUEST_COMMAND) {
        r = sallyport__strv_push(argv, "--");
        if (r == 0) {
            r = push_all(argv, NULL, &builder->command);
        }
    }
    return r;
}

int sallyport__builder_argv(const SallyportBuilder *builder, int report_fd, int control_fd,
                            SallyportStrv *ret)
{
    SallyportStrv argv = {0};
    int r;

    if (builder->guest == SALLYPORT__GUEST_NONE) {
        return -EINVAL;
    }
    /* Not the path: the helper speaks another command line if it is called by another name. */
    if ((r = sallyport__strv_push(&argv, DEFAULT_HELPER)) < 0 ||
        (r = push_number(&argv, "--report-fd", report_fd)) < 0 ||
        (control_fd >= 0 && (r = push_number(&argv, "--control-fd", control_fd)) < 0) ||
        (r = push_all(&argv, NULL, &builder->options)) < 0 ||
        (r = push_guest_options(&argv, builder)) < 0 ||
        (r = push_all(&argv, "-p", &builder->publish)) < 0 ||
        (r = push_guest_words(&argv, builder)) < 0) {
        sallyport__strv_clear(&argv);
        return r;
    }
    *ret = argv;
    return 0;
}
