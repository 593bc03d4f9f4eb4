"""A cloud for tests: moto's server with what it lacks, faults on demand, and a control API below /_cloud/.

    python server.py ADDRESS PORT [INDEX]

INDEX is a folder of wheels, which is served as a package index below /_index/simple/. The control API speaks JSON:

    GET  /_cloud/machines?after=N&wait=S   {"version": N, "machines": [...]}, as soon as there is something after N
    POST /_cloud/machines/ID/host          {"namespace", "address", "console"}: its metadata are served from now on
    POST /_cloud/machines/ID/booted        its host runs
    POST /_cloud/machines/ID/gone          its host is gone; {"powered_off": true}: by its own doing
    POST /_cloud/machines/ID/end           {"code", "message"}: the cloud ends it for this reason
    POST /_cloud/machines/ID/forget        the AWS APIs do not show it any more, as an hour after its end
    POST /_cloud/machines/ID/metadata      {PATH: TEXT or null}: what its metadata say there
    POST /_cloud/settings                  see SETTINGS in instances.py and images.py, and "denied": actions that nobody may do
    POST /_cloud/faults                    a list of faults, see `fault_for`; replaces those that were
    GET  /_cloud/account/REGION            what is there at the beginning: {"subnets": {ID: ZONE}, "security_group"}
    POST /_cloud/profiles/NAME             makes an instance profile with a role of the same name, once; {"arn"}
    GET  /_cloud/calls                     all calls of the AWS APIs so far: action, parameters, when, access key, status,
                                           whether a fault has executed it
    GET  /_cloud/index                     all requests to the package index so far: who, by address, and the path
"""

import faulthandler
import functools
import hashlib
import html
import json
import pathlib
import re
import signal
import socket
import sys
import threading
import time
from io import BytesIO
from urllib.parse import parse_qs, parse_qsl

import images  # noqa: F401 - it completes moto
import instances
import metadata
from moto.iam.models import iam_backends
from moto.server import DomainDispatcherApplication, create_backend_app
from werkzeug.serving import WSGIRequestHandler, make_server

# moto's account for everybody.
ACCOUNT = "123456789012"

FAULTS = []
DENIED = set()
CALLS = []
INDEXED = []


def refusal(code, message, status):
    text = (
        f"<Response><Errors><Error><Code>{code}</Code><Message>{html.escape(message)}</Message></Error></Errors>"
        "<RequestID>00000000-0000-0000-0000-000000000000</RequestID></Response>"
    )
    return status, [("Content-Type", "text/xml")], text.encode()


def fault_for(action, form):
    """The first fault that is for this call, and one time less of it. A fault is

    {"action": "RunInstances", "match": {"InstanceType": "t3.small"}, "times": 1, "delay": seconds,
     "code": "InsufficientInstanceCapacity", "message": "...", "status": 500, "execute": bool, "hold": seconds,
     "drop": bool}

    With `execute` the call is carried out before the answer goes wrong; with `hold` it then waits for so long; with
    `drop` there is no answer at all.
    """
    with instances.LOCK:
        for fault in FAULTS:
            matches = all(form.get(name) == value for name, value in fault.get("match", {}).items())
            if fault["action"] == action and matches and fault.setdefault("times", 1) > 0:
                fault["times"] -= 1
                return fault
    return None


