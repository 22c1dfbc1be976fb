"""How much different code every call touches: instructions, cache lines and pages of it, by function.

    cargo bench -p holdpoint-filter --bench exchange --no-run
    valgrind --tool=callgrind --dump-instr=yes --callgrind-out-file=OUT target/release/deps/exchange-… 3000
    python3 filter/benches/touched.py OUT 3000 [how many functions to show]

In Envoy the code of a call is cold when it begins, so that counts as much as how often each instruction runs."""

import re
import sys
from collections import Counter, defaultdict

CACHE_LINE_BITS = 6
PAGE_BITS = 12


def name(text, known):
    """A name is written out once, with a number that stands for it from then on."""
    number, written = re.match(r"\((\d+)\)(?: (.*))?", text).groups()
    if written:
        known[number] = written
    return known.get(number, "?")


def instructions(path):
    """How often each instruction ran, and whose it is, by address."""
    functions, ran, owner = {}, Counter(), {}
    function, address, is_call = None, 0, False
    for row in open(path):
        if row.startswith("fn="):
            function = name(row[3:].rstrip(), functions)
        elif row.startswith("cfn="):
            name(row[4:].rstrip(), functions)
        elif row.startswith("calls="):
            is_call = True
        elif row[0] in "0+-*":
            # Address, line of the source, cost. Addresses are told whole, or by their distance from the last one.
            place, *costs = row.split()
            if place[0] in "+-":
                address += int(place, 0)
            elif place != "*":
                address = int(place, 0)
            # What follows a call is the cost of all that was called, which is told where it ran.
            if not is_call and len(costs) >= 2:
                ran[address] += int(costs[1])
                owner[address] = function
            is_call = False
    return ran, owner


def main():
    path, calls = sys.argv[1], int(sys.argv[2])
    shown = int(sys.argv[3]) if len(sys.argv) > 3 else 40
    ran, owner = instructions(path)
    # What ran less often belongs to the beginning, or to some calls alone.
    every = [address for address, times in ran.items() if times >= calls * 0.9]
    lines, count, times = defaultdict(set), Counter(), Counter()
    for address in every:
        function = owner[address] or "?"
        lines[function].add(address >> CACHE_LINE_BITS)
        count[function] += 1
        times[function] += ran[address] / calls
    all_lines = len({address >> CACHE_LINE_BITS for address in every})
    pages = len({address >> PAGE_BITS for address in every})
    print(f"{len(every)} instructions on {all_lines} cache lines and {pages} pages, in {len(lines)} functions")
    for function in sorted(lines, key=lambda function: -len(lines[function]))[:shown]:
        print(f"{len(lines[function]):5} lines {count[function]:6} instructions {times[function]:8.0f} run  {function[:100]}")


main()
