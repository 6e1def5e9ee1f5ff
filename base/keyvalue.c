/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "base/keyvalue.h"

bool keyvalue_find(const char *text, size_t bytes, const char *key, struct cursor *ret)
{
	struct cursor c = cursor_of(text, bytes);

	while (!cursor_at_end(&c)) {
		struct cursor line = cursor_take_until(&c, "\n");

		cursor_take_char(&c, '\n');
		if (cursor_take_string(&line, key) && cursor_take_char(&line, '=')) {
			*ret = line;
			return true;
		}
	}
	return false;
}

bool keyvalue_number(const char *text, size_t bytes, const char *key, int base, uint64_t *ret)
{
	bool negative;
	struct cursor c;
	uint64_t value;

	if (!keyvalue_find(text, bytes, key, &c))
		return false;
	negative = cursor_take_char(&c, '-');
	if (!(base == 16 ? cursor_take_hex(&c, &value) : cursor_take_number(&c, &value)) || !cursor_at_end(&c))
		return false;
	*ret = negative ? -value : value;
	return true;
}
