/* SPDX-License-Identifier: GPL-2.0-or-later */
#ifndef SALLYPORT_DATAPATH_POLICY_H
#define SALLYPORT_DATAPATH_POLICY_H

#include "../settings.h"
#include "gate.h"

/* The gate's slice of the settings, by value. */
GateConfig policy_of(const Settings *settings);

#endif
