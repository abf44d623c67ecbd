/* SPDX-License-Identifier: GPL-2.0-or-later
 *
 * nftables.c - the fast path's table, as the messages the kernel wants
 *
 * Does:     builds one batch (linux/netfilter/nf_tables.h), sends it, reads what became of it.
 * Runs in:  inside, in the guest's network namespace, with CAP_NET_ADMIN there. Never waits: the kernel has answered when
 *           sendto(2) returns (net/netfilter/nfnetlink.c: nfnetlink_rcv() runs in the sender).
 * Trusts:   the kernel's answers.
 * Why not libnftables(3): loading it, making its context and parsing a text take several times as long as all that the kernel
 *           has to do, and two MiB of private memory for as long as the table is to be owned.
 * Not here: what the rules are for (rules.c).
 */
#include "config.h"

#include "nftables.h"

#include <errno.h>
#include <netinet/in.h>
#include <netinet/ip.h>
#include <netinet/ip6.h>
#include <netinet/tcp.h>
#include <stddef.h>
#include <string.h>
#include <sys/socket.h>

/* After <netinet/in.h>, which they make room for (linux/libc-compat.h). */
#include <linux/netfilter.h>
#include <linux/netfilter/nf_tables.h>
#include <linux/netfilter/nfnetlink.h>
#include <linux/netfilter_ipv4.h>
#include <linux/netlink.h>
#include <linux/rtnetlink.h>

#include <libmnl/libmnl.h>

#define NFTABLES_NAME "sallyport"
/* Interface 1 is lo in every network namespace (net/core/net_namespace.c makes it first). */
#define NFTABLES_LO 1U
/* Before the priority of a MASQUERADE of the guest's own, which is 100. */
#define NFTABLES_BEFORE_SRCNAT (NF_IP_PRI_NAT_SRC - 10)
/* The longest rule takes 720 bytes. */
#define NFTABLES_MESSAGE_MAX  1024
#define NFTABLES_MESSAGES_MAX 18
#define NFTABLES_ANSWER_MAX   8192
#define NFTABLES_TCP_FLAGS    13 /* where they are in the header */

struct Nftables {
    struct mnl_socket *socket;
    uint32_t seq;
};

/* One transaction under construction. What each message is about, by its place in it, is for error records. */
typedef struct Batch {
    uint32_t first;
    size_t count;
    size_t len;
    const char *what[NFTABLES_MESSAGES_MAX];
    char buffer[NFTABLES_MESSAGES_MAX * NFTABLES_MESSAGE_MAX];
} Batch;

Nftables *nftables_new(void)
{
    struct mnl_socket *socket = mnl_socket_open2(NETLINK_NETFILTER, SOCK_CLOEXEC);
    Nftables *nft;
    int on = 1;

    if (socket == NULL) {
        return NULL;
    }
    if (mnl_socket_bind(socket, 0, MNL_SOCKET_AUTOPID) < 0) {
        int saved = errno;

        (void)mnl_socket_close(socket);
        errno = saved;
        return NULL;
    }
    /* An error without the whole message it is about (Linux 4.3); the answers are short then. */
    (void)mnl_socket_setsockopt(socket, NETLINK_CAP_ACK, &on, sizeof(on));
    nft = g_new0(Nftables, 1);
    nft->socket = socket;
    return nft;
}

void nftables_free(Nftables *nft)
{
    if (nft == NULL) {
        return;
    }
    (void)mnl_socket_close(nft->socket);
    g_free(nft);
}

/* ---- a transaction ---- */

static struct nlmsghdr *batch_add(Batch *batch, uint16_t type, uint16_t flags, const char *what)
{
    struct nlmsghdr *header;
    struct nfgenmsg *message;
    bool mark = type == NFNL_MSG_BATCH_BEGIN || type == NFNL_MSG_BATCH_END;

    g_assert(batch->count < NFTABLES_MESSAGES_MAX);
    header = mnl_nlmsg_put_header(batch->buffer + batch->len);
    header->nlmsg_type = (uint16_t)(mark ? type : NFNL_SUBSYS_NFTABLES << 8 | type);
    header->nlmsg_flags = (uint16_t)(NLM_F_REQUEST | flags);
    header->nlmsg_seq = batch->first + (uint32_t)batch->count;
    message = mnl_nlmsg_put_extra_header(header, sizeof(*message));
    message->version = NFNETLINK_V0;
    message->nfgen_family = mark ? AF_UNSPEC : NFPROTO_INET;
    message->res_id = mark ? htons(NFNL_SUBSYS_NFTABLES) : 0;
    batch->what[batch->count++] = what;
    return header;
}

