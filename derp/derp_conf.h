/* SPDX-License-Identifier: BSD-3-Clause */
#pragma once

#include <stdbool.h>
#include <stdint.h>

#include <tailplane/net.h>
#include <tailplane/settings.h>

#include "mesh.h"

/* Settings of group `derp`: names as Headscale's derp.server and derper's flags have them, where
 * they have them. */
struct derp_conf {
	char *private_key_path;
	char *hostname; /* NULL: the control server's, or this machine's address */
	int64_t region_id;
	char *region_code, *region_name;
	struct net_addr ipv4, ipv6;
	int64_t advertised_port;             /* 0: that which is listened on */
	char *stun_listen_addr;              /* "": no STUN */
	struct setting_list tls_listen_addr; /* char * */
	bool verify_clients;
	char *verify_client_url; /* NULL: none */
	bool verify_client_url_fail_open;
	char *verify_client_file; /* NULL: none */
	uint64_t verify_grace, verify_again;
	struct setting_list bootstrap_dns_names; /* char * */
	uint64_t drain;
	struct derp_mesh_conf mesh;
	struct {
		uint64_t client_rate; /* bit/s */
		uint64_t client_burst;
		int64_t accept_rate, accept_burst, connections, connections_per_address;
		uint64_t memory;
		uint64_t write_timeout;
	} limits;
};

extern const struct setting derp_settings[];
void derp_validate(const void *conf, struct setting_errors *errs);
