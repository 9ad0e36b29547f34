"""What must be true of every user data as it stands in cloud-init/. Not what it does: that is test_script.py's."""

import os
import re
import subprocess
import tomllib
from pathlib import Path

import pytest

from documents import CLOUD_CONFIGS, CLOUD_INIT, EXAMPLES, MARK, SCRIPT, USER_DATA, comment, configuration, script

# EC2 takes no more user data, before it is encoded (EC2 User Guide, "Run commands when you launch an EC2 instance").
LARGEST = 16 * 1024

each = pytest.mark.parametrize("document", USER_DATA, ids=lambda path: path.name)
each_cloud_config = pytest.mark.parametrize("document", CLOUD_CONFIGS, ids=lambda path: path.name)
each_example = pytest.mark.parametrize("document", EXAMPLES, ids=lambda path: path.name)


def test_every_scenario_has_its_example() -> None:
    names = [example.stem for example in EXAMPLES]
    assert names == ["a-chat-application", "b-containers", "c-worker-manager", "d-go-mysql-api", "e-llm-deployer"]


@each_cloud_config
def test_cloud_init_finds_nothing_wrong(document: Path) -> None:
    # Unlike at boot, keys of the wrong type or name are errors.
    done = subprocess.run(["cloud-init", "schema", "--config-file", document], capture_output=True, text=True)
    assert done.returncode == 0 and "Valid cloud-config" in done.stdout, done.stdout + done.stderr


@each
def test_ec2_takes_it_as_user_data(document: Path) -> None:
    assert len(document.read_bytes()) <= LARGEST


@each
def test_the_script_is_the_same_in_every_copy(document: Path) -> None:
    here = script(document).split(MARK)[1].strip()
    assert here == script(SCRIPT).split(MARK)[1].strip(), "run tests/cloud-init/embed"


@each
def test_shellcheck_finds_nothing_wrong(document: Path) -> None:
    done = subprocess.run(["shellcheck", "-"], input=script(document), capture_output=True, text=True)
    assert done.returncode == 0, done.stdout


@each
def test_the_agent_accepts_the_configuration(document: Path, tmp_path: Path) -> None:
    (tmp_path / "config.toml").touch()
    (tmp_path / "conf.d").mkdir()
    (tmp_path / "conf.d" / "50-user-data.toml").write_text(configuration(document))
    command = [os.environ["IMDS_AGENT_TEST_BINARY"], "config", "check", "--config", tmp_path / "config.toml"]
    done = subprocess.run(command, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout + done.stderr


@each
def test_what_the_first_boot_wrote_is_shipped_from_its_beginning(document: Path) -> None:
    files = tomllib.loads(configuration(document))["logs"]["file"]
    of_the_boot = [file for file in files if "/var/log/cloud-init-output.log" in file["include"]]
    assert [file["start_at"] for file in of_the_boot] == ["beginning"]


@each_example
def test_an_example_says_which_system_which_role_and_what_arrives(document: Path) -> None:
    text = comment(document)
    for part in ("System: ", "Role: ", "Arrives: "):
        assert part in text


@each_example
def test_an_example_names_the_actions_that_its_configuration_takes(document: Path) -> None:
    role = comment(document).split("Role: ")[1].split("Arrives: ")[0]
    named = set(re.findall(r"CreateLogGroup|CreateLogStream|PutLogEvents|PutRetentionPolicy|DescribeLogGroups", role))
    retention = "retention_in_days" in configuration(document)
    of_retention = {"PutRetentionPolicy", "DescribeLogGroups"} if retention else set()
    assert named == {"CreateLogGroup", "CreateLogStream", "PutLogEvents"} | of_retention


def test_the_readme_names_every_document() -> None:
    readme = (CLOUD_INIT / "README.md").read_text()
    for document in USER_DATA:
        assert str(document.relative_to(CLOUD_INIT)) in readme


def test_a_chat_backend_writes_one_stream_into_the_groups_own_name() -> None:
    logs = tomllib.loads(configuration(CLOUD_INIT / "examples/a-chat-application.yaml"))["logs"]
    assert (logs["log_group"], logs["log_stream"]) == ("/aws/ec2/ollama-chat-prod", "backend-{instance_id}")


def test_the_go_api_keeps_its_log_for_14_days_in_a_stream_an_instance() -> None:
    logs = tomllib.loads(configuration(CLOUD_INIT / "examples/d-go-mysql-api.yaml"))["logs"]
    assert logs["log_group"] == "/aws/ec2/sandbox-go-mysql-api/application"
    assert (logs["log_stream"], logs["retention_in_days"]) == ("{instance_id}", 14)
