/* SPDX-License-Identifier: GPL-2.0-or-later
 *
 * test_portmap.c - the grammar of published ports and its error texts
 *
 * Does:     parses every example of the documentation and many specifications that nobody should write.
 * Not here: copies, overlaps and the default host (test_portmap_value.c). The parser does no I/O, so
 *           the interfaces and addresses named here need not exist.
 */
#include "config.h"

#include "portmap.h"

#include <criterion/criterion.h>
#include <string.h>

/* @meaning is what portmap_to_string() says, or NULL: then @error is the message. */
typedef struct Row {
    const char *spec;
    const char *meaning;
    const char *error;
} Row;

/* The table of examples in the documentation, word for word. */
static const Row documented[] = {
    {"80", "* port (kernel picks) -> guest port 80, tcp", NULL},
    {"8080:80", "* port 8080 -> guest port 80, tcp", NULL},
    {"8080:80/udp", "* port 8080 -> guest port 80, udp", NULL},
    {"8080:80/tcp+udp", "* port 8080 -> guest port 80, tcp+udp", NULL},
    {"53:53/UDP", "* port 53 -> guest port 53, udp", NULL},
    {"127.0.0.1:8080:80", "127.0.0.1 port 8080 -> guest port 80, tcp", NULL},
    {"127.0.0.1::80", "127.0.0.1 port (kernel picks) -> guest port 80, tcp", NULL},
    {"0.0.0.0:8080:80", "0.0.0.0 port 8080 -> guest port 80, tcp", NULL},
    {"[::]:8080:80", "[::] port 8080 -> guest port 80, tcp", NULL},
    {"[::1]:8080:80", "[::1] port 8080 -> guest port 80, tcp", NULL},
    {"::1:8080:80", "[::1] port 8080 -> guest port 80, tcp", NULL},
    {"2001:db8::7:8080:80", "[2001:db8::7] port 8080 -> guest port 80, tcp", NULL},
    {"[2001:db8::7]:8080:[fd00::64]:80", "[2001:db8::7] port 8080 -> [fd00::64] port 80, tcp",
     NULL},
    {"2001:db8::7:8080:10.0.2.5:80", NULL,
     "put the IPv6 host address in [ ] when a guest address is given"},
    {"[fe80::1%eth0]:8080:80", "[fe80::1]%eth0 port 8080 -> guest port 80, tcp", NULL},
    {"192.0.2.1%eth0:8080:80", "192.0.2.1%eth0 port 8080 -> guest port 80, tcp", NULL},
    {"%eth0:8080:80", "*%eth0 port 8080 -> guest port 80, tcp", NULL},
    {"*%eth0:8080:80", "*%eth0 port 8080 -> guest port 80, tcp", NULL},
    {"*:8080:80", "* port 8080 -> guest port 80, tcp", NULL},
    {"localhost:8080:80", "localhost port 8080 -> guest port 80, tcp", NULL},
    {"8080:10.0.2.5:80", "* port 8080 -> 10.0.2.5 port 80, tcp", NULL},
    {"127.0.0.1:8080:10.0.2.5:80", "127.0.0.1 port 8080 -> 10.0.2.5 port 80, tcp", NULL},
    {"127.0.0.1:80", NULL,
     "'127.0.0.1:80' is ambiguous: write 127.0.0.1:80:80 to listen on 127.0.0.1, or "
     "80:127.0.0.1:80 to reach 127.0.0.1 in the guest"},
    {"0:80", "* port (kernel picks) -> guest port 80, tcp", NULL},
    {"8000-8010:9000-9010", "* port 8000-8010 -> guest port 9000-9010, tcp", NULL},
    {"8000-8010:80", "* port 8000-8010 -> guest port 80, tcp (first free)", NULL},
    {"8000-8010:9000-9011", NULL,
     "host range 8000-8010 and guest range 9000-9011 differ in length"},
    {"8000-8010~8005:9000-9010", "* port 8000-8010~8005 -> guest port 9000-9010, tcp", NULL},
    {"8000-8010~8005~8007-8008:8000-8010",
     "* port 8000-8010~8005~8007-8008 -> guest port 8000-8010, tcp", NULL},
    {"8000:9000-9010", NULL, "host range 8000-8000 and guest range 9000-9010 differ in length"},
    {"8010-8000:80", NULL, "host port range '8010-8000' runs backwards"},
    {"auto", "* port auto -> guest port auto, tcp", NULL},
    {"all~22", "* port all~22 -> guest port all~22, tcp", NULL},
    {"all~22~2049/udp", "* port all~22~2049 -> guest port all~22~2049, udp", NULL},
    {"*:auto:auto/udp", "* port auto -> guest port auto, udp", NULL},
    {"auto:80", NULL, "'auto' cannot be translated; use it alone"},
    {"unix:/run/app.sock:80", "unix /run/app.sock -> guest port 80, tcp", NULL},
    {"unix:/run/app.sock:10.0.2.5:80", "unix /run/app.sock -> 10.0.2.5 port 80, tcp", NULL},
    {"unix:@app:80", "unix @app -> guest port 80, tcp", NULL},
    {"unix:/run/a%3Ab.sock:80", "unix /run/a:b.sock -> guest port 80, tcp", NULL},
    {"unix:/run/a:b.sock:80", NULL, "socket path '/run/a:b.sock': write ':' as %3A"},
    {"unix:app.sock:80", NULL, "socket path 'app.sock' must start with '/' or '@'"},
    {"unix:/run/app.sock:80/udp", NULL, "a host socket forwards streams only; drop /udp"},
    {"unix:/run/app.sock", NULL, "guest port is missing after the socket path"},
    {"8080:unix:/run/x.sock", NULL, "a guest socket is not supported with -p; see --reach"},
    {"8080:80,src=gw", "* port 8080 -> guest port 80, tcp {src=gw}", NULL},
    {"8080:80,weak,backlog=64", "* port 8080 -> guest port 80, tcp {weak, backlog=64}", NULL},
    {"unix:/run/app.sock:80,mode=0660,gid=100",
     "unix /run/app.sock -> guest port 80, tcp {mode=0660, gid=100}", NULL},
    {"8080:80,proxy=v2", "* port 8080 -> guest port 80, tcp {proxy=v2}", NULL},
    {"8080:80,fd=web", "* port 8080 -> guest port 80, tcp {fd=web}", NULL},
    {"published=8080,target=80", "* port 8080 -> guest port 80, tcp", NULL},
    {"published=8080,target=80,protocol=udp,host_ip=127.0.0.1",
     "127.0.0.1 port 8080 -> guest port 80, udp", NULL},
    {"target=80,host_ip=::1,guest_ip=fd00::64",
     "[::1] port (kernel picks) -> [fd00::64] port 80, tcp", NULL},
    {"socket=/run/a:b.sock,target=80", "unix /run/a:b.sock -> guest port 80, tcp", NULL},
    {"[::1]:8080:80/tcp4", NULL, "/tcp4 cannot listen on IPv6 address ::1"},
    {"8080:80/sctp", NULL, "protocol 'sctp' is not supported; use tcp or udp"},
    {"8080:80/quic", NULL, "protocol 'quic': want tcp, udp, tcp4, tcp6, udp4, udp6 or tcp+udp"},
    {"::80", NULL, "host address is empty; drop the leading ':' or give an address"},
    {":8080:80", NULL, "host address is empty; drop the leading ':' or give an address"},
    {"8080:", NULL, "guest port is missing"},
    {"70000:80", NULL, "port 70000: want 0 to 65535"},
    {"80:0", NULL, "guest port 0 is not a port"},
    {"10.0.2.300:80:80", NULL, "host address '10.0.2.300' is not a valid address"},
    {"2001:db8::1:80", NULL, "too many ':' in '2001:db8::1:80'; put IPv6 addresses in [ ]"},
    {"8080:80,colour=red", NULL, "unknown option 'colour'"},
};

