/* SPDX-License-Identifier: BSD-3-Clause */
/* Any thread. */
#include "verdict.h"

#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <time.h>

#define DAY 86400
#define CERTIFICATE_SOON (14 * DAY)
#define CLOCK_WRONG 60 /* s: clients correct for more, and take expiries for what they are not */
#define CLOCK_OFF 5

/* ---- addresses ----------------------------------------------------------------------------- */

static bool in_any(const struct net_addr *addr, const char *const *ranges)
{
	for (; *ranges; ranges++) {
		struct net_prefix prefix;

		if (!net_prefix_parse(&prefix, *ranges) && net_prefix_contains(&prefix, addr))
			return true;
	}
	return false;
}

bool address_is_private(const struct net_addr *addr)
{
	static const char *const ranges[] = {"10.0.0.0/8", "172.16.0.0/12", "192.168.0.0/16",
		"100.64.0.0/10", "169.254.0.0/16", "127.0.0.0/8", "0.0.0.0/8", "fc00::/7",
		"fe80::/10", "::/127", NULL};

	return in_any(addr, ranges);
}

static bool is_loopback(const struct net_addr *addr)
{
	static const char *const ranges[] = {"127.0.0.0/8", "::1/128", NULL};

	return in_any(addr, ranges);
}

static bool is_own(const struct doctor_facts *f, const struct net_addr *addr)
{
	for (size_t i = 0; i < f->n_own; i++)
		if (net_addr_equal(&f->own[i], addr))
			return true;
	return false;
}

static size_t count(const struct doctor_facts *f, bool (*is)(const struct net_addr *addr))
{
	size_t n = 0;

	for (size_t i = 0; i < f->n_addrs; i++)
		n += is(&f->addrs[i]);
	return n;
}

/* The first address that other networks can reach; NULL: none. */
static const struct net_addr *public_of(const struct doctor_facts *f)
{
	for (size_t i = 0; i < f->n_addrs; i++)
		if (!address_is_private(&f->addrs[i]))
			return &f->addrs[i];
	return NULL;
}

struct text {
	char addr[NET_ADDR_STRLEN];
};

static struct text text_of(const struct net_addr *addr)
{
	struct text text;

	net_addr_format(addr, text.addr);
	return text;
}

/* ---- lines --------------------------------------------------------------------------------- */

__attribute__((format(printf, 3, 4))) static void found(
	struct finding *f, enum finding_state state, const char *fmt, ...)
{
	va_list args;

	va_start(args, fmt);
	vsnprintf(f->found, sizeof(f->found), fmt, args);
	va_end(args);
	f->state = state;
}

__attribute__((format(printf, 2, 3))) static void advise(struct finding *f, const char *fmt, ...)
{
	va_list args;

	va_start(args, fmt);
	vsnprintf(f->advice, sizeof(f->advice), fmt, args);
	va_end(args);
}

static void clock_line(const struct doctor_facts *f, struct finding *line)
{
	int64_t ahead = f->clock_ahead, off = ahead < 0 ? -ahead : ahead;

	if (f->clock_compared && off > CLOCK_OFF) {
		found(line, off > CLOCK_WRONG ? FINDING_FAILED : FINDING_WARNING,
			"%lld s %s of the relays' clocks", (long long)off,
			ahead > 0 ? "ahead" : "behind");
		advise(line, "Set the clock, and keep it: timedatectl set-ntp true. Expiries are "
			     "judged by it, here and at clients.");
	} else if (!f->clock_disciplined && !f->clock_compared) {
		found(line, FINDING_WARNING,
			"nothing keeps it, as far as the kernel knows, and there was nothing to "
			"compare it with");
		advise(line, "Let a time service run: timedatectl set-ntp true.");
	} else {
		found(line, FINDING_OK, "%s%s",
			f->clock_compared ? "agrees with the relays' clocks"
					  : "kept by a time service",
			f->clock_compared && !f->clock_disciplined
				? "; no time service is known to the kernel"
				: "");
	}
}

