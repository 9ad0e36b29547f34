"""The emulator, checked by clients that we did not write: botocore's IMDS provider, boto3 and the AWS CLI.

Not the agent's tests. `EMULATOR_URL` names a running emulator, as `imds-agent emulator` prints it; the environment
points all clients at it.
"""

import gzip
import json
import os
import socket
import subprocess
import sys
import time
import unittest
import urllib.error
import urllib.parse
import urllib.request
import uuid

URL = os.environ["EMULATOR_URL"]

# Before boto3 looks at its environment. Nothing may come from this machine's own configuration, or go to its proxy.
for name in [name for name in os.environ if name.startswith("AWS_") or name.lower().endswith("_proxy")]:
    del os.environ[name]
os.environ.update(
    AWS_CONFIG_FILE="/dev/null",
    AWS_EC2_METADATA_SERVICE_ENDPOINT=URL,
    AWS_ENDPOINT_URL=URL,
    AWS_REGION="eu-west-1",
    AWS_DEFAULT_REGION="eu-west-1",
    AWS_SHARED_CREDENTIALS_FILE="/dev/null",
)

import boto3  # noqa: E402
from botocore.config import Config  # noqa: E402
from botocore.exceptions import ClientError  # noqa: E402
from botocore.utils import IMDSRegionProvider  # noqa: E402
import botocore.session  # noqa: E402

ROLE_ARN = "arn:aws:sts::123456789012:assumed-role/emulated-role/i-0e00000000000e001"
ONCE = Config(retries={"total_max_attempts": 1})


def control(method, path, body=None):
    """Asks the emulator itself."""
    data = None if body is None else json.dumps(body).encode()
    request = urllib.request.Request(f"{URL}/_emulator/{path}", data=data, method=method)
    with urllib.request.urlopen(request) as answer:
        return answer.read().decode()


def state():
    return json.loads(control("GET", "state"))


def client(service, **keys):
    return boto3.Session().client(service, config=ONCE, **keys)


def now():
    return int(time.time() * 1000)


class Conformance(unittest.TestCase):
    def setUp(self):
        self.group = f"/conformance/{uuid.uuid4()}"
        self.logs = client("logs")

    def tearDown(self):
        control("DELETE", "faults")
        control("POST", "settings", {"clock_skew_seconds": 0})
        control("POST", "credentials/rotate")

    def stream(self, name="app"):
        self.logs.create_log_group(logGroupName=self.group)
        self.logs.create_log_stream(logGroupName=self.group, logStreamName=name)
        return {"logGroupName": self.group, "logStreamName": name}

    def refusal(self, call, **arguments):
        with self.assertRaises(ClientError) as raised:
            call(**arguments)
        return raised.exception.response["Error"]


