"""A door with configured keys verifies what is signed: a broker of its own with two keys in a configuration file."""

import urllib.error
import urllib.request

import botocore.exceptions
import broker as brokers
import clients
import pytest

KEYS = """
[[aws.keys]]
id = "AKIAGOOD"
secret = "s3cr/et+"

[[aws.keys]]
id = "AKIAOTHER"
secret = "other"
account = "111122223333"
"""


@pytest.fixture(scope="module")
def endpoint(tmp_path_factory):
    file = tmp_path_factory.mktemp("keys") / "keys.toml"
    file.write_text(KEYS)
    running = brokers.Broker(extra=["--config", str(file)]).start()
    yield running.ports["aws"]
    assert "open to configured access keys" in running.printed()
    running.stop()


def code(call, **arguments):
    with pytest.raises(botocore.exceptions.ClientError) as raised:
        call(**arguments)
    return raised.value.response["Error"]["Code"]


def test_the_key_names_the_account(endpoint):
    def account(key, secret):
        return clients.aws(endpoint, "sts", key, secret=secret).get_caller_identity()["Account"]

    assert account("AKIAGOOD", "s3cr/et+") == clients.ACCOUNT
    assert account("AKIAOTHER", "other") == "111122223333"


@pytest.mark.parametrize(
    "service, operation",
    [
        ("sqs", "list_queues"),
        ("sns", "list_topics"),
        ("events", "list_rules"),
        ("kinesis", "list_streams"),
        ("sts", "get_caller_identity"),
    ],
)
def test_only_right_signatures_enter(endpoint, service, operation):
    getattr(clients.aws(endpoint, service, "AKIAGOOD", secret="s3cr/et+"), operation)()
    wrong = code(getattr(clients.aws(endpoint, service, "AKIAGOOD", secret="wrong"), operation))
    assert wrong in ("SignatureDoesNotMatch", "InvalidSignatureException")
    unknown = code(getattr(clients.aws(endpoint, service, "AKIANONE", secret="x"), operation))
    assert unknown in ("InvalidClientTokenId", "UnrecognizedClientException")
    twelve = code(getattr(clients.aws(endpoint, service, clients.ACCOUNT, secret="x"), operation))
    assert twelve == unknown


def test_bodies_and_odd_characters_are_signed_right(endpoint):
    sqs = clients.aws(endpoint, "sqs", "AKIAGOOD", secret="s3cr/et+")
    url = sqs.create_queue(QueueName="a-b_c")["QueueUrl"]
    sqs.send_message(QueueUrl=url, MessageBody="é & + ~*\n")
    assert sqs.receive_message(QueueUrl=url, WaitTimeSeconds=2)["Messages"][0]["Body"] == "é & + ~*\n"
    sns = clients.aws(endpoint, "sns", "AKIAGOOD", secret="s3cr/et+")
    topic = sns.create_topic(Name="t")["TopicArn"]
    assert sns.publish(TopicArn=topic, Message="x y+z=&é ~*", Subject="s p")["MessageId"]


def test_unsigned_requests_stay_out_and_presigned_ones_enter(endpoint):
    with pytest.raises(urllib.error.HTTPError) as raised:
        urllib.request.urlopen(f"http://127.0.0.1:{endpoint}/?Action=ListTopics")
    assert raised.value.code == 403
    presigned = clients.aws(endpoint, "sns", "AKIAGOOD", secret="s3cr/et+").generate_presigned_url("list_topics")
    with urllib.request.urlopen(urllib.request.Request(presigned, method="POST")) as answer:
        assert b"<ListTopicsResult>" in answer.read()
    with pytest.raises(urllib.error.HTTPError) as raised:
        urllib.request.urlopen(urllib.request.Request(presigned.replace("Signature=", "Signature=0"), method="POST"))
    assert raised.value.code == 403