/* The message is complete. */
static void batch_added(Batch *batch, const struct nlmsghdr *header)
{
    g_assert(header->nlmsg_len <= NFTABLES_MESSAGE_MAX);
    batch->len += NLMSG_ALIGN(header->nlmsg_len);
}

static void batch_begin(Batch *batch, const Nftables *nft)
{
    batch->first = nft->seq;
    batch->count = 0;
    batch->len = 0;
    batch_added(batch, batch_add(batch, NFNL_MSG_BATCH_BEGIN, 0, "nf_tables"));
}

typedef struct BatchAnswer {
    const Batch *batch;
    int error; /* the first, negative */
    const char *what;
    bool acknowledged;
} BatchAnswer;

static void batch_read(BatchAnswer *answer, const struct nlmsghdr *header)
{
    const struct nlmsgerr *error = mnl_nlmsg_get_payload(header);
    uint32_t at = header->nlmsg_seq - answer->batch->first;

    if (header->nlmsg_type != NLMSG_ERROR || mnl_nlmsg_get_payload_len(header) < sizeof(*error) ||
        at >= answer->batch->count) {
        return;
    }
    if (error->error != 0 && answer->error == 0) {
        answer->error = error->error;
        answer->what = answer->batch->what[at];
    }
    answer->acknowledged = answer->acknowledged || error->error == 0;
}

/* 0 if all of it was done; else none was. The last message before the end must be the one that asks to be acknowledged. */
static int batch_commit(Batch *batch, Nftables *nft, const char **ret_what)
{
    BatchAnswer answer = {.batch = batch};
    char buffer[NFTABLES_ANSWER_MAX];
    ssize_t got;

    batch_added(batch, batch_add(batch, NFNL_MSG_BATCH_END, 0, "nf_tables"));
    nft->seq += (uint32_t)batch->count;
    *ret_what = "nf_tables";
    if (mnl_socket_sendto(nft->socket, batch->buffer, batch->len) < 0) {
        return -errno;
    }
    while ((got = recv(mnl_socket_get_fd(nft->socket), buffer, sizeof(buffer), MSG_DONTWAIT)) > 0) {
        const struct nlmsghdr *header = (const struct nlmsghdr *)(const void *)buffer;
        int left = (int)got;

        for (; mnl_nlmsg_ok(header, left); header = mnl_nlmsg_next(header, &left)) {
            batch_read(&answer, header);
        }
    }
    if (answer.error != 0) {
        *ret_what = answer.what;
        return answer.error;
    }
    return answer.acknowledged ? 0 : -EIO;
}

/* ---- expressions of a rule ---- */

/* A register is as wide as an address. All our rules need but one at a time. */
#define REGISTER NFT_REG_1

typedef struct Expression {
    struct nlmsghdr *rule;
    struct nlattr *element;
    struct nlattr *data;
} Expression;

static Expression expression_begin(struct nlmsghdr *rule, const char *name)
{
    Expression expression = {.rule = rule, .element = mnl_attr_nest_start(rule, NFTA_LIST_ELEM)};

    mnl_attr_put_strz(rule, NFTA_EXPR_NAME, name);
    expression.data = mnl_attr_nest_start(rule, NFTA_EXPR_DATA);
    return expression;
}

static void expression_end(const Expression *expression)
{
    mnl_attr_nest_end(expression->rule, expression->data);
    mnl_attr_nest_end(expression->rule, expression->element);
}

/* Numbers of nf_tables are in network byte order, data for registers is as the register has it. */
static void put_number(struct nlmsghdr *rule, uint16_t type, uint32_t number)
{
    mnl_attr_put_u32(rule, type, htonl(number));
}

static void put_data(struct nlmsghdr *rule, uint16_t type, const void *data, size_t len)
{
    struct nlattr *nest = mnl_attr_nest_start(rule, type);

    mnl_attr_put(rule, NFTA_DATA_VALUE, len, data);
    mnl_attr_nest_end(rule, nest);
}