static void store_line(const struct doctor_facts *f, struct finding *line)
{
	if (!f->store_problem) {
		found(line, FINDING_OK, "takes what is written");
		return;
	}
	found(line, FINDING_FAILED, "%s", f->store_problem);
	advise(line, "Nothing new is accepted until this is mended; connected clients stay.");
}

static void listener_line(const struct doctor_facts *f, struct finding *line)
{
	if (!f->listener.port) {
		found(line, FINDING_FAILED, "no address to listen on is set");
		advise(line, "Set core.http.listen_addr, as in [\"0.0.0.0:8080\"].");
	} else if (!f->https && f->listener.tls) {
		found(line, FINDING_FAILED, "port %u speaks https, and server_url says http",
			f->listener.port);
		advise(line, "Let control.server_url begin with https://.");
	} else {
		found(line, FINDING_OK, "port %u, %s", f->listener.port,
			f->listener.tls ? "https" : "http");
	}
}

static void name_line(const struct doctor_facts *f, struct finding *line)
{
	size_t used;

	if (f->name_problem) {
		found(line, FINDING_FAILED, "%s does not resolve: %s", f->host, f->name_problem);
		advise(line, "Make an A or AAAA record for it, or correct control.server_url.");
		return;
	}
	found(line, FINDING_OK, "%s%s", f->literal ? "none; server_url has the address" : f->host,
		f->literal ? "" : ":");
	for (size_t i = 0; i < f->n_addrs; i++) {
		used = strlen(line->found);
		snprintf(line->found + used, sizeof(line->found) - used, " %s",
			text_of(&f->addrs[i]).addr);
	}
	if (f->n_addrs && count(f, is_loopback) == f->n_addrs) {
		line->state = FINDING_FAILED;
		advise(line, "Clients elsewhere find themselves there, not this server: set "
			     "control.server_url to an address or name of this machine.");
	}
}

/* ---- server_url ---------------------------------------------------------------------------- */

static void self_ours(const struct doctor_facts *f, struct finding *line)
{
	if (f->https && !f->listener.tls && !f->request_is_secure) {
		found(line, FINDING_WARNING,
			"this server answers, behind a proxy that it does not believe");
		advise(line,
			"Name the proxy's address in core.http.trusted_proxies, and let it send "
			"X-Forwarded-For and X-Forwarded-Proto.");
	} else {
		found(line, FINDING_OK, "this server answers%s",
			f->https && !f->listener.tls ? ", behind a proxy" : "");
	}
}

static void self_none(const struct doctor_facts *f, struct finding *line)
{
	bool own = f->self.at.family && is_own(f, &f->self.at);
	bool hairpin = public_of(f) && !own;

	found(line, hairpin ? FINDING_WARNING : FINDING_FAILED, "%s: %s", f->server_url,
		f->self.why);
	if (hairpin)
		advise(line, "From inside this network it may be that only the router refuses its "
			     "own outer address; see \"from outside\".");
	else if (f->listener.port != f->port)
		advise(line,
			"server_url says port %u, and this server listens on %u: correct one of "
			"them, unless a proxy is meant to listen there.",
			f->port, f->listener.port);
	else
		advise(line,
			"See that core.http.listen_addr covers that address, and that no "
			"firewall on this machine stops port %u.",
			f->port);
}

/* Nothing can be said of an address that there is not. */
static bool nowhere(const struct doctor_facts *f, struct finding *line)
{
	if (!f->name_problem)
		return false;
	found(line, FINDING_WARNING, "not looked at");
	advise(line, "See \"DNS name\" first.");
	return true;
}

static void self_line(const struct doctor_facts *f, struct finding *line)
{
	if (nowhere(f, line))
		return;
	switch (f->self.answer) {
	case ANSWER_OURS:
		self_ours(f, line);
		break;
	case ANSWER_STRANGER:
		found(line, FINDING_FAILED, "something else answers at %s (HTTP %ld)",
			f->server_url, f->self.status);
		advise(line, "Another program or machine has that address and port; a proxy must "
			     "hand on each path, and upgrades.");
		break;
	case ANSWER_NONE:
		self_none(f, line);
		break;
	case ANSWER_LATE:
		found(line, FINDING_FAILED, "%s: no answer in time", f->server_url);
		advise(line, "See that no firewall swallows what is sent to port %u.", f->port);
		break;
	}
}

