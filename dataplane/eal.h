/* SPDX-License-Identifier: BSD-3-Clause */
#pragma once

#include "tailplane/err.h"

/* Loads the DPDK driver that this device string needs, if it isn't yet. Control loop, after
 * eal_start. */
int eal_driver_load(const char *device, struct err *err);
