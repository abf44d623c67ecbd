/* SPDX-License-Identifier: GPL-2.0-or-later */
#ifndef SALLYPORT_LOCKDOWN_ROLE_H
#define SALLYPORT_LOCKDOWN_ROLE_H

/* The three processes. The order is that of the words in role tables. */
typedef enum Role { ROLE_SUPERVISOR, ROLE_INSIDE, ROLE_DATAPATH, ROLES } Role;

#endif
