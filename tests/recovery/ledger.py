"""What clients were promised, and what they were given: the client's side of the books.

A `Flow` is one publisher's numbered messages; every destination that they are routed to has a `Ledger`. A ledger knows
which numbers the broker confirmed, sees every delivery, and counts what must not be: a confirmed number that never
comes, an order that changed, a number that comes again although it was settled for good, one that nobody sent.
Knows no protocol.
"""

import re
import threading

BODY = re.compile(r"([\w.-]+):(\d+):")


class Ledger:
    """One flow's numbers in one destination.

    `ordered`: first deliveries come in the order sent, and every consumer sees rising numbers. `once`: no number
    comes twice. Otherwise a number may come again until it is settled for good: what was settled before a complete
    drain may not come after the next one began, and a settlement that was answered counts at once (`settled`). With
    `leased` what was handed out comes again by itself some time later, whatever was seen meanwhile: then only an
    answered settlement is for good.
    """

    def __init__(self, flow, destination, ordered=True, once=False, leased=False):
        self.flow, self.destination, self.ordered, self.once = flow, destination, ordered, once
        self.leased = leased
        self.missing, self.seen, self.settled = set(), {}, set()
        self.floor = self.highest = self.last = -1
        self.given = self.again = 0
        self.complaints = {"lost": [], "reordered": [], "forbidden": [], "invented": []}

    def confirmed(self, number):
        if number > self.floor and number not in self.seen:
            self.missing.add(number)

    def sight(self, number, round):
        """A delivery."""
        if number >= self.flow.sent:
            self.complaints["invented"].append(number)
            return
        first = number > self.floor and number not in self.seen
        back = number <= self.last and not (self.leased and not first)
        if self.ordered and (back or (first and number < self.highest)):
            self.complaints["reordered"].append((number, self.last, self.highest))
        self.last = number
        if first:
            self.given += 1
            self.highest = max(self.highest, number)
            self.missing.discard(number)
        elif self.once or number <= self.floor or number in self.settled:
            self.complaints["forbidden"].append(number)
        else:
            self.again += 1
        if number > self.floor:
            self.seen[number] = round

    def drained(self, round):
        """Everything that the destination held was taken and settled in this round or before: what is missing now is
        lost, and what was settled in an earlier round is gone for good."""
        self.complaints["lost"] += sorted(self.missing)
        self.missing.clear()
        if self.leased:
            return
        recent = [number for number, when in self.seen.items() if when >= round]
        floor = (min(recent) if recent else self.flow.sent_before) - 1
        self.floor = max(self.floor, min(floor, self.highest))
        self.seen = {number: when for number, when in self.seen.items() if number > self.floor}
        self.settled = {number for number in self.settled if number > self.floor}

    def reopened(self):
        """A new consumer: it may begin anywhere."""
        self.last = -1


class Flow:
    """A publisher's numbers, and the ledgers of where they go."""

    def __init__(self, books, name, destinations=None, **rules):
        self.books, self.name = books, name
        self.sent = self.sent_before = self.confirms = 0
        self.ledgers = {place: Ledger(self, place, **rules) for place in destinations or [name]}
        books.flows[name] = self

    def next(self, padding=""):
        """The next number and its body."""
        with self.books.lock:
            number = self.sent
            self.sent += 1
        return number, f"{self.name}:{number}:{padding}"

    def confirm(self, number):
        with self.books.lock:
            self.confirms += 1
            for ledger in self.ledgers.values():
                ledger.confirmed(number)