static void load_meta(struct nlmsghdr *rule, enum nft_meta_keys key)
{
    Expression expression = expression_begin(rule, "meta");

    put_number(rule, NFTA_META_KEY, key);
    put_number(rule, NFTA_META_DREG, REGISTER);
    expression_end(&expression);
}

static void load_ct_mark(struct nlmsghdr *rule)
{
    Expression expression = expression_begin(rule, "ct");

    put_number(rule, NFTA_CT_KEY, NFT_CT_MARK);
    put_number(rule, NFTA_CT_DREG, REGISTER);
    expression_end(&expression);
}

static void load_payload(struct nlmsghdr *rule, enum nft_payload_bases base, size_t offset,
                         size_t len)
{
    Expression expression = expression_begin(rule, "payload");

    put_number(rule, NFTA_PAYLOAD_DREG, REGISTER);
    put_number(rule, NFTA_PAYLOAD_BASE, base);
    put_number(rule, NFTA_PAYLOAD_OFFSET, (uint32_t)offset);
    put_number(rule, NFTA_PAYLOAD_LEN, (uint32_t)len);
    expression_end(&expression);
}

/* The type of an address, a RTN_* number; @flags: of which one, NFTA_FIB_F_*. */
static void load_fib_type(struct nlmsghdr *rule, uint32_t flags)
{
    Expression expression = expression_begin(rule, "fib");

    put_number(rule, NFTA_FIB_DREG, REGISTER);
    put_number(rule, NFTA_FIB_RESULT, NFT_FIB_RESULT_ADDRTYPE);
    put_number(rule, NFTA_FIB_FLAGS, flags);
    expression_end(&expression);
}

static void load_value(struct nlmsghdr *rule, const void *data, size_t len)
{
    Expression expression = expression_begin(rule, "immediate");

    put_number(rule, NFTA_IMMEDIATE_DREG, REGISTER);
    put_data(rule, NFTA_IMMEDIATE_DATA, data, len);
    expression_end(&expression);
}

static void and_byte(struct nlmsghdr *rule, uint8_t mask)
{
    Expression expression = expression_begin(rule, "bitwise");
    uint8_t nothing = 0;

    put_number(rule, NFTA_BITWISE_SREG, REGISTER);
    put_number(rule, NFTA_BITWISE_DREG, REGISTER);
    put_number(rule, NFTA_BITWISE_LEN, sizeof(mask));
    put_data(rule, NFTA_BITWISE_MASK, &mask, sizeof(mask));
    put_data(rule, NFTA_BITWISE_XOR, &nothing, sizeof(nothing));
    expression_end(&expression);
}

static void compare(struct nlmsghdr *rule, enum nft_cmp_ops op, const void *data, size_t len)
{
    Expression expression = expression_begin(rule, "cmp");

    put_number(rule, NFTA_CMP_SREG, REGISTER);
    put_number(rule, NFTA_CMP_OP, op);
    put_data(rule, NFTA_CMP_DATA, data, len);
    expression_end(&expression);
}

static void verdict(struct nlmsghdr *rule, int code)
{
    Expression expression = expression_begin(rule, "immediate");
    struct nlattr *data;
    struct nlattr *nest;

    put_number(rule, NFTA_IMMEDIATE_DREG, NFT_REG_VERDICT);
    data = mnl_attr_nest_start(rule, NFTA_IMMEDIATE_DATA);
    nest = mnl_attr_nest_start(rule, NFTA_DATA_VERDICT);
    put_number(rule, NFTA_VERDICT_CODE, (uint32_t)code);
    mnl_attr_nest_end(rule, nest);
    mnl_attr_nest_end(rule, data);
    expression_end(&expression);
}

/* ---- words of a rule, as nft(8) would have them ---- */

static void if_meta(struct nlmsghdr *rule, enum nft_meta_keys key, uint32_t value)
{
    load_meta(rule, key);
    compare(rule, NFT_CMP_EQ, &value, sizeof(value));
}

static void if_ct_mark(struct nlmsghdr *rule, uint32_t mark)
{
    load_ct_mark(rule);
    compare(rule, NFT_CMP_EQ, &mark, sizeof(mark));
}

