/* SPDX-License-Identifier: BSD-3-Clause */

/*
 * DPDK's environment: memory, drivers, its log. Control loop, once per process.
 *
 * Packet memory comes from 2 MiB hugepages when the configuration wants them (hugepages.c), without
 * a hugetlbfs and without files. Where there are none the same memory comes from ordinary pages,
 * and `tailplane status` says why.
 *
 * Of DPDK's drivers only those are loaded that a port asks for (a PCI address asks for all, since
 * only they know their devices): it starts faster, and less foreign code is in the process.
 */
#include "dataplane.h"

#include <ctype.h>
#include <dlfcn.h>
#include <fcntl.h>
#include <glob.h>
#include <pthread.h>
#include <sched.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <unistd.h>

#include <rte_eal.h>
#include <rte_errno.h>
#include <rte_lcore.h>
#include <rte_log.h>
#include <rte_mbuf.h>

#include "eal.h"
#include "hugepages.h"
#include "port_device.h"
#include "xdp_pool.h"

#define NO_HUGEPAGES "TAILPLANE_NO_HUGEPAGES" /* in the environment: why not */
#define MIB (1024ull * 1024)
/* For all that is not packets: rings, tables, the drivers' queues. */
#define OVERHEAD_MIB 64
#define ARGS_MAX 64

static char memory_text[600] = "not started";
static char last_error[256]; /* the last line that DPDK logged as an error */
/* While EAL starts it warns of what is normal (no 1 GiB pages): only its errors are passed on. */
static uint32_t warn_level = RTE_LOG_ERR;

/* ---- DPDK's log into ours ------------------------------------------------------------------ */

/* Any thread of DPDK. One call per message, since rte_vlog flushes the stream after each. */
static ssize_t log_write(void *cookie, const char *buf, size_t size)
{
	int len = (int)size;

	while (len > 0 && isspace((unsigned char)buf[len - 1]))
		len--;
	if (len == 0)
		return size;
	if (rte_log_cur_msg_loglevel() <= (int)RTE_LOG_ERR)
		snprintf(last_error, sizeof last_error, "%.*s", len, buf);
	if (rte_log_cur_msg_loglevel() <= (int)warn_level)
		log_warnx("dpdk: %.*s", len, buf);
	else
		log_debug("dpdk: %.*s", len, buf);
	return size;
}

static void log_redirect(void)
{
	FILE *stream = fopencookie(NULL, "w", (cookie_io_functions_t){.write = log_write});

	if (!stream)
		return;
	setvbuf(stream, NULL, _IOFBF, 4096);
	rte_openlog_stream(stream);
}

/* ---- drivers ------------------------------------------------------------------------------- */

static const struct {
	const char *driver, *library;
} other_names[] = {
	{"net_virtio_user", "net_virtio"},
	{"net_bonding", "net_bond"},
};

/* "net_af_packet0,iface=eth1" -> "net_af_packet" */
static void device_driver(const char *device, char *name, size_t size)
{
	size_t len = strcspn(device, ",");

	while (len > 0 && isdigit((unsigned char)device[len - 1]))
		len--;
	snprintf(name, size, "%.*s", (int)len, device);
	for (size_t i = 0; i < RTE_DIM(other_names); i++)
		if (strcmp(name, other_names[i].driver) == 0)
			snprintf(name, size, "%s", other_names[i].library);
}

static char *driver_path(const char *name)
{
	char pattern[512];
	char *path = NULL;
	glob_t g;

	snprintf(pattern, sizeof pattern, RTE_EAL_PMD_PATH "/librte_%s.so.*", name);
	if (glob(pattern, 0, NULL, &g) == 0)
		path = strdup(g.gl_pathv[0]);
	globfree(&g);
	return path;
}

int eal_driver_load(const char *device, struct err *err)
{
	char name[64];
	char *path;
	void *object;

	if (device_kind(device) == DEVICE_PCI)
		return 0; /* all were loaded at start */
	device_driver(device, name, sizeof name);
	if (!*name || strchr(name, '/'))
		return err_set(err, -EINVAL,
			"device \"%s\" is neither a PCI address nor like "
			"\"net_af_packet0,iface=eth1\"",
			device);
	path = driver_path(name);
	if (!path)
		return err_set(
			err, -ENOENT, "DPDK has no driver \"%s\" in " RTE_EAL_PMD_PATH, name);
	object = dlopen(path, RTLD_NOW | RTLD_GLOBAL); /* stays: DPDK can't forget a driver */
	free(path);
	return object ? 0 : err_set(err, -ENOENT, "cannot load DPDK's driver: %s", dlerror());
}

