/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * chart.c - the throughput cells as a chart, drawn by gnuplot
 *
 * One cluster of bars for each cell, one bar for each contender: the median, with its quartiles as a line.
 */
#include "config.h"

#include "figures.h"
#include "place.h"
#include "report.h"
#include "say.h"

#include <errno.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

static const char *const colours[CONTENDERS] = {
    [CONTENDER_SALLYPORT] = "#1b6ca8",   [CONTENDER_OFF] = "#8fbcd8",
    [CONTENDER_SLIRP4NETNS] = "#d9822b", [CONTENDER_PASTA] = "#5a9e4b",
    [CONTENDER_SPLICE] = "#8a8a8a",      [CONTENDER_DIRECT] = "#d4d4d4",
    [CONTENDER_INSECURE] = "#7a5195",    [CONTENDER_AGAIN] = "#b59cc9",
};

/* The last of two lines of a label starts behind its last comma. */
static void write_label(FILE *script, const char *text)
{
    const char *comma = strrchr(text, ',');

    if (comma == NULL)
        fprintf(script, "\"%s\"", text);
    else
        fprintf(script, "\"%.*s\\n%s\"", (int)(comma - text + 1), text, comma + 2);
}

static void write_script(FILE *script, const bool chosen[CONTENDERS])
{
    unsigned column = 2;

    fputs("set terminal svg size 1100,420 font 'sans-serif,12' background '#ffffff'\n"
          "set style data histograms\n"
          "set style histogram errorbars gap 1 linewidth 1\n"
          "set style fill solid noborder\n"
          "set ylabel 'Gbit/s (median and quartiles)'\n"
          "set yrange [0:*]\n"
          "set errorbars small linecolor rgb '#333333'\n"
          "set grid ytics back linetype 1 linecolor rgb '#dddddd'\n"
          "set xtics font ',10'\n"
          "set xrange [-0.6:7.6]\n"
          "set bmargin 3.5\n"
          "set border 3\n"
          "set tics nomirror\n"
          "set key outside top center horizontal maxrows 1\n"
          "$data << EOD\n",
          script);
    for (unsigned f = 0; f <= FIGURE_THROUGHPUT_LAST; f++) {
        write_label(script, figure_texts[f].text);
        for (unsigned c = 0; c < CONTENDERS; c++) {
            Summary summary = figures_summary(f, c);

            if (chosen[c] && summary.count > 0)
                fprintf(script, " %.4f %.4f %.4f", summary.median, summary.low, summary.high);
            else if (chosen[c])
                fputs(" ? ? ?", script);
        }
        fputc('\n', script);
    }
    fputs("EOD\nset datafile missing '?'\nplot", script);
    for (unsigned c = 0; c < CONTENDERS; c++) {
        if (!chosen[c])
            continue;
        fprintf(script, "%s $data using %u:%u:%u%s title '%s' linecolor rgb '%s'",
                column > 2 ? "," : "", column, column + 1, column + 2,
                column == 2 ? ":xtic(1)" : "", contenders[c].label, colours[c]);
        column += 3;
    }
    fputc('\n', script);
}

bool report_chart(FILE *file, const bool chosen[CONTENDERS])
{
    static const char *const argv[] = {"gnuplot", NULL};
    FILE *script = tmpfile();
    int status;
    pid_t pid;

    if (script == NULL) {
        say_note("gnuplot's script: %s", strerror(errno));
        return false;
    }
    write_script(script, chosen);
    fflush(script);
    rewind(script);
    pid = place_spawn(&place_host, argv, fileno(script), fileno(file), 2, -1);
    fclose(script);
    return waitpid(pid, &status, 0) == pid && status == 0;
}
