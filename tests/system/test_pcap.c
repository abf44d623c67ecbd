/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * test_pcap.c - --pcap: what is in the file, what is refused, and a disk that is full
 *
 * Not here: the format (unit tests); recordings that a control client begins (test_flows.c).
 */
#include "config.h"

#include <fcntl.h>
#include <glib.h>
#include <netinet/in.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "lab_helper.h"
#include "lab_raw.h"
#include "lab_test.h"

#define FILE_HEADER   24
#define RECORD_HEADER 16
#define ETH_HEADER    14
#define PING_PAYLOAD  333

static uint32_t word(const char *at)
{
    uint32_t value;

    memcpy(&value, at, sizeof value);
    return value;
}

/* IPv4 echo messages of that type with so many bytes. */
static unsigned count_echo(const char *data, size_t length, uint8_t type, size_t payload)
{
    unsigned count = 0;

    LAB_CHECK(length >= FILE_HEADER && word(data) == 0xa1b23c4d && word(data + 20) == 1,
              "%zu bytes, and no header", length);
    for (size_t at = FILE_HEADER; at < length;) {
        size_t size = word(data + at + 8);
        const uint8_t *frame = (const uint8_t *)data + at + RECORD_HEADER;

        LAB_CHECK(at + RECORD_HEADER + size <= length, "a record is cut");
        at += RECORD_HEADER + size;
        count += size == ETH_HEADER + 28 + payload && frame[12] == 8 && frame[13] == 0 &&
                 frame[ETH_HEADER + 9] == IPPROTO_ICMP && frame[ETH_HEADER + 20] == type;
    }
    return count;
}

LAB_TEST(pcap, file_of_the_user_alone_has_frames_both_ways_from_the_first_on)
{
    const char *path = lab_path(lab, "frames.pcap");
    g_autofree char *option = g_strdup_printf("--pcap=%s", path);
    g_autofree char *data = NULL;
    LabHelper *helper;
    struct stat st;
    gsize length;

    lab_write_file(path, "what was there before goes, however long it is..................");
    LAB_ASSERT_CALL(unlink(path));
    lab_sysctl(lab, LAB_GUEST, "net/ipv4/ping_group_range", "0 0");
    helper = lab_helper(lab, option, NULL);
    LAB_ASSERT_CALL(stat(path, &st));
    LAB_ASSERT_EQ(st.st_mode & 07777, 0600);
    LAB_ASSERT(lab_ping(lab, LAB_GUEST, LAB_GATEWAY_V4, PING_PAYLOAD, LAB_MS(LAB_WAIT_MS)));
    LAB_ASSERT(lab_ping(lab, LAB_GUEST, LAB_FAR_V4, PING_PAYLOAD + 1, LAB_MS(LAB_WAIT_MS)));
    lab_helper_stop(helper);
    LAB_ASSERT(g_file_get_contents(path, &data, &length, NULL));
    LAB_ASSERT_EQ(count_echo(data, length, 8, PING_PAYLOAD), 1);
    LAB_ASSERT_EQ(count_echo(data, length, 0, PING_PAYLOAD), 1);
    LAB_ASSERT_EQ(count_echo(data, length, 8, PING_PAYLOAD + 1), 1);
    LAB_ASSERT_EQ(count_echo(data, length, 0, PING_PAYLOAD + 1), 1);
}

static void refuses(Lab *lab, const char *path, const char *errno_name)
{
    LabCause cause = {
        .code = SALLYPORT_CODE_OPTION, .errno_name = errno_name, .says = {"--pcap", path}};
    LabRaw *raw = lab_raw_line(lab, NULL, "--pcap %s %d", path, (int)lab_pid(lab, LAB_GUEST));

    lab_raw_expect_refusal(raw, 1, &cause, 1);
    lab_raw_free(raw);
}

LAB_TEST(pcap, what_cannot_be_written_is_refused_before_ready)
{
    const char *pipe = lab_path(lab, "pipe");
    const char *missing = lab_path(lab, "missing/frames.pcap");

    LAB_ASSERT_CALL(mkfifo(pipe, 0600));
    refuses(lab, "/dev/full", "ENOSPC");
    refuses(lab, missing, "ENOENT");
    refuses(lab, lab_directory(lab), "EISDIR");
    refuses(lab, pipe, "ENXIO");
}

LAB_TEST(pcap, full_disk_ends_the_recording_with_a_record_and_nothing_else)
{
    const char *disk = lab_path(lab, "disk");
    g_autofree char *path = g_strdup_printf("%s/frames.pcap", disk);
    g_autofree char *option = g_strdup_printf("--pcap=%s", path);
    g_autofree char *data = NULL;
    const char *json = NULL;
    LabHelper *helper;
    gsize length;

    LAB_ASSERT_CALL(mkdir(disk, 0777));
    lab_do(lab, LAB_HOST, "mount -t tmpfs -o size=64k,mode=777 none %s", disk);
    lab_sysctl(lab, LAB_GUEST, "net/ipv4/ping_group_range", "0 0");
    helper = lab_helper(lab, option, NULL);
    for (unsigned i = 0; i < 10 && json == NULL; i++) {
        LAB_ASSERT(lab_ping(lab, LAB_GUEST, LAB_GATEWAY_V4, 9000, LAB_MS(LAB_WAIT_MS)));
        json = lab_helper_await(helper, SALLYPORT_EVENT_LOG, SALLYPORT_CODE_LIMIT, 100);
    }
    LAB_CHECK(json != NULL && strstr(json, "ENOSPC") != NULL && strstr(json, "recording") != NULL,
              "%s", json != NULL ? json : "no record");
    LAB_ASSERT(lab_ping(lab, LAB_GUEST, LAB_GATEWAY_V4, 9000, LAB_MS(LAB_WAIT_MS)));
    LAB_ASSERT_EQ(lab_helper_count(helper, SALLYPORT_EVENT_LOG, SALLYPORT_CODE_LIMIT), 1);
    LAB_ASSERT(g_file_get_contents(path, &data, &length, NULL));
    LAB_ASSERT_EQ(length, 65536);
    lab_helper_stop(helper);
}
