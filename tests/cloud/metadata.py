"""Instance metadata, version 2, at 169.254.169.254 inside the network namespace of each machine."""

import base64
import ctypes
import datetime
import http.server
import json
import os
import secrets
import socket
import threading
import time

# instance id -> its server
SERVERS = {}

ADDRESS = ("169.254.169.254", 80)
CLONE_NEWNET = 0x40000000
LIBC = ctypes.CDLL(None, use_errno=True)

# instance id -> path -> text that the test set, over what follows from the instance.
SET = {}
# Each request, for tests that want to know.
ASKED = []


def facts(instance, address):
    """All paths, each with its text."""
    zone = instance.availability_zone
    user_data = instance.user_data
    found = {
        "meta-data/instance-id": instance.id,
        "meta-data/instance-type": instance.instance_type,
        "meta-data/ami-id": instance.image_id,
        "meta-data/local-ipv4": address,
        "meta-data/hostname": "ip-" + address.replace(".", "-"),
        "meta-data/placement/availability-zone": zone,
        "meta-data/placement/region": zone[:-1],
        "meta-data/instance-life-cycle": getattr(instance, "lifecycle", None) or "on-demand",
        "dynamic/instance-identity/document": json.dumps(
            {"instanceId": instance.id, "region": zone[:-1], "availabilityZone": zone, "privateIp": address,
             "instanceType": instance.instance_type, "imageId": instance.image_id}),
    }
    if user_data:
        found["user-data"] = base64.b64decode(str(user_data))
    if instance.iam_instance_profile:
        arn = instance.iam_instance_profile["Arn"]
        role = arn.split("/")[-1]
        until = datetime.datetime.now(datetime.UTC) + datetime.timedelta(hours=6)
        found["meta-data/iam/info"] = json.dumps({"Code": "Success", "InstanceProfileArn": arn})
        found["meta-data/iam/security-credentials/" + role] = json.dumps(
            {"Code": "Success", "Type": "AWS-HMAC", "AccessKeyId": "ASIA" + instance.id[2:].upper(),
             "SecretAccessKey": "secret-of-" + instance.id, "Token": "session-of-" + instance.id,
             "LastUpdated": "2020-01-01T00:00:00Z", "Expiration": until.strftime("%Y-%m-%dT%H:%M:%SZ")})
    for path, text in SET.get(instance.id, {}).items():
        if text is None:
            found.pop(path, None)
        else:
            found[path] = text
    return found


def answer(found, path):
    """The text at `path`, or the names below it."""
    path = path.strip("/")
    if path in found:
        text = found[path]
        return text.encode() if isinstance(text, str) else text
    start = path + "/" if path else ""
    names = {}
    for name in found:
        if name.startswith(start):
            head, slash, _ = name[len(start):].partition("/")
            names[head + slash] = None
    return "\n".join(names).encode() if names else None


def handler(instance, address):
    tokens = {}

    class Handler(http.server.BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def say(self, status, body=b"", headers=()):
            self.send_response(status)
            for name, value in headers:
                self.send_header(name, value)
            self.send_header("Content-Type", "text/plain")
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def do_PUT(self):
            seconds = self.headers.get("X-aws-ec2-metadata-token-ttl-seconds", "")
            if self.path != "/latest/api/token":
                return self.say(404)
            # A proxy on the machine must not be able to ask.
            if "X-Forwarded-For" in self.headers:
                return self.say(403)
            if not seconds.isdigit() or not 1 <= int(seconds) <= 21600:
                return self.say(400)
            token = secrets.token_urlsafe(40)
            tokens[token] = time.monotonic() + int(seconds)
            self.say(200, token.encode(), [("X-aws-ec2-metadata-token-ttl-seconds", seconds)])

        def do_GET(self):
            path = self.path.split("?")[0].strip("/")
            ASKED.append((instance.id, path))
            if tokens.get(self.headers.get("X-aws-ec2-metadata-token"), 0) < time.monotonic():
                return self.say(401)
            version, _, rest = path.partition("/")
            body = answer(facts(instance, address), rest) if version[:1].isalnum() else None
            self.say(404 if body is None else 200, body or b"")

        def log_message(self, *_):
            pass

    return Handler


class Server(http.server.ThreadingHTTPServer):
    daemon_threads = True

    def server_bind(self):
        # Not HTTPServer's: it looks the address up, and there is nobody to ask.
        self.socket.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        self.socket.bind(self.server_address)
        self.server_name, self.server_port = ADDRESS


def serve(namespace, instance, address):
    """Serves until the process ends, in a thread that has gone over into the namespace. Returns when it listens."""
    ready, failed = threading.Event(), []

    def run():
        try:
            entry = os.open(f"/run/netns/{namespace}", os.O_RDONLY)
            if LIBC.setns(entry, CLONE_NEWNET) != 0:
                raise OSError(ctypes.get_errno(), f"cannot enter {namespace}")
            os.close(entry)
            server = Server(ADDRESS, handler(instance, address))
        except Exception as error:
            failed.append(error)
            ready.set()
            return
        SERVERS[instance.id] = server
        ready.set()
        server.serve_forever(poll_interval=0.2)
        server.server_close()

    threading.Thread(target=run, daemon=True).start()
    ready.wait()
    if failed:
        raise failed[0]


def stop(instance_id):
    """Lets go of the namespace, which would live as long as its sockets."""
    server = SERVERS.pop(instance_id, None)
    if server:
        server.shutdown()
