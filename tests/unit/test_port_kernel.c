/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Ethernet ports on the kernel's interfaces: frames both ways, few queues, and devices that go
 * away. In a network namespace of its own; needs root, and skips aloud without.
 */
#include "ether_ports.h"

#include <fcntl.h>
#include <net/if.h>
#include <netpacket/packet.h>
#include <sched.h>
#include <signal.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <unistd.h>

#include <rte_ethdev.h>

#define MEMIF_SERVER "net_memif%d,role=server,socket=%s,socket-abstract=no"

static bool private_net; /* root: a namespace of our own with veth va - vb */

static void need_root(void)
{
	if (private_net)
		return;
	printf("skipped: needs root for a network namespace with veth\n");
	skip();
}

static void shell(const char *command)
{
	if (system(command) != 0)
		errx(1, "%s", command);
}

static int raw_socket(const char *ifname)
{
	struct sockaddr_ll to = {.sll_family = AF_PACKET,
		.sll_protocol = htons(0x1234),
		.sll_ifindex = (int)if_nametoindex(ifname)};
	int fd = socket(AF_PACKET, SOCK_RAW | SOCK_CLOEXEC, htons(0x1234));

	if (fd < 0 || bind(fd, (struct sockaddr *)&to, sizeof(to)) < 0)
		err(1, "raw socket on %s", ifname);
	return fd;
}

static bool raw_receive(int fd, uint8_t mark)
{
	struct pollfd p = {.fd = fd, .events = POLLIN};
	uint8_t bytes[2048];

	while (poll(&p, 1, 2000) == 1)
		if (recv(fd, bytes, sizeof(bytes), 0) >= 64 && bytes[14] == mark)
			return true;
	return false;
}

static void raw_send_len(int fd, uint16_t vlan, uint8_t mark, size_t len)
{
	uint8_t bytes[2048];
	size_t at = put_ether(bytes, plain_mac, their_mac, vlan, 0x1234);

	memset(bytes + at, mark, len - at);
	if (send(fd, bytes, len, 0) < 0)
		err(1, "raw send");
}

static void raw_send(int fd, uint16_t vlan, uint8_t mark)
{
	raw_send_len(fd, vlan, mark, 68);
}

/* Both ways between a driver on `ours` and a raw socket on `theirs`. */
static void frames_both_ways(struct port *port, const char *theirs)
{
	int fd = raw_socket(theirs);
	struct rte_mbuf *m;

	raw_send(fd, 0, 0x21);
	m = receive_marked(port, 0, 0x21);
	assert_non_null(m);
	rte_pktmbuf_free(m);
	send_one(port, 0, frame_new(0x22));
	assert_true(raw_receive(fd, 0x22));
	raw_send_len(fd, 0, 0x23, 1514); /* as large as they come */
	m = receive_marked(port, 0, 0x23);
	assert_non_null(m);
	assert_int_equal(m->data_len, 1514);
	send_one(port, 0, m);
	assert_true(raw_receive(fd, 0x23));
	close(fd);
}

/* The kernel takes tags off what AF_PACKET gets; in the graph they are in the frame again. */
static void vlan_tags_stay(struct port *port, const char *theirs)
{
	int fd = raw_socket(theirs);
	struct rte_mbuf *m;

	raw_send(fd, 0x123, 0x24);
	m = receive_marked(port, 0, 0x01); /* where the mark is in others: the tag's first byte */
	assert_non_null(m);
	assert_memory_equal(rte_pktmbuf_mtod(m, uint8_t *) + 12, "\x81\x00\x01\x23\x12\x34\x24", 7);
	rte_pktmbuf_free(m);
	close(fd);
}

