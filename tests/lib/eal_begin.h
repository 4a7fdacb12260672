/* SPDX-License-Identifier: BSD-3-Clause */
#pragma once

/* DPDK in a test: one core, no hugepages, no devices. */
#include <err.h>

#include <rte_eal.h>
#include <rte_errno.h>

static inline void eal_begin(const char *megabytes)
{
	const char *args[] = {"test", "--lcores=0", "--no-huge", "-m", megabytes, "--no-pci",
		"--no-shconf", "--no-telemetry", "--iova-mode=va", "--log-level=critical", NULL};

	if (rte_eal_init((int)RTE_DIM(args) - 1, (char **)(uintptr_t)args) < 0)
		errx(1, "DPDK does not start: %s", rte_strerror(rte_errno));
}