/* ---- start --------------------------------------------------------------------------------- */

struct args {
	char *argv[ARGS_MAX]; /* EAL keeps pointers to the texts: never freed */
	int argc;
};

__attribute__((format(printf, 2, 3))) static void arg(struct args *a, const char *fmt, ...)
{
	va_list ap;

	if (a->argc == ARGS_MAX - 1)
		return;
	va_start(ap, fmt);
	if (vasprintf(&a->argv[a->argc], fmt, ap) >= 0)
		a->argc++;
	va_end(ap);
}

static void args_drivers(struct args *a, const struct dataplane_conf *conf)
{
	static const char *const always[] = {"mempool_ring", "bus_vdev"};
	const struct port_conf *ports = conf->ports.items;
	bool pci = false;

	for (size_t i = 0; i < conf->ports.count; i++)
		if (device_kind(ports[i].device) == DEVICE_PCI) {
			arg(a, "-a");
			arg(a, "%.*s", (int)strcspn(ports[i].device, " "), ports[i].device);
			pci = true;
		}
	if (pci)
		return;
	arg(a, "--no-pci");
	arg(a, "--iova-mode=va");
	for (size_t i = 0; i < RTE_DIM(always); i++) {
		char *path = driver_path(always[i]);

		if (path) {
			arg(a, "-d");
			arg(a, "%s", path);
		}
		free(path);
	}
}

static unsigned numa_nodes(void)
{
	unsigned n = 1;
	glob_t g;

	if (glob("/sys/devices/system/node/node[0-9]*", 0, NULL, &g) == 0)
		n = (unsigned)g.gl_pathc;
	globfree(&g);
	return RTE_MIN(n, (unsigned)RTE_MAX_NUMA_NODES);
}

static void args_hugepages(struct args *a, unsigned long long mib)
{
	unsigned nodes = numa_nodes();
	char list[RTE_MAX_NUMA_NODES * 12] = "";
	size_t at = 0;

	for (unsigned i = 0; i < nodes; i++)
		at += snprintf(list + at, sizeof list - at, "%s%llu", i ? "," : "",
			RTE_ALIGN_CEIL(mib / nodes, 2));
	arg(a, "--in-memory");
	arg(a, "--socket-mem=%s", list);
}

/* Pools that AF_XDP ports make beside those of `memory`. */
static unsigned xdp_mib(const struct dataplane_conf *conf)
{
	const struct port_conf *ports = conf->ports.items;
	long online = sysconf(_SC_NPROCESSORS_ONLN);
	unsigned queues = conf->cores.count ? (unsigned)conf->cores.count : (unsigned)conf->workers;
	unsigned n = 0;

	if (!queues)
		queues = (unsigned)RTE_MAX(online - 1, 1);
	for (size_t i = 0; i < conf->ports.count; i++)
		n += device_kind(ports[i].device) == DEVICE_AF_XDP;
	return n * queues * XDP_POOL_MIB;
}

/* True: in hugepages. */
static bool args_memory(struct args *a, const struct dataplane_conf *conf)
{
	unsigned long long mib =
		RTE_ALIGN_CEIL(conf->memory / MIB + OVERHEAD_MIB + xdp_mib(conf), 2);
	struct err why = {0};

	if (!conf->hugepages)
		err_set(&why, 0, "not wanted");
	else if (getenv(NO_HUGEPAGES))
		err_set(&why, -ENOMEM, "%s", getenv(NO_HUGEPAGES));
	else if (hugepages_reserve(mib + 2 * numa_nodes(), &why) == 0) {
		args_hugepages(a, mib);
		snprintf(memory_text, sizeof memory_text, "2 MiB hugepages");
		return true;
	}
	arg(a, "--no-huge");
	arg(a, "--no-shconf");
	arg(a, "-m");
	arg(a, "%llu", mib);
	snprintf(memory_text, sizeof memory_text, "no hugepages: %s", why.msg);
	if (conf->hugepages)
		log_info("packet memory without hugepages: %s", why.msg);
	return false;
}

static int first_cpu(const cpu_set_t *set)
{
	for (int i = 0; i < CPU_SETSIZE; i++)
		if (CPU_ISSET(i, set))
			return i;
	return 0;
}

