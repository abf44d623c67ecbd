/* SPDX-License-Identifier: GPL-2.0-or-later
 *
 * service.c - the control socket, the inherited ones, slirp4netns's API socket
 *
 * Does:     makes what the command line asks for and puts the right language behind each.
 * Runs in:  the supervisor.
 * Owns:     the socket files and both servers.
 */
#include "config.h"

#include "service.h"

#include "api.h"
#include "commands.h"
#include "control.h"
#include "socketfile.h"

struct Service {
    GMainContext *context;
    CommandParts parts;
    Control *control; /* NULL: not wanted; the same below */
    Api *api;
    SocketFile *control_file;
    SocketFile *api_file;
};

bool service_wanted(const Settings *settings)
{
    return settings->control != NULL || settings->control_fd >= 0 || settings->observe_fd >= 0 ||
           settings->api_socket != NULL;
}

void service_free(Service *service)
{
    if (service == NULL) {
        return;
    }
    control_free(service->control);
    api_free(service->api);
    socketfile_free(service->control_file);
    socketfile_free(service->api_file);
    g_free(service);
}

static bool service_make_control(Service *service, GError **error)
{
    const Settings *settings = service->parts.settings;
    size_t count;
    const ControlCommand *commands = commands_table(&count);
    Clients *clients;

    service->control = control_new(service->context, commands, count, &service->parts);
    clients = control_clients(service->control);
    if (settings->control != NULL) {
        service->control_file = socketfile_new(settings->control, "control", error);
        if (service->control_file == NULL) {
            return false;
        }
        clients_listen(clients, socketfile_fd(service->control_file), false);
    }
    return (settings->control_fd < 0 ||
            clients_inherit(clients, settings->control_fd, "control-fd", false, error)) &&
           (settings->observe_fd < 0 ||
            clients_inherit(clients, settings->observe_fd, "observe-fd", true, error));
}

static bool service_make_api(Service *service, GError **error)
{
    service->api = api_new(service->context, &service->parts);
    service->api_file = socketfile_new(service->parts.settings->api_socket, "api-socket", error);
    if (service->api_file == NULL) {
        return false;
    }
    clients_listen(api_clients(service->api), socketfile_fd(service->api_file), false);
    return true;
}

Service *service_new(const Settings *settings, GMainContext *context, GError **error)
{
    g_autoptr(Service) service = g_new0(Service, 1);
    bool control =
        settings->control != NULL || settings->control_fd >= 0 || settings->observe_fd >= 0;

    service->context = context;
    service->parts.settings = settings;
    if ((control && !service_make_control(service, error)) ||
        (settings->api_socket != NULL && !service_make_api(service, error))) {
        return NULL;
    }
    return g_steal_pointer(&service);
}

void service_begin(Service *service, Publisher *publisher, Inquiry *inquiry, Report *report)
{
    service->parts.publisher = publisher;
    service->parts.inquiry = inquiry;
    service->parts.report = report;
    publisher_serve(publisher, service->context);
    if (service->control != NULL) {
        clients_begin(control_clients(service->control));
    }
    if (service->api != NULL) {
        clients_begin(api_clients(service->api));
    }
}
