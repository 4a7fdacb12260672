/* SPDX-License-Identifier: BSD-3-Clause */
/* Settings below the level of whole files, which tests/conf has: units, places, equality, the
 * manual. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>
#include <tailplane/utf8.h>

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "manual.h"
#include "nearest.h"
#include "rich_table.h"
#include "settings_parse.h"
#include "settings_private.h"

#define COUNT(array) (sizeof(array) / sizeof((array)[0]))

/* ---- single values, as arguments of operations are checked ---- */

static void values_are_checked_by_type(void **state)
{
	static const struct setting mtu = {"mtu", SETTING_INT, .min = 576, .max = 9216};
	static const struct setting mode = {"mode", SETTING_ENUM, .choices = rich_modes};
	static const struct setting prefix = {"prefix", SETTING_PREFIX};
	static const struct setting text = {"text", SETTING_STRING};
	static const struct setting group = {"group", SETTING_GROUP};
	static const struct setting unknown = {"unknown", (enum setting_type)99};
	struct err err = {0};

	assert_int_equal(setting_check(&mtu, "1420", NULL), 0);
	assert_int_equal(setting_check(&mtu, "575", NULL), -EINVAL);
	assert_int_equal(setting_check(&mtu, "9217", NULL), -EINVAL);
	assert_int_equal(setting_check(&mtu, "1420x", NULL), -EINVAL);
	assert_int_equal(setting_check(&mtu, "", NULL), -EINVAL);
	assert_int_equal(setting_check(&mtu, " 1420", NULL), -EINVAL);
	assert_int_equal(setting_check(&mode, "poll", NULL), 0);
	assert_int_equal(setting_check(&mode, "pol", &err), -EINVAL);
	assert_non_null(strstr(err.msg, "did you mean \"poll\""));
	assert_int_equal(setting_check(&prefix, "10.0.0.0/8", NULL), 0);
	assert_int_equal(setting_check(&prefix, "10.0.0.0/x", NULL), -EINVAL);
	assert_int_equal(setting_check(&text, "\xff", NULL), -EINVAL);
	assert_int_equal(setting_check(&group, "{}", NULL), -EINVAL);
	assert_int_equal(setting_check(&unknown, "x", NULL), -EINVAL);
}

static void endpoints_are_hosts_with_ports(void **state)
{
	static const struct setting endpoint = {"endpoint", SETTING_ENDPOINT};
	static const char *const good[] = {"gw:1", "gw.example.net:51820", "gw.example.net.:51820",
		"_x-y.example:1", "1.2.3.4:5", "[::1]:5", "[fe80::1%eth0]:5", "3com.example:1",
		"a1:1", "xn--bcher-kva.example:65535"};
	static const char *const bad[] = {"gw", "gw:", "gw:0", "gw:65536", ":1", "[gw]:1", "::1:5",
		"1.2.3:5", "1.2.3.4.:5", "1.2.3.256:5", "-gw:1", "g w:1", "a..b:1", ".a:1",
		"gw/x:1", "[1.2.3.4]:5", "ü:1"};
	char label[80], name[300];

	for (size_t i = 0; i < COUNT(good); i++)
		assert_int_equal(setting_check(&endpoint, good[i], NULL), 0);
	for (size_t i = 0; i < COUNT(bad); i++)
		assert_int_equal(setting_check(&endpoint, bad[i], NULL), -EINVAL);

	snprintf(label, sizeof(label), "%064d:1", 0);
	label[0] = 'a';
	assert_int_equal(setting_check(&endpoint, label, NULL), -EINVAL);
	assert_int_equal(setting_check(&endpoint, label + 1, NULL), -EINVAL); /* digits alone */
	label[1] = 'a';
	assert_int_equal(setting_check(&endpoint, label + 1, NULL), 0);
	for (size_t i = 0; i < 253; i++)
		name[i] = i % 50 == 49 ? '.' : 'a';
	strcpy(name + 253, ":1");
	assert_int_equal(setting_check(&endpoint, name, NULL), 0);
	strcpy(name + 253, "a:1");
	assert_int_equal(setting_check(&endpoint, name, NULL), -EINVAL);
}

/* Complaints show them as what would be right. */
static void examples_of_types_are_right(void **state)
{
	for (int type = SETTING_BOOL; type < SETTING_GROUP; type++) {
		struct setting setting = {"x", (enum setting_type)type};
		char text[64];

		if (type == SETTING_ENUM)
			continue;
		snprintf(text, sizeof(text), "%s", setting_kind(&setting)->example);
		if (setting_kind(&setting)->token == TOKEN_IS_STRING) {
			text[strlen(text) - 1] = '\0';
			memmove(text, text + 1, strlen(text));
		}
		assert_int_equal(setting_check(&setting, text, NULL), 0);
	}
}