static const Row host_addresses[] = {
    {"localhost%eth0:8080:80", "localhost%eth0 port 8080 -> guest port 80, tcp", NULL},
    {"[fe80::1]%eth0:8080:80", "[fe80::1]%eth0 port 8080 -> guest port 80, tcp", NULL},
    {"fe80::1%eth0:8080:80", "[fe80::1]%eth0 port 8080 -> guest port 80, tcp", NULL},
    {"%eth0.100:8080:80", "*%eth0.100 port 8080 -> guest port 80, tcp", NULL},
    {"%eth0::80", "*%eth0 port (kernel picks) -> guest port 80, tcp", NULL},
    {"%abcdefghijklmno:1:2", "*%abcdefghijklmno port 1 -> guest port 2, tcp", NULL},
    {"*::80", "* port (kernel picks) -> guest port 80, tcp", NULL},
    {"localhost::80", "localhost port (kernel picks) -> guest port 80, tcp", NULL},
    {"[::1]::80", "[::1] port (kernel picks) -> guest port 80, tcp", NULL},
    {"::1::80", "[::1] port (kernel picks) -> guest port 80, tcp", NULL},
    {":::8080:80", "[::] port 8080 -> guest port 80, tcp", NULL},
    {"1:2:3:4:5:6:7:8:80:81", "[1:2:3:4:5:6:7:8] port 80 -> guest port 81, tcp", NULL},
    {"[::ffff:127.0.0.1]:8080:80", "127.0.0.1 port 8080 -> guest port 80, tcp", NULL},
    {"127.0.0.1::10.0.2.5:80", "127.0.0.1 port (kernel picks) -> 10.0.2.5 port 80, tcp", NULL},
    {"[::1]:80", NULL,
     "'[::1]:80' is ambiguous: write [::1]:80:80 to listen on [::1], or 80:[::1]:80 to reach [::1] "
     "in "
     "the guest"},
    {"0.0.0.0:80", NULL,
     "'0.0.0.0:80' lacks a port: write 0.0.0.0:80:80, or 0.0.0.0::80 for any host port"},
    {"*:80/udp", NULL, "'*:80' lacks a port: write *:80:80, or *::80 for any host port"},
    {"localhost:80", NULL,
     "'localhost:80' lacks a port: write localhost:80:80, or localhost::80 for any host port"},
    {"%eth0:80", NULL,
     "'%eth0:80' lacks a port: write %eth0:80:80, or %eth0::80 for any host port"},
    {"10.0.2.300:80", NULL, "host address '10.0.2.300' is not a valid address"},
    {"[10.0.2.5]:80:80", NULL, "host address '[10.0.2.5]' is not a valid address"},
    {"[]:80:80", NULL, "host address '[]' is not a valid address"},
    {"[::1]x:80:80", NULL, "host address '[::1]x' is not a valid address"},
    {"x[::1]:80:80", NULL, "host address 'x[::1]' is not a valid address"},
    {"[fe80::1%a]%b:80:80", NULL, "host address '[fe80::1%a]%b' is not a valid address"},
    {"[*]:80:80", NULL, "host address '[*]' is not a valid address"},
    {"[%eth0]:80:80", NULL, "host address '[%eth0]' is not a valid address"},
    {"1.2.3:80:80", NULL, "host address '1.2.3' is not a valid address"},
    {"01.2.3.4:80:80", NULL, "host address '01.2.3.4' is not a valid address"},
    {"example:80:80", NULL, "host address 'example' is not a valid address"},
    {" 127.0.0.1:80:80", NULL, "host address ' 127.0.0.1' is not a valid address"},
    {"224.0.0.1:80:80", NULL, "host address '224.0.0.1' is not one to listen on"},
    {"[ff02::1]:80:80", NULL, "host address '[ff02::1]' is not one to listen on"},
    {"255.255.255.255:80:80/udp", NULL, "host address '255.255.255.255' is not one to listen on"},
    {"[fe80::1]:80:80", NULL, "link-local address '[fe80::1]' needs its interface, as in %eth0"},
    {"%abcdefghijklmnop:80:80", NULL, "interface name 'abcdefghijklmnop' is not a valid name"},
    {"%a/b:80:80", NULL, "interface name 'a/b' is not a valid name"},
    {"%:80:80", NULL, "interface name '' is not a valid name"},
    {"%..:80:80", NULL, "interface name '..' is not a valid name"},
    {"127.0.0.1%:80:80", NULL, "interface name '' is not a valid name"},
    {"127.0.0.1%a%b:80:80", NULL, "interface name 'a%b' is not a valid name"},
    {"[fe80::1%a:b]:80:80", NULL, "interface name 'a:b' is not a valid name"},
    {"[::1%]:80:80", NULL, "interface name '' is not a valid name"},
    {":80", NULL, "host address is empty; drop the leading ':' or give an address"},
    {"::8080:80", NULL, "too many ':' in '::8080:80'; put IPv6 addresses in [ ]"},
    {"[::1]:[::1]:80:80", NULL, "too many ':' in '[::1]:[::1]:80:80'; put IPv6 addresses in [ ]"},
    {"127.0.0.1:1:2:3", NULL, "too many ':' in '127.0.0.1:1:2:3'; put IPv6 addresses in [ ]"},
};

