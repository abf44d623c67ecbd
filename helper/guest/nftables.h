/* SPDX-License-Identifier: GPL-2.0-or-later */
#ifndef SALLYPORT_GUEST_NFTABLES_H
#define SALLYPORT_GUEST_NFTABLES_H

#include <stdbool.h>
#include <stdint.h>

#include <glib.h>

/*
 * The nftables table "sallyport" in the network namespace the calling process is in, by way of nfnetlink.
 * One socket: the kernel removes a table that it owns when it is closed.
 */
typedef struct Nftables Nftables;

/**
 * struct NftablesTable - what the rules are made of
 * @mark:    of the fast path's sockets and flows; @mark_inject: of SYNs that are put back in
 * @ifindex: the TAP
 * @port:    of the transparent listener, host byte order
 * @owner:   nobody else may change the table, and it goes with our socket (Linux 5.12)
 */
typedef struct NftablesTable {
    uint32_t mark;
    uint32_t mark_inject;
    unsigned ifindex;
    uint16_t port;
    bool owner;
} NftablesTable;

/* NULL if the kernel has no nfnetlink; errno says why. */
Nftables *nftables_new(void);
/* The table stays, unless the socket owns it. */
void nftables_free(Nftables *nft);
G_DEFINE_AUTOPTR_CLEANUP_FUNC(Nftables, nftables_free)

/**
 * nftables_put() - put the table in place, in one transaction
 * @replace:  instead of the one that is there (else -ENOENT); false: none may be there (else -EEXIST)
 * @ret_what: the part of it that the kernel refused, a constant
 *
 * Return: 0, or -errno: then nothing has changed
 */
int nftables_put(Nftables *nft, const NftablesTable *table, bool replace, const char **ret_what);

/* Are there tables of anybody's? Where the kernel does not say, there are. */
bool nftables_any(Nftables *nft);

/* Takes the table away. 0 or -errno. */
int nftables_delete(Nftables *nft);

#endif
