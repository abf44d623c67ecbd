/* SPDX-License-Identifier: GPL-2.0-or-later
 *
 * judge.c - whom the guest may reach, said a second time
 *
 * Does:     judges one final address as README.md and sallyport(1) describe the policy.
 * Why:      an oracle must not share the mistakes of what it judges.
 */
#include "config.h"

#include "judge.h"

#include <arpa/inet.h>
#include <string.h>

static bool is_a_host(const Judge *judge, sa_family_t family, const void *addr)
{
    for (size_t i = 0; i < judge->host_count; i++) {
        const NetAddr *host = &judge->hosts[i];

        if (host->family == family && family == AF_INET && memcmp(&host->v4, addr, 4) == 0) {
            return true;
        }
        if (host->family == family && family == AF_INET6 && memcmp(&host->v6, addr, 16) == 0) {
            return true;
        }
    }
    return false;
}

static bool judge4(const Judge *judge, uint32_t addr)
{
    uint32_t wire = htonl(addr);
    uint32_t first = addr >> 24;

    if (first == 0 || first == 127 || first >= 224) {
        return false;
    }
    if ((addr & judge->mask4) == judge->net4) {
        return false;
    }
    if (is_a_host(judge, AF_INET, &wire) && !judge->host) {
        return false;
    }
    /* 169.254.169.254, 169.254.170.2, 169.254.170.23, and those of three more clouds elsewhere. */
    if (addr == 0xa9fea9fe || addr == 0xa9feaa02 || addr == 0xa9feaa17 || addr == 0x646464c8 ||
        addr == 0xa83f8110 || addr == 0xc00000c0) {
        return judge->metadata;
    }
    if (addr >> 16 == 0xa9fe) {
        return judge->link_local;
    }
    return true;
}

static bool judge6(const Judge *judge, const uint8_t *addr)
{
    static const uint8_t zero[16];
    uint32_t within;
    bool embedded = false;

    if (memcmp(addr, zero, 12) == 0 || addr[0] == 0xff) {
        return false; /* ::, ::1, IPv4-compatible, multicast */
    }
    if (memcmp(addr, zero, 10) == 0 && addr[10] == 0xff && addr[11] == 0xff) {
        return false; /* v4-mapped */
    }
    if (memcmp(addr, zero, 8) == 0 && addr[8] == 0xff && addr[9] == 0xff && addr[10] == 0 &&
        addr[11] == 0) {
        return false; /* v4-translated */
    }
    if (memcmp(addr, judge->net6, judge->prefix6 / 8) == 0) {
        return false;
    }
    if (is_a_host(judge, AF_INET6, addr) && !judge->host) {
        return false;
    }
    if (memcmp(addr, "\xfd\0\x0e\xc2\0\0\0\0\0\0\0\0\0\0\x02\x54", 16) == 0 ||
        memcmp(addr, "\xfd\0\x0e\xc2\0\0\0\0\0\0\0\0\0\0\0\x23", 16) == 0 ||
        memcmp(addr, "\xfd\x20\0\xce\0\0\0\0\0\0\0\0\0\0\x02\x54", 16) == 0) {
        return judge->metadata;
    }
    if (memcmp(addr, "\x00\x64\xff\x9b\x00\x00\x00\x00\x00\x00\x00\x00", 12) == 0 ||
        memcmp(addr, "\x00\x64\xff\x9b\x00\x01", 6) == 0) {
        memcpy(&within, addr + 12, 4);
        embedded = true;
    } else if (addr[0] == 0x20 && addr[1] == 0x02) {
        memcpy(&within, addr + 2, 4);
        embedded = true;
    }
    if (embedded && !judge4(judge, ntohl(within))) {
        return false;
    }
    if (addr[0] == 0xfe && (addr[1] & 0xc0) == 0x80) {
        return judge->link_local;
    }
    return true;
}

bool judge_outside(const Judge *judge, const NetAddr *addr)
{
    if (addr->family == AF_INET) {
        return judge4(judge, ntohl(addr->v4.s_addr));
    }
    return addr->family == AF_INET6 && judge6(judge, addr->v6.s6_addr);
}
