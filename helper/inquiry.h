/* SPDX-License-Identifier: GPL-2.0-or-later */
#ifndef SALLYPORT_INQUIRY_H
#define SALLYPORT_INQUIRY_H

#include <stdbool.h>
#include <stdint.h>
#include <sys/types.h>

#include <glib.h>
#include <jansson.h>

#include "message.h"
#include "settings.h"

/* Questions to the datapath of a running sandbox, and their answers as clients of the control socket get them. */
typedef struct Inquiry Inquiry;

/* How long the datapath may take, from when it is asked for. */
#define INQUIRY_TIMEOUT_MS 2000
/* Questions that may wait. */
#define INQUIRY_MAX 64
/* Flows of one page. */
#define INQUIRY_FLOWS_MAX 128

/* child_send(), or -EBUSY while the datapath is behind */
typedef int (*InquirySendFunc)(const void *message, size_t size, const int *fds, size_t count,
                               void *user_data);

/**
 * InquiryFunc - the answer, from the loop or, if it could not be asked, from the call itself
 * @take_result: the callee's; NULL: there is none
 * @error:       why. ETIMEDOUT: the datapath did not answer; EBUSY: too many questions wait; ECANCELED: the end; for a recording also
 *               the errno of pcap_start()
 */
typedef void (*InquiryFunc)(json_t *take_result, const GError *error, void *user_data);

/* @datapath, @inside: whose memory inquiry_stats() tells; 0 for none. */
Inquiry *inquiry_new(GMainContext *context, InquirySendFunc send, void *user_data, pid_t datapath,
                     pid_t inside);
/* Answers what is still open with ECANCELED. */
void inquiry_free(Inquiry *inquiry);
G_DEFINE_AUTOPTR_CLEANUP_FUNC(Inquiry, inquiry_free)

/* A message of the datapath's. False: it is no answer. One that is too late, or to nothing, is ignored. */
bool inquiry_take(Inquiry *inquiry, const Message *message);

/**
 * inquiry_flows() - {"flows": [...], "cursor": where the next page begins, or null}
 * @cursor: 0 for the first page, then what the page before said
 * @limit:  flows at most; a page may have less though there are more
 *
 * What lives from the first page to the last is listed once; what does not, once at most.
 */
void inquiry_flows(Inquiry *inquiry, uint64_t cursor, unsigned limit, InquiryFunc func,
                   void *user_data);

/* {"counters": {...}, "totals": {...}, "memory": {...}, "fds": {...}} */
void inquiry_stats(Inquiry *inquiry, InquiryFunc func, void *user_data);

/* {}. @fd: a file, pipe, socket or device, open for writing; borrowed. @max_bytes: 0 for no limit. */
void inquiry_pcap_start(Inquiry *inquiry, int fd, uint64_t max_bytes, InquiryFunc func,
                        void *user_data);
/* The same into a file of that name, mode 0600 if it is new, else emptied: before lock-down, and before the datapath has begun, which
 * may take long. False with @error set, and no question. */
bool inquiry_pcap_file(Inquiry *inquiry, const char *path, InquiryFunc func, void *user_data,
                       GError **error);
/* {"bytes": N, "frames": N, "dropped": N} of the recording under way, or else the last. */
void inquiry_pcap_stop(Inquiry *inquiry, InquiryFunc func, void *user_data);

/* What the datapath says from now on; it does not answer. 0 or -errno. */
int inquiry_log_level(Inquiry *inquiry, LogLevel level);

/* Nobody waits for the answers to these any more: they come to nothing. */
void inquiry_forget(Inquiry *inquiry, const void *user_data);

#endif
