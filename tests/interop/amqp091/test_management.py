"""The management API as RabbitMQ's tools use it. Each expectation was read off RabbitMQ 3.10 and its management plugin.

With AMQP_URL and INTEROP_MANAGEMENT (`host:port`) naming another broker the tests run against that one.
"""

import json
import os
import shutil
import subprocess
import time

import pika
import pytest
from admin import Admin, quoted

ABSENT = (404, "Object Not Found", "Not Found")
RABBITMQADMIN = shutil.which("rabbitmqadmin")


@pytest.fixture(scope="session")
def management(request):
    given = os.environ.get("INTEROP_MANAGEMENT")
    ports = {"management": int(given.rsplit(":", 1)[1])} if given else request.getfixturevalue("broker").ports
    if "management" not in ports:
        pytest.skip("no management door here")
    return ports["management"]


@pytest.fixture
def admin(management):
    return Admin(management)


@pytest.fixture
def queue(admin, request):
    name = f"m.{request.node.name}"
    admin.answer("DELETE", f"queues/%2F/{name}")
    assert admin.status("PUT", f"queues/%2F/{name}", {"durable": True}) == 201
    yield name
    admin.answer("DELETE", f"queues/%2F/{name}")


@pytest.fixture
def user(admin, management):
    """Makes users with permissions in vhost `/`."""
    made = []

    def make(name, tags="", configure=".*", write=".*", read=".*"):
        made.append(name)
        assert admin.status("PUT", f"users/{name}", {"password": "p", "tags": tags}) in (201, 204)
        patterns = {"configure": configure, "write": write, "read": read}
        assert admin.status("PUT", f"permissions/%2F/{name}", patterns) in (201, 204)
        return Admin(management, name, "p")

    yield make
    for name in made:
        admin.answer("DELETE", f"users/{name}")


def connect(url, user="guest", password="guest", vhost="/"):
    parameters = pika.URLParameters(url)
    parameters.credentials = pika.PlainCredentials(user, password)
    parameters.virtual_host = vhost
    return pika.BlockingConnection(parameters)


def denied(*arguments, **options):
    """What the broker says to who may not enter."""
    with pytest.raises(pika.exceptions.ProbableAccessDeniedError) as refused:
        connect(*arguments, **options)
    return str(refused.value)


def until(look, wanted=bool):
    """What `look` gives once it is `wanted`; RabbitMQ's statistics come late."""
    deadline = time.monotonic() + 30
    while not wanted(found := look()) and time.monotonic() < deadline:
        time.sleep(0.1)
    assert wanted(found), found
    return found


def test_who_may_ask(management, admin):
    assert admin.get("whoami") == {"name": "guest", "tags": ["administrator"]}
    status, body, headers = Admin(management, "guest", "wrong").answer("GET", "whoami")
    assert (status, body) == (401, {"error": "not_authorized", "reason": "Login failed"})
    assert headers["www-authenticate"].startswith("Basic realm=")
    assert Admin(management, None).status("GET", "overview") == 401


def test_what_is_not_there(admin):
    for path in ("nope", "queues/%2F/nope", "exchanges/%2F/nope", "vhosts/nope", "users/nope", "queues/nope",
                 "connections/nope", "channels/nope", "health/checks/nope", "policies/%2F/nope"):
        assert admin.refused("GET", path) == ABSENT, path
    assert admin.status("POST", "whoami") == 405


def test_a_queue_from_beginning_to_end(admin):
    path = "queues/%2F/m.whole"
    admin.answer("DELETE", path)
    assert admin.status("PUT", path, {"durable": True, "arguments": {"x-max-length": 10}}) == 201
    assert admin.status("PUT", path, {"durable": True, "arguments": {"x-max-length": 10}}) == 204
    status, error, reason = admin.refused("PUT", path, {"arguments": {"x-max-length": 10}})
    assert (status, error) == (400, "bad_request")
    assert reason == ("inequivalent arg 'durable' for queue 'm.whole' in vhost '/': "
                      "received 'false' but current is 'true'")
    found = until(lambda: admin.get(path), lambda found: "messages" in found)
    expected = {"name": "m.whole", "vhost": "/", "durable": True, "auto_delete": False, "exclusive": False,
                "arguments": {"x-max-length": 10}, "type": "classic", "messages": 0, "consumers": 0,
                "state": "running"}
    assert {key: found[key] for key in expected} == expected
    assert "m.whole" in [each["name"] for each in admin.get("queues")]
    assert admin.get(f"{path}?columns=name,durable") == {"name": "m.whole", "durable": True}
    assert admin.status("DELETE", path) == 204
    assert admin.refused("DELETE", path) == ABSENT


