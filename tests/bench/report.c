/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * report.c - the figures of a run as a table for people and as JSON
 */
#include "config.h"

#include "figures.h"
#include "place.h"
#include "report.h"

#include <jansson.h>
#include <math.h>
#include <string.h>
#include <sys/utsname.h>
#include <unistd.h>

#define TEXT_WIDTH  34
#define VALUE_WIDTH 14
#define RATIO_WIDTH 20

ContenderId report_subject(const bool chosen[CONTENDERS])
{
    return chosen[CONTENDER_SALLYPORT] ? CONTENDER_SALLYPORT : CONTENDER_OFF;
}

static bool is_measured(Figure figure, const bool chosen[CONTENDERS])
{
    for (ContenderId c = 0; c < CONTENDERS; c++) {
        if (chosen[c] && figures_summary(figure, c).count > 0)
            return true;
    }
    return false;
}

/* A ratio of wake-ups says nothing: it should be 0. */
static bool is_compared(Figure figure)
{
    return figure != FIGURE_WAKES_HELD && figure != FIGURE_WAKES_IDLE && figure != FIGURE_RATE_KEPT;
}

/* ---- text ---- */

/* A value with about three digits that count. */
static const char *number(double value, char text[32])
{
    double size = fabs(value);

    if (!isfinite(value))
        strcpy(text, "-");
    else if (size >= 100 || value == rint(value))
        snprintf(text, 32, "%.0f", value);
    else
        snprintf(text, 32, "%.*f", size >= 10 ? 1 : size >= 0.1 ? 2 : 4, value);
    return text;
}

/* "median (quartile-quartile)" */
static void spread(Summary summary, char text[96])
{
    int places = summary.high >= 100 ? 0 : summary.high >= 10 ? 1 : 2;

    snprintf(text, 96, "%.*f (%.*f-%.*f)", places, summary.median, places, summary.low, places,
             summary.high);
}

static void text_head(FILE *file, const CellSettings *settings, const bool chosen[CONTENDERS])
{
    struct utsname name;

    (void)uname(&name);
    fprintf(file, "kernel %s %s, %ld cores, congestion control %s, TCP over IPv4, MTU 65520\n",
            name.release, name.machine, sysconf(_SC_NPROCESSORS_ONLN), place_congestion());
    fprintf(file,
            "rounds: %u; %g s for each cell after %g s of warming up; requests of 64 bytes,"
            " datagrams of 1200; %u connections held; wake-ups in %u s\n",
            figures_rounds(), settings->time_ms / 1e3, settings->warm_ms / 1e3, settings->held,
            settings->idle_s);
    for (unsigned c = 0; c < CONTENDERS; c++) {
        if (chosen[c] && contenders[c].version[0] != '\0')
            fprintf(file, "%s: %s\n", contenders[c].label, contenders[c].version);
    }
    for (unsigned c = 0; c < CONTENDERS; c++) {
        if (!chosen[c] && contenders[c].left_out[0] != '\0')
            fprintf(file, "left out: %s: %s\n", contenders[c].label, contenders[c].left_out);
    }
}

static void text_medians(FILE *file, const bool chosen[CONTENDERS])
{
    char text[32];

    fprintf(file, "\n%-*s %-6s", TEXT_WIDTH, "median", "");
    for (unsigned c = 0; c < CONTENDERS; c++) {
        if (chosen[c])
            fprintf(file, "%*s", VALUE_WIDTH, contenders[c].label);
    }
    fputc('\n', file);
    for (unsigned f = 0; f < FIGURES; f++) {
        if (!is_measured(f, chosen))
            continue;
        fprintf(file, "%-*s %-6s", TEXT_WIDTH, figure_texts[f].text, figure_texts[f].unit);
        for (unsigned c = 0; c < CONTENDERS; c++) {
            if (chosen[c])
                fprintf(file, "%*s", VALUE_WIDTH, number(figures_summary(f, c).median, text));
        }
        fputc('\n', file);
    }
}

static void text_ratios(FILE *file, const bool chosen[CONTENDERS])
{
    ContenderId subject = report_subject(chosen);

    if (!chosen[subject])
        return;
    fprintf(file, "\n%s by the same of:\n%-*s", contenders[subject].label, TEXT_WIDTH,
            "median (quartiles) of the ratios");
    for (unsigned c = 0; c < CONTENDERS; c++) {
        if (chosen[c] && c != subject)
            fprintf(file, "%*s", RATIO_WIDTH, contenders[c].label);
    }
    fputc('\n', file);
    for (unsigned f = 0; f < FIGURES; f++) {
        if (!is_compared(f) || figures_summary(f, subject).count == 0)
            continue;
        fprintf(file, "%-*s", TEXT_WIDTH, figure_texts[f].text);
        for (unsigned c = 0; c < CONTENDERS; c++) {
            Summary ratio = figures_ratio(f, subject, c);
            char cell[96] = "-";

            if (!chosen[c] || c == subject)
                continue;
            if (ratio.count > 0)
                spread(ratio, cell);
            fprintf(file, "%*s", RATIO_WIDTH, cell);
        }
        fputc('\n', file);
    }
}

static const char *against_text(const Bound *bound)
{
    if (bound->own)
        return "";
    return bound->against == FIGURES_LOWER_PEER ? "faster peer" : contenders[bound->against].label;
}

