/* SPDX-License-Identifier: BSD-3-Clause */

/*
 * What has to be right around a device before DPDK opens it. Control loop.
 *
 * An AF_XDP socket needs a program on the interface; DPDK attaches one and detaches it again, but
 * not when the process is killed. A program that carries one of libxdp's names is taken for such a
 * left-over and detached; any other is somebody's, and the port is refused.
 */
#include "port_device.h"

#include <errno.h>
#include <linux/bpf.h>
#include <linux/ethtool.h>
#include <linux/if_packet.h>
#include <linux/if_tun.h>
#include <linux/sockios.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <sys/un.h>
#include <unistd.h>

#include <rte_common.h>

#include "ingress.h"
#include "xdp.h"

static const struct {
	const char *prefix;
	enum device_kind kind;
} kinds[] = {
	{"net_af_packet", DEVICE_AF_PACKET},
	{"eth_af_packet", DEVICE_AF_PACKET},
	{"net_af_xdp", DEVICE_AF_XDP},
	{"net_tap", DEVICE_TAP},
	{"net_memif", DEVICE_MEMIF},
};

enum device_kind device_kind(const char *device)
{
	unsigned domain, bus, slot, function;

	if (sscanf(device, "%x:%x:%x.%x", &domain, &bus, &slot, &function) == 4 ||
		sscanf(device, "%x:%x.%x", &bus, &slot, &function) == 3)
		return DEVICE_PCI;
	for (size_t i = 0; i < RTE_DIM(kinds); i++)
		if (strncmp(device, kinds[i].prefix, strlen(kinds[i].prefix)) == 0)
			return kinds[i].kind;
	return DEVICE_OTHER;
}

void device_name(const char *device, char *name, size_t size)
{
	snprintf(name, size, "%.*s", (int)strcspn(device, ","), device);
}

bool device_option(const char *device, const char *key, char *value, size_t size)
{
	size_t len = strlen(key);

	for (const char *at = strchr(device, ','); at; at = strchr(at + 1, ',')) {
		const char *text = at + 1 + len + 1;
		size_t n;

		if (strncmp(at + 1, key, len) != 0 || at[1 + len] != '=')
			continue;
		n = strcspn(text, ",");
		if (n >= size)
			return false;
		memcpy(value, text, n);
		value[n] = '\0';
		return true;
	}
	return false;
}

/* ---- arguments ----------------------------------------------------------------------------- */

__attribute__((format(printf, 4, 5))) static void arg_default(
	char *args, const char *device, const char *key, const char *fmt, ...)
{
	size_t at = strlen(args);
	char given[DEVICE_ARGS_MAX];
	va_list ap;

	if (device_option(device, key, given, sizeof(given)))
		return;
	at += (size_t)snprintf(args + at, DEVICE_ARGS_MAX - at, ",%s=", key);
	if (at >= DEVICE_ARGS_MAX)
		return;
	va_start(ap, fmt);
	vsnprintf(args + at, DEVICE_ARGS_MAX - at, fmt, ap);
	va_end(ap);
}

int device_args(const struct port_conf *conf, uint16_t n_queues, unsigned channels,
	char args[static DEVICE_ARGS_MAX], struct err *err)
{
	if (strlen(conf->device) > DEVICE_ARGS_MAX / 2)
		return err_set(err, -ENAMETOOLONG, "the device string is too long");
	snprintf(args, DEVICE_ARGS_MAX, "%s", conf->device);
	if (device_kind(conf->device) == DEVICE_AF_XDP)
		arg_default(args, conf->device, "queue_count", "%u", RTE_MIN(n_queues, channels));
	return 0;
}

/* ---- the interface of the kernel ----------------------------------------------------------- */

static int interface_ioctl(const char *name, unsigned long request, struct ifreq *ifr)
{
	int fd = socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0), rc;

	if (fd < 0)
		return -errno;
	snprintf(ifr->ifr_name, sizeof(ifr->ifr_name), "%s", name);
	rc = ioctl(fd, request, ifr) < 0 ? -errno : 0;
	close(fd);
	return rc;
}

static int ethtool_set(const char *name, uint32_t command, uint32_t value)
{
	struct ethtool_value v = {.cmd = command, .data = value};
	struct ifreq ifr = {.ifr_data = (char *)&v};

	return interface_ioctl(name, SIOCETHTOOL, &ifr);
}

/* GRO and LRO join packets into some that fit no packet buffer; who doesn't have them can't. */
static void joining_off(const char *name)
{
	uint32_t flags;
	struct ethtool_value v = {.cmd = ETHTOOL_GFLAGS};
	struct ifreq ifr = {.ifr_data = (char *)&v};

	if (ethtool_set(name, ETHTOOL_SGRO, 0) < 0)
		log_debug("%s: generic receive offload stays as it is", name);
	if (interface_ioctl(name, SIOCETHTOOL, &ifr) < 0)
		return;
	flags = v.data;
	if (flags & ETH_FLAG_LRO)
		ethtool_set(name, ETHTOOL_SFLAGS, flags & ~ETH_FLAG_LRO);
}

