# SPDX-License-Identifier: GPL-2.0-or-later
"""wire.py - what talks over the network, on the host, on the far machine and in containers

    wire.py serve WHO ADDRESS PORT...   servers, TCP and UDP, that say who sees whom; the far machine also answers DNS (every
                                        name is its address) and does the rest of this list for others on port 9
    wire.py tcp|udp ADDRESS PORT        what the server there says
    wire.py api SOCKET REQUEST          what is answered there
    wire.py far COMMAND...              a tcp or udp, done by the far machine
"""
import socket
import struct
import sys
import threading
import time

FAR = "198.51.100.2"


def tcp(address, port):
    with socket.create_connection((address, int(port)), timeout=3) as end:
        end.settimeout(3)
        return end.makefile().read().strip()


def udp(address, port):
    family = socket.AF_INET6 if ":" in address else socket.AF_INET
    with socket.socket(family, socket.SOCK_DGRAM) as end:
        end.settimeout(3)
        end.connect((address, int(port)))
        end.send(b"who?")
        return end.recv(2048).decode().strip()


def api(path, request):
    with socket.socket(socket.AF_UNIX) as end:
        end.settimeout(10)
        end.connect(path)
        end.sendall(request.encode() + b"\n")
        end.shutdown(socket.SHUT_WR)
        return end.makefile().read().strip()


def ask(words):
    try:
        return {"tcp": tcp, "udp": udp, "api": api}[words[0]](*words[1:])
    except OSError as error:
        return "failed: %s" % (error.strerror or error)


def far(words):
    with socket.create_connection((FAR, 9), timeout=10) as end:
        end.sendall((" ".join(words) + "\n").encode())
        return end.makefile().read().strip()


def bound(kind, address, port):
    """A socket bound to an address that may come a moment later; "::" takes IPv4 as well."""
    end = socket.socket(socket.AF_INET6 if ":" in address else socket.AF_INET, kind)
    if end.family == socket.AF_INET6:
        end.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 0)
    end.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    while True:
        try:
            end.bind((address, port))
            return end
        except OSError:
            time.sleep(0.05)


def plain(peer):
    return peer[0].removeprefix("::ffff:")


def serve_tcp(address, port, answer):
    listener = bound(socket.SOCK_STREAM, address, port)
    listener.listen(16)
    while True:
        end, peer = listener.accept()
        with end:
            try:
                end.settimeout(10)
                end.sendall((answer(end, plain(peer)) + "\n").encode())
                end.shutdown(socket.SHUT_WR)
                end.recv(1)
            except OSError:
                pass


def serve_udp(address, port, answer):
    end = bound(socket.SOCK_DGRAM, address, port)
    while True:
        data, peer = end.recvfrom(65536)
        end.sendto(answer(data, plain(peer)), peer)


def name_answer(query):
    """An A record with the far machine's address; no answer to other questions."""
    end = 12
    while query[end]:
        end += 1 + query[end]
    question = query[12 : end + 5]
    wanted = struct.unpack("!H", query[end + 1 : end + 3])[0]
    record = b"\xc0\x0c" + struct.pack("!HHIH", 1, 1, 60, 4) + socket.inet_aton(FAR) if wanted == 1 else b""
    return query[:2] + struct.pack("!HHHHH", 0x8180, 1, 1 if record else 0, 0, 0) + question + record


def serve(who, address, ports):
    def sees(_, peer):
        return "%s sees %s" % (who, peer)

    jobs = []
    for port in ports:
        jobs.append((serve_tcp, address, int(port), sees))
        jobs.append((serve_udp, address, int(port), lambda _, peer: sees(_, peer).encode()))
    if who == "far":
        jobs.append((serve_tcp, FAR, 9, lambda end, _: ask(end.makefile().readline().split())))
        jobs.append((serve_udp, FAR, 53, lambda data, _: name_answer(data)))
    for job, *words in jobs:
        threading.Thread(target=job, args=words, daemon=True).start()
    threading.Event().wait()


if sys.argv[1] == "serve":
    serve(sys.argv[2], sys.argv[3], sys.argv[4:])
elif sys.argv[1] == "far":
    print(far(sys.argv[2:]))
else:
    print(ask(sys.argv[1:]))
