/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * test_call.c - requests of the control socket, right and wrong in every way
 */
#include "config.h"

#include "control/call.h"

#include <stdlib.h>
#include <string.h>

#include <criterion/criterion.h>

static void parse(Call *ret, const char *line)
{
    call_parse(line, strlen(line), ret);
}

Test(call, request_is_taken_apart)
{
    g_auto(Call) call = {0};

    parse(&call, "{\"id\":7,\"command\":\"publish\",\"arguments\":{\"spec\":\"8080:80\"}}\n");
    cr_assert_null(call.fault, "%s", call.fault);
    cr_expect_eq(json_integer_value(call.id), 7);
    cr_expect_str_eq(call.command, "publish");
    cr_expect_str_eq(json_string_value(json_object_get(call.arguments, "spec")), "8080:80");
}

Test(call, id_and_arguments_may_be_left_out)
{
    g_auto(Call) call = {0};
    g_autofree char *answer = NULL;

    parse(&call, "{\"command\":\"ping\"}");
    cr_assert_null(call.fault);
    cr_expect_null(call.id);
    cr_expect_eq(json_object_size(call.arguments), 0);
    answer = call_answer(call.id, "return", json_object());
    cr_expect_str_eq(answer, "{\"id\":null,\"return\":{}}\n");
}

Test(call, id_comes_back_as_it_was)
{
    static const char *const ids[] = {
        "0",
        "-9223372036854775808",
        "9223372036854775807",
        "\"\"",
        "\"1234567890123456789012345678901234567890123456789012345678901234\"",
        "\"\xc3\xa4\\\"\\\\\"",
        NULL};

    for (size_t i = 0; ids[i] != NULL; i++) {
        g_autofree char *line = g_strdup_printf("{\"id\":%s,\"command\":\"ping\"}", ids[i]);
        g_autofree char *want = g_strdup_printf("{\"id\":%s,\"return\":{}}\n", ids[i]);
        g_autofree char *answer = NULL;
        g_auto(Call) call = {0};

        parse(&call, line);
        cr_expect_null(call.fault, "%s: %s", ids[i], call.fault);
        answer = call_answer(call.id, "return", json_object());
        cr_expect_str_eq(answer, want);
    }
}

/* Every field missing, null, of a wrong type, twice; numbers that are none; depth; bytes that are no text. */
Test(call, what_is_wrong_is_a_fault_with_words)
{
    static const char *const lines[] = {
        "",
        "\n",
        " ",
        "x",
        "null",
        "1",
        "\"ping\"",
        "[]",
        "[{\"command\":\"ping\"}]",
        "{",
        "}",
        "{\"command\"",
        "{\"command\":",
        "{\"command\":\"ping\"",
        "{\"command\":\"ping\"}}",
        "{\"command\":\"ping\"}{\"command\":\"ping\"}",
        "{command:\"ping\"}",
        "{'command':'ping'}",
        "{}",
        "{\"id\":1}",
        "{\"command\":null}",
        "{\"command\":1}",
        "{\"command\":true}",
        "{\"command\":[\"ping\"]}",
        "{\"command\":{}}",
        "{\"command\":\"ping\",\"arguments\":null}",
        "{\"command\":\"ping\",\"arguments\":[]}",
        "{\"command\":\"ping\",\"arguments\":\"\"}",
        "{\"command\":\"ping\",\"arguments\":0}",
        "{\"id\":null,\"command\":\"ping\"}",
        "{\"id\":1.5,\"command\":\"ping\"}",
        "{\"id\":true,\"command\":\"ping\"}",
        "{\"id\":[1],\"command\":\"ping\"}",
        "{\"id\":{},\"command\":\"ping\"}",
        "{\"id\":\"12345678901234567890123456789012345678901234567890123456789012345\","
        "\"command\":\"ping\"}",
        "{\"id\":9223372036854775808,\"command\":\"ping\"}",
        "{\"id\":1e999,\"command\":\"ping\"}",
        "{\"id\":NaN,\"command\":\"ping\"}",
        "{\"id\":-Infinity,\"command\":\"ping\"}",
        "{\"id\":01,\"command\":\"ping\"}",
        "{\"id\":1,\"id\":1,\"command\":\"ping\"}",
        "{\"command\":\"ping\",\"command\":\"list\"}",
        "{\"command\":\"ping\",\"arguments\":{\"a\":1,\"a\":1}}",
        "{\"command\":\"ping\",\"Id\":1}",
        "{\"command\":\"ping\",\"\":1}",
        "{\"command\":\"pi\\u0000ng\"}",
        "{\"command\":\"\xff\"}",
        "{\"command\":\"\xc3\"}",
        "{\"command\":\"\xed\xa0\x80\"}",
        "{\"command\":\"\xf4\x90\x80\x80\"}",
        "{\"command\":\"\xc0\x80\"}",
        "{\"command\":\"\\ud800\"}",
        "{\"command\":\"a\tb\"}",
        "{\"\xff\xfe\":1,\"command\":\"ping\"}",
        "\xef\xbb\xbf{\"command\":\"ping\"}",
        NULL};

    for (size_t i = 0; lines[i] != NULL; i++) {
        g_auto(Call) call = {0};
        g_autofree char *answer = NULL;

        parse(&call, lines[i]);
        cr_expect_not_null(call.fault, "%s", lines[i]);
        cr_expect_null(call.command, "%s", lines[i]);
        answer = call_answer(call.id, "error", call_text(call.fault));
        cr_expect(g_utf8_validate(answer, -1, NULL), "%s", lines[i]);
    }
}

