/* SPDX-License-Identifier: GPL-2.0-or-later
 *
 * ctl_top.c - flows by rate, again and again
 *
 * Does:     lists, subtracts, draws; looks for q between two screens. Without a terminal at stdout each screen is plain text with an
 *           empty line behind it.
 * Terminal: no echo and no lines while it runs, and no Ctrl-Z, which would leave it so. Put back at the end, also by the handler
 *           of every signal that asks for the end; tcsetattr(3) may be called there (signal-safety(7)).
 * Not here: rates (ctl_rates.c), columns (ctl_table.c).
 */
#include "config.h"

#include "control/ctl_private.h"

#include <errno.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <termios.h>
#include <unistd.h>

#include "control/ctl_rates.h"
#include "control/ctl_table.h"

#define TOP_HOME  "\033[H"
#define TOP_CLEAR "\033[2J"
#define TOP_REST  "\033[J" /* from here to the end of the screen */
#define TOP_LINE  "\033[K" /* to the end of the line */
#define CTRL_D    4

/* For the handlers, which have no other way to know. */
static struct termios top_before;
static volatile sig_atomic_t top_changed;

static void top_restore(void)
{
    if (top_changed) {
        top_changed = 0;
        (void)tcsetattr(STDIN_FILENO, TCSANOW, &top_before);
    }
}

/* Ctrl-C is the way to end it, and no failure; any other signal shall be seen by whoever waits. */
static void top_on_signal(int number)
{
    top_restore();
    if (number == SIGINT) {
        _exit(0);
    }
    (void)signal(number, SIG_DFL);
    (void)raise(number);
}

static void top_prepare(void)
{
    static const int signals[] = {SIGINT, SIGTERM, SIGHUP, SIGQUIT};
    struct sigaction action = {.sa_handler = top_on_signal};
    struct termios raw;

    for (size_t i = 0; i < G_N_ELEMENTS(signals); i++) {
        (void)sigaction(signals[i], &action, NULL);
    }
    if (tcgetattr(STDIN_FILENO, &top_before) != 0) {
        return; /* no terminal */
    }
    raw = top_before;
    raw.c_lflag &= ~(tcflag_t)(ICANON | ECHO);
    raw.c_cc[VMIN] = 1;
    raw.c_cc[VTIME] = 0;
    raw.c_cc[VSUSP] = _POSIX_VDISABLE;
    top_changed = 1;
    (void)tcsetattr(STDIN_FILENO, TCSANOW, &raw);
}

static int top_take_flow(const SallyportFlow *flow, void *user_data)
{
    ctl_listing_add(user_data, flow);
    return 0;
}

static int top_list(Ctl *ctl, CtlListing **ret)
{
    g_autoptr(CtlListing) listing = ctl_listing_new(g_get_monotonic_time());
    int r = sallyport_control_each_flow(ctl->control, ctl->timeout_ms, top_take_flow, listing);

    if (r == 0) {
        *ret = g_steal_pointer(&listing);
    }
    return r;
}

static char *top_rate(uint64_t rate)
{
    char text[CTL_BYTES_STRLEN];

    return g_strdup_printf("%s/s", ctl_format_bytes(rate, text));
}

static char *top_table(const CtlListing *listing, size_t columns, size_t rows)
{
    static const char *const titles[] = {">IN",   ">OUT",       ">TOTAL-IN", ">TOTAL-OUT",
                                         ">AGE",  "PATH",       "PROTOCOL",  "STATE",
                                         "GUEST", "GUEST-PEER", NULL};
    g_autoptr(CtlTable) table = ctl_table_new(titles);

    for (size_t i = 0; i < ctl_listing_count(listing); i++) {
        const CtlFlow *flow = ctl_listing_at(listing, i);
        char in[CTL_BYTES_STRLEN], out[CTL_BYTES_STRLEN], age[CTL_AGE_STRLEN];
        g_autofree char *rate_in = top_rate(flow->rate_in);
        g_autofree char *rate_out = top_rate(flow->rate_out);
        const char *cells[] = {rate_in,
                               rate_out,
                               ctl_format_bytes(flow->flow.bytes_in, in),
                               ctl_format_bytes(flow->flow.bytes_out, out),
                               ctl_format_age(flow->flow.age_ms, age),
                               flow->flow.path,
                               flow->flow.protocol,
                               flow->flow.state,
                               flow->flow.guest_local,
                               flow->flow.guest_remote};

        if (rows > 0 && i + 1 >= rows) {
            break;
        }
        ctl_table_add(table, cells);
    }
    return ctl_table_text(table, columns, rows);
}

