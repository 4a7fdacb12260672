/* SPDX-License-Identifier: BSD-3-Clause */
/* Requests as a client of today makes them. Runs on: the generator's one thread. */
#include <stdio.h>
#include <string.h>

#include <sodium.h>

#include "load.h"

#define KEY_HEX 65

static char text[8192];

static const char *hex(char *out, const uint8_t *key)
{
	return sodium_bin2hex(out, KEY_HEX, key, 32);
}

static int services(const struct node *node, bool all, char *at, size_t size)
{
	unsigned i = node->index;

	if (!all)
		return snprintf(
			at, size, "\"Services\":[{\"Proto\":\"peerapi-dns-proxy\",\"Port\":1}],");
	return snprintf(at, size,
		"\"Services\":[{\"Proto\":\"peerapi4\",\"Port\":%u},{\"Proto\":\"peerapi6\","
		"\"Port\":"
		"%u},{\"Proto\":\"peerapi-dns-proxy\",\"Port\":1}],"
		"\"NetInfo\":{\"MappingVariesByDestIP\":false,\"WorkingIPv6\":false,\"OSHasIPv6\":"
		"true,"
		"\"WorkingUDP\":true,\"HavePortMap\":false,\"UPnP\":false,\"PMP\":false,\"PCP\":"
		"false,"
		"\"PreferredDERP\":%u,\"DERPLatency\":{\"%u-v4\":0.0%u,\"21-v4\":0.0%u},"
		"\"FirewallMode\":\"ipt-default\"},",
		1024 + i * 7919u % 60000, 1024 + i * 104729u % 60000, 1 + i % 20, 1 + i % 20,
		11 + i % 80, 11 + i % 70);
}

static int hostinfo(const struct node *node, bool all, char *at, size_t size)
{
	unsigned i = node->index;
	int n = snprintf(at, size,
		"\"Hostinfo\":{\"IPNVersion\":\"1.102.4-t0123456789-g0123456789\",\"BackendLogID\":"
		"\"%08x0123456789abcdef0123456789abcdef0123456789abcdef01234567\",\"OS\":\"linux\","
		"\"OSVersion\":\"6.1.0-%u-cloud-amd64\",\"Container\":false,\"Distro\":\"debian\","
		"\"DistroVersion\":\"12.%u\",\"DistroCodeName\":\"bookworm\",\"Desktop\":false,"
		"\"Hostname\":\"load-%u\",\"Machine\":\"x86_64\",\"GoArch\":\"amd64\","
		"\"GoArchVar\":\"v1\",\"GoVersion\":\"go1.26.0\",",
		i, i % 40, i % 13, i);

	n += services(node, all, at + n, size - (size_t)n);
	return n + snprintf(at + n, size - (size_t)n,
			   "\"Userspace\":false,\"UserspaceRouter\":false,\"AppConnector\":false}");
}

const char *say_register(const struct node *node, size_t *len)
{
	char key[KEY_HEX];
	int n = snprintf(text, sizeof(text),
		"{\"Version\":%u,\"NodeKey\":\"nodekey:%s\",\"OldNodeKey\":\"nodekey:%064d\","
		"\"NLKey\":\"nlpub:%064d\",\"Auth\":{\"AuthKey\":\"%s\"},"
		"\"Expiry\":\"0001-01-01T00:00:00Z\",\"Followup\":\"\",",
		node->load->conf.version, hex(key, node->node_key), 0, 0,
		node->load->conf.auth_key);

	n += hostinfo(node, false, text + n, sizeof(text) - (size_t)n);
	n += snprintf(text + n, sizeof(text) - (size_t)n, "}");
	*len = (size_t)n;
	return text;
}

static int endpoints(const struct node *node, char *at, size_t size)
{
	unsigned i = node->index, c = node->change;
	int n = snprintf(at, size, ",\"Endpoints\":[\"203.0.%u.%u:41641\",\"10.%u.%u.%u:41641\"",
		i >> 8 & 255, i & 255, i >> 16 & 255, i >> 8 & 255, i & 255);

	if (c)
		n += snprintf(
			at + n, size - (size_t)n, ",\"198.18.%u.%u:41641\"", c >> 8 & 255, c & 255);
	return n +
	       snprintf(at + n, size - (size_t)n, "],\"EndpointTypes\":[%s]", c ? "2,1,1" : "2,1");
}

const char *say_map(const struct node *node, bool stream, bool all, size_t *len)
{
	char key[KEY_HEX], disco[KEY_HEX];
	int n = snprintf(text, sizeof(text),
		"{\"Version\":%u,\"Compress\":\"zstd\",\"KeepAlive\":%s,\"NodeKey\":\"nodekey:%s\","
		"\"DiscoKey\":\"discokey:%s\",\"Stream\":%s,\"OmitPeers\":%s,",
		node->load->conf.version, stream ? "true" : "false", hex(key, node->node_key),
		hex(disco, node->disco_key), stream ? "true" : "false", stream ? "false" : "true");

	n += hostinfo(node, all, text + n, sizeof(text) - (size_t)n);
	if (all)
		n += endpoints(node, text + n, sizeof(text) - (size_t)n);
	n += snprintf(text + n, sizeof(text) - (size_t)n, "}");
	*len = (size_t)n;
	return text;
}
