/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * run.c - the bench: sallyport next to others, measured in one run, in alternating rounds
 *
 * Does:     builds a lab of namespaces (place.h), starts every contender (contender.h) for a guest of its own, and does each
 *           cell (cell.h) to one contender after the other, in an order that changes from round to round, so that what is
 *           compared was measured within seconds. Then medians, and quartiles of the ratios within each round.
 * Runs in:  three processes. The front opens the files, watches, and clears up what the lab may have left. The lab is an
 *           ordinary user - uid 1000 if the front is root - and root of a user namespace of its own. Its children are the
 *           contenders and the traffic; contenders run as an ordinary user without a capability, below private mounts.
 * Machine:  as root the front makes cubic the congestion control of the machine's initial network namespace for the moment
 *           it takes to write the old one back. A congestion control that has been a default may be chosen by anybody, and
 *           the lab chooses it for its namespaces; as an ordinary user that works where it is allowed. The report says
 *           what was in force. (BBR would measure its own pacing.)
 * Output:   the table on stdout, more if asked for. Exit status 1 if something failed; falling short of a bound is none.
 */
#include "config.h"

#include "cell.h"
#include "figures.h"
#include "place.h"
#include "report.h"
#include "say.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <getopt.h>
#include <grp.h>
#include <sched.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mount.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>
#include <sys/wait.h>
#include <unistd.h>

#define ORDINARY_UID      1000
#define DESCRIPTORS_SPARE 500

static const char usage[] =
    "usage: run [OPTION]... [SALLYPORT]\n"
    "  --rounds N      3 unless given\n"
    "  --time MS       of each cell; 2000\n"
    "  --warm MS       before a stream is measured; 500\n"
    "  --held N        idle connections to hold; 3000\n"
    "  --idle S        seconds in which wake-ups are counted; 10\n"
    "  --only WORDS    of sallyport,sallyport-off,slirp4netns,pasta,splice,direct,\n"
    "                  and what runs only when named: insecure,again\n"
    "  --cells WORDS   of stream,request,connect,held,datagram,start,idle\n"
    "  --json FILE     write the figures, those of each round too\n"
    "  --chart FILE    write a chart (SVG, by gnuplot)";

static struct {
    CellSettings cells;
    unsigned rounds;
    bool chosen[CONTENDERS];
    FILE *json;
    FILE *chart;
    char directory[256];
    char programs[4096];
    char sallyport[4096];
} run = {.cells = {.groups = CELL_ALL, .time_ms = 2000, .warm_ms = 500, .held = 3000, .idle_s = 10},
         .rounds = 3};

static pid_t lab;

/* ---- options ---- */

static void choose_contenders(char *words)
{
    for (char *word = strtok(words, ","); word != NULL; word = strtok(NULL, ",")) {
        unsigned c = 0;

        while (c < CONTENDERS && strcmp(contenders[c].label, word) != 0)
            c++;
        if (c == CONTENDERS)
            say_die("--only: '%s' is no contender", word);
        run.chosen[c] = true;
    }
}

static void choose_cells(char *words)
{
    run.cells.groups = 0;
    for (char *word = strtok(words, ","); word != NULL; word = strtok(NULL, ",")) {
        unsigned group = cell_group(word);

        if (group == 0)
            say_die("--cells: '%s' is no group of cells", word);
        run.cells.groups |= group;
    }
}

static FILE *open_output(const char *path)
{
    FILE *file = fopen(path, "we");

    if (file == NULL)
        say_die("%s: %s", path, strerror(errno));
    return file;
}

static void parse(int argc, char **argv)
{
    static const struct option options[] = {
        {"rounds", required_argument, NULL, 'r'}, {"time", required_argument, NULL, 't'},
        {"warm", required_argument, NULL, 'w'},   {"held", required_argument, NULL, 'h'},
        {"idle", required_argument, NULL, 'i'},   {"only", required_argument, NULL, 'o'},
        {"cells", required_argument, NULL, 'c'},  {"json", required_argument, NULL, 'j'},
        {"chart", required_argument, NULL, 'g'},  {0},
    };
    int option;

    memset(run.chosen, 0, sizeof run.chosen);
    while ((option = getopt_long(argc, argv, "", options, NULL)) != -1) {
        if (option == 'r')
            run.rounds = (unsigned)say_number("--rounds", optarg, 1, FIGURES_ROUNDS_MAX);
        else if (option == 't')
            run.cells.time_ms = (unsigned)say_number("--time", optarg, 10, 600000);
        else if (option == 'w')
            run.cells.warm_ms = (unsigned)say_number("--warm", optarg, 0, 60000);
        else if (option == 'h')
            run.cells.held = (unsigned)say_number("--held", optarg, 1, 20000);
        else if (option == 'i')
            run.cells.idle_s = (unsigned)say_number("--idle", optarg, 1, 3600);
        else if (option == 'o')
            choose_contenders(optarg);
        else if (option == 'c')
            choose_cells(optarg);
        else if (option == 'j')
            run.json = open_output(optarg);
        else if (option == 'g')
            run.chart = open_output(optarg);
        else
            say_die("%s", usage);
    }
    if (argc - optind > 1)
        say_die("%s", usage);
    if (memchr(run.chosen, true, sizeof run.chosen) == NULL)
        memset(run.chosen, true, CONTENDERS_USUAL * sizeof run.chosen[0]);
    if (realpath(optind < argc ? argv[optind] : "./sallyport", run.sallyport) == NULL)
        say_die("%s: %s", optind < argc ? argv[optind] : "./sallyport", strerror(errno));
}