static const Row guest_addresses[] = {
    {"8080:[fd00::64]:80", "* port 8080 -> [fd00::64] port 80, tcp", NULL},
    {"8080:[::ffff:10.0.2.5]:80", "* port 8080 -> 10.0.2.5 port 80, tcp", NULL},
    {"8080:127.0.0.1:80", "* port 8080 -> 127.0.0.1 port 80, tcp", NULL},
    {"[::1]:8080:10.0.2.5:80", "[::1] port 8080 -> 10.0.2.5 port 80, tcp", NULL},
    {"0:10.0.2.5:80", "* port (kernel picks) -> 10.0.2.5 port 80, tcp", NULL},
    {"auto:10.0.2.5:auto", "* port auto -> 10.0.2.5 port auto, tcp", NULL},
    {"unix:/run/a.sock:[fd00::64]:80", "unix /run/a.sock -> [fd00::64] port 80, tcp", NULL},
    {"8080:0.0.0.0:80", NULL, "guest address '0.0.0.0' is not one to connect to"},
    {"8080:[::]:80", NULL, "guest address '[::]' is not one to connect to"},
    {"8080:224.0.0.251:80", NULL, "guest address '224.0.0.251' is not one to connect to"},
    {"8080:[ff02::fb]:80", NULL, "guest address '[ff02::fb]' is not one to connect to"},
    {"8080:255.255.255.255:80", NULL, "guest address '255.255.255.255' is not one to connect to"},
    {"8080:[::ffff:0.0.0.0]:80", NULL, "guest address '[::ffff:0.0.0.0]' is not one to connect to"},
    {"8080:10.0.2.300:80", NULL, "guest address '10.0.2.300' is not a valid address"},
    {"8080:[fe80::1%eth0]:80", NULL, "guest address '[fe80::1%eth0]' is not a valid address"},
    {"8080:[10.0.2.5]:80", NULL, "guest address '[10.0.2.5]' is not a valid address"},
    {"8080:localhost:80", NULL, "host address '8080' is not a valid address"},
    {":10.0.2.5:80", NULL, "host port is empty; write 0 to let the kernel pick"},
    {":8080:10.0.2.5:80", NULL, "host address is empty; drop the leading ':' or give an address"},
    {"1:8080:10.0.2.5:80", NULL, "host address '1' is not a valid address"},
    {"1:2:8080:10.0.2.5:80", NULL,
     "too many ':' in '1:2:8080:10.0.2.5:80'; put IPv6 addresses in [ ]"},
};

