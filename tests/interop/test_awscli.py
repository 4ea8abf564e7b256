"""The aws command against the AWS doors."""

import json
import os
import pathlib
import subprocess
import sys

import pytest

import clients

AWS = pathlib.Path(sys.executable).parent / "aws"


@pytest.fixture
def run(port):
    if not AWS.exists():
        pytest.skip("the aws command is not installed")

    def call(*words):
        env = {
            **os.environ,
            "AWS_ACCESS_KEY_ID": clients.ACCOUNT,
            "AWS_SECRET_ACCESS_KEY": "anything",
            "AWS_DEFAULT_REGION": clients.REGION,
        }
        endpoint = ("--endpoint-url", f"http://127.0.0.1:{port('aws')}")
        command = [sys.executable, AWS, *endpoint, *words]
        done = subprocess.run(command, env=env, capture_output=True, text=True, timeout=60)
        assert done.returncode == 0, done.stderr
        return json.loads(done.stdout) if done.stdout.strip() else None

    return call


def test_sqs(run, name):
    url = run("sqs", "create-queue", "--queue-name", name)["QueueUrl"]
    run("sqs", "send-message", "--queue-url", url, "--message-body", "from the shell")
    (message,) = run("sqs", "receive-message", "--queue-url", url, "--wait-time-seconds", "5")["Messages"]
    assert message["Body"] == "from the shell"
    run("sqs", "delete-message", "--queue-url", url, "--receipt-handle", message["ReceiptHandle"])
    run("sqs", "delete-queue", "--queue-url", url)


def test_sns_and_sts(run, name):
    topic = run("sns", "create-topic", "--name", name)["TopicArn"]
    assert run("sns", "publish", "--topic-arn", topic, "--message", "x")["MessageId"]
    assert run("sts", "get-caller-identity")["Account"] == clients.ACCOUNT