/* One queue, three workers: the others send through the first. */
static void workers_without_a_queue_send_through_another(void **state)
{
	struct rte_mbuf *m, *many[64];
	struct port *port;
	unsigned handed = 0;
	int fd;

	(void)state;
	need_root();
	port = open_port("net_af_xdp3,iface=va", 3);
	fd = raw_socket("vb");
	send_one(port, 2, frame_new(3));
	assert_false(port->ops->arm(&port->queues[0])); /* something waits for it */
	assert_true(port->ops->arm(&port->queues[2]));
	assert_int_equal(receive(port, 2, many), 0);         /* it has no receive queue */
	rte_pktmbuf_free_bulk(many, receive(port, 0, many)); /* but this sends */
	assert_true(port->ops->arm(&port->queues[0]));
	assert_true(raw_receive(fd, 3));
	raw_send(fd, 0, 4);
	m = receive_marked(port, 0, 4);
	assert_non_null(m);
	rte_pktmbuf_free(m);
	/* a bound on what may wait */
	while (!dropped(1, "ether_tx_shared_full") && handed < 4096) {
		for (unsigned i = 0; i < 64; i++)
			many[i] = frame_new(5);
		assert_int_equal(port->ops->tx(&workers[1], &port->queues[1], many, 64), 64);
		handed += 64;
	}
	assert_in_range(handed, 512, 4095);
	/* and one on what its queue takes of that, while nothing leaves by it */
	shell("ip link set va down");
	for (handed = 0; !dropped(0, "ether_tx_shared_queue_full") && handed < 8192; handed++) {
		send_one(port, 2, frame_new(6));
		rte_pktmbuf_free_bulk(many, receive(port, 0, many));
	}
	assert_int_not_equal(dropped(0, "ether_tx_shared_queue_full"), 0);
	assert_int_equal(
		port->queues[0].counters.tx_dropped, dropped(0, "ether_tx_shared_queue_full"));
	shell("ip link set va up");
	close(fd);
	port->ops->close(port); /* and what waits is freed */
	assert_int_equal(rte_mempool_in_use_count(pools[0]), 0);
}

/* The descriptor of its queue is readable when there is something, and only then. */
static void wakes_a_sleeper(struct port *port, const char *theirs)
{
	struct pollfd p = {.fd = port->queues[0].fd, .events = POLLIN};
	int fd = raw_socket(theirs);
	struct rte_mbuf *pkts[32];

	assert_true(p.fd >= 0);
	while (!port->ops->arm(&port->queues[0]))
		rte_pktmbuf_free_bulk(pkts, receive(port, 0, pkts));
	raw_send(fd, 0, 0x31);
	assert_int_equal(poll(&p, 1, 2000), 1);
	pkts[0] = receive_marked(port, 0, 0x31);
	assert_non_null(pkts[0]);
	rte_pktmbuf_free(pkts[0]);
	close(fd);
}

/* A datagram of `len` bytes from the kernel's own stack on the other end of the link. */
static void kernel_send(const struct port *port, size_t len)
{
	static const uint8_t zeros[4000];
	struct sockaddr_in to = {.sin_family = AF_INET, .sin_port = htons(9)};
	char command[256];
	int fd = socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0);

	snprintf(command, sizeof(command),
		"ip addr replace 10.5.0.1/24 dev vb && ip neigh replace 10.5.0.2 dev vb lladdr "
		"%02x:%02x:%02x:%02x:%02x:%02x",
		port->mac[0], port->mac[1], port->mac[2], port->mac[3], port->mac[4], port->mac[5]);
	shell(command);
	inet_pton(AF_INET, "10.5.0.2", &to.sin_addr);
	if (sendto(fd, zeros, len, 0, (struct sockaddr *)&to, sizeof(to)) < 0)
		err(1, "sendto");
	close(fd);
}

/* The next UDP/IPv4 packet to 10.5.0.2. */
static struct rte_mbuf *receive_udp(struct port *port, struct ip_info *info)
{
	struct rte_mbuf *m;

	for (unsigned i = 0; i < 2000; i++) {
		struct rte_mbuf *pkts[32];
		uint16_t n = port->ops->rx(&workers[0], &port->queues[0], pkts, 1);

		m = n ? pkts[0] : NULL;
		if (m && rte_pktmbuf_mtod(m, uint8_t *)[12] == 8 &&
			ip_parse(rte_pktmbuf_mtod_offset(m, uint8_t *, 14), m->data_len - 14u, true,
				info) == IP_SOUND &&
			info->protocol == IPPROTO_UDP)
			return m;
		rte_pktmbuf_free(m);
		if (!n)
			poll(NULL, 0, 1);
	}
	return NULL;
}

