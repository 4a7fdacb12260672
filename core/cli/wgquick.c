/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * The grammar is that of wg(8) and wg-quick(8): sections in brackets, "key = value" lines, '#' to
 * the end of the line, keys without regard to case, lists by comma or repetition. Pure: any thread.
 */
#include "wgquick.h"

#include <ctype.h>
#include <errno.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#include <tailplane/settings.h>
#include <tailplane/utf8.h>

#include "nearest.h"
#include "text.h"

#define NAME_MAX_BYTES 63 /* what the data plane keeps of a peer's name */

enum section { SECTION_NONE, SECTION_INTERFACE, SECTION_PEER, SECTION_UNKNOWN };

struct reader {
	struct wgquick *conf;
	enum section section;
	unsigned line;
	char *comment; /* the last one, that no section or key has followed */
};

static void note(struct reader *r, unsigned line, bool error, const char *fmt, ...)
	__attribute__((format(printf, 4, 5)));

static void note(struct reader *r, unsigned line, bool error, const char *fmt, ...)
{
	struct wgquick *conf = r->conf;
	va_list ap;
	char *text;

	conf->failed = conf->failed || error;
	if (conf->n_notes == WGQUICK_NOTES_MAX)
		return;
	va_start(ap, fmt);
	int len = vasprintf(&text, fmt, ap);
	va_end(ap);
	if (len < 0)
		return;
	conf->notes = text_grow(conf->notes, conf->n_notes + 1, sizeof(*conf->notes));
	conf->notes[conf->n_notes++] = (struct wgquick_note){line, error, text};
}

#define wrong(r, ...) note(r, (r)->line, true, __VA_ARGS__)
#define left_out(r, ...) note(r, (r)->line, false, __VA_ARGS__)

static struct wgquick_peer *peer_of(struct reader *r)
{
	return &r->conf->peers[r->conf->n_peers - 1];
}

static bool number_of(unsigned *number, const char *text, unsigned min, unsigned max)
{
	char *end;

	errno = 0;
	unsigned long n = strtoul(text, &end, 10);

	if (text[0] < '0' || text[0] > '9' || *end != '\0' || errno != 0 || n < min || n > max)
		return false;
	*number = (unsigned)n;
	return true;
}

static void add_prefixes(
	struct reader *r, struct wgquick_prefixes *list, const char *key, char *value)
{
	char *save = NULL;

	for (char *item = strtok_r(value, ",", &save); item; item = strtok_r(NULL, ",", &save)) {
		struct net_prefix prefix;

		item += strspn(item, " \t");
		item[strcspn(item, " \t")] = '\0';
		if (item[0] == '\0')
			continue;
		if (net_prefix_parse(&prefix, item) < 0) {
			wrong(r, "%s: '%s' is no address or prefix like 10.0.0.1/24", key, item);
			continue;
		}
		/* By powers of two: a site's list may be thousands. */
		if ((list->count & (list->count - 1)) == 0)
			list->items = text_grow(list->items, list->count ? list->count * 2 : 1,
				sizeof(*list->items));
		list->items[list->count++] = prefix;
	}
}

/* Never shows the value: it is a secret, or was meant to be one. */
static bool key_of(struct reader *r, void *bytes, const char *key, const char *value)
{
	struct err ignored = {0};

	if (setting_parse_key(bytes, value, &ignored) == 0)
		return true;
	wrong(r, "%s is no key: 44 characters of base64, as 'wg genkey' prints them", key);
	return false;
}

static void interface_private_key(struct reader *r, const char *key, char *value)
{
	r->conf->has_key = key_of(r, r->conf->key.bytes, key, value);
}

static void interface_listen_port(struct reader *r, const char *key, char *value)
{
	unsigned port;

	if (number_of(&port, value, 0, 65535))
		r->conf->listen_port = (uint16_t)port;
	else
		wrong(r, "%s takes a port, 0 to 65535, not '%s'", key, value);
}

static void interface_address(struct reader *r, const char *key, char *value)
{
	add_prefixes(r, &r->conf->addresses, key, value);
}

static void interface_mtu(struct reader *r, const char *key, char *value)
{
	if (!number_of(&r->conf->mtu, value, 576, 9200))
		wrong(r, "%s takes bytes, 576 to 9200, not '%s'", key, value);
}

static bool is_off(const char *value)
{
	return strcasecmp(value, "off") == 0 || strcmp(value, "0") == 0;
}

