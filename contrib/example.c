/* SPDX-License-Identifier: MIT */
/*
 * example.c - a runtime in a hundred lines: give a sandbox a network, watch it, take it away
 *
 *     cc example.c $(pkg-config --cflags --libs sallyport) -o example
 *     unshare -rn sleep 60 & ./example $! 127.0.0.1:8080:80
 *
 * Runs a helper for a PID with one published port, waits until the network is there, prints what
 * the helper reports until the sandbox ends or Ctrl-C, and stops the helper.
 */
#define _POSIX_C_SOURCE 200809L

#include <sallyport.h>

#include <errno.h>
#include <inttypes.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>

#define READY_MS 10000
#define STOP_MS  5000

static volatile sig_atomic_t interrupted;

static void on_signal(int number)
{
    (void)number;
    interrupted = 1;
}

static Sallyport *start(const char *pid_text, const char *spec)
{
    char *end;
    long pid = strtol(pid_text, &end, 10);
    SallyportBuilder *builder = sallyport_builder_new();
    Sallyport *sp = NULL;
    int r;

    if (builder == NULL) {
        return NULL;
    }
    /* Setters only fail for arguments that make no sense. What is wrong with a spec or an option,
     * the helper itself says, in error records and on our stderr, which it inherits. */
    if ((r = *end == '\0' ? sallyport_builder_set_pid(builder, (pid_t)pid) : -EINVAL) < 0 ||
        (r = sallyport_builder_publish(builder, spec)) < 0 ||
        (r = sallyport_builder_option(builder, "--mtu=1500")) < 0 ||
        (r = sallyport_spawn(builder, &sp)) < 0) {
        fprintf(stderr, "example: cannot start sallyport: %s\n", strerror(-r));
    }
    sallyport_builder_free(builder);
    return sp;
}

/* The fields every record has are in the event; everything else is in its JSON. */
static void print_event(const SallyportEvent *event)
{
    if (strcmp(event->event, SALLYPORT_EVENT_PUBLISHED) == 0) {
        printf("published: %s\n", event->json);
    } else if (strcmp(event->event, SALLYPORT_EVENT_EXIT) == 0) {
        printf("ended: %s\n", event->reason != NULL ? event->reason : "?");
    } else {
        printf("%" PRId64 " %s: %s\n", event->seq, event->event,
               event->message != NULL ? event->message : event->json);
    }
}

/* Prints what is there already. 0 if more may come, -EPIPE after the last record. */
static int print_events(Sallyport *sp)
{
    SallyportEvent *event;
    int r;

    while ((r = sallyport_next_event(sp, 0, &event)) != 0) {
        if (r == 1) {
            print_event(event);
            sallyport_event_free(event);
        } else if (r != -EBADMSG) { /* a line that is no record is skipped */
            return r;
        }
    }
    return 0;
}

/* A runtime with a main loop of its own adds this fd to it. */
static void watch(Sallyport *sp)
{
    struct pollfd fd = {.fd = sallyport_fd(sp), .events = POLLIN};

    while (!interrupted && print_events(sp) == 0) {
        (void)poll(&fd, 1, 1000); /* a signal just after the check above waits a second */
    }
}

int main(int argc, char **argv)
{
    struct sigaction action = {.sa_handler = on_signal};
    int status = 0, r;
    Sallyport *sp;

    if (argc != 3) {
        fprintf(stderr, "usage: %s PID [ADDRESS:]PORT:PORT\n", argv[0]);
        return 2;
    }
    (void)sigaction(SIGINT, &action, NULL);
    (void)sigaction(SIGTERM, &action, NULL);

    sp = start(argv[1], argv[2]);
    if (sp == NULL) {
        return 1;
    }
    /* We want the ready record to be printed in its place: no third argument, so that it stays in
     * line. */
    r = sallyport_wait_ready(sp, READY_MS, NULL);
    if (r == 0) {
        watch(sp);
    } else {
        fprintf(stderr, "example: no network: %s\n", strerror(-r));
    }

    /* After this every port is free again; the last records are still to be read. */
    if (sallyport_stop(sp, STOP_MS, &status) == 0 && WIFSIGNALED(status)) {
        fprintf(stderr, "example: the helper was killed by signal %d\n", WTERMSIG(status));
    }
    (void)print_events(sp);
    sallyport_free(sp);
    return r == 0 ? 0 : 1;
}
