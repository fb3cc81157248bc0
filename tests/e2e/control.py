#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-2.0-or-later
"""A client of the control socket, mostly a rude one: control.py SOCKET MANNER... Exit status 0 if it was treated as it should."""
import json
import socket
import sys
import time


def dial():
    client = socket.socket(socket.AF_UNIX)
    # Not to be told "try again" while all places in the queue are taken.
    client.connect(sys.argv[1])
    client.settimeout(90)
    return client


def line(client):
    got = b""
    while not got.endswith(b"\n"):
        byte = client.recv(1)
        if not byte:
            return None
        got += byte
    return json.loads(got)


def ask(client, command, **more):
    client.sendall(json.dumps({"schema_version": 1, "id": 5, "command": command, **more}).encode() + b"\n")
    reply = line(client)
    while "event" in reply:
        reply = line(client)
    assert reply["id"] == 5, reply
    return reply


def is_served():
    """Somebody else is served, whatever is going on here, before one who is silent would have to give way."""
    client, began = dial(), time.monotonic()
    reply = ask(client, "status")
    assert reply["ok"], reply
    assert time.monotonic() - began < 8, "it took %s s" % (time.monotonic() - began)


def garbage():
    client = dial()
    for text in b"\xff\xfe\x00\x01\n", b"}{\n", b"[1,2]\n", b'{"schema_version":1,"command":"fly"}\n', b"7\n":
        client.sendall(text)
        reply = line(client)
        assert not reply["ok"] and reply["text"] and reply["state"] and reply["possible"], reply
    assert ask(client, "status")["ok"]


def oversized():
    client = dial()
    client.sendall(b"x" * 100000 + b"\n")
    assert line(client)["error"] == "too-long"
    assert ask(client, "status")["ok"]


def half():
    client = dial()
    client.sendall(b'{"schema_version":1,"comma')
    is_served()
    client.close()
    is_served()


def slow():
    client = dial()
    for byte in b'{"schema_version":1,"id":1,"command":"status"}':
        client.sendall(bytes([byte]))
        time.sleep(0.01)
    is_served()
    client.sendall(b"\n")
    assert line(client)["ok"]


def never_reads():
    client, watcher = dial(), dial()
    watcher.sendall(b'{"schema_version":1,"command":"watch"}\n')
    client.setblocking(False)
    try:
        for _ in range(1000000):
            client.send(b'{"list":{}}\n')
        sys.exit("it reads without end")
    except BlockingIOError:
        pass
    is_served()


def try_status(client):
    try:
        client.sendall(b'{"schema_version":1,"command":"status"}\n')
    except BrokenPipeError:
        pass
    return line(client)


def crowd():
    clients = [dial() for _ in range(40)]
    replies = [try_status(client) for client in clients]
    assert sum(reply["ok"] for reply in replies) == 16, replies
    assert all(reply["ok"] or reply["error"] == "busy" for reply in replies)
    for client in clients:
        client.close()
    # Their places are free again as soon as that was noticed.
    until = time.monotonic() + 60
    while not try_status(dial())["ok"]:
        assert time.monotonic() < until
        time.sleep(0.05)


def two():
    one, other = dial(), dial()
    assert ask(one, "pause")["outcome"] == "done"
    reply = ask(other, "pause")
    assert reply["error"] == "state" and reply["state"] == "paused", reply
    assert "resume" in reply["possible"] and "pause" not in reply["possible"]
    assert ask(other, "resume")["outcome"] == "done"
    assert ask(one, "status")["state"] != "paused"


def ranges():
    client = dial()
    arguments = {a["name"]: a for c in ask(client, "list")["commands"] for a in c["arguments"]}
    before = ask(client, "status")["settings"]
    assert set(before) == set(arguments)
    for name, argument in arguments.items():
        if argument["type"] != "integer":
            continue
        for value in argument["minimum"] - 1, argument["maximum"] + 1, -1, 2**70:
            if value == 0 and argument["zero_is_none"]:
                continue
            reply = ask(client, "set", **{name: value})
            assert reply["error"] == "range", (name, value, reply)
            assert str(argument["minimum"]) in reply["text"] and str(argument["maximum"]) in reply["text"]
    reply = ask(client, "set", guard="quickly", max_rounds=8)
    assert reply["error"] == "argument" and "p99=2ms" in reply["text"], reply
    # One that is wrong, and all stay as they were.
    assert ask(client, "set", max_rounds=7, timeout_ns=1)["error"] == "range"
    assert ask(client, "status")["settings"] == before


def cancel_in(state):
    """As soon as it is in that state; then it ends with exit code 6, and says once why."""
    client = dial()
    now, said = ask(client, "watch")["state"], []
    while now != state:
        event = line(client)
        assert event is not None and event["event"] != "ended", (now, event)
        now = event.get("state", now)
    client.sendall(b'{"schema_version":1,"command":"cancel"}\n')
    while True:
        event = line(client)
        assert event is not None, "it hung up without a word"
        if "ok" in event:
            assert event["ok"] and event["state"] == state, event
        if event.get("event") == "message":
            said.append(event["text"])
        if event.get("event") == "ended":
            break
    assert event["exit_code"] == 6 and event["reason"] == "cancelled", event
    assert said.count("cancelled") == 1, said


for manner in sys.argv[2:]:
    name, _, argument = manner.partition(":")
    globals()[name](*[argument] if argument else [])
