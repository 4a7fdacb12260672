/* SPDX-License-Identifier: BSD-3-Clause */
#pragma once

#include "tailplane/err.h"

/* Loads the DPDK driver that this device string needs, if it isn't yet. Control loop, after
 * eal_start. */
int eal_driver_load(const char *device, struct err *err);

/* What DPDK logged last as an error since eal_error_reset, to say why something failed; may be "".
 */
void eal_error_reset(void);
const char *eal_error(void);
