/* SPDX-License-Identifier: BSD-3-Clause */
/* A tunnel as text for tailplane.conf(5). */
#include "wgquick.h"

#include <inttypes.h>
#include <stdlib.h>

#include <tailplane/settings.h>

static void print_string(FILE *out, const char *text)
{
	fputc('"', out);
	for (; *text != '\0'; text++) {
		if (*text == '"' || *text == '\\')
			fputc('\\', out);
		fputc(*text, out);
	}
	fputc('"', out);
}

static void print_setting(FILE *out, const char *indent, const char *name, const char *value)
{
	fprintf(out, "%s%s = ", indent, name);
	print_string(out, value);
	fputs(";\n", out);
}

/* `mask`: only the network counts, so host bits are not shown. */
static void print_prefixes(FILE *out, const char *indent, const char *name,
	const struct wgquick_prefixes *list, bool mask)
{
	char text[NET_PREFIX_STRLEN];

	if (list->count == 0)
		return;
	fprintf(out, "%s%s = [ ", indent, name);
	for (size_t i = 0; i < list->count; i++) {
		struct net_prefix prefix = list->items[i];

		if (mask)
			prefix = net_prefix_masked(&prefix);
		fprintf(out, "%s\"%s\"", i > 0 ? ", " : "", net_prefix_format(&prefix, text));
	}
	fputs(" ];\n", out);
}

static void print_peer(
	FILE *out, const struct wgquick_peer *peer, const struct wgquick_paths *paths, bool last)
{
	static const char indent[] = "\t\t\t\t";
	char text[48];

	fputs("\t\t\t{\n", out);
	if (peer->name != NULL)
		print_setting(out, indent, "name", peer->name);
	print_setting(out, indent, "public_key", setting_format_key(peer->key.bytes, text));
	if (peer->has_psk) {
		char *path = paths->psk(paths->arg, peer);

		print_setting(out, indent, "preshared_key_file", path);
		free(path);
	}
	if (peer->endpoint != NULL)
		print_setting(out, indent, "endpoint", peer->endpoint);
	print_prefixes(out, indent, "allowed_ips", &peer->allowed_ips, true);
	if (peer->keepalive_s != 0) {
		snprintf(text, sizeof(text), "%us", peer->keepalive_s);
		print_setting(out, indent, "persistent_keepalive", text);
	}
	fprintf(out, "\t\t\t}%s\n", last ? "" : ",");
}

void wgquick_print(
	FILE *out, const struct wgquick *conf, const char *name, const struct wgquick_paths *paths)
{
	static const char indent[] = "\t\t";

	fputs("plugins = [ \"dataplane\" ];\n\ndataplane = {\n\ttunnels = ( {\n", out);
	print_setting(out, indent, "name", name);
	print_setting(out, indent, "private_key_file", paths->private_key);
	if (conf->listen_port != 0)
		fprintf(out, "%slisten_port = %u;\n", indent, conf->listen_port);
	if (conf->fwmark != 0)
		fprintf(out, "%sfwmark = %u;\n", indent, conf->fwmark);
	if (conf->no_routes)
		fprintf(out, "%skernel_routes = false;\n", indent);
	print_prefixes(out, indent, "addresses", &conf->addresses, false);
	if (conf->mtu != 0)
		fprintf(out, "%smtu = %u;\n", indent, conf->mtu);
	if (conf->n_peers > 0) {
		fprintf(out, "%speers = (\n", indent);
		for (size_t i = 0; i < conf->n_peers; i++)
			print_peer(out, &conf->peers[i], paths, i + 1 == conf->n_peers);
		fprintf(out, "%s);\n", indent);
	}
	fputs("\t} );\n};\n", out);
}