class Cloud:
    """The WSGI application in front of moto's."""

    def __init__(self, moto, index):
        self.moto, self.index = moto, index

    def __call__(self, environ, start):
        path = environ["PATH_INFO"]
        if path.startswith("/_index/"):
            INDEXED.append({"address": environ["REMOTE_ADDR"], "path": path})
            status, headers, body = self.index_file(path)
        elif path.startswith("/_cloud/"):
            status, headers, body = self.control(environ, path.removeprefix("/_cloud/"))
        else:
            return self.call(environ, start)
        start(f"{status} -", [*headers, ("Content-Length", str(len(body)))])
        return [body]

    def call(self, environ, start):
        length = environ.get("CONTENT_LENGTH")
        body = environ["wsgi.input"].read(int(length)) if length else None
        if body is not None:
            environ["wsgi.input"] = BytesIO(body)
        kind = environ.get("CONTENT_TYPE", "")
        form = dict(parse_qsl((body or b"").decode("latin1"), keep_blank_values=True)) if "urlencoded" in kind else {}
        action = form.get("Action") or environ.get("HTTP_X_AMZ_TARGET", "").split(".")[-1]
        action = action or f"{environ['REQUEST_METHOD']} {environ['PATH_INFO']}"
        key = re.search(r"Credential=([^/]+)/", environ.get("HTTP_AUTHORIZATION", ""))
        key = key.group(1) if key else None
        record = {"action": action, "parameters": form, "at": time.time(), "access_key": key}
        record |= {"status": None, "executed": False}
        CALLS.append(record)
        instances.remember_parameters(form)

        def started(status, headers, *rest):
            record["status"] = int(status.split()[0])
            return start(status, headers, *rest)

        def say(status, headers, said):
            started(f"{status} -", [*headers, ("Content-Length", str(len(said)))])
            return [said]

        fault = fault_for(action, form)
        if fault:
            time.sleep(fault.get("delay", 0))
            if fault.get("execute"):
                list(self.moto(environ, lambda *_: None))
                record["executed"] = True
            time.sleep(fault.get("hold", 0))
            if fault.get("drop"):
                environ["werkzeug.socket"].shutdown(socket.SHUT_RDWR)
                raise ConnectionResetError("as the test wanted")
            if "code" in fault:
                return say(*refusal(fault["code"], fault.get("message", "a fault"), fault.get("status", 400)))
        if action in DENIED:
            return say(*refusal("UnauthorizedOperation", "You are not authorized to perform this operation.", 403))
        if form.get("DryRun") == "true":
            return say(*refusal("DryRunOperation", "Request would have succeeded, but DryRun flag is set.", 412))
        return self.moto(environ, started)

    def control(self, environ, path):
        length = int(environ.get("CONTENT_LENGTH") or 0)
        told = json.loads(environ["wsgi.input"].read(length) or b"null") or {}
        try:
            said = self.controlled(path, told, parse_qs(environ.get("QUERY_STRING", "")))
            return 200, [("Content-Type", "application/json")], json.dumps(said).encode()
        except Exception as error:
            return 500, [("Content-Type", "text/plain")], repr(error).encode()

    def controlled(self, path, told, query):
        match path.split("/"):
            case ["machines"]:
                return self.machines(int(query.get("after", ["-1"])[0]), float(query.get("wait", ["0"])[0]))
            case ["machines", name, what]:
                self.of_machine(instances.find(name), what, told)
            case ["settings"]:
                DENIED.clear()
                DENIED.update(told.pop("denied", []))
                instances.SETTINGS.update(told)
            case ["faults"]:
                FAULTS[:] = told or []
            case ["account", region]:
                return account(region)
            case ["profiles", name]:
                return {"arn": make_profile(name)}
            case ["calls"]:
                return CALLS
            case ["index"]:
                return INDEXED
            case _:
                raise ValueError(f"no {path}")
        return {}

    def machines(self, after, wait):
        with instances.CHANGED:
            instances.CHANGED.wait_for(lambda: instances.VERSION[0] > after, wait)
            version = instances.VERSION[0]
        return {"version": version, "machines": [shown(instance) for instance in instances.everything()]}

    def of_machine(self, instance, what, told):
        match what:
            case "host":
                instances.CONSOLES[instance.id] = told["console"]
                instance.has_host = True
                metadata.serve(told["namespace"], instance, told["address"])
            case "booted":
                instance.booted = True
            case "gone":
                metadata.stop(instance.id)
                if told.get("powered_off") and instance.instance_initiated_shutdown_behavior == "stop":
                    instance.stop()
                elif told.get("powered_off"):
                    instances.end(instance, "Client.InstanceInitiatedShutdown", "Instance initiated shutdown")
                instance.gone = True
            case "end":
                instances.end(instance, told["code"], told.get("message", "as the test wanted"))
            case "forget":
                instance.forgotten = True
            case "metadata":
                metadata.SET.setdefault(instance.id, {}).update(told)
            case _:
                raise ValueError(f"no {what}")
        instances.changed()

    def index_file(self, path):
        """A package index: a page for each project, and the wheels themselves."""
        parts = path.strip("/").split("/")[1:]
        text = [("Content-Type", "text/html")]
        match parts:
            case ["simple", project]:
                wheels = sorted(self.index.glob("*.whl")) if self.index else []
                normal = [(re.sub(r"[-_.]+", "-", wheel.name.split("-")[0]).lower(), wheel.name) for wheel in wheels]
                found = [(name, hash_of(self.index / name)) for owner, name in normal if owner == project]
                links = [f'<a href="/_index/files/{name}#sha256={sha256}">{name}</a>' for name, sha256 in found]
                return (200, text, "\n".join(links).encode()) if links else (404, text, b"")
            case ["files", name] if self.index and (self.index / name).is_file():
                return 200, [("Content-Type", "application/octet-stream")], (self.index / name).read_bytes()
            case _:
                return 404, text, b""