static bool top_is_screen(void)
{
    const char *term = getenv("TERM");

    return isatty(STDOUT_FILENO) && term != NULL && strcmp(term, "dumb") != 0;
}

/* Over what is there, line by line: clearing first would flicker. */
static void top_draw_screen(const char *header, const CtlListing *listing)
{
    struct winsize size = {0};
    g_autofree char *text = NULL;
    g_auto(GStrv) lines = NULL;

    (void)ioctl(STDOUT_FILENO, TIOCGWINSZ, &size); /* a terminal without a size: nothing is cut */
    /* Three lines are the header's, the empty one and that of the cursor. */
    text = top_table(listing, size.ws_col, size.ws_row > 5 ? size.ws_row - 3U : 0);
    lines = g_strsplit(text, "\n", -1);
    (void)printf(TOP_HOME "%.*s" TOP_LINE "\n" TOP_LINE "\n",
                 size.ws_col > 0 ? (int)size.ws_col : -1, header);
    for (size_t i = 0; lines[i] != NULL && *lines[i] != '\0'; i++) {
        (void)printf("%s" TOP_LINE "\n", lines[i]);
    }
    (void)fputs(TOP_REST, stdout);
}

static void top_draw(const CtlListing *listing)
{
    g_autofree char *header = NULL, *in = NULL, *out = NULL;
    size_t count = ctl_listing_count(listing);
    uint64_t rate_in, rate_out;

    ctl_listing_total(listing, &rate_in, &rate_out);
    in = top_rate(rate_in);
    out = top_rate(rate_out);
    header = g_strdup_printf("%zu flow%s, in %s, out %s", count, count == 1 ? "" : "s", in, out);
    if (top_is_screen()) {
        top_draw_screen(header, listing);
    } else {
        g_autofree char *text = top_table(listing, 0, 0);

        (void)printf("%s\n%s\n", header, text);
    }
    (void)fflush(stdout);
}

/* Waits for the next listing. False if the end was asked for. */
static bool top_wait(const Ctl *ctl, int64_t until_us)
{
    /* A script that says how often has nothing at stdin. */
    bool ignored = ctl->iterations > 0 && !isatty(STDIN_FILENO);
    struct pollfd in = {.fd = ignored ? -1 : STDIN_FILENO, .events = POLLIN};

    for (;;) {
        int64_t left_us = until_us - g_get_monotonic_time();
        int n = poll(&in, 1, left_us > 0 ? (int)((left_us + 999) / 1000) : 0);
        char key;

        if (n > 0) {
            if (read(STDIN_FILENO, &key, 1) != 1 || key == 'q' || key == 'Q' || key == CTRL_D) {
                return false;
            }
        } else if (n == 0 && left_us <= 0) {
            return true;
        }
    }
}

static int top_loop(Ctl *ctl)
{
    g_autoptr(CtlListing) before = NULL;
    int r = top_list(ctl, &before);

    if (r == 0 && top_is_screen()) {
        /* At once: without rates yet, but in their order. */
        ctl_listing_rate(before, before);
        (void)fputs(TOP_CLEAR, stdout);
        top_draw(before);
    }
    for (int shown = 0; r == 0 && (ctl->iterations == 0 || shown < ctl->iterations); shown++) {
        CtlListing *listing = NULL;

        /* From now on, not from the last one on: a slow helper is not asked without a pause. */
        if (!top_wait(ctl, g_get_monotonic_time() + ctl->interval_us)) {
            break;
        }
        r = top_list(ctl, &listing);
        if (r == 0) {
            ctl_listing_rate(listing, before);
            top_draw(listing);
            ctl_listing_free(before);
            before = listing;
        }
        if (r == 0 && ferror(stdout)) {
            r = ctl_complain("cannot write");
        }
    }
    return r;
}

int ctl_top(Ctl *ctl)
{
    int r;

    top_prepare();
    r = top_loop(ctl);
    top_restore();
    return r;
}
