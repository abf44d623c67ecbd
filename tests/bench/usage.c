/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * usage.c - what the processes of a helper cost
 */
#include "config.h"

#include "usage.h"

#include <dirent.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#define PROCESSES_MAX 64

/* Calls @visit with the id of each thread of @pid; adds up. */
static double each_thread(pid_t pid, double (*visit)(pid_t pid, long thread, void *argument),
                          void *argument)
{
    char path[64];
    struct dirent *entry;
    double sum = 0;
    DIR *tasks;

    snprintf(path, sizeof path, "/proc/%d/task", (int)pid);
    tasks = opendir(path);
    if (tasks == NULL)
        return NAN;
    while ((entry = readdir(tasks)) != NULL) {
        if (entry->d_name[0] != '.')
            sum += visit(pid, strtol(entry->d_name, NULL, 10), argument);
    }
    closedir(tasks);
    return sum;
}

typedef struct Tree {
    pid_t pids[PROCESSES_MAX];
    size_t count;
} Tree;

static double add_children(pid_t pid, long thread, void *argument)
{
    Tree *tree = argument;
    char path[64];
    FILE *file;
    int child;

    snprintf(path, sizeof path, "/proc/%d/task/%ld/children", (int)pid, thread);
    file = fopen(path, "re");
    while (file != NULL && tree->count < PROCESSES_MAX && fscanf(file, "%d", &child) == 1)
        tree->pids[tree->count++] = child;
    if (file != NULL)
        fclose(file);
    return 0;
}

static double each_process(pid_t pid, double (*visit)(pid_t pid))
{
    Tree tree = {.pids = {pid}, .count = 1};
    double sum = 0;

    for (size_t i = 0; i < tree.count; i++) {
        (void)each_thread(tree.pids[i], add_children, &tree);
        sum += visit(tree.pids[i]);
    }
    return sum;
}

/* The sum of the numbers behind the @key of a file's lines. */
static double sum_lines(const char *path, const char *key)
{
    FILE *file = fopen(path, "re");
    char line[256];
    double sum = 0;
    int found = 0;

    if (file == NULL)
        return NAN;
    while (fgets(line, sizeof line, file) != NULL) {
        const char *colon = strchr(line, ':');

        if (colon != NULL && strncmp(line, key, strlen(key)) == 0) {
            sum += strtod(colon + 1, NULL);
            found++;
        }
    }
    fclose(file);
    return found > 0 ? sum : NAN;
}

static double process_cpu(pid_t pid)
{
    struct timespec used;
    clockid_t clock;

    if (clock_getcpuclockid(pid, &clock) != 0 || clock_gettime(clock, &used) < 0)
        return NAN;
    return (double)used.tv_sec + (double)used.tv_nsec / 1e9;
}

static double process_private(pid_t pid)
{
    char path[64];

    snprintf(path, sizeof path, "/proc/%d/smaps_rollup", (int)pid);
    return sum_lines(path, "Private_");
}

static double thread_waits(pid_t pid, long thread, void *argument)
{
    char path[64];

    (void)argument;
    snprintf(path, sizeof path, "/proc/%d/task/%ld/status", (int)pid, thread);
    return sum_lines(path, "voluntary_ctxt_switches");
}

static double process_waits(pid_t pid)
{
    return each_thread(pid, thread_waits, NULL);
}

double usage_cpu(pid_t pid)
{
    return each_process(pid, process_cpu);
}

double usage_private(pid_t pid)
{
    return each_process(pid, process_private);
}

double usage_waits(pid_t pid)
{
    return each_process(pid, process_waits);
}
