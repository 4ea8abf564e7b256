"""What only this broker's management door has, and what of it outlives a crash."""

import pytest
from admin import Admin


def test_metrics_and_health_need_no_password(broker):
    if "management" not in broker.ports or not hasattr(broker, "process"):
        pytest.skip("not this broker's own door")
    nobody = Admin(broker.ports["management"], None)
    assert nobody.answer("GET", "/health")[:2] == (200, {"status": "ok"})
    admin = Admin(broker.ports["management"])
    assert admin.status("PUT", "queues/%2F/own.metrics", {"durable": True}) in (201, 204)
    status, text, _ = nobody.answer("GET", "/metrics")
    assert status == 200
    names = {line.split("{")[0].split(" ")[0] for line in text.splitlines() if not line.startswith("#")}
    assert {"rabbitmq_connections", "rabbitmq_queues", "rabbitmq_queue_messages_ready", "rabbitmq_build_info",
            "rabbitmq_global_messages_received_total", "rabbitmq_identity_info"} <= names
    sample = 'rabbitmq_queue_messages_ready{vhost="/",queue="own.metrics"} 0'
    assert sample in nobody.answer("GET", "/metrics/per-object")[1]
    sample = 'rabbitmq_detailed_queue_messages{vhost="/",queue="own.metrics"} 0'
    detailed = "/metrics/detailed?family=queue_coarse_metrics&vhost=%2F"
    assert sample in nobody.answer("GET", detailed)[1]
    assert admin.status("DELETE", "queues/%2F/own.metrics") == 204


def test_what_operators_define_survives_a_crash(mortal):
    admin = Admin(mortal.ports["management"])
    assert admin.status("PUT", "vhosts/kept", {"description": "stays"}) == 201
    assert admin.status("PUT", "users/kept", {"password": "p", "tags": "management"}) == 201
    permission = {"configure": "^a", "write": "", "read": ".*"}
    assert admin.status("PUT", "permissions/kept/kept", permission) == 201
    topic = {"exchange": "amq.topic", "write": "^a", "read": "^b"}
    assert admin.status("PUT", "topic-permissions/kept/kept", topic) == 201
    policy = {"pattern": "^q", "definition": {"max-length": 7}, "priority": 2, "apply-to": "queues"}
    assert admin.status("PUT", "policies/kept/p", policy) == 201
    assert admin.status("PUT", "operator-policies/kept/o", {**policy, "definition": {"max-length": 6}}) == 201
    assert admin.status("PUT", "queues/kept/q", {"durable": True}) == 201
    assert admin.status("PUT", "users/gone", {"password": "p", "tags": ""}) == 201
    assert admin.status("DELETE", "users/gone") == 204
    mortal.crash()
    assert admin.get("vhosts/kept")["description"] == "stays"
    assert [each["name"] for each in admin.get("users")] == ["guest", "kept"]
    assert admin.get("permissions/kept/kept") == {"user": "kept", "vhost": "kept", **permission}
    assert admin.get("topic-permissions/kept/kept") == [{"user": "kept", "vhost": "kept", **topic}]
    assert admin.get("policies/kept/p") == {**policy, "vhost": "kept", "name": "p"}
    assert admin.get("queues/kept/q")["effective_policy_definition"] == {"max-length": 6}
    assert Admin(mortal.ports["management"], "kept", "p").get("whoami")["name"] == "kept"
    assert admin.status("DELETE", "users/guest") == 204
    mortal.crash()
    assert admin.status("GET", "whoami") == 401, "the built-in guest stays deleted"