/* ---- the front ---- */

/* Everybody may have as many descriptors as the machine allows. */
static void raise_descriptors(void)
{
    struct rlimit limit;

    if (getrlimit(RLIMIT_NOFILE, &limit) < 0)
        say_die("RLIMIT_NOFILE: %s", strerror(errno));
    limit.rlim_cur = limit.rlim_max;
    (void)setrlimit(RLIMIT_NOFILE, &limit);
    /* A relay takes two for each connection. */
    if ((run.cells.groups & CELL_HELD) != 0 &&
        limit.rlim_cur < 2ULL * run.cells.held + DESCRIPTORS_SPARE) {
        printf(
            "left out: held connections: %u of them take %u descriptors, RLIMIT_NOFILE is %llu\n",
            run.cells.held, 2 * run.cells.held + DESCRIPTORS_SPARE,
            (unsigned long long)limit.rlim_cur);
        run.cells.groups &= ~(unsigned)CELL_HELD;
    }
}

/* Whoever is root only: lets everybody choose cubic, and leaves the machine's default as it was. */
static void allow_cubic(void)
{
    static const char cubic[] = "cubic";
    int fd = open("/proc/sys/net/ipv4/tcp_congestion_control", O_RDWR | O_CLOEXEC);
    sigset_t all, before;
    char old[64];
    ssize_t n;

    if (fd < 0) {
        say_note("congestion control: %s", strerror(errno));
        return;
    }
    n = read(fd, old, sizeof old);
    /* Nothing may come between the two. */
    sigfillset(&all);
    (void)sigprocmask(SIG_BLOCK, &all, &before);
    if (n > 0 && pwrite(fd, cubic, sizeof cubic - 1, 0) > 0 && pwrite(fd, old, (size_t)n, 0) != n)
        say_note("congestion control: it was %.*s, and now it is cubic: %s", (int)n, old,
                 strerror(errno));
    (void)sigprocmask(SIG_SETMASK, &before, NULL);
    close(fd);
}

static void end_lab(int number)
{
    (void)number;
    (void)kill(lab, SIGKILL);
}

/* Ends whatever the lab left: as its reaper we are the parent now. */
static void clear_orphans(void)
{
    char path[64];

    snprintf(path, sizeof path, "/proc/self/task/%d/children", (int)getpid());
    for (unsigned i = 0; i < 100; i++) {
        FILE *file = fopen(path, "re");
        int pid;

        while (file != NULL && fscanf(file, "%d", &pid) == 1)
            (void)kill(pid, SIGKILL);
        if (file != NULL)
            fclose(file);
        while (waitpid(-1, NULL, WNOHANG) > 0)
            ;
        if (waitpid(-1, NULL, WNOHANG) < 0 && errno == ECHILD)
            return;
        say_sleep_ms(20);
    }
    say_note("processes of the lab are left");
}

static void make_directory(void)
{
    const char *parent = getenv("TMPDIR");
    ssize_t n = readlink("/proc/self/exe", run.programs, sizeof run.programs - 1);

    if (n < 0)
        say_die("/proc/self/exe: %s", strerror(errno));
    run.programs[n] = '\0';
    *strrchr(run.programs, '/') = '\0';
    snprintf(run.directory, sizeof run.directory, "%s/sallyport-bench.XXXXXX",
             parent != NULL ? parent : "/tmp");
    if (mkdtemp(run.directory) == NULL)
        say_die("%s: %s", run.directory, strerror(errno));
    if (geteuid() == 0 && chown(run.directory, ORDINARY_UID, ORDINARY_UID) < 0)
        say_die("%s: %s", run.directory, strerror(errno));
}

static void remove_directory(void)
{
    DIR *directory = opendir(run.directory);
    struct dirent *entry;

    while (directory != NULL && (entry = readdir(directory)) != NULL)
        (void)unlinkat(dirfd(directory), entry->d_name, 0);
    if (directory != NULL)
        closedir(directory);
    (void)rmdir(run.directory);
}

/* ---- the lab ---- */