static void interface_fwmark(struct reader *r, const char *key, char *value)
{
	const char *hex = strncasecmp(value, "0x", 2) == 0 ? value + 2 : NULL;
	char *end;

	if (is_off(value))
		return;
	errno = 0;
	unsigned long mark = strtoul(value, &end, hex != NULL ? 16 : 10);

	if (!isxdigit((unsigned char)(hex != NULL ? hex : value)[0]) || *end != '\0' ||
		errno != 0 || mark > 0xffffffff)
		wrong(r, "%s takes a number of 32 bits, or off, not '%s'", key, value);
	else if (mark > 0x7fffffff)
		left_out(r, "%s: marks end at 0x7fffffff: %s", key, value);
	else
		r->conf->fwmark = (unsigned)mark;
}

static void interface_dns(struct reader *r, const char *key, char *value)
{
	left_out(r,
		"DNS: a gateway leaves the machine's resolver alone; set it with 'resolvectl dns' "
		"or in /etc/resolv.conf: %s",
		value);
}

static void interface_table(struct reader *r, const char *key, char *value)
{
	r->conf->no_routes = strcasecmp(value, "off") == 0;
	if (strcasecmp(value, "auto") != 0 && !r->conf->no_routes)
		left_out(r,
			"Table = %s: routes for the allowed IPs go to the main table; for other "
			"tables add rules with 'ip rule' and 'ip route'",
			value);
}

static void interface_hook(struct reader *r, const char *key, char *value)
{
	if (strcasestr(value, "masquerade") != NULL || strcasestr(value, "ip_forward") != NULL)
		left_out(r,
			"%s: 'forward = true' in the settings of the plugin gateway turns on "
			"forwarding and masquerading, in place of: %s",
			key, value);
	else
		left_out(r,
			"%s: no commands are run; make it %s of the unit tailplaned.service "
			"(systemctl edit tailplaned): %s",
			key,
			strcasecmp(key, "PreUp") == 0     ? "ExecStartPre="
			: strcasecmp(key, "PostUp") == 0  ? "ExecStartPost="
			: strcasecmp(key, "PreDown") == 0 ? "ExecStop="
							  : "ExecStopPost=",
			value);
}

static void interface_save_config(struct reader *r, const char *key, char *value)
{
	if (strcasecmp(value, "false") != 0)
		left_out(r, "SaveConfig: peers added with 'tailplane peers add' are kept by "
			    "themselves, in the state directory; this file is never rewritten");
}

static void peer_public_key(struct reader *r, const char *key, char *value)
{
	peer_of(r)->has_key = key_of(r, peer_of(r)->key.bytes, key, value);
}

static void peer_preshared_key(struct reader *r, const char *key, char *value)
{
	struct wgquick_peer *peer = peer_of(r);

	/* All zero is how WireGuard says: none. */
	if (key_of(r, peer->psk.bytes, key, value))
		peer->has_psk = !secret_is_zero(peer->psk.bytes, sizeof(peer->psk.bytes));
}

static void peer_allowed_ips(struct reader *r, const char *key, char *value)
{
	add_prefixes(r, &peer_of(r)->allowed_ips, key, value);
}

static void peer_endpoint(struct reader *r, const char *key, char *value)
{
	char host[256];
	uint16_t port;

	if (net_hostport_split(value, host, sizeof(host), &port) < 0) {
		wrong(r, "%s takes host:port or [address]:port, not '%s'", key, value);
		return;
	}
	free(peer_of(r)->endpoint);
	peer_of(r)->endpoint = text_copy(value, strlen(value));
}

static void peer_keepalive(struct reader *r, const char *key, char *value)
{
	unsigned seconds = 0;

	if (!is_off(value) && !number_of(&seconds, value, 1, 65535))
		wrong(r, "%s takes seconds, 1 to 65535, or off, not '%s'", key, value);
	peer_of(r)->keepalive_s = seconds;
}

static const struct key {
	enum section section;
	const char *name;
	void (*take)(struct reader *r, const char *key, char *value);
} keys[] = {
	{SECTION_INTERFACE, "PrivateKey", interface_private_key},
	{SECTION_INTERFACE, "ListenPort", interface_listen_port},
	{SECTION_INTERFACE, "Address", interface_address},
	{SECTION_INTERFACE, "MTU", interface_mtu},
	{SECTION_INTERFACE, "FwMark", interface_fwmark},
	{SECTION_INTERFACE, "DNS", interface_dns},
	{SECTION_INTERFACE, "Table", interface_table},
	{SECTION_INTERFACE, "PreUp", interface_hook},
	{SECTION_INTERFACE, "PostUp", interface_hook},
	{SECTION_INTERFACE, "PreDown", interface_hook},
	{SECTION_INTERFACE, "PostDown", interface_hook},
	{SECTION_INTERFACE, "SaveConfig", interface_save_config},
	{SECTION_PEER, "PublicKey", peer_public_key},
	{SECTION_PEER, "PresharedKey", peer_preshared_key},
	{SECTION_PEER, "AllowedIPs", peer_allowed_ips},
	{SECTION_PEER, "Endpoint", peer_endpoint},
	{SECTION_PEER, "PersistentKeepalive", peer_keepalive},
};
#define N_KEYS (sizeof(keys) / sizeof(keys[0]))