static void tls_line(const struct doctor_facts *f, struct finding *line)
{
	long long days = (f->certificate_ends - f->now) / DAY;

	if (!f->https) {
		found(line, public_of(f) ? FINDING_WARNING : FINDING_OK, "not used");
		if (public_of(f))
			advise(line, "The control protocol is encrypted all the same, but a client "
				     "learns the server's key over plain http: set "
				     "core.http.tls_cert_path and tls_key_path.");
	} else if (f->certificate_ends && f->certificate_ends <= f->now) {
		found(line, FINDING_FAILED, "the certificate expired %lld days ago", -days);
		advise(line, "Renew it: the files are read again when they change.");
	} else if (f->distrusted) {
		found(line, FINDING_FAILED, "%s", f->self.why);
		advise(line, "Clients refuse it too, unless they have its authority: use one that "
			     "they know, and put the issuers' certificates behind it in the file.");
	} else if (!f->certificate_ends) {
		found(line, FINDING_WARNING, "not seen: no TLS connection came about");
	} else if (f->certificates_problem) {
		found(line, FINDING_WARNING, "the certificates changed, and are not taken: %s",
			f->certificates_problem);
		advise(line,
			"What was in the files before is served, and ends in %lld days. They are "
			"read again when they change, or may be read.",
			days);
	} else {
		found(line,
			f->certificate_ends - f->now < CERTIFICATE_SOON ? FINDING_WARNING
									: FINDING_OK,
			"trusted from here, for %lld more days", days);
		if (line->state == FINDING_WARNING)
			advise(line, "Renew it: the files are read again when they change.");
	}
}

static void plain_line(const struct doctor_facts *f, struct finding *line)
{
	if (!f->https) {
		found(line, FINDING_OK, "not needed without TLS");
	} else if (nowhere(f, line)) {
		return;
	} else if (f->plain.answer == ANSWER_NONE || f->plain.answer == ANSWER_LATE) {
		found(line, FINDING_WARNING, "%s",
			f->plain.answer == ANSWER_NONE ? f->plain.why : "no answer in time");
		advise(line, "Clients try it first; where it is closed they come up later, and ask "
			     "relays of others for the server's name. Let port 80 through; "
			     "core.http.plain_listen_addr sets where it is served.");
	} else {
		found(line, FINDING_OK, "answers");
	}
}

/* ---- from outside -------------------------------------------------------------------------- */

struct ports {
	char text[96];
};

/* What clients elsewhere must reach. */
static struct ports ports_of(const struct doctor_facts *f)
{
	struct ports ports;
	bool tcp = f->relay.tcp && f->relay.tcp != f->port;
	char relay[40] = "";

	if (tcp)
		snprintf(relay, sizeof(relay), "TCP %u", f->relay.tcp);
	if (f->relay.stun)
		snprintf(relay + strlen(relay), sizeof(relay) - strlen(relay), "%sUDP %u",
			tcp ? " and " : "", f->relay.stun);
	snprintf(ports.text, sizeof(ports.text), "TCP %u%s%s%s%s", f->port,
		f->https ? " and 80" : "", *relay ? " and, for the relay, " : "", relay,
		*relay ? "," : "");
	return ports;
}

static void outside_unproven(
	const struct doctor_facts *f, const struct net_addr *addr, struct finding *line)
{
	struct text at = text_of(addr);
	char public[NET_ADDR_STRLEN] = "";
	bool differs =
		f->public_addr.family == addr->family && !net_addr_equal(&f->public_addr, addr);

	if (f->public_addr.family)
		net_addr_format(&f->public_addr, public);
	if (is_own(f, addr)) {
		found(line, FINDING_WARNING,
			"%s is this machine's own; what lies before it cannot "
			"be seen from here",
			at.addr);
		advise(line,
			"Let %s through each firewall, a provider's too. A client that "
			"joins from another network proves it: ask the doctor again then.",
			ports_of(f).text);
	} else if (differs && f->self.answer == ANSWER_OURS) {
		found(line, FINDING_OK, "%s is another network's, and leads here", at.addr);
	} else if (differs) {
		found(line, FINDING_FAILED, "%s leads to %s, and this network's address is %s",
			f->host, at.addr, public);
		advise(line, "Correct the DNS record, or let what is at %s hand connections on.",
			at.addr);
	} else {
		found(line, FINDING_WARNING, "%s is not this machine's: %s", at.addr,
			f->self.answer == ANSWER_OURS ? "it leads here from inside this network"
						      : "a router has it, or another machine");
		advise(line,
			"Let the router forward %s to this machine. A client that joins "
			"from another network proves it: ask the doctor again then.",
			ports_of(f).text);
	}
}

