/* SPDX-License-Identifier: BSD-3-Clause */
/* Any thread. */
#include "http.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>

size_t derp_request_write(
	char buf[static DERP_REQUEST_MAX], const struct derp_target *target, bool fast)
{
	bool v6 = strchr(target->host, ':') != NULL;
	char port[8] = "";
	int n;

	if (target->port != (target->plain ? 80 : 443))
		snprintf(port, sizeof(port), ":%u", target->port);
	n = snprintf(buf, DERP_REQUEST_MAX,
		"GET /derp HTTP/1.1\r\nHost: %s%s%s%s\r\nUser-Agent: tailplane\r\n"
		"Connection: Upgrade\r\nUpgrade: DERP\r\n%s%s%s%s\r\n",
		v6 ? "[" : "", target->host, v6 ? "]" : "", port,
		fast ? "Derp-Fast-Start: 1\r\n" : "", target->ideal[0] ? "Ideal-Node: " : "",
		target->ideal, target->ideal[0] ? "\r\n" : "");
	return (size_t)n;
}

/* "HTTP/1.1 101 Switching Protocols" */
static bool parse_status(const char *line, size_t len, struct derp_response *response)
{
	size_t n = 0;

	if (len < 12 || memcmp(line, "HTTP/1.", 7) != 0 || (line[7] != '0' && line[7] != '1') ||
		line[8] != ' ' || (len > 12 && line[12] != ' '))
		return false;
	response->status = 0;
	for (unsigned i = 9; i < 12; i++) {
		if (line[i] < '0' || line[i] > '9')
			return false;
		response->status = response->status * 10 + line[i] - '0';
	}
	for (size_t i = 13; i < len && n + 1 < sizeof(response->reason); i++)
		response->reason[n++] = line[i] >= ' ' && line[i] < 0x7f ? line[i] : '?';
	response->reason[n] = '\0';
	return response->status >= 100;
}

ssize_t derp_response_parse(const uint8_t *bytes, size_t len, struct derp_response *response)
{
	static const char begin[] = "HTTP/1.";
	size_t known = len < sizeof(begin) - 1 ? len : sizeof(begin) - 1;
	const uint8_t *end, *line;

	if (memcmp(bytes, begin, known) != 0)
		return -EPROTO;
	end = memmem(bytes, len < DERP_RESPONSE_MAX ? len : DERP_RESPONSE_MAX, "\r\n\r\n", 4);
	if (!end)
		return len < DERP_RESPONSE_MAX ? 0 : -EPROTO;
	line = memmem(bytes, len, "\r\n", 2);
	if (!parse_status((const char *)bytes, (size_t)(line - bytes), response))
		return -EPROTO;
	return end + 4 - bytes;
}
