/* SPDX-License-Identifier: BSD-3-Clause */
#pragma once

#include <tailplane/settings.h>

/* The core's own group of the configuration. */
struct core_conf {
	char *state_dir, *runtime_dir;
	char *user; /* "root": keep what we were started as */
	int64_t jobs;
	int64_t io_loops;
	int log_level; /* enum log_level */
	struct setting_list plugin_path;
	char *aead;
	bool coredumps;
	struct {
		char *listen; /* "": off */
		bool allow_remote;
	} metrics;
	struct {
		int type; /* 0: sqlite, the only one yet */
		struct {
			char *path;
		} sqlite;
	} database;
	struct {
		struct setting_list listen_addr, plain_listen_addr; /* char * */
		char *tls_cert_path, *tls_key_path;                 /* NULL: no TLS */
		struct setting_list tls_more;                       /* struct core_certificate */
		struct setting_list trusted_proxies;                /* struct net_prefix */
		int64_t half_open_max, connections_max;
	} http;
};

/* An element of http.tls_more. */
struct core_certificate {
	char *cert_path, *key_path;
};

extern const struct setting core_settings[];

/* Only this machine reaches it. */
bool addr_is_loopback(const struct net_addr *addr);
void core_conf_validate(const struct core_conf *conf, struct setting_errors *errs);
/* What cannot change while running: 0, or -EINVAL with what to do. */
int core_conf_check(const struct core_conf *running, const struct core_conf *next, struct err *err);
