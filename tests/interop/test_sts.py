"""boto3 against STS: who the access key says that one is."""

import clients


def test_caller_identity(aws):
    identity = aws("sts").get_caller_identity()
    assert identity["Account"] == clients.ACCOUNT
    assert identity["Arn"].startswith("arn:aws:") and identity["UserId"]


def test_twelve_digits_name_the_account(aws):
    assert aws("sts", account="111122223333").get_caller_identity()["Account"] == "111122223333"
