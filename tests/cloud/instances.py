"""What moto's EC2 lacks: idempotent launches, states that take time, invisible instances, reasons, consoles."""

import hashlib
import threading
import time

from moto.core.types import Base64EncodedString
from moto.core.utils import utcnow
from moto.ec2.exceptions import EC2ClientError
from moto.ec2.models import EC2Backend, ec2_backends
from moto.ec2.models.instances import Instance, InstanceState, StateReason
from moto.ec2.responses.general import General
from moto.ec2.responses.instances import InstanceResponse
from moto.core.responses import ActionResult

# How long things take, in seconds; the control API changes it. With `hosts`, an instance runs once its host is said to
# have booted, and is terminated once its host is said to be gone, but not before those times.
SETTINGS = {"pending": 0.3, "shutting_down": 0.3, "invisible": 0.0, "hosts": False}

LOCK = threading.RLock()
CHANGED = threading.Condition(LOCK)
VERSION = [0]
LAUNCHES = {}
CONSOLES = {}
REQUEST = threading.local()


def changed():
    """Wakes whoever waits for news of instances."""
    with CHANGED:
        VERSION[0] += 1
        CHANGED.notify_all()


def _state(self):
    stored, now = self.stored_state, time.monotonic()
    if self.settling:
        return stored
    if stored.name == "running" and "launched" in self.__dict__:
        waits = SETTINGS["hosts"] and not self.booted
        if waits or now < self.launched + SETTINGS["pending"]:
            return InstanceState("pending", 0)
    if stored.name == "terminated" and "ended" in self.__dict__:
        waits = SETTINGS["hosts"] and self.has_host and not self.gone
        if waits or now < self.ended + SETTINGS["shutting_down"]:
            return InstanceState("shutting-down", 32)
    return stored


def _set_state(self, state):
    self.stored_state = state


Instance._state = property(_state, _set_state)
# Until the hypervisor says so.
Instance.booted = Instance.has_host = Instance.gone = Instance.settling = Instance.forgotten = False

def _as_stored(change):
    """Moto changes the state that it gets to see in place: it must be the stored one."""

    def changing(self, *arguments):
        previous = self._state
        self.settling = True
        try:
            change(self, *arguments)
        finally:
            self.settling = False
        changed()
        return InstanceState(previous.name, previous.code)

    return changing


def _terminate_once(terminate):
    def terminating(self, *arguments):
        # Terminating what is terminated changes nothing.
        if self.stored_state.name != "terminated":
            terminate(self, *arguments)
            self.ended = time.monotonic()

    return terminating


Instance.stop = _as_stored(Instance.stop)
Instance.start = _as_stored(Instance.start)
Instance.terminate = _as_stored(_terminate_once(Instance.terminate))


def end(instance, code, message):
    """Ends an instance for this reason, as if nobody had asked for it by the API."""
    instance.terminate()
    instance.state_reason = StateReason(f"{code}: {message}", code)
    instance._reason = ""


def zone_of(backend, arguments):
    subnets = [arguments.get("subnet_id")] + [nic.get("SubnetId") for nic in arguments.get("nics") or []]
    subnet = next((subnet for subnet in subnets if subnet), None)
    return backend.get_subnet(subnet).availability_zone if subnet else arguments.get("placement")


_run_instances = EC2Backend.run_instances


def _run_once(self, image_id, count, user_data, security_group_names, **arguments):
    token = arguments.get("client_token")
    token = None if token == "ABCDE" else token  # moto's own, when there was none
    with LOCK:
        # With a subnet, the scope of a token is its zone.
        key = (self.account_id, self.region_name, zone_of(self, arguments), token)
        if token and key in LAUNCHES:
            parameters, reservation = LAUNCHES[key]
            if parameters != REQUEST.parameters:
                raise EC2ClientError(
                    "IdempotentParameterMismatch",
                    "Arguments on this idempotent request are inconsistent with those of a previous request.",
                )
            if all(instance.state == "terminated" for instance in reservation.instances):
                raise EC2ClientError(
                    "IdempotentInstanceTerminated", "The instances of this client token were terminated."
                )
            return reservation
        reservation = _run_instances(self, image_id, count, user_data, security_group_names, **arguments)
        for instance in reservation.instances:
            instance.launched = time.monotonic()
            instance.client_token = token or ""
        if token:
            LAUNCHES[key] = (REQUEST.parameters, reservation)
        changed()
        return reservation


EC2Backend.run_instances = _run_once

_associate = EC2Backend.associate_iam_instance_profile


def _associate_once(self, instance_id, *arguments, **named):
    """Moto does it for each launch, and refuses the second time: a launch that is repeated must find it done."""
    done = self.iam_instance_profile_associations.get(instance_id)
    return done or _associate(self, instance_id, *arguments, **named)


EC2Backend.associate_iam_instance_profile = _associate_once


def remember_parameters(form):
    """What makes two requests the same."""
    told = sorted((name, value) for name, value in form.items() if name != "ClientToken")
    REQUEST.parameters = hashlib.sha256(repr(told).encode()).hexdigest()


_validate_volume = InstanceResponse._validate_block_device_mapping


def _volume_of_image(volume):
    """A volume without a size has that of its image."""
    if "Ebs" in volume and "SnapshotId" not in volume["Ebs"]:
        volume["Ebs"].setdefault("VolumeSize", 8)
    _validate_volume(volume)


InstanceResponse._validate_block_device_mapping = staticmethod(_volume_of_image)

_all_reservations = EC2Backend.all_reservations


def _visible_reservations(self, filters=None):
    filters = dict(filters or {})
    tokens = filters.pop("client-token", None)
    reservations = []
    for reservation in _all_reservations(self, filters):
        def shown(instance):
            launched = instance.__dict__.get("launched", 0)
            visible = time.monotonic() >= launched + SETTINGS["invisible"] and not instance.forgotten
            return visible and (tokens is None or instance.__dict__.get("client_token") in tokens)

        reservation.instances = [instance for instance in reservation.instances if shown(instance)]
        if reservation.instances:
            reservations.append(reservation)
    return reservations


EC2Backend.all_reservations = _visible_reservations


def _console_output(self):
    instance = self.ec2_backend.get_instance(self._get_param("InstanceId"))
    output = b""
    if instance.id in CONSOLES:
        with open(CONSOLES[instance.id], "rb") as console:
            output = console.read()[-65536:]
    result = {"InstanceId": instance.id, "Timestamp": utcnow()}
    if output:
        result["Output"] = Base64EncodedString.from_raw_string(output.decode("utf-8", "replace"))
    return ActionResult(result)


General.get_console_output = _console_output


def everything():
    """All instances of all accounts and regions, invisible ones too."""
    return [
        instance
        for regions in list(ec2_backends.values())
        for backend in list(regions.values())
        for reservation in list(backend.reservations.values())
        for instance in reservation.instances
    ]


def find(instance_id):
    return next(instance for instance in everything() if instance.id == instance_id)