def test_refusals_of_declarations(admin):
    assert admin.refused("PUT", "queues/nope/q", {}) == (404, "not_found", "vhost_not_found")
    assert admin.refused("PUT", "queues/%2F/amq.q", {}) == (401, "not_authorised", "Access refused.")
    assert admin.refused("PUT", "queues/%2F/m.bad", b"{") == (400, "bad_request", "not_json")
    assert admin.refused("PUT", "queues/%2F/m.bad", {"durable": "x"}) == (400, "bad_request", ["not_boolean", "x"])
    bad = {"durable": True, "arguments": {"x-message-ttl": "a"}}
    reason = "invalid arg 'x-message-ttl' for queue 'm.bad' in vhost '/': \"expected integer, got longstr\""
    assert admin.refused("PUT", "queues/%2F/m.bad", bad) == (400, "bad_request", reason)
    assert admin.refused("DELETE", "exchanges/%2F/amq.direct") == (401, "not_authorised", "Access refused.")


def test_bindings_and_their_keys(admin, queue):
    admin.answer("DELETE", "exchanges/%2F/m.e")
    assert admin.status("PUT", "exchanges/%2F/m.e", {"type": "topic", "durable": True}) == 201
    path = f"bindings/%2F/e/m.e/q/{queue}"
    for body, key in (({}, "~"), ({"routing_key": "a.b"}, "a.b"), ({"routing_key": "a~b/c"}, "a%257Eb%252Fc")):
        status, _, headers = admin.answer("POST", path, body)
        assert (status, headers["location"]) == (201, f"{queue}/{key}")
    assert admin.status("POST", path, {"routing_key": "a.b", "arguments": {"x": 1}}) == 201
    keys = sorted(each["properties_key"] for each in admin.get(path))
    assert keys[:2] == ["a%7Eb%2Fc", "a.b"] and keys[2].startswith("a.b~") and keys[3] == "~"
    assert admin.get(f"{path}/a.b")["routing_key"] == "a.b"
    assert len(admin.get(f"queues/%2F/{queue}/bindings")) == 5, "the default exchange's too"
    assert len(admin.get("exchanges/%2F/m.e/bindings/source")) == 4
    assert admin.status("DELETE", "exchanges/%2F/m.e?if-unused=true") == 400
    for key in keys:
        assert admin.status("DELETE", f"{path}/{quoted(key)}") == 204, key
    assert admin.get(path) == []
    assert admin.refused("DELETE", f"{path}/nope") == ABSENT
    reason = "no queue 'm.nope' in vhost '/'"
    assert admin.refused("POST", "bindings/%2F/e/m.e/q/m.nope", {}) == (404, "not_found", reason)
    assert admin.status("DELETE", "exchanges/%2F/m.e") == 204