static const Row ports[] = {
    {"80-82", "* port (kernel picks) -> guest port 80-82, tcp", NULL},
    {"127.0.0.1::80-82", "127.0.0.1 port (kernel picks) -> guest port 80-82, tcp", NULL},
    {"65535:65535", "* port 65535 -> guest port 65535, tcp", NULL},
    {"080:0080", "* port 80 -> guest port 80, tcp", NULL},
    {"8000-8001:80", "* port 8000-8001 -> guest port 80, tcp (first free)", NULL},
    {"80-80:81-81", "* port 80 -> guest port 81, tcp", NULL},
    {"1-65535:1-65535", "* port 1-65535 -> guest port 1-65535, tcp", NULL},
    {"8000-8010~8005:80", "* port 8000-8010~8005 -> guest port 80, tcp (first free)", NULL},
    {"8000-8010:80/udp,weak", "* port 8000-8010 -> guest port 80, udp (first free) {weak}", NULL},
    {"8000-8010~8005~8005:80-90", "* port 8000-8010~8005 -> guest port 80-90, tcp", NULL},
    {"all", "* port all -> guest port all, tcp", NULL},
    {"all:all", "* port all -> guest port all, tcp", NULL},
    {"all,weak", "* port all -> guest port all, tcp", NULL},
    {"all~22:all~22", "* port all~22 -> guest port all~22, tcp", NULL},
    {"all~22:all~23", "* port all~22~23 -> guest port all~22~23, tcp", NULL},
    {"all:all~23", "* port all~23 -> guest port all~23, tcp", NULL},
    {"auto~1-1023,weak", "* port auto~1-1023 -> guest port auto~1-1023, tcp {weak}", NULL},
    {"127.0.0.1:all:all/tcp+udp", "127.0.0.1 port all -> guest port all, tcp+udp", NULL},
    {"", NULL, "guest port is missing"},
    {",", NULL, "guest port is missing"},
    {",,,", NULL, "guest port is missing"},
    {"/", NULL, "guest port is missing"},
    {":", NULL, "guest port is missing"},
    {"/tcp", NULL, "guest port is missing"},
    {"8080:/tcp", NULL, "guest port is missing"},
    {"65536", NULL, "guest port 65536: want 1 to 65535"},
    {"65536:80", NULL, "port 65536: want 0 to 65535"},
    {"80:65536", NULL, "guest port 65536: want 1 to 65535"},
    {"80:99999999999999999999999", NULL, "guest port 99999999999999999999999: want 1 to 65535"},
    {"18446744073709551696:80", NULL, "port 18446744073709551696: want 0 to 65535"},
    {"0", NULL, "guest port 0 is not a port"},
    {"8000-8001:0-1", NULL, "guest port 0 is not a port"},
    {"0-5:80", NULL, "host port range '0-5' begins with 0, which is not a port"},
    {"-1", NULL, "guest port '' is not a number"},
    {"8080:80-", NULL, "guest port '' is not a number"},
    {"8080:80-81-82", NULL, "guest port '81-82' is not a number"},
    {"+80", NULL, "guest port '+80' is not a number"},
    {" 80", NULL, "guest port ' 80' is not a number"},
    {"80 ", NULL, "guest port '80 ' is not a number"},
    {"8080: 80", NULL, "guest port ' 80' is not a number"},
    {"+8080:80", NULL, "host port '+8080' is not a number"},
    {"0x50:80", NULL, "host port '0x50' is not a number"},
    {"1e3:80", NULL, "host port '1e3' is not a number"},
    {"8080:http", NULL, "guest port 'http' is not a number"},
    {"ALL", NULL, "guest port 'ALL' is not a number"},
    {"80:90-80", NULL, "guest port range '90-80' runs backwards"},
    {"~22", NULL, "guest port '~22': write all~22"},
    {"~22:80", NULL, "host port '~22': write all~22"},
    {"0~22:80", NULL, "host port '0~22': the kernel picks, so nothing can be excluded"},
    {"80-90~85", NULL, "guest port '80-90~85': exclude ports on the host side"},
    {"8000-8010:80-90~85", NULL, "guest port '80-90~85': exclude ports on the host side"},
    {"8000-8010~8011:80-90", NULL, "excluded port 8011 lies outside of 8000-8010"},
    {"8000-8010~7000-9000:80-90", NULL, "excluded port 7000-9000 lies outside of 8000-8010"},
    {"8000-8010~:80-90", NULL, "excluded port '' is not a number"},
    {"all~0", NULL, "excluded port 0 is not a port"},
    {"all~65536", NULL, "excluded port 65536: want 1 to 65535"},
    {"all~22-21", NULL, "excluded port range '22-21' runs backwards"},
    {"all~1-65535", NULL, "every host port is excluded"},
    {"80~80:80", NULL, "every host port is excluded"},
    {"8000-8010~8000-8005~8006-8010:80", NULL, "every host port is excluded"},
    {"80:auto", NULL, "'auto' cannot be translated; use it alone"},
    {"all:auto", NULL, "'all' cannot be translated; use it alone"},
    {"all~22:80", NULL, "'all' cannot be translated; use it alone"},
    {"127.0.0.1::auto", NULL, "'auto' cannot be translated; use it alone"},
};