class Metadata(Conformance):
    def test_botocore_finds_the_roles_credentials(self):
        before = state()["counts"]["metadata_without_token"]
        credentials = boto3.Session().get_credentials()
        self.assertEqual(credentials.method, "iam-role")
        self.assertEqual(credentials.access_key, state()["credentials"]["access_key_id"])
        self.assertEqual(state()["counts"]["metadata_without_token"], before)
        self.assertIn("21600", state()["counts"]["token_ttls"])

    def test_botocore_finds_the_region(self):
        self.assertEqual(IMDSRegionProvider(botocore.session.Session()).provide(), "eu-west-1")

    def test_a_client_without_a_token_is_told_401(self):
        with self.assertRaises(urllib.error.HTTPError) as raised:
            urllib.request.urlopen(f"{URL}/latest/meta-data/instance-id")
        self.assertEqual(raised.exception.code, 401)
        self.assertEqual(raised.exception.headers["Connection"], "close")

    def test_the_tree_can_be_walked_as_cloud_init_walks_it(self):
        request = urllib.request.Request(f"{URL}/latest/api/token", method="PUT",
                                         headers={"X-aws-ec2-metadata-token-ttl-seconds": "60"})
        with urllib.request.urlopen(request) as answer:
            token = answer.read().decode()

        def get(path):
            headers = {"X-aws-ec2-metadata-token": token}
            with urllib.request.urlopen(urllib.request.Request(f"{URL}/2021-03-23/{path}", headers=headers)) as found:
                return found.read().decode()

        def walk(directory):
            found = {}
            for name in get(directory).splitlines():
                if name.endswith("/"):
                    found[name] = {} if name == "security-credentials/" else walk(directory + name)
                elif name.partition("=")[0].isdigit():
                    number, name = name.split("=")
                    found[name] = get(f"{directory}{number}/openssh-key")
                else:
                    found[name] = get(directory + name)
            return found

        tree = walk("meta-data/")
        [(mac, interface)] = tree["network/"]["interfaces/"]["macs/"].items()
        self.assertEqual((mac.rstrip("/"), interface["device-number"]), (tree["mac"], "0"))
        self.assertTrue(tree["public-keys/"]["emulated"].startswith("ssh-ed25519 "))
        self.assertEqual(tree["placement/"]["region"], "eu-west-1")
        document = json.loads(get("dynamic/instance-identity/document"))
        self.assertEqual(document["instanceId"], tree["instance-id"])
        for absent in ("user-data", "meta-data/spot/instance-action"):
            with self.assertRaises(urllib.error.HTTPError) as raised:
                get(absent)
            self.assertEqual(raised.exception.code, 404)

    def test_the_hop_limit_holds_back_the_token_and_nothing_else(self):
        self.addCleanup(control, "POST", "settings", {"hop_limit": 64})
        place = urllib.parse.urlsplit(URL)

        def ask(request, patience):
            # IP_MINTTL (ip(7)): packets that have been sent with less are dropped, as the next hop would do.
            with socket.create_connection((place.hostname, place.port)) as connection:
                connection.setsockopt(socket.IPPROTO_IP, 21, 2)
                connection.settimeout(patience)
                connection.sendall(request)
                return connection.recv(15)

        put = b"PUT /latest/api/token HTTP/1.1\r\nHost: x\r\nX-aws-ec2-metadata-token-ttl-seconds: 60\r\n\r\n"
        get = b"GET /latest/meta-data/ HTTP/1.1\r\nHost: x\r\n\r\n"
        self.assertEqual(ask(put, 10), b"HTTP/1.1 200 OK")
        control("POST", "settings", {"hop_limit": 2})
        self.assertEqual(ask(put, 10), b"HTTP/1.1 200 OK")
        control("POST", "settings", {"hop_limit": 1})
        with self.assertRaises(TimeoutError):
            ask(put, 0.3)
        self.assertEqual(ask(get, 10), b"HTTP/1.1 401 Un")


class Sts(Conformance):
    def test_the_caller_is_the_role(self):
        answer = client("sts").get_caller_identity()
        self.assertEqual(answer["Arn"], ROLE_ARN)
        self.assertEqual(answer["Account"], "123456789012")
        self.assertEqual(answer["ResponseMetadata"]["HTTPHeaders"]["x-amzn-requestid"],
                         answer["ResponseMetadata"]["RequestId"])

    def test_an_assumed_role_can_be_used(self):
        answer = client("sts").assume_role(
            RoleArn="arn:aws:iam::123456789012:role/app", RoleSessionName="me", DurationSeconds=900)
        self.assertEqual(answer["AssumedRoleUser"]["Arn"], "arn:aws:sts::123456789012:assumed-role/app/me")
        keys = answer["Credentials"]
        assumed = client("sts", aws_access_key_id=keys["AccessKeyId"], aws_session_token=keys["SessionToken"],
                         aws_secret_access_key=keys["SecretAccessKey"])
        self.assertTrue(assumed.get_caller_identity()["Arn"].endswith("assumed-role/app/me"))

    def test_errors_are_read_as_stss(self):
        error = self.refusal(client("sts").assume_role, RoleArn="arn:aws:iam::123456789012:user/app",
                             RoleSessionName="me")
        self.assertEqual(error["Code"], "ValidationError")
        control("POST", "faults", {"operation": "sts:*", "effect": {"deny": {}}})
        error = self.refusal(client("sts").get_caller_identity)
        self.assertEqual(error["Code"], "AccessDenied")
        self.assertIn("not authorized to perform: sts:GetCallerIdentity", error["Message"])


