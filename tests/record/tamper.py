"""Tampers with the record of a stopped service, as somebody with the database file could: python3 tamper.py DB ATTACK."""

import hashlib
import sqlite3
import sys


def leaf(body):
    return hashlib.sha256(b"\x00" + body.encode()).digest()


def node(left, right):
    return hashlib.sha256(b"\x01" + left + right).digest()


def rebuild(db):
    """Makes leaves, frontier, subtrees and head agree with the bodies again: all that needs no key."""
    bodies = [body for (body,) in db.execute("SELECT body FROM audit_entries ORDER BY seq").fetchall()]
    db.execute("DELETE FROM audit_entries")
    db.execute("DELETE FROM audit_subtrees")
    stack, size = [], 0
    for body in bodies:
        hashed = leaf(body)
        db.execute("INSERT INTO audit_entries (seq, body, leaf_hash) VALUES (?, ?, ?)", (size, body, hashed))
        ones = size
        while ones & 1:
            hashed = node(stack.pop(), hashed)
            ones >>= 1
        stack.append(hashed)
        size += 1
    root = stack[-1] if stack else hashlib.sha256(b"").digest()
    for left in reversed(stack[:-1]):
        root = node(left, root)
    db.execute("UPDATE audit_head SET size = ?, frontier = ?, root = ?", (size, b"".join(stack), root))


CHANGE = "UPDATE audit_entries SET body = replace(body, 'tool_', 'other_') WHERE seq = 3"
SWAP = [
    "UPDATE audit_entries SET seq = -1 WHERE seq = 4",
    "UPDATE audit_entries SET seq = 4 WHERE seq = 6",
    "UPDATE audit_entries SET seq = 6 WHERE seq = -1",
]
INSERT = [
    "UPDATE audit_entries SET seq = -seq - 2 WHERE seq >= 5",
    "INSERT INTO audit_entries SELECT 5, replace(body, 'tool_', 'made_up_'), leaf_hash FROM audit_entries WHERE seq = 4",
    "UPDATE audit_entries SET seq = -seq - 1 WHERE seq < 0",
]
ATTACKS = {
    "changed": ([CHANGE], False),
    "changed, all hashes made anew": ([CHANGE], True),
    "removed": (["DELETE FROM audit_entries WHERE seq = 7"], False),
    "removed, all hashes made anew": (["DELETE FROM audit_entries WHERE seq = 7"], True),
    "inserted": (INSERT, False),
    "inserted, all hashes made anew": (INSERT, True),
    "reordered": (SWAP, False),
    "reordered, all hashes made anew": (SWAP, True),
    "truncated": (["DELETE FROM audit_entries WHERE seq >= 15"], False),
    "truncated, with its checkpoints": (
        ["DELETE FROM audit_entries WHERE seq >= 10", "DELETE FROM checkpoints WHERE size > 10"],
        True,
    ),
    "forged checkpoint": (["UPDATE checkpoints SET note = replace(note, char(10) || '20' || char(10), char(10) || '19' || char(10)), size = 19 WHERE size = 20"], False),
    "no checkpoints": ([CHANGE, "DELETE FROM checkpoints"], True),
    "edited arguments": (["UPDATE audit_payloads SET arguments = replace(arguments, '10', '99')"], False),
    "arguments taken away": (["DELETE FROM audit_payloads"], False),
    "bare": (["DELETE FROM checkpoints"], False),
}

db = sqlite3.connect(sys.argv[1])
statements, anew = ATTACKS[sys.argv[2]]
for statement in statements:
    db.execute(statement)
if anew:
    rebuild(db)
db.commit()
