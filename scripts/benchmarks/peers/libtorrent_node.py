"""One libtorrent session, DHT only, in one process, controlled by lines on stdin, which network.py describes.

    libtorrent_node.py ADDRESS PORT [ADDRESS:PORT of a node to join by …]

A put is a BEP 44 mutable item, signed with Ed25519. The command contains its keys, so that the node spends
no time on making them. All settings that differ from the defaults lift limits that 64 nodes on one machine would reach.
A get completes only after waiting for dead nodes (15 s); its first value arrives as an alert before that.
"""
import json
import os
import select
import sys
import time
import warnings

warnings.simplefilter("ignore")
import libtorrent

address, port, joins = sys.argv[1], sys.argv[2], sys.argv[3:]
session = libtorrent.session({
    "listen_interfaces": f"{address}:{port}",
    "enable_dht": True,
    "enable_lsd": False,
    "enable_upnp": False,
    "enable_natpmp": False,
    "dht_bootstrap_nodes": "",
    "dht_restrict_routing_ips": False,
    "dht_restrict_search_ips": False,
    "dht_prefer_verified_node_ids": False,
    "dht_enforce_node_id": False,
    "dht_ignore_dark_internet": False,
    "dht_upload_rate_limit": 10_000_000,
    "dht_block_ratelimit": 100_000,
    "alert_queue_size": 10_000,
    "alert_mask": libtorrent.alert.category_t.dht_notification | libtorrent.alert.category_t.error_notification,
})
alarm, ring = os.pipe()
os.set_blocking(alarm, False)
os.set_blocking(ring, False)
session.set_alert_fd(ring)
for join in joins:
    host, _, number = join.rpartition(":")
    session.add_dht_node((host, int(number)))

puts, gets = {}, {}
connected = False


def say(**document):
    os.write(1, (json.dumps(document) + "\n").encode())


def since(start):
    return (time.monotonic() - start) * 1e3


def hear(alert):
    kind = type(alert).__name__
    if kind == "dht_put_alert":
        for id, start in puts.pop(bytes(alert.public_key), []):
            say(put=id, ok=alert.num_success > 0, ms=since(start), holders=alert.num_success)
    elif kind == "dht_mutable_item_alert":
        key = bytes(alert.key)
        item = alert.item
        value = item["value"] if isinstance(item, dict) and "value" in item else item
        for get in gets.get(key, []):
            if value and len(value) > 10 and not get["found"]:
                get["found"] = True
                say(first=get["id"], ms=since(get["start"]))
        if alert.authoritative:
            for get in gets.pop(key, []):
                say(got=get["id"], ok=get["found"], ms=since(get["start"]))


def obey(line):
    words = line.split()
    order, id = words[0], int(words[1])
    if order == "put":
        secret, public = bytes.fromhex(words[2]), bytes.fromhex(words[3])
        puts.setdefault(public, []).append((id, time.monotonic()))
        session.dht_put_mutable_item(secret, public, b"x" * int(words[4]), b"")
    elif order == "get":
        public = bytes.fromhex(words[2])
        gets.setdefault(public, []).append({"id": id, "start": time.monotonic(), "found": False})
        session.dht_get_mutable_item(public, b"")
    elif order == "stats":
        say(stats=id, contacts=session.status().dht_nodes)


say(ready=f"{address}:{port}")
if not joins:
    connected = True
    say(connected=True)
held = b""
while True:
    readable, _, _ = select.select([0, alarm], [], [], 10 if connected else 0.01)
    if alarm in readable:
        try:
            while os.read(alarm, 4_096):
                pass
        except BlockingIOError:
            pass
        for alert in session.pop_alerts():
            hear(alert)
    if not connected and session.status().dht_nodes > 0:
        connected = True
        say(connected=True)
    if 0 in readable:
        chunk = os.read(0, 65_536)
        if not chunk:
            os._exit(0)
        *lines, held = (held + chunk).split(b"\n")
        for line in lines:
            obey(line.decode())