static int interface_up(const char *name, struct err *err)
{
	struct ifreq ifr = {0};
	int rc = interface_ioctl(name, SIOCGIFFLAGS, &ifr);

	if (rc == 0 && !(ifr.ifr_flags & IFF_UP)) {
		ifr.ifr_flags |= IFF_UP;
		rc = interface_ioctl(name, SIOCSIFFLAGS, &ifr);
	}
	return rc < 0 ? err_set(err, rc, "cannot bring interface %s up: %s", name, strerror(-rc))
		      : 0;
}

int kernel_interface_take(struct kernel_interface *k, const char *device, struct err *err)
{
	enum device_kind kind = device_kind(device);
	int rc;

	memset(k, 0, sizeof(*k));
	if (kind != DEVICE_AF_PACKET && kind != DEVICE_AF_XDP)
		return 0;
	if (!device_option(device, "iface", k->name, sizeof(k->name)))
		return err_set(
			err, -EINVAL, "device \"%s\" names no interface (iface=NAME)", device);
	k->index = if_nametoindex(k->name);
	if (!k->index)
		return err_set(err, -ENODEV, "there is no interface %s", k->name);
	if (kind == DEVICE_AF_PACKET)
		joining_off(k->name);
	rc = kind == DEVICE_AF_XDP ? xdp_detach_stale(k->name, k->index, err) : 0;
	return rc < 0 ? rc : interface_up(k->name, err);
}

int kernel_interface_listen(struct kernel_interface *k, bool promiscuous)
{
	struct packet_mreq mreq = {.mr_ifindex = (int)k->index,
		.mr_type = promiscuous ? PACKET_MR_PROMISC : PACKET_MR_ALLMULTI};

	if (!*k->name)
		return -ENOTSUP;
	k->listening = socket(AF_PACKET, SOCK_RAW | SOCK_CLOEXEC, 0);
	if (k->listening < 0) {
		k->listening = 0;
		return -errno;
	}
	if (setsockopt(k->listening, SOL_PACKET, PACKET_ADD_MEMBERSHIP, &mreq, sizeof(mreq)) < 0)
		return -errno;
	return 0;
}

void kernel_interface_shut(struct kernel_interface *k)
{
	struct err err = {0};

	k->shut = ingress_shut(k->name, &err);
	if (k->shut >= 0)
		return;
	k->shut = 0;
	log_warnx("the kernel goes on taking what comes in on %s for its own, beside its mirror: "
		  "%s",
		k->name, err.msg);
}

void kernel_interface_release(struct kernel_interface *k)
{
	if (k->listening > 0)
		close(k->listening);
	if (k->shut > 0)
		close(k->shut);
	k->listening = k->shut = 0;
}

unsigned kernel_interface_channels(const struct kernel_interface *k)
{
	struct ethtool_channels channels = {.cmd = ETHTOOL_GCHANNELS};
	struct ifreq ifr = {.ifr_data = (char *)&channels};

	if (!*k->name || interface_ioctl(k->name, SIOCETHTOOL, &ifr) < 0 || !channels.max_combined)
		return 1; /* as DPDK's driver takes it */
	return RTE_MAX(channels.combined_count, 1u);
}

/* ---- memif ----------------------------------------------------------------------------------- */

void memif_socket_clear(const char *device)
{
	struct sockaddr_un to = {.sun_family = AF_UNIX};
	char role[16] = "", abstract[8] = "";
	int fd;

	if (!device_option(device, "role", role, sizeof(role)) || strcmp(role, "server") != 0 ||
		!device_option(device, "socket-abstract", abstract, sizeof(abstract)) ||
		strcmp(abstract, "no") != 0 ||
		!device_option(device, "socket", to.sun_path, sizeof(to.sun_path)))
		return;
	fd = socket(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
	if (fd < 0)
		return;
	if (connect(fd, (struct sockaddr *)&to, sizeof(to)) < 0 && errno == ECONNREFUSED &&
		unlink(to.sun_path) == 0)
		log_info("removed the memif socket %s that a killed process had left", to.sun_path);
	close(fd);
}

bool tap_is_gone(int fd)
{
	struct ifreq ifr;

	return fd >= 0 && ioctl(fd, TUNGETIFF, &ifr) < 0 && errno == EBADFD;
}

bool tap_is_elsewhere(int fd)
{
	struct ifreq ifr;

	return fd >= 0 && ioctl(fd, TUNGETIFF, &ifr) == 0 && if_nametoindex(ifr.ifr_name) == 0;
}

const char *kernel_interface_fault(const struct kernel_interface *k, bool *gone)
{
	struct ifreq ifr = {0};

	*gone = false;
	if (!*k->name)
		return NULL;
	*gone = if_nametoindex(k->name) != k->index;
	if (*gone)
		return INTERFACE_GONE;
	if (interface_ioctl(k->name, SIOCGIFFLAGS, &ifr) < 0)
		return NULL;
	if (!(ifr.ifr_flags & IFF_UP))
		return "its interface is down";
	return ifr.ifr_flags & IFF_RUNNING ? NULL : "no link";
}