static void outside_line(const struct doctor_facts *f, struct finding *line)
{
	const struct net_addr *addr = public_of(f);
	bool client_outside = f->client.family && !address_is_private(&f->client) &&
			      !is_own(f, &f->client) &&
			      !net_addr_equal(&f->client, &f->public_addr);

	if (client_outside) {
		found(line, FINDING_OK, "reachable: a client at %s just was here",
			text_of(&f->client).addr);
	} else if (f->name_problem) {
		found(line, FINDING_FAILED, "not reachable: the name does not resolve");
	} else if (addr) {
		outside_unproven(f, addr, line);
	} else {
		found(line, FINDING_WARNING,
			"not reachable: %s is an address of private networks%s%s",
			f->n_addrs ? text_of(&f->addrs[0]).addr : f->host,
			f->client.family ? "; clients inside reach it, as one at " : "",
			f->client.family ? text_of(&f->client).addr : "");
		advise(line,
			"For clients elsewhere set control.server_url to a public name%s%s, and "
			"let TCP reach this machine from there.",
			f->public_addr.family ? " of " : "",
			f->public_addr.family ? text_of(&f->public_addr).addr : "");
	}
}

#define MEND_SOURCE                                                                          \
	"Correct what is named, or take it out of control.derp.urls or control.derp.paths; " \
	"of a URL, what it said last still holds."

static void relays_line(const struct doctor_facts *f, struct finding *line)
{
	const char *problem = f->relays_problem;
	char regions[32];

	snprintf(regions, sizeof(regions), "%zu region%s", f->regions, f->regions == 1 ? "" : "s");
	if (!f->regions) {
		found(line, FINDING_FAILED, "none%s%s", problem ? ": " : "",
			problem ? problem : "");
		advise(line, "Clients stay in state \"Starting\" until one is known: set "
			     "control.derp.urls or control.derp.paths.");
	} else if (f->relays_asked && !f->relays_answered) {
		found(line, FINDING_WARNING, "%s, and none of %zu that were asked answers%s%s",
			regions, f->relays_asked, problem ? "; " : "", problem ? problem : "");
		advise(line,
			"Clients need one that they can reach. If this machine may not go out to "
			"the internet, this means little.%s",
			problem ? " " MEND_SOURCE : "");
	} else {
		found(line, problem ? FINDING_WARNING : FINDING_OK,
			"%s; %zu of %zu that were asked answer%s%s", regions, f->relays_answered,
			f->relays_asked, problem ? "; " : "", problem ? problem : "");
		if (problem)
			advise(line, "Clients have the other relays. " MEND_SOURCE);
	}
}

size_t doctor_judge(const struct doctor_facts *facts, struct finding findings[FINDINGS_MAX])
{
	static const struct {
		const char *check;
		void (*judge)(const struct doctor_facts *facts, struct finding *line);
	} checks[FINDINGS_MAX] = {
		{"clock", clock_line},
		{"store", store_line},
		{"listener", listener_line},
		{"DNS name", name_line},
		{"server_url", self_line},
		{"TLS", tls_line},
		{"port 80", plain_line},
		{"from outside", outside_line},
		{"relays", relays_line},
	};

	for (size_t i = 0; i < FINDINGS_MAX; i++) {
		findings[i] = (struct finding){.check = checks[i].check};
		checks[i].judge(facts, &findings[i]);
	}
	return FINDINGS_MAX;
}
