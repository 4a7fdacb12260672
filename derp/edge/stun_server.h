/* SPDX-License-Identifier: BSD-3-Clause */
#pragma once

/*
 * STUN on UDP sockets, one per address on each I/O loop; where the data plane has Ethernet ports
 * its workers answer for them (stun_ports.h). No limit of rate: a client takes an answer that does
 * not come for a relay that is far away or down. Silent while told so, since clients that are
 * answered choose this relay whether its TLS works or not. Control loop.
 */
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include <tailplane/err.h>
#include <tailplane/metrics.h>
#include <tailplane/settings.h>

/* An address as in settings: ":3478" is both families. 0 or -EINVAL. */
int stun_address_check(const char *address);

/* `addresses`: list of char *; needs not outlive the call. Until the first stun_speak what comes
 * waits in the sockets, which may be those of the process before us: it still answers. */
int stun_start(const struct setting_list *addresses, struct err *err);
void stun_stop(void);
void stun_speak(bool speak);
bool stun_speaks(void);
/* Of the first socket; 0: none. */
uint16_t stun_port(void);
uint64_t stun_answers(void);
uint64_t stun_port_answers(void); /* of these by workers, on Ethernet ports */
void stun_collect(struct metric_sink *sink);
