/* SPDX-License-Identifier: BSD-3-Clause */
#pragma once

#include <stdbool.h>
#include <stdint.h>

#include <tailplane/net.h>
#include <tailplane/settings.h>

/* Settings of group `control`: Headscale's names and nesting. */

struct control_split {
	char *domain;
	struct setting_list servers; /* char * */
};

struct control_record {
	char *name, *type, *value;
};

struct control_conf {
	char *server_url;
	bool first_key;
	struct {
		char *private_key_path;
	} noise;
	struct {
		struct net_prefix v4, v6;
		int allocation;
	} prefixes;
	struct {
		struct setting_list urls, paths; /* char * */
		bool auto_update_enabled;
		uint64_t update_frequency;
		struct {
			bool enabled, automatically_add_embedded_derp_region;
		} server;
	} derp;
	struct {
		bool magic_dns;
		char *base_domain;
		bool override_local_dns;
		struct {
			struct setting_list global; /* char * */
			struct setting_list split;  /* struct control_split */
		} nameservers;
		struct setting_list search_domains; /* char * */
		struct setting_list extra_records;  /* struct control_record */
		char *extra_records_path;
	} dns;
	struct {
		uint64_t expiry;
		bool approval;
		struct {
			uint64_t inactivity_timeout;
		} ephemeral;
		struct {
			struct {
				uint64_t probe_interval, probe_timeout;
			} ha;
		} routes;
	} node;
	struct {
		uint64_t revoked_retention;
	} preauth_keys;
	struct {
		bool enabled;
	} taildrop, auto_update, logtail;
	struct {
		uint64_t register_cache_expiration;
		int64_t register_cache_max_entries;
	} tuning;
};

extern const struct setting control_settings[];
void control_validate(const void *conf, struct setting_errors *errs);
