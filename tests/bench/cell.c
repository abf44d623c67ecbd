/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * cell.c - what is done to a contender, and which figures come of it
 */
#include "config.h"

#include "cell.h"
#include "figures.h"
#include "say.h"
#include "usage.h"

#include <errno.h>
#include <fcntl.h>
#include <jansson.h>
#include <math.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#define PATIENCE_MS    30000  /* a client may take so much longer than its time ... */
#define PATIENCE_HELD  120000 /* ... or so much to open what is to be held */
#define SETTLE_MS      50     /* from one cell to the next */
#define SETTLE_IDLE_MS 500    /* before what has been idle is looked at */
#define GIB            (1024.0 * 1024 * 1024)

typedef struct Cell {
    CellGroup group;
    ContenderWay way;
    const char *traffic; /* the word for the program that makes it */
    unsigned streams;
    Figure figure;
    Figure cpu; /* FIGURES: not recorded */
} Cell;

static const Cell cells[] = {
    {CELL_STREAM, CONTENDER_OUT, "up", 1, FIGURE_OUT_1_UP, FIGURE_CPU_OUT_UP},
    {CELL_STREAM, CONTENDER_OUT, "down", 1, FIGURE_OUT_1_DOWN, FIGURE_CPU_OUT_DOWN},
    {CELL_STREAM, CONTENDER_OUT, "up", 4, FIGURE_OUT_4_UP, FIGURES},
    {CELL_STREAM, CONTENDER_OUT, "down", 4, FIGURE_OUT_4_DOWN, FIGURES},
    {CELL_STREAM, CONTENDER_LOOPBACK, "up", 1, FIGURE_LOOPBACK_UP, FIGURES},
    {CELL_STREAM, CONTENDER_LOOPBACK, "down", 1, FIGURE_LOOPBACK_DOWN, FIGURES},
    {CELL_STREAM, CONTENDER_IN, "up", 1, FIGURE_IN_UP, FIGURE_CPU_IN_UP},
    {CELL_STREAM, CONTENDER_IN, "down", 1, FIGURE_IN_DOWN, FIGURE_CPU_IN_DOWN},
    {CELL_REQUEST, CONTENDER_OUT, "request", 1, FIGURE_REQUEST_P50, FIGURES},
    {CELL_CONNECT, CONTENDER_OUT, "connect", 1, FIGURE_CONNECT, FIGURES},
    /* Before datagrams, after which libslirp looks at its UDP sockets twice a second for minutes. */
    {CELL_HELD, CONTENDER_OUT, "held", 1, FIGURE_RATE_HELD, FIGURES},
    {CELL_DATAGRAM, CONTENDER_OUT, "datagram", 1, FIGURE_DATAGRAM_OUT, FIGURES},
    {CELL_DATAGRAM, CONTENDER_IN, "datagram", 1, FIGURE_DATAGRAM_IN, FIGURES},
};
const unsigned cells_count = sizeof cells / sizeof cells[0];

unsigned cell_group(const char *name)
{
    static const char *const names[] = {"stream",   "request", "connect", "held",
                                        "datagram", "start",   "idle"};

    for (unsigned i = 0; i < sizeof names / sizeof names[0]; i++) {
        if (strcmp(names[i], name) == 0)
            return 1U << i;
    }
    return 0;
}

bool cell_wanted(unsigned cell, const CellSettings *settings, ContenderId id)
{
    return (settings->groups & cells[cell].group) != 0 &&
           (cells[cell].group != CELL_DATAGRAM || contenders[id].datagrams);
}

/* ---- the client ---- */

typedef struct Client {
    pid_t pid;
    int in;
    int out;
    const Cell *cell;
    ContenderId id;
} Client;

static Client client_start(const Cell *cell, const CellSettings *settings, ContenderId id)
{
    Client client = {.cell = cell, .id = id};
    char time[16], warm[16], streams[16], held[16], ports[16], port_text[16];
    const char *address;
    uint16_t port;
    const Place *place = contender_route(id, cell->way, &address, &port);
    const char *argv[] = {
        contender_traffic(), "run",   cell->traffic, "--time", time,      "--warm", warm,
        "--streams",         streams, "--held",      held,     "--ports", ports,    address,
        port_text,           NULL};
    int in[2], out[2];

    snprintf(time, sizeof time, "%u", settings->time_ms);
    snprintf(warm, sizeof warm, "%u", settings->warm_ms);
    snprintf(streams, sizeof streams, "%u", cell->streams);
    snprintf(held, sizeof held, "%u", settings->held);
    /* A port of many, so that addresses do not run out. */
    snprintf(ports, sizeof ports, "%d", cell->way == CONTENDER_OUT ? CONTENDER_FAR_PORTS : 1);
    snprintf(port_text, sizeof port_text, "%u", (unsigned)port);
    if (pipe2(in, O_CLOEXEC) < 0 || pipe2(out, O_CLOEXEC) < 0)
        say_die("pipe: %s", strerror(errno));
    client.pid = place_spawn(place, argv, in[0], out[1], 2, -1);
    close(in[0]);
    close(out[1]);
    client.in = in[1];
    client.out = out[0];
    return client;
}

/* The next line the client prints, or NULL. */
static json_t *client_line(const Client *client, const CellSettings *settings)
{
    unsigned patience = client->cell->group == CELL_HELD ? PATIENCE_HELD : PATIENCE_MS;
    uint64_t end = say_now() + (uint64_t)(settings->time_ms + patience) * 1000000U;
    struct pollfd pfd = {.fd = client->out, .events = POLLIN};
    char line[1024];
    size_t length = 0;

    while (length < sizeof line - 1) {
        uint64_t now = say_now();

        if (now >= end || poll(&pfd, 1, (int)((end - now) / 1000000U) + 1) != 1 ||
            read(client->out, line + length, 1) != 1)
            break;
        if (line[length++] == '\n') {
            line[length] = '\0';
            return json_loads(line, 0, NULL);
        }
    }
    say_note("%s: no result of %s", contenders[client->id].label,
             figure_texts[client->cell->figure].text);
    return NULL;
}