static void unknown_key(struct reader *r, const char *name)
{
	const char *section = r->section == SECTION_PEER ? "[Peer]" : "[Interface]";
	struct nearest nearest = {.typed = name};

	for (size_t i = 0; i < N_KEYS; i++) {
		if (strcasecmp(keys[i].name, name) == 0) {
			wrong(r, "%s does not belong in %s", keys[i].name, section);
			return;
		}
		if (keys[i].section == r->section)
			nearest_offer(&nearest, keys[i].name);
	}
	if (nearest.best != NULL)
		wrong(r, "%s has no key '%s'; is it meant to be %s?", section, name, nearest.best);
	else
		wrong(r, "%s has no key '%s'", section, name);
}

static void take_key(struct reader *r, const char *name, char *value)
{
	if (r->section == SECTION_UNKNOWN)
		return; /* its first line has been complained about */
	if (r->section == SECTION_NONE) {
		wrong(r, "'%s' stands before [Interface] and [Peer]", name);
		return;
	}
	for (size_t i = 0; i < N_KEYS; i++) {
		if (keys[i].section != r->section || strcasecmp(keys[i].name, name) != 0)
			continue;
		if (value[0] == '\0' && keys[i].take != peer_allowed_ips)
			wrong(r, "%s has no value", keys[i].name);
		else
			keys[i].take(r, keys[i].name, value);
		return;
	}
	unknown_key(r, name);
}

static void begin_interface(struct reader *r)
{
	r->section = SECTION_INTERFACE;
	if (r->conf->line != 0)
		wrong(r, "a second [Interface]; the first is in line %u", r->conf->line);
	else
		r->conf->line = r->line;
}

static void begin_peer(struct reader *r)
{
	struct wgquick *conf = r->conf;

	r->section = SECTION_PEER;
	if ((conf->n_peers & (conf->n_peers - 1)) == 0) {
		size_t room = conf->n_peers ? conf->n_peers * 2 : 1;
		struct wgquick_peer *peers = text_alloc(room, sizeof(*peers));

		/* Not realloc: it would leave keys behind. */
		if (conf->n_peers > 0) {
			memcpy(peers, conf->peers, conf->n_peers * sizeof(*peers));
			secret_zero(conf->peers, conf->n_peers * sizeof(*peers));
		}
		free(conf->peers);
		conf->peers = peers;
	}
	conf->peers[conf->n_peers++] = (struct wgquick_peer){
		.line = r->line,
		.name = r->comment,
	};
	r->comment = NULL;
}

/* A comment may name the peer that follows it; one with a '=' is a setting put aside, maybe a key.
 */
static void take_comment(struct reader *r, char *text)
{
	text += strspn(text, "# \t");
	for (size_t len = strlen(text); len > 0 && strchr("# \t", text[len - 1]) != NULL; len--)
		text[len - 1] = '\0';
	/* "### begin alice ###" and "### end alice ###" are what PiVPN writes. */
	if (strncmp(text, "begin ", 6) == 0)
		text += 6;
	if (text[0] == '\0' || strlen(text) > NAME_MAX_BYTES || !utf8_valid(text) ||
		strchr(text, '=') != NULL || strncmp(text, "end ", 4) == 0)
		return;
	free(r->comment);
	r->comment = text_clean(text, 0);
}

static void trim(char *text)
{
	size_t len = strlen(text);

	while (len > 0 && strchr(" \t\r", text[len - 1]) != NULL)
		text[--len] = '\0';
}

static void take_line(struct reader *r, char *line)
{
	char *value;

	trim(line);
	line += strspn(line, " \t");
	if (line[0] == '#') {
		take_comment(r, line);
		return;
	}
	line[strcspn(line, "#")] = '\0';
	trim(line);
	if (line[0] == '\0')
		return;
	if (strcasecmp(line, "[Interface]") == 0) {
		begin_interface(r);
	} else if (strcasecmp(line, "[Peer]") == 0) {
		begin_peer(r);
	} else if (line[0] == '[') {
		r->section = SECTION_UNKNOWN;
		wrong(r, "no section %.64s; there are [Interface] and [Peer]", line);
	} else if ((value = strchr(line, '=')) == NULL) {
		wrong(r, "neither a section in brackets nor 'key = value'");
	} else {
		*value++ = '\0';
		value += strspn(value, " \t");
		trim(line);
		take_key(r, line, value);
	}
	free(r->comment);
	r->comment = NULL;
}