/* ---- configurations ---- */

static struct config *open_text(const char *text)
{
	return config_open_text("test.conf", text, strlen(text));
}

static const struct rich *bind_rich(struct config *config)
{
	return config_bind(config, "rich", rich_settings, sizeof(struct rich));
}

static void values_land_in_the_struct(void **state)
{
	struct config *config =
		open_text("plugins = [ \"rich\" ];\n"
			  "rich = { mtu = 1280; mode = \"poll\"; interval = \"90s\"; memory = "
			  "\"2GiB\"; rate = \"1Gbit/s\";\n"
			  "  router = \"192.0.2.1\"; pool = \"10.1.2.3/16\"; serial = "
			  "-5000000000L; enabled = false;\n"
			  "  ports = [ 7, 8 ]; title = \"t\"; metrics = { per_peer = true; };\n"
			  "  peers = ( { name = \"a\"; key = "
			  "\"AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8=\"; },\n"
			  "            { name = \"b\"; key = "
			  "\"AQECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8=\";\n"
			  "              allowed_ips = ( \"10.0.0.0/8\", \"fd00::/8\" ); } ); };");
	const struct rich *rich = bind_rich(config);
	const struct rich_peer *peers;
	const char *const *names;

	assert_int_equal(config_plugins(config, &names), 1);
	assert_string_equal(names[0], "rich");
	assert_non_null(rich);
	assert_int_equal(config_finish(config), 0);
	assert_null(config_error(config, 0));
	assert_false(rich->enabled);
	assert_int_equal(rich->mtu, 1280);
	assert_true(rich->serial == -5000000000);
	assert_string_equal(rich->title, "t");
	assert_int_equal(rich->mode, 1);
	assert_true(rich->interval == 90000000000);
	assert_true(rich->memory == 2ULL << 30);
	assert_true(rich->rate == 1000000000);
	assert_int_equal(rich->router.family, AF_INET);
	assert_int_equal(rich->pool.len, 16);
	assert_int_equal(rich->pool.addr.bytes[3], 3);      /* host bits stay */
	assert_string_equal(rich->secret_file, "rich.key"); /* a default */
	assert_null(rich->log_file);
	assert_string_equal(rich->metrics.listen, "127.0.0.1:9586"); /* beside one that is set */
	assert_true(rich->metrics.per_peer);
	assert_int_equal(rich->ports.count, 2);
	assert_int_equal(((int64_t *)rich->ports.items)[1], 8);

	peers = rich->peers.items;
	assert_int_equal(rich->peers.count, 2);
	assert_string_equal(peers[1].name, "b");
	assert_int_equal(peers[1].key[0], 1);
	assert_int_equal(peers[1].allowed_ips.count, 2);
	assert_int_equal(
		((struct net_prefix *)peers[1].allowed_ips.items)[1].addr.family, AF_INET6);
	assert_true(peers[0].keepalive == 25000000000);
	config_free(config);
}

static void an_absent_group_has_its_defaults(void **state)
{
	struct config *config = open_text("");
	const struct rich *rich = bind_rich(config);
	const char *const *names;

	assert_int_equal(config_plugins(config, &names), 0);
	assert_non_null(rich);
	assert_int_equal(rich->mtu, 1420);
	assert_true(rich->metrics.listen && !rich->metrics.per_peer);
	assert_non_null(config_bind(config, "plain", NULL, 0));
	assert_int_equal(config_finish(config), 0);
	config_free(config);
}

static void nothing_binds_to_a_text_without_form(void **state)
{
	struct config *config = open_text("plugins = [ \"rich\" ];\nrich = {\n");
	const char *const *names;

	assert_int_equal(config_plugins(config, &names), 0);
	assert_null(bind_rich(config));
	assert_int_equal(config_finish(config), -EINVAL);
	assert_string_equal(config_error(config, 0),
		"test.conf:3: the text ends, and the \"{\" of test.conf:2 is still open");
	assert_null(config_error(config, 1));
	config_free(config);
}

