/* SPDX-License-Identifier: GPL-2.0-or-later */
#ifndef SALLYPORT_CTL_H
#define SALLYPORT_CTL_H

/* "sallyport ctl ...": a client of a running helper's control socket. @argv begins with "ctl". Return: the exit status, 0 or 1 */
int ctl_main(int argc, char **argv);

#endif
