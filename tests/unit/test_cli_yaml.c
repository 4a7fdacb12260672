/* SPDX-License-Identifier: BSD-3-Clause */
/* What could be misread is quoted. tests/cli/test_yaml.py reads it back with another's parser. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "yaml.h"

static char *emit(const json_t *value)
{
	char *text = NULL;
	size_t size;
	FILE *out = open_memstream(&text, &size);

	yaml_print(out, value);
	fclose(out);
	return text;
}

static void test_strings(void **state)
{
	static const struct {
		const char *string, *yaml;
	} cases[] = {
		{"plain", "plain\n"},
		{"two words", "two words\n"},
		{"/a/path.conf", "/a/path.conf\n"},
		{"xTIBA5rboUvnH4htodjb6e697QjLERt1NAB4mZqp8Dg=",
			"xTIBA5rboUvnH4htodjb6e697QjLERt1NAB4mZqp8Dg=\n"},
		{"", "\"\"\n"},
		{"yes", "\"yes\"\n"},
		{"No", "\"No\"\n"},
		{"y", "\"y\"\n"},
		{"on", "\"on\"\n"},
		{"TRUE", "\"TRUE\"\n"},
		{"null", "\"null\"\n"},
		{"~", "\"~\"\n"},
		{"nullify", "nullify\n"},
		{"1", "\"1\"\n"},
		{"0x1f", "\"0x1f\"\n"},
		{"1e3", "\"1e3\"\n"},
		{".5", "\".5\"\n"},
		{".inf", "\".inf\"\n"},
		{"-", "\"-\"\n"},
		{"- item", "\"- item\"\n"},
		{"---", "\"---\"\n"},
		{"2001-12-14", "\"2001-12-14\"\n"},
		{"12:30:45", "\"12:30:45\"\n"},
		{"key: value", "\"key: value\"\n"},
		{"ends:", "\"ends:\"\n"},
		{"a #comment", "\"a #comment\"\n"},
		{" leading", "\" leading\"\n"},
		{"trailing ", "\"trailing \"\n"},
		{"[a]", "\"[a]\"\n"},
		{"{a}", "\"{a}\"\n"},
		{"*ref", "\"*ref\"\n"},
		{"&anchor", "\"&anchor\"\n"},
		{"!tag", "\"!tag\"\n"},
		{"%dir", "\"%dir\"\n"},
		{"@at", "\"@at\"\n"},
		{"`tick", "\"`tick\"\n"},
		{"it's", "\"it's\"\n"},
		{"say \"hi\"", "\"say \\\"hi\\\"\"\n"},
		{"back\\slash", "\"back\\\\slash\"\n"},
		{"tab\there", "\"tab\\there\"\n"},
		{"\x1b[31m", "\"\\x1b[31m\"\n"},
		{"gr\u00fcn", "\"gr\u00fcn\"\n"},
		{"line\u2028sep", "\"line\\u2028sep\"\n"},
		{"\ufeff", "\"\\ufeff\"\n"},
		{"\xc2\x85", "\"\\x85\"\n"},
		{"a\nb\n", "|\n  a\n  b\n"},
		{"a\nb", "|-\n  a\n  b\n"},
		{"a\n\nb\n\n", "|+\n  a\n\n  b\n\n"},
		{"# a\n- b: c\n", "|\n  # a\n  - b: c\n"},
		{"\n", "\"\\n\"\n"},
		{" a\nb", "\" a\\nb\"\n"},
		{"a \nb", "\"a \\nb\"\n"},
		{"a\nb\r\n", "\"a\\nb\\x0d\\n\"\n"},
	};

	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		json_t *value = json_string(cases[i].string);
		char *text = emit(value);

		assert_string_equal(text, cases[i].yaml);
		free(text);
		json_decref(value);
	}
	/* A zero byte inside. */
	json_t *value = json_stringn("a\0b", 3);
	char *text = emit(value);

	assert_string_equal(text, "\"a\\x00b\"\n");
	free(text);
	json_decref(value);
}

static void test_structure(void **state)
{
	static const struct {
		const char *json, *yaml;
	} cases[] = {
		{"null", "null\n"},
		{"true", "true\n"},
		{"-5", "-5\n"},
		{"1.0", "1.0\n"},
		{"1e100", "1.0e+100\n"},
		{"[]", "[]\n"},
		{"{}", "{}\n"},
		{"[1,[2,[3]],[]]", "- 1\n- - 2\n  - - 3\n- []\n"},
		{"{\"a\":{\"b\":[{\"c\":1,\"d\":2},{}]}}",
			"a:\n  b:\n    - c: 1\n      d: 2\n    - {}\n"},
		{"[[{\"a\":1,\"b\":[1]}]]", "- - a: 1\n    b:\n      - 1\n"},
		{"{\"yes\":1,\"a b\":2,\"1\":3,\"\":4}", "\"yes\": 1\na b: 2\n\"1\": 3\n\"\": 4\n"},
		{"{\"t\":\"a\\nb\\n\",\"l\":[\"c\\nd\"]}",
			"t: |\n  a\n  b\nl:\n  - |-\n    c\n    d\n"},
	};

	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		json_t *value = json_loads(cases[i].json, JSON_DECODE_ANY, NULL);
		char *text = emit(value);

		assert_string_equal(text, cases[i].yaml);
		free(text);
		json_decref(value);
	}
}

/* `test_cli_yaml -` turns JSON lines into YAML documents, for the test with another's parser. */
static int convert(void)
{
	json_t *value;

	while ((value = json_loadf(stdin, JSON_DECODE_ANY | JSON_DISABLE_EOF_CHECK | JSON_ALLOW_NUL,
			NULL)) != NULL) {
		puts("---");
		yaml_print(stdout, value);
		json_decref(value);
	}
	return 0;
}

int main(int argc, char **argv)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_strings),
		cmocka_unit_test(test_structure),
	};

	if (argc > 1 && strcmp(argv[1], "-") == 0)
		return convert();
	return cmocka_run_group_tests(tests, NULL, NULL);
}