def test_publish_and_get(admin, queue):
    properties = {"delivery_mode": 2, "headers": {"a": 1, "b": "x", "c": [1, "2"]}, "content_type": "text/plain",
                  "priority": 3, "type": "t", "timestamp": 123, "correlation_id": "c"}
    message = {"properties": properties, "routing_key": queue, "payload": "aGk=", "payload_encoding": "base64"}
    publish = "exchanges/%2F/amq.default/publish"
    assert admin.answer("POST", publish, message)[1] == {"routed": True}
    assert admin.answer("POST", publish, {**message, "routing_key": "m.nope"})[1] == {"routed": False}
    missing = "[{key_missing,properties},\n {key_missing,payload},\n {key_missing,payload_encoding}]"
    assert admin.refused("POST", publish, {"routing_key": "x"}) == (400, "bad_request", missing)
    bad = {**message, "properties": {"expiration": "abc"}}
    reason = "406 PRECONDITION_FAILED - invalid expiration 'abc': no_integer"
    assert admin.refused("POST", publish, bad) == (400, "bad_request", reason)
    reason = "404 NOT_FOUND - no exchange 'm.nope' in vhost '/'"
    assert admin.refused("POST", "exchanges/%2F/m.nope/publish", message) == (400, "bad_request", reason)

    get = f"queues/%2F/{queue}/get"
    expected = {"payload": "hi", "payload_encoding": "string", "payload_bytes": 2, "redelivered": False,
                "exchange": "", "routing_key": queue, "message_count": 0, "properties": properties}
    ask = {"count": 5, "ackmode": "ack_requeue_true", "encoding": "auto"}
    assert admin.answer("POST", get, ask)[1] == [expected]
    again = {**expected, "redelivered": True, "payload": "aGk=", "payload_encoding": "base64"}
    ask = {"count": 5, "ackmode": "ack_requeue_false", "encoding": "base64"}
    found = admin.answer("POST", get, ask)[1]
    # This broker counts deliveries on classic queues too, and says so in a header.
    found[0]["properties"]["headers"].pop("x-delivery-count", None)
    assert found == [again]
    assert admin.answer("POST", get, ask)[1] == []
    assert admin.status("DELETE", f"queues/%2F/{queue}/contents") == 204
    reason = "NOT_FOUND - no queue 'm.nope' in vhost '/'"
    assert admin.refused("POST", "queues/%2F/m.nope/get", ask) == (404, "not_found", reason)


def test_pages_and_columns(admin, queue):
    found = admin.get("exchanges?page=1&page_size=2&name=amq.d&use_regex=true&columns=name")
    found.pop("total_count")
    assert found == {"items": [{"name": "amq.direct"}], "filtered_count": 1, "item_count": 1, "page": 1,
                     "page_count": 1, "page_size": 2}
    names = [each["name"] for each in admin.get("exchanges?columns=name&sort=name&sort_reverse=true")]
    assert names == sorted(names, reverse=True)
    assert admin.answer("GET", "queues?page=0")[1]["error"] == "invalid_pagination_parameters"
    assert admin.answer("GET", "queues?page=9999&page_size=2")[1]["error"] == "page_out_of_range"


def test_a_connection_is_listed_and_closed(admin, url, queue):
    connection = connect(url)
    channel = connection.channel()
    channel.confirm_delivery()
    channel.basic_qos(prefetch_count=7)
    channel.basic_publish("", queue, b"x")
    channel.basic_consume(queue, lambda *_: None, consumer_tag="tag")
    own = connection._impl.params and connection._impl._transport._sock.getsockname()[1]

    def listed(path, wanted=lambda _: True):
        def look():
            connection.process_data_events(0)
            found = [each for each in admin.get(path) if f"127.0.0.1:{own} -> " in json.dumps(each)]
            return [each for each in found if wanted(each)]
        return until(look)[0]

    found = listed("connections")
    expected = {"user": "guest", "vhost": "/", "protocol": "AMQP 0-9-1", "state": "running", "peer_port": own,
                "auth_mechanism": "PLAIN", "channel_max": 2047, "frame_max": 131072, "type": "network", "ssl": False}
    assert {key: found[key] for key in expected} == expected
    assert found["client_properties"]["product"] == "Pika Python Client Library"
    found_channel = listed("channels", lambda each: each.get("messages_unacknowledged") == 1)
    assert (found_channel["number"], found_channel["confirm"], found_channel["prefetch_count"]) == (1, True, 7)
    found_consumer = listed("consumers")
    assert (found_consumer["consumer_tag"], found_consumer["queue"]) == ("tag", {"name": queue, "vhost": "/"})
    assert found_consumer["ack_required"] and found_consumer["prefetch_count"] == 7
    state = until(lambda: admin.get(f"queues/%2F/{queue}"), lambda each: each.get("messages_unacknowledged") == 1)
    assert (state["consumers"], state["messages"]) == (1, 1)
    path = f"connections/{quoted(found['name'])}"
    assert admin.answer("DELETE", path, headers={"X-Reason": "bye"}.items())[0] == 204
    with pytest.raises(pika.exceptions.ConnectionClosedByBroker) as closed:
        connection.process_data_events(10)
    assert (closed.value.reply_code, closed.value.reply_text) == (320, "CONNECTION_FORCED - bye")
    until(lambda: admin.status("DELETE", path) == 404)