/* The place of a field that is set is its own, of one that is not its group's. */
static void complaints_of_hooks_find_their_place(void **state)
{
	struct config *config =
		open_text("\nrich = {\n mtu = 1280;\n metrics = {\n  per_peer = true;\n };\n"
			  " ports = [\n  1,\n  2\n ];\n"
			  " peers = (\n  {\n   key = "
			  "\"AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8=\";\n   name = \"a\";\n"
			  "   allowed_ips = [\n    \"10.0.0.0/8\"\n   ];\n  }\n );\n};\n");
	const struct rich *rich = bind_rich(config);
	const struct rich_peer *peer;
	const char *const *names;
	struct {
		const void *field;
		const char *at;
	} places[] = {
		{&rich->mtu, "test.conf:3: "},
		{&rich->title, "test.conf:2: "},
		{rich, "test.conf:2: "},
		{&rich->metrics, "test.conf:4: "},
		{&rich->metrics.listen, "test.conf:4: "},
		{&rich->metrics.per_peer, "test.conf:5: "},
		{&rich->limits, "test.conf:2: "},
		{&rich->ports, "test.conf:7: "},
		{(const int64_t *)rich->ports.items + 1, "test.conf:9: "},
		{NULL, "test.conf:14: "}, /* the peer: its name is what begins there */
		{NULL, "test.conf:13: "},
		{NULL, "test.conf:12: "},
		{NULL, "test.conf:16: "},
		{&names, "test.conf: "},
	};

	assert_non_null(rich);
	peer = rich->peers.items;
	places[9].field = peer;
	places[10].field = &peer->key;
	places[11].field = &peer->keepalive;
	places[12].field = peer->allowed_ips.items;
	for (size_t i = 0; i < COUNT(places); i++) {
		bool found = false;
		char expected[64];
		const char *text;

		snprintf(expected, sizeof(expected), "%shook %zu", places[i].at, i);
		setting_error(config_errors(config), places[i].field, "hook %zu", i);
		for (size_t j = 0; (text = config_error(config, j)); j++)
			found = found || !strcmp(text, expected);
		assert_true(found);
	}
	assert_int_equal(config_finish(config), -EINVAL);
	config_free(config);
}

/* A group that is its only field: of two ranges as large, the field's place is meant. */
static void a_lone_field_is_not_its_group(void **state)
{
	static const struct setting lone[] = {{"lone", SETTING_INT}, {0}};
	struct config *config = open_text("a = {\n\n lone = 5;\n};");
	const int64_t *field = config_bind(config, "a", lone, sizeof(*field));

	assert_non_null(field);
	setting_error(config_errors(config), field, "%s", "hook");
	assert_string_equal(config_error(config, 0), "test.conf:3: hook");
	config_free(config);
}

static void complaints_are_printable(void **state)
{
	struct config *config = open_text("rich = { mode = \"\\x1b[2J\\n\"; title = \"\\xff\"; };");

	assert_null(bind_rich(config));
	assert_non_null(strstr(config_error(config, 1), "\"?[2J?\" is not among"));
	setting_error(config_errors(config), NULL, "cut \xc3");
	assert_non_null(strstr(config_error(config, 0), "test.conf: cut ?"));
	config_free(config);
}

static void embedded_texts_do_not_include(void **state)
{
	struct config *config = open_text("@include \"/etc/hostname\"\n");

	assert_string_equal(config_error(config, 0), "test.conf:1: this text cannot include files");
	config_free(config);
}

static void texts_are_bounded(void **state)
{
	static char text[CONFIG_BYTES_MAX + 1];
	struct config *config;

	memset(text, ' ', sizeof(text));
	config = config_open_text("large", text, CONFIG_BYTES_MAX);
	assert_null(config_error(config, 0));
	config_free(config);
	config = config_open_text("large", text, CONFIG_BYTES_MAX + 1);
	assert_string_equal(
		config_error(config, 0), "large: cannot be read: more than 4 MiB of configuration");
	config_free(config);
}

static void other_groups_are_seen(void **state)
{
	struct config *config =
		open_text("plugins = [ \"rich\", \"strict\" ];\n"
			  "rich = { metrics = { per_peer = true; }; ports = [ 7 ]; };\n"
			  "strict = { address = 1; };\n");
	const struct setting_errors *errs = config_errors(config);
	const struct rich *rich;
	static const char *const none[] = {"", "rich", "rich.", "rich.metric", "rich.metrics.",
		"rich.metrics.per_peer.x", "rich.ports.0", "rich.peers.name", "ric.mtu",
		"richer.mtu", "strict.address", "other.mtu"};

	assert_null(setting_of(errs, "rich.mtu"));
	rich = bind_rich(config);
	assert_null(config_bind(config, "strict", strict_settings, sizeof(struct strict)));
	assert_ptr_equal(setting_of(errs, "rich.mtu"), &rich->mtu);
	assert_ptr_equal(setting_of(errs, "rich.ports"), &rich->ports);
	assert_ptr_equal(setting_of(errs, "rich.metrics"), &rich->metrics);
	assert_ptr_equal(setting_of(errs, "rich.metrics.per_peer"), &rich->metrics.per_peer);
	for (size_t i = 0; i < COUNT(none); i++)
		assert_null(setting_of(errs, none[i]));
	config_free(config);
}