static const Row protocols[] = {
    {"53:53/tcp4", "* port 53 -> guest port 53, tcp4", NULL},
    {"53:53/TCP6", "* port 53 -> guest port 53, tcp6", NULL},
    {"53:53/udp4", "* port 53 -> guest port 53, udp4", NULL},
    {"53:53/Udp6", "* port 53 -> guest port 53, udp6", NULL},
    {"53:53/TCP+UDP", "* port 53 -> guest port 53, tcp+udp", NULL},
    {"localhost:53:53/tcp6", "localhost port 53 -> guest port 53, tcp6", NULL},
    {"127.0.0.1:53:53/udp4", "127.0.0.1 port 53 -> guest port 53, udp", NULL},
    {"[::]:53:53/tcp+udp", "[::] port 53 -> guest port 53, tcp+udp", NULL},
    {"127.0.0.1:53:53/udp6", NULL, "/udp6 cannot listen on IPv4 address 127.0.0.1"},
    {"0.0.0.0:53:53/tcp6", NULL, "/tcp6 cannot listen on IPv4 address 0.0.0.0"},
    {"[::]:53:53/udp4", NULL, "/udp4 cannot listen on IPv6 address ::"},
    {"80:80/SCTP", NULL, "protocol 'SCTP' is not supported; use tcp or udp"},
    {"80:80/", NULL, "protocol '': want tcp, udp, tcp4, tcp6, udp4, udp6 or tcp+udp"},
    {"80:80/tcp/udp", NULL, "protocol 'tcp/udp': want tcp, udp, tcp4, tcp6, udp4, udp6 or tcp+udp"},
    {"80:80/udp+tcp", NULL, "protocol 'udp+tcp': want tcp, udp, tcp4, tcp6, udp4, udp6 or tcp+udp"},
    {"80/tcp:80", NULL, "host port '80/tcp' is not a number"},
};

static const Row sockets[] = {
    {"unix:/run/a.b:80", "unix /run/a.b -> guest port 80, tcp", NULL},
    {"unix:/run/a%2cb%25:80", "unix /run/a,b% -> guest port 80, tcp", NULL},
    {"unix:/run/%5Bx%5D:80", "unix /run/[x] -> guest port 80, tcp", NULL},
    {"unix:/run/[x]:80", "unix /run/[x] -> guest port 80, tcp", NULL},
    {"unix:/run/a=b:80/TCP", "unix /run/a=b -> guest port 80, tcp", NULL},
    {"socket=/run/a%2Cb,target=80", "unix /run/a,b -> guest port 80, tcp", NULL},
    {"unix", NULL, "socket path is missing"},
    {"unix:", NULL, "socket path is missing"},
    {"unix::80", NULL, "socket path is missing"},
    {"unix:/run/a.sock:", NULL, "guest port is missing after the socket path"},
    {"unix:/run/a.sock:/tcp", NULL, "guest port is missing after the socket path"},
    {"unix:/run/[a:b]:80", NULL, "socket path '/run/[a:b]': write ':' as %3A"},
    {"unix:/run/a:b:10.0.2.5:80", NULL, "socket path '/run/a:b': write ':' as %3A"},
    {"unix:/run/a%00b:80", NULL, "socket path '/run/a%00b': write '%' as %25"},
    {"unix:/run/a%0Ab:80", NULL, "socket path '/run/a%0Ab': write '%' as %25"},
    {"unix:/run/a%:80", NULL, "socket path '/run/a%': write '%' as %25"},
    {"unix:/run/a%3:80", NULL, "socket path '/run/a%3': write '%' as %25"},
    {"unix:/:80", NULL, "socket path '/' has no name"},
    {"unix:@:80", NULL, "socket path '@' has no name"},
    {"unix:10.0.2.5:80", NULL, "socket path '10.0.2.5' must start with '/' or '@'"},
    {"unix:/run/a.sock:80-81", NULL, "a host socket needs one guest port"},
    {"unix:/run/a.sock:auto", NULL, "a host socket needs one guest port"},
    {"unix:/run/a.sock:80/tcp+udp", NULL, "a host socket forwards streams only; drop /tcp+udp"},
    {"unix:/run/a.sock:80/tcp4", NULL, "a host socket has no address family; drop /tcp4"},
    {"127.0.0.1:8080:unix:/run/x.sock", NULL,
     "a guest socket is not supported with -p; see --reach"},
    {"8080:unix", NULL, "a guest socket is not supported with -p; see --reach"},
};