/* Whoever is root: where the machine keeps /dev/net/tun from ordinary users, the lab gets one of its own that they may open. */
static void open_tun(void)
{
    static const char tun[] = "/dev/net/tun";
    struct stat status;

    if (stat(tun, &status) == 0 && (status.st_mode & (S_IROTH | S_IWOTH)) == (S_IROTH | S_IWOTH))
        return;
    if (unshare(CLONE_NEWNS) < 0 || mount(NULL, "/", NULL, MS_REC | MS_PRIVATE, NULL) < 0 ||
        mount("tmpfs", "/dev/net", "tmpfs", 0, "mode=755") < 0 ||
        mknod(tun, S_IFCHR, makedev(10, 200)) < 0 || chmod(tun, 0666) < 0)
        say_note("%s: %s", tun, strerror(errno));
    else
        say_note("%s is not for everybody here; the lab has one of its own", tun);
}

static void become_ordinary(void)
{
    if (geteuid() == 0 &&
        (setgroups(0, NULL) < 0 || setresgid(ORDINARY_UID, ORDINARY_UID, ORDINARY_UID) < 0 ||
         setresuid(ORDINARY_UID, ORDINARY_UID, ORDINARY_UID) < 0))
        say_die("uid %d: %s", ORDINARY_UID, strerror(errno));
    /* Both were taken away with the user id. */
    (void)prctl(PR_SET_PDEATHSIG, SIGKILL);
    (void)prctl(PR_SET_DUMPABLE, 1);
    if (access("/dev/net/tun", R_OK | W_OK) < 0)
        say_note("/dev/net/tun: %s; no helper will start", strerror(errno));
}

/* One start of each that does not count: it brings program files and modules into memory, and tells who takes part. */
static void try_contenders(void)
{
    for (unsigned c = 0; c < CONTENDERS; c++) {
        double took;

        if (!run.chosen[c])
            continue;
        if (contender_start(c, true, &took)) {
            contender_stop(c);
            continue;
        }
        run.chosen[c] = false;
        say_note("%s is left out: %s", contenders[c].label, contenders[c].left_out);
    }
}

/* The contender that is the @place-th in turn @turn of @round: the first one changes, and so does the direction. */
static ContenderId in_turn(unsigned round, unsigned turn, unsigned place)
{
    unsigned at = (round / 2 + turn + place) % CONTENDERS;

    return (round + turn) % 2 == 0 ? at : CONTENDERS - 1 - at;
}

static void do_round(unsigned round)
{
    double took;

    for (unsigned i = 0; i < CONTENDERS; i++) {
        ContenderId id = in_turn(round, 0, i);

        if (run.chosen[id])
            cell_start(&run.cells, id, round);
    }
    for (unsigned c = 0; c < CONTENDERS; c++) {
        if (run.chosen[c] && !contender_start(c, true, &took))
            say_note("%s is not in round %u: %s", contenders[c].label, round + 1,
                     contenders[c].left_out);
    }
    cell_idle(&run.cells, run.chosen, round);
    for (unsigned cell = 0; cell < cells_count; cell++) {
        for (unsigned i = 0; i < CONTENDERS; i++) {
            ContenderId id = in_turn(round, cell, i);

            if (run.chosen[id] && cell_wanted(cell, &run.cells, id))
                cell_measure(cell, &run.cells, id, round);
        }
    }
    for (unsigned c = 0; c < CONTENDERS; c++) {
        if (run.chosen[c])
            contender_stop(c);
    }
}

static int lab_main(void)
{
    int status = 0;

    if (geteuid() == 0)
        open_tun();
    become_ordinary();
    (void)signal(SIGPIPE, SIG_IGN);
    (void)setenv("PATH", "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin", 1);
    place_build();
    contender_prepare(run.directory, run.programs, run.sallyport);
    contender_versions();
    try_contenders();
    figures_clear(run.rounds);
    for (unsigned r = 0; r < run.rounds; r++) {
        uint64_t start = say_now();

        do_round(r);
        say_note("round %u of %u: %.0f s", r + 1, run.rounds, (double)(say_now() - start) / 1e9);
    }
    report_text(stdout, &run.cells, run.chosen);
    if (run.json != NULL && !report_json(run.json, &run.cells, run.chosen)) {
        say_note("the JSON file could not be written");
        status = 1;
    }
    if (run.chart != NULL && !report_chart(run.chart, run.chosen)) {
        say_note("the chart could not be drawn");
        status = 1;
    }
    return status;
}

int main(int argc, char **argv)
{
    const struct sigaction end = {.sa_handler = end_lab, .sa_flags = SA_RESTART};
    int status = 0;

    say_program = "run";
    parse(argc, argv);
    raise_descriptors();
    make_directory();
    if (geteuid() == 0)
        allow_cubic();
    (void)prctl(PR_SET_CHILD_SUBREAPER, 1);
    fflush(NULL);
    lab = fork();
    if (lab < 0)
        say_die("fork: %s", strerror(errno));
    if (lab == 0)
        exit(lab_main());
    (void)sigaction(SIGINT, &end, NULL);
    (void)sigaction(SIGTERM, &end, NULL);
    (void)sigaction(SIGHUP, &end, NULL);
    (void)waitpid(lab, &status, 0);
    clear_orphans();
    remove_directory();
    return WIFEXITED(status) ? WEXITSTATUS(status) : 1;
}