class Logs(Conformance):
    def test_what_is_put_can_be_read(self):
        place = self.stream()
        events = [{"timestamp": now() + n, "message": f"line {n} \u00fc \u2603 \"quoted\"\t\\"} for n in range(25)]
        answer = self.logs.put_log_events(**place, logEvents=events)
        self.assertNotIn("rejectedLogEventsInfo", answer)
        found, token = [], None
        while True:
            more = {"nextToken": token} if token else {}
            page = self.logs.get_log_events(**place, startFromHead=True, limit=10, **more)
            found += [{name: event[name] for name in ("timestamp", "message")} for event in page["events"]]
            if page["nextForwardToken"] == token:
                break
            token = page["nextForwardToken"]
        self.assertEqual(found, events)
        last = self.logs.get_log_events(**place, limit=1)["events"]
        self.assertEqual([event["message"] for event in last], [events[-1]["message"]])
        lines = control("GET", f"events?group={self.group}&stream=app").splitlines()
        self.assertEqual([json.loads(line)["message"] for line in lines], [event["message"] for event in events])

    def test_events_are_found_by_a_phrase(self):
        place = self.stream()
        self.logs.put_log_events(**place, logEvents=[
            {"timestamp": now(), "message": "all is well"}, {"timestamp": now() + 1, "message": "disk is full"}])
        found = self.logs.filter_log_events(logGroupName=self.group, filterPattern='"is full"')["events"]
        self.assertEqual([(event["logStreamName"], event["message"]) for event in found], [("app", "disk is full")])

    def test_a_gzipped_body_is_accepted(self):
        place = self.stream()

        def pack(params, **_):
            params["body"] = gzip.compress(params["body"])
            params["headers"]["Content-Encoding"] = "gzip"

        self.logs.meta.events.register("before-call.cloudwatch-logs.PutLogEvents", pack)
        self.logs.put_log_events(**place, logEvents=[{"timestamp": now(), "message": "packed"}])
        self.assertEqual(control("GET", f"events?group={self.group}&stream=app&format=text"), "packed\n")

    def test_rejected_events_are_reported_by_their_indices(self):
        day = 24 * 3600 * 1000
        events = [{"timestamp": time, "message": "x"} for time in (now() - 15 * day, now(), now() + day)]
        answer = self.logs.put_log_events(**self.stream(), logEvents=events)
        self.assertEqual(answer["rejectedLogEventsInfo"],
                         {"tooOldLogEventEndIndex": 1, "tooNewLogEventStartIndex": 2})

    def test_groups_and_streams_are_listed_page_by_page(self):
        self.stream("a-000")
        for number in range(1, 60):
            self.logs.create_log_stream(logGroupName=self.group, logStreamName=f"a-{number:03}")
        pages = self.logs.get_paginator("describe_log_streams").paginate(logGroupName=self.group)
        names = [stream["logStreamName"] for page in pages for stream in page["logStreams"]]
        self.assertEqual(names, [f"a-{number:03}" for number in range(60)])
        self.logs.put_retention_policy(logGroupName=self.group, retentionInDays=14)
        groups = self.logs.describe_log_groups(logGroupNamePrefix=self.group)["logGroups"]
        self.assertEqual([(group["logGroupName"], group["retentionInDays"]) for group in groups], [(self.group, 14)])
        self.logs.delete_log_group(logGroupName=self.group)
        self.assertEqual(self.logs.describe_log_groups(logGroupNamePrefix=self.group)["logGroups"], [])

    def test_refusals_are_the_exceptions_of_the_model(self):
        place = self.stream()
        event = {"timestamp": now(), "message": "x"}
        with self.assertRaises(self.logs.exceptions.ResourceAlreadyExistsException):
            self.logs.create_log_group(logGroupName=self.group)
        with self.assertRaises(self.logs.exceptions.ResourceAlreadyExistsException):
            self.logs.create_log_stream(**place)
        with self.assertRaises(self.logs.exceptions.ResourceNotFoundException):
            self.logs.put_log_events(logGroupName=self.group, logStreamName="other", logEvents=[event])
        with self.assertRaises(self.logs.exceptions.InvalidParameterException):
            self.logs.put_log_events(**place, logEvents=[{"timestamp": now(), "message": "y"}, dict(event, timestamp=1)])
        with self.assertRaises(self.logs.exceptions.InvalidParameterException):
            self.logs.put_retention_policy(logGroupName=self.group, retentionInDays=2)
        with self.assertRaises(self.logs.exceptions.InvalidParameterException):
            self.logs.create_log_group(logGroupName="with space")