/*
 * The pages that we saw free can still go to somebody else before EAL maps them, and EAL cannot be
 * started twice in a process. So the process starts anew, once, without hugepages: nothing but this
 * hook has run yet. Returns only when that fails.
 */
static void start_again_without(void)
{
	char cmdline[4096], *argv[64];
	int fd = open("/proc/self/cmdline", O_RDONLY | O_CLOEXEC), argc = 0;
	ssize_t len = fd >= 0 ? read(fd, cmdline, sizeof(cmdline) - 1) : -1;

	if (fd >= 0)
		close(fd);
	if (len <= 0 || getenv(NO_HUGEPAGES) || setenv(NO_HUGEPAGES, "they were taken at start", 1))
		return;
	cmdline[len] = '\0';
	for (char *at = cmdline; at < cmdline + len && argc < 63; at += strlen(at) + 1)
		argv[argc++] = at;
	argv[argc] = NULL;
	log_warnx("the hugepages were taken in the meantime: starting again without");
	close_range(3, ~0u, 0); /* what EAL has opened would keep pages */
	execv("/proc/self/exe", argv);
}

int eal_start(const struct dataplane_conf *conf, struct err *err)
{
	static bool started;
	static struct args args;
	char *argv[ARGS_MAX];
	cpu_set_t affinity;
	bool hugepages;
	int rc;

	if (started)
		return 0;
	log_redirect();
	sched_getaffinity(0, sizeof affinity, &affinity);
	arg(&args, "tailplaned");
	/* One lcore, this thread's: workers register themselves. */
	arg(&args, "--lcores=0@%d", first_cpu(&affinity));
	arg(&args, "--no-telemetry");
	arg(&args, "--file-prefix=tailplane");
	args_drivers(&args, conf);
	hugepages = args_memory(&args, conf);
	/* AF_XDP's packet memory counts as locked */
	setrlimit(RLIMIT_MEMLOCK, &(struct rlimit){RLIM_INFINITY, RLIM_INFINITY});
	/* a copy: EAL moves the array's entries about */
	memcpy(argv, args.argv, sizeof(argv));
	rc = rte_eal_init(args.argc, argv);
	/* EAL pins its main thread; the control loop shall run where the kernel likes */
	pthread_setaffinity_np(pthread_self(), sizeof affinity, &affinity);
	hugepages_settle();
	if (rc < 0 && hugepages)
		start_again_without();
	if (rc < 0)
		return err_set(err, -rte_errno, "DPDK did not start: %s",
			*last_error ? last_error : rte_strerror(rte_errno));
	warn_level = RTE_LOG_WARNING;
	started = true;
	return 0;
}

void eal_error_reset(void)
{
	last_error[0] = '\0';
}

const char *eal_error(void)
{
	return last_error;
}

const char *eal_memory(void)
{
	return memory_text;
}

/* ---- packet buffers ------------------------------------------------------------------------ */

struct rte_mempool *eal_pool(
	const char *name, unsigned n, unsigned frame_max, int numa, struct err *err)
{
	/* Beyond the packet: VLAN and Ethernet headers come in with it, WireGuard's padding and tag
	 * are added behind it. */
	unsigned room = RTE_ALIGN_CEIL(RTE_PKTMBUF_HEADROOM + frame_max + 64, RTE_CACHE_LINE_SIZE);
	unsigned private = RTE_ALIGN_CEIL(sizeof(struct packet), RTE_MBUF_PRIV_ALIGN);
	unsigned cache = RTE_MIN(RTE_MEMPOOL_CACHE_MAX_SIZE / 2u, n / 8);
	struct rte_mempool *pool;

	if (room > UINT16_MAX) {
		err_set(err, -EINVAL, "frames of %u bytes are too large", frame_max);
		return NULL;
	}
	n -= rte_is_power_of_2(n); /* its ring holds 2^k - 1 */
	pool = rte_pktmbuf_pool_create(name, n, cache, private, room, numa);
	if (!pool && numa != SOCKET_ID_ANY)
		pool = rte_pktmbuf_pool_create(name, n, cache, private, room, SOCKET_ID_ANY);
	if (!pool)
		err_set(err, -rte_errno,
			"no memory for %u packets of %u bytes (raise `memory` or lower `workers`): "
			"%s",
			n, frame_max, rte_strerror(rte_errno));
	return pool;
}