/* A virtual link leaves checksums to hardware that isn't there; and fragments stay fragments. */
static void what_the_kernel_left_unfinished(struct port *port)
{
	struct ip_info info;
	struct rte_mbuf *m;
	uint32_t bytes = 0;

	kernel_send(port, 100);
	m = receive_udp(port, &info);
	assert_non_null(m);
	assert_int_equal(
		ip_sum_fold(ip_sum(info.source + 8, 108, ip_pseudo_sum(&info, IPPROTO_UDP, 108))),
		0);
	rte_pktmbuf_free(m);
	kernel_send(port, 3000);
	while (bytes < 3008) {
		m = receive_udp(port, &info);
		assert_non_null(m);
		assert_true(info.fragment);
		assert_int_equal(info.offset, bytes);
		assert_in_range(m->data_len, 14 + 20, 1514);
		bytes += info.total_len - info.header_len;
		rte_pktmbuf_free(m);
	}
	assert_false(info.more);
}

/* None is left for a frame: it is lost by name, and its place in the ring is the kernel's again. */
static void no_buffer_for_a_frame(struct port *port, const char *theirs)
{
	unsigned n = rte_mempool_avail_count(pools[0]);
	struct rte_mbuf *got, **all = calloc(n, sizeof(*all));
	int fd = raw_socket(theirs);

	assert_int_equal(dropped(0, "packet_rx_no_buffer"), 0);
	assert_int_equal(rte_pktmbuf_alloc_bulk(pools[0], all, n), 0);
	raw_send(fd, 0, 0x25);
	for (unsigned i = 0; i < 2000 && !dropped(0, "packet_rx_no_buffer"); i++) {
		assert_int_equal(receive(port, 0, &got), 0);
		poll(NULL, 0, 1);
	}
	assert_int_not_equal(dropped(0, "packet_rx_no_buffer"), 0);
	assert_int_equal(port->queues[0].counters.rx_dropped, dropped(0, "packet_rx_no_buffer"));
	rte_pktmbuf_free_bulk(all, n);
	free(all);
	raw_send(fd, 0, 0x26);
	got = receive_marked(port, 0, 0x26);
	assert_non_null(got);
	rte_pktmbuf_free(got);
	close(fd);
}

static bool becomes(struct port *port, bool up)
{
	for (unsigned i = 0; i < 300; i++) {
		if (port->up == up)
			return true;
		ev_run(core_loop(), EVRUN_NOWAIT);
		poll(NULL, 0, 10);
	}
	return false;
}

static void af_packet(void **state)
{
	struct port *port;
	struct rte_mbuf *m;
	unsigned before;

	(void)state;
	need_root();
	port = open_port("net_af_packet0,iface=va", 1);
	assert_true(port->up);
	frames_both_ways(port, "vb");
	vlan_tags_stay(port, "vb");
	no_buffer_for_a_frame(port, "vb");
	wakes_a_sleeper(port, "vb");
	what_the_kernel_left_unfinished(port);
	/* the link of the other end, then the whole interface */
	shell("ip link set vb down");
	assert_true(becomes(port, false));
	assert_string_equal(port->reason, "no link");
	shell("ip link set vb up");
	assert_true(becomes(port, true));
	before = published;
	shell("ip link del va");
	assert_true(becomes(port, false));
	assert_string_equal(port->reason, "its interface is gone");
	assert_true(port->gone);
	assert_int_equal(published, before + 1); /* a table for which nobody waits on it */
	m = frame_new(1);
	assert_int_equal(port->ops->tx(&workers[0], &port->queues[0], &m, 1), 0);
	rte_pktmbuf_free(m);
	port->ops->close(port);
	shell("ip link add va type veth peer name vb && ip link set va up && ip link set vb up");
	port = open_port("net_af_packet0,iface=va", 1);
	frames_both_ways(port, "vb");
	port->ops->close(port);
}

static void af_xdp(void **state)
{
	struct port_conf conf = conf_of("net_af_xdp0,iface=va");
	struct port *port;

	(void)state;
	need_root();
	for (unsigned i = 0; i < 3; i++) { /* closed and opened at once, as a reload does */
		port = open_port("net_af_xdp0,iface=va", 1);
		frames_both_ways(port, "vb");
		wakes_a_sleeper(port, "vb");
		port->ops->close(port);
	}
	conf.mtu = 9000;
	expect_refused(conf, "AF_XDP carries frames of up to");
}