static int by_key(const void *a, const void *b)
{
	const struct wgquick_peer *pa = *(struct wgquick_peer *const *)a;
	const struct wgquick_peer *pb = *(struct wgquick_peer *const *)b;
	int order = memcmp(pa->key.bytes, pb->key.bytes, sizeof(pa->key.bytes));

	return order != 0 ? order : (pa->line > pb->line) - (pa->line < pb->line);
}

static int by_name(const void *a, const void *b)
{
	const struct wgquick_peer *pa = *(struct wgquick_peer *const *)a;
	const struct wgquick_peer *pb = *(struct wgquick_peer *const *)b;
	const char *na = pa->name != NULL ? pa->name : "", *nb = pb->name != NULL ? pb->name : "";
	int order = strcmp(na, nb);

	return order != 0 ? order : (pa->line > pb->line) - (pa->line < pb->line);
}

static void check_keys(struct reader *r, struct wgquick_peer *const *sorted)
{
	for (size_t i = 1; i < r->conf->n_peers; i++)
		if (sorted[i]->has_key && sorted[i - 1]->has_key &&
			memcmp(&sorted[i]->key, &sorted[i - 1]->key, sizeof(sorted[i]->key)) == 0)
			note(r, sorted[i]->line, true,
				"the peer has the PublicKey of the one in line %u: make them one",
				sorted[i - 1]->line);
}

/* A comment above several peers is a heading: only the first keeps it. */
static void check_names(struct reader *r, struct wgquick_peer *const *sorted)
{
	const char *last = "";

	for (size_t i = 0; i < r->conf->n_peers; i++) {
		struct wgquick_peer *peer = sorted[i];

		if (peer->name != NULL && strcmp(peer->name, last) == 0) {
			free(peer->name);
			peer->name = NULL;
		} else if (peer->name != NULL) {
			last = peer->name;
		}
	}
}

static void check_twins(struct reader *r)
{
	struct wgquick *conf = r->conf;
	struct wgquick_peer **sorted = text_alloc(conf->n_peers, sizeof(*sorted));

	for (size_t i = 0; i < conf->n_peers; i++)
		sorted[i] = &conf->peers[i];
	qsort(sorted, conf->n_peers, sizeof(*sorted), by_key);
	check_keys(r, sorted);
	qsort(sorted, conf->n_peers, sizeof(*sorted), by_name);
	check_names(r, sorted);
	free(sorted);
}

static void check_whole(struct reader *r)
{
	struct wgquick *conf = r->conf;

	if (conf->line == 0)
		note(r, 0, true, "there is no [Interface]");
	else if (!conf->has_key && !conf->failed)
		note(r, conf->line, false,
			"PrivateKey: there is none here; write it to the private_key_file, mode "
			"0600");
	for (size_t i = 0; i < conf->n_peers && !conf->failed; i++)
		if (!conf->peers[i].has_key)
			note(r, conf->peers[i].line, true, "[Peer] has no PublicKey");
	check_twins(r);
}

int wgquick_parse(struct wgquick *conf, const char *text, size_t len)
{
	struct reader r = {.conf = conf};
	const char *end = text + len;

	*conf = (struct wgquick){0};
	if (len >= 3 && memcmp(text, "\xef\xbb\xbf", 3) == 0)
		text += 3;
	while (text < end) {
		const char *newline = memchr(text, '\n', (size_t)(end - text));
		size_t line_len = (size_t)((newline != NULL ? newline : end) - text);

		r.line++;
		if (memchr(text, '\0', line_len) != NULL) {
			wrong(&r, "this is no text: it holds a zero byte");
			break;
		}
		char *line = text_copy(text, line_len);

		take_line(&r, line);
		secret_zero(line, line_len);
		free(line);
		text += line_len + 1;
	}
	check_whole(&r);
	free(r.comment);
	return conf->failed ? -EINVAL : 0;
}

void wgquick_free(struct wgquick *conf)
{
	for (size_t i = 0; i < conf->n_peers; i++) {
		free(conf->peers[i].endpoint);
		free(conf->peers[i].name);
		free(conf->peers[i].allowed_ips.items);
	}
	if (conf->peers != NULL)
		secret_zero(conf->peers, conf->n_peers * sizeof(*conf->peers));
	free(conf->peers);
	free(conf->addresses.items);
	for (size_t i = 0; i < conf->n_notes; i++)
		free(conf->notes[i].text);
	free(conf->notes);
	secret_zero(conf, sizeof(*conf));
}