def test_policies_apply_and_merge(admin, url, queue):
    policy, operator = "policies/%2F/m.p", "operator-policies/%2F/m.o"
    body = {"pattern": f"^{queue}$", "definition": {"max-length": 5}, "priority": 1, "apply-to": "queues"}
    assert admin.status("PUT", policy, body) == 201
    assert admin.status("PUT", policy, body) == 204
    assert admin.get(policy) == {**body, "vhost": "/", "name": "m.p"}
    found = until(lambda: admin.get(f"queues/%2F/{queue}"), lambda each: each.get("policy") == "m.p")
    assert found["effective_policy_definition"] == {"max-length": 5}
    assert admin.status("PUT", operator, {**body, "definition": {"max-length": 3}}) == 201
    with_both = lambda each: each.get("operator_policy") == "m.o"  # noqa: E731
    found = until(lambda: admin.get(f"queues/%2F/{queue}"), with_both)
    assert found["effective_policy_definition"] == {"max-length": 3}
    connection = connect(url)
    channel = connection.channel()
    channel.confirm_delivery()
    for number in range(10):
        channel.basic_publish("", queue, str(number).encode())
    taken = [channel.basic_get(queue, auto_ack=True)[2] for _ in range(3)]
    assert taken == [b"7", b"8", b"9"] and channel.basic_get(queue)[0] is None
    assert admin.status("DELETE", operator) == 204
    assert admin.status("DELETE", policy) == 204
    assert admin.refused("DELETE", policy) == ABSENT
    for number in range(10):
        channel.basic_publish("", queue, str(number).encode())
    assert channel.queue_declare(queue, passive=True).method.message_count == 10
    connection.close()


def test_a_policy_gives_an_exchange_an_alternate(admin, url, queue):
    assert admin.status("PUT", "exchanges/%2F/m.alt", {"type": "fanout", "durable": True}) in (201, 204)
    assert admin.status("PUT", "exchanges/%2F/m.main", {"type": "direct", "durable": True}) in (201, 204)
    assert admin.status("POST", f"bindings/%2F/e/m.alt/q/{queue}", {}) == 201
    body = {"pattern": "^m[.]main$", "definition": {"alternate-exchange": "m.alt"}, "apply-to": "exchanges"}
    assert admin.status("PUT", "policies/%2F/m.ae", body) == 201
    connection = connect(url)
    channel = connection.channel()
    until(lambda: channel.basic_publish("m.main", "none", b"x") or channel.basic_get(queue, auto_ack=True)[0])
    connection.close()
    for path in ("policies/%2F/m.ae", "exchanges/%2F/m.main", "exchanges/%2F/m.alt"):
        assert admin.status("DELETE", path) == 204


def test_policies_are_refused_in_rabbitmqs_words(admin):
    def refused(**body):
        status, error, reason = admin.refused("PUT", "policies/%2F/m.bad", {"pattern": "a", **body})
        assert (status, error) == (400, "bad_request")
        return reason.replace("&lt;", "<").replace("&gt;", ">")

    assert refused() == "[{key_missing,definition}]"
    assert refused(definition={}) == "Validation failed\n\nno policy provided\n"
    unknown = 'Validation failed\n\n[{<<"foo">>,5}] are not recognised policy settings\n'
    assert refused(definition={"foo": 5}) == unknown
    assert refused(definition={"max-length": -5}) == "Validation failed\n\n-5 is not a valid maximum length\n"
    assert refused(definition={"expires": 0}) == "Validation failed\n\n0 is not a valid queue expiry\n"
    assert refused(definition={"overflow": "x"}) == 'Validation failed\n\n<<"x">> is not a valid overflow value\n'
    where = refused(definition={"max-length": 5}, **{"apply-to": "foo"})
    assert where.startswith("Validation failed\n\napply-to 'foo' unrecognised")
    body = {"pattern": "a", "definition": {"max-length": 5}}
    assert admin.refused("PUT", "policies/nope/p", body) == (404, "not_found", "vhost_not_found")


