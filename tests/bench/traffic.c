/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * traffic.c - the bench's traffic: both ends, one program
 *
 * usage: traffic serve FIRST-PORT COUNT
 *        traffic run up|down|request|connect|held|datagram [OPTION]... ADDRESS PORT
 *
 * serve answers until it is killed. run makes one kind of traffic, prints what it measured by its own clock (load.h says
 * what) and ends; exit status 1 if the traffic broke. What it costs the programs between the ends, the runner measures.
 */
#include "config.h"

#include "load.h"
#include "say.h"
#include "serve.h"

#include <arpa/inet.h>
#include <getopt.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

__attribute__((noreturn)) static void usage(void)
{
    say_die("usage: traffic serve FIRST-PORT COUNT\n"
            "       traffic run up|down|request|connect|held|datagram [--time MS] [--warm MS]\n"
            "           [--streams N] [--ports N] [--held N] ADDRESS PORT");
}

static void run(const char *cell, const LoadPlan *plan)
{
    if (strcmp(cell, "up") == 0 || strcmp(cell, "down") == 0)
        load_stream(plan, strcmp(cell, "up") == 0);
    else if (strcmp(cell, "request") == 0)
        load_request(plan);
    else if (strcmp(cell, "connect") == 0)
        load_connect(plan);
    else if (strcmp(cell, "held") == 0)
        load_held(plan);
    else if (strcmp(cell, "datagram") == 0)
        load_datagram(plan);
    else
        usage();
}

int main(int argc, char **argv)
{
    static const struct option options[] = {
        {"time", required_argument, NULL, 't'},    {"warm", required_argument, NULL, 'w'},
        {"streams", required_argument, NULL, 's'}, {"ports", required_argument, NULL, 'p'},
        {"held", required_argument, NULL, 'h'},    {0},
    };
    LoadPlan plan = {.ports = 1, .time_ms = 1000, .warm_ms = 200, .streams = 1};
    int option;

    say_program = "traffic";
    while ((option = getopt_long(argc, argv, "", options, NULL)) != -1) {
        if (option == 't')
            plan.time_ms = (unsigned)say_number("--time", optarg, 1, 600000);
        else if (option == 'w')
            plan.warm_ms = (unsigned)say_number("--warm", optarg, 0, 60000);
        else if (option == 's')
            plan.streams = (unsigned)say_number("--streams", optarg, 1, 64);
        else if (option == 'p')
            plan.ports = (unsigned)say_number("--ports", optarg, 1, 1000);
        else if (option == 'h')
            plan.held = (unsigned)say_number("--held", optarg, 0, 100000);
        else
            usage();
    }
    argc -= optind;
    argv += optind;
    if (argc == 3 && strcmp(argv[0], "serve") == 0)
        serve((uint16_t)say_number("port", argv[1], 1, 65535),
              (unsigned)say_number("count", argv[2], 1, 1000));
    if (argc != 4 || strcmp(argv[0], "run") != 0)
        usage();
    plan.server.sin_family = AF_INET;
    plan.server.sin_port = htons((uint16_t)say_number("port", argv[3], 1, 65535));
    if (inet_pton(AF_INET, argv[2], &plan.server.sin_addr) != 1)
        say_die("'%s' is no IPv4 address", argv[2]);
    run(argv[1], &plan);
    return 0;
}
