/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * `tailplane capture`. Workers copy the packets that pass the filter and punt the copies; the
 * control loop turns them into pcapng blocks in a buffer; a job writes full buffers to the file
 * that the command passed. Nothing waits for the disk: what does not fit is counted and told. One
 * capture runs at a time.
 *
 * Sealed packets of the host port have no IP header here (the kernel has taken it off): one is made
 * from the path, so that the file shows what was on the wire.
 */
#include <errno.h>
#include <netinet/in.h>
#include <pcap/pcap.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include <rte_ip.h>
#include <rte_udp.h>

#include "capture.h"
#include "control.h"
#include "pcapng.h"
#include "workers.h"

#define BUFFER_SIZE (4u << 20)
#define SNAPLEN_MAX 65535
#define INTERFACES_MAX 256
#define FLUSH_S 0.2

_Atomic unsigned capture_running;

/* What workers read. Written by: control before it is published. Freed: after a grace period. */
struct capture_filter {
	struct bpf_program raw, ethernet;
	bool has_filter;
	uint32_t snaplen;
	unsigned points; /* bits of enum capture_point */
	uint32_t tunnel; /* TUNNEL_NONE: all */
};

static _Atomic(struct capture_filter *) filter_now;

struct buffer {
	uint8_t *bytes;
	size_t len;
};

static struct capture {
	struct job job;       /* writes `writing` */
	struct op_call *call; /* NULL: none runs */
	int fd;
	bool job_runs, ending;
	int write_error;
	struct buffer filling, writing;
	int64_t left; /* packets until the end, -1: no end */
	uint64_t packets, overrun;
	uint64_t wall_offset; /* wall clock minus monotonic, ns */
	ev_timer flush;
	unsigned n_interfaces;
	struct {
		uint32_t id; /* point << 16 | port or tunnel */
	} interfaces[INTERFACES_MAX];
} capture;

/* ---- workers --------------------------------------------------------------------------------- */

/* The IP and UDP headers that the kernel took off, or will put on. */
static bool outer_rebuild(struct rte_mbuf *m, const struct packet *p, enum capture_point point)
{
	const struct packet_path *path = &p->path;
	const uint8_t *from = point == CAPTURE_RX ? path->remote : path->local;
	const uint8_t *to = point == CAPTURE_RX ? path->local : path->remote;
	uint16_t len = (uint16_t)(m->pkt_len + sizeof(struct rte_udp_hdr));
	struct rte_udp_hdr *udp = (void *)rte_pktmbuf_prepend(m, sizeof(*udp));
	struct rte_ipv4_hdr *ip;
	struct rte_ipv6_hdr *ip6;

	if (!udp)
		return false;
	udp->src_port = point == CAPTURE_RX ? path->remote_port : path->local_port;
	udp->dst_port = point == CAPTURE_RX ? path->local_port : path->remote_port;
	udp->dgram_len = rte_cpu_to_be_16(len);
	udp->dgram_cksum = 0;
	if (path->family == AF_INET) {
		ip = (void *)rte_pktmbuf_prepend(m, sizeof(*ip));
		if (!ip)
			return false;
		memset(ip, 0, sizeof(*ip));
		ip->version_ihl = 0x45;
		ip->type_of_service = path->tos;
		ip->total_length = rte_cpu_to_be_16((uint16_t)(len + sizeof(*ip)));
		ip->time_to_live = 64;
		ip->next_proto_id = IPPROTO_UDP;
		memcpy(&ip->src_addr, from, 4);
		memcpy(&ip->dst_addr, to, 4);
		ip->hdr_checksum = rte_ipv4_cksum(ip);
		return true;
	}
	ip6 = (void *)rte_pktmbuf_prepend(m, sizeof(*ip6));
	if (!ip6)
		return false;
	ip6->vtc_flow = rte_cpu_to_be_32(6u << 28 | (uint32_t)path->tos << 20);
	ip6->payload_len = rte_cpu_to_be_16(len);
	ip6->proto = IPPROTO_UDP;
	ip6->hop_limits = 64;
	memcpy(ip6->src_addr, from, 16);
	memcpy(ip6->dst_addr, to, 16);
	return true;
}