def test_users_and_their_tags(admin, management, user):
    monitor = user("m.monitor", "monitoring")
    assert admin.get("users/m.monitor")["tags"] == ["monitoring"]
    assert admin.get("users/m.monitor")["hashing_algorithm"] == "rabbit_password_hashing_sha256"
    assert monitor.get("whoami") == {"name": "m.monitor", "tags": ["monitoring"]}
    monitor.get("overview")
    assert monitor.refused("GET", "users") == (401, "not_authorised", "Not administrator user")
    assert monitor.refused("PUT", "vhosts/m.v") == (401, "not_authorised", "Not administrator user")
    body = {"pattern": "a", "definition": {"max-length": 5}}
    reason = "User not authorised to access object"
    assert monitor.refused("PUT", "policies/%2F/m.p", body) == (401, "not_authorised", reason)
    plain = user("m.plain")
    assert plain.status("GET", "whoami") == 401
    reason = "tags_not_present"
    assert admin.refused("PUT", "users/m.x", {"password": "p"}) == (400, "bad_request", reason)
    answer = admin.refused("PUT", "users/m.x", {"password_hash": "no!", "tags": ""})
    assert answer == (400, "bad_request", ["not_base64", "no!"])
    answer = admin.refused("PUT", "permissions/%2F/m.nope", {"configure": "", "write": "", "read": ""})
    assert answer == (400, "bad_request", "vhost_or_user_not_found")
    assert admin.status("DELETE", "users/m.plain") == 204
    assert admin.refused("DELETE", "users/m.plain") == ABSENT


def test_a_hash_made_elsewhere_lets_in(admin, url):
    # The example of RabbitMQ's documentation: password test12.
    body = {"password_hash": "kI3GCqW5JLMJa4iX1lo7X4D6XbYqlLgxIs30+P6tENUV2POR", "tags": ""}
    assert admin.status("PUT", "users/m.hash", body) == 201
    assert admin.status("PUT", "permissions/%2F/m.hash", {"configure": "", "write": "", "read": ""}) == 201
    connect(url, "m.hash", "test12").close()
    with pytest.raises(pika.exceptions.ProbableAuthenticationError):
        connect(url, "m.hash", "test13")
    assert admin.status("DELETE", "users/m.hash") == 204


def closes(connection, code, act):
    """The text with which `act` on a new channel closes it."""
    channel = connection.channel()
    with pytest.raises(pika.exceptions.ChannelClosedByBroker) as closed:
        act(channel)
    assert closed.value.reply_code == code
    return closed.value.reply_text


def worded(access, rest):
    """RabbitMQ 4's text, or that of 3 without the first word."""
    return {f"ACCESS_REFUSED - {access} access to {rest}", f"ACCESS_REFUSED - access to {rest}"}