class Books:
    """All flows of one door."""

    def __init__(self, door):
        self.door, self.flows, self.lock = door, {}, threading.RLock()
        self.round = 0
        self.sights = 0

    def sight(self, body, destination=None):
        """A delivery of this body at a destination; True if it is one of ours."""
        found = BODY.match(body)
        if not found or found[1] not in self.flows:
            raise ValueError(f"{self.door}: not a body of ours: {body[:80]!r}")
        flow, number = self.flows[found[1]], int(found[2])
        with self.lock:
            self.sights += 1
            flow.ledgers[destination or flow.name].sight(number, self.round)
        return flow, number

    def settled(self, flow, number, destination=None):
        """The broker answered that this one is settled."""
        with self.lock:
            flow.ledgers[destination or flow.name].settled.add(number)

    def killed(self):
        """The broker is gone: a new round begins."""
        with self.lock:
            self.round += 1
            for flow in self.flows.values():
                flow.sent_before = flow.sent

    def reopened(self, *destinations):
        """Consumers of these destinations (all of them when none is named) begin anew."""
        with self.lock:
            for ledger in self.ledgers():
                if not destinations or ledger.destination in destinations:
                    ledger.reopened()

    def ledgers(self):
        return [ledger for flow in self.flows.values() for ledger in flow.ledgers.values()]

    def missing(self, *skipped):
        """How many confirmed messages have not been seen yet, but for these destinations."""
        with self.lock:
            return sum(len(ledger.missing) for ledger in self.ledgers() if ledger.destination not in skipped)

    def drained(self, *skipped):
        with self.lock:
            for ledger in self.ledgers():
                if ledger.destination not in skipped:
                    ledger.drained(self.round)

    def row(self):
        """The figures of the door's line in the table."""
        ledgers = self.ledgers()
        return {
            "sent": sum(flow.sent for flow in self.flows.values()),
            "confirmed": sum(flow.confirms for flow in self.flows.values()),
            "seen": sum(ledger.given for ledger in ledgers),
            **{kind: sum(len(ledger.complaints[kind]) for ledger in ledgers) for kind in ("lost", "reordered")},
            "duplicates": sum(ledger.again for ledger in ledgers),
            **{kind: sum(len(ledger.complaints[kind]) for ledger in ledgers) for kind in ("forbidden", "invented")},
        }

    def complaints(self):
        """A sentence for every kind of wrong in every ledger."""
        with self.lock:
            return [
                f"{self.door}: {kind} in {ledger.destination} of {ledger.flow.name}: {len(numbers)}, {numbers[:8]}"
                for ledger in self.ledgers()
                for kind, numbers in ledger.complaints.items()
                if numbers
            ]


def table(rows):
    """Lines of text for `{door: row}`."""
    names = ["sent", "confirmed", "seen", "lost", "reordered", "duplicates", "forbidden", "invented"]
    lines = [f"{'door':<14}" + "".join(f"{name:>12}" for name in names)]
    return lines + [f"{door:<14}" + "".join(f"{row[name]:>12}" for name in names) for door, row in rows.items()]


def self_test():
    """The ledger finds what it is there to find."""

    def played(confirmed, sights, **rules):
        books = Books("test")
        flow = Flow(books, "f", **rules)
        for _ in range(10):
            flow.next()
        for number in confirmed:
            flow.confirm(number)
        for number in sights:
            if number is None:
                books.killed()
                books.reopened()
            elif number == "drained":
                books.drained()
            else:
                books.sight(f"f:{number}:")
        books.drained()
        row = books.row()
        return {kind: row[kind] for kind in ("lost", "reordered", "duplicates", "forbidden", "invented") if row[kind]}

    assert played([0, 1, 2], [0, 1, 2]) == {}
    assert played([0, 2], [0, 2, 5]) == {}, "what was not confirmed may be missing, or there"
    assert played([0, 1, 2], [0, 2]) == {"lost": 1}
    assert played([0, 1, 2], [0, 2, 1]) == {"reordered": 1}
    assert played([0, 1, 2], [0, 2, None, 1]) == {"reordered": 1}
    assert played([0, 1, 2], [2, 1, 0], ordered=False) == {}
    assert played([0, 1], [0, 1, None, 0, 1]) == {"duplicates": 2}
    assert played([0, 1], [0, 1, None, 0, 1], once=True) == {"forbidden": 2}
    assert played([0, 1], [0, 1, None, "drained", None, 1]) == {"forbidden": 1}, "settled before a drain"
    assert played([0, 1], [0, 0, 1]) == {"reordered": 1, "duplicates": 1}
    assert played([0], [0, 11]) == {"invented": 1}