static bool passes(const struct capture_filter *f, const struct rte_mbuf *m, bool ethernet)
{
	const struct bpf_program *program = ethernet ? &f->ethernet : &f->raw;

	return !f->has_filter || bpf_filter(program->bf_insns, rte_pktmbuf_mtod(m, const u_char *),
					 m->pkt_len, m->data_len);
}

static void packet_copy(struct worker *w, const struct capture_filter *f, enum capture_point point,
	struct rte_mbuf *m)
{
	const struct packet *p = packet_of(m);
	struct rte_mbuf *copy = rte_pktmbuf_copy(m, w->pool, 0, UINT32_MAX);
	struct packet *c;

	if (!copy)
		return;
	c = packet_of(copy);
	*c = *p;
	if ((p->kind == PACKET_DATAGRAM && !outer_rebuild(copy, p, point)) ||
		!passes(f, copy, p->kind == PACKET_ETHER)) {
		rte_pktmbuf_free(copy);
		return;
	}
	c->mtu = (uint16_t)RTE_MIN(copy->pkt_len, (uint32_t)UINT16_MAX);
	if (copy->data_len > f->snaplen)
		rte_pktmbuf_trim(copy, (uint16_t)(copy->data_len - f->snaplen));
	c->reason = (uint8_t)point;
	memcpy(c->path.local, &w->now, sizeof(w->now));
	if (!worker_punt(w, PUNT_CAPTURE, copy))
		rte_pktmbuf_free(copy);
}

void capture_burst_slow(
	struct worker *w, enum capture_point point, struct rte_mbuf *const *pkts, uint16_t n)
{
	/* pairs with the release store in capture_op */
	const struct capture_filter *f = atomic_load_explicit(&filter_now, memory_order_acquire);

	if (!f || !(f->points & 1u << point))
		return;
	for (uint16_t i = 0; i < n; i++)
		if (f->tunnel == TUNNEL_NONE || packet_of(pkts[i])->tunnel == f->tunnel)
			packet_copy(w, f, point, pkts[i]);
}

/* ---- the file -------------------------------------------------------------------------------- */

static void filter_free(void *object)
{
	struct capture_filter *f = object;

	pcap_freecode(&f->raw);
	pcap_freecode(&f->ethernet);
	free(f);
}

static void capture_end(void)
{
	json_t *result = NULL;

	if (capture.call && capture.write_error)
		op_fail(capture.call, "the capture ended after %llu packets: cannot write: %s",
			(unsigned long long)capture.packets, strerror(capture.write_error));
	else if (capture.call)
		result = json_pack("{sI sI}", "packets", (json_int_t)capture.packets, "overrun",
			(json_int_t)capture.overrun);
	if (result)
		op_reply(capture.call, result);
	close(capture.fd);
	free(capture.filling.bytes);
	free(capture.writing.bytes);
	memset(&capture, 0, sizeof(capture));
}

static void capture_write_run(struct job *job)
{
	size_t at = 0;

	(void)job;
	while (at < capture.writing.len) {
		ssize_t n = write(capture.fd, capture.writing.bytes + at, capture.writing.len - at);

		if (n < 0 && errno != EINTR) {
			capture.write_error = errno;
			return;
		}
		at += n > 0 ? (size_t)n : 0;
	}
}

static void buffer_flush(void);

static void capture_write_done(struct job *job)
{
	(void)job;
	capture.job_runs = false;
	capture.writing.len = 0;
	if (capture.write_error)
		capture_halt();
	buffer_flush();
}

/* Hands what there is to a job, unless one is at work; ends the capture when it was the last. */
static void buffer_flush(void)
{
	struct buffer swap = capture.writing;

	if (capture.job_runs)
		return;
	if (!capture.filling.len || capture.write_error) {
		if (capture.ending)
			capture_end();
		return;
	}
	capture.writing = capture.filling;
	capture.filling = swap;
	capture.job_runs = true;
	job_submit(&capture.job);
}

/* No more packets: workers stop copying, what is buffered is written. */
void capture_halt(void)
{
	if (capture.ending || !capture.filling.bytes)
		return;
	capture.ending = true;
	ev_timer_stop(core_loop(), &capture.flush);
	atomic_store(&capture_running, 0);
	workers_retire(atomic_exchange(&filter_now, NULL), filter_free);
}

LOOP_CALLBACK(capture_flush, ev_timer)
{
	(void)loop, (void)watcher, (void)revents;
	buffer_flush();
}