static const Row option_rows[] = {
    {"1:2,src=keep", "* port 1 -> guest port 2, tcp {src=keep}", NULL},
    {"1:2,max=7,idle=0,name=a.b_C-9,fd=x,weak,proxy=v1",
     "* port 1 -> guest port 2, tcp {weak, proxy=v1, fd=x, name=a.b_C-9, idle=0, max=7}", NULL},
    {"unix:@a:1,mode=7,uid=0,gid=4294967294,backlog=65535",
     "unix @a -> guest port 1, tcp {backlog=65535, mode=0007, uid=0, gid=4294967294}", NULL},
    {"unix:@a:1,mode=0", "unix @a -> guest port 1, tcp {mode=0000}", NULL},
    {"80/tcp+udp,backlog=1", "* port (kernel picks) -> guest port 80, tcp+udp {backlog=1}", NULL},
    {"80,fd=web", "* port (kernel picks) -> guest port 80, tcp {fd=web}", NULL},
    {"80,", NULL, "an option is empty; drop the ','"},
    {"80,,weak", NULL, "an option is empty; drop the ','"},
    {"80,weak,weak", NULL, "option 'weak' is given twice"},
    {"80,src=gw,src=keep", NULL, "option 'src' is given twice"},
    {"80,backlog", NULL, "option 'backlog' needs a value"},
    {"80,backlog=", NULL, "option 'backlog' needs a value"},
    {"80,fd=", NULL, "option 'fd' needs a value"},
    {"80,weak=1", NULL, "option 'weak' takes no value"},
    {"80,weak=", NULL, "option 'weak' takes no value"},
    {"80,WEAK", NULL, "unknown option 'WEAK'"},
    {"80,=", NULL, "unknown option ''"},
    {"80, weak", NULL, "unknown option ' weak'"},
    {"80,target=80", NULL, "unknown option 'target'"},
    {"80,[a,b]", NULL, "unknown option '[a,b]'"},
    {"80,src=", NULL, "option 'src' needs a value"},
    {"80,src=guest", NULL, "src=guest: want keep or gw"},
    {"80,proxy=v3", NULL, "proxy=v3: want v1 or v2"},
    {"80/udp,proxy=v2", NULL, "proxy= is for tcp"},
    {"80/tcp+udp,proxy=v2", NULL, "proxy= is for tcp"},
    {"80/udp,backlog=5", NULL, "backlog= is for tcp"},
    {"80,backlog=0", NULL, "backlog=0: want a number from 1 to 65535"},
    {"80,backlog=65536", NULL, "backlog=65536: want a number from 1 to 65535"},
    {"80,backlog=-1", NULL, "backlog=-1: want a number from 1 to 65535"},
    {"80,backlog=+1", NULL, "backlog=+1: want a number from 1 to 65535"},
    {"80,idle=2147483648", NULL, "idle=2147483648: want a number from 0 to 2147483647"},
    {"80,idle=1.5", NULL, "idle=1.5: want a number from 0 to 2147483647"},
    {"80,idle=5=6", NULL, "idle=5=6: want a number from 0 to 2147483647"},
    {"80,max=0", NULL, "max=0: want a number from 1 to 1048576"},
    {"80,max=99999999999999999999", NULL,
     "max=99999999999999999999: want a number from 1 to 1048576"},
    {"unix:@a:1,mode=0888", NULL, "mode=0888: want an octal number up to 0777"},
    {"unix:@a:1,mode=1777", NULL, "mode=1777: want an octal number up to 0777"},
    {"unix:@a:1,uid=4294967295", NULL, "uid=4294967295: want a number from 0 to 4294967294"},
    {"unix:@a:1,gid= 1", NULL, "gid= 1: want a number from 0 to 4294967294"},
    {"80,mode=0600", NULL, "mode=, uid= and gid= are for unix: sockets"},
    {"80,uid=1", NULL, "mode=, uid= and gid= are for unix: sockets"},
    {"unix:@a:1,gid=1,fd=x", NULL, "mode=, uid= and gid= cannot change a socket from fd="},
    {"80,fd=a/b", NULL, "fd=a/b: want 1 to 64 of the characters A-Z a-z 0-9 _ . -"},
    {"80,fd=a:b", NULL, "fd=a:b: want 1 to 64 of the characters A-Z a-z 0-9 _ . -"},
    {"80,name=\xc3\xa4", NULL, "name=\xc3\xa4: want 1 to 64 of the characters A-Z a-z 0-9 _ . -"},
    {"80,name=a b", NULL, "name=a b: want 1 to 64 of the characters A-Z a-z 0-9 _ . -"},
    {"80-81:80-81,fd=x", NULL, "fd=x is one socket; give one port"},
    {"80-81,fd=x", NULL, "fd=x is one socket; give one port"},
    {"auto,fd=x", NULL, "fd=x is one socket; give one port"},
};