def test_permissions_are_enforced(admin, url, user):
    user("m.app", configure="^mine", write="^mine|^amq[.]default$", read="^mine|^amq[.]topic$")
    connection = connect(url, "m.app", "p")
    channel = connection.channel()
    channel.queue_declare("mine.q")
    channel.basic_publish("", "mine.q", b"x")
    channel.queue_bind("mine.q", "amq.topic", "k")
    refused = "queue 'yours' in vhost '/' refused for user 'm.app'"
    assert closes(connection, 403, lambda c: c.queue_declare("yours")) in worded("configure", refused)
    assert closes(connection, 403, lambda c: c.basic_get("yours")) in worded("read", refused)
    text = closes(connection, 403, lambda c: c.basic_publish("amq.fanout", "k", b"x") or c.queue_declare("mine.q"))
    assert text in worded("write", "exchange 'amq.fanout' in vhost '/' refused for user 'm.app'")
    text = closes(connection, 403, lambda c: c.queue_bind("mine.q", "amq.fanout"))
    assert text in worded("read", "exchange 'amq.fanout' in vhost '/' refused for user 'm.app'")
    arguments = {"x-dead-letter-exchange": "amq.fanout"}
    text = closes(connection, 403, lambda c: c.queue_declare("mine.dlx", arguments=arguments))
    assert text in worded("write", "exchange 'amq.fanout' in vhost '/' refused for user 'm.app'")
    channel = connection.channel()
    channel.queue_delete("mine.q")
    # Removed while it is connected: it may do nothing any more.
    assert admin.status("DELETE", "permissions/%2F/m.app") == 204
    with pytest.raises((pika.exceptions.ChannelClosedByBroker, pika.exceptions.ConnectionClosedByBroker)):
        connection.channel().queue_declare("mine.q")
    assert "(530) \"NOT_ALLOWED - access to vhost '/' refused for user 'm.app'\"" in denied(url, "m.app", "p")


def test_topic_permissions_are_enforced(admin, url, user):
    user("m.topic")
    body = {"exchange": "amq.topic", "write": "^{username}[.]", "read": "^open[.]"}
    assert admin.status("PUT", "topic-permissions/%2F/m.topic", body) == 201
    listed = [{"user": "m.topic", "vhost": "/", **body}]
    assert admin.get("topic-permissions/%2F/m.topic") == listed
    connection = connect(url, "m.topic", "p")
    channel = connection.channel()
    name = channel.queue_declare("", exclusive=True).method.queue
    channel.queue_bind(name, "amq.topic", "open.a")
    channel.basic_publish("amq.topic", "m.topic.x", b"x")
    refused = "in exchange 'amq.topic' in vhost '/' refused for user 'm.topic'"
    text = closes(connection, 403, lambda c: c.queue_bind(name, "amq.topic", "closed"))
    assert text in worded("read", f"topic 'closed' {refused}")
    text = closes(connection, 403, lambda c: c.basic_publish("amq.topic", "a.b", b"x") or c.queue_purge(name))
    assert text in worded("write", f"topic 'a.b' {refused}")
    connection.close()
    assert admin.status("DELETE", "topic-permissions/%2F/m.topic") == 204
    assert admin.refused("GET", "topic-permissions/%2F/m.topic") == ABSENT


def test_a_vhost_comes_and_goes(admin, url):
    admin.answer("DELETE", "vhosts/m.v")
    assert admin.status("PUT", "vhosts/m.v") == 201
    assert admin.status("PUT", "vhosts/m.v", {"description": "for tests", "tags": "a,b"}) == 204
    found = admin.get("vhosts/m.v")
    assert (found["name"], found["description"], found["tags"]) == ("m.v", "for tests", ["a", "b"])
    everything = {"user": "guest", "vhost": "m.v", "configure": ".*", "write": ".*", "read": ".*"}
    assert everything in admin.get("vhosts/m.v/permissions")
    connection = connect(url, vhost="m.v")
    connection.channel().queue_declare("q", durable=True)
    assert [each["name"] for each in admin.get("queues/m.v")] == ["q"]
    assert admin.status("DELETE", "vhosts/m.v") == 204
    with pytest.raises(pika.exceptions.ConnectionClosedByBroker) as closed:
        connection.process_data_events(10)
    assert (closed.value.reply_code, closed.value.reply_text) == (320, "CONNECTION_FORCED - vhost 'm.v' is deleted")
    assert admin.refused("GET", "vhosts/m.v") == ABSENT
    assert "(530) 'NOT_ALLOWED - vhost m.v not found'" in denied(url, vhost="m.v")


