"""What an imitation of AWS can do, found by trying it: a JSON object with `what` it is on, and `findings`.

    python probe.py ENDPOINT

A finding is {"name": ..., "has": bool, "seen": what was seen}. Nothing is left running.
"""

import json
import platform
import sys
import time
import urllib.request

import boto3
from botocore.config import Config
from botocore.exceptions import ClientError

REGION = "eu-west-1"
IMAGE = "ami-12345678"
USER_DATA = "#!/bin/sh\necho a machine was here\n"

endpoint = sys.argv[1]


def client(service, region=REGION):
    return boto3.client(
        service,
        endpoint_url=endpoint,
        region_name=region,
        aws_access_key_id="AKIATEST",
        aws_secret_access_key="a secret",
        config=Config(retries={"max_attempts": 0}, read_timeout=30),
    )


ec2 = client("ec2")
launched = []


def launch(**more):
    request = {"ImageId": IMAGE, "MinCount": 1, "MaxCount": 1, "InstanceType": "t3.micro", **more}
    instance = ec2.run_instances(**request)["Instances"][0]
    launched.append(instance["InstanceId"])
    return instance["InstanceId"]


def state(instance):
    shown = ec2.describe_instances(InstanceIds=[instance])
    return shown["Reservations"][0]["Instances"][0]["State"]["Name"]


def idempotent_launches():
    first, again = launch(ClientToken="the same"), launch(ClientToken="the same")
    same = first == again
    return same, f"the same ClientToken makes {'one instance' if same else 'a second instance'}"


def timed_states():
    instance = launch()
    after_launch = state(instance)
    ec2.terminate_instances(InstanceIds=[instance])
    after_end = state(instance)
    timed = (after_launch, after_end) == ("pending", "shutting-down")
    return timed, f"{after_launch} at the first look after a launch, {after_end} at the first after its end"


def machines():
    instance = launch(UserData=USER_DATA)
    time.sleep(2)
    console = ec2.get_console_output(InstanceId=instance).get("Output", "")
    boots = "a machine was here" in console
    return boots, f"the console of an instance shows {'what its user-data print' if boots else 'nothing of its user-data'}"


def dry_runs():
    try:
        launch(DryRun=True)
    except ClientError as error:
        code = error.response["Error"]["Code"]
        return code == "DryRunOperation", code
    return False, "a dry run launches"


def types():
    try:
        launch(InstanceType="t3.nothing")
    except ClientError as error:
        return True, error.response["Error"]["Code"]
    return False, "a type that does not exist is launched"


def tokens_as_filter():
    found = ec2.describe_instances(Filters=[{"Name": "client-token", "Values": ["the same"]}])
    return bool(found["Reservations"]), "instances are found by their client token"


def s3():
    store = client("s3")
    store.create_bucket(Bucket="probe", CreateBucketConfiguration={"LocationConstraint": REGION})
    store.put_object(Bucket="probe", Key="key", Body=b"text")
    return store.get_object(Bucket="probe", Key="key")["Body"].read() == b"text", "an object is stored and read"


def identity():
    return bool(client("sts").get_caller_identity()["Account"]), "who asks is told"


def parameters():
    name = "/aws/service/ami-amazon-linux-latest/al2023-ami-kernel-default-x86_64"
    return client("ssm").get_parameter(Name=name)["Parameter"]["Value"].startswith("ami-"), "stock images are known"


def secrets():
    manager = client("secretsmanager")
    manager.create_secret(Name="probe", SecretString="hush")
    return manager.get_secret_value(SecretId="probe")["SecretString"] == "hush", "a secret is stored and read"


def prices():
    products = client("pricing", "us-east-1").get_products(ServiceCode="AmazonEC2", MaxResults=1)
    return bool(products["PriceList"]), "prices are told"


def quotas():
    quota = client("service-quotas").get_service_quota(ServiceCode="ec2", QuotaCode="L-1216C47A")
    return quota["Quota"]["Value"] > 0, "quotas are told"


PROBES = [
    ("idempotent launches", idempotent_launches),
    ("timed states", timed_states),
    ("machines that boot", machines),
    ("dry runs", dry_runs),
    ("checked types", types),
    ("client-token filter", tokens_as_filter),
    ("stock images (SSM)", parameters),
    ("Secrets Manager", secrets),
    ("S3", s3),
    ("STS", identity),
    ("Pricing", prices),
    ("Service Quotas", quotas),
]


def tried(name, probe):
    try:
        has, seen = probe()
    except Exception as error:  # Whatever it is, it is no failure of ours.
        has, seen = False, " ".join(str(error).split())
    return {"name": name, "has": has, "seen": seen}


def version():
    with urllib.request.urlopen(endpoint + "/_localstack/health", timeout=10) as answer:
        return json.load(answer)["version"]


findings = [tried(*probe) for probe in PROBES]
if launched:
    ec2.terminate_instances(InstanceIds=launched)
print(json.dumps({"what": f"LocalStack {version()} on Python {platform.python_version()}", "findings": findings}))