Test(call, id_of_a_wrong_request_comes_back_if_it_is_one)
{
    g_auto(Call) call = {0};

    parse(&call, "{\"id\":7,\"command\":1}");
    cr_assert_not_null(call.fault);
    cr_expect_eq(json_integer_value(call.id), 7);
}

Test(call, bytes_of_zero_are_no_end)
{
    static const char line[] = "{\"command\":\"ping\"}\0{\"command\":\"ping\"}";
    g_auto(Call) call = {0};

    call_parse(line, sizeof(line) - 1, &call);
    cr_expect_not_null(call.fault);
}

Test(call, nesting_of_ten_thousand_is_refused)
{
    g_autoptr(GString) line = g_string_new("{\"command\":\"ping\",\"arguments\":");
    g_auto(Call) call = {0};

    for (unsigned i = 0; i < 10000; i++) {
        g_string_append(line, "{\"a\":");
    }
    g_string_append_c(line, '1');
    for (unsigned i = 0; i <= 10000; i++) {
        g_string_append_c(line, '}');
    }
    call_parse(line->str, line->len, &call);
    cr_expect_not_null(call.fault);
}

Test(call, line_ends_at_its_newline_alone)
{
    cr_expect_eq(call_frame("", 0, false), 0);
    cr_expect_eq(call_frame("{}", 2, false), 0);
    cr_expect_eq(call_frame("{}", 2, true), 0, "it may have been cut off");
    cr_expect_eq(call_frame("{}\n{}\n", 6, false), 3);
    cr_expect_eq(call_frame("\n", 1, false), 1);
}

Test(call, number_must_be_whole_and_within)
{
    static const char *const wrong[] = {"null", "\"80\"", "80.0", "-1", "65616", "1e308",
                                        "true", "[]",     "{}",   "0",  NULL};
    json_int_t number = 5;

    for (size_t i = 0; wrong[i] != NULL; i++) {
        g_autofree char *text = g_strdup_printf("{\"n\":%s}", wrong[i]);
        json_t *object = json_loads(text, 0, NULL);

        cr_expect_not(call_integer(object, "n", 1, 65535, &number), "%s", wrong[i]);
        cr_expect_eq(number, 5);
        json_decref(object);
    }
    cr_expect_not(call_integer(NULL, "n", 1, 65535, &number));
}