@functools.cache
def hash_of(wheel):
    return hashlib.sha256(wheel.read_bytes()).hexdigest()


def account(region):
    backend = instances.ec2_backends[ACCOUNT][region]
    vpc = backend.get_default_vpc()
    subnets = [subnet for zone in backend.subnets.values() for subnet in zone.values() if subnet.vpc_id == vpc.id]
    group = backend.get_default_security_group(vpc.id)
    return {"subnets": {subnet.id: subnet.availability_zone for subnet in subnets}, "security_group": group.id}


def make_profile(name):
    iam = iam_backends[ACCOUNT]["aws"]
    made = next((profile for profile in iam.instance_profiles.values() if profile.name == name), None)
    if made:
        return made.arn
    iam.create_role(name, "{}", "/", None, "", [], 3600)
    profile = iam.create_instance_profile(name, "/", [])
    iam.add_role_to_instance_profile(name, name)
    return profile.arn


def image_of(instance):
    """The instance that the image of this one was made of, if it was."""
    image = instance.ec2_backend.amis.get(instance.image_id)
    return getattr(image, "instance_id", None)


def shown(instance):
    return {
        "id": instance.id,
        "state": instance.state,
        "reason": instance.state_reason.code,
        "instance_type": instance.instance_type,
        "zone": instance.availability_zone,
        "market": getattr(instance, "lifecycle", None) or "on-demand",
        "image": instance.image_id,
        "image_of": image_of(instance),
        "client_token": instance.__dict__.get("client_token", ""),
        "shutdown_behavior": instance.instance_initiated_shutdown_behavior,
        "tags": {tag["key"]: tag["value"] for tag in instance.get_tags()},
        "user_data": str(instance.user_data or ""),
    }


class Quiet(WSGIRequestHandler):
    protocol_version = "HTTP/1.1"

    def log_request(self, *_):
        pass


def main():
    # What each thread does, for whoever wonders why it does not answer.
    faulthandler.register(signal.SIGUSR1, all_threads=True)
    address, port = sys.argv[1], int(sys.argv[2])
    index = pathlib.Path(sys.argv[3]) if len(sys.argv) > 3 else None
    cloud = Cloud(DomainDispatcherApplication(create_backend_app), index)
    server = make_server(address, port, cloud, threaded=True, request_handler=Quiet)
    server.daemon_threads = True
    # Whoever started it reads where it listens, and ends it by closing its standard input.
    print(json.dumps({"port": server.server_port}), flush=True)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    sys.stdin.read()


if __name__ == "__main__":
    main()