static void lists_are_bounded(void **state)
{
	char *text, *at = text = malloc(LIST_ELEMENTS_MAX * 2 + 64);
	struct config *config;

	at += sprintf(at, "rich = { ports = [ 1");
	for (int i = 1; i < LIST_ELEMENTS_MAX; i++)
		at += sprintf(at, ",1");
	strcpy(at, "]; };");
	config = open_text(text);
	assert_non_null(bind_rich(config));
	config_free(config);

	strcpy(at, ",1]; };");
	config = open_text(text);
	assert_null(bind_rich(config));
	assert_non_null(strstr(config_error(config, 0), "65537 elements; it takes up to 65536"));
	config_free(config);
	free(text);
}

static void a_missing_file_is_named(void **state)
{
	struct config *config = config_open("no/such/file.conf");

	assert_string_equal(config_error(config, 0),
		"no/such/file.conf: cannot be read: No such file or directory");
	assert_null(bind_rich(config));
	assert_int_equal(config_finish(config), -EINVAL);
	config_free(config);
}

static void mistakes_in_tables_are_named(void **state)
{
	static const struct setting tables[][2] = {
		{{"a", (enum setting_type)99}},
		{{"b", SETTING_ENUM}},
		{{"c", SETTING_GROUP}},
		{{"d", SETTING_SIZE, .min = -1}},
		{{"e", SETTING_INT, .min = 2, .max = 1}},
		{{"f", SETTING_INT, .offset = 1}},
		{{"g", SETTING_STRING, SETTING_LIST, .offset = 0}},
		{{"h", SETTING_INT, .def = "x"}},
		{{"i", SETTING_INT, .def = "5", .min = 6, .max = 7}},
	};

	for (size_t i = 0; i < COUNT(tables); i++) {
		struct config *config = open_text("");
		char name[] = {' ', (char)('a' + i), ' ', '\0'};

		assert_null(config_bind(config, "wrong", tables[i], sizeof(int64_t)));
		assert_non_null(strstr(config_error(config, 0), "the plugin's"));
		assert_non_null(strstr(config_error(config, 0), name));
		config_free(config);
	}
}

/* ---- equality, for reload ---- */

static const char base_text[] =
	"rich = { mtu = 1280; title = \"t\"; ports = [ 1, 2 ]; servers = [ \"192.0.2.1\" ];\n"
	"peers = ( { name = \"a\"; key = \"AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8=\"; "
	"allowed_ips = [ \"10.0.0.0/8\" ]; } ); };";

static bool equal_after(const char *from, const char *to)
{
	struct config *a = open_text(base_text), *b;
	char text[sizeof(base_text) + 64];
	const char *at = strstr(base_text, from);
	const struct rich *rich_a = bind_rich(a), *rich_b;
	bool equal;

	assert_non_null(at);
	snprintf(text, sizeof(text), "%.*s%s%s", (int)(at - base_text), base_text, to,
		at + strlen(from));
	b = open_text(text);
	rich_b = bind_rich(b);
	assert_true(rich_a && rich_b);
	equal = settings_equal(rich_settings, rich_a, rich_b);
	assert_int_equal(settings_equal(rich_settings, rich_b, rich_a), equal);
	config_free(a);
	config_free(b);
	return equal;
}

static void equal_settings_are_found(void **state)
{
	assert_true(equal_after("mtu = 1280;", "mtu = 0x500;"));
	assert_true(equal_after("title = \"t\";", "title = \"\\x74\"; # comment\n"));
	assert_true(equal_after("mtu = 1280;", "mtu = 1280; weight = 0; rate = \"0bit/s\";"));
	assert_false(equal_after("mtu = 1280;", "mtu = 1281;"));
	assert_false(equal_after("mtu = 1280;", "mtu = 1280; metrics = { per_peer = true; };"));
	assert_false(equal_after("title = \"t\";", "title = \"u\";"));
	assert_false(equal_after("title = \"t\";", ""));
	assert_false(equal_after("title = \"t\";", "title = \"\";"));
	assert_false(equal_after("[ 1, 2 ]", "[ 1, 3 ]"));
	assert_false(equal_after("[ 1, 2 ]", "[ 1 ]"));
	assert_false(equal_after("192.0.2.1", "192.0.2.2"));
	assert_false(equal_after("name = \"a\"", "name = \"b\""));
	assert_false(equal_after("10.0.0.0/8", "10.0.0.0/9"));
}