/* "tcp flags & (syn|ack) == syn" */
static void if_syn(struct nlmsghdr *rule)
{
    uint8_t protocol = IPPROTO_TCP;
    uint8_t syn = TH_SYN;

    load_meta(rule, NFT_META_L4PROTO);
    compare(rule, NFT_CMP_EQ, &protocol, sizeof(protocol));
    load_payload(rule, NFT_PAYLOAD_TRANSPORT_HEADER, NFTABLES_TCP_FLAGS, sizeof(syn));
    and_byte(rule, TH_SYN | TH_ACK);
    compare(rule, NFT_CMP_EQ, &syn, sizeof(syn));
}

static void if_fib_type(struct nlmsghdr *rule, uint32_t flags, enum nft_cmp_ops op, uint32_t type)
{
    load_fib_type(rule, flags);
    compare(rule, op, &type, sizeof(type));
}

static void set_meta_mark(struct nlmsghdr *rule, uint32_t mark)
{
    Expression expression;

    load_value(rule, &mark, sizeof(mark));
    expression = expression_begin(rule, "meta");
    put_number(rule, NFTA_META_KEY, NFT_META_MARK);
    put_number(rule, NFTA_META_SREG, REGISTER);
    expression_end(&expression);
}

static void set_ct_mark(struct nlmsghdr *rule, uint32_t mark)
{
    Expression expression;

    load_value(rule, &mark, sizeof(mark));
    expression = expression_begin(rule, "ct");
    put_number(rule, NFTA_CT_KEY, NFT_CT_MARK);
    put_number(rule, NFTA_CT_SREG, REGISTER);
    expression_end(&expression);
}

/* "tproxy to :PORT" */
static void tproxy(struct nlmsghdr *rule, uint16_t port)
{
    uint16_t wire = htons(port);
    Expression expression;

    load_value(rule, &wire, sizeof(wire));
    expression = expression_begin(rule, "tproxy");
    put_number(rule, NFTA_TPROXY_FAMILY, NFPROTO_UNSPEC);
    put_number(rule, NFTA_TPROXY_REG_PORT, REGISTER);
    expression_end(&expression);
}

/* "snat ip to ip saddr" */
static void snat_to_itself(struct nlmsghdr *rule, uint8_t family)
{
    Expression expression;

    if (family == NFPROTO_IPV4) {
        load_payload(rule, NFT_PAYLOAD_NETWORK_HEADER, offsetof(struct iphdr, saddr), 4);
    } else {
        load_payload(rule, NFT_PAYLOAD_NETWORK_HEADER, offsetof(struct ip6_hdr, ip6_src), 16);
    }
    expression = expression_begin(rule, "nat");
    put_number(rule, NFTA_NAT_TYPE, NFT_NAT_SNAT);
    put_number(rule, NFTA_NAT_FAMILY, family);
    put_number(rule, NFTA_NAT_REG_ADDR_MIN, REGISTER);
    put_number(rule, NFTA_NAT_REG_ADDR_MAX, REGISTER);
    expression_end(&expression);
}

/* ---- the table ---- */

static void batch_table(Batch *batch, const NftablesTable *table)
{
    struct nlmsghdr *header =
        batch_add(batch, NFT_MSG_NEWTABLE, NLM_F_CREATE | NLM_F_EXCL, "the table");

    mnl_attr_put_strz(header, NFTA_TABLE_NAME, NFTABLES_NAME);
    if (table->owner) {
        put_number(header, NFTA_TABLE_FLAGS, NFT_TABLE_F_OWNER);
    }
    batch_added(batch, header);
}

static void batch_table_gone(Batch *batch, uint16_t flags)
{
    struct nlmsghdr *header = batch_add(batch, NFT_MSG_DELTABLE, flags, "the table before");

    mnl_attr_put_strz(header, NFTA_TABLE_NAME, NFTABLES_NAME);
    batch_added(batch, header);
}

