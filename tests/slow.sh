#!/usr/bin/env bash
# The tests that take long: on the release build a million lines to the emulator, fifty thousand to moto, twenty
# SIGKILLs and two hundred seeds of torture; thousands of such seeds in process; a hundred times the broken input for
# every parser; AWS's own SDKs at the doors; the packages, user data, Terraform and CloudFormation; the package on a real
# systemd; and the licences and advisories of what we depend on. Needs root on Debian 12. `cargo test` and .ci/run do
# the rest.
set -euo pipefail
cd "$(dirname "$0")/.."

# Nothing may reach a real metadata service or AWS, whatever this machine is.
export AWS_EC2_METADATA_DISABLED=true AWS_ENDPOINT_URL=http://127.0.0.1:9

cargo build --locked --release
IMDS_AGENT_TEST_BINARY=$PWD/target/release/imds-agent cargo test --locked --test integration -- --ignored --test-threads=1
cargo test --locked --lib torture -- --ignored
IMDS_AGENT_FUZZ_TIMES=100 cargo test --locked --lib hostile

IMDS_AGENT_TEST_BINARY=$PWD/target/release/imds-agent tests/clients/run

packaging/build all
tests/packages/run
tests/cloud-init/run
tests/machine/run

if command -v cargo-deny >/dev/null; then
    cargo deny check
else
    echo "cargo-deny is not installed: licences and advisories were not checked (cargo install --locked cargo-deny)" >&2
fi
