/* SPDX-License-Identifier: BSD-3-Clause */
#pragma once

/* An interface of the kernel whose frames are a port's alone. Control loop. */
#include "tailplane/err.h"

/* From now on the kernel drops what comes in on the interface, once packet sockets have seen it.
 * Returns the descriptor that holds this: closed, all is as it was. -errno: it cannot be done. */
int ingress_shut(const char *ifname, struct err *err);