static const Row long_form[] = {
    {"target=80", "* port (kernel picks) -> guest port 80, tcp", NULL},
    {"weak,target=80", NULL, "guest port 'weak' is not a number"},
    {"target=80,weak,published=8000-8010",
     "* port 8000-8010 -> guest port 80, tcp (first free) {weak}", NULL},
    {"host_ip=[::1],target=80,published=0", "[::1] port (kernel picks) -> guest port 80, tcp",
     NULL},
    {"host_ip=localhost,target=auto~22", "localhost port auto~22 -> guest port auto~22, tcp", NULL},
    {"host_ip=%eth0,target=80", "*%eth0 port (kernel picks) -> guest port 80, tcp", NULL},
    {"socket=@a:b,target=80,guest_ip=[fd00::1],mode=0600",
     "unix @a:b -> [fd00::1] port 80, tcp {mode=0600}", NULL},
    {"published=80", NULL, "target= is missing"},
    {"a=b=c", NULL, "target= is missing"},
    {"=", NULL, "target= is missing"},
    {"target=80,a=b=c", NULL, "unknown option 'a'"},
    {"target=80,target=81", NULL, "option 'target' is given twice"},
    {"target=", NULL, "option 'target' needs a value"},
    {"target=80,host_ip=", NULL, "option 'host_ip' needs a value"},
    {"target=80,published", NULL, "option 'published' needs a value"},
    {"target=80/udp", NULL, "guest port '80/udp' is not a number"},
    {"target=1:80", NULL, "guest port '1:80' is not a number"},
    {"target=80,protocol=sctp", NULL, "protocol 'sctp' is not supported; use tcp or udp"},
    {"target=80,socket=/a,published=80", NULL,
     "socket= stands in place of published= and host_ip="},
    {"target=80,socket=/a,host_ip=::1", NULL, "socket= stands in place of published= and host_ip="},
    {"target=80,socket=/a,protocol=udp", NULL, "a host socket forwards streams only; drop /udp"},
    {"target=80,mode=host", NULL, "mode=host: want an octal number up to 0777"},
    {"target=80,", NULL, "an option is empty; drop the ','"},
};

static const Row hostile[] = {
    {"[", NULL, "'[' and ']' do not match in '['"},
    {"]", NULL, "'[' and ']' do not match in ']'"},
    {"[::1:80:80", NULL, "'[' and ']' do not match in '[::1:80:80'"},
    {"::1]:80:80", NULL, "'[' and ']' do not match in '::1]:80:80'"},
    {"[[::1]]:80:80", NULL, "'[' and ']' do not match in '[[::1]]:80:80'"},
    {"8080:80\n", NULL, "control character at byte 8"},
    {"\x01\x02\x7f", NULL, "control character at byte 1"},
    {"80\x7f", NULL, "control character at byte 3"},
    {"80\xc2\x9b", NULL, "control character at byte 3"},
    {"\xff\xfe\x80", NULL, "not valid UTF-8"},
    {"80,name=\xc0\xaf", NULL, "not valid UTF-8"},
    {"\xd9\xa8\xd9\xa0", NULL, "guest port '\xd9\xa8\xd9\xa0' is not a number"}, /* Arabic digits */
    {"%s%n%s:80:80", NULL, "interface name 's%n%s' is not a valid name"},
    {"a/b/c,d=e", NULL, "guest port 'a' is not a number"},
};

static void check_rows(const Row *rows, size_t count)
{
    for (size_t i = 0; i < count; i++) {
        g_autoptr(GError) error = NULL;
        g_autoptr(PortMap) map = portmap_parse(rows[i].spec, &error);
        g_autofree char *meaning = map ? portmap_to_string(map) : NULL;
        const char *message = error ? error->message : NULL;

        cr_expect(g_strcmp0(meaning, rows[i].meaning) == 0, "'%s' means '%s', not '%s'",
                  rows[i].spec, meaning ? meaning : "(error)",
                  rows[i].meaning ? rows[i].meaning : "(error)");
        cr_expect(g_strcmp0(message, rows[i].error) == 0, "'%s' says '%s', not '%s'", rows[i].spec,
                  message ? message : "(nothing)", rows[i].error ? rows[i].error : "(nothing)");
        cr_expect((map == NULL) == g_error_matches(error, PORTMAP_ERROR, PORTMAP_ERROR_SYNTAX),
                  "'%s' gives either a map or a syntax error", rows[i].spec);
        cr_expect(!map || (map->holes && g_str_equal(map->text, rows[i].spec)),
                  "'%s' keeps its text and has a list of holes", rows[i].spec);
    }
}

