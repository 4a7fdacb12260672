/* SPDX-License-Identifier: BSD-3-Clause */
#include "yaml.h"

#include <ctype.h>
#include <stdbool.h>
#include <stdint.h>
#include <string.h>
#include <strings.h>

#define INDENT 2

/* Words that some YAML reader takes for null or a boolean. */
static bool is_reserved(const char *text)
{
	static const char *const words[] = {
		"null", "true", "false", "yes", "no", "on", "off", "y", "n", NULL};

	for (size_t i = 0; words[i] != NULL; i++)
		if (strcasecmp(words[i], text) == 0)
			return true;
	return false;
}

/*
 * Plain only what cannot be misread: it begins with a letter, '_' or '/', so that it is no number,
 * date, indicator or document mark, and goes on with characters that mean nothing in any place.
 */
static bool is_plain(const char *text, size_t len)
{
	if (len == 0 || len != strlen(text) || is_reserved(text))
		return false;
	if (!isalpha((unsigned char)text[0]) && text[0] != '_' && text[0] != '/')
		return false;
	for (const char *p = text; *p != '\0'; p++)
		if (!isalnum((unsigned char)*p) && strchr("_-./+=@ ", *p) == NULL)
			return false;
	return text[len - 1] != ' ';
}

/* Does a block scalar say exactly this text? Its lines hold no control characters, the first shows
 * how deep it stands, and none is blank with spaces. */
static bool is_block(const char *text, size_t len)
{
	if (len == 0 || strchr(" \t\n", text[0]) != NULL || memchr(text, '\n', len) == NULL)
		return false;
	for (size_t i = 0; i < len; i++) {
		uint8_t c = (uint8_t)text[i];

		if ((c < 0x20 && c != '\n') || c == 0x7f)
			return false;
		if (c == '\n' && i > 0 && text[i - 1] == ' ')
			return false;
		/* C1, NEL, line separators, byte order mark, non-characters: leave them to
		 * escapes. */
		if (c == 0xc2 || c == 0xe2 || c == 0xef)
			return false;
	}
	return text[len - 1] != ' ';
}

static void print_block(FILE *out, const char *text, size_t len, unsigned indent)
{
	const char *chomp = "-";

	if (text[len - 1] == '\n')
		chomp = len > 1 && text[len - 2] == '\n' ? "+" : "";
	fprintf(out, "|%s\n", chomp);
	while (len > 0) {
		size_t line = strcspn(text, "\n");

		fprintf(out, "%*s%.*s\n", line > 0 ? (int)indent : 0, "", (int)line, text);
		line += text[line] == '\n';
		text += line;
		len -= line;
	}
}

static unsigned decode(const char *text, uint32_t *code)
{
	const uint8_t *p = (const uint8_t *)text;
	unsigned len = p[0] < 0x80 ? 1 : p[0] < 0xe0 ? 2 : p[0] < 0xf0 ? 3 : 4;

	*code = len == 1 ? p[0] : p[0] & (0x7fu >> len);
	for (unsigned i = 1; i < len; i++)
		*code = *code << 6 | (p[i] & 0x3f);
	return len;
}

static bool is_printable(uint32_t code)
{
	if (code < 0xa0)
		return code >= 0x20 && code < 0x7f;
	return !(code == 0x2028 || code == 0x2029 || code == 0xfeff || code == 0xfffe ||
		 code == 0xffff);
}

static void print_quoted(FILE *out, const char *text, size_t len)
{
	fputc('"', out);
	for (const char *end = text + len; text < end;) {
		uint32_t code;
		unsigned bytes = decode(text, &code);

		if (code == '"' || code == '\\')
			fprintf(out, "\\%c", (int)code);
		else if (code == '\n')
			fputs("\\n", out);
		else if (code == '\t')
			fputs("\\t", out);
		else if (is_printable(code))
			fwrite(text, 1, bytes, out);
		else
			fprintf(out, code < 0x100 ? "\\x%02x" : "\\u%04x", (unsigned)code);
		text += bytes;
	}
	fputc('"', out);
}

static void print_key(FILE *out, const char *key)
{
	if (is_plain(key, strlen(key)))
		fputs(key, out);
	else
		print_quoted(out, key, strlen(key));
	fputc(':', out);
}

/* YAML 1.1 knows a float by its point, and wants the exponent's sign. */
static void print_real(FILE *out, double number)
{
	char text[40];
	char *exponent;

	snprintf(text, sizeof(text), "%.15g", number);
	exponent = strchr(text, 'e');
	fprintf(out, "%.*s%s%s\n", exponent != NULL ? (int)(exponent - text) : (int)strlen(text),
		text, strchr(text, '.') == NULL ? ".0" : "", exponent != NULL ? exponent : "");
}

static void print_scalar(FILE *out, const json_t *value, unsigned indent)
{
	size_t len = json_string_length(value);

	switch (json_typeof(value)) {
	case JSON_STRING:
		if (is_block(json_string_value(value), len)) {
			print_block(out, json_string_value(value), len, indent);
			return;
		}
		if (is_plain(json_string_value(value), len))
			fputs(json_string_value(value), out);
		else
			print_quoted(out, json_string_value(value), len);
		fputc('\n', out);
		break;
	case JSON_INTEGER:
		fprintf(out, "%" JSON_INTEGER_FORMAT "\n", json_integer_value(value));
		break;
	case JSON_REAL:
		print_real(out, json_real_value(value));
		break;
	case JSON_TRUE:
		fputs("true\n", out);
		break;
	case JSON_FALSE:
		fputs("false\n", out);
		break;
	default:
		fputs("null\n", out);
		break;
	}
}

static bool is_filled(const json_t *value)
{
	return json_array_size(value) > 0 || json_object_size(value) > 0;
}

static void print_node(FILE *out, const json_t *value, unsigned indent, bool begun);

/* A value after "key:" or in a document's first line. */
static void print_empty_or_scalar(FILE *out, const json_t *value, unsigned indent)
{
	if (json_is_array(value))
		fputs("[]\n", out);
	else if (json_is_object(value))
		fputs("{}\n", out);
	else
		print_scalar(out, value, indent);
}

/* `begun`: the line already stands at `indent`, after a "- ". */
static void print_object(FILE *out, const json_t *object, unsigned indent, bool begun)
{
	const char *key;
	json_t *value;

	json_object_foreach ((json_t *)object, key, value) {
		fprintf(out, "%*s", begun ? 0 : (int)indent, "");
		begun = false;
		print_key(out, key);
		if (is_filled(value)) {
			fputc('\n', out);
			print_node(out, value, indent + INDENT, false);
		} else {
			fputc(' ', out);
			print_empty_or_scalar(out, value, indent + INDENT);
		}
	}
}

static void print_array(FILE *out, const json_t *array, unsigned indent, bool begun)
{
	json_t *value;
	size_t i;

	json_array_foreach (array, i, value) {
		fprintf(out, "%*s- ", begun ? 0 : (int)indent, "");
		begun = false;
		print_node(out, value, indent + INDENT, true);
	}
}

static void print_node(FILE *out, const json_t *value, unsigned indent, bool begun)
{
	if (!is_filled(value))
		print_empty_or_scalar(out, value, indent);
	else if (json_is_array(value))
		print_array(out, value, indent, begun);
	else
		print_object(out, value, indent, begun);
}

void yaml_print(FILE *out, const json_t *value)
{
	print_node(out, value, json_is_string(value) ? INDENT : 0, true);
}
