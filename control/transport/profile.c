/* SPDX-License-Identifier: BSD-3-Clause */
/* Configuration profiles that tell Tailscale's apps on Apple devices which server to use. Runs on:
 * I/O loops. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <tailplane/front.h>

#include "blake2s.h"
#include "private.h"

struct platform {
	const char *name, *payload; /* the app's preference domain */
};

/* Headscale's names of them. */
static const struct platform platforms[] = {
	{"ios", "io.tailscale.ipn.ios"},
	{"macos-app-store", "io.tailscale.ipn.macos"},
	{"macos-standalone", "io.tailscale.ipn.macsys"},
};

/* Always the same for a server and a part, so that a profile installed again takes the place of the
 * one before (RFC 9562, version 8: of our own making). */
static void print_uuid(FILE *out, const char *part)
{
	struct blake2s_state state;
	uint8_t id[16];

	blake2s_init(&state, sizeof(id));
	blake2s_update(&state, transport.server_url, strlen(transport.server_url) + 1);
	blake2s_update(&state, part, strlen(part));
	blake2s_final(&state, id);
	id[6] = (uint8_t)(0x80 | (id[6] & 0x0f));
	id[8] = (uint8_t)(0x80 | (id[8] & 0x3f));
	for (unsigned i = 0; i < sizeof(id); i++)
		fprintf(out, "%s%02x", i == 4 || i == 6 || i == 8 || i == 10 ? "-" : "", id[i]);
}

static void print_profile(FILE *out, const struct platform *platform)
{
	fputs("<?xml version=\"1.0\" encoding=\"UTF-8\"?>\n"
	      "<!DOCTYPE plist PUBLIC \"-//Apple//DTD PLIST 1.0//EN\" "
	      "\"http://www.apple.com/DTDs/PropertyList-1.0.dtd\">\n"
	      "<plist version=\"1.0\"><dict>\n"
	      "<key>PayloadType</key><string>Configuration</string>\n"
	      "<key>PayloadVersion</key><integer>1</integer>\n"
	      "<key>PayloadDisplayName</key><string>Tailplane</string>\n"
	      "<key>PayloadDescription</key><string>Lets Tailscale use ",
		out);
	print_escaped(out, transport.server_url);
	fputs("</string>\n<key>PayloadIdentifier</key><string>tailplane.control</string>\n"
	      "<key>PayloadUUID</key><string>",
		out);
	print_uuid(out, "profile");
	fprintf(out,
		"</string>\n<key>PayloadContent</key><array><dict>\n"
		"<key>PayloadType</key><string>%s</string>\n"
		"<key>PayloadVersion</key><integer>1</integer>\n"
		"<key>PayloadEnabled</key><true/>\n"
		"<key>PayloadIdentifier</key><string>tailplane.control.%s</string>\n"
		"<key>PayloadUUID</key><string>",
		platform->payload, platform->name);
	print_uuid(out, platform->name);
	fputs("</string>\n<key>ControlURL</key><string>", out);
	print_escaped(out, transport.server_url);
	fputs("</string>\n</dict></array>\n</dict></plist>\n", out);
}

void serve_profile(struct front_request *request, void *user)
{
	const char *name = strrchr(front_path(request), '/') + 1;
	const struct platform *platform = NULL;
	char *text = NULL;
	size_t len;
	FILE *out;

	(void)user;
	for (size_t i = 0; i < sizeof(platforms) / sizeof(*platforms); i++)
		if (!strcmp(name, platforms[i].name))
			platform = &platforms[i];
	if (!platform) {
		front_reply_text(request, 404, "ios, macos-app-store or macos-standalone");
		return;
	}
	out = open_memstream(&text, &len);
	if (out)
		print_profile(out, platform);
	if (out && fclose(out) == 0)
		front_reply(
			request, 200, "application/x-apple-aspen-config; charset=utf-8", text, len);
	else
		front_reply_text(request, 503, "no memory");
	free(text);
}