static const char *interface_name(
	char name[64], enum capture_point point, uint16_t port, uint32_t tunnel)
{
	static const char *const points[] = {"rx", "tx", "in", "out"};
	const struct port *p = control_port(port);
	const struct tunnel *t = tunnel < n_tunnels ? tunnels[tunnel] : NULL;

	if (point == CAPTURE_INNER_IN || point == CAPTURE_INNER_OUT)
		snprintf(name, 64, "%.40s inner %s", t ? t->name : "tunnel", points[point]);
	else
		snprintf(name, 64, "%.40s %s", p ? p->name : "port", points[point]);
	return name;
}

/* The number of its interface in the file; written there when it is new. */
static uint32_t interface_number(const struct packet *p, enum capture_point point, uint16_t link)
{
	bool inner = point == CAPTURE_INNER_IN || point == CAPTURE_INNER_OUT;
	uint16_t port = point == CAPTURE_TX ? p->out_port : p->in_port;
	uint32_t id = (uint32_t)point << 16 | (inner ? (uint16_t)p->tunnel : port);
	char name[64];

	for (unsigned i = 0; i < capture.n_interfaces; i++)
		if (capture.interfaces[i].id == id)
			return i;
	if (capture.n_interfaces == INTERFACES_MAX)
		return 0;
	capture.interfaces[capture.n_interfaces].id = id;
	capture.filling.len += pcapng_interface(capture.filling.bytes + capture.filling.len, link,
		SNAPLEN_MAX, interface_name(name, point, port, p->tunnel));
	return capture.n_interfaces++;
}

static void packet_write(struct rte_mbuf *m)
{
	const struct packet *p = packet_of(m);
	enum capture_point point = p->reason;
	uint16_t link = p->kind == PACKET_ETHER ? PCAPNG_LINK_ETHERNET : PCAPNG_LINK_RAW;
	bool in = point == CAPTURE_RX || point == CAPTURE_INNER_IN;
	uint32_t number;
	uint64_t now;

	if (capture.filling.len + 2 * PCAPNG_BLOCK_MAX + m->data_len > BUFFER_SIZE) {
		capture.overrun++;
		return;
	}
	memcpy(&now, p->path.local, sizeof(now));
	number = interface_number(p, point, link);
	capture.filling.len += pcapng_packet(capture.filling.bytes + capture.filling.len, number,
		now + capture.wall_offset, rte_pktmbuf_mtod(m, void *), m->data_len, p->mtu,
		in ? PCAPNG_INBOUND : PCAPNG_OUTBOUND);
	capture.packets++;
}

void capture_punt(struct rte_mbuf *m)
{
	if (capture.filling.bytes && !capture.ending) {
		packet_write(m);
		if (capture.left > 0 && --capture.left == 0) {
			capture_halt();
			buffer_flush();
		}
	}
	rte_pktmbuf_free(m);
}

/* ---- the operation --------------------------------------------------------------------------- */

static int filter_compile(struct capture_filter *f, const char *text, char *why, size_t size)
{
	static const int links[] = {DLT_RAW, DLT_EN10MB};
	struct bpf_program *const programs[] = {&f->raw, &f->ethernet};

	for (unsigned i = 0; text && i < RTE_DIM(links); i++) {
		pcap_t *pcap = pcap_open_dead(links[i], SNAPLEN_MAX);
		int rc = pcap ? pcap_compile(pcap, programs[i], text, 1, PCAP_NETMASK_UNKNOWN) : -1;

		if (rc)
			snprintf(why, size, "%s", pcap ? pcap_geterr(pcap) : "out of memory");
		if (pcap)
			pcap_close(pcap);
		if (rc)
			return -EINVAL;
	}
	f->has_filter = text != NULL;
	return 0;
}

static unsigned points_of(const json_t *args)
{
	const char *at = json_string_value(json_object_get(args, "at"));
	unsigned sealed = 1u << CAPTURE_RX | 1u << CAPTURE_TX;
	unsigned inner = 1u << CAPTURE_INNER_IN | 1u << CAPTURE_INNER_OUT;

	if (!at || !strcmp(at, "both"))
		return sealed | inner;
	return !strcmp(at, "sealed") ? sealed : inner;
}