static void text_bounds(FILE *file, const bool chosen[CONTENDERS])
{
    unsigned held = 0, judged = 0;

    if (!chosen[CONTENDER_SALLYPORT]) {
        fputs("\nThe bounds are those of the fast path, which was left out: not judged.\n", file);
        return;
    }
    fprintf(file, "\n%-*s %-12s %-14s %-22s\n", TEXT_WIDTH, "bound (worse quartile counts)",
            "against", "wanted", "median (quartiles)");
    for (unsigned i = 0; i < figure_bounds_count; i++) {
        const Bound *bound = &figure_bounds[i];
        char wanted[32], cell[96];
        bool holds;
        Summary summary = figures_bound(bound, &holds);

        if (summary.count == 0)
            continue;
        judged++;
        held += holds;
        snprintf(wanted, sizeof wanted, "%s %g", bound->at_most ? "at most" : "at least",
                 bound->bound);
        spread(summary, cell);
        fprintf(file, "%-*s %-12s %-14s %-22s %s\n", TEXT_WIDTH, figure_texts[bound->figure].text,
                against_text(bound), wanted, cell, holds ? "holds" : "FALLS SHORT");
    }
    fprintf(file, "%u of %u bounds hold; %u were not measured\n", held, judged,
            figure_bounds_count - judged);
}

void report_text(FILE *file, const CellSettings *settings, const bool chosen[CONTENDERS])
{
    text_head(file, settings, chosen);
    text_medians(file, chosen);
    text_ratios(file, chosen);
    text_bounds(file, chosen);
    fflush(file);
}

/* ---- JSON ---- */

static json_t *json_summary(Summary summary)
{
    return json_pack("{s:i,s:f,s:f,s:f}", "count", (int)summary.count, "median", summary.median,
                     "low", summary.low, "high", summary.high);
}

static json_t *json_figure(Figure figure, const bool chosen[CONTENDERS])
{
    ContenderId subject = report_subject(chosen);
    json_t *of = json_object(), *ratios = json_object();

    for (ContenderId c = 0; c < CONTENDERS; c++) {
        Summary summary = figures_summary(figure, c);
        Summary ratio = figures_ratio(figure, subject, c);
        json_t *values = json_array(), *body;

        for (unsigned r = 0; r < figures_rounds(); r++) {
            double value = figures_value(figure, c, r);

            (void)json_array_append_new(values, isfinite(value) ? json_real(value) : json_null());
        }
        if (!chosen[c] || summary.count == 0) {
            json_decref(values);
            continue;
        }
        body = json_summary(summary);
        (void)json_object_set_new(body, "values", values);
        (void)json_object_set_new(of, contenders[c].label, body);
        if (c != subject && ratio.count > 0)
            (void)json_object_set_new(ratios, contenders[c].label, json_summary(ratio));
    }
    return json_pack("{s:s,s:s,s:s,s:o,s:o}", "name", figure_texts[figure].name, "text",
                     figure_texts[figure].text, "unit", figure_texts[figure].unit, "of", of,
                     "ratios", ratios);
}

static json_t *json_bounds(void)
{
    json_t *list = json_array();

    for (unsigned i = 0; i < figure_bounds_count; i++) {
        const Bound *bound = &figure_bounds[i];
        bool holds;
        Summary summary = figures_bound(bound, &holds);
        json_t *body;

        if (summary.count == 0)
            continue;
        body = json_summary(summary);
        (void)json_object_set_new(body, "figure", json_string(figure_texts[bound->figure].name));
        (void)json_object_set_new(body, "against", json_string(against_text(bound)));
        (void)json_object_set_new(body, bound->at_most ? "at_most" : "at_least",
                                  json_real(bound->bound));
        (void)json_object_set_new(body, "holds", json_boolean(holds));
        (void)json_array_append_new(list, body);
    }
    return list;
}

bool report_json(FILE *file, const CellSettings *settings, const bool chosen[CONTENDERS])
{
    struct utsname name;
    json_t *versions = json_object(), *left_out = json_object(), *list = json_array(), *all;
    bool done;

    (void)uname(&name);
    for (unsigned c = 0; c < CONTENDERS; c++) {
        if (chosen[c] && contenders[c].version[0] != '\0')
            (void)json_object_set_new(versions, contenders[c].label,
                                      json_string(contenders[c].version));
        if (!chosen[c] && contenders[c].left_out[0] != '\0')
            (void)json_object_set_new(left_out, contenders[c].label,
                                      json_string(contenders[c].left_out));
    }
    for (unsigned f = 0; f < FIGURES; f++) {
        if (is_measured(f, chosen))
            (void)json_array_append_new(list, json_figure(f, chosen));
    }
    all = json_pack(
        "{s:s,s:s,s:i,s:s,s:i,s:i,s:i,s:i,s:i,s:s,s:o,s:o,s:o,s:o}", "kernel", name.release,
        "machine", name.machine, "cores", (int)sysconf(_SC_NPROCESSORS_ONLN), "congestion_control",
        place_congestion(), "rounds", (int)figures_rounds(), "time_ms", (int)settings->time_ms,
        "warm_ms", (int)settings->warm_ms, "held", (int)settings->held, "idle_s",
        (int)settings->idle_s, "subject", contenders[report_subject(chosen)].label, "versions",
        versions, "left_out", left_out, "figures", list, "bounds", json_bounds());
    done = all != NULL && json_dumpf(all, file, JSON_INDENT(2) | JSON_REAL_PRECISION(6)) == 0 &&
           fputc('\n', file) != EOF && fflush(file) == 0;
    json_decref(all);
    return done;
}