static PortMap *parse(const char *spec)
{
    g_autoptr(GError) error = NULL;
    PortMap *map = portmap_parse(spec, &error);

    cr_assert(map != NULL, "'%s' is refused: %s", spec, error ? error->message : "no reason");
    return map;
}

Test(portmap, examples_of_the_documentation_have_the_documented_meaning)
{
    check_rows(documented, G_N_ELEMENTS(documented));
}

Test(portmap, host_address_is_read_in_all_its_forms)
{
    check_rows(host_addresses, G_N_ELEMENTS(host_addresses));
}

Test(portmap, guest_address_is_read_and_must_be_one_to_connect_to)
{
    check_rows(guest_addresses, G_N_ELEMENTS(guest_addresses));
}

Test(portmap, ports_and_exclusions_are_read_and_wrong_numbers_are_refused)
{
    check_rows(ports, G_N_ELEMENTS(ports));
}

Test(portmap, protocol_must_suit_the_host_address)
{
    check_rows(protocols, G_N_ELEMENTS(protocols));
}

Test(portmap, host_socket_takes_a_path_and_one_guest_port)
{
    check_rows(sockets, G_N_ELEMENTS(sockets));
}

Test(portmap, options_are_read_once_and_within_their_limits)
{
    check_rows(option_rows, G_N_ELEMENTS(option_rows));
}

Test(portmap, long_form_is_read_in_any_order)
{
    check_rows(long_form, G_N_ELEMENTS(long_form));
}

Test(portmap, hostile_text_is_refused)
{
    check_rows(hostile, G_N_ELEMENTS(hostile));
}

Test(portmap, text_of_4096_bytes_is_read_and_longer_text_is_refused)
{
    g_autofree char *zeros = g_strnfill(4094, '0');
    g_autofree char *fits = g_strconcat(zeros, "80", NULL);
    g_autofree char *too_long = g_strconcat("0", fits, NULL);
    g_autoptr(PortMap) map = parse(fits);
    g_autoptr(GError) error = NULL;

    cr_expect(map->guest_ports.first == 80);
    cr_expect(portmap_parse(too_long, &error) == NULL);
    cr_expect(error && g_str_equal(error->message, "longer than 4096 bytes"));
}

Test(portmap, socket_path_and_names_end_at_their_limits)
{
    g_autofree char *path = g_strnfill(106, 'p');
    g_autofree char *path_fits = g_strdup_printf("unix:/%s:80", path);
    g_autofree char *path_long = g_strdup_printf("unix:/%sp:80", path);
    g_autofree char *name = g_strnfill(64, 'n');
    g_autofree char *name_fits = g_strdup_printf("80,name=%s", name);
    g_autofree char *name_long = g_strdup_printf("80,name=%sn", name);
    g_autoptr(PortMap) with_path = parse(path_fits);
    g_autoptr(PortMap) with_name = parse(name_fits);

    cr_expect(strlen(with_path->unix_path) == 107);
    cr_expect(g_str_equal(with_name->name, name));
    cr_expect(portmap_parse(path_long, NULL) == NULL);
    cr_expect(portmap_parse(name_long, NULL) == NULL);
}

Test(portmap, fields_not_given_have_their_documented_values)
{
    g_autoptr(PortMap) map = parse("80");

    cr_expect(map->host_kind == PORTMAP_HOST_UNSET && map->ports_kind == PORTMAP_PORTS_KERNEL);
    cr_expect(map->protocols == (PORTMAP_TCP4 | PORTMAP_TCP6));
    cr_expect(map->guest_addr.family == AF_UNSPEC && map->holes->len == 0);
    cr_expect(map->backlog == -1 && map->idle_s == -1 && map->max == 0);
    cr_expect(map->mode == -1 && map->uid == -1 && map->gid == -1 && map->proxy == 0);
    cr_expect(map->src == PORTMAP_SOURCE_UNSET && !map->weak && !map->first_free);
    cr_expect(!map->unix_path && !map->fd_name && !map->name && map->ifname[0] == '\0');
}

Test(portmap, all_is_weak_and_auto_is_not)
{
    g_autoptr(PortMap) all = parse("all~22");
    g_autoptr(PortMap) automatic = parse("auto");

    cr_expect(all->weak);
    cr_expect(!automatic->weak);
}

Test(portmap, wildcard_host_differs_from_no_host)
{
    g_autoptr(PortMap) map = parse("*:8080:80");

    cr_expect(map->host_kind == PORTMAP_HOST_ANY);
}