static void batch_chain(Batch *batch, const char *name, const char *type, unsigned hook,
                        int priority, const char *what)
{
    struct nlmsghdr *header = batch_add(batch, NFT_MSG_NEWCHAIN, NLM_F_CREATE | NLM_F_EXCL, what);
    struct nlattr *nest;

    mnl_attr_put_strz(header, NFTA_CHAIN_TABLE, NFTABLES_NAME);
    mnl_attr_put_strz(header, NFTA_CHAIN_NAME, name);
    nest = mnl_attr_nest_start(header, NFTA_CHAIN_HOOK);
    put_number(header, NFTA_HOOK_HOOKNUM, hook);
    put_number(header, NFTA_HOOK_PRIORITY, (uint32_t)priority);
    mnl_attr_nest_end(header, nest);
    mnl_attr_put_strz(header, NFTA_CHAIN_TYPE, type);
    batch_added(batch, header);
}

typedef void (*RuleFunc)(struct nlmsghdr *rule, const NftablesTable *table);

/* Appends a rule. */
static void batch_rule(Batch *batch, const char *chain, RuleFunc fill, const NftablesTable *table,
                       uint16_t flags, const char *what)
{
    struct nlmsghdr *header =
        batch_add(batch, NFT_MSG_NEWRULE, (uint16_t)(NLM_F_CREATE | NLM_F_APPEND | flags), what);
    struct nlattr *nest;

    mnl_attr_put_strz(header, NFTA_RULE_TABLE, NFTABLES_NAME);
    mnl_attr_put_strz(header, NFTA_RULE_CHAIN, chain);
    nest = mnl_attr_nest_start(header, NFTA_RULE_EXPRESSIONS);
    fill(header, table);
    mnl_attr_nest_end(header, nest);
    batch_added(batch, header);
}

/* meta mark M2  meta mark set M  return */
static void rule_injected(struct nlmsghdr *rule, const NftablesTable *table)
{
    if_meta(rule, NFT_META_MARK, table->mark_inject);
    set_meta_mark(rule, table->mark);
    verdict(rule, NFT_RETURN);
}

/* meta mark M  ct mark set M  return */
static void rule_ours(struct nlmsghdr *rule, const NftablesTable *table)
{
    if_meta(rule, NFT_META_MARK, table->mark);
    set_ct_mark(rule, table->mark);
    verdict(rule, NFT_RETURN);
}

/* tcp flags & (syn|ack) == syn  ct mark M  ct mark set 0  return */
static void rule_anew(struct nlmsghdr *rule, const NftablesTable *table)
{
    if_syn(rule);
    if_ct_mark(rule, table->mark);
    set_ct_mark(rule, 0);
    verdict(rule, NFT_RETURN);
}

/* ct mark M  meta mark set M */
static void rule_flow(struct nlmsghdr *rule, const NftablesTable *table)
{
    if_ct_mark(rule, table->mark);
    set_meta_mark(rule, table->mark);
}

/* iif lo  meta mark M  tcp flags & (syn|ack) == syn  fib daddr type != local  tproxy to :PORT  accept */
static void rule_listener(struct nlmsghdr *rule, const NftablesTable *table)
{
    if_meta(rule, NFT_META_IIF, NFTABLES_LO);
    if_meta(rule, NFT_META_MARK, table->mark);
    if_syn(rule);
    if_fib_type(rule, NFTA_FIB_F_DADDR, NFT_CMP_NEQ, RTN_LOCAL);
    tproxy(rule, table->port);
    verdict(rule, NF_ACCEPT);
}

/* oif TAP  meta nfproto ipv4  tcp flags & (syn|ack) == syn  fib saddr . oif type local  snat ip to ip saddr */
static void rule_itself(struct nlmsghdr *rule, const NftablesTable *table, uint8_t family)
{
    if_meta(rule, NFT_META_OIF, table->ifindex);
    load_meta(rule, NFT_META_NFPROTO);
    compare(rule, NFT_CMP_EQ, &family, sizeof(family));
    if_syn(rule);
    if_fib_type(rule, NFTA_FIB_F_SADDR | NFTA_FIB_F_OIF, NFT_CMP_EQ, RTN_LOCAL);
    snat_to_itself(rule, family);
}

static void rule_itself_ipv4(struct nlmsghdr *rule, const NftablesTable *table)
{
    rule_itself(rule, table, NFPROTO_IPV4);
}