/* ---- helpers ---- */

static const char *nearest_of(const char *typed)
{
	struct nearest nearest = {.typed = typed};

	for (const struct setting *s = rich_settings; s->name; s++)
		nearest_offer(&nearest, s->name);
	return nearest.best;
}

static void slips_are_recognized(void **state)
{
	static const char long_name[] =
		"mtumtumtumtumtumtumtumtumtumtumtumtumtumtumtumtumtumtumtumtumtumtumtu";

	assert_string_equal(nearest_of("mtuu"), "mtu");
	assert_string_equal(nearest_of("mut"), "mtu"); /* a swap is one slip */
	assert_string_equal(nearest_of("MTU"), "mtu");
	assert_string_equal(nearest_of("secretfile"), "secret_file");
	assert_string_equal(nearest_of("intervall"), "interval");
	assert_string_equal(nearest_of("metric"), "metrics");
	assert_null(nearest_of("colour"));
	assert_null(nearest_of("x"));
	assert_null(nearest_of(""));
	assert_null(nearest_of(long_name));
}

static void utf8_is_recognized(void **state)
{
	static const char *const good[] = {"", "a", "\xc3\xbc", "\xe2\x82\xac", "\xf0\x9f\x98\x80",
		"\xf4\x8f\xbf\xbf", "\xed\x9f\xbf", "\xee\x80\x80"};
	static const char *const bad[] = {"\x80", "\xc3", "\xc3(", "\xc0\x80", "\xc1\xbf",
		"\xe0\x80\x80", "\xe2\x82", "\xed\xa0\x80", "\xf0\x80\x80\x80", "\xf4\x90\x80\x80",
		"\xf5\x80\x80\x80", "\xff", "a\xfe"};

	for (size_t i = 0; i < COUNT(good); i++)
		assert_true(utf8_valid(good[i]));
	for (size_t i = 0; i < COUNT(bad); i++)
		assert_false(utf8_valid(bad[i]));
}

static void manual_has_each_setting(void **state)
{
	static const struct setting odd[] = {
		{"odd", SETTING_STRING, .def = ".\\x", .help = ".Sh no request\n'nor\\this"},
		{0},
	};
	char *text;
	size_t size;
	FILE *out = open_memstream(&text, &size);

	manual_settings(out, "rich", rich_settings);
	manual_settings(out, "odd", odd);
	manual_settings(out, "plain", NULL);
	fclose(out);
	for (const struct setting *s = rich_settings; s->name; s++) {
		char item[64];

		snprintf(item, sizeof(item), ".It Ic %s\n", s->name);
		assert_non_null(strstr(text, item));
	}
	assert_non_null(strstr(text, "A whole number, 576 to 9216 bytes.\nDefault: 1420.\n"
				     "A change takes a restart of the daemon.\n"));
	assert_non_null(
		strstr(text, "One of \"host\", \"poll\", \"adaptive\".\nDefault: \"adaptive\".\n"));
	assert_non_null(strstr(text, "A list, each element an address, such as \"192.0.2.1\".\n"));
	assert_non_null(strstr(text, "Required.\nNo two elements share it.\n"));
	assert_non_null(strstr(text, "\\&.Sh no request 'nor\\ethis\n"));
	assert_non_null(strstr(text, "Default: \"\\&.\\ex\".\n"));
	assert_non_null(strstr(text, ".Ss plain\nIt takes no settings.\n"));
	free(text);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(values_are_checked_by_type),
		cmocka_unit_test(endpoints_are_hosts_with_ports),
		cmocka_unit_test(examples_of_types_are_right),
		cmocka_unit_test(values_land_in_the_struct),
		cmocka_unit_test(an_absent_group_has_its_defaults),
		cmocka_unit_test(nothing_binds_to_a_text_without_form),
		cmocka_unit_test(complaints_of_hooks_find_their_place),
		cmocka_unit_test(a_lone_field_is_not_its_group),
		cmocka_unit_test(complaints_are_printable),
		cmocka_unit_test(embedded_texts_do_not_include),
		cmocka_unit_test(texts_are_bounded),
		cmocka_unit_test(other_groups_are_seen),
		cmocka_unit_test(lists_are_bounded),
		cmocka_unit_test(a_missing_file_is_named),
		cmocka_unit_test(mistakes_in_tables_are_named),
		cmocka_unit_test(equal_settings_are_found),
		cmocka_unit_test(slips_are_recognized),
		cmocka_unit_test(utf8_is_recognized),
		cmocka_unit_test(manual_has_each_setting),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