static void client_continue(const Client *client)
{
    (void)!write(client->in, "\n", 1);
}

static void client_end(const Client *client)
{
    close(client->in);
    close(client->out);
    place_kill(client->pid);
}

/* ---- measuring ---- */

static void store(const json_t *line, const char *key, double scale, Figure figure, ContenderId id,
                  unsigned round)
{
    const json_t *value = json_object_get(line, key);

    if (json_is_number(value))
        figures_set(figure, id, round, json_number_value(value) * scale);
}

/* Cells whose client prints one line. */
static void measure_once(const Cell *cell, const CellSettings *settings, ContenderId id,
                         unsigned round)
{
    const Contender *contender = &contenders[id];
    double before = contender->pid > 0 ? usage_cpu(contender->pid) : NAN;
    Client client = client_start(cell, settings, id);
    json_t *line = client_line(&client, settings);
    double used = contender->pid > 0 ? usage_cpu(contender->pid) - before : NAN;
    double total = json_number_value(json_object_get(line, "total"));

    client_end(&client);
    if (cell->group == CELL_REQUEST) {
        store(line, "p50_us", 1, FIGURE_REQUEST_P50, id, round);
        store(line, "p99_us", 1, FIGURE_REQUEST_P99, id, round);
    } else {
        store(line, "rate", cell->group == CELL_STREAM ? 8e-9 : 1, cell->figure, id, round);
    }
    if (cell->cpu != FIGURES && total > 0)
        figures_set(cell->cpu, id, round, used / (total / GIB));
    json_decref(line);
}

/* Takes one line of the client. Return: false if there was none */
static bool held_step(const Client *client, const CellSettings *settings, const char *key,
                      Figure figure, unsigned round)
{
    json_t *line = client_line(client, settings);
    bool came = line != NULL;

    if (figure != FIGURES)
        store(line, key, 1, figure, client->id, round);
    json_decref(line);
    return came;
}

static void measure_held(const Cell *cell, const CellSettings *settings, ContenderId id,
                         unsigned round)
{
    pid_t pid = contenders[id].pid;
    Client client = client_start(cell, settings, id);
    double memory, waits;

    if (!held_step(&client, settings, "one", FIGURE_RATE_ONE, round))
        goto end;
    memory = pid > 0 ? usage_private(pid) : NAN;
    client_continue(&client);
    if (!held_step(&client, settings, "held", FIGURES, round))
        goto end;
    if (pid > 0) {
        say_sleep_ms(SETTLE_IDLE_MS);
        figures_set(FIGURE_MEMORY_HELD, id, round, (usage_private(pid) - memory) / settings->held);
        waits = usage_waits(pid);
        say_sleep_ms(settings->idle_s * 1000);
        figures_set(FIGURE_WAKES_HELD, id, round, usage_waits(pid) - waits);
    }
    client_continue(&client);
    if (held_step(&client, settings, "many", FIGURE_RATE_HELD, round))
        figures_set(FIGURE_RATE_KEPT, id, round,
                    figures_value(FIGURE_RATE_HELD, id, round) /
                        figures_value(FIGURE_RATE_ONE, id, round));
end:
    client_end(&client);
}

void cell_measure(unsigned cell, const CellSettings *settings, ContenderId id, unsigned round)
{
    if (contenders[id].pid > 0 && kill(contenders[id].pid, 0) == 0 &&
        waitpid(contenders[id].pid, NULL, WNOHANG) != 0) {
        say_note("%s ended in round %u", contenders[id].label, round + 1);
        contenders[id].pid = 0;
    }
    if (contenders[id].helper && contenders[id].pid == 0)
        return;
    if (cells[cell].group == CELL_HELD)
        measure_held(&cells[cell], settings, id, round);
    else
        measure_once(&cells[cell], settings, id, round);
    say_sleep_ms(SETTLE_MS);
}

void cell_start(const CellSettings *settings, ContenderId id, unsigned round)
{
    double took;

    if ((settings->groups & CELL_START) == 0 || !contenders[id].starts)
        return;
    if (contender_start(id, false, &took)) {
        figures_set(FIGURE_START, id, round, took);
        contender_stop(id);
    } else {
        say_note("%s, its start in round %u: %s", contenders[id].label, round + 1,
                 contenders[id].left_out);
    }
}

void cell_idle(const CellSettings *settings, const bool chosen[CONTENDERS], unsigned round)
{
    double waits[CONTENDERS];

    if ((settings->groups & CELL_IDLE) == 0)
        return;
    say_sleep_ms(SETTLE_IDLE_MS);
    for (unsigned i = 0; i < CONTENDERS; i++) {
        if (chosen[i] && contenders[i].pid > 0) {
            figures_set(FIGURE_MEMORY_IDLE, i, round, usage_private(contenders[i].pid));
            waits[i] = usage_waits(contenders[i].pid);
        }
    }
    say_sleep_ms(settings->idle_s * 1000);
    for (unsigned i = 0; i < CONTENDERS; i++) {
        if (chosen[i] && contenders[i].pid > 0)
            figures_set(FIGURE_WAKES_IDLE, i, round, usage_waits(contenders[i].pid) - waits[i]);
    }
}