static void rule_itself_ipv6(struct nlmsghdr *rule, const NftablesTable *table)
{
    rule_itself(rule, table, NFPROTO_IPV6);
}

/* oif lo  meta mark M  meta nfproto ipv4  snat ip to ip saddr */
static void rule_shown(struct nlmsghdr *rule, const NftablesTable *table, uint8_t family)
{
    if_meta(rule, NFT_META_OIF, NFTABLES_LO);
    if_meta(rule, NFT_META_MARK, table->mark);
    load_meta(rule, NFT_META_NFPROTO);
    compare(rule, NFT_CMP_EQ, &family, sizeof(family));
    snat_to_itself(rule, family);
}

static void rule_shown_ipv4(struct nlmsghdr *rule, const NftablesTable *table)
{
    rule_shown(rule, table, NFPROTO_IPV4);
}

static void rule_shown_ipv6(struct nlmsghdr *rule, const NftablesTable *table)
{
    rule_shown(rule, table, NFPROTO_IPV6);
}

int nftables_put(Nftables *nft, const NftablesTable *table, bool replace, const char **ret_what)
{
    Batch batch;

    batch_begin(&batch, nft);
    if (replace) {
        batch_table_gone(&batch, 0);
    }
    batch_table(&batch, table);
    batch_chain(&batch, "o", "route", NF_INET_LOCAL_OUT, NF_IP_PRI_MANGLE, "a route chain");
    batch_rule(&batch, "o", rule_injected, table, 0, "a rule that sets a mark");
    batch_rule(&batch, "o", rule_ours, table, 0, "a rule with conntrack");
    batch_rule(&batch, "o", rule_anew, table, 0, "a rule with conntrack");
    batch_rule(&batch, "o", rule_flow, table, 0, "a rule with conntrack");
    batch_chain(&batch, "p", "filter", NF_INET_PRE_ROUTING, NF_IP_PRI_MANGLE, "a filter chain");
    batch_rule(&batch, "p", rule_listener, table, 0, "a rule with fib and tproxy");
    batch_chain(&batch, "n", "nat", NF_INET_POST_ROUTING, NFTABLES_BEFORE_SRCNAT, "a nat chain");
    batch_rule(&batch, "n", rule_itself_ipv4, table, 0, "a rule with fib and snat");
    batch_rule(&batch, "n", rule_itself_ipv6, table, 0, "a rule with fib and snat");
    batch_rule(&batch, "n", rule_shown_ipv4, table, 0, "a rule with snat");
    batch_rule(&batch, "n", rule_shown_ipv6, table, NLM_F_ACK, "a rule with snat");
    return batch_commit(&batch, nft, ret_what);
}

bool nftables_any(Nftables *nft)
{
    char buffer[NFTABLES_ANSWER_MAX];
    struct nlmsghdr *ask = mnl_nlmsg_put_header(buffer);
    struct nfgenmsg *message = mnl_nlmsg_put_extra_header(ask, sizeof(*message));
    ssize_t got;
    int left;

    ask->nlmsg_type = NFNL_SUBSYS_NFTABLES << 8 | NFT_MSG_GETTABLE;
    ask->nlmsg_flags = NLM_F_REQUEST | NLM_F_DUMP;
    ask->nlmsg_seq = ++nft->seq;
    message->version = NFNETLINK_V0;
    got = mnl_socket_sendto(nft->socket, ask, ask->nlmsg_len);
    if (got > 0) {
        got = recv(mnl_socket_get_fd(nft->socket), buffer, sizeof(buffer), MSG_DONTWAIT);
    }
    left = (int)got;
    if (got <= 0 || !mnl_nlmsg_ok(ask, left) || ask->nlmsg_type == NLMSG_ERROR) {
        return true;
    }
    /* A dump without an end holds more, which is thrown away: one table is enough. */
    if (ask->nlmsg_type != NLMSG_DONE) {
        while (recv(mnl_socket_get_fd(nft->socket), buffer, sizeof(buffer), MSG_DONTWAIT) > 0) {
        }
        return true;
    }
    return false;
}

int nftables_delete(Nftables *nft)
{
    Batch batch;
    const char *what;

    batch_begin(&batch, nft);
    batch_table_gone(&batch, NLM_F_ACK);
    return batch_commit(&batch, nft, &what);
}
