"""What must be true of the Terraform and CloudFormation in cloud-init/: that parsers and linters take them, and that
they give the agent what it uses and no more. Not that AWS does."""

import json
import re
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import hcl2
import pytest
from cfnlint.decode import decode

from documents import CLOUD_INIT, ROOT, TEMPLATE, TERRAFORM

Statements = dict[str, dict[str, Any]]

ROLE = "arn:aws:iam::123456789012:role/app"
GROUP = "arn:aws:logs:eu-west-1:123456789012:log-group:/aws/ec2/prod"


def tool(name: str) -> str:
    """A program of the environment that runs this."""
    return str(Path(sys.executable).parent / name)


def template() -> dict[str, Any]:
    parsed, problems = decode(str(TEMPLATE))
    assert parsed and not problems, problems
    return parsed


def resolve(value: Any, names: dict[str, Any], true: set[str]) -> Any:
    """A value of the template with its functions carried out; what is not there is None."""
    match value:
        case {"Ref": "AWS::NoValue"}:
            return None
        case {"Ref": name}:
            return names[name]
        case {"Fn::Sub": text}:
            return re.sub(r"\$\{([\w:]+)}", lambda found: names[found[1]], text)
        case {"Fn::If": [condition, yes, no]}:
            return resolve(yes if condition in true else no, names, true)
        case dict():
            return {key: resolve(inner, names, true) for key, inner in value.items()}
        case list():
            resolved = [resolve(inner, names, true) for inner in value]
            return [inner for inner in resolved if inner is not None]
    return value


def statements_of_the_template(*true: str) -> Statements:
    """With these conditions met."""
    names: dict[str, Any] = {"AWS::Partition": "aws", "AWS::Region": "eu-west-1", "AWS::AccountId": "123456789012"}
    names |= {"LogGroup": "/aws/ec2/prod", "AssumeRoleArns": [ROLE]}
    role = template()["Resources"]["Role"]["Properties"]
    policy = resolve(role["Policies"][0]["PolicyDocument"], names, set(true))
    return {statement["Sid"]: statement for statement in policy["Statement"]}


def blocks(kind: str, resource: str, name: str) -> dict[str, Any]:
    parsed = hcl2.loads((TERRAFORM / "main.tf").read_text())
    return next(block[resource][name] for block in parsed[kind] if name in block.get(resource, {}))


def actions_in(text: Any) -> set[str]:
    return set(re.findall(r"(?:logs|sts):[A-Z]\w+", json.dumps(text)))


def actions_of_terraform() -> dict[str, set[str]]:
    policy = blocks("data", "aws_iam_policy_document", "agent")
    optional = [dynamic["statement"]["content"][0] for dynamic in policy["dynamic"]]
    return {statement["sid"][0]: actions_in(statement["actions"]) for statement in policy["statement"] + optional}


@pytest.mark.parametrize("template", [TEMPLATE, ROOT / "packaging/monitoring/cloudwatch.yaml"])
def test_cfn_lint_finds_nothing_wrong(template: Path) -> None:
    done = subprocess.run([tool("cfn-lint"), template], capture_output=True, text=True)
    assert done.returncode == 0, done.stdout


@pytest.mark.parametrize("framework, least", [("terraform", 20), ("cloudformation", 5)])
def test_checkov_finds_nothing_wrong(framework: str, least: int) -> None:
    command = [tool("checkov"), "--skip-download", "--compact", "--output", "json", "--framework", framework]
    done = subprocess.run([*command, "--directory", CLOUD_INIT], capture_output=True, text=True)
    summary = json.loads(done.stdout)["summary"]
    assert (summary["failed"], summary["skipped"], summary["parsing_errors"]) == (0, 0, 0), done.stdout
    assert summary["passed"] >= least, "it has looked at something"


