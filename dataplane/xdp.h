/* SPDX-License-Identifier: BSD-3-Clause */
#pragma once

#include <stdbool.h>
#include <stdint.h>

#include "tailplane/err.h"

/* Control loop. Takes an XDP program that a killed process of DPDK's left on the interface off it.
 * 0 also when there is none; -EBUSY when the program is somebody else's. */
int xdp_detach_stale(const char *ifname, unsigned ifindex, struct err *err);

/* What libbpf and libxdp would print goes to the log. After their driver was loaded. */
void xdp_messages_redirect(void);

/*
 * DPDK's driver leaves the socket of each queue open when its device is closed, and the queue busy
 * with it. So the sockets that appeared while a device was opened are noted and closed after it.
 */
#define XDP_SOCKETS_MAX 64

struct xdp_sockets {
	unsigned n;
	int fds[XDP_SOCKETS_MAX];
};

/* All AF_XDP sockets of the process but those in `but` (may be NULL). */
void xdp_sockets_list(struct xdp_sockets *list, const struct xdp_sockets *but);
/* Closes those that are open still. */
void xdp_sockets_close(struct xdp_sockets *list);

/*
 * The program that DPDK attached for a device. To detach it again DPDK needs more privileges than
 * the daemon keeps, so what is left of it after closing is detached by its number.
 */
struct xdp_program {
	unsigned ifindex;
	uint32_t id; /* 0: none */
};

void xdp_program_note(struct xdp_program *program, unsigned ifindex);
/* Whether it is on the interface still; true when nobody can say. */
bool xdp_program_attached(const struct xdp_program *program);
/* Whether this process may attach one. */
bool xdp_program_may(void);
void xdp_program_detach(const struct xdp_program *program);