static struct capture_filter *filter_new(struct op_call *call, const json_t *args)
{
	const char *name = json_string_value(json_object_get(args, "tunnel"));
	const json_t *snaplen = json_object_get(args, "snaplen");
	struct capture_filter *f = calloc(1, sizeof(*f));
	struct tunnel *t = name ? tunnel_find(name) : NULL;
	char why[256];

	if (!f)
		return NULL;
	f->points = points_of(args);
	f->snaplen = snaplen ? (uint32_t)json_integer_value(snaplen) : SNAPLEN_MAX;
	f->tunnel = t ? t->index : TUNNEL_NONE;
	if (name && !t)
		op_fail(call, "there is no tunnel named \"%s\"", name);
	else if (filter_compile(
			 f, json_string_value(json_object_get(args, "filter")), why, sizeof(why)))
		op_fail(call, "the filter is no tcpdump expression: %s", why);
	else
		return f;
	filter_free(f);
	return NULL;
}

static void client_gone(void *arg)
{
	(void)arg;
	capture.call = NULL;
	capture_halt();
	buffer_flush();
}

static uint64_t wall_offset(void)
{
	struct timespec ts;

	clock_gettime(CLOCK_REALTIME, &ts);
	return (uint64_t)ts.tv_sec * NS_PER_SEC + (uint64_t)ts.tv_nsec - core_now();
}

static bool buffers_new(void)
{
	capture.filling.bytes = malloc(BUFFER_SIZE);
	capture.writing.bytes = malloc(BUFFER_SIZE);
	if (capture.filling.bytes && capture.writing.bytes)
		return true;
	free(capture.filling.bytes);
	free(capture.writing.bytes);
	memset(&capture, 0, sizeof(capture));
	return false;
}

void capture_op(struct op_call *call, const json_t *args)
{
	const json_t *count = json_object_get(args, "count"),
		     *snaplen = json_object_get(args, "snaplen");
	struct capture_filter *f;
	int fd;

	if ((count && json_integer_value(count) < 1) ||
		(snaplen && json_integer_value(snaplen) < 1)) {
		op_fail(call, "%s is at least 1",
			count && json_integer_value(count) < 1 ? "count" : "snaplen");
		return;
	}
	if (capture.filling.bytes) {
		op_fail(call, "another capture is running: end that one first");
		return;
	}
	f = filter_new(call, args);
	if (!f)
		return;
	fd = op_take_fd(call);
	if (fd < 0 || !buffers_new()) {
		if (fd >= 0)
			close(fd);
		filter_free(f);
		op_fail(call,
			fd < 0 ? "no file to write to came with the request" : "out of memory");
		return;
	}
	capture.call = call;
	capture.fd = fd;
	capture.job.run = capture_write_run;
	capture.job.done = capture_write_done;
	capture.job.name = "capture";
	capture.left = count ? json_integer_value(count) : -1;
	capture.wall_offset = wall_offset();
	capture.filling.len = pcapng_section(capture.filling.bytes, "tailplane " TAILPLANE_VERSION);
	ev_timer_init(&capture.flush, capture_flush, FLUSH_S, FLUSH_S);
	ev_timer_start(core_loop(), &capture.flush);
	op_on_close(call, client_gone, NULL);
	/* pairs with the acquire loads on the workers */
	atomic_store_explicit(&filter_now, f, memory_order_release);
	atomic_store_explicit(&capture_running, 1, memory_order_release);
}

void capture_stop_all(void)
{
	capture_halt();
	while (capture.filling.bytes) {
		buffer_flush();
		jobs_drain();
	}
}

static const char *const at_choices[] = {"sealed", "inner", "both", NULL};

const struct op_arg capture_args[] = {
	{"filter", SETTING_STRING, OP_ARG_POSITIONAL, NULL, NULL, "a tcpdump expression, quoted"},
	{"write", SETTING_STRING, OP_ARG_REQUIRED | OP_ARG_FILE, NULL, NULL,
		"the pcapng file; - for standard output"},
	{"at", SETTING_ENUM, 0, at_choices, NULL, "before decryption, after it, or both (default)"},
	{"count", SETTING_INT, 0, NULL, NULL, "ends after so many packets"},
	{"snaplen", SETTING_INT, 0, NULL, NULL, "keeps so many bytes of each packet"},
	{"tunnel", SETTING_STRING, 0, NULL, "tunnels:name", "only this tunnel's inner packets"},
	{0},
};