@pytest.mark.skipif(shutil.which("terraform") is None, reason="terraform is not in Debian; it is used where it is")
def test_terraform_would_format_it_the_same() -> None:
    done = subprocess.run(["terraform", "fmt", "-check", "-diff", TERRAFORM], capture_output=True, text=True)
    assert done.returncode == 0, done.stdout


def test_every_file_of_terraform_parses() -> None:
    for file in TERRAFORM.glob("*.tf"):
        assert hcl2.loads(file.read_text()), file


def test_the_policies_give_the_actions_that_the_agent_calls() -> None:
    source = (ROOT / "src" / "logs" / "sink" / "cloudwatch.rs").read_text()
    called = {f"logs:{action}" for action in re.findall(r'\.call\(\s*"(\w+)"', source)}
    assert "logs:PutLogEvents" in called
    requests = [ROOT / "src" / "credentials" / name for name in ("assume.rs", "request.rs")]
    called |= {action for file in requests for action in re.findall(r'"(sts:\w+)"', file.read_text())}
    assert "sts:TagSession" in called
    assert actions_in(statements_of_the_template("SetsRetention", "AssumesRoles")) == called
    assert set.union(*actions_of_terraform().values()) == called


def test_terraform_and_cloudformation_give_the_same() -> None:
    of_the_template = statements_of_the_template("SetsRetention", "AssumesRoles")
    assert {sid: actions_in(given["Action"]) for sid, given in of_the_template.items()} == actions_of_terraform()


def test_the_policy_is_for_the_configured_groups_and_roles_only() -> None:
    statements = statements_of_the_template("SetsRetention", "AssumesRoles")
    given = {sid: statement["Resource"] for sid, statement in statements.items()}
    assert given == {
        "Groups": [GROUP, f"{GROUP}:*"],
        "Events": [f"{GROUP}:log-stream:*"],
        "Retention": ["arn:aws:logs:eu-west-1:123456789012:log-group:*"],
        "Roles": [ROLE],
    }


def test_without_retention_or_roles_nothing_is_given_for_them() -> None:
    given = statements_of_the_template()
    assert actions_in(given) == {"logs:CreateLogGroup", "logs:CreateLogStream", "logs:PutLogEvents"}


def test_only_ec2_may_assume_the_role() -> None:
    trust = template()["Resources"]["Role"]["Properties"]["AssumeRolePolicyDocument"]["Statement"]
    assert [statement["Principal"] for statement in trust] == [{"Service": "ec2.amazonaws.com"}]
    [statement] = blocks("data", "aws_iam_policy_document", "trust")["statement"]
    assert statement["principals"] == [{"type": ["Service"], "identifiers": [["ec2.amazonaws.com"]]}]


def test_instances_have_imdsv2_only_with_a_hop_limit_of_1_and_show_their_tags() -> None:
    launched = template()["Resources"]["LaunchTemplate"]["Properties"]["LaunchTemplateData"]["MetadataOptions"]
    wanted = {"HttpEndpoint": "enabled", "HttpTokens": "required", "HttpPutResponseHopLimit": 1}
    assert launched == wanted | {"InstanceMetadataTags": "enabled"}
    [options] = blocks("resource", "aws_launch_template", "agent")["metadata_options"]
    names = {re.sub(r"(?<!^)(?=[A-Z])", "_", key).lower(): [value] for key, value in launched.items()}
    assert options == names


def test_the_template_holds_the_user_data_that_stands_beside_it() -> None:
    data = template()["Resources"]["LaunchTemplate"]["Properties"]["LaunchTemplateData"]["UserData"]
    assert data == {"Fn::Base64": (CLOUD_INIT / "user-data.yaml").read_text()}, "run tests/cloud-init/embed"


@pytest.mark.parametrize("document", [TEMPLATE, *TERRAFORM.glob("*.tf")], ids=lambda path: path.name)
def test_no_partition_region_or_account_is_written_down(document: Path) -> None:
    assert not re.search(r"arn:aws|[a-z]{2}-[a-z]+-\d\b|\b\d{12}\b", document.read_text())
