/* SPDX-License-Identifier: BSD-3-Clause */
#pragma once

/* WireGuard's user-space socket protocol (`wg`, its exporters), one Unix socket per tunnel, named
 * after its interface. Control loop. */
struct dataplane_conf;

/* As root: makes the sockets. What fails is a warning: the tunnel works without. */
void uapi_init(const struct dataplane_conf *conf);
void uapi_fini(void);
/* For all tunnels that run. */
void uapi_start(void);
void uapi_stop(void);