def test_definitions_go_out_and_in(admin, queue):
    body = {"pattern": "^m[.]", "definition": {"max-length": 1000}, "priority": 0, "apply-to": "queues"}
    assert admin.status("PUT", "policies/%2F/m.def", body) in (201, 204)
    file = admin.get("definitions")
    assert {"users", "vhosts", "permissions", "topic_permissions", "parameters", "policies", "queues", "exchanges",
            "bindings", "global_parameters", "rabbit_version", "rabbitmq_version", "product_name"} <= set(file)
    own = {"name": queue, "vhost": "/", "durable": True, "auto_delete": False, "arguments": {}}
    assert own in file["queues"]
    assert {**body, "vhost": "/", "name": "m.def"} in file["policies"]
    for path in (f"queues/%2F/{queue}", "policies/%2F/m.def"):
        assert admin.status("DELETE", path) == 204
    assert admin.status("POST", "definitions", file) == 204
    assert own in admin.get("definitions")["queues"]
    assert admin.get("policies/%2F/m.def")["definition"] == {"max-length": 1000}
    assert admin.get("whoami")["name"] == "guest", "guest's password is as it was"
    single = admin.get("definitions/%2F")
    assert {key: value for key, value in own.items() if key != "vhost"} in single["queues"]
    imported = {"name": "m.imp", "durable": True, "auto_delete": False, "arguments": {}}
    assert admin.status("POST", "definitions/%2F", {"queues": [imported]}) == 204
    assert admin.refused("POST", "definitions", b"{") == (400, "bad_request", "failed_to_parse_json")
    elsewhere = {"queues": [{**imported, "vhost": "nope"}]}
    assert admin.refused("POST", "definitions", elsewhere) == (400, "bad_request", ["no_such_vhost", "nope"])
    for path in ("queues/%2F/m.imp", "policies/%2F/m.def"):
        assert admin.status("DELETE", path) == 204


def test_health(admin, management):
    for check in ("alarms", "local-alarms", "virtual-hosts", f"port-listener/{management}", "protocol-listener/amqp"):
        assert admin.get(f"health/checks/{check}")["status"] == "ok", check
    critical = {"status": "ok", "reason": "single node cluster"}
    assert admin.get("health/checks/node-is-quorum-critical") == critical
    status, body, _ = admin.answer("GET", "health/checks/port-listener/1")
    assert (status, body["status"], body["reason"], body["missing"]) == (503, "failed", "No active listener", 1)
    assert admin.refused("GET", "health/checks/port-listener/x") == (400, "bad_request", "Invalid port")
    assert admin.get("aliveness-test/%2F") == {"status": "ok"}


@pytest.mark.skipif(RABBITMQADMIN is None, reason="no rabbitmqadmin here")
def test_rabbitmqadmin(management):
    def run(*words):
        words = [RABBITMQADMIN, "-H", "127.0.0.1", "-P", str(management), "-f", "raw_json", *words]
        done = subprocess.run(words, capture_output=True, text=True, timeout=60)
        assert done.returncode == 0, (words, done.stdout, done.stderr)
        return done.stdout

    run("declare", "queue", "name=m.ra", "durable=true")
    run("declare", "exchange", "name=m.rae", "type=topic")
    run("declare", "binding", "source=m.rae", "destination=m.ra", "routing_key=a.b")
    run("publish", "exchange=m.rae", "routing_key=a.b", "payload=hello")
    assert [each["payload"] for each in json.loads(run("get", "queue=m.ra"))] == ["hello"]
    assert "m.ra" in [each["name"] for each in json.loads(run("list", "queues", "name", "messages"))]
    run("declare", "policy", "name=m.rap", "pattern=^m.ra$", 'definition={"max-length":3}', "apply-to=queues")
    run("purge", "queue", "name=m.ra")
    for thing in ("overview",):
        assert json.loads(run("show", thing))
    for thing in ("nodes", "users", "vhosts", "permissions", "policies", "bindings", "exchanges"):
        assert json.loads(run("list", thing)), thing
    run("delete", "policy", "name=m.rap")
    run("delete", "exchange", "name=m.rae")
    run("delete", "queue", "name=m.ra")