class Signatures(Conformance):
    def keys(self):
        keys = boto3.Session().get_credentials().get_frozen_credentials()
        return {"aws_access_key_id": keys.access_key, "aws_secret_access_key": keys.secret_key,
                "aws_session_token": keys.token}

    def code(self, service, keys):
        there = client(service, **keys)
        call = there.get_caller_identity if service == "sts" else there.describe_log_groups
        return self.refusal(call)["Code"]

    def test_another_secret_makes_another_signature(self):
        keys = dict(self.keys(), aws_secret_access_key="x" * 40)
        self.assertEqual(self.code("logs", keys), "InvalidSignatureException")
        self.assertEqual(self.code("sts", keys), "SignatureDoesNotMatch")

    def test_keys_and_session_tokens_belong_together(self):
        for changed in ({"aws_access_key_id": "ASIAABCDEFGHIJKLMNOP"}, {"aws_session_token": "other"},
                        {"aws_session_token": None}):
            keys = dict(self.keys(), **changed)
            self.assertEqual(self.code("logs", keys), "UnrecognizedClientException")
            self.assertEqual(self.code("sts", keys), "InvalidClientTokenId")

    def test_expired_and_revoked_credentials_are_refused(self):
        keys = self.keys()
        control("POST", "credentials/revoke")
        self.assertEqual(self.code("logs", keys), "ExpiredTokenException")
        control("POST", "credentials/rotate")
        keys = self.keys()
        control("POST", "credentials/expire")
        self.assertEqual(self.code("logs", keys), "ExpiredTokenException")
        self.assertEqual(self.code("sts", keys), "ExpiredToken")

    def test_a_clock_more_than_five_minutes_off_is_refused(self):
        keys = self.keys()
        for skew, says in ((600, "Signature expired"), (-600, "Signature not yet current")):
            control("POST", "settings", {"clock_skew_seconds": skew})
            error = self.refusal(client("logs", **keys).describe_log_groups)
            self.assertEqual(error["Code"], "InvalidSignatureException")
            self.assertIn(says, error["Message"])
        control("POST", "settings", {"clock_skew_seconds": 240})
        client("logs", **keys).describe_log_groups()

    def test_a_signature_for_another_region_is_refused(self):
        there = client("logs", region_name="us-east-1")
        self.assertEqual(self.refusal(there.describe_log_groups)["Code"], "InvalidSignatureException")


class Faults(Conformance):
    def test_a_throttled_call_succeeds_when_botocore_retries(self):
        place = self.stream()
        control("POST", "faults", {"operation": "logs:PutLogEvents", "group": self.group, "times": 2,
                                   "effect": {"throttle": {"retry_after_ms": 10}}})
        patient = boto3.Session().client("logs", config=Config(retries={"mode": "standard", "total_max_attempts": 3}))
        answer = patient.put_log_events(**place, logEvents=[{"timestamp": now(), "message": "x"}])
        self.assertEqual(answer["ResponseMetadata"]["RetryAttempts"], 2)

    def test_a_denial_names_caller_action_and_resource(self):
        place = self.stream()
        control("POST", "faults", {"operation": "logs:PutLogEvents", "stream": "app", "effect": {
            "deny": {"policy": "service_control", "explicit": True}}})
        error = self.refusal(self.logs.put_log_events, **place, logEvents=[{"timestamp": now(), "message": "x"}])
        self.assertEqual(error["Code"], "AccessDeniedException")
        self.assertEqual(error["Message"], (
            f"User: {ROLE_ARN} is not authorized to perform: logs:PutLogEvents on resource: "
            f"arn:aws:logs:eu-west-1:123456789012:log-group:{self.group}:log-stream:app "
            "with an explicit deny in a service control policy"))

    def test_a_fault_that_is_misspelt_is_refused(self):
        with self.assertRaises(urllib.error.HTTPError) as raised:
            control("POST", "faults", {"operation": "logs:*", "effect": "explode"})
        self.assertEqual(raised.exception.code, 400)


class CommandLine(Conformance):
    def aws(self, *arguments):
        """The AWS CLI of the environment that runs this test."""
        program = os.path.join(os.path.dirname(sys.executable), "aws")
        done = subprocess.run([program, *arguments], capture_output=True, text=True, check=False)
        return done.returncode, done.stdout + done.stderr

    def ok(self, *arguments):
        code, output = self.aws(*arguments)
        self.assertEqual(code, 0, output)
        return output

    def test_the_caller_is_the_role(self):
        arn = self.ok("sts", "get-caller-identity", "--query", "Arn", "--output", "text").strip()
        self.assertEqual(arn, ROLE_ARN)

    def test_what_is_put_can_be_read(self):
        group = ["--log-group-name", self.group]
        place = [*group, "--log-stream-name", "cli"]
        self.ok("logs", "create-log-group", *group)
        self.ok("logs", "create-log-stream", *place)
        self.ok("logs", "put-log-events", *place, "--log-events", f"timestamp={now()},message=hello")
        query = ["--query", "events[].message", "--output", "text"]
        self.assertEqual(self.ok("logs", "get-log-events", *place, *query).strip(), "hello")
        self.assertEqual(self.ok("logs", "filter-log-events", *group, *query).strip(), "hello")

    def test_a_refusal_is_told(self):
        code, output = self.aws("logs", "get-log-events", "--log-group-name", self.group, "--log-stream-name", "x")
        self.assertNotEqual(code, 0)
        self.assertIn("(ResourceNotFoundException) when calling the GetLogEvents operation", output)


if __name__ == "__main__":
    unittest.main()
