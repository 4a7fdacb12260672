/* SPDX-License-Identifier: BSD-3-Clause */
#pragma once

/* Device strings of Ethernet ports, and the kernel interface that some of them stand on. Control
 * loop. */
#include <net/if.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "dataplane.h"

#define DEVICE_ARGS_MAX 512
#define INTERFACE_GONE "its interface is gone"

enum device_kind {
	DEVICE_PCI,
	DEVICE_AF_PACKET, /* on an interface of the kernel */
	DEVICE_AF_XDP,    /* the same */
	DEVICE_TAP,       /* makes one */
	DEVICE_MEMIF,
	DEVICE_OTHER, /* ring, null, ... */
};

enum device_kind device_kind(const char *device);
/* Name of DPDK's device: all before the first comma. */
void device_name(const char *device, char *name, size_t size);
/* Value of an option in the device string; false when it is not there or does not fit. */
bool device_option(const char *device, const char *key, char *value, size_t size);
/* The device string with what follows from the port's settings and is not given in it: queues,
 * frame size, ring size. `channels`: receive queues of the kernel interface. */
int device_args(const struct port_conf *conf, uint16_t n_queues, unsigned channels,
	char args[static DEVICE_ARGS_MAX], struct err *err);

/* The port without what its kind adds to it; heap. */
struct port *port_ether_new(const struct port_conf *conf, uint16_t n_queues);
/* The device of the port is gone: only opening it anew brings it back. */
void port_ether_gone(struct port *port);

/* An interface of the kernel that a port stands on. */
struct kernel_interface {
	char name[IF_NAMESIZE]; /* empty: none */
	unsigned index;
	int listening; /* socket that makes it take in more than its own frames; 0: none */
	int shut;      /* what keeps its frames from the kernel; 0: none */
};

/* Finds the interface of a device that stands on one, brings it up, switches off what would make
 * frames larger than its MTU, and takes a left-over AF_XDP program of ours off it. */
int kernel_interface_take(struct kernel_interface *k, const char *device, struct err *err);
/* Makes the interface take in all multicast, or everything, until it is released or the process
 * ends. */
int kernel_interface_listen(struct kernel_interface *k, bool promiscuous);
/* Keeps the kernel from taking the interface's frames for its own, as above. */
void kernel_interface_shut(struct kernel_interface *k);
void kernel_interface_release(struct kernel_interface *k);
unsigned kernel_interface_channels(const struct kernel_interface *k);
/* NULL while it is there and has a carrier, else why not. *gone: it is another one or none now. */
const char *kernel_interface_fault(const struct kernel_interface *k, bool *gone);
/* Removes a socket that a killed process has left where the device would make its own. */
void memif_socket_clear(const char *device);
/* Whether somebody has deleted the interface that a TUN or TAP descriptor belongs to. */
bool tap_is_gone(int fd);
/* Whether it lies in another network namespace, where we cannot ask for its state. */
bool tap_is_elsewhere(int fd);
