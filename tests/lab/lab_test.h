/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * lab_test.h - a Criterion test whose body runs in a lab
 *
 *    LAB_TEST(outbound, tcp_reaches_the_far_machine)
 *    {
 *        LabHelper *helper = lab_helper(lab, NULL);
 *        ...
 *    }
 *
 * Options of the lab follow the name: LAB_TEST(publish, weak, .limit_ms = 60000).
 */
#ifndef LAB_TEST_H
#define LAB_TEST_H

#include <criterion/criterion.h>

#include "lab.h"

#define LAB_TEST(suite, name, ...)                                                                 \
    static void suite##_##name(Lab *lab);                                                          \
    Test(suite, name)                                                                              \
    {                                                                                              \
        const LabOptions lab_options = {.preset = true, __VA_ARGS__};                              \
        char lab_text[1024];                                                                       \
                                                                                                   \
        switch (lab_try(&lab_options, suite##_##name, lab_text, sizeof lab_text)) {                \
        case LAB_PASSED:                                                                           \
            break;                                                                                 \
        case LAB_SKIPPED:                                                                          \
            cr_skip_test("%s", lab_text);                                                          \
            break;                                                                                 \
        case LAB_FAILED:                                                                           \
            cr_assert_fail("%s", lab_text);                                                        \
            break;                                                                                 \
        }                                                                                          \
    }                                                                                              \
    static void suite##_##name(Lab *lab)

#endif
