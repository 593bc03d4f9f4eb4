"""What moto's images lack: tagged snapshots, names that only one has, a time to be made, an end with their snapshots."""

import time

from instances import LOCK, SETTINGS
from moto.ec2.exceptions import EC2ClientError
from moto.ec2.models.amis import Ami, AmiBackend
from moto.ec2.responses.amis import AmisResponse

SETTINGS["imaging"] = 0.3

# Those that moto brings were made long ago.
Ami.made = 0.0


def _state(self):
    waits = self.stored_state == "available" and time.monotonic() < self.made + SETTINGS["imaging"]
    return "pending" if self.made and waits else self.stored_state


def _set_state(self, state):
    self.stored_state = state


Ami.state = property(_state, _set_state)

_create_image = AmiBackend.create_image


def _create_tagged(self, instance_id, name, description, tag_specifications):
    with LOCK:
        for image in self.amis.values():
            if image.owner_id == self.account_id and image.name == name:
                message = f"AMI name {name} is already in use by AMI {image.id}"
                raise EC2ClientError("InvalidAMIName.Duplicate", message)
        of_snapshot = [it for it in tag_specifications if it["ResourceType"] == "snapshot"]
        others = [it for it in tag_specifications if it not in of_snapshot]
        image = _create_image(self, instance_id, name, description, others)
        image.made = time.monotonic()
        for tag in [tag for specification in of_snapshot for tag in specification["Tags"]]:
            image.ebs_snapshot.add_tag(tag["Key"], tag["Value"])
        return image


AmiBackend.create_image = _create_tagged

_deregister_image = AmisResponse.deregister_image


def _deregister_with_snapshots(self):
    image = self.ec2_backend.amis.get(self._get_param("ImageId"))
    result = _deregister_image(self)
    if image and self._get_bool_param("DeleteAssociatedSnapshots"):
        self.ec2_backend.delete_snapshot(image.ebs_snapshot.id)
    return result


AmisResponse.deregister_image = _deregister_with_snapshots