/* Another process has the port and is killed: its program stays on the interface. */
static void a_killed_process_leaves_nothing_in_the_way(void **state)
{
	struct xdp_program stale, fresh;
	int said[2];
	struct port *port;
	char byte;
	pid_t pid;

	(void)state;
	need_root();
	assert_int_equal(pipe(said), 0);
	pid = fork();
	if (pid == 0) {
		dup2(said[1], STDOUT_FILENO);
		execl("/proc/self/exe", "test_port_ether", "hold", NULL);
		_exit(1);
	}
	close(said[1]);
	assert_int_equal(read(said[0], &byte, 1), 1);
	close(said[0]);
	kill(pid, SIGKILL);
	waitpid(pid, NULL, 0);
	assert_int_equal(system("ip link show va | grep -q prog/xdp"), 0);
	xdp_program_note(&stale, if_nametoindex("va"));
	port = open_port("net_af_xdp1,iface=va", 1);
	frames_both_ways(port, "vb");
	xdp_program_note(&fresh, if_nametoindex("va"));
	assert_int_not_equal(fresh.id, stale.id);
	port->ops->close(port);
	assert_int_not_equal(system("ip link show va | grep -q prog/xdp"), 0);
}

static void tap(void **state)
{
	struct port *port;

	(void)state;
	need_root();
	port = open_port("net_tap0,iface=vt", 1);
	shell("ip link set vt up");
	frames_both_ways(port, "vt");
	wakes_a_sleeper(port, "vt");
	shell("ip link del vt");
	assert_true(becomes(port, false));
	assert_string_equal(port->reason, "its interface is gone");
	assert_true(port->gone);
	assert_int_equal(receive(port, 0, (struct rte_mbuf *[32]){0}), 0);
	port->ops->close(port);
	port = open_port("net_tap0,iface=vt", 1);
	shell("ip link set vt up");
	frames_both_ways(port, "vt");
	port->ops->close(port);
}

/* Only a socket that nobody listens on is in the way of nobody. */
static void memif_sockets(void **state)
{
	struct sockaddr_un at = {.sun_family = AF_UNIX};
	int fd = socket(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0);
	char device[sizeof(MEMIF_SERVER) + sizeof(at.sun_path)];
	struct port *port;

	(void)state;
	need_root();
	snprintf(at.sun_path, sizeof(at.sun_path), "/tmp/tailplane-test-memif-%d", getpid());
	assert_int_equal(bind(fd, (struct sockaddr *)&at, sizeof(at)), 0);
	assert_int_equal(listen(fd, 1), 0);
	snprintf(device, sizeof(device), MEMIF_SERVER, 0, at.sun_path);
	expect_refused(conf_of(device), "cannot open device");
	assert_int_equal(access(at.sun_path, F_OK), 0);
	close(fd);
	snprintf(device, sizeof(device), MEMIF_SERVER, 1, at.sun_path); /* DPDK keeps the other */
	port = open_port(device, 1);
	assert_false(port->up);
	port->ops->close(port);
	unlink(at.sun_path);
}

/* What the killed process did. */
static void hold(void)
{
	open_port("net_af_xdp0,iface=va", 1);
	if (write(STDOUT_FILENO, "+", 1) == 1)
		pause();
}

static void namespace_make(void)
{
	if (geteuid() != 0 || unshare(CLONE_NEWNET) < 0)
		return;
	shell("ip link set lo up && ip link add va type veth peer name vb && ip link set va up && "
	      "ip link set vb up");
	private_net = true;
}

int main(int argc, char **argv)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(workers_without_a_queue_send_through_another),
		cmocka_unit_test(af_packet),
		cmocka_unit_test(memif_sockets),
		cmocka_unit_test(af_xdp),
		cmocka_unit_test(a_killed_process_leaves_nothing_in_the_way),
		cmocka_unit_test(tap),
	};

	(void)argv;
	if (argc == 1)
		namespace_make();
	ether_ports_start();
	if (argc > 1) {
		hold();
		return 1;
	}
	return cmocka_run_group_tests(tests, NULL, NULL);
}
